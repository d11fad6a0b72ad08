"""Provisioning as its administrators see it: the token, and which roles the groups of a provider give.

What providers say through the protocol is in resources.py, whose library takes half a second to load.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable

from django.core.cache import cache
from django.db import transaction
from django.utils import timezone

from accounts import audit
from accounts import roles as role_services
from accounts.models import Organization, ProvisioningToken, Role, ScimGroup, ScimUser, User
from accounts.roles import is_last_administrator
from deepfake.errors import DomainError

# Of several groups the role that stands first here counts.
ROLE_ORDER = (Role.ADMIN, Role.REVIEWER, Role.ANALYST, Role.DATA_SCIENTIST, Role.VIEWER)


# The token ------------------------------------------------------------------------------------------------------------


def make_token(*, organization: Organization, actor: User) -> str:
    """Return a new token, which is shown this once; the one before it is worth nothing from now on.

    Its provider decides who is which member and which role each has: only somebody who holds every right makes one.
    Raises DomainError.
    """
    role_services.check_every_right(actor)
    text = f"scim_{secrets.token_urlsafe(32)}"
    with transaction.atomic():
        row, is_new = ProvisioningToken.objects.update_or_create(
            organization=organization,
            defaults={"hash": _hash(text), "created_by": actor, "created_at": timezone.now(), "last_used_at": None},
        )
        audit.record(
            action="scim_token.created" if is_new else "scim_token.rotated",
            organization=organization,
            actor=actor,
            target=row,
        )
    return text


def remove_token(*, organization: Organization, actor: User) -> None:
    with transaction.atomic():
        removed, _ = ProvisioningToken.objects.filter(organization=organization).delete()
        if removed:
            audit.record(action="scim_token.removed", organization=organization, actor=actor, target=organization)


def find_token(text: str) -> ProvisioningToken | None:
    found = ProvisioningToken.objects.select_related("organization").filter(hash=_hash(text)).first()
    if found is None or not hmac.compare_digest(found.hash, _hash(text)):
        return None
    if cache.add(f"scim-use:{found.pk}", 1, timeout=60):
        ProvisioningToken.objects.filter(pk=found.pk).update(last_used_at=timezone.now())
    return found


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


# Roles ----------------------------------------------------------------------------------------------------------------


@transaction.atomic
def set_group_role(*, token: ProvisioningToken, row: ScimGroup, role: str, actor: User) -> None:
    """Say which role the members of a group get; "" for none. Raises DomainError."""
    role_services.check_every_right(actor)
    if role and role not in Role.values:
        raise DomainError(f"There is no role {role}.", "invalid")
    before = row.role
    if before == role:
        return
    row.role = role
    row.save(update_fields=["role"])
    audit.record(
        action="scim_group.role_set",
        organization=token.organization,
        actor=actor,
        target=row,
        details={"name": row.display_name, "before": before, "role": role},
    )
    apply_roles(token=token, users=row.members.all())


def set_default_role(*, token: ProvisioningToken, role: str, actor: User) -> None:
    """Say which role members get whose groups give none. Raises DomainError."""
    role_services.check_every_right(actor)
    if role not in Role.values:
        raise DomainError(f"There is no role {role}.", "invalid")
    with transaction.atomic():
        token.default_role = role
        token.save(update_fields=["default_role"])
        audit.record(
            action="scim_token.default_role_set",
            organization=token.organization,
            actor=actor,
            target=token,
            details={"role": role},
        )


def apply_roles(*, token: ProvisioningToken, users: Iterable[ScimUser]) -> None:
    """Give each of them the highest role of its groups, or the default role when no group gives one."""
    keys = [row.pk for row in users]
    rows = ScimUser.objects.filter(pk__in=keys).select_related("user").prefetch_related("groups")
    for row in rows:
        roles = {group.role for group in row.groups.all() if group.role}
        role = next((one for one in ROLE_ORDER if one in roles), token.default_role)
        _set_role(token, row.user, role)


def _set_role(token: ProvisioningToken, user: User, role: str) -> None:
    if user.organization_id != token.organization_id or user.is_staff or user.is_superuser:
        return
    if user.custom_role_id is not None:
        return  # a role of the organisation's own was given here, by hand: no group of the provider's stands for it
    if is_last_administrator(user):
        return  # an organisation without an administrator could not mend its groups
    role_services.set_role(member=user, role=role, actor=None)
