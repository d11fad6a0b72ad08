"""Moments in reports: always UTC, always with their zone."""

from __future__ import annotations

from datetime import UTC, datetime


def moment(value: datetime | None) -> str | None:
    """`2026-11-21T09:00:05.123456Z`."""
    return None if value is None else value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def printed(value: datetime | str | None) -> str:
    """`21 Nov 2026, 09:00:05 UTC`, of a moment or of the text that `moment` made of one."""
    if value is None:
        return "–"
    found = datetime.fromisoformat(value) if isinstance(value, str) else value
    found = found.astimezone(UTC)
    return f"{found.day} {found:%b %Y, %H:%M:%S} UTC"
