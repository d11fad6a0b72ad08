"""The master key and those before it: from a file, from the environment, or wrapped by a key management service.

One key is current: whatever is wrapped or sealed anew goes under it. Every stored secret names its key, so that earlier
keys, kept in a ring beside the current one, still open what they closed until `manage.py rotate_master_key` has passed.
See docs/privacy.md.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from django.conf import settings
from django.core.files.storage import storages
from django.utils.module_loading import import_string

from deepfake.errors import DomainError
from deepfake.keys import read_or_create

KEY_BYTES = 32
DATA_KEYS = "data-keys"  # the folder of the storage that holds the wrapped keys of all objects
KMS_CONTEXT = b"deepfake master key"


class StorageError(DomainError):
    """An object that is missing, altered or sealed under another master key."""

    def __init__(self, message: str, code: str = "storage_corrupt") -> None:
        super().__init__(message, code, status=500)


@dataclass(frozen=True)
class MasterKey:
    id: str
    secret: bytes = field(repr=False)


class KeyService(Protocol):
    """What MASTER_KEY_KMS names: it wraps the master key, which then never lies in the clear on a disk."""

    def key_id(self) -> str:
        """Names the service's own key, for people."""

    def wrap(self, key: bytes, context: bytes) -> bytes: ...

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes: ...


def current() -> MasterKey:
    """The key for whatever is written now. Raises StorageError when it is missing or not one."""
    given = _from_environment()
    return given[0] if given else _of_file(Path(settings.MASTER_KEY_FILE), makes_it=True)


def by_id(key_id: str) -> MasterKey | None:
    """The key of this installation that a stored secret names; None when it is none of ours."""
    for key in _from_environment():
        if key.id == key_id:
            return key
    return next((key for key in _in_files(key_id) if key.id == key_id), None)


def everyone() -> list[MasterKey]:
    """All keys that still open something, the current one first."""
    found = {key.id: key for key in [current(), *_from_environment(), *_in_files()]}
    return list(found.values())


def is_from_environment() -> bool:
    return bool(settings.MASTER_KEY)


def id_of(secret: bytes) -> str:
    """Names a master key without telling anything about it."""
    return hashlib.sha256(b"master-key-id:" + secret).hexdigest()[:16]


def ensure() -> Path:
    """Make the master key at set-up, unless it exists; a lost one is never silently replaced."""
    current()
    return Path(settings.MASTER_KEY_FILE)


# The environment ------------------------------------------------------------------------------------------------------


def _from_environment() -> list[MasterKey]:
    """MASTER_KEY, then those of MASTER_KEYS_OLD."""
    return list(_decoded(settings.MASTER_KEY, tuple(settings.MASTER_KEYS_OLD))) if settings.MASTER_KEY else []


@lru_cache(maxsize=4)
def _decoded(key: str, old: tuple[str, ...]) -> tuple[MasterKey, ...]:
    return tuple(_from_text(text, "MASTER_KEY" if text is key else "MASTER_KEYS_OLD") for text in (key, *old))


def _from_text(text: str, name: str) -> MasterKey:
    try:
        secret = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) != KEY_BYTES:
        raise StorageError(
            f"{name} must be {KEY_BYTES} random bytes in base64. Make one with: openssl rand -base64 {KEY_BYTES}",
            "bad_master_key",
        )
    return MasterKey(id_of(secret), secret)


# Files ----------------------------------------------------------------------------------------------------------------


def ring_folder() -> Path:
    """Where earlier keys lie, one file each, named after their ids."""
    file = Path(settings.MASTER_KEY_FILE)
    return file.with_name(f"{file.name}.ring")


def ring_file(key_id: str) -> Path:
    return ring_folder() / f"{key_id}.key"


def _in_files(key_id: str = "") -> list[MasterKey]:
    """The keys of the ring (only the one of that id) and of the key file, where it exists."""
    paths = [ring_file(key_id)] if key_id else sorted(ring_folder().glob("*.key"))
    found = []
    for path in [*paths, Path(settings.MASTER_KEY_FILE)]:
        with suppress(FileNotFoundError):
            found.append(_of_file(path))
    return found


def _of_file(path: Path, *, makes_it: bool = False) -> MasterKey:
    """Read anew when the file was exchanged: a rotation reaches a running server without a word."""
    try:
        facts = path.stat()
    except FileNotFoundError:
        if not makes_it:
            raise
        _make(path)
        facts = path.stat()
    return _read(path, facts.st_ino, facts.st_mtime_ns, settings.MASTER_KEY_KMS)


@lru_cache(maxsize=64)
def _read(path: Path, inode: int, changed_ns: int, service: str) -> MasterKey:
    content = path.read_bytes()
    if len(content) != KEY_BYTES and content.startswith(b"{"):
        content = _unwrapped(content, path)
    if len(content) != KEY_BYTES:
        raise StorageError(
            f"The master key {path} must be {KEY_BYTES} bytes long, but it has {len(content)}.", "bad_master_key"
        )
    return MasterKey(id_of(content), content)


def _make(path: Path) -> None:
    if _holds_objects():
        raise StorageError(
            f"The master key {path} is missing, and files are stored under it. Restore it.", "no_master_key"
        )
    read_or_create(path, lambda: file_content(os.urandom(KEY_BYTES)))


def _holds_objects() -> bool:
    try:
        folders, files = storages["default"].listdir(DATA_KEYS)
    except FileNotFoundError:
        return False
    return bool(folders or files)


def write_file(path: Path, secret: bytes) -> None:
    """Put a key into a file, whole or not at all, readable by nobody else."""
    write_privately(path, file_content(secret))


def write_privately(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, temporary = tempfile.mkstemp(dir=path.parent)  # mkstemp gives 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the name too outlives a power cut
    finally:
        os.close(folder)


# The key management service -------------------------------------------------------------------------------------------


def file_content(secret: bytes) -> bytes:
    """What a key file holds: the key, or with a service the key as only that service can open it."""
    service = _service()
    if service is None:
        return secret
    wrapped = base64.b64encode(service.wrap(secret, KMS_CONTEXT)).decode()
    return json.dumps({"kms_key": service.key_id(), "wrapped": wrapped}).encode()


def _unwrapped(content: bytes, path: Path) -> bytes:
    service = _service()
    if service is None:
        raise StorageError(
            f"The master key {path} is wrapped by a key management service. Set MASTER_KEY_KMS.", "bad_master_key"
        )
    try:
        return service.unwrap(base64.b64decode(json.loads(content)["wrapped"]), KMS_CONTEXT)
    except (ValueError, KeyError, TypeError):
        raise StorageError(f"The master key {path} is damaged: the service cannot open it.", "bad_master_key") from None


def _service() -> KeyService | None:
    if not settings.MASTER_KEY_KMS:
        return None
    try:
        made: KeyService = import_string(settings.MASTER_KEY_KMS)()
    except ImportError as error:
        raise StorageError(f"MASTER_KEY_KMS names nothing that can be imported: {error}", "bad_master_key") from None
    return made
