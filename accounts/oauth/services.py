"""Actions on OAuth clients and on what members granted them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from datetime import timedelta
from urllib.parse import urlsplit

from allauth.idp.oidc.adapter import get_adapter
from allauth.idp.oidc.models import Client, Token
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts import audit
from accounts.api_keys import check_may_give
from accounts.authentication import scopes_of
from accounts.models import ClientKind, GrantEnd, OAuthClient, OAuthGrant, Organization, User
from accounts.oauth import scopes as known_scopes
from deepfake.errors import DomainError

MAX_REDIRECT_URIS = 20
MAX_OVERLAP_HOURS = 7 * 24
# Of a redirect address, what may later stand in a Content-Security-Policy header.
_HOST = re.compile(r"[a-z0-9.-]+|\[[0-9a-f:]+\]")
_SCHEME = re.compile(r"[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+")  # of an app: a reversed domain name (RFC 8252, 7.1)


def create_client(
    *,
    organization: Organization,
    name: str,
    kind: str,
    redirect_uris: Iterable[str],
    scopes: Iterable[str],
    actor: User,
) -> tuple[OAuthClient, str]:
    """Return the client and its secret, which is shown this once; a client that keeps no secret has "" instead.

    As with API keys, nobody gives a program a scope that they do not hold themselves. Raises DomainError.
    """
    if not name.strip():
        raise DomainError("Give the program a name.", "invalid", fields={"name": ["Give the program a name."]})
    wanted = _check_scopes(scopes, kind)
    _check_may_give(wanted, actor)
    uris = _check_redirect_uris(redirect_uris, kind)
    is_service = kind == ClientKind.SERVICE
    client = Client(
        name=name.strip(),
        secret="!",  # nosec B106 # noqa: S106 -- unusable: the secret's hash lies in our own row
        type=Client.Type.PUBLIC if kind == ClientKind.NATIVE else Client.Type.CONFIDENTIAL,
    )
    client.set_grant_types(["client_credentials"] if is_service else ["authorization_code", "refresh_token"])
    client.set_response_types([] if is_service else ["code"])
    client.set_redirect_uris(uris)
    client.set_scopes(wanted)
    client.set_default_scopes(wanted)
    secret = "" if kind == ClientKind.NATIVE else get_adapter().generate_client_secret()
    with transaction.atomic():
        client.save(force_insert=True)
        registration = OAuthClient.objects.create(
            client=client,
            organization=organization,
            kind=kind,
            secret_hash=_hash(secret) if secret else "",
            created_by=actor,
        )
        audit.record(
            action="oauth_client.created",
            organization=organization,
            actor=actor,
            target=registration,
            details={"name": client.name, "kind": kind, "scopes": wanted, "redirect_uris": uris},
        )
    return registration, secret


def change_client(
    *, registration: OAuthClient, name: str, redirect_uris: Iterable[str], scopes: Iterable[str], actor: User
) -> None:
    """Change what a client may ask for from now on; tokens that are out keep what they were given.

    A new redirect address gets the codes of members, and so all scopes of the client. Raises DomainError.
    """
    wanted = _check_scopes(scopes, registration.kind)
    uris = _check_redirect_uris(redirect_uris, registration.kind)
    client = registration.client
    is_elsewhere = not set(uris) <= set(client.get_redirect_uris())
    _check_may_give(wanted if is_elsewhere else set(wanted) - set(client.get_scopes()), actor)
    client.name = name.strip() or client.name
    client.set_redirect_uris(uris)
    client.set_scopes(wanted)
    client.set_default_scopes(wanted)
    with transaction.atomic():
        client.save(update_fields=["name", "redirect_uris", "scopes", "default_scopes"])
        audit.record(
            action="oauth_client.changed",
            organization=registration.organization,
            actor=actor,
            target=registration,
            details={"name": client.name, "scopes": wanted, "redirect_uris": uris},
        )


def rotate_secret(*, registration: OAuthClient, overlap_hours: int, actor: User) -> str:
    """Return a new secret; the old one holds for `overlap_hours` more. It opens what the client's scopes open.

    Raises DomainError.
    """
    if not registration.has_secret:
        raise DomainError("This kind of program has no secret.", "no_secret", status=409)
    _check_may_give(registration.client.get_scopes(), actor)
    if not 0 <= overlap_hours <= MAX_OVERLAP_HOURS:
        raise DomainError(f"The old secret can hold for 0 to {MAX_OVERLAP_HOURS} hours more.", "invalid")
    secret: str = get_adapter().generate_client_secret()
    with transaction.atomic():
        row = OAuthClient.objects.select_for_update().get(pk=registration.pk)
        if not row.is_active:
            raise DomainError("This program is switched off. Switch it on first.", "client_disabled", status=409)
        row.previous_secret_hash = row.secret_hash if overlap_hours else ""
        row.previous_secret_until = timezone.now() + timedelta(hours=overlap_hours) if overlap_hours else None
        row.secret_hash = _hash(secret)
        row.save(update_fields=["previous_secret_hash", "previous_secret_until", "secret_hash"])
        audit.record(
            action="oauth_client.secret_rotated",
            organization=row.organization,
            actor=actor,
            target=row,
            details={"overlap_hours": overlap_hours},
        )
    return secret


def disable_client(*, registration: OAuthClient, actor: User) -> None:
    """Switch a client off: its tokens and grants end at once, and it gets no new ones."""
    with transaction.atomic():
        changed = OAuthClient.objects.filter(pk=registration.pk, disabled_at=None).update(disabled_at=timezone.now())
        if not changed:
            return
        OAuthGrant.objects.filter(client=registration, revoked_at=None).update(
            revoked_at=timezone.now(), revoked_because=GrantEnd.DISABLED
        )
        Token.objects.filter(client_id=registration.pk).delete()
        audit.record(
            action="oauth_client.disabled", organization=registration.organization, actor=actor, target=registration
        )


def enable_client(*, registration: OAuthClient, actor: User) -> None:
    """Switch a client on again, which gives it its scopes anew. Raises DomainError."""
    _check_may_give(registration.client.get_scopes(), actor)
    with transaction.atomic():
        changed = OAuthClient.objects.filter(pk=registration.pk).exclude(disabled_at=None).update(disabled_at=None)
        if changed:
            audit.record(
                action="oauth_client.enabled", organization=registration.organization, actor=actor, target=registration
            )


def begin_grant(*, client: OAuthClient, user: User, scopes: list[str], code_hash: str) -> OAuthGrant:
    grant = OAuthGrant.objects.create(client=client, user=user, scopes=scopes, code_hash=code_hash)
    audit.record(
        action="oauth_grant.made",
        organization=client.organization,
        actor=user,
        target=grant,
        details={"client": client.pk, "scopes": scopes},
    )
    return grant


def end_grant(*, grant: OAuthGrant, because: str, actor: User | None = None) -> None:
    """Revoke a grant with every token that descends from it; one that is revoked already stays as it was."""
    with transaction.atomic():
        changed = OAuthGrant.objects.filter(pk=grant.pk, revoked_at=None).update(
            revoked_at=timezone.now(), revoked_because=because
        )
        Token.objects.filter(hash__in=grant.tokens.values("hash")).delete()
        if changed:
            audit.record(
                action="oauth_grant.revoked",
                organization=grant.client.organization,
                actor=actor,
                target=grant,
                details={"client": grant.client_id, "because": str(because), "member": grant.user_id},
            )


def note_use(registration: OAuthClient) -> None:
    # Once a minute is exact enough, as with API keys.
    now = timezone.now()
    stale = Q(last_used_at=None) | Q(last_used_at__lt=now - timedelta(minutes=1))
    OAuthClient.objects.filter(stale, pk=registration.pk).update(last_used_at=now)


def clear_expired() -> None:
    """Forget tokens that have expired, and what was remembered to notice their second use."""
    Token.objects.expired().delete()
    live = Token.objects.valid().values("hash")
    grants = OAuthGrant.objects.exclude(tokens__hash__in=live)
    month_ago = timezone.now() - timedelta(days=31)
    grants.filter(last_used_at__lt=month_ago).delete()


def _check_may_give(scopes: Iterable[str], actor: User) -> None:
    held = scopes_of(actor)
    api = sorted(scope for scope in scopes if scope not in known_scopes.IDENTITY)
    check_may_give(api, lambda scope: scope in held, to="a program")


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _check_scopes(scopes: Iterable[str], kind: str) -> list[str]:
    if kind not in ClientKind.values:
        raise DomainError("Choose what kind of program it is.", "invalid", fields={"kind": ["Choose one."]})
    identity = {} if kind == ClientKind.SERVICE else known_scopes.IDENTITY
    allowed = [*identity, *known_scopes.API, *known_scopes.OLDER]
    wanted = [scope for scope in allowed if scope in set(scopes)]
    unknown = set(scopes) - set(allowed)
    if unknown or not wanted:
        sentence = (
            f"This kind of program cannot have {', '.join(sorted(unknown))}." if unknown else "Choose at least one."
        )
        raise DomainError(sentence, "invalid_scope", fields={"scopes": [sentence]})
    return wanted


def _check_redirect_uris(uris: Iterable[str], kind: str) -> list[str]:
    wanted = list(dict.fromkeys(uri.strip() for uri in uris if uri.strip()))
    if kind == ClientKind.SERVICE:
        if wanted:
            raise _wrong_uri("A service has no redirect address: nobody signs in with it.")
        return []
    if not wanted:
        raise _wrong_uri("Give at least one address to which members are sent back.")
    if len(wanted) > MAX_REDIRECT_URIS:
        raise _wrong_uri(f"At most {MAX_REDIRECT_URIS} addresses.")
    for uri in wanted:
        _check_redirect_uri(uri, kind)
    return wanted


def _check_redirect_uri(uri: str, kind: str) -> None:
    try:
        parts = urlsplit(uri)
        host, _ = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise _wrong_uri(f"{uri} is not a valid address.") from None
    if not uri.isascii() or any(character in uri for character in " *\\;,\"'<>") or len(uri) > 500:
        raise _wrong_uri(f"{uri} holds a character that a redirect address may not have.")
    if parts.fragment or uri.endswith("#") or "@" in parts.netloc:
        raise _wrong_uri(f"{uri}: no fragment, user name or password.")
    if parts.scheme == "https" and _HOST.fullmatch(parts.netloc.rpartition(":")[0] if parts.port else parts.netloc):
        return
    if parts.scheme == "http" and host in ("localhost", "127.0.0.1", "::1"):
        return
    if kind == ClientKind.NATIVE and _SCHEME.fullmatch(parts.scheme) and not parts.netloc:
        return
    also = ", or an app's own scheme such as com.example.app:/callback" if kind == ClientKind.NATIVE else ""
    raise _wrong_uri(f"{uri}: use https://…, http:// on localhost or 127.0.0.1{also}.")


def _wrong_uri(sentence: str) -> DomainError:
    return DomainError(sentence, "invalid_redirect_uri", fields={"redirect_uris": [sentence]})
