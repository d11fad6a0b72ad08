"""Pages of a list of jobs that stay right while new ones arrive."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db.models import Q

from detection.models import Job
from detection.querysets import JobQuerySet

PAGE_SIZE = 50

# The columns a row of the list shows. A result's details and an item's metadata can be large: they stay behind.
ROW_COLUMNS = (
    "id",
    "status",
    "stage",
    "percent",
    "created_at",
    "cancel_requested_at",
    "failure_message",
    "review_state",
    "review_label",
    "media__id",
    "media__kind",
    "media__filename",
    "media__source_url",
    "media__thumbnail_name",
    "media__duration_s",
    "media__width",
    "media__height",
    "result__id",
    "result__label",
    "result__score",
    "result__interval_low",
    "result__interval_high",
    "result__threshold_fake",
    "result__threshold_real",
    "created_by__username",
    "created_by__first_name",
    "created_by__last_name",
    "api_key__name",
)


@dataclass(frozen=True)
class JobPage:
    jobs: list[Job]
    older: str  # cursor of the next page, blank at the end
    newer: str

    @property
    def has_active(self) -> bool:
        return any(not job.is_final for job in self.jobs)


def page_of(jobs: JobQuerySet, *, older: str = "", newer: str = "") -> JobPage:
    """Return the page behind one of the cursors, the newest one without; a cursor that is none is ignored."""
    rows = jobs.select_related("media", "result", "created_by", "api_key").only(*ROW_COLUMNS)
    if newer and (place := _place(newer)):
        found = list(rows.filter(_after(*place)).order_by("created_at", "id")[: PAGE_SIZE + 1])
        page = list(reversed(found[:PAGE_SIZE]))
        return JobPage(page, _cursor(page[-1]) if page else "", _cursor(page[0]) if len(found) > PAGE_SIZE else "")
    place = _place(older)
    if place:
        rows = rows.filter(_before(*place))
    found = list(rows.order_by("-created_at", "-id")[: PAGE_SIZE + 1])
    page = found[:PAGE_SIZE]
    return JobPage(
        page, _cursor(page[-1]) if len(found) > PAGE_SIZE else "", _cursor(page[0]) if place and page else ""
    )


def _before(created_at: datetime, job_id: uuid.UUID) -> Q:
    return Q(created_at__lt=created_at) | Q(created_at=created_at, id__lt=job_id)


def _after(created_at: datetime, job_id: uuid.UUID) -> Q:
    return Q(created_at__gt=created_at) | Q(created_at=created_at, id__gt=job_id)


def _cursor(job: Job) -> str:
    return f"{job.created_at.timestamp():.6f}_{job.id.hex}"


def _place(cursor: str) -> tuple[datetime, uuid.UUID] | None:
    moment, _, identity = cursor.partition("_")
    try:
        return datetime.fromtimestamp(float(moment), UTC), uuid.UUID(identity)
    except (ValueError, OverflowError, OSError):
        return None
