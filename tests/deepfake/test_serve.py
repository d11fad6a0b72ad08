"""`manage.py serve` as a process: it starts, takes large bodies without taking memory, and stops when told."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from tests.deepfake.serving import ROOT, Serving, environment, free_port

pytestmark = pytest.mark.services


def test_starts_answers_and_stops(start: Callable[..., Serving]) -> None:
    serving = start()
    assert serving.first_line() == f"Serving http://127.0.0.1:{serving.port}"
    answer = serving.get("/v1/nothing")
    assert (answer.status, answer.headers["Content-Type"]) == (404, "application/problem+json")
    page = serving.get("/accounts/login/")
    assert page.status == 200
    style = page.read().decode().split('rel="stylesheet" href="')[1].split('"')[0]
    assert serving.get(style).status == 200
    began = time.monotonic()
    assert serving.stop() == 0
    assert time.monotonic() - began < 10


def test_links_in_mails_lead_to_where_it_listens(start: Callable[..., Serving], tmp_path: Path) -> None:
    serving = start("--role", "web", EMAIL_URL=f"file://{tmp_path}/mails", PUBLIC_URL="")
    serving.first_line()
    page = serving.get("/accounts/password/reset/", Host="localhost:4444")
    token = page.read().decode().split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
    cookie = page.headers["Set-Cookie"].split(";")[0]
    connection = serving.connect()
    wish = f"csrfmiddlewaretoken={token}&email=demo%40example.org"
    kind = "application/x-www-form-urlencoded"
    connection.request(
        "POST",
        "/accounts/password/reset/",
        wish,
        {"Host": "localhost:4444", "Content-Type": kind, "Cookie": cookie, "Origin": "http://localhost:4444"},
    )
    assert connection.getresponse().status == 302
    said = "".join(path.read_text() for path in (tmp_path / "mails").iterdir())
    assert f"http://127.0.0.1:{serving.port}" in said
    assert "4444" not in said


def test_says_what_its_threads_do_and_goes_on(start: Callable[..., Serving]) -> None:
    serving = start()
    serving.first_line()
    said = serving.what_it_does()
    assert "worker.py" in said
    assert "_answer_bells" in said
    assert serving.get("/accounts/login/").status == 200


def test_second_signal_leaves_at_once(start: Callable[..., Serving]) -> None:
    serving = start(STOP_GRACE_S="60")
    serving.first_line()
    body = socket.create_connection(("127.0.0.1", serving.port))
    serving.process.send_signal(signal.SIGTERM)
    serving.process.send_signal(signal.SIGTERM)
    assert serving.process.wait(5) in (0, 1)
    body.close()


def test_taken_port_is_said(start: Callable[..., Serving]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        serving = start("--port", str(port))
        assert serving.process.wait(90) == 1
    assert f"Cannot listen on 127.0.0.1:{port}" in serving.log.read_text()


def test_database_that_was_not_migrated(tmp_path: Path) -> None:
    serving = Serving(environment(tmp_path, f"sqlite:///{tmp_path}/empty.sqlite3"))
    assert serving.process.wait(30) == 1
    assert "migrate" in serving.log.read_text()


def test_worker_role_works_without_a_socket(start: Callable[..., Serving]) -> None:
    serving = start("--role", "worker")
    assert serving.first_line().startswith("Working with ")
    with pytest.raises(ConnectionRefusedError):
        serving.get("/")
    assert serving.stop() == 0


def multipart(content_length: int) -> tuple[bytes, bytes, dict[str, str]]:
    head = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n"
    )
    tail = b"\r\n--b--\r\n"
    headers = {
        "Content-Type": "multipart/form-data; boundary=b",
        "Content-Length": str(len(head) + content_length + len(tail)),
    }
    return head, tail, headers


def send_upload(serving: Serving, size: int, demo_key: str) -> http.client.HTTPResponse:
    head, tail, headers = multipart(size)
    connection = serving.connect()
    connection.putrequest("POST", "/v1/media")
    for name, value in (headers | {"Authorization": f"Bearer {demo_key}"}).items():
        connection.putheader(name, value)
    connection.endheaders()
    connection.send(head)
    block = bytes(1_000_000)
    for _ in range(size // len(block)):
        connection.send(block)
    connection.send(tail)
    return connection.getresponse()


def test_a_body_sent_in_chunks_is_read(start: Callable[..., Serving], demo_key: str) -> None:
    """As curl sends a file whose size it cannot know: -F file=@- or file=@/dev/null."""
    serving = start("--role", "web")
    serving.first_line()
    head, tail, headers = multipart(0)
    del headers["Content-Length"]
    for content, code in ((b"", "file_empty"), (b"no media" * 100, "unsupported_type")):
        connection = serving.connect()
        parts = [part for part in (head, content, tail) if part]
        connection.request(
            "POST", "/v1/media", iter(parts), headers | {"Authorization": f"Bearer {demo_key}"}, encode_chunked=True
        )
        assert json.loads(connection.getresponse().read())["code"] == code


def test_statuses_are_called_by_their_names(start: Callable[..., Serving], demo_key: str) -> None:
    serving = start("--role", "web", API_READS_PER_MINUTE="1")
    serving.first_line()
    heard = {}
    for _ in range(60):
        connection = serving.connect()
        connection.request("GET", "/v1/jobs", headers={"Authorization": f"Bearer {demo_key}"})
        answer = connection.getresponse()
        heard[answer.status] = answer.reason
        if answer.status == 429:
            break
    assert heard == {200: "OK", 429: "Too Many Requests"}


def test_a_refusal_carries_the_callers_request_id(start: Callable[..., Serving], demo_key: str) -> None:
    serving = start("--role", "web", MAX_UPLOAD_BYTES="5000000")
    serving.first_line()
    for sent in ("mine.1", "not <mine>"):
        connection = serving.connect()
        connection.putrequest("POST", "/v1/media")
        for name, value in (multipart(50_000_000_000)[2] | {"X-Request-ID": sent}).items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        told = json.loads(answer.read())["request_id"]
        assert answer.headers["X-Request-ID"] == told
        assert told == sent if sent == "mine.1" else re.fullmatch("[0-9a-f]{32}", told)


def test_large_upload_does_not_live_in_memory(start: Callable[..., Serving], demo_key: str) -> None:
    serving = start("--role", "web")
    serving.first_line()
    send_upload(serving, 1_000_000, demo_key).read()
    before = serving.memory_mb()
    answer = send_upload(serving, 200_000_000, demo_key)
    body: dict[str, Any] = json.loads(answer.read())
    assert 400 <= answer.status < 500, body  # zeros are no media
    assert serving.memory_mb() - before < 60


def test_too_large_is_refused_before_it_is_sent(start: Callable[..., Serving], demo_key: str) -> None:
    serving = start("--role", "web", MAX_UPLOAD_BYTES="5000000")
    serving.first_line()
    _, _, headers = multipart(50_000_000_000)
    connection = serving.connect()
    connection.putrequest("POST", "/v1/media")
    for name, value in (headers | {"Authorization": f"Bearer {demo_key}"}).items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    body = json.loads(answer.read())
    assert (answer.status, body["code"]) == (413, "too_large")
    assert answer.reason == HTTPStatus(413).phrase
    assert re.fullmatch("[0-9a-f]{32}", body["request_id"])
    assert answer.headers["X-Request-ID"] == body["request_id"]
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_client_that_sends_on_still_gets_the_refusal(start: Callable[..., Serving], demo_key: str) -> None:
    serving = start("--role", "web", MAX_UPLOAD_BYTES="5000000")
    serving.first_line()
    answer = send_upload(serving, 60_000_000, demo_key)
    assert answer.status == 413


def test_endless_body_of_unknown_length_is_cut(start: Callable[..., Serving], demo_key: str) -> None:
    serving = start("--role", "web")
    serving.first_line()
    connection = serving.connect()
    connection.putrequest("POST", "/v1/detect")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.putheader("Authorization", f"Bearer {demo_key}")
    connection.endheaders()
    block = b"f4240\r\n" + b" " * 1_000_000 + b"\r\n"
    for _ in range(14):
        connection.send(block)
    assert connection.getresponse().status == 413


def test_page_that_asks_for_html_gets_a_page(start: Callable[..., Serving]) -> None:
    serving = start("--role", "web", MAX_UPLOAD_BYTES="5000000")
    serving.first_line()
    connection = serving.connect()
    connection.putrequest("POST", "/analyses/")
    for name, value in (multipart(9_000_000)[2] | {"Accept": "text/html", "Cookie": "sessionid=x"}).items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 413
    assert answer.headers["Content-Type"].startswith("text/html")
    assert "6 MB" in answer.read().decode()


STREAMER = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "deepfake.settings"
import django
django.setup()
from deepfake.server import HouseServer

async def application(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(300):
        await send({"type": "http.response.body", "body": bytes(1_000_000), "more_body": True})
    await send({"type": "http.response.body", "body": b""})

HouseServer(application, host="127.0.0.1", port=int(sys.argv[1]), ready=lambda: print("ready", flush=True)).run()
"""


def test_response_waits_for_a_slow_reader(tmp_path: Path) -> None:
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", STREAMER, str(port)],
        cwd=ROOT,
        env=environment(tmp_path, f"sqlite:///{tmp_path}/none.sqlite3"),
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout
        process.stdout.readline()
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/")
        answer = connection.getresponse()
        answer.read(1000)
        time.sleep(2)  # long enough to queue all of it, were there nothing to hold it back
        memory = Path(f"/proc/{process.pid}/status").read_text().split("VmHWM:")[1].split()[0]
        assert int(memory) / 1024 < 200
        assert len(answer.read()) == 300_000_000 - 1000
    finally:
        process.kill()
        process.wait()
