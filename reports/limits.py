"""How often a stranger may call on the verify page."""

from __future__ import annotations

from django.http import HttpRequest

from accounts import audit
from deepfake import rate_limits
from deepfake.rate_limits import Bucket

WINDOW_S = 600
VIEWS = 120  # per address and window
CHECKS = 20  # of files, which cost more
MAX_FILE_BYTES = 30_000_000  # larger than any report that is issued
MAX_JSON_BYTES = 4_000_000  # likewise; canonical form costs far more a byte than a PDF's signature


def wait_s(name: str, request: HttpRequest, limit: int) -> int:
    """Count one call; return 0 when it may go on, else the seconds until it may be tried again."""
    who = audit.client_ip(request) or "unknown"
    return rate_limits.wait_s(Bucket(f"verify:{name}:{who}", size=limit, per_second=limit / WINDOW_S))
