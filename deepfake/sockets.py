"""Which pages may open a WebSocket: ours alone. Browsers send a member's cookies with it, whoever's page asks."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from channels.security.websocket import WebsocketDenier
from django.conf import settings

USUAL_PORTS = {"http": 80, "https": 443}


class OwnPagesOnly:
    """Let a WebSocket through whose Origin is the very host and port that it was opened to, or one of the operator's.

    Channels compares the host with ALLOWED_HOSTS alone, so a page on another port of this machine would pass; Django
    holds forms to the same rule as this one.
    """

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Any:
        if is_own_page(_header(scope, b"origin"), _header(scope, b"host")):
            return await self.application(scope, receive, send)
        return await WebsocketDenier()(scope, receive, send)


def is_own_page(origin: str, host: str) -> bool:
    if not origin:
        return False  # every browser sends it
    try:
        parts = urlsplit(origin)
        port = parts.port or USUAL_PORTS.get(parts.scheme)
        asked = urlsplit(f"//{host}")
        asked_port = asked.port or USUAL_PORTS.get(parts.scheme)
    except ValueError:
        return False
    if port is None or not parts.hostname or (settings.HTTPS and parts.scheme != "https"):
        return False
    return (parts.hostname, port) == (asked.hostname, asked_port) or origin in settings.CSRF_TRUSTED_ORIGINS


def _header(scope: dict[str, Any], name: bytes) -> str:
    found = [value for key, value in scope["headers"] if key == name]
    return found[0].decode("latin-1").lower() if len(found) == 1 else ""
