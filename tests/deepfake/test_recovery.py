"""Nothing is lost: every accepted job comes to exactly one end, however the process dies."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.deepfake.serving import ROOT, Serving
from tests.factories import png_bytes

pytestmark = [pytest.mark.services, pytest.mark.timeout(400)]

FINAL = ("completed", "failed", "cancelled")


class Caller:
    def __init__(self, serving: Serving, key: str) -> None:
        self.serving = serving
        self.headers = {"Authorization": f"Bearer {key}"}

    def call(self, method: str, path: str, body: bytes = b"", content_type: str = "application/json") -> Any:
        connection = self.serving.connect()
        connection.request(method, path, body or None, self.headers | {"Content-Type": content_type})
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status < 300, text
        return json.loads(text)

    def submit(self, name: str, content: bytes) -> str:
        head = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode()
        media = self.call("POST", "/v1/media", head + content + b"\r\n--b--\r\n", "multipart/form-data; boundary=b")
        job = self.call("POST", "/v1/detect", json.dumps({"media_id": media["media_id"]}).encode())
        return str(job["job_id"])

    def job(self, job_id: str) -> Any:
        return self.call("GET", f"/v1/jobs/{job_id}")

    def wait(self, job_id: str, statuses: tuple[str, ...], seconds: float) -> Any:
        """Ask until the job is in one of the statuses."""
        end = time.monotonic() + seconds
        while True:
            try:
                job = self.job(job_id)
            except TimeoutError:
                pytest.fail(f"A request was not answered for a minute:\n{self.serving.what_it_does()}")
            if job["status"] in statuses:
                return job
            assert time.monotonic() < end, job
            time.sleep(0.1)


@pytest.fixture
def submitted(start: Callable[..., Serving], demo_key: str) -> tuple[Serving, list[str]]:
    """A process in the middle of the first of three jobs."""
    serving = start()
    serving.first_line()
    caller = Caller(serving, demo_key)
    clip = (ROOT / "samples" / "blended-clip.mp4").read_bytes()
    jobs = [caller.submit("clip.mp4", clip)]
    jobs += [caller.submit(f"{number}.png", png_bytes(200 + number, 150)) for number in (1, 2)]
    caller.wait(jobs[0], ("running", *FINAL), 60)
    return serving, jobs


def test_killed_in_the_middle(
    submitted: tuple[Serving, list[str]], start: Callable[..., Serving], demo_key: str
) -> None:
    serving, jobs = submitted
    serving.process.kill()
    serving.process.wait()
    again = start()
    again.first_line()
    caller = Caller(again, demo_key)
    ended = [caller.wait(job, FINAL, 180) for job in jobs]
    assert [job["status"] for job in ended] == ["completed"] * 3
    assert ended[0]["attempts"] == 2
    assert again.stop() == 0


def test_told_to_stop_in_the_middle(
    submitted: tuple[Serving, list[str]], start: Callable[..., Serving], demo_key: str
) -> None:
    serving, jobs = submitted
    began = time.monotonic()
    assert serving.stop() == 0
    assert time.monotonic() - began < 10
    again = start()
    again.first_line()
    caller = Caller(again, demo_key)
    ended = [caller.wait(job, FINAL, 180) for job in jobs]
    assert [job["status"] for job in ended] == ["completed"] * 3
    assert {job["attempts"] for job in ended} == {1}  # giving a job back costs it no attempt
