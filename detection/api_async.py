"""Answers that are not ready at once: those that wait for an end, and files, without a thread for each."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from asgiref.sync import SyncToAsync, markcoroutinefunction, sync_to_async
from django.db import connections
from django.http import HttpRequest, HttpResponseBase
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request
from rest_framework.response import Response

from detection import ranges, waiting
from detection.api import ApiView

WAIT = OpenApiParameter(
    "wait",
    {"type": "integer", "minimum": 0, "maximum": waiting.MOST_S, "default": 0},
    description="Seconds to wait for the end. The answer comes as soon as it has ended, or after this time as it is.",
)


@dataclass(frozen=True)
class StoredFile:
    """What an answer is to be filled with."""

    storage_name: str
    content_type: str
    filename: str = ""
    as_download: bool = False


def _let_thread_go() -> None:
    """End the thread that asgiref keeps for a request until it is answered, and its connection with it.

    The next call into synchronous code makes a new one. (No thread of its own, as in tests: nothing to do.)
    """
    context = SyncToAsync.thread_sensitive_context.get(None)
    executor = SyncToAsync.context_to_thread_executor.pop(context, None) if context is not None else None
    if executor is not None:
        executor.submit(connections.close_all)
        executor.shutdown(wait=False)


class LaterView(ApiView):
    """A view whose GET may leave the thread and be answered from the event loop."""

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Callable[..., Any]:  # type: ignore[override]
        inner = super().as_view(**initkwargs)

        async def view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            answer = sync_to_async(inner, thread_sensitive=True)
            response = await answer(request, *args, **kwargs)
            later: Callable[[HttpRequest], Awaitable[HttpResponseBase | None]] | None
            later = getattr(response, "later", None)
            if later is None:
                return response
            return await later(request) or await answer(request, *args, **kwargs)

        view.__dict__.update(inner.__dict__)  # cls, initkwargs, csrf_exempt: what schema and middleware ask for
        markcoroutinefunction(view)
        return view

    def check_throttles(self, request: Request) -> None:
        if not getattr(request._request, "has_waited", False):  # counted when it came
            super().check_throttles(request)

    def wait_for(self, kind: str, identity: uuid.UUID, seconds: int) -> Response | None:
        """The answer that waits, unless this request has waited already or asks for no wait."""
        if not seconds or getattr(self.request._request, "has_waited", False):
            return None

        async def later(request: HttpRequest) -> None:
            _let_thread_go()
            await waiting.until_ended(kind, identity, seconds)
            request.has_waited = True  # type: ignore[attr-defined]

        response = Response()
        response.later = later  # type: ignore[attr-defined]
        return response

    def send(self, file: StoredFile) -> Response:
        """The answer that is filled with a stored file, in ranges."""

        async def later(request: HttpRequest) -> HttpResponseBase:
            return await ranges.respond(
                request,
                file.storage_name,
                content_type=file.content_type,
                filename=file.filename,
                as_download=file.as_download,
            )

        response = Response()
        response.later = later  # type: ignore[attr-defined]
        return response
