"""The Python client and a real server: from a file to a verdict, a report and a signed webhook."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import time
import urllib.request
from typing import Any

import pytest
from deepfake_client import Client, DeepfakeError, verify_webhook

from tests.detection.conftest import wav_bytes
from tests.detection.web import LocalServer, Reply
from tests.engine.clips import make_clip
from tests.sdk.conftest import ROOT, CuttingProxy, Live

pytestmark = pytest.mark.timeout(600)

PICTURE = ROOT / "tests" / "media" / "astronaut.jpg"


@pytest.fixture
def sdk(live: Live) -> Client:
    return Client(live.key, live.url)


def api(live: Live, method: str, path: str, body: Any = None) -> Any:
    headers = {"Authorization": f"Bearer {live.key}", "Content-Type": "application/json"}
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(live.url + path, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or b"null")


def calls_of(server: LocalServer, path: str) -> list[Any]:
    end = time.monotonic() + 30
    while not (found := [call for call in server.seen if call.path == path]):
        assert time.monotonic() < end, f"nobody called {path}"
        time.sleep(0.1)
    return found


def test_from_a_file_to_a_verdict_a_report_and_a_signed_webhook(
    sdk: Client, live: Live, server: LocalServer, tmp_path: Any
) -> None:
    server.replies["/hook"] = server.replies["/callback"] = Reply(204)
    made = api(live, "POST", "/v1/webhooks", {"url": server.url("/hook"), "events": ["job.completed"]})
    media = sdk.upload(PICTURE)
    started = sdk.detect(media, mode="image", callback_url=server.url("/callback"))
    seen = [job["status"] for job in sdk.stream(started)]
    assert seen[-1] == "completed"
    result = sdk.wait(started)["result"]
    assert result["label"] in ("real", "fake", "inconclusive")
    assert result["per_branch"]
    assert started["job_id"].encode() in sdk.report(started)
    sdk.save_report(started, tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    for path, secret in (("/hook", made["secret"]), ("/callback", live.key)):
        call = calls_of(server, path)[0]
        event = verify_webhook(secret, call.headers, call.body)
        assert (event["event"], event["job_id"]) == ("job.completed", started["job_id"])
        assert event["result"]["label"] == result["label"]
        with pytest.raises(DeepfakeError):
            verify_webhook(secret, call.headers, call.body.replace(b'"completed"', b'"failed"'))
    api(live, "DELETE", f"/v1/webhooks/{made['webhook_id']}")


def test_sound_is_taken_from_an_open_file(sdk: Client, tmp_path: Any) -> None:
    path = tmp_path / "tone.wav"
    path.write_bytes(wav_bytes(1.0))
    with path.open("rb") as recording:
        job = sdk.detect(recording, mode="audio")
    assert sdk.wait(job)["result"]["label"] in ("real", "fake", "inconclusive")


def test_large_file_over_a_connection_that_breaks(live: Live) -> None:
    recording = wav_bytes(40.0)[:-1000] + os.urandom(1000)
    with CuttingProxy(live.url, cuts=2, after_bytes=300_000) as proxy:
        media = Client(live.key, proxy.url).upload_large(recording, filename="long.wav", piece_bytes=500_000)
        assert proxy.cuts == 0
    assert (media["filename"], media["sha256"]) == ("long.wav", hashlib.sha256(recording).hexdigest())


def test_upload_goes_on_in_another_process(sdk: Client) -> None:
    recording = wav_bytes(40.0)[:-1000] + os.urandom(1000)
    key = os.urandom(8).hex()

    class Killed(Exception):
        pass

    class Dies(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() >= 600_000:
                raise Killed
            return super().read(size)

    with pytest.raises(Killed):
        sdk.upload_large(Dies(recording), idempotency_key=key, piece_bytes=300_000, filename="long.wav")
    seen = Counted(recording)
    media = sdk.upload_large(seen, idempotency_key=key, piece_bytes=300_000, filename="long.wav")
    assert media["sha256"] == hashlib.sha256(recording).hexdigest()
    again = sdk.upload_large(recording, idempotency_key=key, filename="long.wav")
    assert again["media_id"] == media["media_id"]
    assert seen.starts == [0, 600_000, 900_000, 1_200_000], "one piece to learn where it stands, then the rest"


class Counted(io.BytesIO):
    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.starts: list[int] = []

    def read(self, size: int | None = -1) -> bytes:
        self.starts.append(self.tell())
        return super().read(size)


def test_refused_upload_says_why(sdk: Client) -> None:
    with pytest.raises(DeepfakeError) as refused:
        sdk.upload_large(b"no picture" * 1000, filename="a.jpg")
    assert refused.value.code == "unsupported_type"


def test_batch_from_its_items_to_their_verdicts(sdk: Client) -> None:
    item = sdk.upload(PICTURE)["media_id"]
    made = sdk.create_batch(
        [{"media_id": item, "reference": "a"}, {"media_id": item, "reference": "b"}, {"media_id": "med_" + "0" * 32}],
        name="Wire",
        mode="image",
    )
    assert (made["status"], made["total"], made["name"]) == ("running", 3, "Wire")
    ended = sdk.wait_batch(made, timeout_s=300)
    assert (ended["status"], ended["ended"]) == ("completed", 3)
    assert sdk.batch(made["batch_id"])["counts"] == ended["counts"]
    items = list(sdk.batch_items(made, page_size=2))
    assert [item["reference"] for item in items] == ["a", "b", ""]
    assert [item["status"] for item in items] == ["completed", "completed", "refused"]
    assert [item["error"] and item["error"]["code"] for item in sdk.batch_items(made, has_error=True)] == ["not_found"]


def test_jobs_are_listed_rerun_labelled_and_cancelled(sdk: Client) -> None:
    first = sdk.wait(sdk.detect(PICTURE, mode="image"))
    second = sdk.rerun(first, stability="full")
    assert second["media_id"] == first["media_id"]
    assert sdk.wait(second)["status"] == "completed"
    third = sdk.rerun(first)
    assert sdk.cancel(third)["job_id"] == third["job_id"]
    of_item = list(sdk.jobs(media_id=first["media_id"], sort="oldest", include="", page_size=1))
    ids = [job["job_id"] for job in of_item]
    assert ids[-2:] == [second["job_id"], third["job_id"]]
    assert first["job_id"] in ids
    assert "result" not in of_item[0]
    label = first["result"]["label"]
    fitting = {job["job_id"] for job in sdk.jobs(status="completed", label=label, kind="image", since="2020-01-01")}
    assert first["job_id"] in fitting
    assert list(sdk.jobs(until="2020-01-01")) == []
    said = sdk.feedback(first, "real", notes="Ours.")
    assert (said["job_id"], said["label"]) == (first["job_id"], "real")


def test_webhooks_are_made_tested_and_deleted(sdk: Client, server: LocalServer) -> None:
    server.replies["/hook"] = Reply(204)
    made = sdk.create_webhook(server.url("/hook"), ["job.completed"], description="Newsroom")
    assert any(one["webhook_id"] == made["webhook_id"] and "secret" not in one for one in sdk.webhooks(page_size=1))
    assert sdk.test_webhook(made)["state"] == "delivered"
    call = calls_of(server, "/hook")[0]
    assert verify_webhook(made["secret"], call.headers, call.body)["event"] == "webhook.test"
    sdk.delete_webhook(made)
    assert all(one["webhook_id"] != made["webhook_id"] for one in sdk.webhooks())
    with pytest.raises(DeepfakeError, match="not_found"):
        sdk.test_webhook(made)


@pytest.mark.parametrize("kind", ["image", "video", "audio"])
def test_examples_run(live: Live, tmp_path: Any, kind: str) -> None:
    sent = tmp_path / {"image": "a.jpg", "video": "a.mp4", "audio": "a.wav"}[kind]
    if kind == "video":
        make_clip(sent, frames=12, fps=6)
    else:
        sent.write_bytes(PICTURE.read_bytes() if kind == "image" else wav_bytes(1.0))
    done = subprocess.run(
        [sys.executable, ROOT / "sdk" / "python" / "examples" / f"{kind}.py", sent],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT / "sdk" / "python" / "src"),
            "DEEPFAKE_API_KEY": live.key,
            "DEEPFAKE_URL": live.url,
        },
        capture_output=True,
        text=True,
        timeout=550,
    )
    assert done.returncode == 0, done.stderr
    assert any(line.split()[0] in ("real", "fake", "inconclusive") for line in done.stdout.splitlines() if line)
    assert kind != "video" or (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")


def test_errors_are_the_servers_own(sdk: Client, live: Live) -> None:
    cases = [
        (lambda: sdk.job("job_" + "0" * 32), "not_found", 404),
        (lambda: Client("dfk_0_x", live.url).job("job_1"), "authentication_failed", 401),
        (lambda: sdk.detect(b"no picture", filename="a.jpg"), "unsupported_type", 415),
    ]
    for call, code, status in cases:
        with pytest.raises(DeepfakeError) as refused:
            call()
        assert (refused.value.code, refused.value.status) == (code, status)
        assert refused.value.request_id


def test_same_key_is_one_job(sdk: Client) -> None:
    key = os.urandom(8).hex()
    first, second = (sdk.detect(PICTURE, idempotency_key=key) for _ in range(2))
    assert first["job_id"] == second["job_id"]
    with pytest.raises(DeepfakeError, match="idempotency_key_reused"):
        sdk.upload(PICTURE, idempotency_key=key)
