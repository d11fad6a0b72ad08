"""Broken and hostile files through the API: a refusal or a job with an end and a sentence, never a fault of ours."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from detection import jobs
from detection.models import Job, JobStatus

pytestmark = [pytest.mark.services, pytest.mark.django_db(transaction=True)]

CORPUS = Path(os.environ.get("BADMEDIA_DIR", "/nonexistent"))
FILES = sorted(path for path in CORPUS.rglob("*") if path.is_file() and path.suffix != ".csv")
OURS = {"internal_error", "worker_crashed", "storage_corrupt", "weights_invalid"}


@pytest.mark.skipif(not FILES, reason="BADMEDIA_DIR names no folder with broken files")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_ends_well(path: Path, client: Client, bearer: Any) -> None:
    with path.open("rb") as file:
        answer = client.post("/v1/detect", {"file": file}, headers=bearer)
    if answer.status_code != 202:
        assert 400 <= answer.status_code < 500
        assert answer.json()["detail"].endswith(".")
        assert not Job.objects.exists()
        return
    jobs.run_detection()
    job = Job.objects.get()
    assert job.status in (JobStatus.COMPLETED, JobStatus.FAILED)
    if job.status == JobStatus.FAILED:
        assert job.failure_code not in OURS
        assert job.failure_message.endswith(".")
