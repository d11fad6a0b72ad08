"""What allauth's OpenID Connect provider asks of us: keys, issuer, claims."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Any

from allauth.account.models import EmailAddress
from allauth.idp.oidc.adapter import DefaultOIDCAdapter
from allauth.idp.oidc.internal.private_keys import filter_keys
from django.conf import settings
from django.core.exceptions import ValidationError

from accounts.oauth import keys, scopes


def issuer() -> str:
    return str(settings.PUBLIC_URL)


def audience() -> str:
    """What an access token is for: this API."""
    return f"{settings.PUBLIC_URL}/v1"


class ProviderAdapter(DefaultOIDCAdapter):  # type: ignore[misc]
    scope_display = scopes.ALL

    def generate_client_id(self) -> str:
        return f"oac_{secrets.token_hex(12)}"

    def generate_client_secret(self) -> str:
        return f"ocs_{secrets.token_urlsafe(32)}"

    def get_issuer(self) -> str:
        # Not the host that the request names: an issuer is one name, whatever way the request came.
        return issuer()

    def list_private_keys(self, *, did_activate: Any = None, is_active: Any = None) -> list[Any]:
        return list(filter_keys(keys.all_keys(), did_activate=did_activate, is_active=is_active))

    def get_jwks_cache_control(self) -> int:
        return keys.JWKS_MAX_AGE_S

    def validate_resource_uris(self, *, uris: list[str], **kwargs: Any) -> None:
        if any(uri.rstrip("/") not in (audience(), issuer()) for uri in uris):
            raise ValidationError(f"Tokens are made for {audience()} only.")

    def populate_access_token(
        self, access_token: dict[str, Any], *, client: Any, scopes: Iterable[str], user: Any, **kwargs: Any
    ) -> None:
        access_token["aud"] = audience()
        if user is None:
            access_token["sub"] = client.id  # RFC 9068, section 2.2

    def get_claims(
        self, purpose: Any, user: Any, client: Any, scopes: Iterable[str], email: str | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        granted = set(scopes)
        claims: dict[str, Any] = super().get_claims(purpose, user, client, granted - {"email"}, **kwargs)
        if "email" in granted and user.email:
            # Verified means that the person proved it to us; an address that an administrator typed in is not.
            is_verified = EmailAddress.objects.filter(user=user, email__iexact=user.email, verified=True).exists()
            claims |= {"email": user.email, "email_verified": is_verified}
        if "profile" in granted:
            claims["groups"] = [user.role]
            claims["organization"] = user.organization.slug
        return claims
