"""A claimed job is brought to exactly one end, whatever happens on the way."""

from __future__ import annotations

import errno
import importlib
import os
import stat
import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connections
from django.utils import timezone
from django_q.models import OrmQ

from deepfake import loop, storage
from deepfake.errors import DomainError
from detection import jobs, querysets, running, services, verdicts, workspace
from detection.engine.errors import DecoderCrashed, OutOfMemory
from detection.engine.fingerprints import Prints
from detection.models import (
    ExplanationArtifact,
    FacePrint,
    InferenceResult,
    Job,
    JobStatus,
    Media,
    ModelVersion,
    SoundMark,
)
from detection.signals import analysis_finished
from tests import factories
from tests.detection.conftest import StubEngine, upload, wav_bytes
from tests.detection.web import Reply

pytestmark = [pytest.mark.services, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def queued(organization: Any, alice: Any) -> Job:
    return services.submit_and_start(organization=organization, actor=alice, file=upload(), filename="portrait.png")


def reload(job: Job) -> Job:
    return Job.objects.get(pk=job.pk)


def in_thread(call: Any) -> threading.Thread:
    def work() -> None:
        try:
            call()
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_every_job_path_can_be_imported() -> None:
    for path in (
        services.QUEUE_ENTRY,
        "detection.jobs.sweep",
        "detection.jobs.release",
        "detection.webhooks_sending.deliver_due",
    ):
        module, _, name = path.rpartition(".")
        assert callable(getattr(importlib.import_module(module), name))


def test_starting_a_job_rings_the_bell_in_the_same_transaction(queued: Job) -> None:
    assert OrmQ.objects.count() == 1
    assert reload(queued).status == JobStatus.QUEUED


def test_records_the_verdict(queued: Job, run_next: Any, engine: StubEngine) -> None:
    heard = []
    analysis_finished.connect(lambda job, **kwargs: heard.append((job.pk, job.status)), weak=False, dispatch_uid="t")
    try:
        job = run_next()
    finally:
        analysis_finished.disconnect(dispatch_uid="t")
    assert (job.status, job.percent, job.attempts, job.worker) == (JobStatus.COMPLETED, 100, 1, "")
    assert job.started_at <= job.finished_at
    result = job.result
    assert (result.label, result.score, result.interval_low, result.interval_high) == ("fake", 0.93, 0.9, 0.95)
    assert result.model_version.name == "ensemble-test-0001"
    assert [row.branch for row in result.branch_scores.order_by("pk")] == ["spatial", "audio"]
    assert result.details["provenance"]["state"] == "absent"
    artifact = result.artifacts.get()
    assert storage.open_decrypted(artifact.storage_name).read(4) == b"\x89PNG"
    assert (artifact.mime_type, artifact.box) == ("image/png", [1, 2, 30, 30])
    assert heard == [(job.pk, JobStatus.COMPLETED)]
    assert engine.calls[0]["content"] == factories.png_bytes()


def test_stores_what_the_decoder_found_and_a_thumbnail(queued: Job, run_next: Any) -> None:
    media = run_next().media
    assert (media.kind, media.width, media.height) == ("image", 64, 48)
    assert len(media.phash) == 16
    assert storage.open_decrypted(media.thumbnail_name).read(3) == b"\xff\xd8\xff"
    assert media.rendition_name == ""


def test_recording_is_probed_before_it_is_analysed(organization: Any, run_next: Any, engine: StubEngine) -> None:
    services.submit_and_start(organization=organization, file=upload(wav_bytes(), "voice.wav"), filename="voice.wav")
    kinds = []
    engine.before = lambda call: kinds.append(Media.objects.get().duration_s)
    assert run_next().status == JobStatus.COMPLETED
    assert kinds == [0.5]


def test_original_lies_in_a_private_folder_that_is_gone_afterwards(
    queued: Job, run_next: Any, engine: StubEngine, settings: Any
) -> None:
    modes = []

    def look(call: dict[str, Any]) -> None:
        modes.append(stat.S_IMODE(os.stat(call["path"]).st_mode))
        modes.append(stat.S_IMODE(os.stat(call["path"].parent).st_mode))

    engine.before = look
    run_next()
    assert modes == [0o600, 0o700]
    assert list(settings.SPOOL_DIR.iterdir()) == []


def test_shipped_profile_is_recorded_and_the_engine_chooses(queued: Job, run_next: Any, engine: StubEngine) -> None:
    factories_profile("default_image", None)
    assert run_next().threshold_profile.name == "default_image"
    assert engine.calls[0]["thresholds"] is None


def test_profile_of_the_organisation_comes_before_the_shipped_one(
    queued: Job, organization: Any, run_next: Any, engine: StubEngine
) -> None:
    factories_profile("default_image", None)
    own = factories_profile("default_image", organization, fake_at=0.9, real_below=0.1)
    assert run_next().threshold_profile == own
    thresholds = engine.calls[0]["thresholds"]
    assert (thresholds.fake, thresholds.real) == (0.9, 0.1)


def factories_profile(name: str, organization: Any, **values: float) -> Any:
    from detection.models import ThresholdProfile

    values = {"fake_at": 0.65, "real_below": 0.35} | values
    return ThresholdProfile.objects.update_or_create(organization=organization, name=name, defaults=values)[0]


def test_same_models_share_one_model_version(queued: Job, alice: Any, run_next: Any) -> None:
    services.rerun_job(job=queued, actor=alice)
    run_next()
    run_next()
    assert InferenceResult.objects.count() == 2
    assert ModelVersion.objects.filter(name="ensemble-test-0001").count() == 1


# Order and claims -----------------------------------------------------------------------------------------------------


def test_best_due_job_is_claimed_first(organization: Any) -> None:
    later = timezone.now() + timedelta(minutes=1)
    plain = factories.make_job(organization=organization)
    factories.make_job(organization=organization, priority=9, next_attempt_at=later)
    urgent = factories.make_job(organization=organization, priority=5)
    assert jobs.claim_next("w").pk == urgent.pk
    assert jobs.claim_next("w").pk == plain.pk
    assert jobs.claim_next("w") is None


def test_organisations_take_turns(organization: Any, other_organization: Any) -> None:
    many = [factories.make_job(organization=organization, priority=10) for _ in range(4)]
    one = factories.make_job(organization=other_organization)
    assert jobs.claim_next("w").pk == many[0].pk
    assert jobs.claim_next("w").pk == one.pk, "whatever priority others give themselves"
    late = factories.make_job(organization=other_organization)
    assert jobs.claim_next("w").pk == many[1].pk
    assert jobs.claim_next("w").pk == late.pk
    assert {jobs.claim_next("w").pk, jobs.claim_next("w").pk} == {many[2].pk, many[3].pk}
    assert jobs.claim_next("w") is None


def test_twenty_workers_claim_ten_jobs_once_each(organization: Any) -> None:
    made = {factories.make_job(organization=organization).pk for _ in range(10)}
    claimed: list[Any] = []

    def work() -> None:
        while (job := jobs.claim_next("w")) is not None:
            claimed.append(job.pk)

    for thread in [in_thread(work) for _ in range(20)]:
        thread.join()
    assert sorted(claimed) == sorted(made)


def test_killed_worker_is_followed_by_another(queued: Job, run_next: Any) -> None:
    """kill -9 leaves a running row whose heart has stopped."""
    dead = jobs.claim_next("dead")
    assert jobs.claim_next("other") is None
    Job.objects.filter(pk=dead.pk).update(heartbeat_at=timezone.now() - querysets.STALE_AFTER * 2)
    job = run_next()
    assert (job.status, job.attempts) == (JobStatus.COMPLETED, 2)


def test_job_that_kills_its_worker_fails_after_three_tries_and_blocks_nobody(
    queued: Job, organization: Any, run_next: Any
) -> None:
    Job.objects.filter(pk=queued.pk).update(priority=9)
    for attempt in (1, 2, 3):
        assert jobs.claim_next("doomed").attempts == attempt
        Job.objects.filter(pk=queued.pk).update(heartbeat_at=timezone.now() - querysets.STALE_AFTER * 2)
    other = services.submit_and_start(organization=organization, file=upload(), filename="b.png")
    run_next()
    poisoned = reload(queued)
    assert (poisoned.status, poisoned.failure_code, poisoned.attempts) == (JobStatus.FAILED, "worker_crashed", 3)
    assert "three times" in poisoned.failure_message
    assert reload(other).status == JobStatus.COMPLETED


def test_worker_taken_for_dead_changes_nothing_when_it_comes_back(queued: Job, engine: StubEngine) -> None:
    """Two workers run the same job to its end: one verdict, no artifact left over."""
    second: list[Any] = []

    def die_and_be_followed(call: dict[str, Any]) -> None:
        if not second:
            Job.objects.filter(pk=queued.pk).update(heartbeat_at=timezone.now() - querysets.STALE_AFTER * 2)
            second.append(in_thread(jobs.run_detection))
            second[0].join()

    engine.before = die_and_be_followed
    jobs.run_detection()
    assert len(engine.calls) == 2
    job = reload(queued)
    assert (job.status, job.attempts) == (JobStatus.COMPLETED, 2)
    assert InferenceResult.objects.count() == 1
    kept = {job.media.storage_name, job.media.thumbnail_name, job.result.artifacts.get().storage_name}
    assert stored_objects(queued) == kept


def stored_objects(job: Job) -> set[str]:
    from django.conf import settings

    root = settings.DATA_DIR / "objects" / "objects"
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_bell_without_work_does_nothing(engine: StubEngine) -> None:
    jobs.run_detection("00000000-0000-0000-0000-000000000000")
    assert engine.calls == []


def test_heart_beats_while_the_engine_is_silent(queued: Job, engine: StubEngine, monkeypatch: Any) -> None:
    monkeypatch.setattr(running, "BEAT_S", 0.05)
    beats = []

    def be_silent(call: dict[str, Any]) -> None:
        for _ in range(3):
            time.sleep(0.2)
            beats.append(reload(queued).heartbeat_at)

    engine.before = be_silent
    jobs.run_detection()
    assert beats[0] < beats[1] < beats[2]


def test_stage_and_percent_move_on(queued: Job, engine: StubEngine, monkeypatch: Any) -> None:
    monkeypatch.setattr(running, "PROGRESS_S", 0.0)
    seen = []
    monkeypatch.setattr(running.live, "publish", lambda job: seen.append((job.stage, job.percent)))
    jobs.run_detection()
    stages = [stage for stage, _ in seen]
    assert stages[:3] == ["starting", "decoding", "spatial"]
    percents = [percent for _, percent in seen]
    assert percents == sorted(percents)


# Failing --------------------------------------------------------------------------------------------------------------


def fail_with(error: BaseException) -> Any:
    def fail(call: dict[str, Any]) -> None:
        raise error

    return fail


def test_broken_file_fails_at_once_with_code_and_sentence(organization: Any, run_next: Any) -> None:
    broken = factories.png_bytes()[:60]
    services.submit_and_start(organization=organization, file=upload(broken, "b.png"), filename="b.png")
    job = run_next()
    assert (job.status, job.failure_code, job.attempts) == (JobStatus.FAILED, "media_unreadable", 1)
    assert job.failure_message


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DecoderCrashed("The decoder died."), "decoder_crashed"),
        (OSError(errno.ENOSPC, "No space left on device"), "storage_full"),
    ],
)
def test_fails_at_once(error: Exception, code: str, queued: Job, engine: StubEngine, run_next: Any) -> None:
    engine.before = fail_with(error)
    job = run_next()
    assert (job.status, job.failure_code, job.attempts) == (JobStatus.FAILED, code, 1)
    assert job.failure_message.endswith(".")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OutOfMemory("Too little memory."), "out_of_memory"),
        (MemoryError(), "out_of_memory"),
        (ZeroDivisionError("a bug"), "internal_error"),
    ],
)
def test_is_tried_three_times(error: Exception, code: str, queued: Job, engine: StubEngine, run_next: Any) -> None:
    engine.before = fail_with(error)
    for attempt in (1, 2):
        job = run_next()
        assert (job.status, job.attempts, job.worker) == (JobStatus.QUEUED, attempt, "")
        assert job.next_attempt_at > timezone.now()
        assert run_next().attempts == attempt, "claimed before its time"
        Job.objects.update(next_attempt_at=timezone.now())
    job = run_next()
    assert (job.status, job.failure_code, job.attempts) == (JobStatus.FAILED, code, 3)
    assert "ZeroDivision" not in job.failure_message


