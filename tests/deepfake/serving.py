"""A `serve` process with a data directory and a database of its own, for tests that look at it from outside."""

from __future__ import annotations

import http.client
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from tests import migrated

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def database_url(data_dir: Path) -> Iterator[str]:
    """Address of a fresh database of the kind that the suite runs on."""
    suite = os.environ.get("DATABASE_URL", "")
    if not suite.startswith("postgres"):
        yield f"sqlite:///{data_dir}/serve.sqlite3"
        return
    name = f"serve_{secrets.token_hex(6)}"
    with psycopg.connect(suite, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield f"{suite.rpartition('/')[0]}/{name}"
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def environment(data_dir: Path, url: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name not in ("DJANGO_SETTINGS_MODULE", "PORT")}
    return inherited | {"DATA_DIR": str(data_dir), "DATABASE_URL": url}


def migrate(variables: dict[str, str]) -> None:
    """Bring a fresh database to the newest state; a copy of one that was."""
    url = variables["DATABASE_URL"]
    if url.startswith("sqlite:///"):
        migrated.copy_to(Path(url.removeprefix("sqlite:///")))
    else:
        migrated.copy_on_postgresql(os.environ["DATABASE_URL"], url.rpartition("/")[2])


def manage(variables: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=ROOT, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Serving:
    """One `serve` process on a port and a data directory of its own."""

    def __init__(self, variables: dict[str, str], *arguments: str) -> None:
        self.port = free_port()
        self.log = Path(variables["DATA_DIR"]) / "serve.log"
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "serve", "--port", str(self.port), *arguments],
            cwd=ROOT,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=self.log.open("a"),
            text=True,
        )

    def first_line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def get(self, path: str, **headers: str) -> http.client.HTTPResponse:
        connection = self.connect()
        connection.request("GET", path, headers=headers)
        return connection.getresponse()

    def what_it_does(self) -> str:
        """What it logs when every thread is asked what it is doing; asked twice where no line of Python runs."""
        before = len(self.log.read_text())
        said = ""
        for asked in (signal.SIGUSR1, signal.SIGUSR2):
            if "Thread " in said:
                break
            self.process.send_signal(asked)
            deadline = time.monotonic() + 10
            while "Thread " not in said and time.monotonic() < deadline:
                time.sleep(1)  # and what is begun is written to its end
                said = self.log.read_text()[before:]
        return said

    def memory_mb(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(15)
