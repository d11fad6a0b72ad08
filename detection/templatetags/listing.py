"""What rows of the list say beyond a single analysis."""

from __future__ import annotations

from typing import Any

from django import template

from accounts.models import User
from detection.models import Job
from detection.templatetags.analysis import LABEL_ICONS

register = template.Library()


@register.filter
def times_seen(job: Job, same: dict[Any, int]) -> int:
    """How many items of the organisation are the same as this one, itself among them; 0 when it is the only one."""
    return same.get(job.media.look, 0) if job.media.look is not None else 0


@register.filter
def label_icon(label: str) -> str:
    return LABEL_ICONS[label]  # type: ignore[index]


@register.filter
def person_name(user: User) -> str:
    return user.get_full_name() or user.get_username()
