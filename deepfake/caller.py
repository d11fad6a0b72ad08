"""Where the request that is being answered came from, for rows and log lines that are written far below the view."""

from __future__ import annotations

from contextvars import ContextVar

current_address: ContextVar[str | None] = ContextVar("client_address", default=None)
