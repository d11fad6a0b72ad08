"""Audit rows as a file: CSV for spreadsheets, JSON lines for programs, streamed page by page."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from asgiref.sync import sync_to_async
from django.http import StreamingHttpResponse
from django.utils import timezone

from accounts import audit, audit_words
from accounts.audit_search import AuditSearch
from accounts.models import AuditLog, User
from deepfake.errors import DomainError

PAGE_ROWS = 1000
COLUMNS = (
    "id", "created_at", "action", "sentence", "actor", "api_key_prefix", "target_type", "target_id", "ip_address",
    "details", "previous_hash", "hash",
)  # fmt: skip
# What makes a spreadsheet take a cell for a formula.
FORMULA_SIGNS = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n")


def response(search: AuditSearch, *, wanted: str, actor: User) -> StreamingHttpResponse:
    """Answer with every row that fits, newest first; the export itself is recorded before. Raises DomainError."""
    if wanted not in WRITERS:
        raise DomainError(f"format must be one of {', '.join(WRITERS)}.", "format_unknown")
    row = audit.record(
        action="audit.exported",
        organization=search.organization,
        actor=actor,
        details={"format": wanted, "filters": search.as_details},
    )
    content_type, write = WRITERS[wanted]
    answer = StreamingHttpResponse(_stream(search, row.pk, write, wanted), content_type=content_type)
    answer["Content-Disposition"] = f'attachment; filename="audit-{timezone.now():%Y%m%d-%H%M%S}.{wanted}"'
    answer["Cache-Control"] = "private, no-store"
    return answer


async def _stream(
    search: AuditSearch, before: int, write: Callable[[list[dict[str, Any]]], str], wanted: str
) -> AsyncIterator[bytes]:
    if wanted == "csv":
        yield ("\ufeff" + _csv([dict(zip(COLUMNS, COLUMNS, strict=True))])).encode()
    place: int | None = before
    while place is not None:
        rows, place = await sync_to_async(_page)(search, place)
        if rows:
            yield write(rows).encode()


def _page(search: AuditSearch, before: int) -> tuple[list[dict[str, Any]], int | None]:
    page = search.page(before=before, size=PAGE_ROWS, all_text=True)
    return [as_dict(row) for row in page.rows], page.before


def as_dict(row: AuditLog) -> dict[str, Any]:
    """A row for programs."""
    return {
        "id": row.pk,
        "created_at": row.created_at.isoformat(),
        "action": row.action,
        "sentence": audit_words.sentence(row.action),
        "actor": row.actor.get_username() if row.actor else None,
        "api_key_prefix": row.api_key_prefix or None,
        "target_type": row.target_type or None,
        "target_id": row.target_id or None,
        "ip_address": row.ip_address,
        "details": row.details,
        "previous_hash": row.previous_hash,
        "hash": row.hash,
    }


def _csv(rows: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    for row in rows:
        writer.writerow([_cell(row[name]) for name in COLUMNS])
    return out.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, dict):
        value = json.dumps(value, ensure_ascii=False, sort_keys=True)
    if isinstance(value, str) and value.lstrip(" ").startswith(FORMULA_SIGNS):
        return "'" + value
    return value


def _lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


WRITERS: dict[str, tuple[str, Callable[[list[dict[str, Any]]], str]]] = {
    "csv": ("text/csv; charset=utf-8", _csv),
    "jsonl": ("application/x-ndjson", _lines),
}
