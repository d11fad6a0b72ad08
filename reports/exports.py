"""The list of analyses, narrowed as on its page, as CSV, JSON lines or Parquet: streamed, of any length."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, tzinfo
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.http import QueryDict, StreamingHttpResponse
from django.utils import timezone

from accounts import audit
from accounts.models import Organization, User
from deepfake.errors import DomainError
from detection.forms import AnalysisFilter
from detection.models import Job
from reports import parquet
from reports.downloads import off_the_loop
from reports.moments import moment

PAGE_ROWS = 1000
PAGES_PER_GROUP = 20
# name of the column -> (where it stands in the database, type)
COLUMNS: dict[str, tuple[str, parquet.Type]] = {
    "job_id": ("id", parquet.TEXT),
    "media_id": ("media_id", parquet.TEXT),
    "created_at": ("created_at", parquet.MOMENT),
    "finished_at": ("finished_at", parquet.MOMENT),
    "status": ("status", parquet.TEXT),
    "failure_code": ("failure_code", parquet.TEXT),
    "mode": ("mode", parquet.TEXT),
    "kind": ("media__kind", parquet.TEXT),
    "mime_type": ("media__mime_type", parquet.TEXT),
    "filename": ("media__filename", parquet.TEXT),
    "source_url": ("media__source_url", parquet.TEXT),
    "size_bytes": ("media__size_bytes", parquet.WHOLE),
    "sha256": ("media__sha256", parquet.TEXT),
    "phash": ("media__phash", parquet.TEXT),
    "width": ("media__width", parquet.WHOLE),
    "height": ("media__height", parquet.WHOLE),
    "duration_s": ("media__duration_s", parquet.REAL),
    "label": ("result__label", parquet.TEXT),
    "score": ("result__score", parquet.REAL),
    "interval_low": ("result__interval_low", parquet.REAL),
    "interval_high": ("result__interval_high", parquet.REAL),
    "abstain_reason": ("result__abstain_reason", parquet.TEXT),
    "threshold_fake": ("result__threshold_fake", parquet.REAL),
    "threshold_real": ("result__threshold_real", parquet.REAL),
    "threshold_profile": ("threshold_profile__name", parquet.TEXT),
    "model_version": ("result__model_version__name", parquet.TEXT),
    "review_state": ("review_state", parquet.TEXT),
    "review_decision": ("review_decision", parquet.TEXT),
    "review_label": ("review_label", parquet.TEXT),
    "reviewed_at": ("reviewed_at", parquet.MOMENT),
}
PREFIXES = {"job_id": "job_", "media_id": "med_"}
# What makes a spreadsheet take a cell for a formula; it also skips blanks and knows the full-width signs.
FORMULA_SIGNS = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n")

Row = dict[str, Any]


def response(asked: QueryDict, *, organization: Organization, actor: User | None, wanted: str) -> StreamingHttpResponse:
    """Answer with the organisation's analyses behind the filters in `asked`. Raises DomainError."""
    if wanted not in WRITERS:
        raise DomainError(f"format must be one of {', '.join(WRITERS)}.", "format_unknown")
    filters = AnalysisFilter(asked)
    if not filters.is_valid():  # the page leaves such a filter out and says so; a file could not say it
        sentences = [str(error) for errors in filters.errors.values() for error in errors]
        raise DomainError(" ".join(sentences), "filter_invalid", fields=_plain_errors(filters))
    until = timezone.now()
    jobs = filters.apply(Job.objects.visible_to(organization)).filter(created_at__lte=until)
    _record(organization, actor, filters, wanted, jobs.count())
    suffix, content_type, write = WRITERS[wanted]
    answer = StreamingHttpResponse(
        off_the_loop(write(pages(jobs, timezone.get_current_timezone()))), content_type=content_type
    )
    answer["Content-Disposition"] = f'attachment; filename="analyses-{until:%Y%m%d-%H%M%S}.{suffix}"'
    answer["Cache-Control"] = "private, no-store"
    return answer


def pages(jobs: Any, zone: tzinfo = UTC) -> Iterator[list[Row]]:
    """Yield rows, newest first, a page at a time: no query stays open while a slow reader takes what it got.

    zone: whose days the filters mean; asked for again with every page, because the request has long been answered.
    """
    names = [where for where, _ in COLUMNS.values()]
    ordered = jobs.order_by("-created_at", "-id")
    place = Q()
    while found := _page(ordered.filter(place).values_list(*names), zone):
        rows = [dict(zip(COLUMNS, values, strict=True)) for values in found]
        last = rows[-1]
        place = Q(created_at__lt=last["created_at"]) | Q(created_at=last["created_at"], id__lt=last["job_id"])
        yield [_outward(row) for row in rows]


def _page(rows: Any, zone: tzinfo) -> list[Any]:
    with timezone.override(zone):
        return list(rows[:PAGE_ROWS])


def _outward(row: Row) -> Row:
    for name, prefix in PREFIXES.items():
        row[name] = f"{prefix}{row[name].hex}"
    return row


def _record(organization: Organization, actor: User | None, filters: AnalysisFilter, wanted: str, rows: int) -> None:
    narrowed = {name: str(filters.data[name]) for name in filters.fields if filters.data.get(name)}
    with transaction.atomic():
        audit.record(
            action="analyses.exported",
            organization=organization,
            actor=actor,
            details={"format": wanted, "rows": rows, "filters": narrowed},
        )


def _plain_errors(filters: AnalysisFilter) -> dict[str, list[str]]:
    return {name: [str(error) for error in errors] for name, errors in filters.errors.items()}


# Formats --------------------------------------------------------------------------------------------------------------


def write_csv(found: Iterator[list[Row]]) -> Iterator[bytes]:
    """For spreadsheets: UTF-8 with its mark, which they need, and no cell that one would run as a formula."""
    yield b"\xef\xbb\xbf" + _csv_lines([list(COLUMNS)])
    for rows in found:
        yield _csv_lines([[_cell(value) for value in row.values()] for row in rows])


def _csv_lines(lines: list[list[Any]]) -> bytes:
    target = io.StringIO()
    csv.writer(target).writerows(lines)
    return target.getvalue().encode()


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, str) and value.lstrip(" \u00a0").startswith(FORMULA_SIGNS):
        return f"'{value}"
    return value


def write_json_lines(found: Iterator[list[Row]]) -> Iterator[bytes]:
    """For programs: one JSON object a line, values as they are."""
    for rows in found:
        lines = [
            json.dumps({name: _jsonable(value) for name, value in row.items()}, ensure_ascii=False) for row in rows
        ]
        yield ("\n".join(lines) + "\n").encode()


def _jsonable(value: Any) -> Any:
    return moment(value) if isinstance(value, datetime) else value


def write_parquet(found: Iterator[list[Row]]) -> Iterator[bytes]:
    """For warehouses: groups of rows that are large enough to be worth reading apart."""
    groups = ([row for rows in pages for row in rows] for pages in _bunches(found, PAGES_PER_GROUP))
    return parquet.write({name: kind for name, (_, kind) in COLUMNS.items()}, groups)


def _bunches(found: Iterator[list[Row]], size: int) -> Iterator[list[list[Row]]]:
    while bunch := list(itertools.islice(found, size)):
        yield bunch


Writer = Callable[[Iterator[list[Row]]], Iterator[bytes]]
WRITERS: dict[str, tuple[str, str, Writer]] = {
    "csv": ("csv", "text/csv; charset=utf-8", write_csv),
    "jsonl": ("jsonl", "application/x-ndjson; charset=utf-8", write_json_lines),
    "parquet": ("parquet", "application/vnd.apache.parquet", write_parquet),
}
