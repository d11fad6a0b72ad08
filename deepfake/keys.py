"""Secrets that the installation makes for itself once and keeps in files nobody else may read."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def read_or_create(path: Path, make: Callable[[], bytes]) -> bytes:
    """Return what `path` holds, after writing `make()` into it when it does not exist; safe between processes."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        pass
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, temporary = tempfile.mkstemp(dir=path.parent)  # mkstemp gives 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(make())
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(temporary, path)  # the first of two processes wins, whole file or none
    finally:
        os.unlink(temporary)
    return path.read_bytes()


def new_secret_key() -> bytes:
    return secrets.token_urlsafe(50).encode()
