"""Middleware: request ids, the Permissions-Policy header, body limits, and pages for refused actions."""

from __future__ import annotations

import re
import uuid

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.deprecation import MiddlewareMixin

from deepfake.api_errors import refusal
from deepfake.errors import DomainError, StorageFull, is_disk_full
from deepfake.request_id import current_request_id

# What a caller may choose for itself: printable, short, without anything a log or a header could trip over.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")


class RequestIdMiddleware:
    """Take X-Request-ID from the caller when it is well formed, else make one; send it back and put it in logs."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response) -> None:  # type: ignore[no-untyped-def]
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest):  # type: ignore[no-untyped-def]
        if self.is_async:
            return self._respond_async(request)
        self._begin(request)
        return self._end(request, self.get_response(request))

    async def _respond_async(self, request: HttpRequest) -> HttpResponse:
        self._begin(request)
        return self._end(request, await self.get_response(request))

    def _begin(self, request: HttpRequest) -> None:
        sent = request.headers.get("X-Request-ID", "")
        request.request_id = sent if _REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex  # type: ignore[attr-defined]
        current_request_id.set(request.request_id)  # type: ignore[attr-defined]

    def _end(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        response["X-Request-ID"] = request.request_id  # type: ignore[attr-defined]
        return response


class PermissionsPolicyMiddleware(MiddlewareMixin):
    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        response.setdefault("Permissions-Policy", settings.PERMISSIONS_POLICY)
        return response


def body_limit(content_type: str) -> int:
    """How many bytes a request body of this type may have."""
    # The parts of a multipart body have headers of their own, hence a little above what one file may have.
    if content_type.lower().startswith("multipart/form-data"):
        return settings.MAX_UPLOAD_BYTES + 1_000_000
    return settings.MAX_BODY_BYTES


def too_large(limit: int) -> DomainError:
    return DomainError(
        f"What you sent is larger than the {limit // 1_000_000} MB that this address accepts. Send a smaller file.",
        "too_large",
        status=413,
    )


class BodyLimitMiddleware(MiddlewareMixin):
    """Refuse by the announced length, whatever server stands in front."""

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        length = request.META.get("CONTENT_LENGTH") or "0"
        limit = body_limit(request.META.get("CONTENT_TYPE") or "")
        if length.isdigit() and int(length) > limit:
            return refusal(request, too_large(limit))
        return None


class DomainErrorMiddleware(MiddlewareMixin):
    """A DomainError or a full disk that a page did not handle becomes an error page with its sentence."""

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if is_disk_full(exception):
            exception = StorageFull()
        return refusal(request, exception) if isinstance(exception, DomainError) else None
