"""What the review pages, and the header of every page, show of cases."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import template
from django.db.models import Count, Subquery
from django.utils.html import conditional_escape
from django.utils.safestring import SafeString, mark_safe

from accounts.models import User
from detection import words as detection_words
from review import presentation, words
from review.marks import MENTION, named
from review.models import Mention, Priority, ReviewCase

register = template.Library()

MAX_SHOWN = 99


@dataclass(frozen=True)
class Waiting:
    cases: str = ""  # `99+` when there are more than anybody wants to read
    mentions: int = 0


@register.simple_tag
def waiting_for(user: Any) -> Waiting:
    """What waits for somebody: cases, where they judge them, and mentions that they have not looked at. One query."""
    if user.organization_id is None:
        return Waiting()
    open_cases = ReviewCase.objects.visible_to(user).unfinished().order_by()
    if not user.can_review:
        open_cases = open_cases.none()
    some = ReviewCase.objects.filter(pk__in=open_cases.values("pk")[: MAX_SHOWN + 1]).order_by()
    unseen = Mention.objects.unseen_by(user).order_by()
    counts = User.objects.filter(pk=user.pk).values_list(
        Subquery(some.values("organization").annotate(n=Count("pk")).values("n")),
        Subquery(unseen.values("user").annotate(n=Count("pk")).values("n")),
    )
    cases, mentions = counts.get()
    return Waiting(f"{MAX_SHOWN}+" if (cases or 0) > MAX_SHOWN else str(cases or ""), mentions or 0)


@register.filter
def due_words(due_at: datetime) -> str:
    return presentation.due_words(due_at)


@register.filter
def person_name(user: Any) -> str:
    return (user.get_full_name() or user.get_username()) if user is not None else "–"


@register.filter
def reason_words(code: str, kind: str) -> str:
    return words.reason_words(code, kind)


@register.filter
def subject_in(sentence: str, kind: str) -> str:
    return detection_words.subject_in(sentence, kind)


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
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d} min"


@register.filter
def share(value: float | None) -> str:
    """A share in whole percent; unlike a probability it may be 0 or 100."""
    return "–" if value is None else f"{100 * value:.0f}\N{NO-BREAK SPACE}%"


@register.filter
def with_mentions(text: str, names: frozenset[str]) -> SafeString:
    """A note with the members' names in it set apart; everything else is escaped."""

    def mark(found: re.Match[str]) -> str:
        return f"<strong>{found[0]}</strong>" if named(found[1]) in names else found[0]

    marked = MENTION.sub(mark, str(conditional_escape(text)))
    return mark_safe(marked.replace("\n", "<br>"))  # nosec B308 B703 # noqa: S308 -- escaped first
