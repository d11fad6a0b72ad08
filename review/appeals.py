"""Appeals: a signed, expiring link for the person shown, what they write, and what they are answered."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.signing import BadSignature, Signer
from django.db import IntegrityError, transaction
from django.urls import reverse
from django.utils import timezone
from django_q.tasks import async_task

from accounts import audit, consent
from accounts.models import User
from accounts.permissions import Permission, check
from deepfake.errors import DomainError
from detection.models import Job, JobStatus
from detection.words import subject_in
from review.models import Appeal, AppealLink, Decision, Priority, Reason, ReviewCase

MAX_TEXT = 4000
TELL = "review.jobs.tell_appellant"
GROUND = "The person shown, or somebody for them, objects to the verdict."
_SIGNER = Signer(salt="review.appeal")


# Links ----------------------------------------------------------------------------------------------------------------


def make_link(*, job: Job, actor: User, days: int) -> AppealLink:
    """Make an address for the person shown. Raises DomainError."""
    check(actor, Permission.APPEALS)
    if job.status != JobStatus.COMPLETED:
        raise DomainError("There is no verdict yet that one could appeal against.", "job_not_completed", 409)
    with transaction.atomic():
        link = AppealLink.objects.create(job=job, created_by=actor, expires_at=timezone.now() + timedelta(days=days))
        _audit("review.appeal_link_made", job, actor, {"link": str(link.id), "expires_at": link.expires_at})
    return link


def revoke_link(*, link: AppealLink, actor: User) -> None:
    check(actor, Permission.APPEALS)
    with transaction.atomic():
        if AppealLink.objects.filter(pk=link.pk, revoked_at=None).update(revoked_at=timezone.now()):
            _audit("review.appeal_link_revoked", link.job, actor, {"link": str(link.id)})


def token(link: AppealLink) -> str:
    return _SIGNER.sign(link.id.hex)


def path(link: AppealLink) -> str:
    return reverse("review:appeal", args=[token(link)])


def find_link(text: str) -> AppealLink | None:
    """The live link behind a token; None for one that is forged, unknown, revoked or has run out."""
    try:
        identity = uuid.UUID(_SIGNER.unsign(text))
    except (BadSignature, ValueError):
        return None
    links = AppealLink.objects.select_related("job__organization", "job__media")
    link = links.filter(pk=identity, job__deleted_at=None).first()
    return link if link is not None and link.is_live else None


# Appealing ------------------------------------------------------------------------------------------------------------


def appeal(*, link: AppealLink, text: str, email: str = "") -> Appeal:
    """Take an appeal and put the job before people, first in the queue. Raises DomainError."""
    from review import rules, services  # services settles appeals: the two know each other

    text = text.strip()
    if not text:
        raise DomainError("Write what is wrong with the result.", "nothing_sent")
    if len(text) > MAX_TEXT:
        raise DomainError(f"Please use at most {MAX_TEXT} characters.", "text_too_long")
    job = link.job
    try:
        with transaction.atomic():
            case = services.open_case(
                job=job, grounds=[rules.Ground(Reason.APPEAL, Priority.URGENT, subject_in(GROUND, job.media.kind))]
            )
            taken = Appeal.objects.create(link=link, job=job, case=case, text=text, email=email)
            if email:
                consent.give(
                    organization=job.organization,
                    purpose="appeal_contact",
                    subject=email,
                    evidence={"appeal": taken.pk},
                    about=("job", str(job.pk)),
                )
            _audit("review.appealed", case, None, {"appeal": str(taken.id)})
    except IntegrityError:
        raise DomainError(
            "There is an appeal on this item already, and it has not been answered yet.", "appeal_open", 409
        ) from None
    return taken


def answer(case: ReviewCase, decision: Decision) -> None:
    """Give the open appeal of a decided case its answer; in the transaction of the decision."""
    waiting = Appeal.objects.unanswered().filter(case=case).first()
    if waiting is None:
        return
    waiting.answered_at, waiting.answer, waiting.label = timezone.now(), decision.answer, case.label
    waiting.save(update_fields=["answered_at", "answer", "label"])
    _audit("review.appeal_answered", case, decision.reviewer, {"appeal": str(waiting.id), "label": case.label})
    if waiting.email:
        async_task(TELL, str(waiting.pk), group="review", save=False)


def take_back(case: ReviewCase, decision: Decision) -> None:
    """The decision that answered an appeal is undone: the appeal waits again."""
    case.appeals.filter(answered_at__gte=decision.created_at).update(answered_at=None, answer="", label="")


def url_of(link: AppealLink) -> str:
    """Below PUBLIC_URL: it is sent to people outside."""
    return settings.PUBLIC_URL + path(link)


def _audit(action: str, target: Job | ReviewCase, actor: User | None, details: dict[str, Any]) -> None:
    audit.record(action=action, organization=target.organization, actor=actor, target=target, details=details)
