"""What allauth's provider leaves open: PKCE for everybody, families of refresh tokens, clients that belong to someone.

allauth has no setting for its validator, so `install` exchanges the class that its server is made with; a test fails
when an update of allauth no longer takes it from there.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from datetime import timedelta
from typing import Any

from allauth.core import context
from allauth.core.internal import httpkit
from allauth.idp.oidc.adapter import get_adapter
from allauth.idp.oidc.internal.oauthlib import server
from allauth.idp.oidc.internal.oauthlib.request_validator import OAuthLibRequestValidator
from allauth.idp.oidc.internal.oauthlib.utils import get_validator_context
from allauth.idp.oidc.models import Client, Token
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from oauthlib.oauth2.rfc6749.errors import AccessDeniedError, InvalidGrantError, InvalidRequestError, InvalidScopeError

from accounts.models import ClientKind, GrantEnd, GrantToken, OAuthClient, OAuthGrant
from accounts.oauth import services

LOOPBACK = re.compile(r"(http://(?:127\.0\.0\.1|\[::1\]))(?::([0-9]{1,5}))?((?:[/?#].*)?)")


def install() -> None:
    server.OAuthLibRequestValidator = Validator


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Validator(OAuthLibRequestValidator):  # type: ignore[misc]
    # Clients ----------------------------------------------------------------------------------------------------------

    def _lookup_client(self, request: Any, client_id: str) -> Client | None:
        """A client that was switched off is no client."""
        known = get_validator_context().clients
        if client_id not in known:
            found = Client.objects.select_related("registration__organization").filter(
                id=client_id, registration__disabled_at=None
            )
            known[client_id] = found.first() if isinstance(client_id, str) else None
        return known[client_id]

    def authenticate_client(self, request: Any, *args: Any, **kwargs: Any) -> bool:
        client_id, secret = httpkit.extract_basic_auth(request.headers)
        if not client_id:
            client_id, secret = request.client_id, request.client_secret
        client = self._lookup_client(request, client_id) if client_id and secret else None
        if client is None or not is_secret_of(client.registration, str(secret)):
            return False
        self._use_client(request, client)
        services.note_use(client.registration)
        return True

    def validate_redirect_uri(self, client_id: str, redirect_uri: str, request: Any, *args: Any, **kwargs: Any) -> bool:
        """Letter by letter; only an app on a device may choose its port on the loopback address (RFC 8252, 7.3)."""
        registered = request.client.get_redirect_uris()
        if redirect_uri in registered:
            return True
        if request.client.registration.kind != ClientKind.NATIVE:
            return False
        given = _without_port(redirect_uri)
        return given is not None and given in [_without_port(one) for one in registered]

    def validate_grant_type(
        self, client_id: str, grant_type: str, client: Any, request: Any, *args: Any, **kw: Any
    ) -> bool:
        if grant_type == "client_credentials":
            request.user = None  # a parameter called "user" would otherwise stand here
        return bool(super().validate_grant_type(client_id, grant_type, client, request))

    def validate_scopes(
        self, client_id: str, scopes: list[str], client: Any, request: Any, *args: Any, **kwargs: Any
    ) -> bool:
        _check_claims(request)
        allowed = request.client.get_scopes()
        if wrong := [scope for scope in scopes if scope not in allowed]:
            sentence = f"This program may not ask for {' '.join(wrong)[:200]}. It may ask for {' '.join(allowed)}."
            raise InvalidScopeError(description=_plain(sentence), request=request)
        return True

    # PKCE -------------------------------------------------------------------------------------------------------------

    def is_pkce_required(self, client_id: str, request: Any) -> bool:
        if getattr(request, "code_challenge", None) and request.code_challenge_method != "S256":
            raise InvalidRequestError(description="code_challenge_method must be S256.", request=request)
        return True

    def save_authorization_code(self, client_id: str, code: Any, request: Any, *args: Any, **kwargs: Any) -> None:
        if not request.code_challenge or request.code_challenge_method != "S256":
            raise InvalidRequestError(description="A code_challenge with the method S256 is needed.", request=request)
        if not _same_organization(request.user, request.client.registration):
            raise AccessDeniedError(description="This program belongs to another organisation.", request=request)
        super().save_authorization_code(client_id, code, request, *args, **kwargs)

    def validate_silent_login(self, request: Any) -> bool:
        return bool(super().validate_silent_login(request)) and _same_organization(
            request.user, request.client.registration
        )

    def validate_user_match(self, id_token_hint: str, scopes: Any, claims: Any, request: Any) -> bool:
        """Whoever has not signed in yet is asked to first. allauth takes claims of any kind for another member's."""
        user = context.request.user
        if not user.is_authenticated:
            return True
        own = get_adapter().get_user_sub(request.client, user)
        if any(wanted != own for wanted in _subjects_in(claims)):
            return False
        return bool(super().validate_user_match(id_token_hint, scopes, None, request))

    def validate_silent_authorization(self, request: Any) -> bool:
        """Without a page: only what the member granted this very program and did not take back."""
        grants = OAuthGrant.objects.filter(
            user=context.request.user, client_id=request.client.id, revoked_at=None
        ).values_list("scopes", flat=True)
        return any(set(request.scopes) <= set(granted) for granted in grants)

    # Families of tokens -----------------------------------------------------------------------------------------------

    def validate_code(self, client_id: str, code: str, client: Any, request: Any, *args: Any, **kwargs: Any) -> bool:
        used = OAuthGrant.objects.select_for_update().filter(code_hash=sha256(code)).first()
        if used is not None:
            services.end_grant(grant=used, because=GrantEnd.CODE_REUSED)
            return False
        return super().validate_code(client_id, code, client, request) and _same_organization(
            request.user, client.registration
        )

    def validate_refresh_token(self, refresh_token: str, client: Any, request: Any, *args: Any, **kwargs: Any) -> bool:
        known = (
            GrantToken.objects.select_for_update(of=("self",))
            .select_related("grant__client__client", "grant__client__organization", "grant__user")
            .filter(hash=sha256(refresh_token), is_refresh=True, grant__client_id=client.id)
            .first()
        )
        if known is None or known.grant.revoked_at is not None:
            return False
        if known.spent_at is not None:
            # Either the program or a thief holds the newer token; nobody can tell which, so neither goes on.
            services.end_grant(grant=known.grant, because=GrantEnd.REFRESH_REUSED)
            return False
        if timezone.now() - known.grant.created_at >= timedelta(days=settings.OAUTH_GRANT_DAYS):
            services.end_grant(grant=known.grant, because=GrantEnd.EXPIRED)
            return False
        if not super().validate_refresh_token(refresh_token, client, request):
            return False
        if not _same_organization(request.user, client.registration):
            return False
        get_validator_context().spent_token = known  # not on `request`: what a caller sends shows up there
        return True

    def save_bearer_token(self, token: dict[str, Any], request: Any, *args: Any, **kwargs: Any) -> None:
        super().save_bearer_token(token, request, *args, **kwargs)
        if request.user is None:  # a service acts for itself
            return
        spent: GrantToken | None = getattr(get_validator_context(), "spent_token", None)
        if spent is None:
            grant = self._begin_grant(request)
        else:
            grant = spent.grant
            GrantToken.objects.filter(pk=spent.pk).update(spent_at=timezone.now())
            OAuthGrant.objects.filter(pk=grant.pk).update(last_used_at=timezone.now())
        rows = [GrantToken(hash=sha256(token["access_token"]), grant=grant, is_refresh=False)]
        if token.get("refresh_token"):
            value = sha256(token["refresh_token"])
            rows.append(GrantToken(hash=value, grant=grant, is_refresh=True))
            # A narrower access token does not narrow what the family was granted (RFC 6749, section 6).
            Token.objects.filter(type=Token.Type.REFRESH_TOKEN, hash=value).update(scopes="\n".join(grant.scopes))
        GrantToken.objects.bulk_create(rows)

    def _begin_grant(self, request: Any) -> OAuthGrant:
        try:
            with transaction.atomic():
                return services.begin_grant(
                    client=request.client.registration,
                    user=request.user,
                    scopes=list(request.scopes),
                    code_hash=sha256(request.code),
                )
        except IntegrityError:  # the same code, twice at once
            raise InvalidGrantError(request=request) from None

    def revoke_token(self, token: str, token_type_hint: str, request: Any, *args: Any, **kwargs: Any) -> None:
        """Only the program's own tokens; a refresh token takes its whole family along."""
        value = sha256(token)
        Token.objects.filter(client_id=request.client.id, hash=value).delete()
        known = GrantToken.objects.filter(hash=value, is_refresh=True, grant__client_id=request.client.id).first()
        if known is not None:
            services.end_grant(grant=known.grant, because=GrantEnd.CLIENT)

    def validate_bearer_token(self, token: str, scopes: Any, request: Any) -> bool:
        if not super().validate_bearer_token(token, scopes, request):
            return False
        registration = OAuthClient.objects.filter(pk=request.client.id, disabled_at=None).first()
        return registration is not None and (request.user is None or _same_organization(request.user, registration))


