"""A database as the migrations make it, made once and kept: making it takes longer than most test files run.

Its name is a digest of all that takes part in making it, so that a changed migration makes a new one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import psycopg
from psycopg import sql

ROOT = Path(__file__).resolve().parents[1]
KEPT_IN = ROOT / "var" / "test-databases"
ON_POSTGRESQL = "deepfake_migrated_"  # beginning of the name; one is kept, for the newest state of the source
# Beside the migrations: what runs after them, and whose migrations we do not hold.
ALSO = ("requirements.txt", "accounts/audit_triggers.py", "detection/search.py", "deepfake/sealed_migrations.py")


@cache
def migrated() -> Path:
    """The file of the database; made by `manage.py migrate` when there is none for this state of the source."""
    path = KEPT_IN / f"{_digest()}.sqlite3"
    if path.exists():
        return path
    with _alone():
        if not path.exists():
            _make(path)
    return path


@cache
def migrated_on_postgresql(suite: str) -> str:
    """The name of such a database on PostgreSQL, which others are made from. suite: address of a database there."""
    name = ON_POSTGRESQL + _digest()
    with _alone(), psycopg.connect(suite, autocommit=True) as server:
        kept = {row[0] for row in server.execute("SELECT datname FROM pg_database")}
        if name in kept:
            return name
        for old in kept:
            if old.startswith(ON_POSTGRESQL):
                server.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(old)))
        making = sql.Identifier(ON_POSTGRESQL + "making")
        server.execute(sql.SQL("CREATE DATABASE {}").format(making))
        with tempfile.TemporaryDirectory() as folder:
            _migrate(f"{suite.rpartition('/')[0]}/{ON_POSTGRESQL}making", folder)
        server.execute(sql.SQL("ALTER DATABASE {} RENAME TO {}").format(making, sql.Identifier(name)))
    return name


def copy_on_postgresql(suite: str, name: str) -> None:
    """Make the database `name`, which may be there and empty, a copy of the migrated one."""
    template = sql.Identifier(migrated_on_postgresql(suite))
    with psycopg.connect(suite, autocommit=True) as server:
        server.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
        server.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), template))


def copy_to(path: Path) -> None:
    shutil.copyfile(migrated(), path)


def load_into(connection: sqlite3.Connection) -> None:
    source = sqlite3.connect(f"file:{migrated()}?mode=ro", uri=True)
    try:
        source.backup(connection)
    finally:
        source.close()


@contextmanager
def _alone() -> Iterator[None]:
    """Of several test processes one makes it, the others wait."""
    KEPT_IN.mkdir(parents=True, exist_ok=True)
    with (KEPT_IN / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(path: Path) -> None:
    for old in KEPT_IN.glob("*.sqlite3"):
        old.unlink()
    folder = KEPT_IN / "making"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    made = folder / "made.sqlite3"
    _migrate(f"sqlite:///{made}", str(folder))
    database = sqlite3.connect(made)
    database.execute("PRAGMA journal_mode = DELETE")  # one file, without a journal beside it
    database.close()
    made.rename(path)
    shutil.rmtree(folder)


def _migrate(database_url: str, data_dir: str) -> None:
    left_out = ("REDIS_URL", "STORAGE_URL", "PYTEST_CURRENT_TEST")
    inherited = {name: value for name, value in os.environ.items() if name not in left_out}
    variables = inherited | {"DATA_DIR": data_dir, "DATABASE_URL": database_url}
    subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=variables, check=True)


def _digest() -> str:
    digest = hashlib.sha256()
    files = [*sorted(ROOT.glob("*/migrations/*.py")), *(ROOT / name for name in ALSO)]
    for file in files:
        digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:24]
