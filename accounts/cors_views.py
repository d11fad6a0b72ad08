"""The page of browser origins."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from accounts import cors
from accounts.authentication import member_of, organization_of
from accounts.models import AllowedOrigin
from accounts.permissions import Permission, requires
from deepfake.errors import DomainError
from deepfake.reader_zone import in_readers_zone


@require_http_methods(["GET", "POST"])
@requires(Permission.KEYS)
@in_readers_zone
def origins(request: HttpRequest) -> HttpResponse:
    organization, error = organization_of(request), None
    if request.method == "POST":
        try:
            row = cors.allow_origin(
                organization=organization,
                origin=request.POST.get("origin", "")[:400],
                actor=member_of(request),
            )
        except DomainError as refused:
            error = refused
        else:
            messages.success(request, f"Pages of {row.origin} may ask the API now.")
            return redirect("accounts:origins")
    context = {
        "organization": organization,
        "rows": list(organization.allowed_origins.select_related("created_by").order_by("origin")),
        "error": error,
        "typed": request.POST.get("origin", "")[:400],
    }
    return render(request, "accounts/origins.html", context, status=error.status if error else 200)


@require_POST
@requires(Permission.KEYS)
def remove(request: HttpRequest, pk: UUID) -> HttpResponse:
    rows = AllowedOrigin.objects.select_related("organization")
    row = get_object_or_404(rows, pk=pk, organization=organization_of(request))
    cors.remove_origin(row=row, actor=member_of(request))
    messages.success(request, f"Pages of {row.origin} can no longer ask the API.")
    return redirect("accounts:origins")
