"""Idempotency of every POST: no view can forget it, a hundred at once do the work once, a crash loses no answer."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from detection.api import ApiView
from detection.models import IdempotencyKey, Job
from tests.deepfake.conftest import demo_key as demo_key
from tests.deepfake.conftest import prepared as prepared
from tests.deepfake.conftest import start as start
from tests.deepfake.serving import ROOT, free_port

pytestmark = pytest.mark.services


def views(patterns: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for pattern in patterns:
        here = path + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from views(pattern.url_patterns, here)
        elif isinstance(pattern, URLPattern):
            yield here, getattr(pattern.callback, "cls", None)


def test_every_post_below_v1_is_idempotent() -> None:
    found = [(path, view) for path, view in views(get_resolver().url_patterns) if path.startswith("v1/")]
    posts = [(path, view) for path, view in found if hasattr(view, "post")]
    assert len(posts) >= 12
    wrong = [path for path, view in posts if not getattr(view.post, "is_idempotent", False)]
    assert wrong == [], "inherit from detection.api.ApiView, or wrap post as it does"


def test_a_new_view_is_idempotent_by_itself() -> None:
    class NewView(ApiView):
        def post(self, request: Any) -> Any: ...

    class Newer(NewView):
        pass

    assert NewView.post.is_idempotent  # type: ignore[attr-defined]
    assert Newer.post.is_idempotent  # type: ignore[attr-defined]


@pytest.mark.django_db(transaction=True)
class TestAnswers:
    """What is kept, and what frees its key."""

    def post(self, path: str, bearer: Any, body: Any = None) -> Any:
        headers = {**bearer, "Idempotency-Key": "a"}
        return Client().post(path, body or {}, headers=headers, content_type="application/json")

    def test_refusal_after_work_began_is_the_answer(self, bearer: Any, job: Any) -> None:
        Job.objects.filter(pk=job.pk).update(status="completed")
        first = self.post(f"/v1/jobs/{job.public_id}/cancel", bearer)
        assert first.status_code == 409
        Job.objects.filter(pk=job.pk).update(status="queued")
        again = self.post(f"/v1/jobs/{job.public_id}/cancel", bearer)
        assert (again.status_code, again.json()) == (409, first.json())
        assert again.headers["Idempotent-Replayed"] == "true"
        assert again.headers["Content-Type"] == "application/problem+json"

    def test_fault_of_ours_is_the_answer(self, bearer: Any, media: Any, monkeypatch: Any) -> None:
        from detection import services

        with monkeypatch.context() as patched:
            patched.setattr(services, "ring", lambda job: 1 / 0)
            first = self.post("/v1/detect", bearer, {"media_id": media.public_id})
        again = self.post("/v1/detect", bearer, {"media_id": media.public_id})
        assert (first.status_code, again.status_code) == (500, 500)
        assert again.json() == first.json()
        assert not Job.objects.exists(), "what had been written was undone"

    def test_other_address_is_another_request(self, bearer: Any, job: Any) -> None:
        assert self.post(f"/v1/jobs/{job.public_id}/rerun", bearer).status_code == 202
        assert self.post(f"/v1/jobs/{job.public_id}/cancel", bearer).status_code == 422

    def test_answers_are_kept_sealed(self, bearer: Any, media: Any) -> None:
        self.post("/v1/detect", bearer, {"media_id": media.public_id})
        row = IdempotencyKey.objects.get()
        assert media.public_id not in json.dumps(row.response_body)

    def test_answer_that_cannot_be_kept_undoes_the_work(self, bearer: Any, media: Any, monkeypatch: Any) -> None:
        from detection import idempotency

        monkeypatch.setattr(idempotency, "_seal", lambda row, answer: 1 / 0)
        assert self.post("/v1/detect", bearer, {"media_id": media.public_id}).status_code == 500
        assert not Job.objects.exists()


# Against a running server ---------------------------------------------------------------------------------------------


def ask(port: int, key: str, path: str, body: Any, idempotency_key: str = "") -> tuple[int, Any, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    if idempotency_key:
        headers["Idempotency-Key"] = idempotency_key
    connection.request(
        "POST" if body is not None else "GET", path, json.dumps(body) if body is not None else None, headers
    )
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read() or b"null"), dict(answer.getheaders())


BODY = {"url": "https://media.example.org/one.jpg"}


@pytest.mark.timeout(400)
def test_a_hundred_at_once_make_one_job(start: Any, demo_key: str) -> None:
    serving = start("--role", "web", API_WRITES_PER_MINUTE="100000", API_READS_PER_MINUTE="100000")
    serving.first_line()
    answers: list[tuple[int, Any, dict[str, str]]] = []
    gate = threading.Barrier(100)

    def send() -> None:
        gate.wait()
        answers.append(ask(serving.port, demo_key, "/v1/detect", BODY, "hundred"))

    threads = [threading.Thread(target=send) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 100
    assert {status for status, _, _ in answers} <= {202, 409}
    taken = [body for status, body, _ in answers if status == 202]
    assert taken
    assert all(body == taken[0] for body in taken)
    refused = {body["code"] for status, body, _ in answers if status == 409}
    assert refused <= {"idempotency_in_progress"}
    status, body, headers = ask(serving.port, demo_key, "/v1/detect", BODY, "hundred")
    assert (status, body, headers["Idempotent-Replayed"]) == (202, taken[0], "true")
    _, listed, _ = ask(serving.port, demo_key, "/v1/jobs?include=&limit=200", None)
    assert [job["job_id"] for job in listed["results"]] == [taken[0]["job_id"]]


KILLED_BEFORE_IT_ANSWERS = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "deepfake.settings"
import django
django.setup()
from detection.api import ApiView
answer = ApiView.finalize_response
def die(self, request, response, *args, **kwargs):
    if request.method == "POST" and response.status_code == 202:
        os.kill(os.getpid(), 9)
    return answer(self, request, response, *args, **kwargs)
ApiView.finalize_response = die
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", "serve", "--role", "web", "--port", sys.argv[1]])
"""


@pytest.mark.timeout(400)
def test_crash_between_work_and_answer(start: Any, prepared: Any, demo_key: str) -> None:
    port = free_port()
    body = {"url": "https://media.example.org/crash.jpg"}
    dying = subprocess.Popen([sys.executable, "-c", KILLED_BEFORE_IT_ANSWERS, str(port)], cwd=ROOT, env=prepared)
    try:
        until = time.monotonic() + 120
        while True:
            try:
                ask(port, demo_key, "/v1/health/live", None)
                break
            except OSError:
                assert time.monotonic() < until
                time.sleep(0.2)
        with pytest.raises((http.client.HTTPException, OSError)):
            ask(port, demo_key, "/v1/detect", body, "crash")
        assert dying.wait(30) == -9
    finally:
        dying.kill()
        dying.wait()
    serving = start("--role", "web")
    serving.first_line()
    status, first, headers = ask(serving.port, demo_key, "/v1/detect", body, "crash")
    assert (status, headers["Idempotent-Replayed"]) == (202, "true")
    status, job, _ = ask(serving.port, demo_key, f"/v1/jobs/{first['job_id']}", None)
    assert (status, job["media"]["source_url"]) == (200, body["url"])
    _, listed, _ = ask(serving.port, demo_key, "/v1/jobs?include=&q=crash.jpg", None)
    assert len(listed["results"]) == 1
