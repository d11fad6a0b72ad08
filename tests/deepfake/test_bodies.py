"""Where large bodies are taken and of whom, how many at once, and that nobody holds a connection by being slow."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import reverse

from deepfake import bodies
from reports import limits, verify_views
from tests.authorisation import ADDRESSES
from tests.deepfake.serving import ROOT, Serving, environment, free_port
from tests.test_browser_security import HEADERS

MULTIPART, PIECE, JSON = "multipart/form-data; boundary=b", "application/offset+octet-stream", "application/json"
TAKES_FILES = {"upload", "api_media", "api_detect", "api_uploads", "api_upload", "api_direct_upload"}
TAKES_LISTS = {"api_batches", "api_batch_items"}
TAKES_REPORTS = {"verify", "verify_any"}


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        (bodies.TAKES_FILES, TAKES_FILES),
        (bodies.TAKES_LISTS, TAKES_LISTS),
        (bodies.TAKES_REPORTS, TAKES_REPORTS),
    ],
)
def test_the_list_is_held_to_the_urls(pattern: Any, names: set[str]) -> None:
    """Each pattern fits these addresses, and no other."""
    found = {one.name.rpartition(":")[2] for one in ADDRESSES if pattern.fullmatch("/" + sample(one.path))}
    assert found == names


def sample(path: str) -> str:
    """An address of the URL tree with something in the place of what it names."""
    while "<" in path:
        before, _, rest = path.partition("<")
        path = before + "x" + rest.partition(">")[2]
    return path


def test_every_form_with_a_file_is_on_the_list() -> None:
    senders = {
        path.relative_to(ROOT / "templates").as_posix()
        for path in (ROOT / "templates").rglob("*.html")
        if "multipart/form-data" in path.read_text()
    }
    assert senders == {"detection/_upload.html", "reports/verify.html"}
    assert bodies.TAKES_FILES.fullmatch(reverse("detection:upload"))
    for address in (reverse("reports:verify_any"), reverse("reports:verify", args=["rpt_1"])):
        assert bodies.TAKES_REPORTS.fullmatch(address)
    assert bodies.MAX_REPORT_BYTES > limits.MAX_FILE_BYTES + verify_views.SLACK_BYTES  # so that the page can tell


@pytest.mark.parametrize(
    ("path", "content_type", "has_credential", "limit"),
    [
        ("/accounts/login/", MULTIPART, False, 2_000_000),
        ("/accounts/login/", MULTIPART, True, 2_000_000),
        ("/accounts/login/", PIECE, True, 2_000_000),
        ("/v1/feedback", MULTIPART, True, 2_000_000),
        ("/v1/media", MULTIPART, False, 2_000_000),
        ("/v1/media", MULTIPART, True, 501_000_000),
        ("/v1/media/med_1", MULTIPART, True, 2_000_000),
        ("/v1/detect", MULTIPART, True, 501_000_000),
        ("/v1/detect", JSON, True, 12_000_000),
        ("/v1/uploads/upl_1", PIECE, True, 500_000_000),
        ("/v1/uploads/upl_1", PIECE, False, 2_000_000),
        ("/v1/batches", JSON, True, 12_000_000),
        ("/v1/batches", MULTIPART, True, 12_000_000),
        ("/analyses/", MULTIPART, True, 501_000_000),
        ("/verify/", MULTIPART, False, 32_000_000),
    ],
)
def test_how_large_a_body_may_be(path: str, content_type: str, has_credential: bool, limit: int) -> None:
    assert bodies.limit_of(path, content_type, has_credential=has_credential) == limit


def test_session_cookie_is_found_among_others() -> None:
    assert bodies.has_session("a=b; sessionid=c")
    assert not bodies.has_session("a=sessionid=c; xsessionid=d")


def test_budget_of_all_bodies(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.MAX_UPLOAD_BYTES, settings.MAX_RECEIVING_BYTES = 1_000_000, 100_000_000
    free = SimpleNamespace(free=10**12)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: free)
    held = bodies.Receiving()
    held.check(100_000_000, has_credential=True)
    held.count(60_000_000, has_credential=True)
    held.check(40_000_000, has_credential=True)
    with pytest.raises(bodies.ReceivingFull) as refused:
        held.check(40_000_001, has_credential=True)
    assert (refused.value.code, refused.value.status) == ("receiving_full", 503)
    held.check(10_000_000, has_credential=False)  # strangers have a tenth
    held.count(9_000_000, has_credential=False)
    with pytest.raises(bodies.ReceivingFull):
        held.check(1_000_001, has_credential=False)
    held.count(-9_000_000, has_credential=False)
    free.free = 20_000_000  # half of it is left to the database and the rest of the house
    held.check(10_000_000, has_credential=True)
    with pytest.raises(bodies.ReceivingFull):
        held.check(10_000_001, has_credential=True)


# The running server ---------------------------------------------------------------------------------------------------


def begin(serving: Serving, path: str, length: int, **headers: str) -> http.client.HTTPConnection:
    connection = serving.connect()
    connection.putrequest("POST", path)
    for name, value in ({"Content-Type": MULTIPART, "Content-Length": str(length)} | headers).items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    return connection


def spooled(serving: Serving) -> int:
    """Bytes in the deleted files that the process holds open: what Twisted spools."""
    total = 0
    for link in Path(f"/proc/{serving.process.pid}/fd").iterdir():
        try:
            if "(deleted)" in str(link.readlink()):
                total += link.stat().st_size
        except FileNotFoundError:
            continue
    return total


@pytest.mark.services
def test_strangers_leave_nothing_on_the_disk(start: Callable[..., Serving]) -> None:
    serving = start("--role", "web")
    serving.first_line()
    before = spooled(serving)
    sent = [begin(serving, path, 400_000_000) for path in ("/accounts/login/", "/v1/media", "/analyses/", "/verify/")]
    answers = [connection.getresponse() for connection in sent]
    assert [answer.status for answer in answers] == [413, 401, 401, 413]
    assert answers[1].headers["WWW-Authenticate"] == 'Bearer realm="api"'
    assert json.loads(answers[1].read())["code"] == "not_authenticated"
    assert spooled(serving) - before < 1_000_000


def lacks(headers: Any) -> list[str]:
    wrong = [name for name, wanted in HEADERS.items() if headers.get(name) != wanted]
    policy = headers.get("Content-Security-Policy", "")
    wrong += [] if "default-src" in policy and "unsafe" not in policy else ["Content-Security-Policy"]
    return wrong + ([] if "camera=(self)" in headers.get("Permissions-Policy", "") else ["Permissions-Policy"])


def ask(port: int, head: bytes) -> http.client.HTTPResponse:
    """What is answered to bytes that no client would send."""
    line = socket.create_connection(("127.0.0.1", port), timeout=30)
    line.sendall(head)
    answer = http.client.HTTPResponse(line)
    answer.begin()
    return answer


@pytest.mark.services
def test_every_kind_of_answer_tells_browsers_the_same(start: Callable[..., Serving]) -> None:
    """Also those that are given before Django, or past it."""
    serving = start("--role", "web")
    serving.first_line()
    answers = {
        "413": begin(serving, "/accounts/login/", 400_000_000).getresponse(),
        "401": begin(serving, "/v1/media", 400_000_000).getresponse(),
        "413 of the API": begin(serving, "/v1/feedback", 400_000_000).getresponse(),
        "page": serving.get("/accounts/login/"),
        "static": serving.get("/static/css/base.css"),
        "static that is not there": serving.get("/static/css/none.css"),
        "404": serving.get("/nothing-here"),
        "no request": ask(serving.port, b"GARBAGE\r\n\r\n"),
        "path": ask(serving.port, b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        "header": ask(serving.port, b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n"),
    }
    statuses = [answer.status for answer in answers.values()]
    assert statuses == [413, 401, 413, 200, 200, 404, 404, 400, 400, 400]
    wrong = {kind: lacks(answer.headers) for kind, answer in answers.items()}
    assert {kind: names for kind, names in wrong.items() if names} == {}
    assert answers["413"].headers["Cache-Control"] == "private, no-store"
    assert answers["413"].headers["X-Request-ID"]


@pytest.mark.services
def test_too_much_at_once_is_asked_to_come_again(start: Callable[..., Serving], demo_key: str) -> None:
    serving = start("--role", "web", MAX_UPLOAD_BYTES="5000000", MAX_RECEIVING_BYTES="1000000")
    serving.first_line()  # the budget is what one upload may have: 6 MB
    key = f"Bearer {demo_key}"
    first = begin(serving, "/v1/media", 5_000_000, Authorization=key)
    first.send(bytes(4_000_000))
    deadline = time.monotonic() + 20
    while spooled(serving) < 4_000_000 and time.monotonic() < deadline:
        time.sleep(0.1)
    second = begin(serving, "/v1/media", 5_000_000, Authorization=key)
    answer = second.getresponse()
    assert (answer.status, answer.headers["Retry-After"]) == (503, "30")
    assert json.loads(answer.read())["code"] == "receiving_full"
    small = begin(serving, "/accounts/login/", 7, Content_Type="application/x-www-form-urlencoded")
    small.send(b"login=a")
    assert small.getresponse().status == 403  # without its token; but it was heard
    first.close()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        third = begin(serving, "/v1/media", 100_000, Authorization=key)
        third.send(bytes(100_000))
        status = third.getresponse().status
        if status != 503:
            break
    assert status == 400  # room again, though these bytes are no form


SLOW = """
import asyncio, os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "deepfake.settings"
import django
django.setup()
from django.conf import settings
settings.HEAD_WITHIN_S, settings.BODY_RATE_OVER_S, settings.BODY_RATE_BYTES_PER_S = 2, 2, 1000
from deepfake.server import HouseServer

