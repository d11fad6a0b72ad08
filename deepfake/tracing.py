"""Traces: W3C trace ids for logs always, spans over OTLP when OpenTelemetry is asked for and installed.

Without OTEL_EXPORTER_OTLP_ENDPOINT nothing of OpenTelemetry is imported. A request keeps the trace of its `traceparent`
or begins one; an analysis goes on with the trace of the request that asked for it. When that is no longer known, its
trace id is its own id, so that it is found by either.
"""

from __future__ import annotations

import logging
import re
import secrets
import threading
import traceback
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from django.conf import settings
from django.core.cache import cache

from deepfake.log_privacy import redact
from deepfake.logs import current_trace

logger = logging.getLogger(__name__)

KEEP_S = 24 * 3600  # how long a waiting job remembers the request that asked for it
_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")


@dataclass(frozen=True)
class Trace:
    """Where we are in a trace: its id and the span that is open, in hex."""

    trace_id: str
    span_id: str
    is_sampled: bool = True

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.is_sampled else '00'}"


_current: ContextVar[Trace | None] = ContextVar("trace", default=None)


def parse(header: str) -> Trace | None:
    """Read a `traceparent` header (W3C Trace Context, version 00); None when it is not well formed."""
    match = _TRACEPARENT.fullmatch(header.strip())
    return Trace(match[1], match[2], bool(int(match[3], 16) & 1)) if match else None


def current() -> Trace | None:
    return _current.get()


def outgoing() -> dict[str, str]:
    """Headers for a call to another service; empty outside of any trace."""
    trace = _current.get()
    return {"traceparent": trace.traceparent} if trace else {}


@contextmanager
def span(name: str, *, parent: Trace | None = None, kind: str = "internal", **attributes: Any) -> Iterator[Any]:
    """Open a span, as a child of `parent` or of what is open; yields an object with set_attribute()."""
    tracer = _tracer()
    if tracer is None:
        above = parent or _current.get()
        here = Trace(above.trace_id if above else secrets.token_hex(16), secrets.token_hex(8), True)
        with _as_current(here):
            yield _NOTHING
        return
    from opentelemetry.trace import SpanKind

    with tracer.start_as_current_span(
        name,
        context=_context_of(parent),
        kind=SpanKind[kind.upper()],
        attributes=attributes,
        record_exception=False,  # its text may name people: spans leave the house, so they hold what logs would
        set_status_on_exception=False,
    ) as opened:
        context = opened.get_span_context()
        here = Trace(f"{context.trace_id:032x}", f"{context.span_id:016x}", bool(context.trace_flags & 1))
        with _as_current(here):
            try:
                yield opened
            except Exception as error:
                _tell_failure(opened, error)
                raise


def _tell_failure(opened: Any, error: Exception) -> None:
    from opentelemetry.trace import Status, StatusCode

    opened.add_event(
        "exception",
        {
            "exception.type": type(error).__qualname__,
            "exception.message": redact(str(error)),
            "exception.stacktrace": redact("".join(traceback.format_exception(error))),
        },
    )
    opened.set_status(Status(StatusCode.ERROR, type(error).__qualname__))


class _Nothing:
    def set_attribute(self, name: str, value: Any) -> None:
        pass


_NOTHING = _Nothing()


@contextmanager
def _as_current(trace: Trace) -> Iterator[None]:
    opened, shown = _current.set(trace), current_trace.set(trace.trace_id)
    try:
        yield
    finally:
        _current.reset(opened)
        current_trace.reset(shown)


# Jobs -----------------------------------------------------------------------------------------------------------------


@dataclass
class _Steps:
    """The stages of the job that this thread runs, each a span that ends when the next begins."""

    tracer: Any
    open: list[Any] = field(default_factory=list)

    def next(self, name: str) -> None:
        self.end()
        if self.tracer is not None and name != "done":
            self.open.append(self.tracer.start_span(name, attributes={"deepfake.stage": name}))

    def end(self) -> None:
        while self.open:
            self.open.pop().end()


_steps: ContextVar[_Steps | None] = ContextVar("steps", default=None)


def remember(job_id: uuid.UUID) -> None:
    """Let whoever runs this job go on with the trace of the request that asked for it."""
    trace = _current.get()
    if trace is not None:
        cache.set(f"trace:{job_id}", trace.traceparent, KEEP_S)


def trace_of(job_id: uuid.UUID) -> Trace:
    return parse(cache.get(f"trace:{job_id}") or "") or Trace(job_id.hex, job_id.hex[:16])


def outgoing_of_job(job_id: uuid.UUID | None) -> dict[str, str]:
    """Headers for a call that tells of a job: the receiver can go on with its trace."""
    return {"traceparent": trace_of(job_id).traceparent} if job_id else {}


@contextmanager
def job(job_id: uuid.UUID, **attributes: Any) -> Iterator[None]:
    """The span of one attempt at a job."""
    with span("analysis", parent=trace_of(job_id), kind="consumer", **attributes):
        steps = _Steps(_tracer())
        token = _steps.set(steps)
        try:
            yield
        finally:
            steps.end()
            _steps.reset(token)


def step(name: str) -> None:
    """The job that this thread runs has come to its next stage or branch."""
    if (steps := _steps.get()) is not None:
        steps.next(name)


# OpenTelemetry --------------------------------------------------------------------------------------------------------

_lock = threading.Lock()
_provider: Any = None
_is_set_up = False


def configure(exporter: Any = None) -> None:
    """Send spans to `exporter` (over OTLP when None). Raises ImportError without requirements-telemetry.txt."""
    global _provider, _is_set_up
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": settings.OTEL_SERVICE_NAME}))
    if exporter is None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    else:
        provider.add_span_processor(SimpleSpanProcessor(exporter))
    _provider, _is_set_up = provider, True


def switch_off() -> None:
    global _provider, _is_set_up
    if _provider is not None:
        _provider.shutdown()
    _provider, _is_set_up = None, False


def flush(seconds: float = 2.0) -> None:
    """Send what waits; called before the process ends."""
    if _provider is not None:
        _provider.force_flush(int(seconds * 1000))


def _tracer() -> Any:
    if not _is_set_up:
        _set_up()
    return _provider.get_tracer("deepfake") if _provider is not None else None


def _set_up() -> None:
    """At the first span, once: by the settings, and without a package that is not there."""
    global _is_set_up
    with _lock:
        if _is_set_up:
            return
        if settings.OTEL_EXPORTER_OTLP_ENDPOINT:
            if find_spec("opentelemetry") is not None and find_spec("opentelemetry.sdk") is not None:
                configure()
            else:
                logger.warning(
                    "OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry is not installed: "
                    "pip install -r requirements-telemetry.txt"
                )
        _is_set_up = True


def _context_of(parent: Trace | None) -> Any:
    if parent is None:
        return None
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    flags = TraceFlags(TraceFlags.SAMPLED if parent.is_sampled else TraceFlags.DEFAULT)
    return set_span_in_context(
        NonRecordingSpan(
            SpanContext(int(parent.trace_id, 16), int(parent.span_id, 16), is_remote=True, trace_flags=flags)
        )
    )
