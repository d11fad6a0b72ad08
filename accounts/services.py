"""Actions on organisations, members and API keys."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from datetime import datetime

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.text import slugify

from accounts import audit
from accounts.models import ApiKey, Organization, Role, User
from deepfake import storage
from deepfake.errors import DomainError

SCOPE_FAMILIES = ("detect", "kyc", "documents", "review", "admin")
SCOPE_ACTIONS = ("read", "write", "*")


def create_organization(*, name: str, slug: str = "") -> Organization:
    slug = slug or slugify(name)
    if not slug:
        raise DomainError("An organisation needs a name with letters or digits in it.", "invalid_name")
    if Organization.objects.filter(slug=slug).exists():
        raise DomainError(f"There is already an organisation called {slug}.", "organization_exists", 409)
    with transaction.atomic():
        organization = Organization.objects.create(name=name, slug=slug)
        audit.record(action="organization.created", organization=organization, target=organization)
    return organization


def create_user(
    *,
    organization: Organization,
    username: str,
    password: str,
    role: Role = Role.VIEWER,
    email: str = "",
    actor: User | None = None,
) -> User:
    """Make a member. An administrator of the organisation is no administrator of the installation."""
    if User.objects.filter(username__iexact=username).exists():
        raise DomainError(f"The user name {username} is taken.", "username_taken", 409)
    user = User(username=username, email=email, organization=organization, role=role)
    _check_password(password, user)
    user.set_password(password)
    with transaction.atomic():
        user.save()
        audit.record(
            action="user.created", organization=organization, actor=actor, target=user, details={"role": str(role)}
        )
    return user


def set_password(*, user: User, password: str, actor: User | None = None) -> None:
    _check_password(password, user)
    user.set_password(password)
    with transaction.atomic():
        user.save(update_fields=["password"])
        audit.record(action="user.password_set", organization=user.organization, actor=actor, target=user)


def create_api_key(
    *,
    organization: Organization,
    scopes: Iterable[str],
    name: str = "",
    created_by: User | None = None,
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Return the key's row and its text, which is shown this once: dfk_<8 hex>_<43 url-safe characters>."""
    wanted = sorted(set(scopes))
    _check_scopes(wanted)
    prefix = f"dfk_{secrets.token_hex(4)}"
    text = f"{prefix}_{secrets.token_urlsafe(32)}"
    with transaction.atomic():
        key = ApiKey.objects.create(
            organization=organization,
            created_by=created_by,
            name=name or "API key",
            prefix=prefix,
            secret_hash=hash_key(text),
            scopes=wanted,
            signing_secret=storage.seal(derive_signing_secret(text), context=prefix),
            expires_at=expires_at,
        )
        audit.record(
            action="api_key.created",
            organization=organization,
            actor=created_by,
            target=key,
            details={"scopes": wanted},
        )
    return key, text


def revoke_api_key(*, api_key: ApiKey, actor: User | None = None) -> None:
    """Make the key useless from now on; a key that already is stays as it was."""
    with transaction.atomic():
        changed = ApiKey.objects.filter(pk=api_key.pk, revoked_at=None).update(revoked_at=timezone.now())
        if changed:
            audit.record(action="api_key.revoked", organization=api_key.organization, actor=actor, target=api_key)
    api_key.refresh_from_db(fields=["revoked_at"])


def hash_key(text: str) -> str:
    """What is stored of a key: its secret has 256 random bits, so one plain SHA-256 is enough."""
    return hashlib.sha256(text.encode()).hexdigest()


def derive_signing_secret(text: str) -> bytes:
    """The secret that callbacks are signed with, which the holder of the key derives in the same way.

    64 hex characters: HMAC-SHA256 with the key's text as key over the words "callback-signing".
    """
    return hmac.new(text.encode(), b"callback-signing", hashlib.sha256).hexdigest().encode()


def signing_secret(api_key: ApiKey) -> bytes:
    return storage.unseal(bytes(api_key.signing_secret), context=api_key.prefix)


def _check_scopes(scopes: list[str]) -> None:
    known = {f"{family}:{action}" for family in SCOPE_FAMILIES for action in SCOPE_ACTIONS}
    unknown = [scope for scope in scopes if scope not in known]
    if unknown or not scopes:
        raise DomainError(
            f"Unknown scope {', '.join(unknown) or '(none given)'}. Known: {', '.join(sorted(known))}.",
            "invalid_scope",
            fields={"scopes": unknown},
        )


def _check_password(password: str, user: User) -> None:
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise DomainError(" ".join(error.messages), "weak_password", fields={"password": error.messages}) from None
