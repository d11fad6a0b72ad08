"""Template tags of sign-in."""

from __future__ import annotations

from django import template
from django.http import HttpRequest

from accounts.sign_in_views import passkey_address as _passkey_address

register = template.Library()


@register.simple_tag
def passkey_address(request: HttpRequest) -> str:
    return _passkey_address(request)
