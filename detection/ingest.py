"""From a stranger's bytes to a stored, encrypted item: size, type by content, digest, a harmless name."""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass
from typing import IO, Any

from django.conf import settings

from accounts.models import Organization
from deepfake import storage
from deepfake.errors import DomainError
from detection.engine import media as engine_media

HEAD_BYTES = 4096
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
    head = file.read(HEAD_BYTES)
    file.seek(0)
    if not head:
        raise DomainError("The file is empty. Send one with content.", "file_empty")
    found = _type_of(head)
    reader = MeasuringReader(file, max_bytes=_limit(found.kind))
    name = storage.save_encrypted("media", reader, organization_id=organization.id)  # type: ignore[arg-type]
    return Stored(name, reader.sha256.hexdigest(), reader.size_bytes, found.kind, found.mime_type, clean_name(filename))


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


def _type_of(head: bytes) -> Any:
    found = engine_media.sniff(head)
    if found is None:
        raise DomainError(_what_it_is(head), "unsupported_type", 415)
    return found


def _limit(kind: str) -> int:
    return min(settings.MAX_IMAGE_BYTES, settings.MAX_UPLOAD_BYTES) if kind == "image" else settings.MAX_UPLOAD_BYTES


# Signatures of what people send by mistake; the sentence then names it.
_OTHERS = (
    (b"PK\x03\x04", "a ZIP archive or an Office document"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"%PDF", "a PDF document"),
    (b"MZ", "a Windows program"),
    (b"\x7fELF", "a program"),
    (b"{\\rtf", "a text document"),
    (b"\xd0\xcf\x11\xe0", "an old Office document"),
    (b"8BPS", "a Photoshop document"),
)


def _what_it_is(head: bytes) -> str:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    what = next((name for signature, name in _OTHERS if head.startswith(signature)), "")
    if not what and start.startswith((b"<!doctype html", b"<html")):
        what = "a web page"
    elif not what and (start.startswith(b"<svg") or (start.startswith(b"<?xml") and b"<svg" in start)):
        what = "an SVG drawing"
    said = f"This is {what}" if what else "This is not a picture, video or recording that can be read"
    return (
        f"{said}. Send a picture (JPEG, PNG, WebP, HEIC), a video (MP4, WebM, MOV, MKV, AVI, MPEG) "
        "or a recording (WAV, MP3, M4A, OGG, FLAC, Opus)."
    )
