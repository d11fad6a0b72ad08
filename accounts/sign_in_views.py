"""Pages of sign-in: a member's own, the set-up of a second factor, and the organisation's rules."""

from __future__ import annotations

import ipaddress
import uuid
from typing import Any

from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn.views import EditWebAuthnView, remove_webauthn
from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts import audit, sessions, sign_in
from accounts.models import User
from accounts.permissions import Permission, own_account, requires
from accounts.sign_in_forms import RulesForm
from deepfake.errors import DomainError


@require_GET
@own_account
@never_cache
def security(request: HttpRequest) -> HttpResponse:
    user = _member(request)
    rules = sign_in.rules_of(user.organization_id)
    found = list(Authenticator.objects.filter(user=user).order_by("created_at"))
    codes = next((one for one in found if one.type == Authenticator.Type.RECOVERY_CODES), None)
    by = sign_in.deadline(user, rules)
    counted = [one for one in found if one.type in sign_in.kinds_that_count(rules)]
    context = {
        "rules": rules,
        "app": next((one for one in found if one.type == Authenticator.Type.TOTP), None),
        "passkeys": [
            {"row": one, "alone": bool(one.wrap().is_passwordless)}
            for one in found
            if one.type == Authenticator.Type.WEBAUTHN
        ],
        "codes_left": len(codes.wrap().get_unused_codes()) if codes else None,
        "deadline": by if not counted else None,
        "is_required": by is not None,
        "devices": [
            {
                "row": row,
                "name": sessions.browser_name(row.user_agent),
                "is_this": sessions.is_this(request, row),
            }
            for row in sessions.sessions_of(user)
        ],
        "passkey_address": passkey_address(request),
    }
    return render(request, "accounts/security.html", context)


@own_account
@require_POST
def end_session(request: HttpRequest, device_id: uuid.UUID) -> HttpResponse:
    row = sessions.end_session(_member(request), device_id)
    if row is None:
        raise Http404
    if sessions.is_this(request, row):
        request.session.flush()
        return redirect("account_login")
    messages.success(request, f"{sessions.browser_name(row.user_agent)} is signed out.")
    return redirect("accounts:security")


@own_account
@require_POST
def end_other_sessions(request: HttpRequest) -> HttpResponse:
    user = _member(request)
    count = sessions.end_sessions(user, keep=request.session.session_key, why="member", actor=user)
    words = {0: "No other device was signed in.", 1: "One other device is signed out."}
    messages.success(request, words.get(count, f"{count} other devices are signed out."))
    return redirect("accounts:security")


@require_GET
@own_account
@never_cache
def second_factor(request: HttpRequest) -> HttpResponse:
    """Where members are led who may do nothing before they have a second factor."""
    user = _member(request)
    rules = sign_in.rules_of(user.organization_id)
    if not sign_in.needs_second_factor(user, rules):
        wanted = request.GET.get("next", "")
        is_ours = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
        # Not redirect(), which takes a bare word for the name of a view.
        return HttpResponseRedirect(wanted if is_ours else reverse("accounts:security"))
    return render(
        request,
        "accounts/second_factor.html",
        {
            "app_counts": Authenticator.Type.TOTP in sign_in.kinds_that_count(rules),
            "passkey_address": passkey_address(request),
        },
    )


@own_account
@require_http_methods(["GET", "POST"])
def remove_passkey(request: HttpRequest, pk: int) -> HttpResponseBase:
    """allauth's page, but not for the last passkey of a member who must have one."""
    row = Authenticator.objects.filter(user=_member(request), type=Authenticator.Type.WEBAUTHN, pk=pk).first()
    if row is None:
        raise Http404
    if not sign_in.may_lose(row):
        messages.error(
            request, "Your organisation asks for a second factor. Add another one before you remove this one."
        )
        return redirect("accounts:security")
    answer: HttpResponseBase = remove_webauthn(request, pk=pk)
    return answer


class _RenamePasskey(EditWebAuthnView):  # type: ignore[misc]
    """allauth's page, which tells nobody that a passkey has another name."""

    def form_valid(self, form: Any) -> HttpResponse:
        user = _member(self.request)
        with transaction.atomic():
            answer: HttpResponse = super().form_valid(form)
            audit.record(
                action="auth.factor_renamed",
                organization=user.organization,
                actor=user,
                target=user,
                details={"kind": "webauthn"},
            )
        return answer


@own_account
def rename_passkey(request: HttpRequest, pk: int) -> HttpResponseBase:
    answer: HttpResponseBase = _RenamePasskey.as_view()(request, pk=pk)
    return answer


@require_http_methods(["GET", "POST"])
@requires(Permission.SIGN_IN)
def sign_in_rules(request: HttpRequest) -> HttpResponse:
    user = _member(request)
    organization = user.organization
    assert organization is not None
    form = RulesForm.of(sign_in.rules_of(organization.pk), organization)
    status = 200
    if request.method == "POST":
        form = RulesForm(request.POST, organization=organization)
        status = 400
        if form.is_valid():
            try:
                sign_in.change_rules(
                    organization=organization,
                    actor=user,
                    wish=form.cleaned_data,
                )
            except DomainError as error:
                form.add_error("passwords_allowed", error.message)
            else:
                messages.success(request, "The rules are saved. They hold from now on, for open sessions too.")
                return redirect("accounts:sign_in_rules")
    context: dict[str, Any] = {
        "form": form,
        "roles": sign_in.members_by_role(organization),
        "chosen": set(form["required_roles"].value() or []),
        "organization": organization,
        "with_factors": sign_in.members_with_factors(organization, actor=user),
    }
    return render(request, "accounts/sign_in_rules.html", context, status=status)


@require_POST
@requires(Permission.SIGN_IN)
def reset_factors(request: HttpRequest) -> HttpResponse:
    """For a member who has lost phone and recovery codes."""
    user = _member(request)
    wanted = request.POST.get("member", "")
    if not wanted:
        raise DomainError("Choose the member whose second factors shall be removed.", "invalid")
    member = get_object_or_404(
        User, organization_id=user.organization_id, pk=int(wanted) if wanted.isascii() and wanted.isdigit() else 0
    )
    sign_in.reset_factors(member=member, actor=user)
    messages.success(
        request, f"{member.username} signs in with the password alone until a new second factor is set up."
    )
    return redirect("accounts:sign_in_rules")


def passkey_address(request: HttpRequest) -> str:
    """Where passkeys work when they cannot here: browsers tie them to a name, never to a number."""
    host, _, port = request.get_host().rpartition(":") if not request.get_host().endswith("]") else ("", "", "")
    host = host or request.get_host()
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return "" if request.is_secure() or host == "localhost" or host.endswith(".localhost") else "https"
    if not address.is_loopback:
        return "name"
    place = f"localhost:{port}" if port else "localhost"
    return f"{request.scheme}://{place}{request.get_full_path()}"


def _member(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user
