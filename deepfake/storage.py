"""Encrypted objects: every file is sealed with a data key of its own, which a master key wraps.

An object is a header and chunks of 64 KiB, each sealed by AES-256-GCM over the object's id, the chunk's number and
whether it is the last; so a changed, moved, dropped or appended chunk does not open. The data key lies, wrapped, in a
second small object together with the plain size. Whoever destroys that one has destroyed the file, copies included.
See docs/decisions/0003-encrypted-storage.md.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.core.files import File
from django.core.files.storage import FileSystemStorage, Storage, storages

from deepfake.errors import DomainError, StorageFull, is_disk_full
from deepfake.keys import read_or_create

MAGIC = b"DFE1"
CHUNK_BYTES = 64 * 1024
NONCE_BYTES = 12
TAG_BYTES = 16
SEALED_CHUNK_BYTES = NONCE_BYTES + CHUNK_BYTES + TAG_BYTES
HEADER_BYTES = len(MAGIC) + 16
# How much one request fetches from an object store when a file is read through; 16 chunks.
READ_AHEAD_BYTES = 16 * CHUNK_BYTES

OBJECTS, DATA_KEYS = "objects", "data-keys"


class StorageError(DomainError):
    """An object that is missing, altered or sealed under another master key."""

    def __init__(self, message: str, code: str = "storage_corrupt") -> None:
        super().__init__(message, code, status=500)


class ObjectMissing(StorageError):
    def __init__(self, name: str) -> None:
        super().__init__(f"The stored file {name} is gone.", "storage_missing")
        self.status = 404


# Objects --------------------------------------------------------------------------------------------------------------


def save_encrypted(name_hint: str, source: BinaryIO | bytes, *, organization_id: uuid.UUID) -> str:
    """Store what `source` holds from where it stands and return the object's name.

    `name_hint` says what it is ("media", "heatmap") and becomes part of the name. Whole or not at all: the object gets
    its name only when its last byte is written. Raises StorageFull.
    """
    stream = io.BytesIO(source) if isinstance(source, bytes | bytearray) else source
    object_id = uuid.uuid4()
    hint = "".join(letter for letter in name_hint.lower() if letter.isalnum() or letter in "-_")[:40] or "file"
    name = f"{uuid.UUID(str(organization_id)).hex}/{hint}/{object_id.hex[:2]}/{object_id.hex}"
    data_key = AESGCM.generate_key(bit_length=256)
    with _storage_full_is_said(), _spool() as spool:
        plain_bytes = _seal_stream(stream, spool, data_key, object_id)
        spool.flush()
        os.fsync(spool.fileno())
        _put(f"{DATA_KEYS}/{name}", _wrap(data_key, object_id, plain_bytes))
        try:
            _put(f"{OBJECTS}/{name}", spool)
        except BaseException:
            _backend().delete(f"{DATA_KEYS}/{name}")
            raise
    return name


def open_decrypted(name: str) -> BinaryIO:
    """Return a seekable reader of the plain bytes; it decrypts only what is read."""
    return cast(BinaryIO, io.BufferedReader(_PlainReader(name), buffer_size=READ_AHEAD_BYTES))


def read_range(name: str, start: int, length: int) -> bytes:
    """Return up to `length` plain bytes from `start`; fewer at the end of the file."""
    with _SealedObject(name) as sealed:
        return sealed.read(start, length)


def iter_range(name: str, start: int, length: int, block_bytes: int = READ_AHEAD_BYTES) -> Iterator[bytes]:
    """Yield the plain bytes of a range in blocks, with the object opened once."""
    with _SealedObject(name) as sealed:
        end = min(start + length, sealed.size)
        while start < end:
            block = sealed.read(start, min(block_bytes, end - start))
            start += len(block)
            yield block


def size(name: str) -> int:
    """Plain size in bytes."""
    return _unwrap(name).plain_bytes


def exists(name: str) -> bool:
    return bool(name) and _backend().exists(f"{DATA_KEYS}/{name}")


def names_of(name_hint: str, *, organization_id: uuid.UUID) -> list[str]:
    """Names of all objects that were stored under this hint, also of those whose row was never written."""
    folder = f"{uuid.UUID(str(organization_id)).hex}/{name_hint}"
    try:
        shards, _ = _backend().listdir(f"{DATA_KEYS}/{folder}")
    except FileNotFoundError:
        return []
    found = {shard: _backend().listdir(f"{DATA_KEYS}/{folder}/{shard}")[1] for shard in shards}
    return [f"{folder}/{shard}/{name}" for shard, names in found.items() for name in names]


def destroy(name: str) -> None:
    """Destroy the data key and then the object. Nothing can open the object afterwards; a second call does nothing."""
    if not name:
        return
    _check_name(name)
    key_name = f"{DATA_KEYS}/{name}"
    if isinstance(_backend(), FileSystemStorage):
        _overwrite(Path(_backend().path(key_name)))
    _backend().delete(key_name)
    _backend().delete(f"{OBJECTS}/{name}")


# Small secrets --------------------------------------------------------------------------------------------------------


def seal(secret: bytes, *, context: str) -> bytes:
    """Encrypt a small secret for a database column; it opens only with the same context."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(_master_key()).encrypt(nonce, secret, b"sealed:" + context.encode())


