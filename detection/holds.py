"""Legal holds: what they cover, setting and releasing them. What is held is neither deleted nor erased by anybody."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from accounts import audit
from accounts.models import Organization, User
from accounts.permissions import Permission, check
from deepfake.errors import DomainError
from detection.models import Job, LegalHold, Media

MAX_REASON = 1000


def standing() -> QuerySet[LegalHold]:
    return LegalHold.objects.filter(released_at=None)


def on_job(job: Job) -> list[LegalHold]:
    """The holds that keep this analysis: its own, and those on the whole item."""
    rows = standing().filter(Q(job=job) | Q(media=job.media_id, job=None))
    return list(rows.select_related("set_by"))


def held_jobs(jobs: Iterable[Any]) -> set[Any]:
    """Which of these primary keys of jobs are held."""
    wanted = Job.objects.filter(pk__in=list(jobs)).order_by()
    on_item = standing().filter(media=OuterRef("media_id"), job=None)
    on_it = standing().filter(job=OuterRef("pk"))
    return set(wanted.filter(Exists(on_item) | Exists(on_it)).values_list("pk", flat=True))


def free_media(media: QuerySet[Media]) -> QuerySet[Media]:
    """Those of which nothing is held: an analysis that is held needs its item."""
    return media.exclude(Exists(standing().filter(media=OuterRef("pk"))))


def check_free(job: Job) -> None:
    """Raise DomainError when a hold keeps this analysis, or the item that would go with it."""
    held = on_job(job)
    if held:
        raise refusal(held[0])


def refusal(hold: LegalHold) -> DomainError:
    return DomainError(
        f"A legal hold of {hold.set_at:%d %B %Y} keeps this: it cannot be deleted. Somebody who may manage privacy can "
        "release the hold, with a reason.",
        "legal_hold",
        409,
    )


def set_hold(*, job: Job, actor: User, reason: str, is_whole_item: bool = True) -> LegalHold:
    """Hold an item with all its analyses, or one analysis with its item. Raises DomainError."""
    check(actor, Permission.PRIVACY)
    reason = _checked(reason)
    try:
        with transaction.atomic():
            # Deleting locks the same row: either the hold is there before it looks, or there is nothing left to hold.
            media = Media.objects.select_for_update().filter(pk=job.media_id, deleted_at=None).first()
            if media is None or not Job.objects.filter(pk=job.pk, deleted_at=None).exists():
                raise DomainError("This analysis is being deleted; it can no longer be held.", "gone", 409)
            if media.is_erased:
                raise DomainError(
                    "The item's bytes are destroyed already; there is nothing to hold.", "media_erased", 409
                )
            hold = LegalHold.objects.create(
                organization=job.organization,
                media=media,
                job=None if is_whole_item else job,
                reason=reason,
                set_by=actor,
            )
            details = {"hold": str(hold.id), "media": media.public_id, "is_whole_item": is_whole_item}
            audit.record(
                action="privacy.hold_set", organization=job.organization, actor=actor, target=job, details=details
            )
    except IntegrityError:
        raise DomainError("There is a hold on this already.", "hold_exists", 409) from None
    return hold


def release(*, hold: LegalHold, actor: User, reason: str) -> None:
    """Release a hold; retention and deletion apply again. Raises DomainError."""
    check(actor, Permission.PRIVACY)
    column: Any = LegalHold._meta.get_field("release_reason")
    sealed = column.sealed_for(hold.pk, _checked(reason))
    with transaction.atomic():
        released = standing().filter(pk=hold.pk)
        if not released.update(released_at=timezone.now(), released_by=actor, release_reason=sealed):
            raise DomainError("This hold has been released already.", "hold_released", 409)
        audit.record(
            action="privacy.hold_released",
            organization=hold.organization,
            actor=actor,
            target=hold.job or hold.media.jobs.first(),
            details={"hold": str(hold.id), "media": hold.media.public_id},
        )


def held_media_ids(organization: Organization, most: int) -> list[Any]:
    rows = standing().filter(organization=organization).order_by("-set_at")
    return list(rows.values_list("media_id", flat=True)[:most])


def forget_released(media: Media) -> None:
    """Rows of released holds go with the item; that they were, the audit log says."""
    LegalHold.objects.filter(media=media, released_at__isnull=False).delete()


def _checked(reason: str) -> str:
    reason = reason.strip()
    if not reason:
        raise DomainError("Say why, as the matter's file number or who asks for it.", "reason_required")
    if len(reason) > MAX_REASON:
        raise DomainError(f"Please use at most {MAX_REASON} characters for the reason.", "text_too_long")
    return reason
