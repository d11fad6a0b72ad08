"""Pages of roles: what each may do, and roles of the organisation's own."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts import roles
from accounts.authentication import organization_of
from accounts.models import CustomRole, Role, User
from accounts.permissions import PERMISSION_GROUPS, ROLE_PERMISSIONS, Permission, requires
from deepfake.errors import DomainError


@require_GET
@requires(Permission.MEMBERS)
def role_list(request: HttpRequest) -> HttpResponse:
    return _render_list(request)


def _render_list(request: HttpRequest, error: DomainError | None = None) -> HttpResponse:
    own = roles.custom_roles(organization_of(request))
    columns = [(str(role.label), ROLE_PERMISSIONS[role.value]) for role in Role]
    columns += [(role.name, role.permission_set) for role in own]
    groups = [
        (words, [(permission.label, [permission in held for _, held in columns]) for permission in permissions])
        for words, permissions in PERMISSION_GROUPS
    ]
    actor = _actor(request)
    context = {
        "names": [name for name, _ in columns],
        "groups": groups,
        "own": [{"role": role, "is_in_reach": roles.grantable_by(actor, role.permission_set)} for role in own],
        "width": len(columns) + 1,
        "error": error,
    }
    return render(request, "accounts/roles.html", context, status=error.status if error else 200)


@require_http_methods(["GET", "POST"])
@requires(Permission.MEMBERS)
def create(request: HttpRequest) -> HttpResponse:
    return _edit(request, None)


@require_http_methods(["GET", "POST"])
@requires(Permission.MEMBERS)
def change(request: HttpRequest, pk: UUID) -> HttpResponse:
    return _edit(request, _found(request, pk))


def _edit(request: HttpRequest, role: CustomRole | None) -> HttpResponse:
    """The form; what is refused comes back with all that was chosen."""
    actor, error = _actor(request), None
    name = role.name if role else ""
    chosen = set(role.permissions) if role else {Permission.VIEW.value}
    if request.method == "POST":
        name, chosen = request.POST.get("name", ""), set(request.POST.getlist("permissions"))
        wanted: dict[str, Any] = {"name": name, "permissions": chosen, "actor": actor}
        try:
            if role is None:
                made = roles.create_role(organization=organization_of(request), **wanted)
                messages.success(request, f"The role {made.name} is there. Give it to members on their pages.")
            else:
                roles.change_role(role=role, **wanted)
                messages.success(request, f"The role {role.name} is changed, for all who have it.")
            return redirect("accounts:roles")
        except DomainError as refused:
            error = refused
    groups = [
        (
            words,
            [{"permission": one, "is_chosen": one.value in chosen, "is_held": actor.may(one)} for one in permissions],
        )
        for words, permissions in PERMISSION_GROUPS
    ]
    context = {
        "role": role,
        "name": name,
        "groups": groups,
        "error": error,
        "is_in_reach": role is None or roles.grantable_by(actor, role.permission_set),
    }
    return render(request, "accounts/role_form.html", context, status=error.status if error else 200)


@require_POST
@requires(Permission.MEMBERS)
def delete(request: HttpRequest, pk: UUID) -> HttpResponse:
    role = _found(request, pk)
    try:
        roles.delete_role(role=role, actor=_actor(request))
    except DomainError as error:
        return _render_list(request, error)
    messages.success(request, f"The role {role.name} is deleted.")
    return redirect("accounts:roles")


def _actor(request: HttpRequest) -> User:
    assert isinstance(request.user, User)  # `requires` has let nobody else in
    return request.user


def _found(request: HttpRequest, pk: UUID) -> CustomRole:
    return get_object_or_404(CustomRole, pk=pk, organization=organization_of(request))
