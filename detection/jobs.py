"""What the queue calls: claim the best due job, run it, and bring it to exactly one end."""

from __future__ import annotations

import errno
import logging
import os
import random
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.core.cache import cache
from django.db import transaction
from django.db.models import F, Min
from django.utils import timezone
from django_q.models import OrmQ

from accounts import audit
from deepfake import logs, loop, tracing
from deepfake.errors import DomainError
from detection import batches, deletion, idempotency, live, retention, services, uploads, webhooks, workspace
from detection.engine.errors import Cancelled, EngineError
from detection.models import Job, JobStatus
from detection.running import ClaimLost, Run, Stopping
from detection.signals import analysis_finished

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 3
BACKOFF_S = (2.0, 8.0)
CLAIM_CANDIDATES = 5
TURNS_KEPT_S = 3600
MAX_RINGS = 20
WORKER_CHARACTERS = 62  # of its name; the rest of the column holds the claim

OUT_OF_MEMORY = "The server ran out of memory while analysing this file. Try again later, or send a smaller copy."
DISK_FULL = "The server's disk is full. Free space or ask the operator to, then run the analysis again."
CRASHED = (
    "The analysis was broken off three times because the server stopped while it ran. "
    "The file may be damaged: convert it to another format and send it again."
)
UNEXPECTED = "Something went wrong on our side. Run the analysis again; if it fails again, tell support the job's id."


def run_detection(pk: str = "") -> None:
    """Hear the bell: run the best due job, which need not be the one the bell was rung for."""
    if loop.stopping.is_set():
        return  # the row stays due; the next process finds it
    job = claim_next(loop.worker_name())
    if job is not None:
        with logs.about_job(job.public_id, job.organization_id), tracing.job(job.pk, **{"deepfake.job": job.public_id}):
            _bring_to_an_end(job)


def claim_next(worker: str) -> Job | None:
    """Claim the best due job by conditional update, counting the attempt; None when there is none.

    `job.worker` is then this claim's token: whoever writes to the row asks for it, so a worker that was taken for dead
    and comes back can change nothing.
    """
    for job in _in_turn():
        if job.attempts >= MAX_ATTEMPTS:
            _fail_abandoned(job)
        elif _claim(job, worker):
            cache.set(_turn_of(job.organization_id), time.time(), TURNS_KEPT_S)
            return _loaded(job.pk)
    return None


def _in_turn() -> Iterator[Job]:
    """Due jobs: organisations take turns, each with its best, so that the queue of one does not hold up another."""
    waiting = Job.objects.due().order_by().values("organization").annotate(since=Min("next_attempt_at"))
    since = {row["organization"]: row["since"] for row in waiting}
    turns = cache.get_many([_turn_of(pk) for pk in since])
    for pk in sorted(since, key=lambda pk: (turns.get(_turn_of(pk), 0.0), since[pk])):
        yield from list(Job.objects.due().filter(organization=pk)[:CLAIM_CANDIDATES])


def _turn_of(organization_id: uuid.UUID) -> str:
    return f"turn:{organization_id.hex}"


def run_now(job_id: uuid.UUID) -> None:
    """Run one job here and now, unless somebody else has it."""
    job = Job.objects.filter(pk=job_id).first()
    if job is not None and _claim(job, f"now-{os.getpid()}"):
        _bring_to_an_end(_loaded(job.pk))


def _loaded(pk: uuid.UUID) -> Job:
    return Job.objects.select_related("media", "organization", "threshold_profile", "api_key").get(pk=pk)


def _claim(job: Job, worker: str) -> bool:
    now = timezone.now()
    due = Job.objects.due().order_by().filter(pk=job.pk, attempts=job.attempts, worker=job.worker)
    if job.cancel_requested_at is not None:  # its worker died before it could obey
        _end(job, due, JobStatus.CANCELLED)
        return False
    return bool(
        due.update(
            status=JobStatus.RUNNING,
            worker=f"{worker[:WORKER_CHARACTERS]}#{uuid.uuid4().hex[:16]}",
            attempts=F("attempts") + 1,
            heartbeat_at=now,
            started_at=job.started_at or now,
            stage="starting",
            percent=0,
        )
    )


