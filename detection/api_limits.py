"""How many requests a caller may send, and the headers that tell it."""

from __future__ import annotations

import time
from typing import Any

from django.conf import settings
from django.core.cache import cache
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle

from accounts.models import ApiKey

WINDOW_S = 60
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


class CallerThrottle(BaseThrottle):
    """A fixed window of a minute per API key (or member), counted apart for reading and for writing."""

    remaining = 0
    limit = 0
    reset_s = WINDOW_S

    def allow_request(self, request: Request, view: Any) -> bool:
        reads = request.method in SAFE_METHODS
        self.limit = settings.API_READS_PER_MINUTE if reads else settings.API_WRITES_PER_MINUTE
        now = time.time()
        window, self.reset_s = int(now // WINDOW_S), WINDOW_S - int(now % WINDOW_S)
        used = _count(f"api-limit:{'read' if reads else 'write'}:{caller(request)}:{window}")
        self.remaining = max(0, self.limit - used)
        request._request.rate_limit = self  # type: ignore[attr-defined]
        return used <= self.limit

    def wait(self) -> float:
        return float(self.reset_s)


def caller(request: Request) -> str:
    """The name under which a caller's requests are counted and its idempotency keys are kept."""
    if isinstance(request.auth, ApiKey):
        return f"key:{request.auth.pk}"
    return f"user:{request.user.pk}"


def add_headers(request: Request, response: Response) -> None:
    limit: CallerThrottle | None = getattr(request._request, "rate_limit", None)
    if limit is not None:
        response["RateLimit-Limit"] = str(limit.limit)
        response["RateLimit-Remaining"] = str(limit.remaining)
        response["RateLimit-Reset"] = str(limit.reset_s)


def _count(key: str) -> int:
    cache.add(key, 0, timeout=2 * WINDOW_S)
    try:
        return cache.incr(key)
    except ValueError:  # evicted between the two calls
        cache.set(key, 1, timeout=2 * WINDOW_S)
        return 1
