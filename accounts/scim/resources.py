"""Members and groups as an identity provider wants them, in the shapes of SCIM."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from allauth.account.models import EmailAddress
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.utils import timezone
from scim2_models import (
    ForbiddenException,
    InvalidValueException,
    NotFoundException,
    UniquenessException,
)

from accounts import audit
from accounts.api_keys import live_key_names
from accounts.models import Organization, ProvisioningToken, Role, ScimGroup, ScimUser, User
from accounts.permissions import ROLE_PERMISSIONS
from accounts.roles import grantable_by, is_last_administrator, locked_member, reaches
from accounts.scim import services, shapes
from accounts.services import email_was_changed, free_username
from deepfake.parsers import can_be_kept

NEVER_BY_NAME = (Role.ADMIN,)  # a group called admin gives nothing until an administrator says so


# Rows as SCIM sees them -----------------------------------------------------------------------------------------------


def ensure_records(organization: Organization) -> None:
    """Give every member a SCIM record, so that a provider finds people who were here before it."""
    missing = User.objects.filter(organization=organization, scim=None, is_staff=False, is_superuser=False)
    rows = [
        ScimUser(
            organization=organization,
            user=user,
            user_name=user.username,
            emails=[{"value": user.email, "primary": True}] if user.email else [],
            created_at=user.date_joined,
        )
        for user in missing
    ]
    ScimUser.objects.bulk_create(rows, ignore_conflicts=True)


def users_of(organization: Organization) -> Any:
    """Whoever is no operator of the installation and still belongs to the organisation."""
    return (
        ScimUser.objects.filter(organization=organization, user__organization=organization, deleted_at=None)
        .filter(user__is_staff=False, user__is_superuser=False)
        .select_related("user")
        .prefetch_related("groups")
        .order_by("created_at", "pk")
    )


def groups_of(organization: Organization) -> Any:
    return (
        ScimGroup.objects.filter(organization=organization)
        .prefetch_related("members__user")
        .order_by("created_at", "pk")
    )


def find_user(organization: Organization, pk: str, *, lock: bool = False) -> ScimUser:
    return _find(users_of(organization), pk, lock)


def find_group(organization: Organization, pk: str, *, lock: bool = False) -> ScimGroup:
    return _find(groups_of(organization), pk, lock)


def _find(rows: Any, pk: str, lock: bool) -> Any:
    try:
        key = UUID(pk)
    except ValueError:
        raise NotFoundException(detail=f"There is no resource {pk}.") from None
    found = (rows.select_for_update(of=("self",)) if lock else rows).filter(pk=key).first()
    if found is None:
        raise NotFoundException(detail=f"There is no resource {pk}.")
    return found


# Members --------------------------------------------------------------------------------------------------------------


@transaction.atomic
def create_user(*, token: ProvisioningToken, wanted: shapes.User) -> ScimUser:
    """Make a member, or bring back one that SCIM deleted; a member that is there is a conflict."""
    organization = token.organization
    ensure_records(organization)
    name = _user_name(wanted)
    email = _primary_email(wanted, name)
    _check_free(organization, name, email, but=None)
    row = (
        ScimUser.objects.select_for_update(of=("self",))
        .select_related("user")
        .filter(organization=organization, user__organization=organization, user_name__iexact=name)
        .exclude(deleted_at=None)
        .first()
    )
    if row is not None:
        row.deleted_at = None
        row.external_id = ""
    else:
        user = User(username=free_username(name), email=email, organization=organization, role=token.default_role)
        user.set_unusable_password()
        _save_user(user)
        row = ScimUser(organization=organization, user=user)
    _write_user(token, row, wanted, is_active=wanted.active is not False)
    row.save()
    audit.record(
        action="user.created",
        organization=organization,
        target=row.user,
        details={"by": "SCIM", "user_name": row.user_name, "role": row.user.role},
    )
    return row


@transaction.atomic
def change_user(*, token: ProvisioningToken, row: ScimUser, wanted: shapes.User) -> ScimUser:
    name = _user_name(wanted)
    _check_free(token.organization, name, _primary_email(wanted, name), but=row)
    was_active = row.user.is_active
    # A replacement that does not speak of it brings nobody back.
    is_active = wanted.active is not False if "active" in wanted.model_fields_set else was_active
    if was_active and not is_active:
        _check_not_last_administrator(row.user)
    before = _facts(row)
    _write_user(token, row, wanted, is_active=is_active)
    changed = sorted(name for name, value in _facts(row).items() if value != before[name])
    if not changed:
        return row
    _bump(row)
    row.save()
    action = "user.changed"
    if was_active != is_active:
        action = "user.activated" if is_active else "user.deactivated"
    left = {"live_keys": live_key_names(row.user)} if action == "user.deactivated" else {}
    details = {"by": "SCIM", "changed": changed} | left
    audit.record(action=action, organization=token.organization, target=row.user, details=details)
    return row


@transaction.atomic
def delete_user(*, token: ProvisioningToken, row: ScimUser) -> None:
    """The account is switched off and no longer shown; what the member did stays in the records."""
    _check_not_last_administrator(row.user)
    row.groups.clear()
    row.user.is_active = False
    row.user.save(update_fields=["is_active"])
    row.deleted_at = timezone.now()
    _bump(row)
    row.save()
    audit.record(
        action="user.deactivated",
        organization=token.organization,
        target=row.user,
        details={"by": "SCIM", "deleted": True, "live_keys": live_key_names(row.user)},
    )


def _facts(row: ScimUser) -> dict[str, Any]:
    user = row.user
    return {
        "userName": row.user_name,
        "externalId": row.external_id,
        "displayName": row.display_name,
        "name": [row.formatted_name, user.first_name, user.last_name],
        "emails": row.emails,
        "active": user.is_active,
    }


def _write_user(token: ProvisioningToken, row: ScimUser, wanted: shapes.User, *, is_active: bool) -> None:
    user, name = row.user, wanted.name or shapes.Name()
    row.user_name = _user_name(wanted)
    row.external_id = _short(wanted.external_id, "externalId")
    row.display_name = _short(wanted.display_name, "displayName")
    row.formatted_name = _short(name.formatted, "name.formatted")
    row.emails = _emails(wanted, row.emails)
    row.is_provisioned = True
    user.first_name = _short(name.given_name, "name.givenName", 150)
    user.last_name = _short(name.family_name, "name.familyName", 150)
    before, email = user.email, _primary_email(wanted, row.user_name)
    is_elsewhere = email.lower() != before.lower()
    if is_elsewhere:
        _check_reach(token, user)
        # An address that was proved is not the new one: whoever owns the old one no longer stands behind the member.
        EmailAddress.objects.filter(user=user).delete()
        user.email = email
    user.is_active = is_active
    _save_user(user, "first_name", "last_name", "email", "is_active")
    if is_elsewhere:
        email_was_changed(user=user, before=before)


def _save_user(user: User, *fields: str) -> None:
    try:
        with transaction.atomic():
            user.save(update_fields=fields or None)
    except IntegrityError:  # somebody took the name or address since it was looked for
        raise UniquenessException(detail=f"The e-mail address {user.email} is in use.") from None


def _check_reach(token: ProvisioningToken, user: User) -> None:
    """A password is reset by mail, so an address is not changed in the name of somebody who may do less."""
    maker = token.created_by
    if maker is not None and not reaches(maker, user):
        raise ForbiddenException(
            detail="This member may do more than whoever made the provisioning token. Somebody who holds every right "
            "has to make a new one before the e-mail address can be changed."
        )


def _emails(wanted: shapes.User, before: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Addresses as they are kept; one that was kept already comes back with every change and is not judged again."""
    known = {email.get("value") for email in before}
    return [_plain_email(email, is_new=email.value not in known) for email in wanted.emails or []]


