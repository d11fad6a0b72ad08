"""What an organisation asks at sign-in: its rules, who needs a second factor, and by when."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from allauth.account.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.core.cache import cache
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts import audit, roles
from accounts.models import CustomRole, Factors, Organization, Role, SignInRules, User
from accounts.permissions import Permission
from accounts.sessions import end_sessions
from deepfake.errors import DomainError

# Another process without a shared cache learns of a change after this long at the latest.
RULES_CACHE_S = 60
LOW_IDLE_MINUTES, HIGH_IDLE_MINUTES = 5, 7 * 24 * 60
LOW_SESSION_HOURS, HIGH_SESSION_HOURS = 1, 7 * 24
HIGH_GRACE_DAYS = 90

_FIELDS = (
    "required_roles",
    "factors",
    "grace_days",
    "required_since",
    "idle_minutes",
    "session_hours",
    "passwords_allowed",
)


def rules_of(organization_id: Any) -> SignInRules:
    """The rules of an organisation; the defaults for one that never chose, and for members of none."""
    if organization_id is None:
        return SignInRules()
    key = _cache_key(organization_id)
    values = cache.get(key)
    if values is None:
        row = SignInRules.objects.filter(pk=organization_id).first() or SignInRules()
        values = {name: getattr(row, name) for name in _FIELDS}
        cache.set(key, values, RULES_CACHE_S)
    return SignInRules(organization_id=organization_id, **values)


def _cache_key(organization_id: Any) -> str:
    return f"sign-in-rules:{organization_id}"


def find_member(typed: str) -> User | None:
    """Whose name or e-mail address was typed at sign-in."""
    return User.objects.filter(Q(username__iexact=typed) | Q(email__iexact=typed)).first() if typed else None


# Second factor --------------------------------------------------------------------------------------------------------


def kinds_that_count(rules: SignInRules) -> list[str]:
    if rules.factors == Factors.PASSKEY:
        return [Authenticator.Type.WEBAUTHN]
    return [Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN]


def is_required(user: User, rules: SignInRules) -> bool:
    """By the built-in role, or by the organisation's own one, which takes its place."""
    role = str(user.custom_role_id) if user.custom_role_id else user.role
    return role in rules.required_roles


def has_second_factor(user: User, rules: SignInRules) -> bool:
    return bool(Authenticator.objects.filter(user_id=user.pk, type__in=kinds_that_count(rules)).exists())


def deadline(user: User, rules: SignInRules) -> datetime | None:
    """By when the member must have a second factor; None where none is asked."""
    if not is_required(user, rules):
        return None
    begins = max(rules.required_since or user.date_joined, user.date_joined)
    return begins + timedelta(days=rules.grace_days)


def needs_second_factor(user: User, rules: SignInRules) -> bool:
    """Whether the member may do nothing before setting one up."""
    by = deadline(user, rules)
    return by is not None and by <= timezone.now() and not has_second_factor(user, rules)


def second_factor_required() -> DomainError:
    return DomainError(
        "Your organisation asks for a second factor. Set one up under Settings, Your sign-in.",
        "second_factor_required",
        403,
    )


def may_lose(authenticator: Authenticator) -> bool:
    """Whether a member may remove this: not the last one that the organisation asks for."""
    user = User.objects.get(pk=authenticator.user_id)
    rules = rules_of(user.organization_id)
    is_way_in = not rules.passwords_allowed and authenticator.type == Authenticator.Type.WEBAUTHN
    if is_way_in and not comes_by_sso(user):
        kinds = [Authenticator.Type.WEBAUTHN]
    elif is_required(user, rules):
        kinds = kinds_that_count(rules)
    else:
        return True
    if authenticator.type not in kinds:
        return True
    return bool(Authenticator.objects.filter(user=user, type__in=kinds).exclude(pk=authenticator.pk).exists())


def members_with_factors(organization: Organization, *, actor: User) -> list[User]:
    """Those whose factors the actor may remove: others who may do no more than the actor."""
    with_one = Authenticator.objects.filter(user__organization=organization).values("user_id")
    found = User.objects.filter(organization=organization, pk__in=with_one).exclude(pk=actor.pk)
    return [one for one in found.select_related("custom_role").order_by("username") if roles.reaches(actor, one)]


def reset_factors(*, member: User, actor: User) -> None:
    """Take away all second factors of a member who has lost them, sign every device out, and tell the member.

    Raises DomainError.
    """
    if actor.pk == member.pk:
        raise DomainError("Remove your own second factors on the page Your sign-in.", "own_account", 409)
    with transaction.atomic():
        roles.check_reach(actor, roles.locked_member(member))
        found = Authenticator.objects.filter(user=member)
        kinds = sorted(found.values_list("type", flat=True))
        if not kinds:
            raise DomainError(f"{member.username} has no second factor.", "no_second_factor")
        found.delete()
        end_sessions(member, why="second factors removed", actor=actor)
        audit.record(
            action="auth.factors_reset",
            organization=member.organization,
            actor=actor,
            target=member,
            details={"kinds": kinds},
        )
    get_adapter().send_notification_mail("account/email/factors_reset", member)


