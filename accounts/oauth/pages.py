"""Settings pages: the organisation's OAuth clients, and for each member what it granted."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.api_keys import holds_all
from accounts.authentication import may
from accounts.models import ClientKind, GrantEnd, OAuthClient, OAuthGrant
from accounts.oauth import scopes, services
from accounts.oauth.adapter import issuer
from accounts.oauth.forms import ClientForm, NewClientForm, RotateForm
from accounts.permissions import Permission, own_account, requires
from deepfake.errors import DomainError

GRANTS_SHOWN = 200


def _own(request: HttpRequest, pk: str) -> OAuthClient:
    found = OAuthClient.objects.select_related("client", "organization")
    return get_object_or_404(found, pk=pk, organization=request.user.organization)  # type: ignore[union-attr]


@require_GET
@requires(Permission.KEYS)
def clients(request: HttpRequest) -> HttpResponse:
    rows = (
        OAuthClient.objects.filter(organization=request.user.organization)  # type: ignore[union-attr]
        .select_related("client", "created_by")
        .annotate(live_grants=Count("grants", filter=Q(grants__revoked_at=None)))
        .order_by("client__name", "pk")
    )
    return render(request, "accounts/oauth/clients.html", {"clients": rows, "issuer": issuer()})


@require_http_methods(["GET", "POST"])
@never_cache
@requires(Permission.KEYS)
def create(request: HttpRequest) -> HttpResponse:
    form = NewClientForm(request.POST if request.method == "POST" else None)
    error = ""
    if request.method == "POST":
        if form.is_valid():
            try:
                row, secret = services.create_client(
                    organization=request.user.organization,  # type: ignore[union-attr, arg-type]
                    actor=request.user,  # type: ignore[arg-type]
                    **form.content(),
                )
            except DomainError as refused:
                error = refused.message
            else:
                return _show_secret(request, row, secret)
        else:
            error = _first(form)
    context = _form_context(request, form, []) | {"error": error, "kinds": ClientKind.choices}
    return render(request, "accounts/oauth/new_client.html", context, status=400 if error else 200)


@require_http_methods(["GET", "POST"])
@requires(Permission.KEYS)
def client(request: HttpRequest, pk: str) -> HttpResponse:
    row = _own(request, pk)
    start = {
        "name": row.name,
        "redirect_uris": "\n".join(row.client.get_redirect_uris()),
        "scopes": row.client.get_scopes(),
    }
    form = ClientForm(request.POST if request.method == "POST" else start)
    error = ""
    if request.method == "POST":
        if form.is_valid():
            try:
                services.change_client(registration=row, actor=request.user, **form.content())  # type: ignore[arg-type]
            except DomainError as refused:
                error = refused.message
            else:
                messages.success(request, "Saved.")
                return redirect("accounts:oauth_client", pk=pk)
        else:
            error = _first(form)
    context = _form_context(request, form, start["scopes"]) | {
        "client": row,
        "error": error,
        "grants": list(
            row.grants.filter(revoked_at=None).select_related("user").order_by("-created_at")[:GRANTS_SHOWN]
        ),
    }
    return render(request, "accounts/oauth/client.html", context, status=400 if error else 200)


@require_POST
@never_cache
@requires(Permission.KEYS)
def rotate(request: HttpRequest, pk: str) -> HttpResponse:
    row = _own(request, pk)
    form = RotateForm(request.POST)
    if not form.is_valid():
        raise DomainError(f"The old secret can hold for 0 to {services.MAX_OVERLAP_HOURS} hours more.", "invalid")
    secret = services.rotate_secret(
        registration=row,
        overlap_hours=form.cleaned_data["overlap_hours"],
        actor=request.user,  # type: ignore[arg-type]
    )
    return _show_secret(request, row, secret)


@require_POST
@requires(Permission.KEYS)
def switch(request: HttpRequest, pk: str) -> HttpResponse:
    """Off, with all its tokens, or on again."""
    row = _own(request, pk)
    if request.POST.get("to") == "on":
        services.enable_client(registration=row, actor=request.user)  # type: ignore[arg-type]
        messages.success(request, f"{row.name} is on. Members have to let it in anew.")
    else:
        services.disable_client(registration=row, actor=request.user)  # type: ignore[arg-type]
        messages.success(request, f"{row.name} is off. Its tokens no longer work.")
    return redirect("accounts:oauth_client", pk=pk)


@require_POST
@requires(Permission.KEYS)
def revoke(request: HttpRequest, pk: str, grant: UUID) -> HttpResponse:
    row = get_object_or_404(
        OAuthGrant.objects.select_related("client__organization"), pk=grant, client=_own(request, pk)
    )
    services.end_grant(grant=row, because=GrantEnd.ADMINISTRATOR, actor=request.user)  # type: ignore[arg-type]
    messages.success(request, "Revoked. Its tokens no longer work.")
    return redirect("accounts:oauth_client", pk=pk)


# Every member ---------------------------------------------------------------------------------------------------------


@require_GET
@own_account
def connected(request: HttpRequest) -> HttpResponse:
    grants = (
        OAuthGrant.objects.filter(user_id=request.user.pk or 0, revoked_at=None)
        .select_related("client__client", "client__organization")
        .order_by("-created_at")[:GRANTS_SHOWN]
    )
    rows = [(grant, [scopes.ALL.get(scope, scope) for scope in grant.scopes]) for grant in grants]
    return render(request, "accounts/oauth/connected.html", {"rows": rows})


@require_POST
@own_account
def disconnect(request: HttpRequest, grant: UUID) -> HttpResponse:
    found = OAuthGrant.objects.select_related("client__organization", "client__client")
    row = get_object_or_404(found, pk=grant, user_id=request.user.pk)
    services.end_grant(grant=row, because=GrantEnd.MEMBER, actor=request.user)  # type: ignore[arg-type]
    messages.success(request, f"{row.client.name} no longer acts for you.")
    return redirect("accounts:connected_programs")


def _show_secret(request: HttpRequest, row: OAuthClient, secret: str) -> HttpResponse:
    return render(request, "accounts/oauth/secret.html", {"client": row, "secret": secret, "issuer": issuer()})


def _form_context(request: HttpRequest, form: ClientForm, kept: list[str]) -> dict[str, Any]:
    """The scopes to choose from: those that the member holds and so may give, and those that the client has."""
    chosen = form.data.getlist("scopes") if hasattr(form.data, "getlist") else form.data.get("scopes", [])
    older = {name: words for name, words in scopes.OLDER.items() if name in kept}
    api = [
        (scope, words)
        for scope, words in (scopes.API | older).items()
        if scope in kept or holds_all(scope, lambda one: may(request, one))
    ]
    return {
        "form": form,
        "chosen": set(chosen),
        "groups": [("About the member", scopes.IDENTITY.items()), ("At the API", api)],
    }


def _first(form: ClientForm) -> str:
    return next(str(sentence) for sentences in form.errors.values() for sentence in sentences)
