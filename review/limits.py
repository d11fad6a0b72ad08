"""How often a stranger may call on an appeal page."""

from __future__ import annotations

import hashlib
import time

from django.core.cache import cache
from django.http import HttpRequest

from accounts import audit

HOUR_S = 3600
APPEALS_PER_HOUR = 5  # per link, and per address
VIEWS_PER_HOUR = 240  # per address


def wait_s(name: str, who: str, limit: int) -> int:
    """Count one call; return 0 when it may go on, else the seconds until it may be tried again."""
    now = time.time()
    window = int(now // HOUR_S)
    key = f"review-limit:{name}:{hashlib.sha256(who.encode()).hexdigest()[:32]}:{window}"
    cache.add(key, 0, timeout=2 * HOUR_S)
    try:
        used = cache.incr(key)
    except ValueError:  # evicted between the two calls
        cache.set(key, 1, timeout=2 * HOUR_S)
        used = 1
    return 0 if used <= limit else HOUR_S - int(now % HOUR_S)


def caller(request: HttpRequest) -> str:
    return audit.client_ip(request) or "unknown"
