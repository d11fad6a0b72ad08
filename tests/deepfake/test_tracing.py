"""Traces: ids from and to other services always, spans where OpenTelemetry is asked for, no import where not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from deepfake import tracing
from detection import jobs, running, services
from detection.models import Job
from tests.factories import make_job, make_media

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def spans() -> Iterator[Any]:
    exporter_module = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
    exporter = exporter_module.InMemorySpanExporter()
    tracing.configure(exporter)
    yield lambda: {span.name: span for span in exporter.get_finished_spans()}
    tracing.switch_off()


@pytest.mark.parametrize(
    "header",
    ["", "nonsense", f"01-{TRACE}-b7ad6b7169203331-01", f"00-{TRACE}-{'0' * 16}-01", PARENT.upper(), PARENT + "-x"],
)
def test_what_is_no_traceparent_is_ignored(header: str) -> None:
    assert tracing.parse(header) is None


def test_a_traceparent_is_read_and_written() -> None:
    found = tracing.parse(PARENT)
    assert found is not None
    assert found.traceparent == PARENT
    assert tracing.outgoing() == {}
    with tracing.span("call", parent=found):
        version, trace, span, flags = tracing.outgoing()["traceparent"].split("-")
        assert (version, trace, flags) == ("00", TRACE, "01")
        assert span != "b7ad6b7169203331"


@pytest.mark.django_db
def test_a_request_is_a_span_with_the_pattern_of_its_address(spans: Any, client: Client, alice: Any, job: Job) -> None:
    client.force_login(alice)
    client.get(job.get_absolute_url(), headers={"traceparent": PARENT})
    span = spans()["GET /analyses/<uuid:pk>/"]
    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"
    assert span.attributes["http.response.status_code"] == 200


@pytest.mark.django_db
def test_a_span_holds_no_link_that_lets_somebody_in(spans: Any, client: Client) -> None:
    client.get("/invitation/s3cr3t:l1nk/")
    (span,) = spans().values()
    assert span.attributes["url.path"] == "/invitation/<secret>/"
    assert "s3cr3t" not in span.to_json()


def test_a_span_that_fails_says_so_without_naming_anybody(spans: Any) -> None:
    with pytest.raises(ValueError, match="anna"), tracing.span("call"):
        raise ValueError("No row for anna@example.org")
    (span,) = spans().values()
    assert span.status.status_code.name == "ERROR"
    assert span.events[0].attributes["exception.message"] == "No row for <email>"
    assert "anna@example.org" not in span.to_json()


@pytest.mark.django_db
def test_a_job_goes_on_with_the_trace_of_the_request_that_asked_for_it(
    spans: Any, organization: Any, monkeypatch: Any
) -> None:
    with tracing.span("ask", parent=tracing.parse(PARENT)):
        job = services.start_job(media=make_media(organization))

    def go(self: running.Run) -> None:
        for name in ("decoding", "spatial", "done"):
            self.on_step(name, 0, 2)
        raise jobs.ClaimLost

    monkeypatch.setattr(running.Run, "go", go)
    jobs.run_detection()
    found = spans()
    assert {"ask", "analysis", "decoding", "spatial"} <= set(found)
    assert "done" not in found
    assert {f"{span.context.trace_id:032x}" for span in found.values()} == {TRACE}
    assert found["analysis"].parent.span_id == found["ask"].context.span_id
    assert found["spatial"].parent.span_id == found["analysis"].context.span_id
    assert found["decoding"].end_time <= found["spatial"].start_time
    assert found["analysis"].attributes["deepfake.job"] == job.public_id


@pytest.mark.django_db
def test_a_webhook_carries_the_trace_of_its_job(organization: Any) -> None:
    job = make_job(organization=organization)
    assert tracing.outgoing_of_job(job.pk)["traceparent"].split("-")[1] == job.pk.hex
    with tracing.span("ask", parent=tracing.parse(PARENT)):
        job = make_job(organization=organization)
    assert tracing.outgoing_of_job(job.pk)["traceparent"].split("-")[1] == TRACE
    assert tracing.outgoing_of_job(None) == {}


@pytest.mark.parametrize("endpoint", ["", "http://127.0.0.1:1/"])
def test_nothing_of_opentelemetry_is_imported_unless_asked_for_and_installed(endpoint: str, tmp_path: Any) -> None:
    code = f"""
import sys
class Gone:
    def find_spec(self, name, path=None, target=None):
        if {bool(endpoint)} and name.split(".")[0] == "opentelemetry":
            raise ModuleNotFoundError(name)
import importlib.util
if {bool(endpoint)}:
    real = importlib.util.find_spec
    importlib.util.find_spec = lambda name, *rest: None if name.startswith("opentelemetry") else real(name, *rest)
    sys.meta_path.insert(0, Gone())
import django
django.setup()
import deepfake.asgi
from deepfake import tracing
with tracing.span("x"):
    pass
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""
    environment = {
        "DJANGO_SETTINGS_MODULE": "deepfake.settings",
        "DATA_DIR": str(tmp_path),
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "PATH": "/usr/bin:/bin",
    }
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert ("pip install -r requirements-telemetry.txt" in done.stderr) == bool(endpoint)
