"""Dates in the zone of the person who reads the page."""

from __future__ import annotations

import functools
import zoneinfo
from collections.abc import Callable
from datetime import date, datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

View = Callable[..., HttpResponse]


# At the edges of the calendar a day has no day after it, and no moment in another zone. Nothing lies out there.
FIRST_DAY, LAST_DAY = date(1970, 1, 1), date(9000, 12, 31)


def is_within_reason(moment: date | datetime) -> bool:
    """Whether it can be shown, compared and counted from in every zone."""
    return FIRST_DAY.year <= moment.year <= LAST_DAY.year


class _WithinReason(forms.Field):
    def clean(self, value: Any) -> Any:
        found = super().clean(value)
        if found is not None and not is_within_reason(found):
            raise ValidationError(self.error_messages["invalid"], "invalid")
        return found


class DayField(_WithinReason, forms.DateField):
    """A day that can be counted from."""


class MomentField(_WithinReason, forms.DateTimeField):
    """A moment that can be counted from."""


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
