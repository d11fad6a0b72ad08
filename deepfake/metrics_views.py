"""`/metrics` for Prometheus: for whoever has METRICS_TOKEN, or, without one, for this machine alone."""

from __future__ import annotations

import hmac
import ipaddress
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from django.conf import settings
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client.exposition import choose_encoder

from accounts.permissions import public
from deepfake import metrics, metrics_database  # noqa: F401 -- registers what the database knows

logger = logging.getLogger(__name__)

REFUSAL = (
    "Metrics are for Prometheus. Set METRICS_TOKEN and send it as “Authorization: Bearer …”; without it they are "
    "answered on this machine only.\n"
)
# A proxy on this machine passes strangers on: then the connection's own address says nothing.
FORWARDED = ("x-forwarded-for", "forwarded", "x-real-ip")


@require_safe
@public("asks for METRICS_TOKEN itself, or answers this machine alone; it tells of numbers, not of people")
@never_cache
def show(request: HttpRequest) -> HttpResponse:
    headers = {name.lower(): value for name, value in request.headers.items()}
    if not is_allowed(headers, request.META.get("REMOTE_ADDR", "")):
        return HttpResponse(REFUSAL, status=403, content_type="text/plain; charset=utf-8")
    content_type, body = exposition(headers.get("accept", ""))
    return HttpResponse(body, content_type=content_type)


def is_allowed(headers: Mapping[str, str], address: str) -> bool:
    """headers: with names in small letters."""
    if settings.METRICS_TOKEN:
        return hmac.compare_digest(
            headers.get("authorization", "").encode(), f"Bearer {settings.METRICS_TOKEN}".encode()
        )
    if any(name in headers for name in FORWARDED):
        return False
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def exposition(accept: str) -> tuple[str, bytes]:
    encode, content_type = choose_encoder(accept)
    return content_type, encode(metrics.REGISTRY)


# For processes without a web server -----------------------------------------------------------------------------------


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


def _answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    headers = {
        name.removeprefix("HTTP_").replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    if environ.get("PATH_INFO") != "/metrics":
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"Only /metrics is here.\n"]
    if not is_allowed(headers, environ.get("REMOTE_ADDR", "")):
        start_response("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
        return [REFUSAL.encode()]
    try:
        content_type, body = exposition(headers.get("accept", ""))
    finally:
        connections.close_all()
    start_response("200 OK", [("Content-Type", content_type), ("Cache-Control", "no-store")])
    return [body]


def serve_apart(host: str, port: int) -> WSGIServer:
    """Answer /metrics, and nothing else, in a thread of its own. Raises OSError when the port is taken."""
    server = make_server(host, port, _answer, server_class=_Server, handler_class=_Quiet)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server
