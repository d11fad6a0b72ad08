"""What review does when another room has news."""

from __future__ import annotations

from typing import Any

from django.dispatch import receiver

from detection.models import InferenceResult, Job
from detection.signals import verdict_recorded
from review import services


@receiver(verdict_recorded, dispatch_uid="review.route")
def route_completed_job(sender: Any, job: Job, result: InferenceResult, **kwargs: Any) -> None:
    """In the transaction that completes the job: its case is kept or lost with the verdict."""
    services.route(job, result)
