"""Actions on organisations and members; those on API keys are in api_keys.py."""

from __future__ import annotations

import re

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django.utils.text import slugify
from django_q.tasks import async_task

from accounts import audit
from accounts.models import Organization, Role, User
from accounts.sessions import end_sessions
from deepfake import storage
from deepfake.errors import DomainError

SET_NOTICE = "accounts.jobs.send_password_notice"
MOVED_NOTICE = "accounts.jobs.send_moved_notice"
MOVED_SEALED = "moved notice of "


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
    if email and User.objects.filter(email__iexact=email).exists():
        raise DomainError("There is an account with this e-mail address already.", "email_taken", 409)
    user = User(username=username, email=email, organization=organization, role=role)
    _check_password(password, user)
    user.set_password(password)
    with transaction.atomic():
        user.save()
        audit.record(
            action="user.created", organization=organization, actor=actor, target=user, details={"role": str(role)}
        )
    return user


def free_username(wanted: str) -> str:
    """A user name that nobody has, as near to `wanted` as may be: for who is made by an identity provider.

    Raises DomainError.
    """
    base = re.sub(r"[^\w.@+-]", "", wanted)[:140] or "member"
    for number in range(1, 1000):
        name = base if number == 1 else f"{base}{number}"
        if not User.objects.filter(username__iexact=name).exists():
            return name
    raise DomainError("No free user name was found.", "username_taken", 409)


def set_password(*, user: User, password: str, actor: User | None = None) -> None:
    """Set a password that was checked; whose it is hears of it by e-mail when somebody else did it."""
    _check_password(password, user)
    user.set_password(password)
    with transaction.atomic():
        user.save(update_fields=["password"])
        password_was_set(user=user, actor=actor)


def password_was_set(*, user: User, actor: User | None, keep: str | None = None) -> None:
    """Record it, end the sessions (but `keep`), and tell the member unless it was their own doing."""
    with transaction.atomic():
        audit.record(action="user.password_set", organization=user.organization, actor=actor, target=user)
        end_sessions(user, keep=keep, why="password set", actor=actor)
        if actor != user and user.email:
            async_task(SET_NOTICE, user.pk, group="accounts", save=False)


def email_was_changed(*, user: User, before: str) -> None:
    """Somebody else changed a member's address: the old one is told, and links that were sent there open nothing.

    Links for a new password carry the address in their signature; those of an invitation, the moment of the newest.
    """
    if user.invited_at is not None:
        user.invited_at = timezone.now()
        user.save(update_fields=["invited_at"])
    if before and user.is_active:
        address = storage.seal(before.encode(), context=MOVED_SEALED + str(user.pk))  # the queue keeps what it is given
        async_task(MOVED_NOTICE, user.pk, address, group="accounts", save=False)


def _check_password(password: str, user: User) -> None:
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise DomainError(" ".join(error.messages), "weak_password", fields={"password": error.messages}) from None
