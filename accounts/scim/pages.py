"""The settings page of provisioning."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from accounts.models import ProvisioningToken, Role, ScimGroup
from accounts.permissions import Permission, requires
from accounts.roles import holds_every_right
from accounts.scim import services

GROUPS_SHOWN = 500


def _page(request: HttpRequest, text: str = "") -> HttpResponse:
    organization: Any = request.user.organization  # type: ignore[union-attr]
    context = {
        "organization": organization,
        "token": ProvisioningToken.objects.filter(organization=organization).select_related("created_by").first(),
        "text": text,
        "base": f"{settings.PUBLIC_URL}/scim/v2",
        "groups": list(
            organization.scim_groups.annotate(count=Count("members")).order_by("display_name")[:GROUPS_SHOWN]
        ),
        "roles": Role.choices,
        "may_connect": holds_every_right(request.user),  # type: ignore[arg-type]
    }
    return render(request, "accounts/scim/provisioning.html", context)


@require_GET
@requires(Permission.SIGN_IN)
def provisioning(request: HttpRequest) -> HttpResponse:
    return _page(request)


@require_POST
@never_cache
@requires(Permission.SIGN_IN)
def make_token(request: HttpRequest) -> HttpResponse:
    text = services.make_token(
        organization=request.user.organization,  # type: ignore[union-attr, arg-type]
        actor=request.user,  # type: ignore[arg-type]
    )
    return _page(request, text)


@require_POST
@requires(Permission.SIGN_IN)
def remove_token(request: HttpRequest) -> HttpResponse:
    services.remove_token(
        organization=request.user.organization,  # type: ignore[union-attr, arg-type]
        actor=request.user,  # type: ignore[arg-type]
    )
    messages.success(request, "The token is worth nothing from now on. Members stay as they are.")
    return redirect("accounts:provisioning")


@require_POST
@requires(Permission.SIGN_IN)
def default_role(request: HttpRequest) -> HttpResponse:
    token = get_object_or_404(ProvisioningToken, organization=request.user.organization)  # type: ignore[union-attr]
    services.set_default_role(token=token, role=request.POST.get("role", ""), actor=request.user)  # type: ignore[arg-type]
    messages.success(request, "Saved.")
    return redirect("accounts:provisioning")


@require_POST
@requires(Permission.SIGN_IN)
def group_role(request: HttpRequest, pk: UUID) -> HttpResponse:
    organization: Any = request.user.organization  # type: ignore[union-attr]
    row = get_object_or_404(ScimGroup, pk=pk, organization=organization)
    token = get_object_or_404(ProvisioningToken.objects.select_related("organization"), organization=organization)
    services.set_group_role(token=token, row=row, role=request.POST.get("role", ""), actor=request.user)  # type: ignore[arg-type]
    messages.success(request, f"Saved. Members of {row.display_name} have the role from now on.")
    return redirect("accounts:provisioning")
