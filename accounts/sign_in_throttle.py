"""Growing waits after failed sign-ins, per account, per address and per second factor."""

from __future__ import annotations

import hashlib
import hmac
import math
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.models import SignInAttempts


@dataclass(frozen=True)
class Limit:
    free: int  # failures without a wait
    first_wait: timedelta  # doubles with each further failure
    longest_wait: timedelta
    forget_after: timedelta  # without a failure


LIMITS = {
    "account": Limit(5, timedelta(seconds=30), timedelta(hours=1), timedelta(days=1)),
    "factor": Limit(5, timedelta(seconds=30), timedelta(hours=1), timedelta(days=1)),
    # Many people may share one address: an office, a school.
    "address": Limit(30, timedelta(seconds=30), timedelta(minutes=15), timedelta(hours=1)),
}


def reserve(kind: str, name: str) -> float:
    """Count an attempt before it is checked, so that many at once gain nothing; returns the seconds to wait, if any.

    An attempt that has to wait is not counted.
    """
    limit = LIMITS[kind]
    now = timezone.now()
    with transaction.atomic():
        SignInAttempts.objects.get_or_create(key=_key(kind, name))
        row = SignInAttempts.objects.select_for_update().get(key=_key(kind, name))
        if row.blocked_until and row.blocked_until > now:
            return (row.blocked_until - now).total_seconds()
        if now - row.last_at > limit.forget_after:
            row.failures = 0
        row.failures += 1
        row.last_at = now
        row.blocked_until = now + _wait(limit, row.failures) if row.failures >= limit.free else None
        row.save()
    return 0.0


def wait_s(kind: str, name: str) -> float:
    """Seconds until the next attempt is looked at."""
    row = SignInAttempts.objects.filter(key=_key(kind, name)).first()
    if row is None or row.blocked_until is None:
        return 0.0
    return max(0.0, (row.blocked_until - timezone.now()).total_seconds())


def succeeded(kind: str, name: str) -> None:
    """Forget an account's failures; of an address only this attempt is taken back.

    Otherwise whoever has an account could wipe the failures of guessing other people's passwords.
    """
    if kind != "address":
        SignInAttempts.objects.filter(key=_key(kind, name)).delete()
        return
    limit = LIMITS[kind]
    with transaction.atomic():
        row = SignInAttempts.objects.select_for_update().filter(key=_key(kind, name)).first()
        if row is not None:
            row.failures = max(0, row.failures - 1)
            if row.failures < limit.free:
                row.blocked_until = None
            row.save()


def clear_old() -> int:
    """Remove what is forgotten anyway; for the hourly tidying."""
    oldest = timezone.now() - max(limit.forget_after for limit in LIMITS.values())
    return SignInAttempts.objects.filter(last_at__lt=oldest).delete()[0]


def sentence(seconds: float) -> str:
    if seconds < 90:
        return f"Too many failed attempts. Wait {math.ceil(seconds)} seconds, then try again."
    return f"Too many failed attempts. Wait {math.ceil(seconds / 60)} minutes, then try again."


def _wait(limit: Limit, failures: int) -> timedelta:
    doublings: int = 2 ** min(failures - limit.free, 20)
    return min(limit.first_wait * doublings, limit.longest_wait)


def _key(kind: str, name: str) -> str:
    # A keyed hash: people type passwords into the field for the name, and those must not lie in the table.
    return hmac.new(settings.SECRET_KEY.encode(), f"{kind}:{name}".encode(), hashlib.sha256).hexdigest()
