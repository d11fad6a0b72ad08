"""One shape for every error: RFC 9457 problem details for programs, an error page for people."""

from __future__ import annotations

import http
import logging
import math
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template import TemplateDoesNotExist
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from deepfake.errors import DomainError, StorageFull, is_disk_full

logger = logging.getLogger(__name__)

PROBLEM_TYPE = "application/problem+json"

_TITLES = {460: "Checksum Mismatch"}  # of tus (https://tus.io), unknown to HTTP
_NAMED = frozenset(http.HTTPStatus)
NOT_FOUND = "There is nothing at this address, or it is not yours to see."
NO_KEY = "No key was sent. Send an API key or an access token in the header `Authorization: Bearer <key or token>`."
UNEXPECTED = "Something went wrong on our side. Try again; if it stays, tell support the request id."


def phrase(status: int) -> str:
    """What a status is called; blank for one that nobody named."""
    if status in _TITLES:
        return _TITLES[status]
    return http.HTTPStatus(status).phrase if status in _NAMED else ""


def problem(
    status: int, code: str, detail: str, *, request: Any = None, fields: dict[str, list[str]] | None = None
) -> dict[str, Any]:
    """Return the body of a problem response."""
    return {
        "type": "about:blank",
        "title": phrase(status),
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": getattr(request, "request_id", ""),
        "fields": fields or {},
    }


def problem_handler(exception: Exception, context: dict[str, Any]) -> Response:
    """DRF's exception handler: no exception leaves the API in another shape."""
    request = context.get("request")
    status, code, detail, fields = explain(exception)
    headers = {}
    if status == 500:
        logger.exception("Unexpected error in %s", type(context.get("view")).__name__, exc_info=exception)
    if wait := getattr(exception, "wait", None):  # of a Throttled, of a full queue
        headers["Retry-After"] = str(math.ceil(wait))
    if challenge := getattr(exception, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    set_rollback()
    body = problem(status, code, detail, request=getattr(request, "_request", request), fields=fields)
    return Response(body, status=status, headers=headers, content_type=PROBLEM_TYPE)


def explain(exception: Exception) -> tuple[int, str, str, dict[str, list[str]]]:
    """Return status, code, sentence and field errors."""
    if is_disk_full(exception):
        exception = StorageFull()
    if isinstance(exception, DomainError):
        return exception.status, exception.code, exception.message, exception.fields
    if isinstance(exception, Http404 | exceptions.NotFound):
        return 404, "not_found", NOT_FOUND, {}
    if isinstance(exception, PermissionDenied):
        return 403, "permission_denied", str(exception) or "You may not do this.", {}
    if isinstance(exception, RequestDataTooBig):
        return 413, "too_large", "The request body is too large.", {}
    if isinstance(exception, SuspiciousOperation):
        return 400, "bad_request", "The request could not be read.", {}
    if isinstance(exception, exceptions.ValidationError):
        fields = flat_fields(exception.detail)
        return 400, "invalid", first_sentence(fields), fields
    if isinstance(exception, exceptions.Throttled):
        return 429, "throttled", _throttled(getattr(exception, "wait", None)), {}
    if isinstance(exception, exceptions.NotAuthenticated):
        return exception.status_code, "not_authenticated", NO_KEY, {}
    if isinstance(exception, exceptions.APIException):
        return exception.status_code, _code(exception), str(exception.detail), {}
    return 500, "internal_error", UNEXPECTED, {}


def _code(exception: exceptions.APIException) -> str:
    code = exception.get_codes()
    return code if isinstance(code, str) else exception.default_code


def _throttled(wait: float | None) -> str:
    if not wait:
        return "Too many requests. Try again later."
    return f"Too many requests. Try again in {math.ceil(wait)} s."


def flat_fields(detail: Any, path: str = "") -> dict[str, list[str]]:
    """Flatten DRF's nested errors into "outer.inner" → sentences."""
    if isinstance(detail, dict):
        found: dict[str, list[str]] = {}
        for name, inner in detail.items():
            found |= flat_fields(inner, f"{path}.{name}" if path else str(name))
        return found
    if isinstance(detail, list):
        plain = [str(entry) for entry in detail if not isinstance(entry, dict | list)]
        found = {path or "non_field_errors": plain} if plain else {}
        for index, entry in enumerate(detail):
            if isinstance(entry, dict | list):
                found |= flat_fields(entry, f"{path}.{index}" if path else str(index))
        return found
    return {path or "non_field_errors": [str(detail)]}


def first_sentence(fields: dict[str, list[str]]) -> str:
    for name, sentences in fields.items():
        if sentences:
            return sentences[0] if name == "non_field_errors" else f"{name}: {sentences[0]}"
    return "The request is not valid."


# Outside DRF ----------------------------------------------------------------------------------------------------------


def wants_problem(request: HttpRequest) -> bool:
    """Whether the caller is a program: anything under /v1/, or one that asks for JSON and not for a page."""
    accept = request.headers.get("Accept", "")
    return request.path.startswith("/v1/") or ("json" in accept and "text/html" not in accept)


def refusal(request: HttpRequest, error: DomainError) -> HttpResponse:
    """A DomainError as the caller can read it."""
    response = error_response(request, error.status, error.code, error.message, fields=error.fields)
    if wait := getattr(error, "wait", None):  # of a full queue
        response["Retry-After"] = str(math.ceil(wait))
    if error.status == 401 and request.path.startswith("/v1/"):
        response["WWW-Authenticate"] = 'Bearer realm="api"'
    return response


def error_response(
    request: HttpRequest, status: int, code: str, detail: str, *, fields: dict[str, list[str]] | None = None
) -> HttpResponse:
    body = problem(status, code, detail, request=request, fields=fields)
    if wants_problem(request):
        return JsonResponse(body, status=status, content_type=PROBLEM_TYPE)
    # Where no page of its own says what happened, the error's sentence is the heading.
    for template in (f"{code}.html", f"{status}.html", "refused.html" if status < 500 else "500.html"):
        try:
            return render(request, template, {"problem": body, "detail": detail}, status=status)
        except TemplateDoesNotExist:
            continue
    return HttpResponse(detail, status=status, content_type="text/plain; charset=utf-8")
