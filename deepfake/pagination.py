"""Cursor pagination of API lists."""

from rest_framework.pagination import CursorPagination


class NewestFirst(CursorPagination):
    """Pages that stay right while rows are added; the id breaks ties."""

    page_size = 50
    page_size_query_param = "limit"
    max_page_size = 200
    ordering = ("-created_at", "-id")
