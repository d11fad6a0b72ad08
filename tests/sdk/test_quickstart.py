"""The quick starts do what they say: their programs are taken from the pages and run."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from detection.webhooks import standard_headers
from tests.deepfake.serving import free_port
from tests.sdk.conftest import NODE_SDK, ROOT, Live

pytestmark = pytest.mark.timeout(600)

PICTURE = ROOT / "samples" / "portrait-photo.jpg"


def programs(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)


def shell_lines(page: str, holding: str) -> str:
    """The block of a page for the shell that holds these words."""
    (found,) = (block for block in programs(page, "sh") if holding in block)
    return found


def shell(lines: str, folder: Path, **variables: str) -> str:
    done = subprocess.run(
        ["bash", "-c", lines], cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def forged(page: str, port: int, folder: Path) -> None:
    """Send what the page sends as a forgery; the answer and the receiver's line are those that the page names."""
    lines = shell_lines(page, "/hook -H")
    assert "webhook-signature: v1," in lines
    (expected,) = (line.removeprefix("# ") for line in lines.splitlines() if line.startswith("# "))
    told = shell(lines.replace(":9000/", f":{port}/"), folder)
    assert told.splitlines()[0].strip() == expected


def post(url: str, body: bytes, **headers: str) -> tuple[int, Any]:
    request = urllib.request.Request(url, body, headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as refused:
        return refused.code, None


def run_through(
    live: Live, page: str, folder: Path, first: list[str] | None, receiver: list[str], **variables: str
) -> list[str]:
    """Register the page's receiver, let it hear a test, a verdict and a forgery; return what it printed."""
    port = free_port()
    address = f"http://127.0.0.1:{port}/hook"
    key = {"Authorization": f"Bearer {live.key}", "Content-Type": "application/json"}
    wish = json.dumps({"url": address, "events": ["job.completed", "job.failed"]}).encode()
    _, made = post(f"{live.url}/v1/webhooks", wish, **key)
    environment = {**os.environ, **variables, "DEEPFAKE_API_KEY": live.key, "DEEPFAKE_URL": live.url}
    environment |= {"WEBHOOK_SECRET": made["secret"]}
    output = folder / "receiver.log"
    with output.open("w") as log:
        running = subprocess.Popen([*receiver, str(port)], cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        until(lambda: post(address, b'{"event": "job.completed"}')[0] == 400, OSError)
        assert post(f"{live.url}/v1/webhooks/{made['webhook_id']}/test", b"", **key)[1]["state"] == "delivered"
        if first:
            command = [*first, str(PICTURE)]
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=500)
            assert done.returncode == 0, done.stderr
            job_id, label, score = done.stdout.splitlines()[0].split()
            assert label in ("real", "fake", "inconclusive")
            assert 0 <= float(score) <= 1
            until(lambda: f"job.completed {job_id} {label}" in output.read_text())
        before = len(output.read_text().splitlines())
        forged(page, port, folder)
        said = re.search(r"and the receiver prints `(.*?)`", (ROOT / "docs" / page).read_text())
        assert said
        until(lambda: said[1] in output.read_text().splitlines()[before:])
    finally:
        running.terminate()
        running.wait(10)
    return output.read_text().splitlines()


def until(condition: Any, *meanwhile: type[Exception]) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            if condition():
                return
        except meanwhile:
            pass
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.2)


def test_python(live: Live, tmp_path: Path) -> None:
    first, receiver = programs("quickstart-python.md", "python")
    (tmp_path / "first.py").write_text(first)
    (tmp_path / "receiver.py").write_text(receiver)
    told = run_through(
        live,
        "quickstart-python.md",
        tmp_path,
        [sys.executable, "first.py"],
        [sys.executable, "receiver.py"],
        PYTHONPATH=str(ROOT / "sdk" / "python" / "src"),
    )
    assert any(line.startswith("refused:") for line in told)
    assert any(line.startswith("webhook.test") for line in told)


def test_node(live: Live, node: str, tmp_path: Path) -> None:
    first, receiver = programs("quickstart-node.md", "js")
    (tmp_path / "first.mjs").write_text(first)
    (tmp_path / "receiver.mjs").write_text(receiver)
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "deepfake-client").symlink_to(NODE_SDK)
    told = run_through(live, "quickstart-node.md", tmp_path, [node, "first.mjs"], [node, "receiver.mjs"])
    assert any(line.startswith("refused:") for line in told)
    assert any(line.startswith("webhook.test") for line in told)


