"""API keys: made, changed, rotated with an overlap, revoked; which addresses may use one, what it signs with."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts import audit
from accounts.models import MOST_PER_MINUTE, ApiKey, Organization, User
from accounts.permissions import SCOPES_WITHIN
from deepfake import storage
from deepfake.errors import DomainError

SCOPE_FAMILIES = ("detect", "kyc", "documents", "review", "webhooks", "admin")
SCOPE_ACTIONS = ("read", "write", "*")
AUDIT_READ = "audit:read"  # a family of one: nobody writes there
SCOPES = (*(f"{family}:{action}" for family in SCOPE_FAMILIES for action in SCOPE_ACTIONS), AUDIT_READ)
PLAIN_SCOPES = tuple(scope for scope in SCOPES if not scope.endswith(":*"))
# What is offered; no address asks for the scopes of the other families, but keys that have them keep them.
OFFERED_FAMILIES = ("detect", "webhooks", "admin", "audit")
OFFERED = tuple(scope for scope in SCOPES if scope.partition(":")[0] in OFFERED_FAMILIES)
LIVE_PREFIX, SANDBOX_PREFIX = "dfk_", "test_"
PREFIXES = (LIVE_PREFIX, SANDBOX_PREFIX)
MOST_ADDRESSES = 100
MOST_KEYS = 500  # live ones of one organisation
USUAL_OVERLAP = timedelta(hours=24)
LONGEST_OVERLAP = timedelta(days=30)
LIMITS = ("reads_per_minute", "writes_per_minute", "submissions_per_minute", "reports_per_minute")
BOUNDS = ("ip_allow_list", "expires_at", *LIMITS)  # what keeps a key in
CHANGEABLE = ("name", "scopes", *BOUNDS)

Holds = Callable[[str], bool]  # whether the caller holds a scope itself


# Making and changing --------------------------------------------------------------------------------------------------


def create_api_key(
    *,
    organization: Organization,
    scopes: Iterable[str],
    name: str = "",
    created_by: User | None = None,
    expires_at: datetime | None = None,
    ip_allow_list: Iterable[str] = (),
    limits: Mapping[str, int | None] | None = None,
    is_sandbox: bool = False,
    by_key: ApiKey | None = None,
    holds: Holds | None = None,
) -> tuple[ApiKey, str]:
    """Return the key's row and its text, which is shown this once: dfk_<8 hex>_<43 url-safe characters>.

    holds: what the caller may give away; None for the operator, who may give everything. by_key: the key, if any,
    that the caller came with, which gives no more than it has. Raises DomainError.
    """
    wanted = sorted(set(scopes))
    check_scopes(wanted)
    check_may_give(wanted, holds)
    _check_mode(is_sandbox, by_key)
    values = {
        "name": _checked_name(name or "API key"),
        "ip_allow_list": parse_addresses(ip_allow_list),
        "expires_at": expires_at,
        **_checked_limits(limits or {}),
    }
    _check_within(by_key, dict.fromkeys(BOUNDS) | values)
    prefix = f"{SANDBOX_PREFIX if is_sandbox else LIVE_PREFIX}{secrets.token_hex(4)}"
    text = _new_text(prefix)
    with transaction.atomic():
        organization.lock()
        if ApiKey.objects.filter(organization=organization, revoked_at=None).count() >= MOST_KEYS:
            raise DomainError(
                f"An organisation has at most {MOST_KEYS} keys. Revoke those that nobody uses.", "too_many_keys", 409
            )
        key = ApiKey.objects.create(
            organization=organization,
            created_by=created_by,
            prefix=prefix,
            secret_hash=hash_key(text),
            scopes=wanted,
            signing_secret=storage.seal(derive_signing_secret(text), context=prefix),
            is_sandbox=is_sandbox,
            **values,
        )
        said = {name: value for name, value in _plain(values).items() if value and name != "name"}
        details = {"scopes": wanted} | said | ({"sandbox": True} if is_sandbox else {})
        _audit("api_key.created", key, created_by, by_key, details)
    return key, text


def change_api_key(
    *,
    api_key: ApiKey,
    changes: Mapping[str, Any],
    actor: User | None = None,
    by_key: ApiKey | None = None,
    holds: Holds | None = None,
) -> ApiKey:
    """Set some of CHANGEABLE; what is not named stays. A key changes itself only for less. Raises DomainError."""
    values = dict(changes)
    if unknown := set(values) - set(CHANGEABLE):
        raise DomainError(f"A key has no {', '.join(sorted(unknown))} to change.", "invalid")
    _check_is_alive(api_key, "changed")
    _check_mode(api_key.is_sandbox, by_key)
    if "scopes" in values:
        values["scopes"] = sorted(set(values["scopes"]))
        check_scopes(values["scopes"])
    if "name" in values:
        values["name"] = _checked_name(values["name"])
    if "ip_allow_list" in values:
        values["ip_allow_list"] = parse_addresses(values["ip_allow_list"])
    values |= _checked_limits({name: values[name] for name in LIMITS if name in values})
    with transaction.atomic():
        key = ApiKey.objects.select_for_update().get(pk=api_key.pk)
        _check_is_alive(key, "changed")
        check_may_give([scope for scope in values.get("scopes", ()) if not key.has_scope(scope)], holds)
        changed = {name: value for name, value in values.items() if getattr(key, name) != value}
        if not changed:
            return key
        if any(
            _is_more(name, changed[name], getattr(key, name))
            for name in ("ip_allow_list", "expires_at")
            if name in changed
        ):
            check_may_give(changed.get("scopes", key.scopes), holds)  # for longer, or from elsewhere: given anew
        _check_within(by_key, changed, now=key)
        before = {name: getattr(key, name) for name in changed}
        for name, value in changed.items():
            setattr(key, name, value)
        key.save(update_fields=list(changed))
        details = {"before": _plain(before), "after": _plain(changed)}
        _audit("api_key.changed", key, actor, by_key, details)
    return key


def rotate_api_key(
    *,
    api_key: ApiKey,
    overlap: timedelta = USUAL_OVERLAP,
    actor: User | None = None,
    by_key: ApiKey | None = None,
    holds: Holds | None = None,
) -> tuple[ApiKey, str]:
    """Give the key a new text and return it; the old one works for `overlap` more, one older than that no longer.

    Whoever rotates learns a text that opens all that the key opens, and so must hold its scopes; a key rotates no
    other that lasts longer, may be used from more addresses or more often than itself. Raises DomainError.
    """
    if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
        raise DomainError(
            f"The old secret may go on working for 0 to {LONGEST_OVERLAP.days} days.", "overlap_invalid",
            fields={"overlap_hours": [f"Give 0 to {LONGEST_OVERLAP.days * 24} hours."]},
        )  # fmt: skip
    _check_mode(api_key.is_sandbox, by_key)
    check_may_give(api_key.scopes, holds)
    with transaction.atomic():
        key = ApiKey.objects.select_for_update().select_related("organization").get(pk=api_key.pk)
        _check_is_alive(key, "rotated")
        if by_key is not None and by_key.pk != key.pk:
            _check_within(by_key, {name: getattr(key, name) for name in BOUNDS})
        now = timezone.now()
        text = _new_text(key.prefix)
        if overlap:
            key.previous_secret_hash, key.previous_signing_secret = key.secret_hash, bytes(key.signing_secret)
            key.previous_valid_until = now + overlap
        else:
            key.previous_secret_hash, key.previous_signing_secret, key.previous_valid_until = "", None, None
        key.secret_hash = hash_key(text)
        key.signing_secret = storage.seal(derive_signing_secret(text), context=key.prefix)
        key.rotated_at = now
        key.save(
            update_fields=[
                "secret_hash", "signing_secret", "rotated_at", "previous_secret_hash", "previous_signing_secret",
                "previous_valid_until",
            ]
        )  # fmt: skip
        details = {"previous_valid_until": key.previous_valid_until}
        _audit("api_key.rotated", key, actor, by_key, details)
    return key, text


def revoke_api_key(
    *,
    api_key: ApiKey,
    actor: User | None = None,
    by_key: ApiKey | None = None,
) -> None:
    """Make the key useless from now on, both its secrets; a key that already is stays as it was."""
    _check_mode(api_key.is_sandbox, by_key)
    with transaction.atomic():
        changed = ApiKey.objects.filter(pk=api_key.pk, revoked_at=None).update(revoked_at=timezone.now())
        if changed:
            _audit("api_key.revoked", api_key, actor, by_key, {})
    api_key.refresh_from_db(fields=["revoked_at"])


def live_keys_of(member: User) -> QuerySet[ApiKey]:
    """Keys that the member made and that still open something: they do not end with the account."""
    unexpired = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
    found = ApiKey.objects.filter(unexpired, created_by=member, organization=member.organization_id, revoked_at=None)
    return found.select_related("organization").order_by("-created_at")


def live_key_names(member: User) -> list[str]:
    """Their prefixes, for the audit log."""
    return [key.prefix for key in live_keys_of(member)]


def check_expiry(moment: datetime | None) -> datetime | None:
    """Return the moment; one that has gone by is no expiry but a mistake. Raises DomainError."""
    if moment is not None and moment <= timezone.now():
        message = "The expiry lies in the past. Choose a later moment, or revoke the key to end it now."
        raise DomainError(message, "expiry_invalid", fields={"expires_at": [message]})
    return moment


def _new_text(prefix: str) -> str:
    return f"{prefix}_{secrets.token_urlsafe(32)}"


def _checked_name(name: str) -> str:
    name = " ".join(str(name).split())
    if not name or len(name) > 80 or not name.isprintable():
        message = "Give the key a name of 1 to 80 characters that says what it is for."
        raise DomainError(message, "invalid_name", fields={"name": [message]})
    return name


def _checked_limits(limits: Mapping[str, int | None]) -> dict[str, int | None]:
    for name, value in limits.items():
        if name not in LIMITS or (value is not None and not 1 <= value <= MOST_PER_MINUTE):
            message = f"{name} must be blank or a whole number from 1 to {MOST_PER_MINUTE:,}."
            raise DomainError(message, "invalid", fields={name: [message]})
    return dict(limits)


def _check_is_alive(key: ApiKey, done: str) -> None:
    if key.revoked_at is not None:
        raise DomainError(f"This key was revoked, so it cannot be {done}. Make a new one.", "key_revoked", 409)


def _audit(action: str, key: ApiKey, actor: User | None, by_key: ApiKey | None, details: dict[str, Any]) -> None:
    audit.record(
        action=action,
        organization=key.organization,
        actor=actor,
        api_key=by_key,
        target=key,
        details={"prefix": key.prefix} | details if by_key else details,
    )


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}


# Scopes ---------------------------------------------------------------------------------------------------------------


def check_scopes(scopes: list[str]) -> None:
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not scopes:
        raise DomainError(
            f"Unknown scope {', '.join(unknown) or '(none given)'}. Known: {', '.join(sorted(OFFERED))}.",
            "invalid_scope",
            fields={"scopes": unknown},
        )


def holds_all(scope: str, holds: Holds) -> bool:
    """Whether a caller holds all that a scope opens."""
    return all(holds(one) for one in _opened_by(scope))


def _opened_by(scope: str) -> list[str]:
    """What a wildcard stands for, else the scope, and the scopes within it."""
    family, _, action = scope.partition(":")
    named = [f"{family}:{each}" for each in ("read", "write")] if action == "*" else [scope]
    return [one for name in named for one in (name, *SCOPES_WITHIN.get(name, ()))]


def check_may_give(scopes: Iterable[str], holds: Holds | None, to: str = "a key") -> None:
    """Nobody gives away, or gets hold of, what they may not do themselves. Raises DomainError."""
    if holds is None:
        return
    lacking = list(dict.fromkeys(one for scope in scopes for one in _opened_by(scope) if not holds(one)))
    if lacking:
        raise DomainError(
            f"You do not hold {', '.join(lacking)} yourself, so you cannot give it, or a scope that opens it, to {to}, "
            f"or renew {to} that has it. Ask an administrator who does.",
            "scope_not_held",
            403,
            fields={"scopes": lacking},
        )


def _check_within(by_key: ApiKey | None, values: Mapping[str, Any], now: ApiKey | None = None) -> None:
    """A key gives no more than it has itself; what the other has already (`now`) may stay or become less."""
    if by_key is None:
        return
    more = [
        name
        for name, value in values.items()
        if _is_more(name, value, getattr(by_key, name)) and (now is None or _is_more(name, value, getattr(now, name)))
    ]
    if more:
        words = {"ip_allow_list": "wider addresses", "expires_at": "a later expiry"}
        said = ", ".join(dict.fromkeys(words.get(name, "higher limits") for name in more))
        message = f"A key gives neither itself nor another more than it has: {said}. Ask a member who manages keys."
        raise DomainError(message, "more_than_own_key", 403, fields={name: [message] for name in more})


def _is_more(name: str, value: Any, than: Any) -> bool:
    """Whether a bound lets a key do more than another value of it: later, from elsewhere, or more often."""
    if name == "expires_at":
        return than is not None and (value is None or value > than)
    if name == "ip_allow_list":
        wide = [ipaddress.ip_network(one) for one in than]
        return bool(wide) and not (value and all(_is_inside(ipaddress.ip_network(one), wide) for one in value))
    if name in LIMITS:
        usual = int(getattr(settings, f"API_{name.upper()}"))
        return (value or usual) > (than or usual)
    return False


def _is_inside(network: Any, wide: Iterable[Any]) -> bool:
    return any(network.version == one.version and network.subnet_of(one) for one in wide)


def _check_mode(is_sandbox: bool, by_key: ApiKey | None) -> None:
    if by_key is not None and by_key.is_sandbox and not is_sandbox:
        raise DomainError(
            "A sandbox key makes and changes sandbox keys only. Use a live key for this.", "sandbox_key", 403
        )


# Addresses ------------------------------------------------------------------------------------------------------------


def parse_addresses(given: Iterable[str] | str) -> list[str]:
    """Return addresses and networks in their usual form; text may hold several. Raises DomainError."""
    words = given.replace(",", " ").split() if isinstance(given, str) else [str(one).strip() for one in given]
    found = list(dict.fromkeys(_network(word) for word in words if word))
    if len(found) > MOST_ADDRESSES:
        message = f"A key takes at most {MOST_ADDRESSES} addresses and networks. Join neighbours to one network."
        raise DomainError(message, "address_invalid", fields={"ip_allow_list": [message]})
    return found


def _network(word: str) -> str:
    try:
        network = _unwrapped(ipaddress.ip_network(word))
    except ValueError:
        message = _address_refusal(word)
        raise DomainError(message, "address_invalid", fields={"ip_allow_list": [message]}) from None
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def _unwrapped(network: Any) -> Any:
    """A server that listens on both protocols sees 203.0.113.7 as ::ffff:203.0.113.7, and some people write it so."""
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is None or network.prefixlen < 96:
        return network
    return ipaddress.ip_network((mapped, network.prefixlen - 96))


def _address_refusal(word: str) -> str:
    try:
        meant = ipaddress.ip_network(word, strict=False)
    except ValueError:
        return (
            f"{word[:60]} is no IP address and no network. Write an address such as 203.0.113.7 or 2001:db8::7, or a "
            "network such as 203.0.113.0/24."
        )
    return f"{word} names an address inside a network. Write {meant} for the network, or the address without /."


def may_be_used_from(api_key: ApiKey, address: str | None) -> bool:
    if not api_key.ip_allow_list:
        return True
    if address is None:
        return False
    given = _unwrapped(ipaddress.ip_network(address)).network_address
    return any(given in _unwrapped(ipaddress.ip_network(one)) for one in api_key.ip_allow_list)


# Secrets --------------------------------------------------------------------------------------------------------------


def hash_key(text: str) -> str:
    """What is stored of a key: its secret has 256 random bits, so one plain SHA-256 is enough."""
    return hashlib.sha256(text.encode()).hexdigest()


def is_text_of(api_key: ApiKey, text: str) -> bool:
    """Whether this is the key's text, or the one before its rotation while that still works."""
    digest = hash_key(text)
    if hmac.compare_digest(api_key.secret_hash, digest):
        return True
    return api_key.has_previous_secret and hmac.compare_digest(api_key.previous_secret_hash, digest)


def derive_signing_secret(text: str) -> bytes:
    """The secret that callbacks are signed with, which the holder of the key derives in the same way.

    64 hex characters: HMAC-SHA256 with the key's text as key over the words "callback-signing".
    """
    return hmac.new(text.encode(), b"callback-signing", hashlib.sha256).hexdigest().encode()


def signing_secrets(api_key: ApiKey) -> list[bytes]:
    """What a callback is signed with, newest first: two secrets while a rotation overlaps, else one."""
    sealed = [api_key.signing_secret]
    if api_key.has_previous_secret and api_key.previous_signing_secret:
        sealed.append(api_key.previous_signing_secret)
    return [storage.unseal(bytes(one), context=api_key.prefix) for one in sealed]


def signing_secret(api_key: ApiKey) -> bytes:
    return signing_secrets(api_key)[0]
