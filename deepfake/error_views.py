"""What Django answers outside any view of ours: wrong addresses, refused requests, unexpected errors."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

from deepfake.api_errors import NOT_FOUND, UNEXPECTED, error_response


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return error_response(request, 400, "bad_request", "The request could not be read.")


def permission_denied(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return error_response(request, 403, "permission_denied", str(exception or "") or "You may not do this.")


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    sentence = "This form has expired or came from another site. Go back, reload the page and send it again."
    return error_response(request, 403, "csrf_failed", sentence)


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return error_response(request, 404, "not_found", NOT_FOUND)


def server_error(request: HttpRequest) -> HttpResponse:
    return error_response(request, 500, "internal_error", UNEXPECTED)


def too_many(request: HttpRequest) -> HttpResponse:
    return error_response(
        request, 429, "throttled", "Too many requests from your address. Wait a minute, then try again."
    )
