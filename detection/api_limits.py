"""How many requests a caller may send, by family of routes, and the headers that tell it.

Two token buckets each: the caller's (an API key, a member) and its organisation's. A bucket fills with so many
requests a minute and holds API_BURST_S seconds' worth, so that a caller that was quiet may send a few at once.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

from django.conf import settings
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from accounts.models import Organization, RequestLimits
from deepfake import rate_limits
from deepfake.rate_limits import Bucket, Taken

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
# Submissions: media, uploads, detect, batches. Reports: those that are rendered, PDF and bundles.
Family = Literal["reads", "writes", "submissions", "reports"]


class CallerThrottle(BaseThrottle):
    """Takes one token of the caller's bucket and one of its organisation's, or none when either is empty."""

    taken: Taken | None = None

    def allow_request(self, request: Request, view: Any) -> bool:
        family = family_of(request, view)
        self.taken = rate_limits.take(buckets_for(request, family))
        request._request.rate_limit = self.taken  # type: ignore[attr-defined]
        return self.taken.is_allowed

    def wait(self) -> float:
        return max(1.0, self.taken.wait_s) if self.taken else 1.0


class LimitedView(APIView):
    """A view whose callers are counted and told where they stand.

    `limit_family` names the costly family that a view belongs to for what is not a plain read of it.
    """

    throttle_classes = (CallerThrottle,)
    limit_family: ClassVar[Family | None] = None

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        if isinstance(request, Request):
            add_headers(request, response)
        return response


def family_of(request: Request, view: Any) -> Family:
    """The family that a view names for this request or for itself, else by the method."""
    choose = getattr(view, "limit_family_of", None)
    if choose is not None:
        family: Family = choose(request)
        return family
    if request.method in SAFE_METHODS:
        return "reads"
    return getattr(view, "limit_family", None) or "writes"


def buckets_for(request: Request, family: Family) -> list[Bucket]:
    usual = int(getattr(settings, f"API_{family.upper()}_PER_MINUTE"))
    found = [_bucket(f"{family}:{caller(request)}", _own(request.auth, family) or usual)]
    organization = getattr(request.user, "organization", None)
    if isinstance(organization, Organization):
        whole = _own(organization, family) or usual * settings.API_ORGANIZATION_FACTOR
        found.append(_bucket(f"{family}:org:{organization.pk}", whole))
    return found


def caller(request: Request) -> str:
    """The name under which a caller's requests are counted and its idempotency keys are kept."""
    return getattr(request.auth, "caller_name", "") or f"user:{request.user.pk}"


def _own(row: Any, family: Family) -> int | None:
    return row.per_minute(family) if isinstance(row, RequestLimits) else None


def _bucket(name: str, per_minute: int) -> Bucket:
    per_second = per_minute / 60
    return Bucket(name, size=max(1, math.floor(per_second * settings.API_BURST_S)), per_second=per_second)


# Headers --------------------------------------------------------------------------------------------------------------

SCOPES = ("caller", "organization")


def add_headers(request: Request, response: Response) -> None:
    """RateLimit-Policy and RateLimit as in draft-ietf-httpapi-ratelimit-headers-10, and the three older names.

    A policy's quota is what its bucket holds, its window the time that an empty one takes to fill; `t` is the time
    until it is full again. The older names tell of the bucket in which least is left.
    """
    taken: Taken | None = getattr(request._request, "rate_limit", None)
    if taken is None:
        return
    numbers = range(len(taken.buckets))
    response["RateLimit-Policy"] = ", ".join(_policy(SCOPES[n], taken.buckets[n]) for n in numbers)
    response["RateLimit"] = ", ".join(f'"{SCOPES[n]}";r={taken.remaining(n)};t={taken.full_in_s(n)}' for n in numbers)
    least = min(numbers, key=lambda n: taken.tokens[n])
    response["RateLimit-Limit"] = str(int(taken.buckets[least].size))
    response["RateLimit-Remaining"] = str(taken.remaining(least))
    response["RateLimit-Reset"] = str(taken.full_in_s(least))


def _policy(name: str, bucket: Bucket) -> str:
    return f'"{name}";q={int(bucket.size)};w={max(1, math.ceil(bucket.size / bucket.per_second))}'
