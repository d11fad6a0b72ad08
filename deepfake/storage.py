"""Encrypted objects: every file is sealed with a data key of its own, which a master key wraps.

An object is a header and chunks of 64 KiB, each sealed by AES-256-GCM over the object's id, the chunk's number and
whether it is the last; so a changed, moved, dropped or appended chunk does not open. The data key lies, wrapped, in a
second small object together with the plain size. Whoever destroys that one has destroyed the file, copies included.
See docs/decisions/0003-encrypted-storage.md.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import struct
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.core.files import File
from django.core.files.storage import FileSystemStorage, Storage, storages

from deepfake import master_keys
from deepfake.errors import StorageFull, is_disk_full
from deepfake.master_keys import DATA_KEYS as DATA_KEYS
from deepfake.master_keys import StorageError as StorageError
from deepfake.sealing import seal as seal
from deepfake.sealing import unseal as unseal

MAGIC = b"DFE1"
CHUNK_BYTES = 64 * 1024
NONCE_BYTES = 12
TAG_BYTES = 16
SEALED_CHUNK_BYTES = NONCE_BYTES + CHUNK_BYTES + TAG_BYTES
HEADER_BYTES = len(MAGIC) + 16
# How much one request fetches from an object store when a file is read through; 16 chunks.
READ_AHEAD_BYTES = 16 * CHUNK_BYTES

OBJECTS = "objects"
ensure_master_key = master_keys.ensure  # the apps know this module alone


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
    return [f"{folder}/{shard}/{name}" for shard, names in found.items() for name in names if name[0] != "."]


def all_names(organization_id: uuid.UUID | None = None) -> Iterator[str]:
    """Names of all objects that can be opened (of one organisation), found in the storage itself and not in rows."""
    one = uuid.UUID(str(organization_id)).hex if organization_id is not None else ""
    for organization in [one] if one else _folders(DATA_KEYS):
        for hint in _folders(f"{DATA_KEYS}/{organization}"):
            yield from names_of(hint, organization_id=uuid.UUID(organization))


def _folders(path: str) -> list[str]:
    try:
        return sorted(name for name in _backend().listdir(path)[0] if name)
    except FileNotFoundError:
        return []


def destroy(name: str) -> None:
    """Destroy the data key and then the object. Nothing can open the object afterwards; a second call does nothing."""
    if not name:
        return
    _check_name(name)
    key_name = f"{DATA_KEYS}/{name}"
    if isinstance(_backend(), FileSystemStorage):
        path = Path(_backend().path(key_name))
        with _held(path) as file:  # a rotation that is at this very key must not write it back
            if file is not None:
                _overwrite(file)
                path.unlink(missing_ok=True)
        _rewrapped_beside(path).unlink(missing_ok=True)
    else:
        _backend().delete(key_name)
    _backend().delete(f"{OBJECTS}/{name}")


# Data keys ------------------------------------------------------------------------------------------------------------


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


def _wrap(data_key: bytes, object_id: uuid.UUID, plain_bytes: int) -> io.BytesIO:
    key, nonce = master_keys.current(), os.urandom(NONCE_BYTES)
    wrapped = AESGCM(key.secret).encrypt(nonce, data_key, _wrap_context(object_id, plain_bytes))
    return io.BytesIO(
        json.dumps(
            {
                "version": 1,
                "master_key": key.id,
                "object": object_id.hex,
                "plain_bytes": plain_bytes,
                "nonce": nonce.hex(),
                "wrapped_key": wrapped.hex(),
            }
        ).encode()
    )


def _unwrap(name: str) -> _DataKey:
    data_key, object_id, plain_bytes, _ = _unwrapped(_read_key(name), name)
    return _DataKey(AESGCM(data_key), object_id, plain_bytes)


def _read_key(name: str) -> bytes:
    _check_name(name)
    try:
        with _backend().open(f"{DATA_KEYS}/{name}", "rb") as file:
            return bytes(file.read())
    except OSError:
        raise ObjectMissing(name) from None


def _unwrapped(text: bytes, name: str) -> tuple[bytes, uuid.UUID, int, str]:
    """The data key, its object, the object's plain size, and the id of the master key that wraps it."""
    try:
        stored = json.loads(text)
        object_id, plain_bytes = uuid.UUID(stored["object"]), int(stored["plain_bytes"])
        nonce, wrapped, key_id = (
            bytes.fromhex(stored["nonce"]),
            bytes.fromhex(stored["wrapped_key"]),
            str(stored["master_key"]),
        )
    except (ValueError, KeyError, TypeError):
        raise StorageError(f"The data key of {name} is not readable.") from None
    key = master_keys.by_id(key_id)
    if key is None:
        raise StorageError(f"{name} was stored under another master key.", "wrong_master_key")
    try:
        data_key = AESGCM(key.secret).decrypt(nonce, wrapped, _wrap_context(object_id, plain_bytes))
    except (InvalidTag, ValueError):
        raise StorageError(f"The data key of {name} was altered.") from None
    if not name.endswith(object_id.hex):
        raise StorageError(f"The data key of {name} belongs to another object.")
    return data_key, object_id, plain_bytes, key_id


