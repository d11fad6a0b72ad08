"""The side navigation of the settings."""

from __future__ import annotations

from typing import Any

from django import template

from accounts.settings_nav import groups_for

register = template.Library()


@register.inclusion_tag("components/settings_nav.html", takes_context=True)
def settings_nav(context: dict[str, Any]) -> dict[str, Any]:
    request = context["request"]
    match = request.resolver_match
    return {"groups": groups_for(request.user), "here": match.view_name if match else "", "path": request.path}
