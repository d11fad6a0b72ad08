"""What can be sent: a path, an address, bytes, an open file, or an item that was submitted before."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

from deepfake_client.errors import DeepfakeError

Source = str | os.PathLike[str] | bytes | IO[bytes] | Mapping[str, Any]
BLOCK_BYTES = 256 * 1024
IN_MEMORY_BYTES = 8 * 1024 * 1024


@dataclass
class Form:
    """A multipart form with one file, which can be read again for a repeat."""

    fields: Mapping[str, str | int]
    file: IO[bytes]
    start: int
    size: int
    filename: str

    def __post_init__(self) -> None:
        self.boundary = secrets.token_hex(16)
        name = self.filename.replace("\\", "_").replace('"', "%22").replace("\r", " ").replace("\n", " ")
        parts = [
            f'--{self.boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
            for key, value in self.fields.items()
        ]
        self.head = (
            "".join(parts) + f'--{self.boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        self.tail = f"\r\n--{self.boundary}--\r\n".encode()

    @property
    def content_type(self) -> str:
        return f"multipart/form-data; boundary={self.boundary}"

    @property
    def length(self) -> int:
        return len(self.head) + self.size + len(self.tail)

    def blocks(self) -> Iterator[bytes]:
        yield self.head
        self.file.seek(self.start)
        left = self.size
        while left and (block := self.file.read(min(BLOCK_BYTES, left))):
            left -= len(block)
            yield block
        yield self.tail


def is_address(source: Source) -> bool:
    return isinstance(source, str) and source.lower().startswith(("http://", "https://"))


def media_id(source: Source) -> str:
    """The id of an item that was submitted before; "" when the source is none."""
    if isinstance(source, Mapping):
        return str(source.get("media_id", ""))
    return source if isinstance(source, str) and source.startswith("med_") and not os.path.exists(source) else ""


@contextlib.contextmanager
def opened(source: Source, fields: Mapping[str, str | int], filename: str) -> Iterator[Form]:
    """The form that sends `source`. A stream that cannot be read twice is copied first, so that a repeat can be."""
    with contextlib.ExitStack() as stack:
        file: IO[bytes]
        if isinstance(source, str | os.PathLike):
            try:
                file = stack.enter_context(open(source, "rb"))
            except OSError as error:
                raise DeepfakeError(f"{source} cannot be read: {error.strerror}.", code="file_not_found") from error
            filename = filename or os.path.basename(os.fspath(source))
        elif isinstance(source, bytes | bytearray | memoryview):
            file = stack.enter_context(tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES))
            file.write(source)
            file.seek(0)
        elif hasattr(source, "read"):
            file = source  # type: ignore[assignment]
            filename = filename or os.path.basename(str(getattr(source, "name", "")))
            if not (hasattr(file, "seekable") and file.seekable()):
                file = stack.enter_context(tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES))
                while block := source.read(BLOCK_BYTES):
                    file.write(block)
                file.seek(0)
        else:
            raise DeepfakeError(
                "Give a path, an address, bytes, an open binary file, or an item.", code="source_unusable"
            )
        start = file.tell()
        file.seek(0, os.SEEK_END)
        yield Form(fields, file, start, file.tell() - start, filename or "file")
