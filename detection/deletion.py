"""Deleting with a way back: rows vanish at once, and are carried off, keys first, when the time to undo is over."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from accounts import audit
from accounts.models import Organization, User
from accounts.permissions import Permission, check
from deepfake.errors import DomainError
from detection import holds, live, services
from detection.models import Job, Media
from detection.walking import walked

UNDO_S = 10
GRACE_S = 2  # a click in the last second still counts while it is on its way
SAFETY_S = 8  # between the last undo that is taken and the destruction of keys: the two never meet
CARRIED_OFF_AT_ONCE = 100  # per sweep, so that a large deletion does not hold up the next round
BLOCK = 500


@dataclass(frozen=True)
class Pending:
    """What a member deleted a moment ago, and can bring back until `until`."""

    id: uuid.UUID
    count: int
    until: datetime
    held: int = 0  # what a legal hold has kept

    @property
    def seconds_left(self) -> int:
        return max(0, round((self.until - timezone.now()).total_seconds()))


def delete_soon(*, jobs: Iterable[Job], organization: Organization, actor: User) -> Pending:
    """Hide the jobs, and the items that nothing else uses, from everybody. Raises DomainError."""
    check(actor, Permission.DELETE)
    asked = [job.pk for job in jobs]
    held = holds.held_jobs(asked)
    wanted = [pk for pk in asked if pk not in held]
    if held and not wanted:
        raise DomainError(
            "A legal hold keeps these: they cannot be deleted until somebody who may manage privacy releases it.",
            "legal_hold",
            409,
        )
    batch, now, hidden = uuid.uuid4(), timezone.now(), 0
    with transaction.atomic():
        for start in range(0, len(wanted), BLOCK):
            shown = Job.objects.visible_to(organization).filter(pk__in=wanted[start : start + BLOCK])
            hidden += shown.update(deleted_at=now, deleted_by=actor, deletion=batch)
        if not hidden:
            raise DomainError("None of these analyses is there any more.", "nothing_chosen", 409)
        _hide_items(batch, now)
        details = {"deletion": str(batch), "count": hidden, "jobs": [f"job_{pk.hex}" for pk in wanted]}
        audit.record(action="jobs.deletion_asked", organization=organization, actor=actor, details=details)
    _tell(batch)
    return Pending(batch, hidden, now + timedelta(seconds=UNDO_S), len(held))


def _hide_items(batch: uuid.UUID, now: datetime) -> None:
    shown = Job.objects.filter(media=OuterRef("pk"), deleted_at=None)
    items = Media.objects.filter(jobs__deletion=batch, deleted_at=None).exclude(Exists(shown))
    Media.objects.filter(pk__in=list(items.values_list("pk", flat=True))).update(deleted_at=now)


def bring_back(*, deletion: uuid.UUID, organization: Organization, actor: User) -> int:
    """Show again what was deleted together. Raises DomainError when it is too late."""
    with transaction.atomic():
        since = timezone.now() - timedelta(seconds=UNDO_S + GRACE_S)
        hidden = Job.objects.filter(organization=organization, deletion=deletion, deleted_by=actor)
        jobs = list(hidden.filter(deleted_at__gt=since).select_related("media"))
        if not jobs:
            raise DomainError("It is too late to bring them back: the keys are destroyed.", "too_late", 409)
        media = Media.objects.filter(pk__in={job.media_id for job in jobs})
        media.update(deleted_at=None)
        Job.objects.filter(pk__in=[job.pk for job in jobs]).update(deleted_at=None, deleted_by=None, deletion=None)
        details = {"deletion": str(deletion), "count": len(jobs)}
        audit.record(action="jobs.deletion_undone", organization=organization, actor=actor, details=details)
    for job in jobs[:BLOCK]:
        live.publish(job)
    return len(jobs)


def pending_of(member: Any) -> Pending | None:
    """The newest deletion that this member can still undo."""
    since = timezone.now() - timedelta(seconds=UNDO_S)
    # Few rows have been deleted a moment ago; the organisation must not tempt the database to look at all of its own.
    own = walked(Job, "organization", member.organization_id)
    mine = Job.objects.filter(own, deleted_at__gt=since, deleted_by=member)
    rows = [
        (found, at)
        for found, at in mine.order_by("-deleted_at").values_list("deletion", "deleted_at")
        if found is not None and at is not None
    ]
    if not rows:
        return None
    newest, at = rows[0]
    return Pending(newest, sum(1 for deletion, _ in rows if deletion == newest), at + timedelta(seconds=UNDO_S))


def carry_off() -> int:
    """Delete for good what nobody brought back: data keys first, then the rows. Called by the sweep."""
    before = timezone.now() - timedelta(seconds=UNDO_S + GRACE_S + SAFETY_S)
    due = Job.objects.filter(deleted_at__lt=before).select_related("media", "organization", "deleted_by")
    done = 0
    for job in list(due.order_by("deleted_at")[:CARRIED_OFF_AT_ONCE]):
        try:
            services.delete_analysis(job=job, actor=job.deleted_by)
        except DomainError:  # a hold was set, through another analysis of the item, after this one was hidden
            _show_again(job)
            continue
        done += 1
    return done


def _show_again(job: Job) -> None:
    with transaction.atomic():
        Media.objects.filter(pk=job.media_id).update(deleted_at=None)
        Job.objects.filter(pk=job.pk).update(deleted_at=None, deleted_by=None, deletion=None)
        audit.record(action="jobs.deletion_held", organization=job.organization, target=job)


def _tell(batch: uuid.UUID) -> None:
    """Open lists look again; a page of a large deletion needs to hear of it once only."""
    first = Job.objects.filter(deletion=batch).first()
    if first is not None:
        live.publish(first)
