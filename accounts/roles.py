"""Roles: the built-in ones and those that an organisation puts together itself, and giving one to a member.

One rule runs through all of it: nobody grants, changes or takes away what they do not hold themselves.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.db import IntegrityError, transaction
from django.db.models import Count

from accounts import audit
from accounts.models import CustomRole, Organization, Role, User
from accounts.permissions import ROLE_PERMISSIONS, Permission
from deepfake.errors import DomainError

MOST_ROLES = 30
MAX_NAME = 40


def grantable_by(actor: User, permissions: frozenset[Permission]) -> bool:
    return permissions <= actor.permissions


def reaches(actor: User, member: User) -> bool:
    """Whether the actor holds all that the member may do. Operators are above everybody but superusers."""
    if (member.is_staff or member.is_superuser) and not actor.is_superuser and actor.pk != member.pk:
        return False
    return grantable_by(actor, member.permissions)


def holds_every_right(actor: User) -> bool:
    return grantable_by(actor, frozenset(Permission))


def custom_roles(organization: Organization) -> list[CustomRole]:
    """By name, each with `used`, the number of members who have it, switched-off ones included."""
    return list(organization.custom_roles.annotate(used=Count("members")).order_by("name"))


# Giving a role --------------------------------------------------------------------------------------------------------


def set_role(
    *, member: User, role: Role | str | None = None, custom_role: CustomRole | None = None, actor: User | None
) -> None:
    """Give a member a built-in role or one of the organisation's own. Raises DomainError.

    Without an actor (provisioning, a command) it is the organisation that decides: what the actor holds is not asked.
    """
    new, name = role_values(member, role, custom_role)
    with transaction.atomic():
        locked = locked_member(member)
        check_reach(actor, locked, new)
        before = locked.role_name
        if (locked.role, locked.custom_role_id) == (name, custom_role.pk if custom_role else None):
            return
        locked.role, locked.custom_role = name, custom_role
        locked.save(update_fields=["role", "custom_role"])
        check_administrator_remains(locked.organization)
        details = {"before": before, "after": locked.role_name}
        _record("user.role_changed", locked.organization, actor, locked, details)
    member.role, member.custom_role = name, custom_role


def role_values(
    member: User, role: Role | str | None, custom_role: CustomRole | None
) -> tuple[frozenset[Permission], str]:
    """The permissions that the new role brings, and what stands in `role`: the least one beside a custom role."""
    if (role is None) == (custom_role is None):
        raise DomainError("Choose one role.", "role_unknown", fields={"role": ["Choose one role."]})
    if custom_role is not None:
        if custom_role.organization_id != member.organization_id:
            raise DomainError("There is no such role in this organisation.", "role_unknown", 404)
        return custom_role.permission_set, Role.VIEWER.value
    if role not in Role.values:
        raise DomainError(f"Choose one of the roles: {', '.join(Role.labels)}.", "role_unknown")
    return ROLE_PERMISSIONS[str(role)], str(role)


def locked_member(member: User) -> User:
    """The member as nobody else can change it until the transaction ends, nor any other of the organisation.

    The organisation's row is what is locked: of two administrators who demote each other at once, one comes second.
    """
    organization = Organization.objects.select_for_update().get(users=member)
    found = User.objects.select_related("custom_role").get(pk=member.pk)
    found.organization = organization
    return found


def check_reach(actor: User | None, member: User, new: frozenset[Permission] = frozenset()) -> None:
    """Raise DomainError when the actor reaches above what they hold: by the member's role or by the new one."""
    if actor is None:
        return
    if not reaches(actor, member):
        raise DomainError(
            f"{member.get_username()} may do more than you: only somebody who holds the same rights can change this.",
            "role_above_yours",
            403,
        )
    if not grantable_by(actor, new):
        missing = sorted(permission.label for permission in new - actor.permissions)
        raise DomainError(
            f"You cannot give what you do not hold yourself: {'; '.join(missing)}.", "role_above_yours", 403
        )


def check_every_right(actor: User | None) -> None:
    """Raise DomainError for whoever lacks a right, where a step can confer all of them: an identity provider names
    members, links accounts to them and gives roles, and whoever connects one, or provisions, speaks for it.
    """
    if actor is not None and not holds_every_right(actor):
        raise DomainError(
            "Only somebody who holds every right can do this: who speaks for an identity provider can come in as any "
            "member and give any role.",
            "role_above_yours",
            403,
        )


def check_administrator_remains(organization: Organization | None) -> None:
    """Raise DomainError unless somebody active still holds every right: nobody could give the missing ones again."""
    if organization is not None and not organization.members_who_may(*Permission).exists():
        raise DomainError(
            "This would leave nobody who holds every right. Make somebody else an administrator first.",
            "last_administrator",
            409,
        )


