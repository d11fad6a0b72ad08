"""The page of one analysis, in every state and for every kind of media."""

from __future__ import annotations

import json
import re

import pytest
from django.urls import reverse

from detection.models import JobStatus
from tests import factories
from tests.pages.finished import make_finished

pytestmark = pytest.mark.services


def page_of(client, job) -> str:
    response = client.get(job.get_absolute_url())
    assert response.status_code == 200
    return response.content.decode()


def test_the_verdict_comes_with_its_reasons(client, alice, organization):
    job = make_finished(organization, alice)
    client.force_login(alice)
    page = page_of(client, job)
    assert "Fake</h2>" in page
    assert "img/icons.svg#fake" in page  # told by shape as well
    assert "The face region shows blending traces." in page
    assert "Real below 30\N{NO-BREAK SPACE}%, fake from 70\N{NO-BREAK SPACE}%" in page
    assert "What to do next" in page
    assert "The skin texture around the jaw" in page


def test_branches_without_weight_and_those_left_out_are_marked(client, alice, organization):
    job = make_finished(organization, alice)
    client.force_login(alice)
    page = page_of(client, job)
    assert "100 % of the weight" in page
    assert "Does not count towards the score" in page
    assert "Left out: no sound" in page
    assert "Failed: left out" in page


@pytest.mark.parametrize(
    ("kind", "there", "not_there"),
    [
        ("video", ["<video", "lane-plot", "data-timeline", "Where it looks fake"], ["<audio"]),
        ("audio", ["<audio", "lane-plot is-sound"], ["<video", "data-overlay", "Where the checks looked"]),
        ("image", ["<img src=", "data-overlay", "Where the checks looked"], ["<video", "<audio", "data-timeline"]),
    ],
)
def test_each_kind_has_its_own_layout(client, alice, organization, kind, there, not_there):
    job = make_finished(organization, alice, kind=kind)
    client.force_login(alice)
    page = page_of(client, job)
    for piece in there:
        assert piece in page, piece
    for piece in not_there:
        assert piece not in page, piece


def test_the_player_knows_faces_and_heatmaps(client, alice, organization):
    job = make_finished(organization, alice)
    client.force_login(alice)
    found = re.search(r'<script id="player-data" type="application/json">(.*?)</script>', page_of(client, job))
    data = json.loads(found.group(1))
    assert data["faces"] == [[0.0, 0, 8, 8, 20, 24, 0.9]]
    assert data["overlays"][0]["time"] == 1.2
    assert client.get(data["overlays"][0]["url"]).status_code == 200


def test_nothing_scored(client, alice, organization):
    job = make_finished(
        organization,
        alice,
        kind="image",
        label="inconclusive",
        score=None,
        interval_low=None,
        interval_high=None,
        abstain_reason="too_little_evidence",
    )
    client.force_login(alice)
    page = page_of(client, job)
    assert "No score" in page
    assert "Too little could be examined to decide." in page


def test_old_results_without_details_still_open(client, alice, organization):
    job = make_finished(organization, alice, details={})
    client.force_login(alice)
    assert "Fake</h2>" in page_of(client, job)


def test_running_shows_progress_and_refreshes_itself(client, alice, organization):
    job = factories.make_job(organization=organization, status=JobStatus.RUNNING)
    client.force_login(alice)
    page = page_of(client, job)
    assert 'data-live-active="true"' in page
    assert "Examining: face picture" in page
    assert 'value="40"' in page
    assert "Cancel" in page


def test_failed_says_what_happened_and_what_to_do(client, alice, organization):
    job = factories.make_job(organization=organization, status=JobStatus.FAILED)
    client.force_login(alice)
    page = page_of(client, job)
    assert "This file is not a picture we can read." in page
    assert "save it again as JPEG, MP4 or WAV" in page
    assert "Run again" in page
    assert 'data-live-active="false"' in page


def test_the_same_file_is_linked(client, alice, organization):
    first = make_finished(organization, alice)
    second = make_finished(organization, alice)
    client.force_login(alice)
    page = page_of(client, second)
    assert first.get_absolute_url() in page
    assert "same file" in page


def test_what_users_send_is_never_markup(client, alice, organization):
    job = make_finished(organization, alice)
    job.media.filename = "<script>alert(1)</script>.mp4"
    job.media.info["metadata"] = {"Artist": "</script><img src=x onerror=alert(1)>"}
    job.media.save()
    client.force_login(alice)
    page = page_of(client, job)
    assert "<script>alert" not in page
    assert "<img src=x" not in page


@pytest.mark.parametrize("kind", ["video", "image"])
def test_queries(client, alice, organization, django_assert_num_queries, kind):
    job = make_finished(organization, alice, kind=kind)
    for _ in range(3):
        make_finished(organization, alice, kind=kind)
    client.force_login(alice)
    # session, user, organisation, job, branches, artifacts, hashes of the others, earlier, other runs
    with django_assert_num_queries(9):
        client.get(job.get_absolute_url())


def test_panel_is_the_same_fragment(client, alice, organization):
    job = make_finished(organization, alice)
    client.force_login(alice)
    panel = client.get(reverse("detection:job_panel", args=[job.id])).content.decode()
    assert "<html" not in panel
    assert "The face region shows blending traces." in panel


@pytest.mark.parametrize("name", ["job", "job_panel", "delete"])
def test_access(client, alice, charlie, organization, name):
    job = make_finished(organization, alice)
    url = reverse(f"detection:{name}", args=[job.id])
    assert client.get(url).status_code == 302
    client.force_login(charlie)
    assert client.get(url).status_code == 404
    client.force_login(alice)
    assert client.put(url).status_code == 405
