"""The Python client against a server that answers as the test says: retries, errors, sources, webhooks."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import io
import json
import time
from datetime import UTC, datetime
from email.parser import BytesParser
from email.utils import format_datetime
from typing import Any

import pytest
from deepfake_client import AsyncClient, Client, DeepfakeError, client, verify_webhook, webhooks
from standardwebhooks.webhooks import Webhook

from accounts.api_keys import _new_text, derive_signing_secret
from detection.webhooks import standard_headers
from tests.detection.web import LocalServer, Reply
from tests.sdk.conftest import ROOT, problem

KEY = f"dfk_0a1b2c3d_{'k' * 43}"
STARTED = json.dumps({"job_id": "job_1", "media_id": "med_1", "status": "queued"}).encode()
DONE = json.dumps({"job_id": "job_1", "status": "completed", "result": {"label": "fake", "score": 0.9}}).encode()


@pytest.fixture
def pauses(monkeypatch: Any) -> list[float]:
    """What the client waited, without waiting."""
    seen: list[float] = []
    monkeypatch.setattr(client.time, "sleep", seen.append)
    return seen


@pytest.fixture
def sdk(server: LocalServer, pauses: list[float]) -> Client:
    return Client(KEY, server.url(""), timeout_s=5)


def keys(server: LocalServer) -> list[str]:
    return [call.headers.get("Idempotency-Key", "") for call in server.seen]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_repeats_with_the_same_key(sdk: Client, server: LocalServer, pauses: list[float], status: int) -> None:
    server.replies["/v1/detect"] = [Reply(status, problem(status, "x")), Reply(status), Reply(202, STARTED)]
    assert sdk.detect("https://example.org/a.mp4")["job_id"] == "job_1"
    assert len(server.seen) == 3
    assert len(set(keys(server))) == 1
    assert keys(server)[0]
    assert 0.25 <= pauses[0] <= 0.5 <= pauses[1] <= 1
    assert {call.headers["Authorization"] for call in server.seen} == {f"Bearer {KEY}"}


@pytest.mark.parametrize(("status", "code"), [(400, "invalid"), (401, "not_authenticated"), (404, "not_found"),
                                              (409, "job_ended"), (422, "idempotency_key_reused"),
                                              (507, "storage_full")])  # fmt: skip
def test_does_not_repeat_what_gets_no_better(sdk: Client, server: LocalServer, status: int, code: str) -> None:
    server.replies["/v1/detect"] = Reply(status, problem(status, code, fields={"mode": ["Unknown."]}))
    with pytest.raises(DeepfakeError) as refused:
        sdk.detect("https://example.org/a.mp4")
    error = refused.value
    assert (error.code, error.status, error.request_id, error.fields) == (code, status, "r-1", {"mode": ["Unknown."]})
    assert str(error) == f"No. ({code}, {status}, r-1)"
    assert len(server.seen) == 1


def test_repeats_while_the_first_still_runs(sdk: Client, server: LocalServer) -> None:
    server.replies["/v1/detect"] = [Reply(409, problem(409, "idempotency_in_progress")), Reply(202, STARTED)]
    sdk.detect("https://example.org/a.mp4", idempotency_key="mine")
    assert keys(server) == ["mine", "mine"]


def test_gives_up_after_its_retries(sdk: Client, server: LocalServer, pauses: list[float]) -> None:
    server.replies["/v1/jobs/job_1"] = Reply(503, b"<html>")
    with pytest.raises(DeepfakeError) as refused:
        sdk.job("job_1")
    assert (refused.value.code, refused.value.status) == ("http_503", 503)
    assert (len(server.seen), len(pauses)) == (5, 4)


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_obeys_retry_after(sdk: Client, server: LocalServer, pauses: list[float], form: str) -> None:
    text = "7" if form == "seconds" else format_datetime(datetime.fromtimestamp(time.time() + 8, UTC), usegmt=True)
    server.replies["/v1/jobs/job_1"] = [Reply(429, problem(429, "throttled"), {"Retry-After": text}), Reply(200, DONE)]
    sdk.job("job_1")
    assert 6 <= pauses[0] <= 8


def test_gives_up_when_asked_to_come_back_next_week(sdk: Client, server: LocalServer) -> None:
    server.replies["/v1/jobs/job_1"] = Reply(503, problem(503, "busy"), {"Retry-After": "604800"})
    with pytest.raises(DeepfakeError, match="busy") as refused:
        sdk.job("job_1")
    assert refused.value.retry_after_s == 604800
    assert len(server.seen) == 1


def test_an_answer_that_is_none_of_the_api(sdk: Client, server: LocalServer) -> None:
    server.replies["/v1/jobs/job_1"] = Reply(200, b"<html>")
    server.replies["/v1/jobs/job_2"] = Reply(200, b"{", announce_length=500)  # cut off
    for job, code in (("job_1", "answer_unreadable"), ("job_2", "network")):
        with pytest.raises(DeepfakeError) as refused:
            sdk.job(job)
        assert refused.value.code == code


def test_network_that_breaks_off_is_tried_again(sdk: Client, server: LocalServer) -> None:
    def cut(handler: Any) -> None:
        handler.close_connection = True
        handler.connection.close()

    server.replies["/v1/detect"] = [cut, Reply(202, STARTED)]
    assert sdk.detect(b"bytes")["job_id"] == "job_1"
    assert len(set(keys(server))) == 1


def test_network_that_is_not_there(pauses: list[float]) -> None:
    with pytest.raises(DeepfakeError) as refused:
        Client(KEY, "http://127.0.0.1:1", retries=1).job("job_1")
    assert (refused.value.code, refused.value.status) == ("network", None)
    assert len(pauses) == 1


def test_key_follows_no_redirect(sdk: Client, server: LocalServer) -> None:
    server.replies["/v1/jobs/job_1"] = Reply(302, headers={"Location": server.url("/elsewhere")})
    with pytest.raises(DeepfakeError, match="http_302"):
        sdk.job("job_1")
    assert [call.path for call in server.seen] == ["/v1/jobs/job_1"]


class Pipe(io.RawIOBase):
    """A stream that cannot be read twice."""

    def __init__(self, content: bytes) -> None:
        self._left = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        return self._left.read(size)


@pytest.mark.parametrize("kind", ["path", "text", "bytes", "file", "pipe"])
def test_every_source_is_sent_whole_even_twice(sdk: Client, server: LocalServer, tmp_path: Any, kind: str) -> None:
    content = bytes(range(256)) * 3000
    path = tmp_path / 'my "clip".mp4'
    path.write_bytes(content)
    file = path.open("rb")
    source = {"path": path, "text": str(path), "bytes": content, "file": file, "pipe": Pipe(content)}[kind]
    server.replies["/v1/detect"] = [Reply(503), Reply(202, STARTED)]
    sdk.detect(source, mode="video", priority=5)
    file.close()
    for call in server.seen:
        head = f"Content-Type: {call.headers['Content-Type']}\r\n\r\n".encode()
        parts = BytesParser().parsebytes(head + call.body).get_payload()
        found = {part.get_param("name", header="content-disposition"): part for part in parts}
        assert found["file"].get_payload(decode=True) == content
        assert (found["mode"].get_payload(), found["priority"].get_payload()) == ("video", "5")
        if kind in ("path", "text", "file"):
            assert found["file"].get_filename() == "my %22clip%22.mp4"


def test_addresses_and_items_are_named(sdk: Client, server: LocalServer) -> None:
    server.replies["/v1/detect"] = Reply(202, STARTED)
    server.replies["/v1/media"] = Reply(201, b'{"media_id": "med_1"}')
    item = sdk.upload("https://example.org/a.mp4")
    sdk.detect(item, priority=3)
    sdk.detect("med_1", callback_url="https://app.example.org/h")
    bodies = [json.loads(call.body) for call in server.seen]
    assert bodies == [
        {"url": "https://example.org/a.mp4"},
        {"media_id": "med_1", "mode": "auto", "priority": 3},
        {"media_id": "med_1", "mode": "auto", "callback_url": "https://app.example.org/h"},
    ]
    assert len(set(keys(server))) == 3, "a new request, a new key"


def test_file_that_is_not_there(sdk: Client) -> None:
    with pytest.raises(DeepfakeError) as refused:
        sdk.detect("/nowhere/a.mp4")
    assert refused.value.code == "file_not_found"


def states(*bodies: dict[str, Any]) -> list[Reply]:
    return [Reply(200, json.dumps({"job_id": "job_1", **body}).encode()) for body in bodies]


def test_wait_returns_the_verdict(sdk: Client, server: LocalServer) -> None:
    replies = [*states({"status": "queued"}, {"status": "running"}), Reply(200, DONE)]
    server.replies["/v1/jobs/job_1?wait=25"] = replies
    assert sdk.wait({"job_id": "job_1"})["result"]["label"] == "fake"


def test_wait_raises_what_the_job_says(sdk: Client, server: LocalServer) -> None:
    error = {"code": "media_unreadable", "message": "The file is damaged."}
    server.replies["/v1/jobs/job_1?wait=25"] = states({"status": "failed", "error": error})
    with pytest.raises(DeepfakeError, match="The file is damaged") as refused:
        sdk.wait("job_1")
    assert (refused.value.code, refused.value.status) == ("media_unreadable", None), "the answer was no refusal"
    server.replies["/v1/jobs/job_1?wait=25"] = states({"status": "cancelled"})
    with pytest.raises(DeepfakeError) as refused:
        sdk.wait("job_1")
    assert (refused.value.code, refused.value.status) == ("cancelled", None)


def test_wait_ends(server: LocalServer) -> None:
    server.replies["/v1/jobs/job_1?wait=1"] = states({"status": "running"})
    with pytest.raises(DeepfakeError) as refused:
        Client(KEY, server.url("")).wait("job_1", timeout_s=0.4)
    assert refused.value.code == "timeout"


def test_stream_tells_each_step_once(sdk: Client, server: LocalServer) -> None:
    half = {"status": "running", "stage": "spatial", "percent": 50}
    server.replies["/v1/jobs/job_1"] = [*states({"status": "queued"}, half, half), Reply(200, DONE)]
    assert [job["status"] for job in sdk.stream("job_1")] == ["queued", "running", "completed"]


def test_report_is_kept_to_the_byte(sdk: Client, server: LocalServer, tmp_path: Any) -> None:
    server.replies["/v1/reports/job_1?format=pdf"] = Reply(200, b"%PDF \x00\xff")
    assert sdk.report("job_1", format="pdf") == b"%PDF \x00\xff"
    sdk.save_report("job_1", tmp_path / "r.pdf")
    assert (tmp_path / "r.pdf").read_bytes() == b"%PDF \x00\xff"


def test_report_that_breaks_off_is_no_report(sdk: Client, server: LocalServer, tmp_path: Any) -> None:
    server.replies["/v1/reports/job_1?format=pdf"] = Reply(200, b"%PDF", announce_length=40_000)
    for read in (lambda: sdk.report("job_1", format="pdf"), lambda: sdk.save_report("job_1", tmp_path / "r.pdf")):
        with pytest.raises(DeepfakeError) as broken:
            read()
        assert broken.value.code == "network"


def test_asyncio_has_the_same_calls(sdk: Client, server: LocalServer) -> None:
    server.replies["/v1/detect"] = Reply(202, STARTED)
    server.replies["/v1/jobs/job_1"] = [*states({"status": "queued"}), Reply(200, DONE)]
    server.replies["/v1/jobs/job_1?wait=25"] = Reply(200, DONE)

    async def go() -> tuple[list[str], str]:
        asynchronous = AsyncClient(KEY, server.url(""))
        job = await asynchronous.detect(b"x")
        seen = [found["status"] async for found in asynchronous.stream(job, interval_s=0.01)]
        ids = [found["job_id"] async for found in asynchronous.jobs(status="failed")]
        return seen + ids, (await asynchronous.wait(job))["result"]["label"]

    server.replies["/v1/jobs?status=failed"] = Reply(200, b'{"results": [{"job_id": "job_7"}], "next": null}')
    assert asyncio.run(go()) == (["queued", "completed", "job_7"], "fake")


def test_settings_come_from_the_environment(monkeypatch: Any) -> None:
    monkeypatch.setenv("DEEPFAKE_API_KEY", KEY)
    monkeypatch.setenv("DEEPFAKE_URL", "https://media.example.org/")
    assert (Client().api_key, Client().base_url) == (KEY, "https://media.example.org")
    monkeypatch.delenv("DEEPFAKE_API_KEY")
    for wrong in (lambda: Client(), lambda: Client(KEY, "media.example.org"), lambda: AsyncClient()):
        with pytest.raises(DeepfakeError) as refused:
            wrong()
        assert refused.value.code == "settings_invalid"


# Lists, batches, webhooks ---------------------------------------------------------------------------------------------


def test_lists_are_read_page_after_page(sdk: Client, server: LocalServer) -> None:
    query = "status=failed&since=2026-11-21T09%3A00%3A00%2B00%3A00&include=&limit=2"
    page = {
        "results": [{"job_id": "job_1"}, {"job_id": "job_2"}],
        "next": f"https://elsewhere.example/x?{query}&cursor=c",
    }
    server.replies[f"/v1/jobs?{query}"] = Reply(200, json.dumps(page).encode())
    server.replies[f"/v1/jobs?{query}&cursor=c"] = Reply(200, b'{"results": [{"job_id": "job_3"}], "next": null}')
    rows = sdk.jobs(status="failed", since=datetime(2026, 11, 21, 9, tzinfo=UTC), include="", page_size=2)
    assert server.seen == [], "nothing is asked before the first row is"
    assert next(rows)["job_id"] == "job_1"
    assert len(server.seen) == 1
    assert [job["job_id"] for job in rows] == ["job_2", "job_3"]
    server.replies["/v1/batches/bat_1/items?has_error=true"] = Reply(200, b'{"results": [], "next": null}')
    assert list(sdk.batch_items("bat_1", has_error=True)) == []


def test_what_is_sent_holds_what_was_given(sdk: Client, server: LocalServer) -> None:
    for path in ("/v1/batches", "/v1/jobs/job_1/rerun", "/v1/feedback", "/v1/webhooks", "/v1/webhooks/whk_1/test"):
        server.replies[path] = Reply(200, b"{}")
    server.replies["/v1/webhooks/whk_1"] = Reply(204)
    sdk.create_batch([{"media_id": "med_1", "reference": "a"}], name="Wire", callback_url="https://app.example.org/h")
    sdk.rerun({"job_id": "job_1"}, stability="full", threshold_profile="")
    sdk.feedback({"job_id": "job_1"}, "real", notes="Ours.")
    sdk.create_webhook("https://app.example.org/h", ["*"], idempotency_key="mine")
    sdk.test_webhook({"webhook_id": "whk_1"})
    sdk.delete_webhook("whk_1")
    assert [json.loads(call.body) for call in server.seen[:4]] == [
        {"items": [{"media_id": "med_1", "reference": "a"}], "name": "Wire", "mode": "auto",
         "callback_url": "https://app.example.org/h"},
        {"stability": "full", "threshold_profile": ""},
        {"job_id": "job_1", "label": "real", "notes": "Ours."},
        {"url": "https://app.example.org/h", "events": ["*"], "description": ""},
    ]  # fmt: skip
    assert keys(server)[3] == "mine"
    assert [call.method for call in server.seen[4:]] == ["POST", "DELETE"]


def test_every_call_stands_in_the_readme_and_is_there_for_asyncio() -> None:
    readme = (ROOT / "sdk" / "python" / "README.md").read_text()
    calls = [name for name in vars(Client) if not name.startswith("_")]
    assert len(calls) > 15
    for name in calls:
        assert f"`{name}(" in readme, name
        assert hasattr(AsyncClient, name), name


# Large files ----------------------------------------------------------------------------------------------------------

LARGE = bytes(range(250))


def upload_replies(server: LocalServer, *pieces: Any, heads: list[Any] | None = None) -> None:
    location = {"Location": "https://proxy.example.org/v1/uploads/upl_1", "Upload-Offset": "0"}
    server.replies["/v1/uploads"] = Reply(201, headers=location)
    said = {"PATCH": list(pieces), "HEAD": heads or []}

    def answer(handler: Any) -> None:
        reply = said[handler.command].pop(0)
        if reply == "cut":
            handler.close_connection = True
            handler.connection.close()
            return
        handler.send_response(reply.status)
        for name, value in {**reply.headers, "Content-Length": str(len(reply.body))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(reply.body)

    server.replies["/v1/uploads/upl_1"] = answer
    server.replies["/v1/media/med_1"] = Reply(200, b'{"media_id": "med_1"}')


def at(offset: int, item: str = "", status: int = 204) -> Reply:
    return Reply(status, headers={"Upload-Offset": str(offset), **({"Media-Id": item} if item else {})})


def pieces_of(server: LocalServer) -> list[tuple[str, bytes]]:
    return [(call.headers["Upload-Offset"], call.body) for call in server.seen if call.method == "PATCH"]


def test_large_file_goes_in_pieces(sdk: Client, server: LocalServer) -> None:
    upload_replies(server, at(100), at(200), at(250, "med_1"))
    file = io.BytesIO(b"before" + LARGE)
    file.seek(6)
    assert sdk.upload_large(file, filename="é.mp4", piece_bytes=100)["media_id"] == "med_1"
    assert pieces_of(server) == [("0", LARGE[:100]), ("100", LARGE[100:200]), ("200", LARGE[200:])]
    begun = server.seen[0].headers
    assert (begun["Upload-Length"], begun["Tus-Resumable"]) == ("250", "1.0.0")
    assert begun["Upload-Metadata"] == "filename " + base64.b64encode("é.mp4".encode()).decode()


@pytest.mark.parametrize("way", ["cut", Reply(503), Reply(409, problem(409, "upload_offset"))])
def test_broken_upload_goes_on_where_it_stood(sdk: Client, server: LocalServer, pauses: list[float], way: Any) -> None:
    upload_replies(server, at(100), way, at(250, "med_1"), heads=[at(130, status=200)])
    assert sdk.upload_large(LARGE, piece_bytes=120)["media_id"] == "med_1"
    assert pieces_of(server)[-1] == ("130", LARGE[130:])
    assert pauses == [], "something came through: no reason to wait"


def test_upload_that_gets_no_further_is_given_up(sdk: Client, server: LocalServer, pauses: list[float]) -> None:
    upload_replies(server, *["cut"] * 9, heads=[at(0, status=200)] * 9)
    with pytest.raises(DeepfakeError) as refused:
        sdk.upload_large(LARGE)
    assert (refused.value.code, len(pauses)) == ("network", 4)


def test_lost_answer_to_the_last_piece(sdk: Client, server: LocalServer, pauses: list[float]) -> None:
    upload_replies(server, "cut", heads=[at(250, "med_1", 200)])
    assert sdk.upload_large(LARGE)["media_id"] == "med_1"
    # Or the item is still being made by the process that lost us.
    upload_replies(server, "cut", at(250), at(250, "med_1"), heads=[at(250, status=200)])
    assert sdk.upload_large(LARGE)["media_id"] == "med_1"
    assert pieces_of(server)[-1] == ("250", b"")
    assert len(pauses) == 1


def test_refused_upload_says_why(sdk: Client, server: LocalServer) -> None:
    upload_replies(server, Reply(415, problem(415, "unsupported_type")))
    with pytest.raises(DeepfakeError, match="unsupported_type"):
        sdk.upload_large(LARGE)

    # The refusal was lost with the connection that was cut for it.
    upload_replies(server, "cut", heads=[Reply(410)])
    told = json.dumps({"error": {"code": "unsupported_type", "message": "This is an archive."}}).encode()
    answer = server.replies["/v1/uploads/upl_1"]
    refusal = Reply(200, told)

    def or_why(handler: Any) -> None:
        if handler.command != "GET":
            return answer(handler)
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(refusal.body)))
        handler.end_headers()
        handler.wfile.write(refusal.body)

    server.replies["/v1/uploads/upl_1"] = or_why
    with pytest.raises(DeepfakeError, match="This is an archive") as refused:
        sdk.upload_large(LARGE)
    assert refused.value.code == "unsupported_type"


def test_only_files_go_in_pieces(sdk: Client) -> None:
    sources: list[Any] = ["https://example.org/a.mp4", {"media_id": "med_1"}, None, 7]
    for source in sources:
        with pytest.raises(DeepfakeError) as refused:
            sdk.upload_large(source)
        assert refused.value.code == "source_unusable"


# Webhooks -------------------------------------------------------------------------------------------------------------

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
BODY = b'{"event":"job.completed","job_id":"job_1"}'


def signed(body: bytes = BODY, age_s: int = 0, *secrets: bytes) -> dict[str, str]:
    return standard_headers("msg_1", int(time.time()) - age_s, body, secrets or [b"s" * 32])


def signed_at(moment: str) -> dict[str, str]:
    """Signed with the right secret over whatever the moment is written as."""
    digest = hmac.new(b"s" * 32, f"msg_1.{moment}.".encode() + BODY, hashlib.sha256).digest()
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"webhook-id": "msg_1", "webhook-timestamp": moment, "webhook-signature": signature}


def arabic(number: int) -> str:
    return str(number).translate({ord("0") + digit: 0x660 + digit for digit in range(10)})


def test_genuine_webhook_is_read() -> None:
    headers = signed()
    assert verify_webhook(SECRET, headers, BODY)["job_id"] == "job_1"
    assert verify_webhook(SECRET, {name.upper(): value for name, value in headers.items()}, BODY.decode())
    both = signed(BODY, 0, b"n" * 32, b"s" * 32)
    assert verify_webhook(SECRET, both, BODY)
    assert verify_webhook(["whsec_" + base64.b64encode(b"x" * 32).decode(), SECRET], headers, BODY)
    stamp = datetime.now(UTC)
    official = {"webhook-id": "m", "webhook-timestamp": str(int(stamp.timestamp()))}
    official["webhook-signature"] = Webhook(SECRET).sign("m", stamp, BODY.decode())
    assert verify_webhook(SECRET, official, BODY)


def test_callback_is_checked_with_the_key() -> None:
    headers = signed(BODY, 0, derive_signing_secret(KEY))
    assert verify_webhook(KEY, headers, BODY)
    with pytest.raises(DeepfakeError):
        verify_webhook(KEY + "x", headers, BODY)
    sandbox = KEY.replace("dfk_", "test_")
    assert verify_webhook([KEY, sandbox], signed(BODY, 0, derive_signing_secret(sandbox)), BODY)


def test_keys_are_made_in_the_form_that_is_asked_for() -> None:
    assert webhooks.API_KEY.fullmatch(_new_text("dfk_0a1b2c3d"))
    assert webhooks.API_KEY.fullmatch(_new_text("test_0a1b2c3d"))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"body": BODY + b" "}, "webhook_forged"),
        ({"secret": "whsec_" + base64.b64encode(b"x" * 32).decode()}, "webhook_forged"),
        ({"headers": signed(BODY, 400)}, "webhook_late"),
        ({"headers": signed(BODY, -400)}, "webhook_late"),
        ({"headers": {**signed(), "webhook-id": "msg_2"}}, "webhook_forged"),
        ({"headers": {**signed(), "webhook-signature": "v1,%%% v2,x"}}, "webhook_forged"),
        ({"headers": {**signed(), "webhook-timestamp": "now"}}, "webhook_malformed"),
        *(
            ({"headers": signed_at(write(int(time.time())))}, "webhook_malformed")
            for write in (
                "+{}".format,
                "-{}".format,
                " {}".format,
                "{}.0".format,
                "{:_}".format,
                "000{}".format,
                arabic,
            )
        ),
        ({"headers": {}}, "webhook_malformed"),
        ({"body": b"[", "headers": signed(b"[")}, "webhook_malformed"),
        *(
            ({"secret": secret, "headers": signed(BODY, 0, b"")}, "webhook_secret_unusable")
            for secret in (
                "",
                None,
                [],
                "whsec_",
                "whsec_***",
                "whsec_=",
                "whsec_é",
                "whsec_" + "A" * 20,
                "whsec_" + "A" * 22,
                SECRET + "\n",
                SECRET[6:],
                "whsec_" + base64.b64encode(b"short").decode(),
                b"whsec_",
                7,
                [SECRET, ""],
                [SECRET, None],
                ["whsec_***"],
                "dfk_",
                "dfk_…",
                "dfk_0a1b2c3d_",
                "dfk_1_x",
                " ",
                "secret",
            )
        ),
    ],
)
def test_what_is_not_genuine_is_refused(change: dict[str, Any], code: str) -> None:
    call = {"secret": SECRET, "headers": signed(), "body": BODY} | change
    with pytest.raises(DeepfakeError) as refused:
        verify_webhook(**call)
    assert refused.value.code == code
