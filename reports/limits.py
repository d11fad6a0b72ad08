"""How often a stranger may call on the verify page."""

from __future__ import annotations

import hashlib
import time

from django.core.cache import cache
from django.http import HttpRequest

from accounts import audit

WINDOW_S = 600
VIEWS = 120  # per address and window
CHECKS = 20  # of files, which cost more
MAX_FILE_BYTES = 30_000_000  # larger than any report that is issued
MAX_JSON_BYTES = 4_000_000  # likewise; canonical form costs far more a byte than a PDF's signature


def wait_s(name: str, request: HttpRequest, limit: int) -> int:
    """Count one call; return 0 when it may go on, else the seconds until it may be tried again."""
    now = time.time()
    who = hashlib.sha256((audit.client_ip(request) or "unknown").encode()).hexdigest()[:32]
    key = f"verify-limit:{name}:{who}:{int(now // WINDOW_S)}"
    cache.add(key, 0, timeout=2 * WINDOW_S)
    try:
        used = cache.incr(key)
    except ValueError:  # evicted between the two calls
        cache.set(key, 1, timeout=2 * WINDOW_S)
        used = 1
    return 0 if used <= limit else WINDOW_S - int(now % WINDOW_S)
