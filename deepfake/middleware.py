"""Middleware: request ids, static files, what browsers are told, limits of what is sent, pages for refused actions."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.deprecation import MiddlewareMixin
from whitenoise.middleware import WhiteNoiseMiddleware

from deepfake import bodies
from deepfake.api_errors import NOT_FOUND, error_response, refusal
from deepfake.errors import DomainError, StorageFull, is_disk_full
from deepfake.request_id import current_request_id, id_for

NO_PAGE = "This address takes what a form sends, and has no page of its own."
NO_NUL = "The character NUL is part of no text. Send this again without it."
NO_FORM = "This address has a page to read, and takes nothing that is sent to it."


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
        request.request_id = id_for(request.headers.get("X-Request-ID", ""))  # type: ignore[attr-defined]
        current_request_id.set(request.request_id)  # type: ignore[attr-defined]

    def _end(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        response["X-Request-ID"] = request.request_id  # type: ignore[attr-defined]
        return response


class BrowserSecurityMiddleware(MiddlewareMixin):
    """What browsers are told beside what Django and django-csp tell them; for static files, too."""

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        response.setdefault("Permissions-Policy", settings.PERMISSIONS_POLICY)
        # No page of another site may show our pictures, nor take them into its process.
        response.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        # Whatever does not say otherwise is personal: it is kept nowhere.
        response.setdefault("Cache-Control", "private, no-store")
        if _signs_out(request, response):
            # Pictures of a media item may lie in the browser's cache for five minutes: not beyond signing out.
            response["Clear-Site-Data"] = '"cache"'
        return response


def _signs_out(request: HttpRequest, response: HttpResponse) -> bool:
    match = request.resolver_match
    return (
        match is not None
        and match.url_name == "account_logout"
        and request.method == "POST"
        and response.status_code == 302
    )


class BodyLimitMiddleware(MiddlewareMixin):
    """Refuse by the announced length, whatever server stands in front."""

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        length = request.META.get("CONTENT_LENGTH") or "0"
        is_known = "HTTP_AUTHORIZATION" in request.META or settings.SESSION_COOKIE_NAME in request.COOKIES
        limit = bodies.limit_of(request.path, request.META.get("CONTENT_TYPE") or "", has_credential=is_known)
        if length.isdigit() and int(length) > limit:
            return refusal(request, bodies.too_large(request.path, limit, has_credential=is_known))
        return None


class NoNulMiddleware(MiddlewareMixin):
    """No text holds the character NUL, and PostgreSQL takes none that does: refused in addresses and in forms.

    The APIs judge what they are sent, and answer in their own shape.
    """

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        if "\x00" in request.path and not request.path.startswith("/scim/"):
            return error_response(request, 404, "not_found", NOT_FOUND)
        if "\x00" in unquote(request.META.get("QUERY_STRING", "")) and not self._is_judged_later(request):
            return refusal(request, DomainError(NO_NUL, "bad_request"))
        return None

    def process_view(
        self, request: HttpRequest, view: Any, arguments: tuple[Any, ...], names: dict[str, Any]
    ) -> HttpResponse | None:
        """Forms are read by now, by whoever looks for the token against forgery."""
        if request.method != "POST" or self._is_judged_later(request):
            return None
        if any("\x00" in text for name, values in request.POST.lists() for text in (name, *values)):
            return refusal(request, DomainError(NO_NUL, "bad_request"))
        return None

    @staticmethod
    def _is_judged_later(request: HttpRequest) -> bool:
        return request.path.startswith(("/v1/", "/scim/"))


class DomainErrorMiddleware(MiddlewareMixin):
    """What a page does not handle becomes an error page: a DomainError, a full disk, a method it does not know."""

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if is_disk_full(exception):
            exception = StorageFull()
        return refusal(request, exception) if isinstance(exception, DomainError) else None

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        if response.status_code != 405 or response.streaming or response.content:
            return response
        sentence = NO_PAGE if request.method in ("GET", "HEAD") else NO_FORM
        page = error_response(request, 405, "method_not_allowed", sentence)
        page["Allow"] = response["Allow"]
        return page


class StaticFilesMiddleware(WhiteNoiseMiddleware):  # type: ignore[misc]
    """WhiteNoise as it is, but for requests that are no static files: those stay on the event loop.

    WhiteNoise knows threads only. One such middleware on the way, and every request holds a thread until it is
    answered: a waiting caller, too.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response) -> None:  # type: ignore[no-untyped-def]
        super().__init__(get_response)
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest):  # type: ignore[no-untyped-def]
        return self._respond(request) if self.is_async else super().__call__(request)

    async def _respond(self, request: HttpRequest):  # type: ignore[no-untyped-def]
        find = self.find_file if self.autorefresh else self.files.get
        found = await sync_to_async(find)(request.path_info) if self.autorefresh else find(request.path_info)
        if found is not None:
            return await sync_to_async(self.serve)(found, request)
        return await self.get_response(request)