def test_receiver_of_the_curl_page(live: Live, tmp_path: Path) -> None:
    (receiver,) = programs("quickstart-curl.md", "python")
    (tmp_path / "receiver.py").write_text(receiver)
    told = run_through(live, "quickstart-curl.md", tmp_path, None, [sys.executable, "receiver.py"])
    assert "refused" in told
    assert any(line.startswith("webhook.test") for line in told)


@pytest.mark.parametrize("secret", [None, "", "whsec_", "whsec_***", "whsec_…"])
@pytest.mark.parametrize("page", ["quickstart-curl.md", "quickstart-python.md", "quickstart-node.md"])
def test_no_receiver_believes_anything_without_a_secret(
    request: Any, tmp_path: Path, page: str, secret: str | None
) -> None:
    """A forger signs with the empty key: the receiver does not start, or refuses the call."""
    environment = {name: value for name, value in os.environ.items() if name != "WEBHOOK_SECRET"}
    environment |= {"PYTHONPATH": str(ROOT / "sdk" / "python" / "src")}
    if secret is not None:
        environment["WEBHOOK_SECRET"] = secret
    command = [sys.executable, "receiver.py"]
    if page == "quickstart-node.md":
        command = [request.getfixturevalue("node"), "receiver.mjs"]
        (tmp_path / "node_modules").mkdir()
        (tmp_path / "node_modules" / "deepfake-client").symlink_to(NODE_SDK)
    (tmp_path / command[1]).write_text(programs(page, "js" if page == "quickstart-node.md" else "python")[-1])
    port = free_port()
    body, moment = b'{"event": "job.completed"}', str(int(time.time()))
    digest = hmac.new(b"", f"msg_1.{moment}.".encode() + body, hashlib.sha256).digest()
    headers = {"webhook-id": "msg_1", "webhook-timestamp": moment}
    headers["webhook-signature"] = "v1," + base64.b64encode(digest).decode()
    running = subprocess.Popen([*command, str(port)], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    try:
        until(
            lambda: running.poll() or post(f"http://127.0.0.1:{port}/hook", body, **headers)[0] == 400,
            OSError,
        )
    finally:
        running.terminate()
        running.wait(10)


def test_signature_by_hand(tmp_path: Path) -> None:
    lines = shell_lines("quickstart-curl.md", "openssl")
    key, body = os.urandom(32), b'{"event":"job.completed"}\n'
    (tmp_path / "body.json").write_bytes(body)
    secret = "whsec_" + base64.b64encode(key).decode()
    expected = standard_headers("msg_1", 1_795_262_406, body, [key])["webhook-signature"]
    told = shell(lines, tmp_path, WEBHOOK_SECRET=secret, ID="msg_1", MOMENT="1795262406")
    assert f"v1,{told.strip()}" == expected
    with pytest.raises(AssertionError, match="set WEBHOOK_SECRET"):
        shell("set -o pipefail\n" + lines, tmp_path, WEBHOOK_SECRET="", ID="msg_1", MOMENT="1795262406")


def test_upload_that_curl_resumes(live: Live, tmp_path: Path) -> None:
    sent = (ROOT / "samples" / "blended-clip.mp4").read_bytes()
    (tmp_path / "statement.mp4").write_bytes(sent)
    lines = shell_lines("api.md", "tail -c +")
    begin, go_on = lines.split("\n\n")
    part = go_on.replace("--data-binary @-", "--data-binary @part").replace("-X PATCH", "-X PATCH -o /dev/null")
    (tmp_path / "part").write_bytes(sent[:50_000])
    told = shell(f"{begin}\n{part}\n{go_on}", tmp_path, DEEPFAKE_URL=live.url, DEEPFAKE_API_KEY=live.key)
    assert " 204" in told.splitlines()[0]
    headers = dict(line.lower().split(": ", 1) for line in told.splitlines() if ": " in line)
    assert headers["upload-offset"] == str(len(sent))
    request = urllib.request.Request(
        f"{live.url}/v1/media/{headers['media-id']}", headers={"Authorization": f"Bearer {live.key}"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert json.load(answer)["sha256"] == hashlib.sha256(sent).hexdigest()
