"""How long things are kept: rules, wishes of a request, holds, and what is left afterwards."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import AuditLog
from deepfake import storage
from deepfake.errors import DomainError
from detection import deletion, holds, jobs, retention, services
from detection.models import (
    ErasedReason,
    ExplanationArtifact,
    FacePrint,
    InferenceResult,
    Job,
    JobStatus,
    LegalHold,
    Media,
    RetentionRule,
    RetentionSettings,
)
from tests import factories

OWN = {"review_extra_days": 30, "request_days_from": 1, "request_days_to": 90, "allows_zero_retention": True}


def finished(organization: Any, *, days_old: int = 0, kind: str = "image", **fields: Any) -> Job:
    """A completed analysis with a thumbnail, an artifact and a print, so many days old."""
    moment = timezone.now() - timedelta(days=days_old)
    media = factories.make_media(
        organization,
        kind=kind,
        info={"metadata": {"Artist": "A. Painter"}},
        thumbnail_name=storage.save_encrypted("thumbnail", b"small", organization_id=organization.id),
    )
    Media.objects.filter(pk=media.pk).update(created_at=moment)
    job = factories.make_job(organization=organization, status="completed", media=media, kind=kind, **fields)
    Job.objects.filter(pk=job.pk).update(created_at=moment, finished_at=moment)
    factories.make_artifact(factories.make_result(job))
    FacePrint.objects.create(organization=organization, media=media, track=0, bits="ab" * 8)
    return Job.objects.select_related("media").get(pk=job.pk)


def names_of(job: Job) -> list[str]:
    artifacts = ExplanationArtifact.objects.filter(result__job=job).values_list("storage_name", flat=True)
    return [job.media.storage_name, job.media.thumbnail_name, *artifacts]


def rule(organization: Any, kind: str = "", **days: int) -> None:
    RetentionRule.objects.create(organization=organization, kind=kind, **days)


def test_items_over_their_time_lose_their_bytes_and_keep_their_verdict(organization):
    old, young = finished(organization, days_old=31), finished(organization, days_old=28)
    gone, kept = names_of(old), names_of(young)
    rule(organization, media_days=30)
    assert retention.preview(organization) == {"media": 1, "pictures": 0, "analyses": 0}
    retention.apply()
    assert not any(storage.exists(name) for name in gone)
    assert all(storage.exists(name) for name in kept)
    media = Media.objects.get(pk=old.media_id)
    assert (media.storage_name, media.thumbnail_name, media.phash, media.info) == ("", "", "", {})
    assert (media.erased_reason, media.filename) == ("retention", "portrait.png")
    assert not media.face_prints.exists()
    assert old.result.label == "fake"
    assert not ExplanationArtifact.objects.filter(result__job=old).exists()
    row = AuditLog.objects.get(action="privacy.destroyed")
    assert (row.details["media"], row.details["objects"]) == (1, 3)
    assert row.details["objects_sha256"] == retention.digest_of(gone)
    assert retention.apply() == 0
    assert AuditLog.objects.filter(action="privacy.destroyed").count() == 1


def test_a_rule_for_a_kind_stands_before_the_general_one(organization):
    picture, clip = finished(organization, days_old=20), finished(organization, days_old=20, kind="video")
    rule(organization, media_days=10)
    rule(organization, "video", media_days=40)
    retention.apply()
    assert Media.objects.get(pk=picture.media_id).is_erased
    assert not Media.objects.get(pk=clip.media_id).is_erased


def test_pictures_and_analyses_have_times_of_their_own(organization):
    job = finished(organization, days_old=20)
    artifact = names_of(job)[2]
    rule(organization, artifact_days=10, media_days=60)
    retention.apply()
    assert not storage.exists(artifact)
    assert storage.exists(job.media.storage_name)
    RetentionRule.objects.update(result_days=15)
    retention.apply()
    assert not Job.objects.filter(pk=job.pk).exists()
    assert not Media.objects.filter(pk=job.media_id).exists()
    assert not storage.exists(job.media.storage_name)


@pytest.mark.parametrize(
    ("review", "is_kept"),
    [
        ({"review_state": "open"}, True),
        ({"review_state": "escalated"}, True),
        ({"review_state": "decided", "reviewed_at": timezone.now() - timedelta(days=5)}, True),
        ({"review_state": "decided", "reviewed_at": timezone.now() - timedelta(days=31)}, False),
        ({}, False),
    ],
)
def test_what_is_in_review_is_kept_longer(organization, review, is_kept):
    job = finished(organization, days_old=100, **review)
    rule(organization, media_days=30, result_days=30)
    retention.apply()
    assert Job.objects.filter(pk=job.pk).exists() is is_kept


def test_an_analysis_under_way_keeps_its_item(organization):
    job = finished(organization, days_old=100)
    factories.make_job(organization=organization, media=job.media, status="queued")
    rule(organization, media_days=30)
    retention.apply()
    assert storage.exists(job.media.storage_name)


def test_large_amounts_go_in_batches(organization, monkeypatch):
    monkeypatch.setattr(retention, "BATCH", 2)
    for _ in range(5):
        finished(organization, days_old=31)
    rule(organization, media_days=30)
    assert retention.apply(time_s=0) == 0
    retention.apply()
    assert Media.objects.filter(erased_at=None).count() == 0
    assert [row.details["media"] for row in AuditLog.objects.filter(action="privacy.destroyed").order_by("id")] == [
        2,
        2,
        1,
    ]


def test_another_organisation_keeps_what_it_has(organization, other_organization):
    theirs = finished(other_organization, days_old=400)
    rule(organization, media_days=1)
    retention.apply()
    assert storage.exists(theirs.media.storage_name)


# Wishes of a request --------------------------------------------------------------------------------------------------


def test_days_of_one_request(organization):
    job = finished(organization)
    Media.objects.filter(pk=job.media_id).update(keep_until=timezone.now() - timedelta(minutes=1))
    retention.apply()
    assert Media.objects.get(pk=job.media_id).is_erased


def test_request_asks_for_days_within_the_limits(client, bearer, organization):
    RetentionSettings.objects.create(organization=organization, **OWN)
    body = {"url": "https://media.example.org/a.png", "retention_days": 14}
    taken = client.post("/v1/detect", body, content_type="application/json", headers=bearer)
    assert taken.status_code == 202
    media = Media.objects.get()
    assert media.keep_until is not None
    assert abs(media.keep_until - timezone.now() - timedelta(days=14)) < timedelta(minutes=1)
    refused = client.post("/v1/detect", body | {"retention_days": 91}, content_type="application/json", headers=bearer)
    assert (refused.status_code, refused.json()["code"]) == (400, "retention_invalid")
    assert "between 1 and 90" in refused.json()["detail"]
    assert Media.objects.count() == 1
    both = client.post("/v1/detect", body | {"retention": "none"}, content_type="application/json", headers=bearer)
    assert both.json()["code"] == "retention_conflict"


def test_an_item_that_is_kept_cannot_be_asked_for_again_without(client, bearer, organization):
    job = finished(organization)
    body = {"media_id": job.media.public_id, "retention": "none"}
    refused = client.post("/v1/detect", body, content_type="application/json", headers=bearer)
    assert (refused.status_code, refused.json()["code"]) == (409, "item_kept")
    assert Job.objects.count() == 1


def test_organisation_may_forbid_it(client, bearer, organization):
    RetentionSettings.objects.create(organization=organization, **OWN | {"allows_zero_retention": False})
    body = {"url": "https://media.example.org/a.png", "retention": "none"}
    refused = client.post("/v1/detect", body, content_type="application/json", headers=bearer)
    assert (refused.status_code, refused.json()["code"]) == (403, "retention_not_allowed")
    assert not Media.objects.exists()


# Nothing but the verdict ----------------------------------------------------------------------------------------------


@pytest.fixture
def leaving_nothing(organization, alice, engine) -> Job:
    job = services.submit_and_start(
        organization=organization, actor=alice, file=picture(), filename="holiday at home.png", keeps="none"
    )
    return job


def picture() -> Any:
    import io

    return io.BytesIO(factories.png_bytes())


def test_after_the_verdict_only_the_verdict_is_left(client, alice, bearer, leaving_nothing, organization):
    name = leaving_nothing.media.storage_name
    jobs.run_detection()
    job = Job.objects.select_related("media").get(pk=leaving_nothing.pk)
    assert job.status == JobStatus.COMPLETED, job.failure_message
    assert not storage.exists(name)
    assert list(storage.all_names(organization.id)) == []
    assert job.media.is_erased
    assert (job.media.filename, job.media.phash, job.media.info, job.media.text.text) == ("", "", {}, "")
    assert not job.media.face_prints.exists()
    assert not job.media.sound_marks.exists()
    assert not ExplanationArtifact.objects.exists()
    assert not job.review_cases.exists()
    answer = client.get(f"/v1/jobs/{job.public_id}", headers=bearer).json()
    assert answer["result"]["label"] in ("fake", "real", "inconclusive")
    assert answer["result"]["artifacts"] == []
    assert answer["media"]["erased_at"]
    client.force_login(alice)
    page = client.get(job.get_absolute_url()).content.decode()
    assert "were destroyed" in page
    assert "Run again" not in page
    assert "holiday" not in page
    assert client.get(f"/media/{job.media_id}/file").status_code == 404
    again = client.post(
        "/v1/detect", {"media_id": job.media.public_id}, content_type="application/json", headers=bearer
    )
    assert (again.status_code, again.json()["code"]) == (409, "media_erased")
    assert "send it again" in again.json()["detail"]
    with pytest.raises(DomainError, match="was destroyed on"):
        services.rerun_job(job=job, actor=alice)


def test_broken_off_between_verdict_and_destruction_the_sweep_does_it(leaving_nothing, monkeypatch):
    monkeypatch.setattr(retention, "forget_at_once", lambda media: None)  # the process dies here
    jobs.run_detection()
    assert storage.exists(leaving_nothing.media.storage_name)
    jobs.sweep()
    assert not storage.exists(leaving_nothing.media.storage_name)
    assert Media.objects.get().is_erased


def test_broken_off_in_the_midst_of_destroying_it_is_done_again(organization, monkeypatch):
    job = finished(organization)
    Media.objects.filter(pk=job.media_id).update(retention="none")
    original, calls = storage.destroy, []

    def dying(name: str) -> None:
        calls.append(name)
        original(name)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(storage, "destroy", dying)
    with pytest.raises(KeyboardInterrupt):
        retention.forget_left_over()
    assert not Media.objects.get().is_erased
    monkeypatch.setattr(storage, "destroy", original)
    assert retention.forget_left_over() == 1
    assert not any(storage.exists(name) for name in names_of(job))


def test_cancelled_and_never_analysed_items_go_too(organization, alice):
    job = services.submit_and_start(organization=organization, actor=alice, file=picture(), keeps="none")
    services.cancel_job(job=job, actor=alice)
    jobs.sweep()
    assert Media.objects.get().is_erased


def test_checkbox_of_the_form(client, alice, organization):
    client.force_login(alice)
    client.post("/analyses/", {"url": "https://media.example.org/a.png", "keeps_nothing": "1"})
    assert Media.objects.get().retention == "none"
    assert "keeps_nothing" in client.get("/").content.decode()
    RetentionSettings.objects.create(organization=organization, **OWN | {"allows_zero_retention": False})
    assert "keeps_nothing" not in client.get("/").content.decode()


# Holds ----------------------------------------------------------------------------------------------------------------


def test_a_hold_keeps_from_deletion_rules_and_erasure(client, administrator, organization, bearer):
    job = finished(organization, days_old=100)
    hold = holds.set_hold(job=job, actor=administrator, reason="File 12/2026")
    rule(organization, media_days=1, artifact_days=1, result_days=1)
    retention.apply()
    assert retention.erase(job.media, ErasedReason.RETENTION) is None
    with pytest.raises(DomainError, match="legal hold"):
        services.delete_analysis(job=job)
    with pytest.raises(DomainError, match="legal hold"):
        deletion.delete_soon(jobs=[job], organization=organization, actor=administrator)
    refused = client.delete(f"/v1/jobs/{job.public_id}", headers=bearer)
    assert (refused.status_code, refused.json()["code"]) == (409, "legal_hold")
    assert all(storage.exists(name) for name in names_of(job))
    holds.release(hold=hold, actor=administrator, reason="Settled")
    retention.apply()
    assert not Job.objects.filter(pk=job.pk).exists()
    assert not LegalHold.objects.exists()
    actions = set(AuditLog.objects.values_list("action", flat=True))
    assert {"privacy.hold_set", "privacy.hold_released"} <= actions
    assert "File 12/2026" not in str(list(AuditLog.objects.values_list("details", flat=True)))


def test_a_hold_on_one_analysis_lets_the_others_go_but_not_the_item(administrator, organization):
    job = finished(organization)
    other = factories.make_job(organization=organization, media=job.media, status="completed")
    holds.set_hold(job=job, actor=administrator, reason="x", is_whole_item=False)
    services.delete_analysis(job=other)
    assert storage.exists(job.media.storage_name)
    assert retention.erase(job.media, ErasedReason.RETENTION) is None
    with pytest.raises(DomainError, match="legal hold"):
        services.delete_analysis(job=job)


def test_only_the_held_ones_of_many_stay(administrator, organization):
    held, free = finished(organization), finished(organization)
    holds.set_hold(job=held, actor=administrator, reason="x")
    pending = deletion.delete_soon(jobs=[held, free], organization=organization, actor=administrator)
    assert (pending.count, pending.held) == (1, 1)
    assert Job.objects.get(pk=held.pk).deleted_at is None


def test_a_hold_that_comes_while_another_analysis_of_the_item_waits_to_go(administrator, organization, monkeypatch):
    job = finished(organization)
    other = factories.make_job(organization=organization, media=job.media, status="completed")
    deletion.delete_soon(jobs=[other], organization=organization, actor=administrator)
    holds.set_hold(job=job, actor=administrator, reason="x")
    Job.objects.filter(pk=other.pk).update(deleted_at=timezone.now() - timedelta(minutes=5))
    assert deletion.carry_off() == 0
    assert Job.objects.get(pk=other.pk).deleted_at is None


def test_what_is_being_deleted_or_gone_cannot_be_held(administrator, organization):
    job = finished(organization)
    deletion.delete_soon(jobs=[job], organization=organization, actor=administrator)
    with pytest.raises(DomainError, match="being deleted"):
        holds.set_hold(job=job, actor=administrator, reason="x")
    gone = finished(organization)
    retention.erase(gone.media, ErasedReason.RETENTION)
    with pytest.raises(DomainError, match="destroyed already"):
        holds.set_hold(job=gone, actor=administrator, reason="x")


def test_two_holds_on_the_same_are_refused(administrator, organization):
    job = finished(organization)
    holds.set_hold(job=job, actor=administrator, reason="x")
    with pytest.raises(DomainError, match="already"):
        holds.set_hold(job=job, actor=administrator, reason="y")


# Pages ----------------------------------------------------------------------------------------------------------------


def test_rules_are_kept_by_the_page(client, administrator, organization):
    client.force_login(administrator)
    assert client.get("/settings/privacy/").status_code == 200
    given = {"any_media_days": "30", "audio_media_days": "7", "review_extra_days": "10", "request_days_from": "1",
             "request_days_to": "365"}  # fmt: skip
    assert client.post("/settings/privacy/", given).status_code == 302
    rows = dict(RetentionRule.objects.values_list("kind", "media_days"))
    assert rows == {"": 30, "audio": 7}
    own = RetentionSettings.objects.get()
    assert (own.review_extra_days, own.allows_zero_retention) == (10, False)
    page = client.post("/settings/privacy/", given | {"any_media_days": "0"})
    assert page.status_code == 400
    assert "whole numbers from 1 to 3,650" in page.content.decode()
    client.post("/settings/privacy/", given | {"any_media_days": "", "audio_media_days": ""})
    assert not RetentionRule.objects.exists()
    assert AuditLog.objects.filter(action="privacy.retention_changed").count() == 2


def test_hold_by_the_page_is_seen_on_the_analysis_and_in_the_list(client, administrator, alice, organization):
    job, other = finished(organization), finished(organization)
    client.force_login(administrator)
    assert client.get(f"/analyses/{job.pk}/hold/").status_code == 200
    assert client.post(f"/analyses/{job.pk}/hold/", {"reason": " "}).status_code == 400
    assert client.post(f"/analyses/{job.pk}/hold/", {"reason": "File 12", "scope": "item"}).status_code == 302
    assert "File 12" in client.get(job.get_absolute_url()).content.decode()
    assert "File 12" in client.get("/settings/privacy/").content.decode()
    client.force_login(alice)
    page = client.get(job.get_absolute_url()).content.decode()
    assert "On legal hold" in page
    assert "File 12" not in page
    assert ">Delete<" not in page
    assert client.get(f"/analyses/{job.pk}/delete/").status_code == 409
    rows = client.get("/analyses/rows/?hold=held").content.decode()
    assert str(job.pk) in rows
    assert str(other.pk) not in rows
    hold = LegalHold.objects.get()
    client.force_login(administrator)
    assert client.get(f"/settings/privacy/holds/{hold.pk}/release/").status_code == 200
    assert client.post(f"/settings/privacy/holds/{hold.pk}/release/", {"reason": ""}).status_code == 400
    assert client.post(f"/settings/privacy/holds/{hold.pk}/release/", {"reason": "Settled"}).status_code == 302
    assert client.post(f"/settings/privacy/holds/{hold.pk}/release/", {"reason": "Settled"}).status_code == 400


@pytest.mark.parametrize(
    "path", ["/settings/privacy/", "/analyses/{job}/hold/", "/settings/privacy/holds/{hold}/release/"]
)
def test_who_may(client, administrator, bob, charlie, other_organization, organization, path):
    job = finished(organization)
    hold = LegalHold.objects.create(organization=organization, media=job.media, reason="x")
    address = path.format(job=job.pk, hold=hold.pk)
    assert client.get(address).status_code == 302  # to sign in
    client.force_login(bob)
    assert client.get(address).status_code == 403
    outsider = factories.make_user(other_organization, "olga", "admin")
    client.force_login(outsider)
    assert client.get(address).status_code == (200 if "{" not in path else 404)
    client.force_login(administrator)
    assert client.put(address).status_code == 405


def test_privacy_page_asks_few_questions(client, administrator, organization, django_assert_num_queries):
    for _ in range(4):
        holds.set_hold(job=finished(organization), actor=administrator, reason="x")
    client.force_login(administrator)
    client.get("/settings/privacy/")
    with django_assert_num_queries(15):
        client.get("/settings/privacy/")


def test_audit_names_no_address(organization, alice):
    services.add_url(organization=organization, actor=alice, url="https://social.example.org/anna-miller/1.png")
    row = AuditLog.objects.get(action="media.submitted")
    assert "anna" not in str(row.details)
    assert row.details["host"] == "social.example.org"


def test_result_without_details_of_persons(organization):
    job = finished(organization)
    InferenceResult.objects.filter(job=job).update(
        details={"channels": [], "faces": [{"box": [1, 2, 3, 4]}], "provenance": {"by": "A. Painter"}}
    )
    retention.erase(job.media, ErasedReason.NONE)
    assert InferenceResult.objects.get(job=job).details == {"channels": []}