def test_second_try_may_succeed(queued: Job, engine: StubEngine, run_next: Any) -> None:
    engine.before = fail_with(OutOfMemory("Too little memory."))
    run_next()
    engine.before = lambda call: None
    Job.objects.update(next_attempt_at=timezone.now())
    job = run_next()
    assert (job.status, job.attempts, job.failure_code) == (JobStatus.COMPLETED, 2, "")


def test_thread_that_is_told_to_exit_gives_the_job_back(queued: Job, engine: StubEngine) -> None:
    engine.before = fail_with(SystemExit())
    with pytest.raises(SystemExit):
        jobs.run_detection()
    job = reload(queued)
    assert (job.status, job.attempts, job.worker) == (JobStatus.QUEUED, 0, "")


def test_process_that_stops_gives_the_job_back(queued: Job, engine: StubEngine) -> None:
    engine.before = lambda call: loop.stopping.set()
    try:
        jobs.run_detection()
    finally:
        loop.stopping.clear()
    job = reload(queued)
    assert (job.status, job.attempts, job.worker) == (JobStatus.QUEUED, 0, "")
    engine.before = lambda call: None
    jobs.run_detection()
    assert reload(queued).status == JobStatus.COMPLETED


def test_release_takes_only_the_jobs_of_that_worker(organization: Any) -> None:
    first, second = (factories.make_job(organization=organization) for _ in range(2))
    jobs.claim_next("host:1:worker-1")
    jobs.claim_next("host:1:worker-10")
    assert jobs.release("host:1:worker-1") == 1
    assert {reload(first).status, reload(second).status} == {JobStatus.QUEUED, JobStatus.RUNNING}