def _plain_email(email: shapes.Email, *, is_new: bool) -> dict[str, Any]:
    if is_new and email.value is not None:
        try:
            validate_email(_short(email.value, "emails.value"))
        except ValidationError:
            raise InvalidValueException(detail=f"{email.value[:60]} is no e-mail address.") from None
    kept = {
        "value": email.value,
        "type": _short(email.type, "emails.type") or None,
        "primary": email.primary,
        "display": None if email.display is None else _short(email.display, "emails.display"),
    }
    return {name: value for name, value in kept.items() if value is not None}


def _user_name(wanted: shapes.User) -> str:
    name = _short(wanted.user_name, "userName").strip()
    if not name:
        raise InvalidValueException(detail="userName is needed.")
    return name


def _primary_email(wanted: shapes.User, name: str) -> str:
    emails = [email for email in wanted.emails or [] if email.value]
    chosen = next((email for email in emails if email.primary), emails[0] if emails else None)
    if chosen is not None:
        return _short(str(chosen.value), "emails.value")
    return name if re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", name) else ""


def _short(value: Any, name: str, limit: int = 254) -> str:
    text = str(value or "")
    if len(text) > limit:
        raise InvalidValueException(detail=f"{name} may have at most {limit} characters.")
    if not can_be_kept(text):
        raise InvalidValueException(detail=f"{name} holds a character that cannot be kept.")
    return text


