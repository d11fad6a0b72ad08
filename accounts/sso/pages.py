"""Settings pages of single sign-on."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts import sign_in
from accounts.models import EmailDomain, Role, SsoConnection, SsoKind
from accounts.permissions import Permission, requires
from accounts.roles import holds_every_right
from accounts.sso import services
from accounts.sso.forms import ConnectionForm, NewConnectionForm
from deepfake.errors import DomainError


def _own(request: HttpRequest, pk: UUID) -> SsoConnection:
    found = SsoConnection.objects.select_related("organization")
    return get_object_or_404(found, pk=pk, organization=request.user.organization)  # type: ignore[union-attr]


def _own_domain(request: HttpRequest, pk: UUID) -> EmailDomain:
    found = EmailDomain.objects.select_related("organization")
    return get_object_or_404(found, pk=pk, organization=request.user.organization)  # type: ignore[union-attr]


@require_GET
@requires(Permission.SIGN_IN)
def overview(request: HttpRequest) -> HttpResponse:
    organization: Any = request.user.organization  # type: ignore[union-attr]
    context = {
        "organization": organization,
        "connections": list(organization.sso_connections.order_by("name")),
        "domains": list(organization.email_domains.order_by("domain")),
        "passwords_off": not sign_in.rules_of(organization.pk).passwords_allowed,
        "may_connect": holds_every_right(request.user),  # type: ignore[arg-type]
        "entrance": f"{settings.PUBLIC_URL}{reverse('sso_find')}?organization={organization.slug}",
    }
    return render(request, "accounts/sso/overview.html", context)


@require_http_methods(["GET", "POST"])
@requires(Permission.SIGN_IN)
def create(request: HttpRequest, kind: str) -> HttpResponse:
    kind = SsoKind(kind)
    start = {"kind": kind, "is_enabled": True, "default_role": Role.VIEWER, "group_attribute": "groups"}
    data = request.POST.copy() if request.method == "POST" else start | {"vouches_for_emails": kind == SsoKind.SAML}
    data["kind"] = kind
    return _edit(request, NewConnectionForm(data), kind, None)


@require_http_methods(["GET", "POST"])
@requires(Permission.SIGN_IN)
def change(request: HttpRequest, pk: UUID) -> HttpResponse:
    row = _own(request, pk)
    form = ConnectionForm(request.POST if request.method == "POST" else ConnectionForm.of(row))
    return _edit(request, form, row.kind, row)


def _edit(request: HttpRequest, form: ConnectionForm, kind: str, row: SsoConnection | None) -> HttpResponse:
    error = ""
    if request.method == "POST":
        if form.is_valid():
            try:
                saved = services.save_connection(
                    organization=request.user.organization,  # type: ignore[union-attr, arg-type]
                    actor=request.user,  # type: ignore[arg-type]
                    connection=row,
                    **form.content(),
                )
            except DomainError as refused:
                error = refused.message
            else:
                messages.success(request, "Saved. The provider answered as it should.")
                return redirect("accounts:sso_connection", pk=saved.pk)
        else:
            error = next(str(sentence) for sentences in form.errors.values() for sentence in sentences)
    context = {"form": form, "kind": kind, "row": row, "error": error, "roles": Role.choices}
    context["may_connect"] = holds_every_right(request.user)  # type: ignore[arg-type]
    if row is not None:
        context["told"] = _told(row)
    return render(request, "accounts/sso/connection.html", context, status=400 if error else 200)


def _told(row: SsoConnection) -> list[tuple[str, str]]:
    """What the other side has to know about us."""
    base = settings.PUBLIC_URL
    if row.kind == SsoKind.OIDC:
        return [("Redirect address", base + reverse("openid_connect_callback", args=[row.provider_id]))]
    slug = [row.id.hex]
    return [
        ("Entity id and metadata", base + reverse("saml_metadata", args=slug)),
        ("Assertion consumer service (POST)", base + reverse("saml_acs", args=slug)),
    ]


@require_POST
@requires(Permission.SIGN_IN)
def remove(request: HttpRequest, pk: UUID) -> HttpResponse:
    services.remove_connection(connection=_own(request, pk), actor=request.user)  # type: ignore[arg-type]
    messages.success(request, "Removed. Members keep their accounts.")
    return redirect("accounts:sso")


@require_POST
@requires(Permission.SIGN_IN)
def add_domain(request: HttpRequest) -> HttpResponse:
    return _told_as_message(
        request,
        "Added. Put the proof on its web server, then verify it.",
        lambda: services.add_domain(
            organization=request.user.organization,  # type: ignore[union-attr, arg-type]
            domain=request.POST.get("domain", ""),
            actor=request.user,  # type: ignore[arg-type]
        ),
    )


@require_POST
@requires(Permission.SIGN_IN)
def verify_domain(request: HttpRequest, pk: UUID) -> HttpResponse:
    row = _own_domain(request, pk)
    return _told_as_message(
        request,
        f"{row.domain} is verified.",
        lambda: services.verify_domain(domain=row, actor=request.user),  # type: ignore[arg-type]
    )


@require_POST
@requires(Permission.SIGN_IN)
def remove_domain(request: HttpRequest, pk: UUID) -> HttpResponse:
    row = _own_domain(request, pk)
    return _told_as_message(
        request,
        f"{row.domain} is removed.",
        lambda: services.remove_domain(domain=row, actor=request.user),  # type: ignore[arg-type]
    )


@require_POST
@requires(Permission.SIGN_IN)
def passwords(request: HttpRequest) -> HttpResponse:
    is_off = request.POST.get("passwords") == "off"
    return _told_as_message(
        request,
        "Passwords are off: single sign-on and passkeys remain." if is_off else "Members may sign in with a password.",
        lambda: sign_in.allow_passwords(
            organization=request.user.organization,  # type: ignore[union-attr, arg-type]
            is_allowed=not is_off,
            actor=request.user,  # type: ignore[arg-type]
        ),
    )


def _told_as_message(request: HttpRequest, done: str, act: Any) -> HttpResponse:
    """The forms of the overview are small: a refusal stands above the page that one comes back to."""
    try:
        act()
    except DomainError as refused:
        messages.error(request, refused.message)
    else:
        messages.success(request, done)
    return redirect("accounts:sso")
