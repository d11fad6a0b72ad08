"""CORS on /v1 (Fetch standard): which origins an organisation lets ask in a browser, and the headers that say so.

A preflight carries no credentials, so it is granted to every origin that some organisation lists. The answer itself is
readable only for origins that the caller's own organisation lists. Cookies are never part of it: a page of another
origin needs a key or a token of its own.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.utils.deprecation import MiddlewareMixin

from accounts import audit
from accounts.authentication import bearer_text
from accounts.models import AllowedOrigin, Organization, User
from deepfake.errors import DomainError

PREFIX = "/v1/"
MOST_ORIGINS = 50
PREFLIGHT_S = 600
METHODS = "GET, HEAD, POST, PATCH, DELETE, OPTIONS"
TAKEN = (
    "Authorization, Content-Type, Idempotency-Key, If-None-Match, Range, Tus-Resumable, Upload-Length, Upload-Offset, "
    "Upload-Metadata, Upload-Checksum, X-HTTP-Method-Override, X-Request-ID"
)
EXPOSED = (
    "Content-Disposition, Content-Range, ETag, Idempotent-Replayed, Location, Media-Id, RateLimit, RateLimit-Limit, "
    "RateLimit-Policy, RateLimit-Remaining, RateLimit-Reset, Retry-After, Tus-Checksum-Algorithm, Tus-Extension, "
    "Tus-Max-Size, Tus-Resumable, Tus-Version, Upload-Expires, Upload-Length, Upload-Metadata, Upload-Offset, "
    "X-Report-Id, X-Request-ID"
)


class CorsMiddleware(MiddlewareMixin):
    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        origin = request.headers.get("Origin", "")
        if (
            request.method != "OPTIONS"
            or not _concerns(request)
            or "Access-Control-Request-Method" not in request.headers
        ):
            return None
        response = HttpResponse(status=204)
        if AllowedOrigin.objects.filter(origin=origin).exists():
            response["Access-Control-Allow-Origin"] = origin
            response["Access-Control-Allow-Methods"] = METHODS
            response["Access-Control-Allow-Headers"] = TAKEN
            response["Access-Control-Max-Age"] = str(PREFLIGHT_S)
        return response

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if not request.path.startswith(PREFIX):
            return response
        patch_vary_headers(response, ["Origin"])  # of every answer: what a cache keeps must not serve another origin
        if not _concerns(request) or not bearer_text(request.headers.get("Authorization", "")):
            return response
        # REST framework leaves whom it has recognised at the request that it wraps.
        organization = getattr(getattr(request, "user", None), "organization", None)
        origin = request.headers["Origin"]
        if organization is not None and AllowedOrigin.objects.filter(organization=organization, origin=origin).exists():
            response["Access-Control-Allow-Origin"] = origin
            response["Access-Control-Expose-Headers"] = EXPOSED
        return response


def _concerns(request: HttpRequest) -> bool:
    origin = request.headers.get("Origin", "")
    # No browser sends NUL, and PostgreSQL is not to be asked for it.
    return request.path.startswith(PREFIX) and bool(origin) and origin.isprintable()


# The list of an organisation ------------------------------------------------------------------------------------------


def origin_of(text: str) -> str:
    """An origin as browsers send it: scheme, host, and a port where it is not the usual one. Raises DomainError."""
    sentence = "Give an origin such as https://app.example.org: a scheme and a host, perhaps a port, and nothing after."
    try:
        parts = urlsplit(text.strip())
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
    except ValueError:  # UnicodeError is one, too
        raise _invalid(sentence) from None
    is_plain = not (parts.path.strip("/") or parts.query or parts.fragment or parts.username or parts.password)
    if parts.scheme not in ("http", "https") or not host or not is_plain or "*" in host or len(host) > 240:
        raise _invalid(sentence)
    if any(letter.isspace() or letter in "\"'<>\\^`{|}," for letter in host):
        raise _invalid(sentence)
    is_here = host in ("localhost", "127.0.0.1", "::1") or host.endswith(".localhost")
    if parts.scheme == "http" and not is_here:
        raise _invalid("Without https, anybody on the way can speak as this origin. Only localhost may do without.")
    shown = f"[{host}]" if ":" in host else host
    usual = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{shown}" + (f":{port}" if port not in (None, usual) else "")


def _invalid(sentence: str) -> DomainError:
    return DomainError(sentence, "origin_invalid", fields={"origin": [sentence]})


def allow_origin(*, organization: Organization, origin: str, actor: User | None) -> AllowedOrigin:
    """Let pages of `origin` ask the API with this organisation's keys and tokens. Raises DomainError."""
    origin = origin_of(origin)
    try:
        with transaction.atomic():
            organization.lock()
            if AllowedOrigin.objects.filter(organization=organization).count() >= MOST_ORIGINS:
                raise DomainError(
                    f"An organisation lists {MOST_ORIGINS} origins at most. Remove one first.", "origins_full", 409
                )
            row = AllowedOrigin.objects.create(organization=organization, origin=origin, created_by=actor)
            _record("cors.origin_allowed", row, actor)
    except IntegrityError:
        raise DomainError(f"{origin} is on the list already.", "origin_listed", 409) from None
    return row


def remove_origin(*, row: AllowedOrigin, actor: User | None) -> None:
    with transaction.atomic():
        _record("cors.origin_removed", row, actor)
        row.delete()


def _record(action: str, row: AllowedOrigin, actor: Any) -> None:
    audit.record(
        action=action,
        organization=row.organization,
        actor=actor,
        target=row,
        details={"origin": row.origin},
    )
