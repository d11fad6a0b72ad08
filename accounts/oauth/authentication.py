"""Access tokens at the API: `Authorization: Bearer <jwt>`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import jwt
from allauth.idp.oidc.models import Token
from django.utils import timezone
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from accounts.authentication import ServiceUser, bearer_text, scopes_of
from accounts.models import OAuthClient, OAuthGrant, User
from accounts.oauth import keys, services
from accounts.oauth.adapter import audience, issuer
from accounts.permissions import opens

REFUSED = (
    "This access token is unknown, expired or revoked, or what it was made for no longer exists. "
    "Ask the token endpoint for a new one."
)

NEITHER = (
    "This is neither a known API key nor a valid access token. API keys begin with dfk_ or test_; access tokens come "
    "from the token endpoint."
)


@dataclass(frozen=True)
class AccessToken:
    """What a request with a token may do: request.auth where an API key would be."""

    client: OAuthClient
    user: User | None
    scopes: frozenset[str]

    def has_scope(self, scope: str) -> bool:
        """A member's token never holds more than the member does now."""
        return opens(self.scopes, scope) and (self.user is None or scope in scopes_of(self.user))

    @property
    def caller_name(self) -> str:
        """The name under which requests are counted and idempotency keys are kept."""
        return f"client:{self.client.pk}" + (f":{self.user.pk}" if self.user else "")


class AccessTokenAuthentication(BaseAuthentication):
    """Comes after the API keys, which let every text pass that does not look like one of theirs."""

    def authenticate(self, request: Request) -> tuple[Any, AccessToken] | None:
        text = bearer_text(request.headers.get("Authorization", ""))
        if not text:
            return None
        token = find_access_token(text)
        if token is None:
            looks_like_one = text.count(".") == 2  # a JWT has three parts
            raise exceptions.AuthenticationFailed(REFUSED if looks_like_one else NEITHER)
        # audit.record names the program by it, also behind a member's token.
        request._request.oauth_client = token.client.audit_name  # type: ignore[attr-defined]
        return token.user or ServiceUser(token.client.organization, str(token.client.pk)), token

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="api"'


def find_access_token(text: str) -> AccessToken | None:
    """Return what this token allows: signature, issuer, audience and time first, then whether all of it still holds."""
    if not _is_signed(text):
        return None
    row = (
        Token.objects.by_value(text)
        .valid()
        .filter(type=Token.Type.ACCESS_TOKEN, client__registration__disabled_at=None)
        .select_related("client__registration__organization", "user__organization", "user__custom_role")
        .first()
    )
    if row is None or row.client is None:  # revoked, or its client was switched off
        return None
    registration: OAuthClient = row.client.registration
    registration.client = row.client
    user = row.user
    if user is not None and (not user.is_active or user.organization_id != registration.organization_id):
        return None
    services.note_use(registration)
    if user is not None:
        _note_use(row.hash)
    return AccessToken(registration, user, frozenset(row.get_scopes()))


def _is_signed(text: str) -> bool:
    try:
        key = keys.public_key(str(jwt.get_unverified_header(text).get("kid", "")))
        if key is None:
            return False
        claims = jwt.decode(
            text,
            key,
            algorithms=["RS256"],
            issuer=issuer(),
            audience=audience(),
            options={"require": ["exp", "iat", "iss", "aud", "sub", "client_id"]},
        )
    except (jwt.PyJWTError, ValueError):
        return False
    return claims.get("token_use") == "access"


def _note_use(token_hash: str) -> None:
    now = timezone.now()
    OAuthGrant.objects.filter(tokens__hash=token_hash, last_used_at__lt=now - timedelta(minutes=1)).update(
        last_used_at=now
    )
