"""Counting analyses as they end, from the signal that tells it."""

from __future__ import annotations

from typing import Any

from django.db.models.signals import post_save

from deepfake import metrics, tracing
from detection.models import InferenceResult, Job, JobStatus
from detection.signals import analysis_finished

# Running totals of a run, no stages.
_TOTALS = frozenset({"verdict", "total"})


def listen() -> None:
    analysis_finished.connect(_count, dispatch_uid="deepfake.metrics_jobs")
    post_save.connect(_remember_trace, sender=Job, dispatch_uid="deepfake.metrics_jobs")


def _remember_trace(sender: Any, instance: Job, created: bool, **kwargs: Any) -> None:
    if created:
        tracing.remember(instance.pk)


def _count(sender: Any, job: Job, **kwargs: Any) -> None:
    kind = job.kind or job.media.kind or "unknown"
    metrics.jobs_finished.labels(kind, job.status).inc()
    if job.started_at is not None:
        metrics.job_wait_seconds.labels(kind).observe((job.started_at - job.created_at).total_seconds())
        if job.finished_at is not None:
            metrics.job_seconds.labels(kind).observe((job.finished_at - job.started_at).total_seconds())
    if job.status == JobStatus.FAILED:
        metrics.failures.labels(job.failure_code or "unknown").inc()
    if job.status != JobStatus.COMPLETED:
        return
    result = InferenceResult.objects.filter(job=job).only("label", "details").first()
    if result is None:
        return
    metrics.verdicts.labels(kind, result.label).inc()
    for stage, seconds in (result.details.get("seconds") or {}).items():
        if stage not in _TOTALS:
            metrics.stage_seconds.labels(stage, kind).observe(seconds)
