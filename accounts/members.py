"""Members: inviting them, switching them off and on again, and signing them out."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.hashers import UNUSABLE_PASSWORD_PREFIX
from django.core.exceptions import ValidationError
from django.core.signing import BadSignature, TimestampSigner
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac
from django_q.tasks import async_task

from accounts import audit, roles
from accounts.api_keys import live_key_names, live_keys_of, revoke_api_key
from accounts.models import CustomRole, MemberSession, Organization, Role, User
from accounts.services import set_password
from deepfake.errors import DomainError

INVITATION_DAYS = 7
SEND = "accounts.jobs.send_invitation"
_SALT = "accounts.invitation"
_USERNAME = re.compile(r"[\w.@+-]{1,150}")


# Inviting -------------------------------------------------------------------------------------------------------------


def invite(
    *,
    organization: Organization,
    username: str,
    email: str = "",
    full_name: str = "",
    role: Role | str | None = None,
    custom_role: CustomRole | None = None,
    actor: User | None,
    is_sent: bool = True,
) -> User:
    """Make a member without a password; the link of `invitation_link` lets them set one. Raises DomainError.

    It is sent by e-mail too where there is an address and `is_sent`.
    """
    username, email = username.strip(), email.strip()
    _check_names(username, email)
    first, _, last = " ".join(full_name.split()).partition(" ")
    user = User(
        username=username,
        email=email,
        first_name=first[:150],
        last_name=last[:150],
        organization=organization,
        invited_at=timezone.now(),
    )
    user.set_unusable_password()
    new, name = roles.role_values(user, role, custom_role)
    user.role, user.custom_role = name, custom_role
    if actor is not None:
        roles.check_reach(actor, actor, new)
    try:
        with transaction.atomic():
            user.save()
            _record("user.invited", user, actor, {"role": user.role_name, "by_email": bool(email and is_sent)})
            if email and is_sent:
                async_task(SEND, user.pk, group="accounts", save=False)
    except IntegrityError:  # of two at once
        _check_names(username, email)
        raise
    return user


def invite_again(*, member: User, actor: User | None, is_sent: bool = True) -> None:
    """Make the links of before void and a new one possible, for whoever has not set a password yet."""
    with transaction.atomic():
        locked = roles.locked_member(member)
        roles.check_reach(actor, locked)
        if not is_invited(locked):
            raise DomainError(
                "This member has signed in already. Whoever has forgotten a password asks for a new one on the page "
                "of signing in.",
                "already_joined",
                409,
            )
        locked.invited_at = timezone.now()
        locked.save(update_fields=["invited_at"])
        _record("user.invited_again", locked, actor, {})
        if locked.email and is_sent:
            async_task(SEND, locked.pk, group="accounts", save=False)
    member.invited_at = locked.invited_at


def is_invited(member: User) -> bool:
    """Whether the member has still to set a first password."""
    return (
        member.invited_at is not None
        and member.is_active
        and member.last_login is None
        and not member.has_usable_password()
    )


# The same of many: who has still to set a first password.
INVITED = Q(is_active=True, last_login=None, password__startswith=UNUSABLE_PASSWORD_PREFIX) & ~Q(invited_at=None)


def invitation_link(member: User) -> str:
    """The address that lets the member set the first password: once, and for INVITATION_DAYS."""
    token = TimestampSigner(salt=_SALT).sign(f"{member.pk}.{_state(member)}")
    return settings.PUBLIC_URL + reverse("accounts:invitation", args=[token])


def invited_by_token(token: str) -> User | None:
    """Whom a link belongs to; None when it is forged, used, replaced by a newer one or too old."""
    try:
        text = TimestampSigner(salt=_SALT).unsign(token, max_age=timedelta(days=INVITATION_DAYS))
    except BadSignature:  # also of one that has expired
        return None
    pk, _, state = text.partition(".")
    member = User.objects.select_related("organization").filter(pk=pk).first() if pk.isdecimal() else None
    if member is None or not is_invited(member) or not constant_time_compare(state, _state(member)):
        return None
    return member


def accept(*, member: User, password: str) -> None:
    """Set the first password. Raises DomainError when it is too weak, or when somebody else was faster."""
    with transaction.atomic():
        locked = roles.locked_member(member)
        if not is_invited(locked):
            raise DomainError("This invitation has been used.", "invitation_used", 409)
        set_password(user=locked, password=password, actor=locked)
        _record("user.joined", locked, locked, {})


def _state(member: User) -> str:
    """Changes with the password and with every new invitation, so that a link works once and only the newest does."""
    invited_at: datetime | None = member.invited_at
    value = f"{member.pk}:{member.password}:{invited_at.isoformat() if invited_at else ''}"
    return salted_hmac(_SALT, value, algorithm="sha256").hexdigest()[:32]


def _check_names(username: str, email: str) -> None:
    if not _USERNAME.fullmatch(username):
        raise DomainError(
            "A user name has letters, digits and . _ @ + - in it, 150 at most.", "username_invalid",
            fields={"username": ["Letters, digits and . _ @ + - only."]},
        )  # fmt: skip
    if User.objects.filter(username__iexact=username).exists():
        raise _taken(username)
    if email:
        try:
            validate_email(email)
        except ValidationError:
            raise DomainError("This is no e-mail address.", "email_invalid") from None
        # People sign in by it: of two accounts with one address, nobody could say which is meant.
        if User.objects.filter(email__iexact=email).exists():
            raise DomainError("There is an account with this e-mail address already.", "email_taken", 409)


def _taken(username: str) -> DomainError:
    return DomainError(f"The user name {username} is taken.", "username_taken", 409)


# Switching off and on -------------------------------------------------------------------------------------------------


def deactivate(*, member: User, actor: User | None) -> None:
    """Let a member in no more, from this moment on. What they did stays. Raises DomainError."""
    if actor is not None and actor.pk == member.pk:
        raise DomainError("You cannot switch off your own account. Ask another administrator.", "own_account", 409)
    with transaction.atomic():
        locked = roles.locked_member(member)
        roles.check_reach(actor, locked)
        if locked.is_active:
            ended = _drop_sessions(locked)
            locked.is_active = False
            locked.save(update_fields=["is_active"])  # ends what it let programs do, too: see signals.py
            roles.check_administrator_remains(locked.organization)
            details = {"sessions_ended": ended, "live_keys": live_key_names(locked)}
            _record("user.deactivated", locked, actor, details)
    member.is_active = False


def revoke_keys(*, member: User, actor: User) -> int:
    """Revoke the keys that a member made and that still work; how many. What uses them stops at once."""
    keys = list(live_keys_of(member))
    with transaction.atomic():
        for key in keys:
            revoke_api_key(api_key=key, actor=actor)
    return len(keys)


def reactivate(*, member: User, actor: User | None) -> None:
    """Let a member in again, with the role of before. Raises DomainError."""
    with transaction.atomic():
        locked = roles.locked_member(member)
        roles.check_reach(actor, locked)
        if not locked.is_active:
            locked.is_active = True
            locked.save(update_fields=["is_active"])
            _record("user.reactivated", locked, actor, {})
    member.is_active = True


def end_sessions(*, member: User, actor: User | None) -> int:
    """Sign a member out everywhere; how many sessions that were. Raises DomainError."""
    with transaction.atomic():
        roles.check_reach(actor, roles.locked_member(member))
        ended = _drop_sessions(member)
        _record("user.sessions_ended", member, actor, {"sessions_ended": ended})
    return ended


def _drop_sessions(member: User) -> int:
    """End all sessions of a member; whoever asks for it writes down why."""
    return MemberSession.objects.filter(user=member).delete()[0]


def _record(action: str, member: User, actor: User | None, details: dict[str, Any]) -> None:
    audit.record(action=action, organization=member.organization, actor=actor, target=member, details=details)
