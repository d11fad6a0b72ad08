"""What is seen of every request: its time and status for Prometheus, a span, and the ids for log lines."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.http import HttpRequest, HttpResponse

from accounts import audit
from deepfake import logs, metrics, tracing
from deepfake.caller import current_address
from deepfake.log_privacy import redact, short_path

logger = logging.getLogger("deepfake.request")

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class ObservingMiddleware:
    """Stands right after the request id: everything else is inside its span and its time."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response) -> None:  # type: ignore[no-untyped-def]
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest):  # type: ignore[no-untyped-def]
        if self.is_async:
            return self._respond_async(request)
        with observed(request) as seen:
            response: HttpResponse = self.get_response(request)
            seen["response"] = response
        return response

    async def _respond_async(self, request: HttpRequest) -> HttpResponse:
        with observed(request) as seen:
            response: HttpResponse = await self.get_response(request)
            seen["response"] = response
        return response


@contextmanager
def observed(request: HttpRequest) -> Iterator[dict[str, Any]]:
    seen: dict[str, Any] = {}
    address, here = current_address.set(audit.client_ip(request)), logs.current_request.set(request)
    began = time.perf_counter()
    method = request.method if request.method in METHODS else "OTHER"
    try:
        with (
            metrics.http_in_progress.track_inprogress(),
            tracing.span(
                f"{method}",
                parent=tracing.parse(request.headers.get("traceparent", "")),
                kind="server",
                **{"http.request.method": method, "url.path": redact(short_path(request.path))},
            ) as span,
        ):
            try:
                yield seen
            finally:
                status = getattr(seen.get("response"), "status_code", 500)
                route, seconds = route_of(request), time.perf_counter() - began
                metrics.http_seconds.labels(method, route, str(status)).observe(seconds)
                span.set_attribute("http.route", route)
                span.set_attribute("http.response.status_code", status)
                if hasattr(span, "update_name"):
                    span.update_name(f"{method} {route}")
                logger.info(
                    "%s %s %d %.0f ms",
                    method,
                    short_path(request.path),
                    status,
                    1000 * seconds,
                    extra={"method": method, "route": route, "status": status, "ms": round(1000 * seconds, 1)},
                )
    finally:
        current_address.reset(address)
        logs.current_request.reset(here)


def route_of(request: HttpRequest) -> str:
    """The pattern of the address, never the address: ids would make a new series for every page."""
    match = request.resolver_match
    if match is not None:
        return "/" + match.route.removeprefix("^").removesuffix("$").removesuffix("\\Z")
    return settings.STATIC_URL if request.path.startswith(settings.STATIC_URL) else "(none)"
