"""A copy of an installation: database, objects, wrapped keys and report keys, with the digest of each; and its return.

A backup is a folder. `objects/` and `data-keys/` lie apart, so that they can be kept for different times: whoever drops
the data keys has dropped the media. Database and keys are sealed under the master key, and sessions are left out, so
that a backup opens no server. The master key is never among it, unless it is asked for, and then in a file of its own
outside the folder. The manifest carries a MAC under a key derived from the master key: without it nobody can change a
backup unnoticed. Backups of format 1 had neither.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import io
import json
import os
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files import File
from django.core.files.storage import storages
from django.core.management import CommandError, call_command
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.recorder import MigrationRecorder

from deepfake import master_keys, sealed_files, storage
from deepfake.errors import DomainError

FORMAT = 2
PLAIN_FORMAT = 1  # database and keys lay in it as they are, and nothing told who had made it
MANIFEST = "manifest.json"
DATABASE = "database.sealed"
KEYS = "keys"
MAC_PURPOSE = b"deepfake backup manifest"
SESSION_TABLES = ("accounts_membersession", "django_session")
BLOCK = 1 << 20
Tell = Callable[[str], None]


class BackupError(DomainError):
    def __init__(self, message: str) -> None:
        super().__init__(message, "backup", 500)


class Origin(enum.Enum):
    """Whether this installation made a backup and nobody has changed it since."""

    PROVEN = "proven"
    NO_KEY = "no key"  # the master key is not here, so only completeness was checked
    NO_PROOF = "no proof"  # of format 1, which has none


@dataclass(frozen=True)
class Checked:
    """What a backup holds, after every digest in it was compared."""

    manifest: dict[str, Any]
    files: int
    size_bytes: int
    origin: Origin


# Making ---------------------------------------------------------------------------------------------------------------


def make(target: Path, *, master_key_file: Path | None = None, tell: Tell = lambda sentence: None) -> Checked:
    """Write a backup into `target`, which must not exist or be empty. Raises BackupError.

    The database first, then the objects: an object that a row of the snapshot names is there unless it was deleted
    since, and one that came later does no harm.
    """
    if target.exists() and any(target.iterdir()):
        raise BackupError(f"{target} is not empty. Name a new folder: backups are never written over each other.")
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    began = time.time()
    with _spooled() as dumped:
        _dump(dumped)
        files = {DATABASE: _seal(dumped, target, DATABASE)}
    tell(f"The database is in {DATABASE}.")
    for path, facts in _copy_objects(target, tell):
        files[path] = facts
    for path in _key_paths():
        files[f"{KEYS}/{path}"] = _seal(Path(settings.KEYS_DIR) / path, target, f"{KEYS}/{path}")
    manifest = {
        "format": FORMAT,
        "made_at": began,
        "took_s": round(time.time() - began, 1),
        "database": {"vendor": _connection().vendor, "file": DATABASE, "migrations": _migrations()},
        "master_keys": [key.id for key in master_keys.everyone()],
        "files": files,
    }
    manifest["mac"] = {"key": master_keys.current().id, "value": _mac(manifest, master_keys.current().secret)}
    master_keys.write_privately(target / MANIFEST, json.dumps(manifest, indent=1).encode())
    if master_key_file is not None:
        _write_master_keys(master_key_file, target)
    return verify(target)


def _dump(path: Path) -> None:
    """One moment of the database, while others write; without sessions."""
    connection = _connection()
    if connection.vendor == "sqlite":
        connection.ensure_connection()
        copy = sqlite3.connect(path)
        try:
            connection.connection.backup(copy, pages=2000)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
            copy.execute("PRAGMA secure_delete=ON")
            for table in set(SESSION_TABLES) & set(connection.introspection.table_names()):
                copy.execute(f"DELETE FROM {table}")  # nosec B608 # noqa: S608 -- names of ours
            copy.commit()
        finally:
            copy.close()
        return
    left_out = [f"--exclude-table-data={table}" for table in SESSION_TABLES]
    _run_tool("pg_dump", "--format=custom", "--no-owner", "--no-privileges", *left_out, f"--file={path}")


@contextmanager
def _spooled() -> Iterator[Path]:
    """A file for what may not lie in a backup as it is; beside the database, which does."""
    handle, name = tempfile.mkstemp(dir=settings.SPOOL_DIR)  # 0600
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _seal(source: Path, target: Path, path: str) -> dict[str, Any]:
    destination = target / path
    destination.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with source.open("rb") as plain, open(os.open(destination, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
        sealed_files.seal_file(plain, file, context=f"backup:{path}")
        file.flush()
        os.fsync(file.fileno())
    return _facts(destination)


def _mac(manifest: Mapping[str, Any], secret: bytes) -> str:
    told = json.dumps({name: value for name, value in manifest.items() if name != "mac"}, sort_keys=True)
    key = hmac.digest(secret, MAC_PURPOSE, "sha256")
    return hmac.new(key, told.encode(), hashlib.sha256).hexdigest()


def _copy_objects(target: Path, tell: Tell) -> Iterator[tuple[str, dict[str, Any]]]:
    backend, number = storages["default"], 0
    for name in storage.all_names():
        try:
            copied = [
                _copy(backend, f"{folder}/{name}", target / folder / name)
                for folder in (storage.OBJECTS, storage.DATA_KEYS)
            ]
        except FileNotFoundError:  # destroyed while we were at it: then neither half may stay
            for folder in (storage.OBJECTS, storage.DATA_KEYS):
                (target / folder / name).unlink(missing_ok=True)
            continue
        yield f"{storage.OBJECTS}/{name}", copied[0]
        yield f"{storage.DATA_KEYS}/{name}", copied[1]
        number += 1
        if number % 1000 == 0:
            tell(f"{number:,} objects copied.")
    tell(f"{number:,} objects copied.")


def _copy(backend: Any, name: str, destination: Path) -> dict[str, Any]:
    destination.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    digest, length = hashlib.sha256(), 0
    with backend.open(name, "rb") as source, destination.open("wb") as file:
        os.chmod(destination, 0o600)
        while block := source.read(BLOCK):
            digest.update(block)
            length += file.write(block)
        file.flush()
        os.fsync(file.fileno())
    return {"sha256": digest.hexdigest(), "bytes": length}


def _write_master_keys(path: Path, target: Path) -> None:
    if path.resolve().is_relative_to(target.resolve()):
        raise BackupError("The master key must not lie in the backup: whoever has both can read everything.")
    keys = {key.id: key.secret.hex() for key in master_keys.everyone()}
    master_keys.write_privately(path, json.dumps({"current": master_keys.current().id, "keys": keys}).encode())


def _key_paths() -> list[str]:
    """All keys of the installation but the master keys."""
    folder, ring = Path(settings.KEYS_DIR), master_keys.ring_folder()
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    kept = [path for path in files if path != Path(settings.MASTER_KEY_FILE) and ring not in path.parents]
    return [str(path.relative_to(folder)) for path in kept]


# Checking -------------------------------------------------------------------------------------------------------------


def verify(source: Path, *, master_key_file: Path | None = None) -> Checked:
    """Compare every file with the manifest, and the manifest with its MAC where its master key is at hand.

    master_key_file: what `backup --with-master-key` wrote, where the key is not in this installation.
    Raises BackupError with the first that does not fit.
    """
    given = _given_keys(master_key_file) if master_key_file is not None else {}
    return _verify(source, lambda key_id: given.get(key_id) or _own_key(key_id))


def _verify(source: Path, find: Callable[[str], bytes | None]) -> Checked:
    manifest = _manifest(source)
    origin = _origin(manifest, find)  # first: what follows goes by what it says
    for path, facts in manifest["files"].items():
        file = _inside(source, path)
        if not file.is_file():
            raise BackupError(f"The backup is not whole: {path} is missing.")
        if _facts(file) != facts:
            raise BackupError(f"The backup is damaged: {path} is not what it was.")
    if manifest["database"]["file"] not in manifest["files"]:
        raise BackupError("The backup is not whole: it has no database.")
    known = set(manifest["files"]) | {MANIFEST}
    extra = [str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()]
    strange = [path for path in extra if path not in known]
    if strange:
        raise BackupError(f"The backup holds a file that is not its own: {strange[0]}.")
    size = sum(facts["bytes"] for facts in manifest["files"].values())
    return Checked(manifest, len(manifest["files"]), size, origin)


def _origin(manifest: dict[str, Any], find: Callable[[str], bytes | None]) -> Origin:
    if manifest["format"] == PLAIN_FORMAT:
        return Origin.NO_PROOF
    try:
        key_id, value = str(manifest["mac"]["key"]), str(manifest["mac"]["value"])
    except (KeyError, TypeError):
        raise BackupError(f"The backup was changed: its {MANIFEST} has lost its MAC.") from None
    secret = find(key_id)
    if secret is None:
        return Origin.NO_KEY
    if not hmac.compare_digest(_mac(manifest, secret).encode(), value.encode()):
        raise BackupError(f"The backup was changed after it was made: {MANIFEST} does not fit its MAC.")
    return Origin.PROVEN


def _own_key(key_id: str) -> bytes | None:
    key = master_keys.by_id(key_id) if key_id.isalnum() else None
    return key.secret if key is not None else None


def _manifest(source: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((source / MANIFEST).read_text())
        number = manifest["format"]
    except (OSError, ValueError, KeyError, TypeError):
        raise BackupError(f"{source} is no whole backup: it has no {MANIFEST} that can be read.") from None
    if number not in (PLAIN_FORMAT, FORMAT):
        raise BackupError(f"This backup has the format {number}; this release reads {PLAIN_FORMAT} and {FORMAT}.")
    return dict(manifest)


def _inside(source: Path, path: str) -> Path:
    found = (source / path).resolve()
    if not found.is_relative_to(source.resolve()):
        raise BackupError(f"The manifest names {path}, which lies outside of the backup.")
    return found


def _facts(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"sha256": digest, "bytes": path.stat().st_size}


# Restoring ------------------------------------------------------------------------------------------------------------


def restore(
    source: Path,
    *,
    master_key_file: Path | None = None,
    accepts_unproven: bool = False,
    tell: Tell = lambda sentence: None,
) -> Checked:
    """Bring a backup back into an empty installation and migrate it to this release. Raises DomainError.

    accepts_unproven: take a backup of format 1, of which nobody can tell whether it was changed.
    """
    given = _given_keys(master_key_file) if master_key_file is not None else {}
    checked = _verify(source, lambda key_id: given.get(key_id) or _own_key(key_id))
    tell(f"{checked.files:,} files are whole.")
    vendor = checked.manifest["database"]["vendor"]
    if vendor != _connection().vendor:
        raise BackupError(f"The backup is of {vendor}, but DATABASE_URL names {_connection().vendor}.")
    _check_empty()
    if given and Path(settings.MASTER_KEY_FILE).exists():
        raise BackupError(f"There is a master key already: {settings.MASTER_KEY_FILE}. Restore without --master-key.")
    _check_master_key(checked.manifest, set(given))
    if checked.origin is Origin.NO_PROOF and not accepts_unproven:
        raise BackupError(
            "This backup is of an earlier release and has no proof of its origin: whoever could write to it may have "
            "changed it. If you know where it has been, restore it with --unproven."
        )
    _restore_master_keys(given)
    for path in checked.manifest["files"]:
        if path.startswith(f"{KEYS}/"):
            with _opened(source, path, checked.manifest) as file:
                content = file.read_bytes()
            master_keys.write_privately(_key_file(path.removeprefix(f"{KEYS}/")), content)
    with _opened(source, checked.manifest["database"]["file"], checked.manifest) as file:
        _load(file)
    tell("The database is loaded.")
    backend = storages["default"]
    for path in checked.manifest["files"]:
        if path.startswith((f"{storage.OBJECTS}/", f"{storage.DATA_KEYS}/")):
            with (source / path).open("rb") as stored:
                backend.save(path, File(stored))
    tell("The objects are in place.")
    call_command("migrate", verbosity=0, interactive=False)
    tell("The database is migrated to this release.")
    _check_opens(checked.manifest)
    _begin_checkpoints(tell)
    return checked


def _begin_checkpoints(tell: Tell) -> None:
    """Checkpoints of the audit log lie outside of the database and of backups: here they begin anew."""
    try:
        call_command("verify_audit", new=True, checkpoint=True, stdout=io.StringIO(), stderr=io.StringIO())
    except CommandError as error:
        tell(f"The audit log is not as it should be: {error}")


@contextmanager
def _opened(source: Path, path: str, manifest: dict[str, Any]) -> Iterator[Path]:
    if manifest["format"] == PLAIN_FORMAT:
        yield source / path
        return
    with _spooled() as plain:
        with (source / path).open("rb") as sealed, plain.open("wb") as file:
            sealed_files.open_file(sealed, file, context=f"backup:{path}")
        yield plain


def _key_file(path: str) -> Path:
    found = Path(settings.KEYS_DIR) / path
    if not found.resolve().is_relative_to(Path(settings.KEYS_DIR).resolve()):
        raise BackupError(f"The manifest names {path}, which lies outside of the keys.")
    return found


def _check_empty() -> None:
    if _connection().introspection.table_names():
        raise BackupError("The database is not empty. Restore into a new one, or into an empty DATA_DIR.")
    if next(storage.all_names(), None) is not None:
        raise BackupError("The storage holds objects already. Restore into an empty one.")


def _given_keys(path: Path) -> dict[str, bytes]:
    """The master keys of a file that backup --with-master-key wrote, by their ids, the current one first."""
    try:
        stored = json.loads(path.read_text())
        keys = {key_id: bytes.fromhex(text) for key_id, text in stored["keys"].items()}
        return {stored["current"]: keys[stored["current"]], **keys}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise BackupError(f"{path} is no file of master keys as backup --with-master-key writes it.") from None


def _restore_master_keys(given: dict[str, bytes]) -> None:
    for key_id, secret in given.items():
        master_keys.write_file(master_keys.ring_file(key_id), secret)
    for secret in list(given.values())[:1]:
        master_keys.write_file(Path(settings.MASTER_KEY_FILE), secret)


def _check_master_key(manifest: dict[str, Any], given: set[str]) -> None:
    """Before anything is loaded: without its master keys a backup cannot be read."""
    needed = set(manifest["master_keys"])
    has_one = master_keys.is_from_environment() or Path(settings.MASTER_KEY_FILE).exists()
    known = ({key.id for key in master_keys.everyone()} if has_one else set()) | given
    if not needed <= known:
        raise BackupError(
            f"The backup needs the master key {', '.join(sorted(needed - known))}, which is not here. Put it in place "
            "(MASTER_KEY_FILE, MASTER_KEY) or name the file with --master-key."
        )


def _load(database: Path) -> None:
    connection = _connection()
    if connection.vendor == "sqlite":
        connection.ensure_connection()
        copy = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        try:
            copy.backup(connection.connection)
        finally:
            copy.close()
        connection.close()
        return
    connection.close()
    _run_tool(
        "pg_restore", "--no-owner", "--no-privileges", "--exit-on-error", f"--dbname={_database_name()}",
        str(database),
    )  # fmt: skip


def _check_opens(manifest: dict[str, Any]) -> None:
    """An object of each master key must open, or the restore was for nothing."""
    seen: set[str] = set()
    for name in storage.all_names():
        key_id = storage.key_id_of(name)
        if key_id not in seen:
            seen.add(key_id)
            storage.read_range(name, 0, 1)
        if len(seen) == len(manifest["master_keys"]):
            return


# The database's own tools ---------------------------------------------------------------------------------------------


def _connection() -> Any:
    return connections[DEFAULT_DB_ALIAS]


def _database_name() -> str:
    return str(_connection().settings_dict["NAME"])


def _migrations() -> list[str]:
    applied = MigrationRecorder(_connection()).applied_migrations()
    return sorted(f"{app}.{name}" for app, name in applied)


def _run_tool(name: str, *arguments: str) -> None:
    found = _connection().settings_dict
    variables = {
        "PGHOST": found["HOST"],
        "PGPORT": str(found["PORT"]),
        "PGUSER": found["USER"],
        "PGPASSWORD": found["PASSWORD"],
        "PGDATABASE": _database_name(),
        "PGSSLMODE": found.get("OPTIONS", {}).get("sslmode", ""),
    }
    try:
        done = subprocess.run(
            [name, *arguments],
            env={**os.environ, **{key: value for key, value in variables.items() if value}},
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise BackupError(f"{name} is not installed. It comes with the client tools of PostgreSQL.") from None
    if done.returncode:
        raise BackupError(f"{name} failed: {done.stderr.strip()[-500:]}")
