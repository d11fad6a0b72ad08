"""The palette's search: what it finds, for whom, and what it costs."""

from __future__ import annotations

import pytest
from django.urls import reverse

from detection import jump
from detection.models import JobStatus
from tests import factories
from tests.pages.finished import make_finished

pytestmark = pytest.mark.services
URL = "/jump/"


@pytest.fixture
def jobs(organization, alice):
    clip = make_finished(organization, alice)
    clip.media.sha256 = "c0ffee" * 10 + "1234"
    clip.media.save()
    waiting = factories.make_job(organization=organization, created_by=alice)
    return {"clip": clip, "waiting": waiting}


def titles(response) -> list[str]:
    return [one["title"] for one in response.json()["results"]]


def test_the_newest_come_without_a_word(client, alice, jobs):
    client.force_login(alice)
    assert client.get(URL).json()["results"] == [
        {"title": "portrait.png", "hint": "Queued", "url": jobs["waiting"].get_absolute_url()},
        {"title": "speech.mp4", "hint": "Fake", "url": jobs["clip"].get_absolute_url()},
    ]


def test_by_name_digest_and_id(client, alice, jobs):
    client.force_login(alice)
    clip = jobs["clip"]
    for q in ("SPEECH", "c0ffeec0", str(clip.id), clip.public_id, clip.media.public_id):
        assert titles(client.get(URL, {"q": q})) == ["speech.mp4"], q
    assert titles(client.get(URL, {"q": "nothing like this"})) == []


def test_names_are_searched_among_the_newest_only(client, alice, jobs, monkeypatch):
    monkeypatch.setattr(jump, "NAMES_SEARCHED", 1)
    client.force_login(alice)
    assert titles(client.get(URL, {"q": "portrait"})) == ["portrait.png"]
    assert titles(client.get(URL, {"q": "speech"})) == []
    assert titles(client.get(URL, {"q": str(jobs["clip"].id)})) == ["speech.mp4"]


def test_outsiders_anonymous_and_wrong_method(client, charlie, jobs):
    assert client.get(URL).headers["Location"].startswith(reverse("account_login"))
    client.force_login(charlie)
    assert titles(client.get(URL)) == []
    assert titles(client.get(URL, {"q": str(jobs["clip"].id)})) == []
    assert client.post(URL).status_code == 405


def test_queries(client, alice, organization, jobs, django_assert_num_queries):
    client.force_login(alice)
    for _ in range(10):
        factories.make_job(organization=organization, status=JobStatus.FAILED)
    with django_assert_num_queries(4):
        assert len(titles(client.get(URL))) == jump.SHOWN
