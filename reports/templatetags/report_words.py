"""How moments and measured figures look on a printed report."""

from __future__ import annotations

from django import template
from django.template.defaultfilters import stringfilter

from reports.moments import printed

register = template.Library()
register.filter("utc", printed)


@register.filter
def of_hundred(value: float | None) -> str:
    """A measured share with one decimal: of figures, not of verdicts, so 0 and 100 are allowed."""
    return "–" if value is None else f"{100 * value:.1f}\N{NO-BREAK SPACE}%"


@register.filter
def pairs_in_100(value: float | None) -> str:
    """An AUROC as what it means: of 100 pairs of a fake and a genuine item, how many are put in the right order."""
    return "–" if value is None else f"{round(100 * value)} of 100 pairs"


@register.filter
@stringfilter
def groups_of_four(text: str) -> str:
    return " ".join(text[start : start + 4] for start in range(0, len(text), 4))


@register.filter
def to_a_tenth(p: float) -> str:
    """A probability as precise as any report prints it, within 1 and 99 per cent as there."""
    return f"{min(max(100 * p, 1), 99):.1f}\N{NO-BREAK SPACE}%"
