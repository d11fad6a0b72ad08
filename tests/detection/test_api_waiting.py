"""?wait=: the answer comes with the end, and waiting costs no thread."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.test import Client
from django.utils import timezone

from detection import waiting
from detection.models import Job, JobStatus
from tests import factories
from tests.deepfake.conftest import demo_key as demo_key
from tests.deepfake.conftest import prepared as prepared
from tests.deepfake.conftest import start as start
from tests.detection.test_api_idempotency_live import ask

pytestmark = pytest.mark.services


@pytest.fixture
def waits(transactional_db: None, client: Client, bearer: Any) -> Any:
    def read(path: str) -> tuple[Any, float]:
        began = time.monotonic()
        answer = client.get(path, headers=bearer)
        return answer, time.monotonic() - began

    return read


def test_time_is_over(waits: Any, job: Job) -> None:
    answer, seconds = waits(f"/v1/jobs/{job.public_id}?wait=1")
    assert (answer.status_code, answer.json()["status"]) == (200, "queued")
    assert 1 <= seconds < 20
    assert waiting.waiters() == 0


def test_it_ends_meanwhile(waits: Any, job: Job) -> None:
    def finish() -> None:
        time.sleep(0.7)
        Job.objects.filter(pk=job.pk).update(status=JobStatus.CANCELLED, finished_at=timezone.now())
        connections.close_all()

    thread = threading.Thread(target=finish)
    thread.start()
    answer, seconds = waits(f"/v1/jobs/{job.public_id}?wait=40&include=")
    thread.join()
    assert (answer.json()["status"], "media" in answer.json()) == ("cancelled", False)
    assert answer.headers["ETag"]
    assert seconds < 30


def test_it_is_deleted_meanwhile(waits: Any, job: Job) -> None:
    def delete() -> None:
        time.sleep(0.5)
        Job.objects.filter(pk=job.pk).delete()
        connections.close_all()

    thread = threading.Thread(target=delete)
    thread.start()
    answer, _ = waits(f"/v1/jobs/{job.public_id}?wait=40")
    thread.join()
    assert answer.status_code == 404


def test_what_has_ended_is_answered_at_once(waits: Any, organization: Any) -> None:
    job = factories.make_job(organization=organization, status=JobStatus.FAILED)
    _, seconds = waits(f"/v1/jobs/{job.public_id}?wait=60")
    assert seconds < 20


def test_waiting_counts_once_against_the_limit(waits: Any, job: Job, settings: Any) -> None:
    settings.API_READS_PER_MINUTE = 1
    answer, _ = waits(f"/v1/jobs/{job.public_id}?wait=1")
    assert (answer.status_code, answer.headers["RateLimit-Remaining"]) == (200, "0")


@pytest.mark.parametrize("wait", ["61", "-1", "soon", ""])
def test_strange_waits(wait: str, waits: Any, job: Job) -> None:
    answer, _ = waits(f"/v1/jobs/{job.public_id}?wait={wait}")
    assert (answer.status_code, set(answer.json()["fields"])) == (400, {"wait"})


def test_strangers_do_not_wait(waits: Any, job: Job, outsider_bearer: Any, client: Client) -> None:
    began = time.monotonic()
    assert client.get(f"/v1/jobs/{job.public_id}?wait=60", headers=outsider_bearer).status_code == 404
    assert client.get(f"/v1/jobs/{job.public_id}?wait=60").status_code == 401
    assert time.monotonic() - began < 30


def threads_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().split("Threads:")[1].split()[0])


@pytest.mark.timeout(400)
def test_fifty_wait_without_a_thread_each(start: Any, demo_key: str) -> None:
    serving = start("--role", "web", API_READS_PER_MINUTE="100000")
    serving.first_line()
    _, job, _ = ask(serving.port, demo_key, "/v1/detect", {"url": "https://media.example.org/wait.jpg"})
    path = f"/v1/jobs/{job['job_id']}?wait=60&include="
    _, batch, _ = ask(serving.port, demo_key, "/v1/batches", {"items": [{"url": "https://media.example.org/b.jpg"}]})
    answers: list[Any] = []
    paths = [path] * 45 + [f"/v1/batches/{batch['batch_id']}?wait=60"] * 5
    waiters = [
        threading.Thread(target=lambda one=one: answers.append(ask(serving.port, demo_key, one, None))) for one in paths
    ]
    for waiter in waiters:
        waiter.start()
    time.sleep(15)  # all have arrived, also where many share two cores
    assert answers == []
    assert threads_of(serving.process.pid) < 35
    status, _, _ = ask(serving.port, demo_key, "/v1/models", None)  # nobody else is held up
    assert status in (200, 503)
    began = time.monotonic()
    assert ask(serving.port, demo_key, f"/v1/jobs/{job['job_id']}/cancel", {})[0] == 200
    while len(answers) < 45 and time.monotonic() - began < 40:
        time.sleep(0.05)
    print(f"45 waiters told within {time.monotonic() - began:.2f} s; {threads_of(serving.process.pid)} threads")
    assert {(status, body["status"]) for status, body, _ in answers} == {(200, "cancelled")}
    assert len(answers) == 45
    ask(serving.port, demo_key, f"/v1/batches/{batch['batch_id']}/cancel", {})
    serving.process.terminate()  # those of the batch are let go, not waited for: no worker is there to end it
    for waiter in waiters:
        waiter.join(30)
    assert len(answers) == 50