async def application(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await asyncio.sleep(7)
        await send({"type": "websocket.send", "text": "still here"})
        return
    length, more = 0, True
    while more:
        message = await receive()
        length += len(message.get("body", b""))
        more = message.get("more_body", False)
    if scope["path"] == "/wait":
        await asyncio.sleep(7)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/large":
        for _ in range(20):
            await send({"type": "http.response.body", "body": bytes(1_000_000), "more_body": True})
    await send({"type": "http.response.body", "body": str(length).encode()})

HouseServer(application, host="127.0.0.1", port=int(sys.argv[1]), ready=lambda: print("ready", flush=True)).run()
"""


@pytest.fixture(scope="module")
def slow_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server that asks for heads within 2 s and for 1 kB/s over 2 s."""
    folder, port = tmp_path_factory.mktemp("slow"), free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, str(port)],
        cwd=ROOT,
        env=environment(folder, f"sqlite:///{folder}/none.sqlite3"),
        stdout=subprocess.PIPE,
    )
    assert process.stdout
    process.stdout.readline()
    yield port
    process.kill()
    process.wait()


def drip(port: int, begin: bytes, piece: bytes, every_s: float, at_most_s: float = 15) -> tuple[float, bytes]:
    """Send `piece` again and again until the server hangs up; return after how long, and what it said."""
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.sendall(begin)
        line.settimeout(every_s)
        began, said = time.monotonic(), b""
        while time.monotonic() - began < at_most_s:
            try:
                got = line.recv(1000)
            except TimeoutError:
                line.sendall(piece)
                continue
            except ConnectionResetError:
                got = b""
            if not got:
                break
            said += got
        return time.monotonic() - began, said