# Cancelling and deleting while it runs --------------------------------------------------------------------------------


def test_cancel_while_it_runs(queued: Job, engine: StubEngine, run_next: Any, monkeypatch: Any, alice: Any) -> None:
    monkeypatch.setattr(running, "PROGRESS_S", 0.0)
    engine.before = lambda call: services.cancel_job(job=queued, actor=alice)
    job = run_next()
    assert (job.status, job.worker) == (JobStatus.CANCELLED, "")
    assert job.finished_at
    assert not InferenceResult.objects.exists()


def test_cancel_in_the_very_last_step(queued: Job, engine: StubEngine, run_next: Any, monkeypatch: Any) -> None:
    original = running.verdicts.record_verdict

    def cancel_first(job: Job, *args: Any) -> bool:
        services.cancel_job(job=queued)
        return original(job, *args)

    monkeypatch.setattr(running.verdicts, "record_verdict", cancel_first)
    job = run_next()
    assert job.status == JobStatus.CANCELLED
    assert not ExplanationArtifact.objects.exists()
    assert stored_objects(queued) == {job.media.storage_name, job.media.thumbnail_name}


def test_cancelled_job_whose_worker_died_is_not_run_again(queued: Job, engine: StubEngine, run_next: Any) -> None:
    jobs.claim_next("dead")
    services.cancel_job(job=queued)
    Job.objects.update(heartbeat_at=timezone.now() - querysets.STALE_AFTER * 2)
    assert run_next().status == JobStatus.CANCELLED
    assert engine.calls == []


