"""Who is asking: API keys and signed-in members, and what each may do."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from accounts import audit, sign_in
from accounts.api_keys import PREFIXES, is_text_of, may_be_used_from
from accounts.models import ApiKey, Organization, User
from accounts.permissions import PERMISSION_SCOPES, Permission
from deepfake import rate_limits
from deepfake.errors import DomainError
from deepfake.rate_limits import Bucket

# Rows of the audit log about refused uses of a key.
REFUSALS_OF_ONE = Bucket("key-refused", size=1, per_second=1 / 3600)
REFUSALS = Bucket("key-refusals", size=20, per_second=20 / 3600)


def scopes_of(user: User) -> frozenset[str]:
    """What a signed-in member may do through the API."""
    return frozenset(scope for permission in user.permissions for scope in PERMISSION_SCOPES.get(permission, ()))


class ServiceUser:
    """A program, behind an API key or a token of its own, where views expect a user."""

    is_authenticated = True
    is_anonymous = False
    is_active = True
    is_staff = False
    is_superuser = False
    pk = None
    id = None

    def __init__(self, organization: Organization, username: str) -> None:
        self.organization = organization
        self.username = username

    def __str__(self) -> str:
        return self.username


def bearer_text(header: str) -> str:
    """The key or token of an Authorization header, "" where it has none that we take."""
    scheme, _, text = header.partition(" ")
    return text.strip() if scheme.lower() == "bearer" else ""


class ApiKeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer dfk_…` (or test_…); request.auth is then the ApiKey, request.user a ServiceUser.

    Another bearer text is none of ours: the next class may know it. A header without one is refused, an empty header
    too: whoever sends one does not mean the session beside it.
    """

    def authenticate(self, request: Request) -> tuple[ServiceUser, ApiKey] | None:
        header = request.headers.get("Authorization")
        if header is None:
            return None
        text = bearer_text(header)
        if not text:
            raise exceptions.AuthenticationFailed('Send the key as "Authorization: Bearer <api key>".')
        if not text.startswith(PREFIXES):
            return None
        key = find_api_key(text, ip_address=audit.client_ip(request._request))
        if key is None:
            raise exceptions.AuthenticationFailed("This API key is unknown, expired or revoked.")
        return ServiceUser(key.organization, key.prefix), key

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="api"'


class MemberSessionAuthentication(SessionAuthentication):
    """A signed-in member of an organisation, with CSRF protection.

    A member who has yet to set up a second factor is nobody here, whatever the middleware has let pass.
    """

    def authenticate(self, request: Request) -> tuple[Any, None] | None:
        found = super().authenticate(request)
        user = found[0] if found is not None else None
        if isinstance(user, User) and sign_in.needs_second_factor(user, sign_in.rules_of(user.organization_id)):
            raise sign_in.second_factor_required()
        return found


def find_api_key(text: str, *, ip_address: str | None = None) -> ApiKey | None:
    """Return the live key with this text. Raises DomainError 403 when it may not be used from this address."""
    parts = text.split("_", 2)
    if len(parts) != 3 or not text.isascii():
        return None
    key = ApiKey.objects.select_related("organization").filter(prefix=f"{parts[0]}_{parts[1]}").first()
    if key is None:
        return None
    if not is_text_of(key, text):
        _note_refusal(key, "secret", ip_address)
        return None
    if not key.is_active:
        _note_refusal(key, "revoked" if key.revoked_at else "expired", ip_address)
        return None
    if not may_be_used_from(key, ip_address):
        _note_refusal(key, "address", ip_address)
        raise DomainError(
            f"This API key may not be used from the address {ip_address or 'of this connection'}. Add it to the key's "
            "allowed addresses, or send the request from one of them.",
            "address_not_allowed",
            403,
        )
    _note_use(key, ip_address)
    return key


def _note_use(key: ApiKey, ip_address: str | None) -> None:
    # Once a minute is exact enough, and keeps a busy key from writing its row on every request.
    now = timezone.now()
    if key.last_used_at is None or now - key.last_used_at > timedelta(minutes=1):
        stale = Q(last_used_at=None) | Q(last_used_at__lt=now - timedelta(minutes=1))
        ApiKey.objects.filter(stale, pk=key.pk).update(last_used_at=now, last_used_ip=ip_address)


def _note_refusal(key: ApiKey, why: str, ip_address: str | None) -> None:
    """Audit a refused use: once an hour for a reason and address, and a few times an hour for a key whatever changes.

    A row for every refused request would let a stranger fill the log.
    """
    if not rate_limits.take([REFUSALS_OF_ONE.named(f"{key.pk}:{why}:{ip_address}")]).is_allowed:
        return
    if not rate_limits.take([REFUSALS.named(str(key.pk))]).is_allowed:
        return
    audit.record(
        action="api_key.refused",
        organization=key.organization,
        target=key,
        details={"prefix": key.prefix, "why": why},
        ip_address=ip_address,
    )


def may(request: Any, scope: str) -> bool:
    """Whether the caller holds `scope`, by its API key or by its role; superusers of no organisation hold none."""
    has_scope = getattr(getattr(request, "auth", None), "has_scope", None)  # of an ApiKey or an OAuth AccessToken
    if has_scope is not None:
        return bool(has_scope(scope))
    user = request.user
    return isinstance(user, User) and user.organization_id is not None and scope in scopes_of(user)


def HasScope(scope: str, permission: Permission | None = None) -> type[BasePermission]:
    """Return the permission class for `scope`; signed-in members must hold `permission` too, where one is named."""

    class _HasScope(BasePermission):
        required_scope = scope
        member_permission = permission
        message = f"This needs the scope {scope}, which your API key or your role does not have."

        def has_permission(self, request: Request, view: Any) -> bool:
            if permission is not None and isinstance(request.user, User) and not request.user.may(permission):
                return False
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


def world_of(request: Any) -> bool | None:
    """What a caller may see: True, the rows of sandbox keys alone; False, the others alone; None, both.

    A program's key or token lives in one of the two worlds; members look at both on the pages.
    """
    if (key := api_key_of(request)) is not None:
        return key.is_sandbox
    return None if getattr(request, "auth", None) is None else False


def member_of(request: Any) -> User | None:
    """The signed-in person, None behind an API key."""
    return request.user if isinstance(request.user, User) else None