@pytest.mark.parametrize("start_of_it", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\nX: "])
def test_a_head_that_drips_is_cut_off(slow_port: int, start_of_it: bytes) -> None:
    took, said = drip(slow_port, start_of_it, b"a", 0.3)
    assert took < 4
    assert said.startswith(b"HTTP/1.1 408") or not said
    assert (b"Content-Security-Policy: " in said and b"X-Frame-Options: DENY" in said) or not said


def test_a_body_that_drips_is_cut_off(slow_port: int) -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"
    took, said = drip(slow_port, head, b"a" * 100, 0.3)
    assert 2 < took < 7  # the first span is free
    assert said.startswith(b"HTTP/1.1 408")


def test_a_connection_that_was_used_is_watched_again(slow_port: int) -> None:
    took, said = drip(slow_port, b"GET /one HTTP/1.1\r\nHost: a\r\n\r\nGET /two HT", b"a", 0.3)
    assert took < 4
    assert said.startswith(b"HTTP/1.1 200")


def test_whoever_is_not_slow_is_left_alone(slow_port: int) -> None:
    """A slow but steady body, a long poll, a slow reader, a pause between requests, a socket."""
    steady = http.client.HTTPConnection("127.0.0.1", slow_port, timeout=30)
    steady.putrequest("POST", "/")
    steady.putheader("Content-Length", "12000")
    steady.endheaders()
    for _ in range(6):
        time.sleep(1)
        steady.send(bytes(2000))
    assert steady.getresponse().read() == b"12000"
    time.sleep(4)
    steady.request("GET", "/wait")
    assert steady.getresponse().read() == b"0"
    steady.request("GET", "/large")
    answer = steady.getresponse()
    answer.read(1000)
    time.sleep(5)
    assert len(answer.read()) == 20_000_001 - 1000


def test_an_open_socket_is_left_alone(slow_port: int) -> None:
    head = (
        b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", slow_port), timeout=20) as line:
        line.sendall(head)
        said = b""
        while b"still here" not in said:
            got = line.recv(1000)
            assert got, said
            said += got
    assert said.startswith(b"HTTP/1.1 101")
