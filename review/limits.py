"""How often a stranger may call on an appeal page."""

from __future__ import annotations

from django.http import HttpRequest

from accounts import audit
from deepfake import rate_limits
from deepfake.rate_limits import Bucket

HOUR_S = 3600
APPEALS_PER_HOUR = 5  # per link, and per address
VIEWS_PER_HOUR = 240  # per address


def wait_s(name: str, who: str, limit: int) -> int:
    """Count one call; return 0 when it may go on, else the seconds until it may be tried again."""
    return rate_limits.wait_s(Bucket(f"review:{name}:{who}", size=limit, per_second=limit / HOUR_S))


def caller(request: HttpRequest) -> str:
    return audit.client_ip(request) or "unknown"
