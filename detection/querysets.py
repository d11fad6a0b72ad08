"""Questions about many media and many jobs."""

from __future__ import annotations

import datetime
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.models import Organization

if TYPE_CHECKING:
    from detection.models import Job, Media, SavedView, WebhookDelivery  # noqa: F401  (named in text below)

STALE_AFTER = timedelta(seconds=15)


def _organization_of(viewer: Any) -> Organization | None:
    """The organisation of a user or an organisation itself; None sees nothing."""
    return viewer if isinstance(viewer, Organization) else getattr(viewer, "organization", None)


class MediaQuerySet(models.QuerySet["Media"]):
    def visible_to(self, viewer: Any) -> Self:
        organization = _organization_of(viewer)
        return self.none() if organization is None else self.filter(organization=organization, deleted_at=None)


class JobQuerySet(models.QuerySet["Job"]):
    def visible_to(self, viewer: Any) -> Self:
        """Those of the viewer's organisation; what waits for its deletion is gone for everybody."""
        organization = _organization_of(viewer)
        return self.none() if organization is None else self.filter(organization=organization, deleted_at=None)

    def queued_and_due(self) -> Self:
        return self.filter(status="queued", next_attempt_at__lte=timezone.now(), deleted_at=None)

    def stale(self) -> Self:
        """Running, but the worker has not been heard of: it was killed or has lost the database."""
        return self.filter(status="running", heartbeat_at__lt=timezone.now() - STALE_AFTER)

    def due(self) -> Self:
        """What a free worker may claim now, best first."""
        now = timezone.now()
        waiting = Q(status="queued", next_attempt_at__lte=now, deleted_at=None)
        abandoned = Q(status="running", heartbeat_at__lt=now - STALE_AFTER)
        return self.filter(waiting | abandoned).order_by("-priority", "next_attempt_at", "created_at")

    def filtered(
        self,
        *,
        label: str = "",
        kind: str = "",
        status: str = "",
        q: str = "",
        date: datetime.date | None = None,
        since: datetime.date | None = None,
        until: datetime.date | None = None,
    ) -> Self:
        """Narrow a list by what a person or an integrator asked for; empty arguments do not narrow."""
        found = self
        if label:
            found = found.filter(result__label=label)
        if kind:
            found = found.filter(media__kind=kind)
        if status:
            found = found.filter(status=status)
        if date:
            found = found.filter(created_at__gte=start_of(date), created_at__lt=start_of(date + timedelta(days=1)))
        if since:
            found = found.filter(created_at__gte=start_of(since))
        if until:
            found = found.filter(created_at__lt=start_of(until + timedelta(days=1)))
        return found.filter(_matches(q.strip())) if q.strip() else found

    def for_listing(self) -> Self:
        """With all that a row of a list or an API answer shows, in one query plus one for the branches."""
        return self.select_related(
            "organization", "media", "threshold_profile", "result", "result__model_version"
        ).prefetch_related("result__branch_scores", "result__artifacts")


class SavedViewQuerySet(models.QuerySet["SavedView"]):
    def visible_to(self, member: Any) -> Self:
        """A member's own and the shared ones of the organisation, own first."""
        found = self.filter(Q(owner=member) | Q(is_shared=True), organization_id=member.organization_id)
        return found.order_by("is_shared", "name", "id")


def start_of(day: datetime.date) -> datetime.datetime:
    """Midnight in the reader's zone: a comparison of moments can use an index, one of dates cannot."""
    return timezone.make_aware(datetime.datetime.combine(day, datetime.time.min))


class WebhookDeliveryQuerySet(models.QuerySet["WebhookDelivery"]):
    def due(self) -> Self:
        """Neither taken nor given up, its time has come, and nobody is at it."""
        now = timezone.now()
        free = Q(claimed_until=None) | Q(claimed_until__lt=now)
        return self.filter(free, delivered_at=None, gave_up_at=None, next_attempt_at__lte=now)


def _matches(q: str) -> Q:
    """A name, an address, the start of a digest, or a job's or item's id, with or without its prefix."""
    condition = Q(media__filename__icontains=q) | Q(media__source_url__icontains=q)
    if len(q) >= 8:
        condition |= Q(media__sha256__startswith=q.lower())
    try:
        identity = uuid.UUID(q.removeprefix("job_").removeprefix("med_"))
    except ValueError:
        return condition
    return condition | Q(id=identity) | Q(media_id=identity)
