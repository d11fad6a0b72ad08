"""What review does when another room has news, and what it offers to the list of analyses."""

from __future__ import annotations

from typing import Any

from django.dispatch import receiver

from accounts.models import User
from accounts.permissions import Permission
from detection.models import InferenceResult, Job
from detection.services import BulkAction, offer_bulk_action
from detection.signals import verdict_recorded
from review import services


@receiver(verdict_recorded, dispatch_uid="review.route")
def route_completed_job(sender: Any, job: Job, result: InferenceResult, **kwargs: Any) -> None:
    """In the transaction that completes the job: its case is kept or lost with the verdict."""
    services.route(job, result)


def offer_to_list() -> None:
    def send(job: Job, actor: User) -> None:
        services.send_to_review(job=job, actor=actor)

    def is_allowed(member: User) -> bool:
        return member.may(Permission.REVIEW_READ)

    offer_bulk_action(BulkAction("review", "Send to review", "Sent to review: {}.", "user", send, is_allowed, 30))
