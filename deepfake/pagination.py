"""Cursor pagination of API lists."""

from datetime import UTC
from typing import Any

from django.utils.dateparse import parse_datetime
from rest_framework import exceptions
from rest_framework.pagination import Cursor, CursorPagination

MOST = 2**63 - 1  # of what a database counts


class CheckedCursor(CursorPagination):
    """A cursor whose place is none of this order is refused like one that cannot be read. Raises NotFound."""

    def decode_cursor(self, request: Any) -> Cursor | None:
        cursor: Cursor | None = super().decode_cursor(request)
        if cursor is not None and cursor.position is not None:
            try:
                self.check_position(str(cursor.position))
            except (ValueError, OverflowError):
                raise exceptions.NotFound(self.invalid_cursor_message) from None
        return cursor

    def check_position(self, position: str) -> None:
        """Raises ValueError, OverflowError."""
        if not 0 <= int(position) <= MOST:
            raise ValueError(position)


class NewestFirst(CheckedCursor):
    """Pages that stay right while rows are added; the id breaks ties."""

    page_size = 50
    page_size_query_param = "limit"
    max_page_size = 200
    ordering = ("-created_at", "-id")

    def check_position(self, position: str) -> None:
        moment = parse_datetime(position)
        if moment is None or moment.tzinfo is None:
            raise ValueError(position)
        moment.astimezone(UTC)  # the edges of the calendar have no moment elsewhere
