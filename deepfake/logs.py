"""What every log line says besides its message: request, job, trace and organisation; and lines as JSON.

`ContextFilter` puts the ids on each record, so any formatter can print them and other filters (one that takes out
personal data, for example) can stand before or after it: the JSON formatter reads the record when all of them are done.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject, empty
from pythonjsonlogger.json import JsonFormatter

from deepfake.request_id import current_request_id

current_request: ContextVar[HttpRequest | None] = ContextVar("request", default=None)
current_job: ContextVar[str] = ContextVar("job_id", default="")
current_trace: ContextVar[str] = ContextVar("trace_id", default="")
_job_organization: ContextVar[str] = ContextVar("organization_id", default="")

FIELDS = ("request_id", "job_id", "trace_id", "organization_id")


@contextmanager
def about_job(public_id: str, organization_id: Any) -> Iterator[None]:
    """Lines that are written inside say which job, and whose, they are about."""
    job, organization = current_job.set(public_id), _job_organization.set(str(organization_id))
    try:
        yield
    finally:
        current_job.reset(job)
        _job_organization.reset(organization)


class ContextFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = current_request_id.get()
        record.job_id = current_job.get()
        record.trace_id = current_trace.get()
        record.organization_id = _job_organization.get() or organization_of_request()
        return True


def organization_of_request() -> str:
    """Whose request is being answered, if that is known already; a log line must not ask the database."""
    request = current_request.get()
    user = request.__dict__.get("user") if request is not None else None
    if isinstance(user, SimpleLazyObject) and user.__dict__.get("_wrapped") is empty:
        return ""
    found = getattr(user, "organization_id", None)
    if found is None:
        found = getattr(getattr(user, "organization", None), "pk", None)
    return str(found or "")


class JsonLines(JsonFormatter):
    """One JSON object a line: time, level, logger, message, the ids that there are, and what `extra` brought."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("reserved_attrs", [*_OWN_ATTRIBUTES, *FIELDS])
        super().__init__("%(message)s", *args, **kwargs)

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        log_data["time"] = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        log_data["level"] = record.levelname
        log_data["logger"] = record.name
        super().add_fields(log_data, record, message_dict)
        for name in FIELDS:
            if (value := getattr(record, name, "")) not in ("", "-"):
                log_data[name] = value


# What a record has of its own; all else came with `extra`.
_OWN_ATTRIBUTES = (*logging.LogRecord("", 0, "", 0, "", (), None).__dict__, "message", "asctime", "taskName")