def key_id_of(name: str) -> str:
    """The id of the master key that an object's data key is wrapped by."""
    try:
        return str(json.loads(_read_key(name))["master_key"])
    except (ValueError, KeyError, TypeError):
        raise StorageError(f"The data key of {name} is not readable.") from None


def rewrap(name: str) -> bool:
    """Wrap an object's data key by the current master key; False when it is already, or is gone. Raises StorageError.

    Beside traffic: readers find the old or the new one, whole, and an object that is destroyed meanwhile stays so.
    """
    _check_name(name)
    if not isinstance(_backend(), FileSystemStorage):
        return _rewrap_in_bucket(name)
    path = Path(_backend().path(f"{DATA_KEYS}/{name}"))
    with _held(path) as file:
        if file is None:
            return False
        data_key, object_id, plain_bytes, key_id = _unwrapped(file.read(), name)
        if key_id == master_keys.current().id:
            return False
        beside = _rewrapped_beside(path)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as fresh:
            fresh.write(_wrap(data_key, object_id, plain_bytes).getvalue())
            fresh.flush()
            os.fsync(fresh.fileno())
        os.replace(beside, path)
    return True


def _rewrap_in_bucket(name: str) -> bool:
    """Written only over what was read: had the key been deleted meanwhile, the bucket refuses to bring it back."""
    bucket: Any = _backend()
    client = bucket.connection.meta.client
    key = "/".join(part for part in (bucket.location, DATA_KEYS, name) if part)
    where = {"Bucket": bucket.bucket_name, "Key": key}
    try:
        found = client.get_object(**where)
        data_key, object_id, plain_bytes, key_id = _unwrapped(found["Body"].read(), name)
        if key_id == master_keys.current().id:
            return False
        client.put_object(**where, Body=_wrap(data_key, object_id, plain_bytes).getvalue(), IfMatch=found["ETag"])
    except Exception as error:
        if _is_missing_key(error) or "PreconditionFailed" in str(error):
            return False
        raise
    return True


@contextmanager
def _held(path: Path) -> Iterator[IO[bytes] | None]:
    """The key file as it lies there, locked against other processes of ours; None when it is gone."""
    while True:
        try:
            file = path.open("r+b", buffering=0)
        except FileNotFoundError:
            yield None
            return
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                break  # else it was exchanged or removed while we waited
        except FileNotFoundError:
            pass
        file.close()
    try:
        yield file
    finally:
        file.close()


def _rewrapped_beside(path: Path) -> Path:
    return path.with_name(f".{path.name}")


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


def _overwrite(file: IO[bytes]) -> None:
    length = os.fstat(file.fileno()).st_size
    file.seek(0)
    file.write(os.urandom(max(1, length)))
    os.fsync(file.fileno())


def _check_name(name: str) -> None:
    """Names come from our own rows; anything that would leave the storage's folders is a bug or an attack."""
    parts = name.split("/")
    if len(parts) != 4 or not all(part and part.replace("-", "").replace("_", "").isalnum() for part in parts):
        raise ObjectMissing(name)