def _check_free(organization: Organization, name: str, email: str, but: ScimUser | None) -> None:
    others = users_of(organization).exclude(pk=but.pk if but else None)
    if others.filter(user_name__iexact=name).exists():
        raise UniquenessException(detail=f"There is already a member with the userName {name}.")
    if not email:
        return
    people = User.objects.filter(email__iexact=email)
    if but is not None:
        people = people.exclude(pk=but.user_id)
    # A member that SCIM deleted may come back; with anybody else an address cannot be shared.
    back = Q(organization=organization, scim__deleted_at__isnull=False, scim__user_name__iexact=name)
    if people.exclude(back).exists():
        raise UniquenessException(detail=f"The e-mail address {email} is in use.")


def _check_not_last_administrator(user: User) -> None:
    if is_last_administrator(locked_member(user)):
        raise ForbiddenException(detail="The last administrator of an organisation cannot be switched off.")


# Groups and roles -----------------------------------------------------------------------------------------------------


@transaction.atomic
def create_group(*, token: ProvisioningToken, wanted: shapes.Group) -> ScimGroup:
    organization = token.organization
    name = _group_name(wanted)
    if organization.scim_groups.filter(display_name__iexact=name).exists():
        raise UniquenessException(detail=f"There is already a group {name}.")
    row = ScimGroup.objects.create(
        organization=organization,
        display_name=name,
        external_id=_short(wanted.external_id, "externalId"),
        role=_role_by_name(token, name),
    )
    members = _members(organization, wanted)
    row.members.set(members)
    audit.record(
        action="scim_group.created",
        organization=organization,
        target=row,
        details={"name": name, "members": len(members)},
    )
    services.apply_roles(token=token, users=members)
    return row


@transaction.atomic
def change_group(*, token: ProvisioningToken, row: ScimGroup, wanted: shapes.Group) -> ScimGroup:
    organization = token.organization
    name = _group_name(wanted)
    if organization.scim_groups.filter(display_name__iexact=name).exclude(pk=row.pk).exists():
        raise UniquenessException(detail=f"There is already a group {name}.")
    before, after = set(row.members.all()), set(_members(organization, wanted))
    external_id = _short(wanted.external_id, "externalId")
    if (row.display_name, row.external_id, before) == (name, external_id, after):
        return row
    row.display_name, row.external_id = name, external_id
    _bump(row)
    row.save()
    row.members.set(after)
    # Their list of groups is part of what is shown of them.
    ScimUser.objects.filter(pk__in=[one.pk for one in before ^ after]).update(version=F("version") + 1)
    audit.record(
        action="scim_group.changed",
        organization=organization,
        target=row,
        details={
            "name": name,
            "came": sorted(one.user_name for one in after - before),
            "left": sorted(one.user_name for one in before - after),
        },
    )
    services.apply_roles(token=token, users=before ^ after)
    return groups_of(organization).get(pk=row.pk)


@transaction.atomic
def delete_group(*, token: ProvisioningToken, row: ScimGroup) -> None:
    members = list(row.members.all())
    audit.record(
        action="scim_group.deleted", organization=token.organization, target=row, details={"name": row.display_name}
    )
    row.delete()
    services.apply_roles(token=token, users=members)


def _role_by_name(token: ProvisioningToken, name: str) -> str:
    """The role that a group is called like, where whoever made the token could give it; else "", none."""
    role, maker = name.lower(), token.created_by
    if role not in Role.values or role in NEVER_BY_NAME:
        return ""
    return role if maker is None or grantable_by(maker, ROLE_PERMISSIONS[role]) else ""


def _group_name(wanted: shapes.Group) -> str:
    name = _short(wanted.display_name, "displayName").strip()
    if not name:
        raise InvalidValueException(detail="displayName is needed.")
    return name


def _members(organization: Organization, wanted: shapes.Group) -> list[ScimUser]:
    keys = {str(member.value) for member in wanted.members or [] if member.value}
    try:
        wanted_keys = {UUID(key) for key in keys}
    except ValueError:
        raise InvalidValueException(detail="A member's value is no id of a user.") from None
    found = list(users_of(organization).filter(pk__in=wanted_keys))
    missing = wanted_keys - {row.pk for row in found}
    if missing:
        raise InvalidValueException(detail=f"There is no user {min(str(key) for key in missing)}.")
    return found


def _bump(row: Any) -> None:
    row.version += 1
    row.updated_at = timezone.now()
