"""What the review pages, and the header of every page, show of cases."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import template
from django.utils.html import conditional_escape
from django.utils.safestring import SafeString, mark_safe

from review import listing, presentation, words
from review.marks import _MENTION
from review.models import Priority, ReviewCase

register = template.Library()

MAX_SHOWN = 99


@register.simple_tag
def open_cases(user: Any) -> str:
    """How many cases wait, for those who may judge them; `99+` when it is more than anybody wants to read."""
    if not getattr(user, "can_review", False) or user.organization_id is None:
        return ""
    waiting = ReviewCase.objects.filter(organization_id=user.organization_id).unfinished()
    count = listing.count_up_to(waiting, MAX_SHOWN)
    return f"{MAX_SHOWN}+" if count > MAX_SHOWN else str(count)


@register.filter
def due_words(due_at: datetime) -> str:
    return presentation.due_words(due_at)


@register.filter
def person_name(user: Any) -> str:
    return (user.get_full_name() or user.get_username()) if user is not None else "–"


@register.filter
def reason_words(code: str) -> str:
    return words.reason_words(code)


@register.filter
def priority_name(priority: int) -> str:
    return Priority(priority).label.lower()


@register.filter
def kappa(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}".replace("-", "−")


@register.filter
def span(seconds: float | None) -> str:
    """Seconds as `48 s` or `3:05 min`."""
    if seconds is None:
        return "–"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d} min"


@register.filter
def share(value: float | None) -> str:
    """A share in whole percent; unlike a probability it may be 0 or 100."""
    return "–" if value is None else f"{100 * value:.0f}\N{NO-BREAK SPACE}%"


@register.filter
def with_mentions(text: str) -> SafeString:
    """A note with the names in it set apart; everything else is escaped."""
    marked = _MENTION.sub(r"<strong>@\1</strong>", str(conditional_escape(text)))
    return mark_safe(marked.replace("\n", "<br>"))  # noqa: S308 -- escaped first
