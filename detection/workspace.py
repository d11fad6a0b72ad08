"""A private folder for one running job: the decrypted original and what the engine writes, gone when the job ends."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from django.conf import settings

from deepfake import storage
from detection.models import Job, JobStatus

PREFIX = "job-"
BLOCK_BYTES = 1 << 20


@contextmanager
def open_for(job: Job) -> Iterator[Path]:
    """Yield a folder that nobody else may read; it carries the claim in its name, so that a dead one is recognised."""
    folder = settings.SPOOL_DIR / f"{PREFIX}{job.id.hex}-{_claim(job.worker)}"
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned() -> int:
    """Remove the folders of workers that died: their claim no longer stands."""
    removed = 0
    for folder in settings.SPOOL_DIR.glob(f"{PREFIX}*-*"):
        job_id, _, claim = folder.name.removeprefix(PREFIX).partition("-")
        if not _is_running(job_id, claim):
            shutil.rmtree(folder, ignore_errors=True)
            removed += 1
    return removed


def create(path: Path) -> BinaryIO:
    """Open a new file that only this user may read."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")


def decrypt(storage_name: str, path: Path) -> Path:
    with storage.open_decrypted(storage_name) as source, create(path) as target:
        shutil.copyfileobj(source, target, BLOCK_BYTES)
    return path


def _claim(worker: str) -> str:
    return worker.rpartition("#")[2]


def _is_running(job_id: str, claim: str) -> bool:
    try:
        identity = uuid.UUID(job_id)
    except ValueError:
        return False
    running = Job.objects.filter(pk=identity, status=JobStatus.RUNNING)
    return bool(claim) and running.filter(worker__endswith=f"#{claim}").exists()
