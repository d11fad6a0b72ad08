"""Typed readers of environment variables that refuse a wrong value with a sentence."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

TRUE_WORDS = ("1", "true", "yes", "on")
FALSE_WORDS = ("0", "false", "no", "off")


def refuse(name: str, value: str, allowed: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"{name} is {value!r}, but it must be {allowed}.")


def text(name: str, default: str = "") -> str:
    return os.environ.get(name, "").strip() or default


def boolean(name: str, default: bool) -> bool:
    value = text(name).lower()
    if not value:
        return default
    if value not in TRUE_WORDS + FALSE_WORDS:
        raise refuse(name, value, f"one of {', '.join(TRUE_WORDS + FALSE_WORDS)}")
    return value in TRUE_WORDS


def integer(name: str, default: int, *, low: int, high: int) -> int:
    value = text(name)
    if not value:
        return default
    allowed = f"a whole number from {low} to {high}"
    try:
        number = int(value)
    except ValueError:
        raise refuse(name, value, allowed) from None
    if not low <= number <= high:
        raise refuse(name, value, allowed)
    return number


def choice(name: str, default: str, allowed: Collection[str]) -> str:
    value = text(name, default)
    if value not in allowed:
        raise refuse(name, value, f"one of {', '.join(allowed)}")
    return value


def names(name: str, default: list[str]) -> list[str]:
    """A list separated by commas."""
    return [part.strip() for part in text(name).split(",") if part.strip()] or default


def origins(name: str) -> list[str]:
    found = names(name, [])
    for origin in found:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path:
            raise refuse(name, origin, "a list of origins such as https://example.org, separated by commas")
    return found


def directory(name: str, default: Path) -> Path:
    """A folder that exists afterwards and can be written to."""
    path = Path(text(name, str(default))).expanduser().absolute()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)  # what lies in it is nobody else's to read
    except OSError as error:
        raise refuse(name, str(path), f"a folder that can be made and written to ({error.strerror})") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise refuse(name, str(path), "a folder that can be written to")
    return path


def database(name: str, data_dir: Path, pool: int = 0) -> dict[str, Any]:
    """Django's database settings from postgres://user:password@host:port/name?sslmode=… or sqlite:///path.

    pool: how many connections to PostgreSQL one process holds at most; who needs another one waits. 0: no pool.
    """
    value = text(name)
    allowed = "postgres://user:password@host:port/name or sqlite:///path/to/file"
    if not value:
        return _sqlite(data_dir / "db.sqlite3")
    parts = urlsplit(value)
    if parts.scheme in ("sqlite", "sqlite3"):
        path = unquote(parts.path)[1:]
        if parts.netloc or not path:
            raise refuse(name, value, allowed)
        return _sqlite(Path(path).absolute())
    if parts.scheme not in ("postgres", "postgresql"):
        raise refuse(name, _without_password(value), allowed)
    try:
        port = parts.port or 5432
    except ValueError:
        raise refuse(name, _without_password(value), allowed) from None
    database_name = unquote(parts.path.lstrip("/"))
    if not database_name:
        raise refuse(name, _without_password(value), allowed)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": database_name,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": str(port),
        # Every request has a thread of its own: a connection that a thread kept would never be used again.
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": bool(pool),  # what the pool hands out may have been cut meanwhile
        "OPTIONS": dict(parse_qsl(parts.query)) | (_pool(pool) if pool else {}),
    }


def _pool(most: int) -> dict[str, Any]:
    """A burst of requests must not ask for more connections than the server gives (100, as PostgreSQL comes)."""
    return {"pool": {"min_size": 0, "max_size": most, "timeout": 30}}


def redis_url(name: str) -> str:
    value = text(name)
    if value and (urlsplit(value).scheme not in ("redis", "rediss", "unix")):
        raise refuse(name, _without_password(value), "redis://host:port/number, rediss://… or unix://path")
    return value


def email(name: str) -> dict[str, Any]:
    """Django's e-mail settings from smtp://user:password@host:587 (STARTTLS), smtps://…:465 or file:///folder.

    `?tls=no` sends in the clear, for a relay on the same machine. Unset: e-mails are printed.
    """
    value = text(name)
    if not value:
        return {"EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend"}
    parts = urlsplit(value)
    options = dict(parse_qsl(parts.query))
    allowed = "smtp://user:password@host:587, smtp://host:25?tls=no, smtps://user:password@host:465 or file:///folder"
    if parts.scheme == "file" and parts.path and not parts.netloc:
        return {"EMAIL_BACKEND": "django.core.mail.backends.filebased.EmailBackend", "EMAIL_FILE_PATH": parts.path}
    try:
        port = parts.port or (465 if parts.scheme == "smtps" else 587)
    except ValueError:
        raise refuse(name, _without_password(value), allowed) from None
    is_clear = options.get("tls", "yes").lower() in FALSE_WORDS
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname or set(options) - {"tls"}:
        raise refuse(name, _without_password(value), allowed)
    return {
        "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "EMAIL_HOST": parts.hostname,
        "EMAIL_PORT": port,
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_SSL": parts.scheme == "smtps",
        "EMAIL_USE_TLS": parts.scheme == "smtp" and not is_clear,
    }


def contact(name: str) -> str:
    """Where people may write to: mailto:…, https://… or tel:…, as RFC 9116 asks."""
    value = text(name)
    if value and (not value.startswith(("mailto:", "https://", "tel:")) or any(ord(one) <= 32 for one in value)):
        raise refuse(name, value, "an address such as mailto:security@example.org or https://example.org/report")
    return value


def object_store(name: str) -> dict[str, Any] | None:
    """Options for an S3 bucket from s3://bucket/prefix?endpoint_url=…&region_name=…, or None when unset.

    Credentials come from the usual AWS variables or the machine's role, never from this address.
    """
    value = text(name)
    if not value:
        return None
    parts = urlsplit(value)
    options = dict(parse_qsl(parts.query))
    unknown = set(options) - {"endpoint_url", "region_name", "addressing_style"}
    if parts.scheme != "s3" or not parts.netloc or "@" in parts.netloc or unknown:
        raise refuse(name, _without_password(value), "s3://bucket/prefix?endpoint_url=…&region_name=…")
    return {"bucket_name": parts.netloc, "location": parts.path.strip("/"), **options}


def _sqlite(path: Path) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": path,
        # IMMEDIATE: a transaction takes the write lock when it begins, where the busy timeout makes it wait;
        # a deferred one fails with "database is locked" when it wants to write after reading.
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            # secure_delete: what is deleted is overwritten. 20,000 writes took .90 s without, .90 s with it.
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-16000; "
            "PRAGMA secure_delete=ON;",
        },
        # A file, not shared memory, whose locks know no timeout.
        "TEST": {"NAME": path.with_name("test.sqlite3")},
    }


def _without_password(url: str) -> str:
    """The address as it may be printed."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}…@{rest.rpartition('@')[2]}" if "@" in rest else url
