"""Start `serve` on an empty data directory and take one file of each kind to a verdict through HTTP."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PYTHON = ROOT / ".venv/bin/python"
FILES = {
    "image": ROOT / "samples/portrait-photo.jpg",
    "audio": ROOT / "samples/synthetic-voice.flac",
    "video": ROOT / "samples/blended-clip.mp4",
}
PATIENCE_S = 120


def main() -> int:
    folder = tempfile.mkdtemp(prefix="smoke-")
    environment = {**os.environ, "DATA_DIR": folder, "PORT": str(free_port()), "HOST": "127.0.0.1"}
    try:
        manage(environment, "prepare")
        key = manage(environment, "create_api_key", "--organization", "demo", "--scopes", "detect:read,detect:write")
        with serving(environment) as base:
            for kind, path in FILES.items():
                check(base, key.strip(), kind, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{len(FILES)} passed, 0 failed")
    return 0


def manage(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [PYTHON, "manage.py", *arguments], cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


@contextlib.contextmanager
def serving(environment: dict[str, str]) -> Iterator[str]:
    process = subprocess.Popen([PYTHON, "manage.py", "serve"], cwd=ROOT, env=environment)
    base = f"http://127.0.0.1:{environment['PORT']}"
    started = time.monotonic()
    try:
        while True:
            try:
                urllib.request.urlopen(f"{base}/v1/health/live", timeout=2).close()  # nosec B310 -- the server it started
                break
            except OSError:
                if process.poll() is not None or time.monotonic() - started > 30:
                    raise SystemExit("serve did not come up") from None
                time.sleep(0.1)
        print(f"serving after {time.monotonic() - started:.1f} s")
        yield base
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=30)
        if code != 0:
            raise SystemExit(f"serve ended with {code} after SIGTERM")


def check(base: str, key: str, kind: str, path: Path) -> None:
    """Upload one file, wait for its verdict, fetch both reports; raise SystemExit when anything is off."""
    media = call(base, key, "/v1/media", upload=path)
    job = call(base, key, "/v1/detect", body={"media_id": media["media_id"]})
    started = time.monotonic()
    while (state := call(base, key, f"/v1/jobs/{job['job_id']}"))["status"] in {"queued", "running"}:
        if time.monotonic() - started > PATIENCE_S:
            raise SystemExit(f"{path.name}: no verdict after {PATIENCE_S} s")
        time.sleep(0.2)
    if state["status"] != "completed":
        raise SystemExit(f"{path.name}: {state}")
    result = state["result"]
    scored = [branch["branch"] for branch in result["per_branch"] if branch["score"] is not None]
    if not scored:
        raise SystemExit(f"{path.name}: no branch gave a score")
    report = call(base, key, f"/v1/reports/{job['job_id']}?format=json")
    pdf = call(base, key, f"/v1/reports/{job['job_id']}?format=pdf", raw=True)
    if not report or not pdf.startswith(b"%PDF"):
        raise SystemExit(f"{path.name}: a report is missing")
    print(f"{kind}: {result['label']} {result['score']} from {', '.join(scored)} in {time.monotonic() - started:.1f} s")


def call(
    base: str, key: str, path: str, *, body: dict[str, Any] | None = None, upload: Path | None = None, raw: bool = False
) -> Any:
    headers = {"Authorization": f"Bearer {key}"}
    data = None
    if upload is not None:
        boundary = uuid.uuid4().hex
        headers["Content-Type"] = f"multipart/form-data; boundary={boundary}"
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{upload.name}"\r\n\r\n'
        data = head.encode() + upload.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    elif body is not None:
        headers["Content-Type"] = "application/json"
        data = json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(base + path, data, headers), timeout=60) as answer:  # nosec B310
            content = answer.read()
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{path}: {error.code} {error.read().decode(errors='replace')}") from error
    return content if raw else json.loads(content)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
