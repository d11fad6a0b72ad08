"""How the served product does: page latency while jobs run, PDF, memory; on a server of its own."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.engine import summary

ROOT = Path(__file__).resolve().parents[1]
START_WITHIN_S = 60.0
SIGN_IN = """
from importlib import import_module
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from accounts.models import Organization, User
from accounts.api_keys import create_api_key
org = Organization.objects.create(name="Bench", slug="bench")
user = User.objects.create(username="bench", email="bench@example.com", organization=org, role="analyst")
_, key = create_api_key(organization=org, scopes=["detect:read", "detect:write"], name="bench")
session = import_module(settings.SESSION_ENGINE).SessionStore()
session[SESSION_KEY] = str(user.pk)
session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
session[HASH_SESSION_KEY] = user.get_session_auth_hash()
session.create()
print("SIGNED_IN", key, session.session_key, settings.SESSION_COOKIE_NAME)
"""


class Server:
    """A running product and the means to speak to it."""

    def __init__(self, port: int, process: subprocess.Popen[bytes], key: str, cookie: str) -> None:
        self.base = f"http://127.0.0.1:{port}"
        self.process = process
        self.key = key
        self.cookie = cookie

    def get(self, path: str, *, page: bool = False) -> bytes:
        headers = {"Cookie": self.cookie} if page else {"Authorization": f"Bearer {self.key}"}
        with urllib.request.urlopen(urllib.request.Request(self.base + path, headers=headers), timeout=60) as answer:  # noqa: S310
            return bytes(answer.read())

    def post(self, path: str, body: bytes, content_type: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": content_type}
        request = urllib.request.Request(self.base + path, data=body, headers=headers, method="POST")  # noqa: S310
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return dict(json.loads(answer.read()))

    def submit(self, clip: Path) -> str:
        boundary = secrets.token_hex(8)
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{clip.name}"\r\n\r\n'.encode()
        body = head + clip.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
        media = self.post("/v1/media", body, f"multipart/form-data; boundary={boundary}")
        asked = json.dumps({"media_id": media["media_id"], "mode": "auto"}).encode()
        return str(self.post("/v1/detect", asked, "application/json")["job_id"])

    def status(self, job: str) -> str:
        return str(json.loads(self.get(f"/v1/jobs/{job}"))["status"])

    def memory_mb(self) -> tuple[float, float]:
        """Return (resident now, highest so far) of the serving process."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        values = {line.split(":")[0]: float(line.split()[1]) / 1024 for line in lines if line.startswith("Vm")}
        return values["VmRSS"], values["VmHWM"]


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """Start a server on an empty data folder; stop it at the end. The time it takes to answer is `started_s`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"DATA_DIR": str(folder), "PORT": str(port), "HOST": "127.0.0.1", "SECRET_KEY": secrets.token_hex(32)}
    env = {**os.environ, **settings}
    for name in ("DATABASE_URL", "REDIS_URL", "STORAGE_URL"):
        env.pop(name, None)
    manage = [sys.executable, str(ROOT / "manage.py")]
    subprocess.run([*manage, "migrate", "-v", "0"], env=env, cwd=ROOT, check=True, capture_output=True)
    said = subprocess.run(
        [*manage, "shell", "-c", SIGN_IN], env=env, cwd=ROOT, check=True, capture_output=True, text=True
    )
    _, key, session, cookie = next(line for line in said.stdout.splitlines() if line.startswith("SIGNED_IN")).split()
    process = subprocess.Popen(
        [*manage, "serve"], env=env, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    server = Server(port, process, key, f"{cookie}={session}")
    try:
        _wait_until_ready(server)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(server: Server) -> None:
    deadline = time.monotonic() + START_WITHIN_S
    while time.monotonic() < deadline:
        try:
            server.get("/v1/health/live")
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"The server did not answer within {START_WITHIN_S:.0f} s.")


def measure(folder: Path, clip: Path, jobs: int = 4) -> dict[str, Any]:
    """Return page latency while `jobs` clips are analysed, the time of a PDF report, and memory."""
    with running(folder) as server:
        server.get("/", page=True)
        names = [server.submit(clip) for _ in range(jobs)]
        latency: list[float] = []
        resident: list[float] = []
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and any(server.status(n) in ("queued", "running") for n in names):
            started = time.perf_counter()
            server.get("/", page=True)
            latency.append(time.perf_counter() - started)
            resident.append(server.memory_mb()[0])
            time.sleep(0.05)
        result: dict[str, Any] = {
            "page_while_jobs_run": summary(latency),
            "jobs": [server.status(n) for n in names],
            "resident_mb": max(resident),
        }
        seconds = []
        for _ in range(5):
            started = time.perf_counter()
            server.get(f"/v1/reports/{names[0]}?format=pdf")
            seconds.append(time.perf_counter() - started)
        return result | {"pdf": summary(seconds), "highest_mb": server.memory_mb()[1]}
