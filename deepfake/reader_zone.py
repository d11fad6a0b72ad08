"""Dates in the zone of the person who reads the page."""

from __future__ import annotations

import functools
import zoneinfo
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import timezone

View = Callable[..., HttpResponse]


def in_readers_zone(view: View) -> View:
    """Show and read dates in the zone that the reader's browser told in a cookie; UTC before it did."""

    @functools.wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        name = request.COOKIES.get("timezone", "UTC")
        zone = zoneinfo.ZoneInfo(name) if name in _zone_names() else zoneinfo.ZoneInfo("UTC")
        with timezone.override(zone):
            return view(request, *args, **kwargs)

    return wrapped


@functools.cache
def _zone_names() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())
