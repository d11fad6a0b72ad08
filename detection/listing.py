"""Pages of the list of analyses: filtered, in any of its orders, right while rows arrive, and fast at any depth.

Every order has one index that also holds the columns that are filtered by (models.LISTED_BY). A page walks that index
from the cursor on, so that its price does not grow with its depth, and a filter that few rows pass costs one walk over
the index and never a read of every row.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.db.models import Q

from detection.models import Job
from detection.querysets import JobQuerySet

PAGE_SIZE = 50
COUNTED = 1000  # more are "1,000+"

# The columns a row of the list shows. A result's details and an item's metadata can be large: they stay behind.
ROW_COLUMNS = (
    "id",
    "status",
    "stage",
    "percent",
    "created_at",
    "finished_at",
    "cancel_requested_at",
    "failure_message",
    "review_state",
    "review_label",
    "final_label",
    "score",
    "margin",
    "source_host",
    "is_sandbox",
    "media__id",
    "media__kind",
    "media__filename",
    "media__source_url",
    "media__thumbnail_name",
    "media__duration_s",
    "media__width",
    "media__height",
    "media__look",
    "media__is_harsh",
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
    "reviewer__username",
    "reviewer__first_name",
    "reviewer__last_name",
    "api_key__name",
)


@dataclass(frozen=True)
class Order:
    """One way to sort. `floor` leaves out the rows that have no such value."""

    word: str
    column: str
    is_descending: bool
    floor: Any = None
    remark: str = ""


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SCORED = "Analyses without a score are not in this order."
ORDERS = {
    "newest": Order("Newest first", "created_at", True),
    "oldest": Order("Oldest first", "created_at", False),
    "score_high": Order("Highest score", "score", True, 0.0, _SCORED),
    "score_low": Order("Lowest score", "score", False, 0.0, _SCORED),
    "finished": Order("Last finished", "finished_at", True, _EPOCH, "Analyses under way are not in this order."),
    "uncertain": Order("Most uncertain", "margin", False, 0.0, _SCORED),
}
DEFAULT_ORDER = "newest"


@dataclass(frozen=True)
class Count:
    number: int
    is_more: bool

    def __str__(self) -> str:
        return f"{self.number:,}{'+' if self.is_more else ''}"


@dataclass(frozen=True)
class JobPage:
    jobs: list[Job]
    after: str  # cursor of the next page, blank at the end
    before: str
    count: Count
    same: dict[uuid.UUID, int] = field(default_factory=dict)  # look -> how many items carry it

    @property
    def has_active(self) -> bool:
        return any(not job.is_final for job in self.jobs)


def ordered(jobs: JobQuerySet, name: str) -> JobQuerySet:
    """In one of the orders, with a second column that no two rows share."""
    order = ORDERS[name]
    if order.floor is not None:
        jobs = jobs.filter(**{f"{order.column}__gte": order.floor})
    return _sorted(jobs, order)


def _sorted(jobs: JobQuerySet, order: Order, *, is_backwards: bool = False) -> JobQuerySet:
    sign = "-" if order.is_descending != is_backwards else ""
    return jobs.order_by(f"{sign}{order.column}", f"{sign}id")


def page_of(jobs: JobQuerySet, *, order: str = DEFAULT_ORDER, after: str = "", before: str = "") -> JobPage:
    """Return the page behind one of the cursors, the first without; a cursor that is none is ignored."""
    by = ORDERS[order]
    rows = ordered(jobs, order)
    back, forth = _place(before, by), _place(after, by)
    if back is not None:
        found = _ids(_from(jobs, by, back, is_backwards=True))
        ids = found[:PAGE_SIZE][::-1]
        has_before, has_after = len(found) > PAGE_SIZE, bool(ids)
    else:
        found = _ids(rows if forth is None else _from(jobs, by, forth))
        ids = found[:PAGE_SIZE]
        has_before, has_after = forth is not None and bool(ids), len(found) > PAGE_SIZE
    page = in_full(ids)
    is_all = back is None and forth is None and not has_after
    return JobPage(
        page,
        after=_cursor(page[-1], by) if page and has_after else "",
        before=_cursor(page[0], by) if page and has_before else "",
        count=Count(len(page), False) if is_all else count_of(rows),
    )


def _ids(rows: JobQuerySet) -> list[uuid.UUID]:
    """Only what the index holds is read here; the rows themselves are fetched for one page."""
    return list(rows.values_list("pk", flat=True)[: PAGE_SIZE + 1])


def in_full(ids: Iterable[uuid.UUID]) -> list[Job]:
    """The rows as the list shows them, in the order of `ids`; one that is gone meanwhile is left out."""
    wanted = list(ids)
    related = ("media", "result", "created_by", "reviewer", "api_key")
    rows = Job.objects.filter(pk__in=wanted).order_by().select_related(*related).only(*ROW_COLUMNS)
    by_id = {job.pk: job for job in rows}
    return [by_id[pk] for pk in wanted if pk in by_id]


def count_of(rows: JobQuerySet) -> Count:
    """How many there are, as far as anybody wants to know."""
    number = rows.values("pk")[: COUNTED + 1].count()  # still in order: that names the index to walk
    return Count(min(number, COUNTED), number > COUNTED)


def _from(jobs: JobQuerySet, order: Order, place: tuple[Any, uuid.UUID], *, is_backwards: bool = False) -> JobQuerySet:
    """Rows beyond a place. The first condition follows from the others; it is what an index can jump to.

    On the way up the floor is left out: of two lower bounds SQLite may take the wrong one and walk all below.
    """
    value, identity = place
    is_down = order.is_descending != is_backwards
    way = "lt" if is_down else "gt"
    beyond = Q(**{f"{order.column}__{way}": value}) | Q(**{f"id__{way}": identity})
    jobs = jobs.filter(beyond, **{f"{order.column}__{way}e": value})
    if is_down and order.floor is not None:
        jobs = jobs.filter(**{f"{order.column}__gte": order.floor})
    return _sorted(jobs, order, is_backwards=is_backwards)


def neighbour(jobs: JobQuerySet, job: Job, name: str, *, is_backwards: bool) -> uuid.UUID | None:
    """The row after `job` in one of the orders, or before it; `job` need not be in the list itself any more."""
    order = ORDERS[name]
    value = getattr(job, order.column)
    if value is None:
        return None
    rows = _from(jobs, order, (value, job.pk), is_backwards=is_backwards)
    return rows.values_list("pk", flat=True).first()


def cursor_of(job: Job, name: str) -> str:
    """What stands in the address of the page that begins after `job` (or ends before it)."""
    return _cursor(job, ORDERS[name])


def _cursor(job: Job, order: Order) -> str:
    return _cursor_text(getattr(job, order.column), job.id)


def _cursor_text(value: Any, identity: uuid.UUID) -> str:
    text = f"{value.timestamp():.6f}" if isinstance(value, datetime) else repr(value)
    return f"{text}_{identity.hex}"


def _place(cursor: str, order: Order) -> tuple[Any, uuid.UUID] | None:
    text, _, identity = cursor.rpartition("_")
    try:
        number, found = float(text), uuid.UUID(identity)
        if not math.isfinite(number):
            return None
        return (datetime.fromtimestamp(number, UTC) if order.column.endswith("_at") else number), found
    except (ValueError, OverflowError, OSError):
        return None


# For programs: a page of any size behind a cursor that must be one ----------------------------------------------------


@dataclass(frozen=True)
class Slice:
    ids: list[uuid.UUID]
    after: str  # cursors of the neighbouring pages, blank where there is none
    before: str


BACKWARDS = "-"


def slice_of(jobs: JobQuerySet, *, order: str, cursor: str, limit: int) -> Slice | None:
    """The ids of one page in `order`, at most `limit`; None when the cursor is none of this order."""
    by = ORDERS[order]
    is_backwards = cursor.startswith(BACKWARDS)
    place = _place(cursor.removeprefix(BACKWARDS), by) if cursor else None
    if cursor and place is None:
        return None
    rows = ordered(jobs, order) if place is None else _from(jobs, by, place, is_backwards=is_backwards)
    found = list(rows.values_list(by.column, "pk")[: limit + 1])
    page = found[:limit][::-1] if is_backwards else found[:limit]
    has_more = len(found) > limit
    has_after, has_before = (bool(page), has_more) if is_backwards else (has_more, bool(cursor) and bool(page))
    return Slice(
        [identity for _, identity in page],
        after=_cursor_text(*page[-1]) if has_after else "",
        before=BACKWARDS + _cursor_text(*page[0]) if has_before else "",
    )