def is_secret_of(registration: OAuthClient, secret: str) -> bool:
    given = sha256(secret)
    if registration.secret_hash and hmac.compare_digest(given, registration.secret_hash):
        return True
    until = registration.previous_secret_until
    return (
        until is not None and until > timezone.now() and hmac.compare_digest(given, registration.previous_secret_hash)
    )


def _without_port(uri: str) -> str | None:
    """An address on the loopback interface as it is but for its port; None when it is none."""
    found = LOOPBACK.fullmatch(uri)
    if found is None or not 1 <= int(found[2] or 80) <= 65_535:
        return None
    return found[1] + found[3]


def _check_claims(request: Any) -> None:
    """oauthlib reads them later, when it no longer knows where to send its refusal. Raises InvalidRequestError."""
    try:
        claims = json.loads(request.claims) if isinstance(request.claims, str) and request.claims else {}
    except (ValueError, RecursionError):
        claims = None
    if not isinstance(claims, dict):
        raise InvalidRequestError(description="The parameter claims must be a JSON object.", request=request)


def _subjects_in(claims: Any) -> list[Any]:
    """Whose sign-in is asked for (OpenID Connect Core, 5.5.1), of checked claims."""
    parts = [claims.get(name) for name in ("id_token", "userinfo")] if isinstance(claims, dict) else []
    subjects = [part.get("sub") for part in parts if isinstance(part, dict)]
    return [subject["value"] for subject in subjects if isinstance(subject, dict) and "value" in subject]


def _plain(text: str) -> str:
    """What an error_description may hold (RFC 6749, 5.2): printable ASCII without quotes and backslashes."""
    return "".join(character for character in text if " " <= character <= "~" and character not in '"\\')


def _same_organization(user: Any, registration: OAuthClient) -> bool:
    return bool(user and user.is_active and user.organization_id == registration.organization_id)