def test_delete_while_it_runs_leaves_nothing(queued: Job, engine: StubEngine, alice: Any) -> None:
    engine.before = lambda call: services.delete_analysis(job=reload(queued), actor=alice)
    jobs.run_detection()
    assert not Job.objects.exists()
    assert not Media.objects.exists()
    assert stored_objects(queued) == set()


def test_delete_takes_what_a_dead_worker_stored_without_rows(queued: Job, alice: Any) -> None:
    orphan = storage.save_encrypted(f"job{queued.id.hex}", b"picture", organization_id=queued.organization_id)
    services.delete_analysis(job=queued, actor=alice)
    assert not storage.exists(orphan)
    assert stored_objects(queued) == set()


# URLs -----------------------------------------------------------------------------------------------------------------


def test_url_is_fetched_once_for_all_jobs_of_the_item(
    organization: Any, run_next: Any, local_servers: Any, server: Any
) -> None:
    server.replies["/pics/face.png"] = Reply(body=factories.png_bytes())
    first = services.submit_and_start(organization=organization, url=server.url("/pics/face.png"))
    assert first.media.filename == "face.png"
    job = run_next()
    assert job.status == JobStatus.COMPLETED
    assert (job.media.kind, job.media.size_bytes) == ("image", len(factories.png_bytes()))
    services.rerun_job(job=job)
    assert run_next().status == JobStatus.COMPLETED
    assert len(server.seen) == 1


def test_unreachable_url_is_tried_again_and_then_fails(
    organization: Any, run_next: Any, local_servers: Any, server: Any
) -> None:
    server.replies["/a.png"] = Reply(503)
    services.submit_and_start(organization=organization, url=server.url("/a.png"))
    for _ in range(2):
        assert run_next().status == JobStatus.QUEUED
        Job.objects.update(next_attempt_at=timezone.now())
    job = run_next()
    assert (job.status, job.failure_code) == (JobStatus.FAILED, "url_failed")
    assert "503" in job.failure_message
    assert len(server.seen) == 3


def test_url_that_is_no_media_fails_with_a_sentence(
    organization: Any, run_next: Any, local_servers: Any, server: Any
) -> None:
    server.replies["/a.png"] = Reply(body=b"%PDF-1.7 ...")
    services.submit_and_start(organization=organization, url=server.url("/a.png"))
    job = run_next()
    assert (job.status, job.failure_code, job.attempts) == (JobStatus.FAILED, "unsupported_type", 1)