def unseal(sealed: bytes, *, context: str) -> bytes:
    try:
        return AESGCM(_master_key()).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], b"sealed:" + context.encode())
    except (InvalidTag, ValueError):
        raise StorageError(
            "A stored secret does not open with this installation's master key.", "wrong_master_key"
        ) from None


# Master key and data keys ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _DataKey:
    cipher: AESGCM
    object_id: uuid.UUID
    plain_bytes: int

    @property
    def chunk_count(self) -> int:
        return max(1, -(-self.plain_bytes // CHUNK_BYTES))

    @property
    def sealed_bytes(self) -> int:
        return HEADER_BYTES + self.plain_bytes + self.chunk_count * (NONCE_BYTES + TAG_BYTES)


def ensure_master_key() -> Path:
    """Make the master key at set-up, unless it exists; a lost one is never silently replaced."""
    _master_key()
    return settings.MASTER_KEY_FILE


def _master_key() -> bytes:
    return _read_master_key(settings.MASTER_KEY_FILE)


@lru_cache(maxsize=4)
def _read_master_key(path: Path) -> bytes:
    if not path.exists() and _holds_objects():
        raise StorageError(
            f"The master key {path} is missing, and files are stored under it. Restore it.", "no_master_key"
        )
    key = read_or_create(path, lambda: os.urandom(32))
    if len(key) != 32:
        raise StorageError(f"The master key {path} must be 32 bytes long, but it has {len(key)}.", "bad_master_key")
    return key


def _holds_objects() -> bool:
    try:
        folders, files = _backend().listdir(DATA_KEYS)
    except FileNotFoundError:
        return False
    return bool(folders or files)


def _key_id() -> str:
    """Names the master key without telling anything about it."""
    return hashlib.sha256(b"master-key-id:" + _master_key()).hexdigest()[:16]


def _wrap(data_key: bytes, object_id: uuid.UUID, plain_bytes: int) -> io.BytesIO:
    nonce = os.urandom(NONCE_BYTES)
    wrapped = AESGCM(_master_key()).encrypt(nonce, data_key, _wrap_context(object_id, plain_bytes))
    return io.BytesIO(
        json.dumps(
            {
                "version": 1,
                "master_key": _key_id(),
                "object": object_id.hex,
                "plain_bytes": plain_bytes,
                "nonce": nonce.hex(),
                "wrapped_key": wrapped.hex(),
            }
        ).encode()
    )


def _unwrap(name: str) -> _DataKey:
    _check_name(name)
    try:
        with _backend().open(f"{DATA_KEYS}/{name}", "rb") as file:
            text = file.read()
    except OSError:
        raise ObjectMissing(name) from None
    try:
        stored = json.loads(text)
        object_id, plain_bytes = uuid.UUID(stored["object"]), int(stored["plain_bytes"])
        nonce, wrapped, master_key = (
            bytes.fromhex(stored["nonce"]),
            bytes.fromhex(stored["wrapped_key"]),
            stored["master_key"],
        )
    except (ValueError, KeyError, TypeError):
        raise StorageError(f"The data key of {name} is not readable.") from None
    if master_key != _key_id():
        raise StorageError(f"{name} was stored under another master key.", "wrong_master_key")
    try:
        data_key = AESGCM(_master_key()).decrypt(nonce, wrapped, _wrap_context(object_id, plain_bytes))
    except (InvalidTag, ValueError):
        raise StorageError(f"The data key of {name} was altered.") from None
    if not name.endswith(object_id.hex):
        raise StorageError(f"The data key of {name} belongs to another object.")
    return _DataKey(AESGCM(data_key), object_id, plain_bytes)


def _wrap_context(object_id: uuid.UUID, plain_bytes: int) -> bytes:
    return b"data-key:" + object_id.bytes + struct.pack(">Q", plain_bytes)


# Chunks ---------------------------------------------------------------------------------------------------------------


def _chunk_context(object_id: uuid.UUID, number: int, is_last: bool) -> bytes:
    return MAGIC + object_id.bytes + struct.pack(">Q?", number, is_last)


def _seal_stream(source: BinaryIO, target: IO[bytes], data_key: bytes, object_id: uuid.UUID) -> int:
    """Write header and chunks; return how many plain bytes there were."""
    cipher = AESGCM(data_key)
    target.write(MAGIC + object_id.bytes)
    chunk, number, plain_bytes = _read_full(source), 0, 0
    while True:
        following = _read_full(source) if len(chunk) == CHUNK_BYTES else b""
        nonce = os.urandom(NONCE_BYTES)
        target.write(nonce + cipher.encrypt(nonce, chunk, _chunk_context(object_id, number, not following)))
        plain_bytes += len(chunk)
        if not following:
            return plain_bytes
        chunk, number = following, number + 1


def _read_full(source: BinaryIO) -> bytes:
    """One whole chunk, or what is left: a pipe or socket may give less than asked for."""
    parts, missing = [], CHUNK_BYTES
    while missing and (part := source.read(missing)):
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


class _SealedObject:
    """One object, opened for reading parts of it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.key = _unwrap(name)
        self.size = self.key.plain_bytes
        self._reader = _open_sealed(f"{OBJECTS}/{name}", name)
        if self._reader.size != self.key.sealed_bytes or self._reader.read_at(0, HEADER_BYTES) != self._header():
            self.close()
            raise StorageError(f"The stored file {name} was cut, extended or exchanged.")

    def __enter__(self) -> _SealedObject:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._reader.close()

    def read(self, start: int, length: int) -> bytes:
        start, end = max(0, start), min(start + length, self.size)
        if start >= end:
            return b""
        first, last = start // CHUNK_BYTES, (end - 1) // CHUNK_BYTES
        sealed = self._reader.read_at(
            HEADER_BYTES + first * SEALED_CHUNK_BYTES, (last - first + 1) * SEALED_CHUNK_BYTES
        )
        plain = b"".join(
            self._open_chunk(number, sealed[offset : offset + SEALED_CHUNK_BYTES])
            for offset, number in zip(range(0, len(sealed), SEALED_CHUNK_BYTES), range(first, last + 1), strict=True)
        )
        return plain[start - first * CHUNK_BYTES : end - first * CHUNK_BYTES]

    def _open_chunk(self, number: int, sealed: bytes) -> bytes:
        context = _chunk_context(self.key.object_id, number, number == self.key.chunk_count - 1)
        try:
            return self.key.cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], context)
        except (InvalidTag, ValueError):
            raise StorageError(f"The stored file {self.name} was altered.") from None

    def _header(self) -> bytes:
        return MAGIC + self.key.object_id.bytes


class _PlainReader(io.RawIOBase):
    def __init__(self, name: str) -> None:
        self._sealed = _SealedObject(name)
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._sealed.size}[whence]
        if base + offset < 0:
            raise ValueError("negative seek position")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        part = self._sealed.read(self._position, len(buffer))
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)

    def close(self) -> None:
        if not self.closed:
            self._sealed.close()
        super().close()


# Where the bytes lie --------------------------------------------------------------------------------------------------


class _LocalReader:
    def __init__(self, path: str) -> None:
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 -- closed by close()
        self.size = os.fstat(self._file.fileno()).st_size

    def read_at(self, start: int, length: int) -> bytes:
        return os.pread(self._file.fileno(), length, start)

    def close(self) -> None:
        self._file.close()


class _BucketReader:
    """Ranged requests to an S3 bucket; django-storages would fetch the whole object first."""

    def __init__(self, stored_name: str) -> None:
        bucket: Any = _backend()
        self._client = bucket.connection.meta.client
        self._where = {
            "Bucket": bucket.bucket_name,
            "Key": "/".join(part for part in (bucket.location, stored_name) if part),
        }
        self.size = int(self._client.head_object(**self._where)["ContentLength"])

    def read_at(self, start: int, length: int) -> bytes:
        end = min(start + length, self.size) - 1
        answer = self._client.get_object(**self._where, Range=f"bytes={start}-{end}")
        return bytes(answer["Body"].read())

    def close(self) -> None:
        """The client belongs to the storage and is shared."""


def _open_sealed(stored_name: str, name: str) -> _LocalReader | _BucketReader:
    try:
        if isinstance(_backend(), FileSystemStorage):
            return _LocalReader(_backend().path(stored_name))
        return _BucketReader(stored_name)
    except FileNotFoundError:
        raise ObjectMissing(name) from None
    except Exception as error:
        if _is_missing_key(error):
            raise ObjectMissing(name) from None
        raise


def _is_missing_key(error: Exception) -> bool:
    return str(getattr(error, "response", {}).get("Error", {}).get("Code", "")) in ("404", "NoSuchKey")


def _backend() -> Storage:
    return storages["default"]


class _SpooledFile(File):  # type: ignore[type-arg]
    """A finished temporary file: local storage renames it into place, which is atomic; a bucket uploads it."""

    def temporary_file_path(self) -> str:
        return str(self.name)


def _put(stored_name: str, source: IO[bytes]) -> None:
    if isinstance(source, io.BytesIO):
        with _spool() as spool:
            spool.write(source.getvalue())
            spool.flush()
            os.fsync(spool.fileno())
            _put(stored_name, spool)
        return
    source.seek(0)
    saved = _backend().save(stored_name, _SpooledFile(source))
    if saved != stored_name:
        _backend().delete(saved)
        raise StorageError(f"There is already an object called {stored_name}.")


@contextmanager
def _spool() -> Iterator[IO[bytes]]:
    with tempfile.NamedTemporaryFile(dir=settings.SPOOL_DIR, delete=False) as file:
        try:
            yield file
        finally:
            Path(file.name).unlink(missing_ok=True)


@contextmanager
def _storage_full_is_said() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise StorageFull from None
        raise


def _overwrite(path: Path) -> None:
    try:
        with path.open("r+b", buffering=0) as file:
            file.write(os.urandom(max(1, path.stat().st_size)))
            os.fsync(file.fileno())
    except FileNotFoundError:
        return


def _check_name(name: str) -> None:
    """Names come from our own rows; anything that would leave the storage's folders is a bug or an attack."""
    parts = name.split("/")
    if len(parts) != 4 or not all(part and part.replace("-", "").replace("_", "").isalnum() for part in parts):
        raise ObjectMissing(name)
