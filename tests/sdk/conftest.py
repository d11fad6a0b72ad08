"""The clients against a server that answers as a test says, and against a real one."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.deepfake.serving import Serving, database_url, environment, manage, migrate
from tests.detection.web import LocalServer

ROOT = Path(__file__).resolve().parents[2]
NODE_SDK = ROOT / "sdk" / "node"
sys.path.insert(0, str(ROOT / "sdk" / "python" / "src"))  # as `pip install ./sdk/python` would bring it


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with LocalServer() as running:
        yield running


@dataclass(frozen=True)
class Live:
    """A served installation with a key that may all that an integrator may."""

    url: str
    key: str


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    data_dir = tmp_path_factory.mktemp("sdk")
    with database_url(data_dir) as url:
        variables = environment(data_dir, url) | {"FETCH_ALLOW_PRIVATE": "yes", "PYTEST_CURRENT_TEST": ""}
        migrate(variables)
        make = (
            "from accounts.api_keys import create_api_key; from accounts.services import create_organization; "
            "made = create_organization(name='SDK'); "
            "print(create_api_key(organization=made, scopes=['detect:*', 'webhooks:*'])[1])"
        )
        key = manage(variables, "shell", "-v0", "-c", make).strip().splitlines()[-1]
        serving = Serving(variables)
        try:
            assert serving.first_line()
            yield Live(f"http://127.0.0.1:{serving.port}", key)
        finally:
            serving.stop()


@pytest.fixture(scope="session")
def node() -> str:
    """Node.js, with the client compiled; a skip that says what is missing."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("Node.js is not installed")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").split(".")[0]) < 20:
        pytest.skip(f"Node.js {version} is older than 20")
    if not (NODE_SDK / "node_modules" / "typescript").is_dir():
        pytest.skip("TypeScript is not installed in sdk/node: make test-sdk does it")
    done = subprocess.run([found, "build.mjs"], cwd=NODE_SDK, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return found


class CuttingProxy:
    """Passes connections on to a server, but breaks `cuts` of them off after `after_bytes` from the client."""

    def __init__(self, url: str, *, cuts: int, after_bytes: int) -> None:
        self.cuts, self.after_bytes = cuts, after_bytes
        self._port = int(url.rpartition(":")[2])
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def __enter__(self) -> CuttingProxy:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
                threading.Thread(target=self._pass, args=(client, server, True), daemon=True).start()
                threading.Thread(target=self._pass, args=(server, client, False), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket, is_client: bool) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while block := one.recv(16_384):
                other.sendall(block)
                passed += len(block)
                if is_client and self.cuts and passed > self.after_bytes:
                    self.cuts -= 1
                    break
        for side in (one, other):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)


def run_node(node: str, *arguments: str, **variables: str) -> str:
    done = subprocess.run(
        [node, *arguments], cwd=NODE_SDK, env={**os.environ, **variables}, capture_output=True, text=True, timeout=580
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def problem(status: int, code: str, **more: Any) -> bytes:
    return json.dumps(
        {"status": status, "code": code, "detail": "No.", "request_id": "r-1", "fields": {}, **more}
    ).encode()
