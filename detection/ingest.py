"""From a stranger's bytes to a stored, encrypted item: size, type by content, digest, a harmless name."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from django.conf import settings

from accounts.models import Organization
from deepfake import storage
from deepfake.errors import DomainError
from detection.engine import sniffing

MAX_FILENAME_LENGTH = 160


@dataclass(frozen=True)
class Stored:
    """An item that lies encrypted in storage, and what its bytes said."""

    storage_name: str
    sha256: str
    size_bytes: int
    kind: str
    mime_type: str
    filename: str


def store(file: IO[bytes], *, organization: Organization, filename: str = "") -> Stored:
    """Check and store what `file` holds, from its beginning. Raises DomainError."""
    file.seek(0)
    head = file.read(sniffing.HEAD_BYTES)
    file.seek(0)
    if not head:
        raise DomainError("The file is empty. Send one with content.", "file_empty")
    container = sniffing.sniff(head)
    if container is None:
        raise DomainError(sniffing.refusal(head), "unsupported_type", 415)
    kind = kind_of(container, head)
    reader = MeasuringReader(file, max_bytes=_limit(kind))
    name = storage.save_encrypted("media", reader, organization_id=organization.id)  # type: ignore[arg-type]
    mime_type = sniffing.CONTAINERS[container][0]
    return Stored(name, reader.sha256.hexdigest(), reader.size_bytes, kind, mime_type, clean_name(filename))


class MeasuringReader:
    """Counts and digests what passes, and stops at the limit, so that nothing is read twice."""

    def __init__(self, file: IO[bytes], *, max_bytes: int) -> None:
        self._file = file
        self._max_bytes = max_bytes
        self.size_bytes = 0
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self.size_bytes += len(block)
        if self.size_bytes > self._max_bytes:
            raise too_large(self._max_bytes)
        self.sha256.update(block)
        return block


def too_large(max_bytes: int) -> DomainError:
    return DomainError(
        f"The file is larger than {max_bytes / 1e6:,.0f} MB, the most that is taken for its kind. "
        "Send a shorter cut or a smaller copy.",
        "file_too_large",
        413,
    )


def clean_name(filename: str) -> str:
    """The last part of what was sent, without control or direction characters; for people to read, never a path."""
    name = filename.replace("\\", "/").rpartition("/")[2]
    name = "".join(character for character in name if unicodedata.category(character)[0] != "C").strip(" .")
    if len(name) <= MAX_FILENAME_LENGTH:
        return name
    stem, dot, ending = name.rpartition(".")
    if not dot or len(ending) > 10:
        return name[:MAX_FILENAME_LENGTH]
    return f"{stem[: MAX_FILENAME_LENGTH - len(ending) - 1]}.{ending}"


@contextmanager
def kept(file: IO[bytes], *, organization: Organization, filename: str = "") -> Iterator[Stored]:
    """Store the file, and take it away again when the block that was to write its row fails."""
    stored = store(file, organization=organization, filename=filename)
    try:
        yield stored
    except BaseException:
        storage.destroy(stored.storage_name)
        raise


def kind_of(container: str, head: bytes) -> str:
    """The kind that a container promises; an MP4 may turn out to hold sound alone when it is decoded."""
    if container == "mp4" and head[8:11] in (b"M4A", b"M4B"):
        return "audio"
    return sniffing.CONTAINERS[container][0].partition("/")[0]


def _limit(kind: str) -> int:
    return min(settings.MAX_IMAGE_BYTES, settings.MAX_UPLOAD_BYTES) if kind == "image" else settings.MAX_UPLOAD_BYTES
