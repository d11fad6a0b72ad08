"""Middleware: sessions end when the organisation's rules say so, and a second factor is set up before anything else."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.urls import reverse
from django.utils.deprecation import MiddlewareMixin
from django.utils.http import url_has_allowed_host_and_scheme
from django_htmx.http import HttpResponseClientRedirect

from accounts import audit, sessions, sign_in
from accounts.authentication import bearer_text
from accounts.models import User
from deepfake.api_errors import error_response, wants_problem

# What a member may open who has yet to set up a second factor.
SETTING_UP = {
    "accounts:second_factor",
    "account_logout",
    "account_reauthenticate",
    "mfa_reauthenticate",
    "mfa_reauthenticate_webauthn",
    "mfa_activate_totp",
    "mfa_add_webauthn",
    "mfa_view_recovery_codes",
    "mfa_download_recovery_codes",
    "mfa_generate_recovery_codes",
    "local_ca",
    "trust",
    "api_health",
    "api_health_live",
    "api_health_ready",
}
# Pages ask these by themselves; they are no sign that somebody is there.
ASKED_BY_PAGES = {"detection:states", "api_health_live"}
OVER = {
    "idle": "You were signed out because this device was not used for a while.",
    "age": "You were signed out because your session had reached its full length.",
}

NOT_DONE = "What you sent was not saved, because you are signed out. Sign in, and send it once more."


class SignInMiddleware(MiddlewareMixin):
    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        if settings.SESSION_COOKIE_NAME not in request.COOKIES:
            return None
        user = request.user
        if not isinstance(user, User):
            return None
        name = request.resolver_match.view_name if request.resolver_match else ""
        rules = sign_in.rules_of(user.organization_id)
        if why := sessions.why_over(getattr(request.session, "row", None), rules):
            _end(request, user, why)
            return None
        sessions.renew_key(request, user)
        if not _is_automatic(request, name):
            sessions.touch(request)
        if name not in SETTING_UP and not _speaks_by_key(request) and sign_in.needs_second_factor(user, rules):
            return _lead_to_set_up(request)
        return None

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        if request.method not in ("GET", "HEAD") and _leads_to_sign_in(response):
            if request.headers.get("X-Requested-With") != "fetch":
                messages.warning(request, NOT_DONE)
            # Not to the address that takes the form: after signing in it would be asked for a page, and has none.
            address = f"{resolve_url(settings.LOGIN_URL)}?{urlencode({'next': _form_of(request)})}"
            # htmx would put the page of sign-in into a part of the one that is open.
            is_part = request.headers.get("HX-Request") == "true"
            return HttpResponseClientRedirect(address) if is_part else HttpResponseRedirect(address)
        return response


def _leads_to_sign_in(response: HttpResponse) -> bool:
    address = urlsplit(response.get("Location", ""))
    return response.status_code == 302 and bool(address.query) and address.path == resolve_url(settings.LOGIN_URL)


def _form_of(request: HttpRequest) -> str:
    """The page whose form was sent; its fragment tells drafts.js to put back what was typed."""
    referrer = request.headers.get("Referer", "")
    if not url_has_allowed_host_and_scheme(referrer, {request.get_host()}, require_https=request.is_secure()):
        return "/"
    page = urlsplit(referrer)
    return urlunsplit(("", "", page.path or "/", page.query, "unsent"))


def _end(request: HttpRequest, user: User, why: str) -> None:
    """Go on as nobody: pages that need a member lead to sign-in, public ones stay."""
    request.session.flush()
    request.user = AnonymousUser()
    audit.record(
        action="auth.session_ended",
        organization=user.organization,
        actor=user,
        target=user,
        details={"why": why},
    )
    if not wants_problem(request) and not _is_automatic(request, ""):
        messages.info(request, OVER[why])


def _is_automatic(request: HttpRequest, name: str) -> bool:
    asked = request.method in ("GET", "HEAD") and request.headers.get("X-Requested-With") == "fetch"
    return asked or name in ASKED_BY_PAGES


def _speaks_by_key(request: HttpRequest) -> bool:
    # The API looks at the key or token first and never falls back to the session beside it. A header without one
    # is no key: it would be refused there, and must not open the way for the session here.
    return request.path.startswith("/v1/") and bool(bearer_text(request.headers.get("Authorization", "")))


def _lead_to_set_up(request: HttpRequest) -> HttpResponse:
    if wants_problem(request):
        error = sign_in.second_factor_required()
        return error_response(request, error.status, error.code, error.message)
    address = reverse("accounts:second_factor")
    if request.method == "GET" and request.headers.get("X-Requested-With") != "fetch":
        address += "?" + urlencode({"next": request.get_full_path()})
    return HttpResponseRedirect(address)
