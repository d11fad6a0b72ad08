"""Who is signed in, with the role at hand: what a member may do costs no query of its own."""

from __future__ import annotations

from typing import Any

from allauth.account.auth_backends import AuthenticationBackend
from django.http import HttpRequest

from accounts.models import User


class MemberBackend(AuthenticationBackend):  # type: ignore[misc]  # allauth has no types
    """As allauth's, with one hash for every attempt: allauth tries the same member by e-mail and by name, and the time
    that it took would tell who has an account."""

    def authenticate(self, request: HttpRequest | None, **credentials: Any) -> User | None:
        self._checked: dict[int, User | None] = {}
        found: User | None = super().authenticate(request, **credentials)
        return found

    def _check_password(self, user: User | None, password: str) -> User | None:
        if user is None:
            return None
        if user.pk not in self._checked:
            self._checked[user.pk] = super()._check_password(user, password)
        return self._checked[user.pk]

    def get_user(self, user_id: Any) -> User | None:
        user = User.objects.select_related("custom_role").filter(pk=user_id).first()
        return user if user is not None and self.user_can_authenticate(user) else None

    async def aget_user(self, user_id: Any) -> User | None:
        user = await User.objects.select_related("custom_role").filter(pk=user_id).afirst()
        return user if user is not None and self.user_can_authenticate(user) else None
