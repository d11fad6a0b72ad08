"""The way through single sign-on: find the organisation, go to its provider, come back."""

from __future__ import annotations

import binascii
from typing import Any

from allauth.core.internal import httpkit
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.helpers import complete_social_login, render_authentication_error
from allauth.socialaccount.providers.base.constants import AuthError, AuthProcess
from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from allauth.socialaccount.providers.openid_connect.views import callback as allauth_callback
from allauth.socialaccount.providers.saml.views import acs as allauth_acs
from allauth.socialaccount.providers.saml.views import metadata as allauth_metadata
from allauth.socialaccount.sessions import LoginSession
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST
from onelogin.saml2.errors import OneLogin_Saml2_Error
from requests import RequestException

from accounts.models import SsoKind
from accounts.permissions import public
from accounts.sso import providers, services
from accounts.sso.adapter import refused

MAX_ANSWER_CHARACTERS = 500_000


@require_GET
@public("this is where one signs in; only who names an organisation is told of its providers")
def find(request: HttpRequest) -> HttpResponse:
    """By short name or e-mail address to the links of the organisation's providers.

    They are links and not a form: form-action would stop the way to another site in Chromium.
    """
    text = request.GET.get("organization", "")[:254]
    context = {
        "text": text,
        "connections": services.connections_for(text),
        "next": _safe_next(request),
    }
    return render(request, "accounts/sso/find.html", context)


@require_GET
@public("leads to the identity provider, which asks who it is")
def start(request: HttpRequest, provider_id: str) -> HttpResponse:
    connection = providers.find(provider=provider_id, client_id=None)
    if connection is None:
        raise Http404
    is_saml = connection.kind == SsoKind.SAML
    provider_class = providers.OrganizationSaml if is_saml else OpenIDConnectProvider
    provider = provider_class(providers.by_our_name(request), app=providers.app_of(connection))
    try:
        response: HttpResponse = provider.redirect(request, AuthProcess.LOGIN, next_url=_safe_next(request) or None)
    except (RequestException, KeyError, TypeError, ValueError, AttributeError, OneLogin_Saml2_Error) as error:
        return _failed(request, provider, exception=error)
    return response


@require_GET
@public("a step of signing in: nothing without the one before")
def oidc_callback(request: HttpRequest, provider_id: str) -> HttpResponse:
    """allauth's, but a provider whose answers make no sense gets a page and not an error of ours."""
    try:
        response: HttpResponse = allauth_callback(providers.by_our_name(request), provider_id)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return _failed(request, get_adapter(request).get_provider(request, provider=provider_id), exception=error)
    return response


@csrf_exempt  # it comes from the identity provider's page
@require_POST
@public("a step of signing in: it only puts the answer aside")
def saml_acs(request: HttpRequest, organization_slug: str) -> HttpResponse:
    """Put the answer aside and let the browser come again: with this POST it sends no cookie of ours."""
    if providers.find(provider="saml", client_id=organization_slug) is None:
        raise Http404
    if len(request.POST.get("SAMLResponse", "")) > MAX_ANSWER_CHARACTERS:
        return refused(request, "The answer of your identity provider is too large.", status=413)
    response: HttpResponse = allauth_acs(request, organization_slug=organization_slug)
    return response


@require_GET
@public("a step of signing in: nothing without the one before, and the provider's signature")
def finish_saml(request: HttpRequest, organization_slug: str) -> HttpResponse:
    """What allauth does with an answer that its ACS view put aside, with every certificate, and each answer once."""
    connection = providers.find(provider="saml", client_id=organization_slug)
    if connection is None:
        raise Http404
    provider = providers.OrganizationSaml(providers.by_our_name(request), app=providers.app_of(connection))
    held = LoginSession(request, "saml_acs_session", "saml-acs-session")
    stored = held.store.get("request")
    held.delete()
    if not stored:
        return refused(request, "The answer of your identity provider got lost. Start again.", connection, 400)
    fields = httpkit.deserialize_request(stored, HttpRequest()).POST.dict()
    auth = providers.saml_auth(request, connection, fields=fields)
    reason = _problem(auth)
    if reason:
        more = {"saml_last_error_reason": reason}
        return _failed(request, provider, error=AuthError.UNKNOWN, extra_context=more)
    answer_to = auth.get_last_response_in_response_to()
    try:
        if not answer_to:
            raise PermissionDenied("A sign-in has to begin here, not at the identity provider.")
        state = provider.unstash_redirect_state(request, answer_to)
        providers.refuse_second_use(connection, auth)
        login = provider.sociallogin_from_response(request, auth)
    except (PermissionDenied, ValueError) as error:
        return _failed(request, provider, exception=error)
    login.state = state
    response: HttpResponse = complete_social_login(request, login)
    return response


@require_GET
@public("what an identity provider reads of us: addresses, no people")
def saml_metadata(request: HttpRequest, organization_slug: str) -> HttpResponse:
    response: HttpResponse = allauth_metadata(providers.by_our_name(request), organization_slug=organization_slug)
    return response


def _failed(request: HttpRequest, provider: Any, **more: Any) -> HttpResponse:
    """Through allauth, whose adapter of ours writes the page."""
    response: HttpResponse = render_authentication_error(request, provider, **more)
    return response


def _problem(auth: Any) -> str:
    """Why the answer is not valid, or ""."""
    try:
        # Whether it answers a question of this very browser is checked by the state that is kept for it.
        auth.process_response(request_id=None)
    except (OneLogin_Saml2_Error, binascii.Error, ValueError, SyntaxError) as error:
        return str(error) or "not readable"
    if auth.get_errors():
        return str(auth.get_last_error_reason() or auth.get_errors())
    return "" if auth.is_authenticated() else "not signed in there"


def _safe_next(request: HttpRequest) -> str:
    wanted = request.GET.get("next", "")
    hosts = {request.get_host()}
    return wanted if url_has_allowed_host_and_scheme(wanted, hosts, require_https=request.is_secure()) else ""