def _bring_to_an_end(job: Job) -> None:
    """Run a claimed job; whatever happens, the row afterwards says what is to happen next."""
    live.publish(job)
    try:
        with Run(job) as run:
            run.go()
    except ClaimLost:
        logger.info("%s went to another worker or was deleted", job.public_id)
        return
    except Stopping:
        release(job.worker)
        return
    except Cancelled:
        _end(job, _mine(job), JobStatus.CANCELLED)
        return
    except EngineError as error:
        _fail_or_retry(job, error.code, error.message, retryable=error.retryable)
        return
    except DomainError as error:
        _fail_or_retry(job, error.code, error.message, retryable=getattr(error, "retryable", False))
        return
    except MemoryError:
        _fail_or_retry(job, "out_of_memory", OUT_OF_MEMORY, retryable=True)
        return
    except Exception as error:
        logger.exception("%s failed", job.public_id)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            _fail_or_retry(job, "storage_full", DISK_FULL, retryable=False)
        else:
            _fail_or_retry(job, "internal_error", UNEXPECTED, retryable=True)
        return
    except BaseException:  # the thread is told to stop: give the job back
        release(job.worker)
        raise
    _announce(job)


def _mine(job: Job) -> Any:
    return Job.objects.filter(pk=job.pk, status=JobStatus.RUNNING, worker=job.worker)


def _fail_or_retry(job: Job, code: str, message: str, *, retryable: bool) -> None:
    if retryable and job.attempts < MAX_ATTEMPTS:
        wait = BACKOFF_S[job.attempts - 1] * random.uniform(0.8, 1.2)  # many jobs failed together: do not come together
        _mine(job).update(
            status=JobStatus.QUEUED,
            worker="",
            stage="waiting to try again",
            percent=0,
            next_attempt_at=timezone.now() + timedelta(seconds=wait),
        )
        job.refresh_from_db()
        live.publish(job)
        return
    _end(job, _mine(job), JobStatus.FAILED, code, message)


def _fail_abandoned(job: Job) -> None:
    """Its last attempt killed its process: it must not come back for ever."""
    due = Job.objects.due().order_by().filter(pk=job.pk, attempts=job.attempts, worker=job.worker)
    status = JobStatus.FAILED if job.cancel_requested_at is None else JobStatus.CANCELLED
    _end(job, due, status, "worker_crashed", CRASHED)


def _end(job: Job, row: Any, status: JobStatus, code: str = "", message: str = "") -> bool:
    """End the job if `row` still holds it; the callback is queued in the same transaction."""
    failure = {"failure_code": code, "failure_message": message} if status == JobStatus.FAILED else {}
    with transaction.atomic():
        if not row.update(status=status, stage="", worker="", finished_at=timezone.now(), **failure):
            return False
        job.refresh_from_db()
        webhooks.queue_delivery(job)
        audit.record(
            action=f"job.{status}", organization=job.organization, target=job, details={"code": code} if code else {}
        )
    _announce(job)
    return True


def _announce(job: Job) -> None:
    try:
        retention.forget_at_once(job.media)
    except Exception:  # the verdict stands and is told; the sweep tries again
        logger.exception("What was to be forgotten with %s is still there", job.public_id)
    live.publish(job)
    for receiver, failure in analysis_finished.send_robust(sender=Job, job=job):
        if isinstance(failure, Exception):
            logger.error("%s could not take the news of %s", receiver, job.public_id, exc_info=failure)


# Housekeeping ---------------------------------------------------------------------------------------------------------


def sweep() -> None:
    """Ring again for what is due and unheard: bells are lost with the process that took them, rows are not."""
    due = list(Job.objects.due()[:MAX_RINGS])
    # A bell that is held does not count: its holder is at work on another job, or was killed and hears nothing.
    unheard = len(due) - OrmQ.objects.filter(lock__lte=timezone.now()).count()
    for job in due[: max(0, unheard)]:
        services.ring(job)
    workspace.remove_abandoned()
    idempotency.forget_old()
    deletion.carry_off()
    batches.advance_all()
    uploads.sweep()
    retention.forget_left_over()


def release(worker: str) -> int:
    """Give back, at once, what this worker has claimed; the attempt is not held against the job."""
    prefix = worker if "#" in worker else f"{worker[:WORKER_CHARACTERS]}#"
    claimed = Job.objects.filter(status=JobStatus.RUNNING, worker__startswith=prefix)
    return claimed.update(
        status=JobStatus.QUEUED,
        worker="",
        stage="",
        percent=0,
        attempts=F("attempts") - 1,
        next_attempt_at=timezone.now(),
    )
