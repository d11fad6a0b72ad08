"""Who is asking: API keys and signed-in members, and what each may do."""

from __future__ import annotations

import hmac
from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from accounts.models import ApiKey, Organization, Role, User
from accounts.services import hash_key
from deepfake.errors import DomainError

ROLE_SCOPES: dict[str, frozenset[str]] = {
    Role.VIEWER: frozenset({"detect:read"}),
    Role.DATA_SCIENTIST: frozenset({"detect:read"}),
    Role.ANALYST: frozenset({"detect:read", "detect:write"}),
    Role.REVIEWER: frozenset({"detect:read", "detect:write", "review:read", "review:write"}),
    Role.ADMIN: frozenset({"detect:read", "detect:write", "review:read", "review:write", "admin:read", "admin:write"}),
}


class ServiceUser:
    """The program behind an API key, where views expect a user."""

    is_authenticated = True
    is_anonymous = False
    is_active = True
    is_staff = False
    is_superuser = False
    pk = None
    id = None

    def __init__(self, api_key: ApiKey) -> None:
        self.api_key = api_key
        self.organization = api_key.organization
        self.username = api_key.prefix

    def __str__(self) -> str:
        return self.username


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer dfk_…`; request.auth is then the ApiKey, request.user a ServiceUser."""

    def authenticate(self, request: Request) -> tuple[ServiceUser, ApiKey] | None:
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        if not scheme:
            return None
        if scheme.lower() != "bearer":
            raise exceptions.AuthenticationFailed('Send the key as "Authorization: Bearer <api key>".')
        key = find_api_key(text.strip())
        if key is None:
            raise exceptions.AuthenticationFailed("This API key is unknown, expired or revoked.")
        return ServiceUser(key), key

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="api"'


class MemberSessionAuthentication(SessionAuthentication):
    """A signed-in member of an organisation, with CSRF protection."""


def find_api_key(text: str) -> ApiKey | None:
    """Return the live key with this text."""
    parts = text.split("_", 2)
    if len(parts) != 3 or not text.isascii():
        return None
    key = ApiKey.objects.select_related("organization").filter(prefix=f"{parts[0]}_{parts[1]}").first()
    if key is None or not hmac.compare_digest(key.secret_hash, hash_key(text)) or not key.is_active:
        return None
    _note_use(key)
    return key


def _note_use(key: ApiKey) -> None:
    # Once a minute is exact enough, and keeps a busy key from writing its row on every request.
    now = timezone.now()
    if key.last_used_at is None or now - key.last_used_at > timedelta(minutes=1):
        stale = Q(last_used_at=None) | Q(last_used_at__lt=now - timedelta(minutes=1))
        ApiKey.objects.filter(stale, pk=key.pk).update(last_used_at=now)


def may(request: Any, scope: str) -> bool:
    """Whether the caller holds `scope`, by its API key or by its role; superusers of no organisation hold none."""
    api_key = getattr(request, "auth", None)
    if isinstance(api_key, ApiKey):
        return api_key.has_scope(scope)
    user = request.user
    return isinstance(user, User) and user.organization_id is not None and scope in ROLE_SCOPES[user.role]


def HasScope(scope: str) -> type[BasePermission]:
    """Return the permission class for `scope`."""

    class _HasScope(BasePermission):
        message = f"This needs the scope {scope}, which your API key or your role does not have."

        def has_permission(self, request: Request, view: Any) -> bool:
            return may(request, scope)

    _HasScope.__name__ = f"HasScope_{scope.replace(':', '_')}"
    return _HasScope


def organization_of(request: Any) -> Organization:
    """The organisation in whose name the caller acts; everything it sees is scoped to it."""
    organization: Organization | None = getattr(request.user, "organization", None)
    if organization is None:
        raise DomainError(
            "Your account belongs to no organisation yet. Ask your administrator to add it to one.",
            "no_organization",
            status=403,
        )
    return organization


def api_key_of(request: Any) -> ApiKey | None:
    auth = getattr(request, "auth", None)
    return auth if isinstance(auth, ApiKey) else None


def member_of(request: Any) -> User | None:
    """The signed-in person, None behind an API key."""
    return request.user if isinstance(request.user, User) else None
