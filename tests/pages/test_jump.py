"""The palette's search: what it finds, for whom, and what it costs."""

from __future__ import annotations

import pytest
from django.urls import reverse

from detection import jump
from detection.models import JobStatus, SavedView
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
        {"group": "Analysis", "title": "portrait.png", "hint": "Queued", "url": jobs["waiting"].get_absolute_url()},
        {"group": "Analysis", "title": "speech.mp4", "hint": "Fake", "url": jobs["clip"].get_absolute_url()},
    ]


def test_by_name_digest_and_id(client, alice, jobs):
    client.force_login(alice)
    clip = jobs["clip"]
    for q in ("SPEECH", "c0ffeec0", str(clip.id), clip.public_id, clip.media.public_id):
        assert titles(client.get(URL, {"q": q})) == ["speech.mp4"], q
    assert titles(client.get(URL, {"q": "nothing like this"})) == []


@pytest.mark.parametrize(
    ("q", "who", "first"),
    [
        ("thresh", "administrator", "Threshold profiles"),
        ("fake real score", "administrator", None),
        ("second factor", "alice", "Your sign-in"),
        ("kappa", "administrator", "Review statistics"),
        ("kappa", "alice", None),  # not hers to see
        ("known", "administrator", "Known items"),
        ("audit", "administrator", "Audit log"),
        ("audit", "alice", None),
        ("verify report", "alice", "Verify a report"),
    ],
)
def test_pages_are_found_by_what_they_are_about(client, request, q, who, first):
    client.force_login(request.getfixturevalue(who))
    results = client.get(URL, {"q": q}).json()["results"]
    assert next((one["title"] for one in results if one["group"] == "Page"), None) == first
    for one in results:
        assert client.get(one["url"]).status_code == 200


def test_saved_views_are_found_own_and_shared(client, alice, bob, charlie):
    for owner, name, is_shared in ((alice, "Night shift", False), (bob, "Night desk", True), (bob, "Night own", False)):
        SavedView.objects.create(
            organization=owner.organization, owner=owner, name=name, query="label=fake", is_shared=is_shared
        )
    client.force_login(alice)
    found = client.get(URL, {"q": "night"}).json()["results"]
    assert [(one["group"], one["title"], one["url"]) for one in found] == [
        ("View", "Night desk", "/?label=fake"),
        ("View", "Night shift", "/?label=fake"),
    ]
    client.force_login(charlie)
    assert titles(client.get(URL, {"q": "night"})) == []


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
