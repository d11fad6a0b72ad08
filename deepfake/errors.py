"""The error that services raise when a request cannot be carried out."""

from __future__ import annotations

from collections.abc import Mapping


class DomainError(Exception):
    """A refusal with a sentence for the person and a stable code for the program."""

    def __init__(
        self, message: str, code: str, status: int = 400, *, fields: Mapping[str, list[str]] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status
        self.fields = dict(fields or {})
