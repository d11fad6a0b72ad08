"""The errors that services raise when a request cannot be carried out."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Mapping

from django.conf import settings


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


class StorageFull(DomainError):
    def __init__(self) -> None:
        super().__init__(
            "The server's disk is full. Free space or ask the operator to, then try again.", "storage_full", 507
        )


def is_disk_full(error: BaseException) -> bool:
    """Whether an error of the file system, or of SQLite, says that there is no room left."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    text = str(error)
    if "disk I/O error" in text:  # what SQLite says when it cannot even make its journal
        return shutil.disk_usage(settings.DATA_DIR).free < 1_000_000
    return "database or disk is full" in text


class TryLater(Exception):
    """What a task of the queue could not do now and no row remembers, such as an e-mail: it is called again."""
