"""What browsers are told with every answer, whoever gives it: a view, a static file, or the server before Django.

settings.BROWSER_MIDDLEWARE is the one list. It stands in MIDDLEWARE above whatever answers by itself.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.module_loading import import_string


def tell(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """The answer with the headers that the middleware would have added on its way out."""
    for one in _middleware(tuple(settings.BROWSER_MIDDLEWARE)):
        response = one.process_response(request, response)
    return response


@cache
def _middleware(paths: tuple[str, ...]) -> list[Any]:
    return [import_string(path)(lambda request: HttpResponse()) for path in reversed(paths)]
