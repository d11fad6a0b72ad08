"""Log lines as JSON, with the ids of what they are about, beside whatever other filters there are."""

from __future__ import annotations

import io
import json
import logging
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from deepfake import logs, tracing

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def lines() -> Iterator[Any]:
    """What the root logger would print as JSON."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonLines())
    handler.addFilter(logs.ContextFilter())
    root, level = logging.getLogger(), logging.getLogger("deepfake.request").level
    root.addHandler(handler)
    logging.getLogger("deepfake.request").setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()], handler
    root.removeHandler(handler)
    logging.getLogger("deepfake.request").setLevel(level)


def test_a_line_has_time_level_logger_and_message(lines: Any) -> None:
    read, _ = lines
    logging.getLogger("some.room").warning("%d files\nin two lines", 3, extra={"folder": "x"})
    (line,) = read()
    line.pop("request_id", None)  # of a request that an earlier test made in this thread
    assert line.pop("time").endswith("+00:00")
    assert line == {"level": "WARNING", "logger": "some.room", "message": "3 files\nin two lines", "folder": "x"}


def test_an_exception_is_one_line(lines: Any) -> None:
    read, _ = lines
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("some.room").exception("It failed")
    (line,) = read()
    assert "ValueError: broken" in line["exc_info"]


def test_a_job_is_named_in_its_lines(lines: Any) -> None:
    read, _ = lines
    job, organization = uuid.uuid4(), uuid.uuid4()
    with logs.about_job(f"job_{job.hex}", organization), tracing.job(job):
        logging.getLogger("some.room").warning("inside")
    logging.getLogger("some.room").warning("outside")
    inside, outside = read()
    assert inside["job_id"] == f"job_{job.hex}"
    assert inside["organization_id"] == str(organization)
    assert inside["trace_id"] == job.hex  # nobody knows of a request that asked for it
    assert not {"job_id", "organization_id", "trace_id"} & set(outside)


@pytest.mark.django_db
def test_a_request_has_its_ids_route_and_organisation(lines: Any, client: Client, alice: Any) -> None:
    read, _ = lines
    client.force_login(alice)
    client.get("/?q=secret", headers={"X-Request-ID": "req-1", "traceparent": PARENT})
    line = next(line for line in read() if line["logger"] == "deepfake.request")
    assert line["request_id"] == "req-1"
    assert line["trace_id"] == TRACE
    assert line["organization_id"] == str(alice.organization_id)
    assert (line["method"], line["route"], line["status"]) == ("GET", "/", 200)
    assert "secret" not in line["message"]


@pytest.mark.django_db
def test_a_key_names_its_organisation_too(lines: Any, client: Client, api_key: Any, bearer: Any) -> None:
    read, _ = lines
    client.get("/v1/jobs", headers=bearer)
    line = next(line for line in read() if line["logger"] == "deepfake.request")
    assert line["organization_id"] == str(api_key.organization_id)


@pytest.mark.django_db
def test_a_malformed_trace_is_not_taken_over(lines: Any, client: Client) -> None:
    read, _ = lines
    client.get("/v1/health/live", headers={"traceparent": f"00-{'0' * 32}-b7ad6b7169203331-01"})
    line = next(line for line in read() if line["logger"] == "deepfake.request")
    assert len(line["trace_id"]) == 32
    assert line["trace_id"] != "0" * 32


def test_other_filters_change_what_is_printed(lines: Any) -> None:
    """One that takes out personal data may rewrite the message, its arguments or an extra field."""
    read, handler = lines

    class Redact(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            record.msg, record.args = record.getMessage().replace("a planted word", "(taken out)"), ()
            record.__dict__["sender"] = "(taken out)"
            return True

    handler.addFilter(Redact())
    logging.getLogger("some.room").warning("Sent by %s", "a planted word", extra={"sender": "a planted word"})
    (line,) = read()
    assert line["message"] == "Sent by (taken out)"
    assert line["sender"] == "(taken out)"
