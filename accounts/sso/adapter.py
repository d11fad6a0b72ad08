"""Whom a sign-in elsewhere signs in here: only within the organisation that configured the provider."""

from __future__ import annotations

import logging
from typing import Any

from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from accounts.sso import providers, services
from accounts.sso.outgoing import SafeSession
from deepfake.errors import DomainError

logger = logging.getLogger(__name__)


class SsoAdapter(DefaultSocialAccountAdapter):  # type: ignore[misc]
    def list_apps(self, request: Any, provider: str | None = None, client_id: str | None = None) -> list[Any]:
        """Only by name: nobody is shown which organisations have a provider."""
        connection = providers.find(provider=provider, client_id=client_id) if provider else None
        return [providers.app_of(connection)] if connection else []

    def get_requests_session(self) -> SafeSession:
        return SafeSession()

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        return False  # members are made in services.admit, or not at all

    def authenticate_by_email(self, sociallogin: Any) -> None:
        """Never across the installation: services.admit looks in the one organisation."""

    def is_email_verified(self, provider: Any, email: str) -> bool:
        return False  # the provider's word is judged in services, with the organisation's domains

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        connection = sociallogin.provider.app.connection
        try:
            if sociallogin.state.get("process") != "login":
                raise DomainError("Accounts are linked by signing in, not from here.", "sso_refused", status=403)
            services.admit(connection=connection, sociallogin=sociallogin, request=request)
        except DomainError as error:
            services.record_refusal(connection=connection, error=error)
            raise ImmediateHttpResponse(refused(request, error.message, connection)) from None

    def on_authentication_error(
        self, request: HttpRequest, provider: Any, error: Any = None, exception: Any = None, extra_context: Any = None
    ) -> None:
        connection = getattr(getattr(provider, "app", None), "connection", None)
        reason = (extra_context or {}).get("saml_last_error_reason") or exception or error
        logger.warning("Single sign-on through %s failed: %s", connection and connection.pk, reason)
        sentence = "The identity provider's answer could not be accepted. Start again from the sign-in page."
        if str(getattr(error, "value", error)) == "cancelled":
            sentence = "You stopped the sign-in at your identity provider."
        raise ImmediateHttpResponse(refused(request, sentence, connection))


def refused(request: HttpRequest, sentence: str, connection: Any = None, status: int = 403) -> HttpResponse:
    context = {"sentence": sentence, "connection": connection}
    return render(request, "accounts/sso/refused.html", context, status=status)
