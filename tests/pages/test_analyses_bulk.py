"""Many analyses at once: run again, stop, send to review, delete and bring back; by role, and never another's."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from django.core.files.storage import storages
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditLog
from detection import bulk, deletion, jobs
from detection.artifacts import signed_path
from detection.models import Job, JobStatus, Media
from detection.services import BulkAction, offer_bulk_action
from review.models import ReviewCase
from review.services import send_to_review
from tests import factories
from tests.pages.finished import make_finished

pytestmark = pytest.mark.services

URL = "/analyses/bulk/"
SCRIPT = {"HTTP_ACCEPT": "application/json"}


@pytest.fixture
def three(organization, alice) -> list[Job]:
    return [make_finished(organization, alice) for _ in range(3)]


def post(client, action, chosen=(), **fields):
    return client.post(URL, {"action": action, "jobs": [str(job.pk) for job in chosen], **fields}, **SCRIPT)


def passes(seconds: float) -> None:
    for model in (Job, Media):
        for row in model.objects.exclude(deleted_at=None):
            model.objects.filter(pk=row.pk).update(deleted_at=row.deleted_at - timedelta(seconds=seconds))


def objects() -> int:
    return sum(1 for path in Path(storages["default"]._location).rglob("*") if path.is_file())


def test_running_again(client, alice, three):
    client.force_login(alice)
    waiting = factories.make_job(organization=alice.organization)
    answer = post(client, "rerun", [*three[:2], waiting])
    assert answer.json()["message"] == "Run again: 2 analyses. 1 analysis left out: It has not ended yet."
    assert Job.objects.filter(status=JobStatus.QUEUED, media=three[0].media).count() == 1
    assert Job.objects.count() == 6


def test_stopping(client, alice, organization, three):
    waiting = [factories.make_job(organization=organization) for _ in range(2)]
    client.force_login(alice)
    answer = post(client, "cancel", [*waiting, three[0]]).json()["message"]
    assert answer == "Stopped: 2 analyses. 1 analysis left out: This analysis has already ended."
    assert Job.objects.filter(status=JobStatus.CANCELLED).count() == 2


def test_sending_to_review(client, alice, three):
    client.force_login(alice)
    assert "Sent to review: 3 analyses." in post(client, "review", three).json()["message"]
    assert ReviewCase.objects.filter(job__in=three).count() == 3
    assert set(Job.objects.values_list("review_state", flat=True)) == {"open"}


def test_without_a_script_it_leads_back_to_the_filtered_list(client, alice, three):
    client.force_login(alice)
    response = client.post(URL, {"action": "rerun", "jobs": str(three[0].pk), "query": "label=fake&after=1_x&evil=1"})
    assert response.headers["Location"] == "/?label=fake"
    assert "Run again: 1 analysis." in client.get("/").content.decode()


def test_all_that_match_are_those_that_were_listed(client, alice, organization, three):
    other = make_finished(organization, alice, label="real", score=0.1)
    listed_at = timezone.now().isoformat()
    late = make_finished(organization, alice)
    client.force_login(alice)
    post(client, "review", all="1", query="label=fake", listed_at=listed_at)
    assert set(ReviewCase.objects.values_list("job_id", flat=True)) == {job.pk for job in three}
    assert not ReviewCase.objects.filter(job__in=[other, late]).exists()


def test_all_that_match_is_bounded_and_says_so(client, alice, three, monkeypatch):
    monkeypatch.setattr(bulk, "MOST", 2)
    client.force_login(alice)
    message = post(client, "review", all="1", query="sort=oldest").json()["message"]
    assert "These were the first 2 that match; do it again for the rest." in message
    assert set(ReviewCase.objects.values_list("job_id", flat=True)) == {three[0].pk, three[1].pk}


def test_anothers_analyses_are_not_touched(client, charlie, three):
    client.force_login(charlie)
    for action in ("rerun", "review", "delete"):
        assert post(client, action, three).status_code in (400, 409)
        assert post(client, action, all="1").status_code == 400
    assert Job.objects.filter(deleted_at=None).count() == 3
    assert not ReviewCase.objects.exists()


@pytest.mark.parametrize("action", ["rerun", "cancel", "review", "delete"])
def test_a_viewer_may_not(client, vera, three, action):
    client.force_login(vera)
    response = post(client, action, three)
    assert response.status_code == 403
    assert "Your role (viewer)" in response.json()["detail"]
    assert Job.objects.filter(deleted_at=None).count() == 3


@pytest.mark.parametrize("fields", [{"action": "rerun"}, {"action": "rerun", "jobs": "x"}, {"action": "delete"}])
def test_nothing_chosen(client, alice, three, fields):
    client.force_login(alice)
    response = client.post(URL, fields, **SCRIPT)
    assert (response.status_code, response.json()["code"]) == (400, "nothing_chosen")


def test_an_unknown_action(client, alice, three):
    client.force_login(alice)
    assert post(client, "burn", three).json()["code"] == "action_unknown"


def test_anonymous_and_wrong_method(client, alice, three):
    undo = reverse("detection:undo_deletion", args=[three[0].pk])
    assert client.post(URL, {"action": "delete", "jobs": str(three[0].pk)}).status_code == 302
    client.force_login(alice)
    for url in (URL, undo):
        assert client.get(url).status_code == 405
    assert Job.objects.filter(deleted_at=None).count() == 3


def test_rooms_above_offer_actions_of_their_own(client, alice, three, monkeypatch):
    monkeypatch.setattr(bulk, "_actions", dict(bulk._actions))
    seen = []
    offer_bulk_action(BulkAction("count", "Count", "Counted {}.", "check", lambda job, _: seen.append(job), bool))
    client.force_login(alice)
    assert 'value="count"' in client.get("/").content.decode()
    assert post(client, "count", three).json()["message"] == "Counted 3 analyses."
    assert len(seen) == 3


def test_the_part_of_another_room_stands_in_the_bar_where_there_is_one(client, alice, three, settings, tmp_path):
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "_export.html").write_text('<a data-export href="#">Export {{ kept_query }}</a>')
    client.force_login(alice)
    settings.TEMPLATES = [settings.TEMPLATES[0] | {"DIRS": [tmp_path, *settings.TEMPLATES[0]["DIRS"]]}]
    assert '<a data-export href="#">Export label=fake</a>' in client.get("/?label=fake").content.decode()


# Deletion that can be undone ------------------------------------------------------------------------------------------


def test_what_is_deleted_is_gone_for_everybody_at_once(client, alice, bob, organization, three, bearer):
    send_to_review(job=three[0], actor=alice)
    client.force_login(alice)
    assert post(client, "delete", three[:2]).json()["message"] == "2 analyses deleted."
    client.force_login(bob)
    gone = three[0]
    assert [job.pk for job in client.get("/").context["page"].jobs] == [three[2].pk]
    artifact = gone.result.artifacts.first()
    for url in (
        gone.get_absolute_url(),
        f"/analyses/{gone.pk}/panel/",
        f"/media/{gone.media_id}/file",
        f"/media/{gone.media_id}/thumbnail",
        reverse("reports:report", args=[gone.pk]),
        signed_path(artifact),
        f"/review/{gone.review_cases.get().pk}/",
    ):
        assert client.get(url).status_code == 404, url
    for url in (f"/v1/jobs/{gone.public_id}", f"/v1/media/{gone.media.public_id}"):
        assert client.get(url, headers=bearer).status_code == 404
    page = client.get(f"/analyses/{three[2].pk}/").content.decode()
    assert str(gone.pk) not in page


def test_undo_brings_everything_back(client, alice, three):
    client.force_login(alice)
    before = objects()
    post(client, "delete", three)
    page = client.get("/").content.decode()
    assert "3 analyses are deleted" in page
    pending = deletion.pending_of(alice)
    deletion.carry_off()
    assert objects() == before
    answer = client.post(reverse("detection:undo_deletion", args=[pending.id]), **SCRIPT)
    assert answer.json()["message"] == "3 analyses are back."
    assert len(client.get("/").context["page"].jobs) == 3
    assert client.get(f"/media/{three[0].media_id}/thumbnail").status_code == 200
    assert deletion.pending_of(alice) is None


def test_when_the_time_is_over_keys_and_rows_are_destroyed(client, alice, three):
    client.force_login(alice)
    post(client, "delete", three[:2])
    pending = deletion.pending_of(alice)
    passes(deletion.UNDO_S + deletion.GRACE_S + 1)
    late = client.post(reverse("detection:undo_deletion", args=[pending.id]), **SCRIPT)
    assert (late.status_code, late.json()["code"]) == (409, "too_late")
    before = objects()
    jobs.sweep()
    assert Job.objects.count() == 3  # not yet: an undo that was let in may still be under way
    passes(deletion.SAFETY_S)
    jobs.sweep()
    assert list(Job.objects.values_list("pk", flat=True)) == [three[2].pk]
    assert Media.objects.count() == 1
    assert objects() < before
    rows = AuditLog.objects.filter(action="job.deleted")
    assert {row.actor for row in rows} == {alice}
    assert AuditLog.objects.filter(action="jobs.deletion_asked").count() == 1


def test_an_item_stays_while_another_analysis_of_it_does(client, alice, organization, three):
    again = factories.make_job(organization=organization, media=three[0].media, status=JobStatus.CANCELLED)
    client.force_login(alice)
    post(client, "delete", [three[0]])
    assert client.get(f"/media/{three[0].media_id}/thumbnail").status_code == 200
    post(client, "delete", [again])
    assert client.get(f"/media/{three[0].media_id}/thumbnail").status_code == 404
    passes(60)
    jobs.sweep()
    assert not Media.objects.filter(pk=three[0].media_id).exists()


def test_only_who_deleted_undoes(client, alice, bob, charlie, three):
    client.force_login(alice)
    post(client, "delete", three)
    url = reverse("detection:undo_deletion", args=[deletion.pending_of(alice).id])
    for person, status in ((bob, 409), (charlie, 409)):
        client.force_login(person)
        assert client.post(url, **SCRIPT).status_code == status
        assert "data-undo" not in client.get("/").content.decode()
    assert not Job.objects.filter(deleted_at=None).exists()


def test_what_waits_for_its_deletion_is_not_run(client, alice, organization):
    job = factories.make_job(organization=organization)
    client.force_login(alice)
    post(client, "delete", [job])
    assert jobs.claim_next("test") is None
    client.post(reverse("detection:undo_deletion", args=[deletion.pending_of(alice).id]), **SCRIPT)
    assert jobs.claim_next("test").pk == job.pk
