"""Signed notes of where the audit chain stood, in files outside the database.

Whoever can write to the database can drop the triggers, change a row and compute all hashes after it anew. The chain
then holds in itself; but it no longer has the hashes that were signed and written down here.

Each folder has a file of lines, `audit-checkpoints.jsonl`. A line is JSON: its number, when it was written, the newest
row's id and hash, how many rows there were, the SHA-256 of the line before it, and an Ed25519 signature with the key of
deepfake.signing. DATA_DIR/checkpoints is always written; AUDIT_CHECKPOINT_DIR names a second folder, best on another
machine or on a store that cannot be written twice.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from django.conf import settings
from django.utils import timezone

from accounts.models import AuditCheck, AuditLog
from deepfake import signing

logger = logging.getLogger(__name__)

SCHEMA = "deepfake-audit-checkpoint/1"
FILE = "audit-checkpoints.jsonl"
NO_LINE = "0" * 64
# Signed before the content, so that no signature on anything else can pass for one on a checkpoint.
CONTEXT = b"deepfake-audit-checkpoint\n"


@dataclass(frozen=True)
class Checkpoint:
    folder: Path
    number: int
    written_at: datetime
    row: int
    hash: str
    rows: int


@dataclass(frozen=True)
class Fault:
    """Something wrong with a file of checkpoints itself."""

    code: str
    sentence: str


def folders() -> list[Path]:
    own = Path(settings.DATA_DIR) / "checkpoints"
    second = settings.AUDIT_CHECKPOINT_DIR
    return [own, Path(second)] if second else [own]


def write() -> Checkpoint | None:
    """Note where the chain stands in every folder; None when it is empty or stands where it stood.

    The second folder is tried even when the first cannot be written. Raises OSError or SigningKeyUnusable.
    """
    newest = AuditLog.objects.order_by("-id").values("id", "hash").first()
    if newest is None:
        return None
    signer = signing.signer()
    made, failure = None, None
    for folder in folders():
        try:
            made = _append(folder, newest["id"], newest["hash"], signer) or made
        except OSError as error:
            failure = error
    if made is not None:
        # Where logs are shipped elsewhere, they are one more place outside the database.
        logger.info("Audit checkpoint %d: row %d, hash %s", made.number, made.row, made.hash)
    if failure is not None:
        raise failure
    return made


def _append(folder: Path, row: int, row_hash: str, signer: signing.Signer) -> Checkpoint | None:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(folder / FILE) as file:
        _mend(file, folder / FILE)
        last_line = _last_line(file)
        last = json.loads(last_line) if last_line else {}
        if last.get("row", 0) >= row and last.get("hash") is not None:
            return None  # nothing new, or another process was faster; verification says if rows were cut off
        more = AuditLog.objects.filter(id__gt=last.get("row", 0), id__lte=row).count()
        content = {
            "schema": SCHEMA,
            "number": last.get("number", 0) + 1,
            "written_at": timezone.now().isoformat(),
            "row": row,
            "hash": row_hash,
            "rows": last.get("rows", 0) + more,
            "previous": hashlib.sha256(last_line).hexdigest() if last_line else NO_LINE,
            "key_id": signer.key_id,
        }
        content["signature"] = base64.b64encode(signer.sign(_message(content))).decode()
        file.seek(0, os.SEEK_END)
        file.write(json.dumps(content, sort_keys=True, separators=(",", ":")).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return _checkpoint(folder, content)


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    """Open for reading and appending; one process of this machine at a time."""
    with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def _last_line(file: BinaryIO) -> bytes:
    """The last line that is finished."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 8192))
    lines = file.read().rpartition(b"\n")[0].splitlines()
    return lines[-1] if lines else b""


def mend() -> list[str]:
    """Move a last line that was never finished out of each file; return a sentence for each, which is logged as well.

    A process or a machine that stops while a line is written leaves such a one, and it would be in the way of all that
    follow. A file that cannot be written stays as it is, and read_all() tells of it.
    """
    told = []
    for folder in folders():
        if (folder / FILE).exists():
            with suppress(OSError), _locked(folder / FILE) as file:
                told += _mend(file, folder / FILE)
    return told


