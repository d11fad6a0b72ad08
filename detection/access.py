"""Who may change something on the pages of this app."""

from __future__ import annotations

from django.http import HttpRequest

from accounts.models import User
from deepfake.errors import DomainError


def writer(request: HttpRequest, sentence: str = "submit or change analyses") -> User:
    """The signed-in member, when the role lets them change things. Raises DomainError."""
    member = request.user
    if not isinstance(member, User) or not member.can_submit:
        role = member.get_role_display().lower() if isinstance(member, User) else "visitor"
        raise DomainError(
            f"Your role ({role}) lets you look at analyses, but not {sentence}. Ask an administrator of your "
            "organisation for the analyst role.",
            "role_insufficient",
            status=403,
        )
    return member
