"""Questions about many media and many jobs."""

from __future__ import annotations

import datetime
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self, TypeVar

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from accounts.models import Organization

if TYPE_CHECKING:
    from detection.models import Job, Media, SavedView, WebhookDelivery  # noqa: F401  (named in text below)

Row = TypeVar("Row", bound=models.Model)
STALE_AFTER = timedelta(seconds=15)
ALL_PARTS = frozenset({"branches", "artifacts", "details"})  # of a job, as far as they cost a query or much memory


def _organization_of(viewer: Any) -> Organization | None:
    """The organisation of a user or an organisation itself; None sees nothing."""
    return viewer if isinstance(viewer, Organization) else getattr(viewer, "organization", None)


class MediaQuerySet(models.QuerySet["Media"]):
    def visible_to(self, viewer: Any) -> Self:
        organization = _organization_of(viewer)
        return self.none() if organization is None else self.filter(organization=organization, deleted_at=None)

    def of_world(self, is_sandbox: bool | None) -> Self:
        """What sandbox keys made (True), all else (False), or both (None): accounts.authentication.world_of."""
        return self if is_sandbox is None else self.filter(is_sandbox=is_sandbox)


class JobQuerySet(models.QuerySet["Job"]):
    def visible_to(self, viewer: Any) -> Self:
        """Those of the viewer's organisation; what waits for its deletion is gone for everybody."""
        organization = _organization_of(viewer)
        return self.none() if organization is None else self.filter(organization=organization, deleted_at=None)

    def of_world(self, is_sandbox: bool | None) -> Self:
        """What sandbox keys made (True), all else (False), or both (None): accounts.authentication.world_of."""
        return self if is_sandbox is None else self.filter(is_sandbox=is_sandbox)

    def queued_and_due(self) -> Self:
        return self.filter(status="queued", next_attempt_at__lte=timezone.now(), deleted_at=None)

    def stale(self) -> Self:
        """Running, but the worker has not been heard of: it was killed or has lost the database."""
        return self.filter(status="running", heartbeat_at__lt=timezone.now() - STALE_AFTER)

    def due(self) -> Self:
        """What a free worker may claim now, of each organisation the best first."""
        now = timezone.now()
        waiting = Q(status="queued", next_attempt_at__lte=now, deleted_at=None)
        abandoned = Q(status="running", heartbeat_at__lt=now - STALE_AFTER)
        return self.filter(waiting | abandoned).order_by("-priority", "next_attempt_at", "created_at")

    def for_listing(self, parts: frozenset[str] = ALL_PARTS) -> Self:
        """With all that a row of a list or an API answer shows, in one query plus one for each of its lists."""
        found = self.select_related("organization", "media", "threshold_profile", "result", "result__model_version")
        if "details" not in parts:  # they can be large
            found = found.defer("result__details")
        lists = {"branches": "result__branch_scores", "artifacts": "result__artifacts"}
        return found.prefetch_related(*(path for name, path in lists.items() if name in parts))


class SavedViewQuerySet(models.QuerySet["SavedView"]):
    def visible_to(self, member: Any) -> Self:
        """A member's own and the shared ones of the organisation, own first."""
        found = self.filter(Q(owner=member) | Q(is_shared=True), organization_id=member.organization_id)
        return found.order_by("is_shared", "name", "id")


def of_keys_world(rows: models.QuerySet[Row], is_sandbox: bool | None) -> models.QuerySet[Row]:
    """The same for batches and uploads, which belong to the world of the key that began them."""
    if is_sandbox is None:
        return rows
    made_in = Q(api_key__is_sandbox=True)
    return rows.filter(made_in) if is_sandbox else rows.filter(Q(api_key=None) | Q(api_key__is_sandbox=False))


def start_of(day: datetime.date) -> datetime.datetime:
    """Midnight in the reader's zone: a comparison of moments can use an index, one of dates cannot."""
    return timezone.make_aware(datetime.datetime.combine(day, datetime.time.min))


class WebhookDeliveryQuerySet(models.QuerySet["WebhookDelivery"]):
    def pending(self) -> Self:
        return self.filter(delivered_at=None, gave_up_at=None)

    def due(self) -> Self:
        """Neither taken nor given up, its time has come, and nobody is at it."""
        now = timezone.now()
        free = Q(claimed_until=None) | Q(claimed_until__lt=now)
        return self.pending().filter(free, next_attempt_at__lte=now)

    def in_state(self, state: str) -> Self:
        """Those whose `state` says so; a state that there is not narrows nothing."""
        if state == "delivered":
            return self.filter(delivered_at__isnull=False)
        if state == "failed":
            return self.filter(delivered_at=None, gave_up_at__isnull=False)
        if state == "retrying":
            return self.pending().filter(attempts__gt=F("attempts_before"))
        return self.pending().filter(attempts=F("attempts_before")) if state == "waiting" else self