def _mend(file: BinaryIO, path: Path) -> list[str]:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 1))
    if file.read() in (b"", b"\n"):
        return []
    file.seek(0)
    content = file.read()
    whole, line_end, torn = content.rpartition(b"\n")
    if _is_json(torn):  # only its end is missing; whether it is a checkpoint is judged where it is read
        file.write(b"\n")
        file.flush()
        return []
    aside = path.with_name(f"{path.stem}.torn-{timezone.now():%Y%m%dT%H%M%S%f}")
    with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as kept:
        kept.write(torn)
        kept.flush()
        os.fsync(kept.fileno())
    file.truncate(len(whole + line_end))
    os.fsync(file.fileno())
    sentence = f"The last line of {path} was never finished: its {len(torn)} bytes were moved to {aside.name}."
    logger.error("Audit checkpoints: %s", sentence)
    return [sentence]


def _is_json(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _message(content: dict[str, Any]) -> bytes:
    unsigned = {name: value for name, value in content.items() if name != "signature"}
    return CONTEXT + json.dumps(unsigned, sort_keys=True, separators=(",", ":")).encode()


def _checkpoint(folder: Path, content: dict[str, Any]) -> Checkpoint:
    return Checkpoint(
        folder,
        int(content["number"]),
        datetime.fromisoformat(content["written_at"]),
        int(content["row"]),
        str(content["hash"]),
        int(content["rows"]),
    )


# Reading --------------------------------------------------------------------------------------------------------------


def were_removed() -> bool:
    """Whether a check has seen checkpoints, and there is none now."""
    return newest() is None and AuditCheck.objects.filter(checkpoints__gt=0).exists()


def newest() -> Checkpoint | None:
    """The last checkpoint of the first folder that has one; its signature is not checked."""
    for folder in folders():
        try:
            with (folder / FILE).open("rb") as file:
                line = _last_line(file)
            if line:
                return _checkpoint(folder, json.loads(line))
        except (OSError, ValueError, KeyError):
            continue
    return None


def read_all() -> tuple[list[Checkpoint], list[Fault]]:
    """Every checkpoint that is signed and in its place, by folder and number, and what is wrong with the others."""
    keys = signing.keyring()
    found: list[Checkpoint] = []
    faults: list[Fault] = []
    for folder in folders():
        path = folder / FILE
        if not path.exists():
            continue
        previous, number = NO_LINE, 0
        for place, line in enumerate(_content(path).splitlines(), 1):
            number += 1
            fault, content = _read(line, previous, number, keys)
            previous = hashlib.sha256(line).hexdigest()
            if fault:
                faults.append(Fault(fault[0], f"Line {place} of {path}: {fault[1]}"))
                number = content.get("number", number) if isinstance(content.get("number"), int) else number
                continue
            found.append(_checkpoint(folder, content))
    return found, faults


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        with suppress(OSError):  # where files cannot be locked
            fcntl.flock(file, fcntl.LOCK_SH)  # not in the middle of a line that is being written
        return file.read()


def _read(
    line: bytes, previous: str, number: int, keys: signing.Keyring
) -> tuple[tuple[str, str] | None, dict[str, Any]]:
    try:
        content = json.loads(line)
        signature = base64.b64decode(content["signature"], validate=True)
        _checkpoint(Path(), content)
    except (ValueError, KeyError, TypeError, binascii.Error):
        return ("checkpoint_unreadable", "it is no checkpoint; it was changed or cut off."), {}
    key = keys.get(str(content.get("key_id")))
    if key is None or content.get("schema") != SCHEMA or not key.verifies(_message(content), signature):
        return ("checkpoint_forged", "its signature was not made with a key of this installation."), content
    if content["previous"] != previous or content["number"] != number:
        return ("checkpoint_missing", "it does not follow the line before it; lines were removed or moved."), content
    return None, content
