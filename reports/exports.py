"""The list of analyses, narrowed as on its page, as CSV, JSON lines or Parquet: streamed, of any length."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, tzinfo
from typing import Any, Literal

from django.db import transaction
from django.db.models import Q
from django.http import QueryDict, StreamingHttpResponse
from django.utils import timezone

from accounts import audit
from accounts.models import Organization, User
from deepfake.errors import DomainError
from detection.forms import AnalysisFilter
from reports.downloads import off_the_loop
from reports.moments import moment

Type = Literal["text", "whole", "real", "moment"]

PAGE_ROWS = 1000
PAGES_PER_GROUP = 20
# name of the column -> (where it stands in the database, type)
COLUMNS: dict[str, tuple[str, Type]] = {
    "job_id": ("id", "text"),
    "media_id": ("media_id", "text"),
    "created_at": ("created_at", "moment"),
    "finished_at": ("finished_at", "moment"),
    "status": ("status", "text"),
    "failure_code": ("failure_code", "text"),
    "mode": ("mode", "text"),
    "kind": ("media__kind", "text"),
    "mime_type": ("media__mime_type", "text"),
    "filename": ("media__filename", "text"),
    "source_url": ("media__source_url", "text"),
    "size_bytes": ("media__size_bytes", "whole"),
    "sha256": ("media__sha256", "text"),
    "phash": ("media__phash", "text"),
    "width": ("media__width", "whole"),
    "height": ("media__height", "whole"),
    "duration_s": ("media__duration_s", "real"),
    "label": ("result__label", "text"),
    "score": ("result__score", "real"),
    "interval_low": ("result__interval_low", "real"),
    "interval_high": ("result__interval_high", "real"),
    "abstain_reason": ("result__abstain_reason", "text"),
    "threshold_fake": ("result__threshold_fake", "real"),
    "threshold_real": ("result__threshold_real", "real"),
    "threshold_profile": ("threshold_profile__name", "text"),
    "model_version": ("result__model_version__name", "text"),
    "review_state": ("review_state", "text"),
    "review_decision": ("review_decision", "text"),
    "review_label": ("review_label", "text"),
    "reviewed_at": ("reviewed_at", "moment"),
}
PREFIXES = {"job_id": "job_", "media_id": "med_"}
# What makes a spreadsheet take a cell for a formula; it also skips blanks and knows the full-width signs.
FORMULA_SIGNS = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n")

Row = dict[str, Any]


def response(asked: QueryDict, *, organization: Organization, actor: User | None, wanted: str) -> StreamingHttpResponse:
    """Answer with the organisation's analyses behind the filters in `asked`. Raises DomainError."""
    if wanted not in WRITERS:
        raise DomainError(f"format must be one of {', '.join(WRITERS)}.", "format_unknown")
    filters = AnalysisFilter(asked, organization=organization)
    if not filters.is_valid():  # the page leaves such a filter out and says so; a file could not say it
        sentences = [str(error) for errors in filters.errors.values() for error in errors]
        raise DomainError(" ".join(sentences), "filter_invalid", fields=_plain_errors(filters))
    until = timezone.now()
    jobs = filters.rows().filter(created_at__lte=until)
    if filters.found is not None and filters.found.is_cut:
        raise DomainError(
            "More items fit the text than one search looks at, so the file would be incomplete. Add a word, or filter "
            "by date or verdict instead.",
            "search_too_wide",
        )
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
    # Imported here: 100 ms and 40 MB that only this format needs.
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"text": pa.string(), "whole": pa.int64(), "real": pa.float64(), "moment": pa.timestamp("us", tz="UTC")}
    schema = pa.schema([(name, types[kind]) for name, (_, kind) in COLUMNS.items()])
    target = _Passed()
    with pq.ParquetWriter(target, schema) as writer:
        for pages in _bunches(found, PAGES_PER_GROUP):
            writer.write_table(pa.Table.from_pylist([row for rows in pages for row in rows], schema))
            yield target.taken()
    yield target.taken()


class _Passed(io.RawIOBase):
    """A file that keeps nothing: what was written is handed on, and only the position is remembered."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        self._position += len(self._parts[-1])
        return len(self._parts[-1])

    def tell(self) -> int:
        return self._position

    def taken(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


def _bunches(found: Iterator[list[Row]], size: int) -> Iterator[list[list[Row]]]:
    while bunch := list(itertools.islice(found, size)):
        yield bunch


Writer = Callable[[Iterator[list[Row]]], Iterator[bytes]]
WRITERS: dict[str, tuple[str, str, Writer]] = {
    "csv": ("csv", "text/csv; charset=utf-8", write_csv),
    "jsonl": ("jsonl", "application/x-ndjson; charset=utf-8", write_json_lines),
    "parquet": ("parquet", "application/vnd.apache.parquet", write_parquet),
}
