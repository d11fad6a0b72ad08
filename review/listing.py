"""Pages of the queue that stay right while cases come and go, and the neighbours of a case in it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db.models import Q

from review.models import ReviewCase
from review.querysets import CaseQuerySet

PAGE_SIZE = 50
MAX_COUNTED = 1000

# What a row shows. A result's details and an item's metadata can be large: they stay in the database.
ROW_COLUMNS = (
    "id",
    "state",
    "reason",
    "priority",
    "is_harsh",
    "opened_at",
    "due_at",
    "claimed_by_id",
    "claimed_until",
    "closed_at",
    "outcome",
    "label",
    "claimed_by__username",
    "claimed_by__first_name",
    "claimed_by__last_name",
    "job__id",
    "job__review_state",
    "job__media__id",
    "job__media__kind",
    "job__media__filename",
    "job__media__source_url",
    "job__media__thumbnail_name",
    "job__media__duration_s",
    "job__media__width",
    "job__media__height",
    "job__result__id",
    "job__result__label",
    "job__result__score",
    "job__result__interval_low",
    "job__result__interval_high",
    "job__result__threshold_fake",
    "job__result__threshold_real",
)


@dataclass(frozen=True)
class QueuePage:
    cases: list[ReviewCase]
    after: str  # cursor of the next page, blank at the end
    before: str


def page_of(cases: CaseQuerySet, *, is_done: bool, after: str = "", before: str = "") -> QueuePage:
    """Return the page behind one of the cursors, the first one without; a cursor that is none is ignored.

    is_done: decided cases, latest first; else the queue, most urgent and then soonest due first.
    """
    rows = cases.select_related("job__media", "job__result", "claimed_by").only(*ROW_COLUMNS)
    if before and (place := _place(before, is_done)):
        found = list(_backwards(rows.filter(_before(place, is_done)), is_done)[: PAGE_SIZE + 1])
        page = list(reversed(found[:PAGE_SIZE]))
        has_more = len(found) > PAGE_SIZE
        return QueuePage(
            page, _cursor(page[-1], is_done) if page else "", _cursor(page[0], is_done) if has_more else ""
        )
    place = _place(after, is_done)
    if place:
        rows = rows.filter(_after(place, is_done))
    found = list(_forwards(rows, is_done)[: PAGE_SIZE + 1])
    page = found[:PAGE_SIZE]
    return QueuePage(
        page,
        _cursor(page[-1], is_done) if len(found) > PAGE_SIZE else "",
        _cursor(page[0], is_done) if place and page else "",
    )


def neighbour(cases: CaseQuerySet, case: ReviewCase, *, is_done: bool, forwards: bool) -> ReviewCase | None:
    """The case after (or before) this one in the list; it need not be in the list itself any more."""
    place = (-1, case.closed_at or case.due_at, case.id) if is_done else (case.priority, case.due_at, case.id)
    if forwards:
        return _forwards(cases.filter(_after(place, is_done)), is_done).first()
    return _backwards(cases.filter(_before(place, is_done)), is_done).first()


def count_up_to(cases: CaseQuerySet, limit: int = MAX_COUNTED) -> int:
    """How many there are, counted no further than anybody needs to know."""
    return cases.order_by()[: limit + 1].count()


Place = tuple[int, datetime, uuid.UUID]  # priority (of the queue only), moment, id


def _forwards(rows: CaseQuerySet, is_done: bool) -> CaseQuerySet:
    return rows.order_by("-closed_at", "-id") if is_done else rows.in_queue_order()


def _backwards(rows: CaseQuerySet, is_done: bool) -> CaseQuerySet:
    return rows.order_by("closed_at", "id") if is_done else rows.order_by("priority", "-due_at", "-id")


def _after(place: Place, is_done: bool) -> Q:
    priority, moment, identity = place
    if is_done:
        return Q(closed_at__lt=moment) | Q(closed_at=moment, id__lt=identity)
    later = Q(due_at__gt=moment) | Q(due_at=moment, id__gt=identity)
    return Q(priority__lt=priority) | (Q(priority=priority) & later)


def _before(place: Place, is_done: bool) -> Q:
    priority, moment, identity = place
    if is_done:
        return Q(closed_at__gt=moment) | Q(closed_at=moment, id__gt=identity)
    sooner = Q(due_at__lt=moment) | Q(due_at=moment, id__lt=identity)
    return Q(priority__gt=priority) | (Q(priority=priority) & sooner)


def _cursor(case: ReviewCase, is_done: bool) -> str:
    moment = case.closed_at if is_done and case.closed_at else case.due_at
    return f"{case.priority}_{moment.timestamp():.6f}_{case.id.hex}"


def _place(cursor: str, is_done: bool) -> Place | None:
    priority, _, rest = cursor.partition("_")
    moment, _, identity = rest.partition("_")
    try:
        return int(priority), datetime.fromtimestamp(float(moment), UTC), uuid.UUID(identity)
    except (ValueError, OverflowError, OSError):
        return None
