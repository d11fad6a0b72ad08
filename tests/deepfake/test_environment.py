"""A wrong environment variable stops the start with a sentence that names it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from deepfake import environment as env

ROOT = Path(__file__).resolve().parents[2]


def test_unset_gives_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("X", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    assert env.text("X", "a") == "a"
    assert env.boolean("X", True) is True
    assert env.integer("X", 3, low=1, high=5) == 3
    assert env.names("X", ["a"]) == ["a"]
    assert env.object_store("X") is None
    assert env.database("X", tmp_path)["NAME"] == tmp_path / "db.sqlite3"


def test_email(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("X", raising=False)
    assert env.email("X")["EMAIL_BACKEND"].endswith("console.EmailBackend")
    monkeypatch.setenv("X", "smtp://me%40example.org:pass%2Fword@mail.example.org")
    assert env.email("X") == {
        "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "EMAIL_HOST": "mail.example.org",
        "EMAIL_PORT": 587,
        "EMAIL_HOST_USER": "me@example.org",
        "EMAIL_HOST_PASSWORD": "pass/word",
        "EMAIL_USE_SSL": False,
        "EMAIL_USE_TLS": True,
    }
    monkeypatch.setenv("X", "smtps://mail.example.org")
    assert (env.email("X")["EMAIL_PORT"], env.email("X")["EMAIL_USE_SSL"]) == (465, True)
    monkeypatch.setenv("X", "smtp://localhost:25?tls=no")
    assert env.email("X")["EMAIL_USE_TLS"] is False
    monkeypatch.setenv("X", "file:///tmp/mails")
    assert env.email("X")["EMAIL_FILE_PATH"] == "/tmp/mails"


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (lambda: env.boolean("X", False), "maybe"),
        (lambda: env.integer("X", 1, low=1, high=9), "ten"),
        (lambda: env.integer("X", 1, low=1, high=9), "10"),
        (lambda: env.choice("X", "a", ["a", "b"]), "c"),
        (lambda: env.origins("X"), "example.org"),
        (lambda: env.database("X", Path()), "mysql://host/name"),
        (lambda: env.database("X", Path()), "postgres://host:port/name"),
        (lambda: env.database("X", Path()), "postgres://host:5432/"),
        (lambda: env.database("X", Path()), "sqlite://relative.db"),
        (lambda: env.redis_url("X"), "localhost:6379"),
        (lambda: env.email("X"), "mail.example.org"),
        (lambda: env.email("X"), "smtp://host:port"),
        (lambda: env.email("X"), "smtp://host?colour=red"),
        (lambda: env.object_store("X"), "https://bucket"),
        (lambda: env.object_store("X"), "s3://bucket?colour=red"),
        (lambda: env.directory("X", Path()), "/proc/nothing/here"),
    ],
)
def test_wrong_value_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, read: object, value: str) -> None:
    monkeypatch.setenv("X", value)
    with pytest.raises(ImproperlyConfigured, match=r"^X is .* but it must be "):
        read()  # type: ignore[operator]


def test_database_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X", "postgres://user:p%40ss@db.example:6543/house?sslmode=require")
    found = env.database("X", Path())
    assert (found["USER"], found["PASSWORD"], found["HOST"], found["PORT"]) == ("user", "p@ss", "db.example", "6543")
    assert (found["NAME"], found["OPTIONS"]) == ("house", {"sslmode": "require"})
    monkeypatch.setenv("X", "sqlite:////srv/house.db")
    sqlite = env.database("X", Path())
    assert sqlite["NAME"] == Path("/srv/house.db")
    assert sqlite["OPTIONS"]["transaction_mode"] == "IMMEDIATE"


def test_password_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X", "postgres://user:hunter2@host:5432/")
    with pytest.raises(ImproperlyConfigured) as caught:
        env.database("X", Path())
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "http"), ("WORKER_THREADS", "0"), ("DATABASE_URL", "oracle://x/y"), ("DEBUG", "perhaps")],
)
def test_start_with_a_wrong_value(tmp_path: Path, name: str, value: str) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "serve"],
        cwd=ROOT,
        env={**os.environ, "DATA_DIR": str(tmp_path), name: value},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"Settings: {name} is '{value}', but it must be ")
    assert "Traceback" not in done.stderr


def test_secret_key_is_made_once_and_kept_private(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import deepfake.settings as s; print(s.SECRET_KEY)"]
    environment = {**os.environ, "DATA_DIR": str(tmp_path)}
    environment.pop("SECRET_KEY", None)
    keys = {
        subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert len(keys) == 1
    assert len(keys.pop()) > 50
    assert (tmp_path / "keys" / "secret_key").stat().st_mode & 0o777 == 0o600