def check_not_last_administrator(member: User) -> None:
    """Raise DomainError when nobody who holds every right would remain without this member.

    Whoever takes a member away asks under the lock of `locked_member`, so that of two at once one is refused.
    """
    if is_last_administrator(member):
        raise DomainError(
            f"{member.get_username()} is the last who holds every right. Make somebody else an administrator first.",
            "last_administrator",
            409,
        )


def is_last_administrator(member: User) -> bool:
    """Whether nobody else who is active holds every right, whatever the roles are called."""
    if member.organization is None or not member.is_active or not member.permissions >= frozenset(Permission):
        return False
    return not member.organization.members_who_may(*Permission).exclude(pk=member.pk).exists()


# Custom roles ---------------------------------------------------------------------------------------------------------


def create_role(*, organization: Organization, name: str, permissions: Iterable[str], actor: User) -> CustomRole:
    """Put a role together. Raises DomainError."""
    wanted = _checked(actor, permissions)
    with transaction.atomic():
        organization.lock()
        if organization.custom_roles.count() >= MOST_ROLES:
            raise DomainError(f"{MOST_ROLES} roles of your own are the most. Delete one first.", "too_many", 409)
        role = CustomRole(organization=organization, name=_name(name), permissions=wanted)
        _save(role)
        _record("role.created", organization, actor, role, {"name": role.name, "permissions": wanted})
    return role


def change_role(*, role: CustomRole, name: str, permissions: Iterable[str], actor: User) -> None:
    """Rename a role or change what it allows, for all who have it at once. Raises DomainError."""
    wanted = _checked(actor, permissions)
    with transaction.atomic():
        locked = _locked_role(role, actor)
        before = {"name": locked.name, "permissions": sorted(locked.permissions)}
        locked.name, locked.permissions = _name(name), wanted
        _save(locked)
        check_administrator_remains(locked.organization)
        after = {"name": locked.name, "permissions": wanted}
        _record("role.changed", locked.organization, actor, locked, {"before": before, "after": after})
    role.name, role.permissions = locked.name, wanted


def delete_role(*, role: CustomRole, actor: User) -> None:
    """Delete a role that nobody has. Raises DomainError."""
    with transaction.atomic():
        locked = _locked_role(role, actor)
        used = locked.members.count()
        if used:
            noun = "member has" if used == 1 else "members have"
            raise DomainError(f"{used} {noun} this role. Give them another one first.", "role_in_use", 409)
        details = {"name": locked.name, "permissions": sorted(locked.permissions)}
        _record("role.deleted", locked.organization, actor, locked, details)
        locked.delete()


def _locked_role(role: CustomRole, actor: User) -> CustomRole:
    """The role as it stands and nobody else changes or gives it; only for whoever holds all of it."""
    organization = Organization.objects.select_for_update().get(pk=role.organization_id)
    found = organization.custom_roles.filter(pk=role.pk).first()
    if found is None:
        raise DomainError(f"{role.name} was deleted meanwhile.", "role_unknown", 404)
    _check_own_reach(found, actor)
    return found


def _check_own_reach(role: CustomRole, actor: User) -> None:
    if not grantable_by(actor, role.permission_set):
        raise DomainError(
            f"{role.name} allows more than you may do yourself: only somebody who holds all of it can change it.",
            "role_above_yours",
            403,
        )


def _checked(actor: User, permissions: Iterable[str]) -> list[str]:
    wanted = sorted(set(permissions))
    unknown = [value for value in wanted if value not in Permission.values]
    if unknown:
        raise DomainError(f"There is no permission {', '.join(unknown)}.", "permission_unknown")
    if not wanted:
        raise DomainError("Choose at least one permission.", "permissions_missing")
    missing = sorted(Permission(value).label for value in wanted if Permission(value) not in actor.permissions)
    if missing:
        raise DomainError(
            f"You cannot give what you do not hold yourself: {'; '.join(missing)}.", "role_above_yours", 403
        )
    return wanted


def _name(name: str) -> str:
    name = " ".join(name.split())
    if not name or len(name) > MAX_NAME:
        raise DomainError(f"Give the role a name of at most {MAX_NAME} characters.", "name_invalid")
    if name.lower() in {word.lower() for word in (*Role.labels, *Role.values)}:
        raise DomainError(f"{name} is a built-in role. Choose another name.", "name_taken", 409)
    return name


def _save(role: CustomRole) -> None:
    try:
        with transaction.atomic():
            role.save()
    except IntegrityError:
        raise DomainError(f"There is a role called {role.name} already.", "name_taken", 409) from None


def _record(
    action: str, organization: Organization | None, actor: User | None, target: User | CustomRole, details: object
) -> None:
    audit.record(
        action=action,
        organization=organization,
        actor=actor,
        target=target,
        details=details,  # type: ignore[arg-type]
    )