def test_private_url_fails_the_job(organization: Any, run_next: Any, monkeypatch: Any) -> None:
    from tests.detection.test_fetch import resolver

    resolver(monkeypatch, ["192.168.0.10"])
    services.submit_and_start(organization=organization, url="http://intranet.example.org/a.png")
    job = run_next()
    assert (job.status, job.failure_code) == (JobStatus.FAILED, "url_not_allowed")


def test_mode_that_does_not_fit_fails(organization: Any, run_next: Any, local_servers: Any, server: Any) -> None:
    server.replies["/a.png"] = Reply(body=factories.png_bytes())
    services.submit_and_start(organization=organization, url=server.url("/a.png"), mode="audio")
    job = run_next()
    assert (job.status, job.failure_code) == (JobStatus.FAILED, "mode_mismatch")


# Sweeping -------------------------------------------------------------------------------------------------------------


def test_sweep_rings_again_for_lost_bells(queued: Job) -> None:
    OrmQ.objects.all().delete()
    jobs.sweep()
    assert OrmQ.objects.count() == 1
    jobs.sweep()
    assert OrmQ.objects.count() == 1, "one bell per due job is enough"


def test_sweep_does_not_count_bells_that_are_being_answered(queued: Job) -> None:
    OrmQ.objects.update(lock=timezone.now() + timedelta(seconds=60))
    jobs.sweep()
    assert OrmQ.objects.count() == 2


def test_sweep_removes_folders_of_dead_workers_only(queued: Job, settings: Any) -> None:
    running_job = jobs.claim_next("alive")
    with workspace.open_for(running_job) as folder:
        dead = settings.SPOOL_DIR / f"job-{queued.id.hex}-{'0' * 16}"
        dead.mkdir()
        (dead / "original").write_bytes(b"secret")
        jobs.sweep()
        assert folder.exists()
        assert not dead.exists()


def test_what_the_item_can_be_found_again_by_is_kept_once(queued: Job, run_next: Any, engine: StubEngine) -> None:
    job = run_next()
    services.rerun_job(job=job)
    run_next()
    assert [(face.organization_id, face.bits) for face in job.media.face_prints.all()] == [
        (job.organization_id, "5" * 64)
    ]
    assert list(job.media.sound_marks.order_by("step").values_list("value", "step")) == [(77, 3), (78, 9)]


def test_a_run_that_looked_at_the_picture_alone_leaves_the_marks_of_the_sound(
    queued: Job, run_next: Any, engine: StubEngine
) -> None:
    job = run_next()
    engine.prints = Prints()
    services.rerun_job(job=job)
    run_next()
    assert (job.media.face_prints.count(), job.media.sound_marks.count()) == (1, 2)


def test_a_verdict_links_the_item_with_those_that_share_its_prints(
    queued: Job, run_next: Any, engine: StubEngine, organization: Any
) -> None:
    first = run_next()
    services.submit_and_start(organization=organization, file=upload(factories.png_bytes(80, 80)), filename="other.png")
    second = run_next()
    assert list(second.media.links.values_list("other", "reason")) == [(first.media_id, "same_face")]
    assert list(first.media.links.values_list("other", "reason")) == [(second.media_id, "same_face")]


def test_a_verdict_stands_when_its_links_cannot_be_written(
    queued: Job, run_next: Any, engine: StubEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(media: Media) -> None:
        raise DatabaseError("disk I/O error")

    monkeypatch.setattr(verdicts.prints, "link", broken)
    assert run_next().status == JobStatus.COMPLETED


def test_deleting_takes_the_prints_along(queued: Job, run_next: Any, engine: StubEngine) -> None:
    services.delete_analysis(job=run_next())
    assert not FacePrint.objects.exists()
    assert not SoundMark.objects.exists()


def test_the_engine_is_asked_for_the_stability_test_of_the_job(queued: Job, run_next: Any, engine: StubEngine) -> None:
    job = run_next()
    again = services.rerun_job(job=job, stability="full")
    run_next()
    third = services.rerun_job(job=again)
    assert [call["stability"] for call in engine.calls] == ["cheap", "full"]
    assert third.stability == "full"  # as before, unless another one is asked for


def test_an_unknown_stability_test_is_refused(queued: Job) -> None:
    with pytest.raises(DomainError, match="must be one of cheap, full"):
        services.rerun_job(job=queued, stability="enormous")
    assert Job.objects.count() == 1
