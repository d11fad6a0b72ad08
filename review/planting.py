"""Known items: jobs whose truth is known, put among the others to see how well people judge."""

from __future__ import annotations

from typing import Any

from django.db import transaction

from accounts import audit
from accounts.models import User
from accounts.permissions import Permission, check
from deepfake.errors import DomainError
from detection.models import Job, JobStatus, Label
from review import rules, services
from review.models import KnownItem


def plant(*, job: Job, actor: User, truth: str, source: str = "") -> KnownItem:
    """Note the truth about a job and put it into the queue as one of the audit sample. Raises DomainError."""
    check(actor, Permission.REVIEW_PLANT)
    if truth not in (Label.REAL, Label.FAKE):
        raise DomainError("A known item is real or fake.", "label_unknown")
    if job.status != JobStatus.COMPLETED:
        raise DomainError("Only a completed analysis can be planted.", "job_not_completed", 409)
    with transaction.atomic():
        known, _ = KnownItem.objects.update_or_create(
            job=job,
            defaults={"organization": job.organization, "truth": truth, "source": source[:300], "created_by": actor},
        )
        if not job.review_cases.exists():
            services.open_case(job=job, grounds=[rules.audit_ground()])
        # The target is the item and not the case, so that the case's trail does not give it away.
        _audit("review.known_planted", known, actor, {"job": job.public_id, "truth": truth})
    return known


def unplant(*, known: KnownItem, actor: User) -> None:
    """Forget the truth; the case stays, it may be decided like any other."""
    check(actor, Permission.REVIEW_PLANT)
    with transaction.atomic():
        _audit("review.known_removed", known, actor, {"job": known.job.public_id})
        known.delete()


def _audit(action: str, known: KnownItem, actor: User, details: dict[str, Any]) -> None:
    audit.record(action=action, organization=known.organization, actor=actor, target=known, details=details)