# Changing the rules ---------------------------------------------------------------------------------------------------


def change_rules(*, organization: Organization, actor: User | None, wish: dict[str, Any]) -> None:
    """Set the rules from checked values of the form. Raises DomainError. Without an actor it is the operator."""
    unknown = set(wish["required_roles"]) - set(role_choices(organization))
    if unknown:
        raise DomainError(f"There is no role {', '.join(sorted(unknown))}.", "role_unknown")
    with transaction.atomic():
        row, _ = SignInRules.objects.select_for_update().get_or_create(organization=organization)
        before = _plain(row)
        if not wish["passwords_allowed"] and row.passwords_allowed and actor is not None:
            check_way_back(actor)
        if set(wish["required_roles"]) - set(row.required_roles) or wish["factors"] != row.factors:
            row.required_since = timezone.now()
        for name, value in wish.items():
            setattr(row, name, value)
        row.save()
        if before == _plain(row):
            return
        audit.record(
            action="sign_in.rules_changed",
            organization=organization,
            actor=actor,
            target=organization,
            details={"before": before, "after": _plain(row)},
        )
        # At once for this transaction, and again afterwards: meanwhile somebody may have read the old rules.
        cache.delete(_cache_key(organization.pk))
        transaction.on_commit(lambda: cache.delete(_cache_key(organization.pk)))


def _plain(rules: SignInRules) -> dict[str, Any]:
    return {name: getattr(rules, name) for name in _FIELDS if name != "required_since"} | {
        "required_roles": sorted(rules.required_roles)
    }


def allow_passwords(*, organization: Organization, is_allowed: bool, actor: User | None) -> None:
    """The one switch for passwords; the others of the rules stay as they are. Raises DomainError."""
    with transaction.atomic():
        row, _ = SignInRules.objects.select_for_update().get_or_create(organization=organization)
        wish = {name: getattr(row, name) for name in _FIELDS if name != "required_since"}
        # A role that was deleted since asks for nothing any more.
        wish["required_roles"] = [one for one in row.required_roles if one in role_choices(organization)]
        wish["passwords_allowed"] = is_allowed
        change_rules(organization=organization, actor=actor, wish=wish)


def check_way_back(user: User) -> None:
    """Raise DomainError for whoever could not sign in again without a password."""
    if not (_has_passkey(user) or comes_by_sso(user)):
        raise DomainError(
            "Add a passkey to your own account first, or sign in through single sign-on yourself first. Without either "
            "you could not sign in again once passwords are turned off.",
            "no_other_way_in",
            409,
        )


def comes_by_sso(user: User) -> bool:
    """Whether the member has signed in through a connection that is switched on now."""
    if user.organization is None:
        return False
    names = [row.provider_id for row in user.organization.sso_connections.filter(is_enabled=True)]
    return bool(SocialAccount.objects.filter(user=user, provider__in=names).exists())


def somebody_has_passkey(organization: Organization) -> bool:
    """Whether a member who can switch passwords on again could sign in with a passkey."""
    able = organization.members_who_may(Permission.SIGN_IN).values("pk")
    return bool(Authenticator.objects.filter(user__in=able, type=Authenticator.Type.WEBAUTHN).exists())


def role_choices(organization: Organization | None) -> dict[str, str]:
    """What `required_roles` holds, and its words: built-in roles by name, the organisation's own by their id."""
    own = CustomRole.objects.filter(organization=organization).order_by("name") if organization else ()
    return {role.value: str(role.label) for role in Role} | {str(role.pk): role.name for role in own}


def _has_passkey(user: User) -> bool:
    return bool(Authenticator.objects.filter(user_id=user.pk, type=Authenticator.Type.WEBAUTHN).exists())


def members_by_role(organization: Organization) -> list[dict[str, Any]]:
    """Per role: how many active members it has, and how many of them have which second factor."""
    rows = User.objects.filter(organization=organization, is_active=True)
    members = [(row.pk, str(row.custom_role_id or row.role)) for row in rows.only("pk", "role", "custom_role_id")]
    owned: dict[int, set[str]] = {}
    for user_id, kind in Authenticator.objects.filter(user__organization=organization).values_list("user_id", "type"):
        owned.setdefault(user_id, set()).add(kind)
    counted = []
    for value, words in role_choices(organization).items():
        of_role = [pk for pk, name in members if name == value]
        counted.append(
            {
                "value": value,
                "words": words,
                "members": len(of_role),
                "with_any": sum(bool(owned.get(pk, set()) & {"totp", "webauthn"}) for pk in of_role),
                "with_passkey": sum("webauthn" in owned.get(pk, set()) for pk in of_role),
            }
        )
    return counted
