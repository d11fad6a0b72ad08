"""How sign-in behaves here: members are invited, failures make wait, and every change is told to the member."""

from __future__ import annotations

import base64
import hashlib
import logging
import secrets
from datetime import timedelta
from smtplib import SMTPException
from typing import Any
from urllib.parse import quote

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core import context
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from django import forms
from django.conf import settings
from django.contrib import messages
from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone

from accounts import audit, sessions, sign_in, sign_in_throttle
from accounts.models import User
from accounts.permissions import Permission
from deepfake import storage

logger = logging.getLogger(__name__)

PRODUCT = "Deepfake Detection"
KNOWN_COOKIE = "known_device"
KNOWN_FOR = timedelta(days=365)
MOST_KNOWN = 20
# A sign-in this fresh proves as much as asking for the password once more.
FRESH = timedelta(minutes=5)
SEALED = "sealed:"


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    # One sentence for every name that does not fit: which of them exist is nobody's business.
    error_messages = DefaultAccountAdapter.error_messages | {
        "username_password_mismatch": "This name and this password do not belong together.",
        "email_password_mismatch": "This name and this password do not belong together.",
        "incorrect_password": "This is not your password.",
        "enter_current_password": "This is not your current password.",
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def is_safe_url(self, url: str) -> bool:
        try:
            return bool(super().is_safe_url(url))
        except ValueError:  # "http://[" is no address at all
            return False

    def get_login_redirect_url(self, request: HttpRequest) -> str:
        """A role need not include seeing analyses: such a member begins with the settings."""
        user = request.user
        if isinstance(user, User) and user.organization_id is not None and not user.may(Permission.VIEW):
            return reverse("accounts:settings")
        return str(super().get_login_redirect_url(request))

    # Failures ---------------------------------------------------------------------------------------------------------

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        typed = str(credentials.get("email") or credentials.get("username") or "").strip().lower()
        self._throttled = [
            ("account", _account_name(request, typed)),
            ("address", audit.client_ip(request) or "unknown"),
        ]
        for kind, name in self._throttled:
            if wait := sign_in_throttle.reserve(kind, name):
                raise forms.ValidationError(sign_in_throttle.sentence(wait), "throttled")

    def authenticate(self, request: HttpRequest, **credentials: Any) -> Any:
        user = super().authenticate(request, **credentials)
        if user is None:
            return None
        for kind, name in self._throttled:
            sign_in_throttle.succeeded(kind, name)
        # Operators keep theirs: they are who lets an organisation in again whose other ways are out of reach.
        is_off = not sign_in.rules_of(user.organization_id).passwords_allowed
        if user.is_active and not user.is_staff and is_off:
            _record("auth.refused", user, why="passwords are turned off")
            raise forms.ValidationError(
                "Your organisation does not let its members sign in with a password. Use single sign-on or a passkey.",
                "password_not_allowed",
            )
        return user

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        for kind, name in self._throttled:
            if wait := sign_in_throttle.wait_s(kind, name):
                user = sign_in.find_member(str(credentials.get("email") or credentials.get("username") or ""))
                _record("auth.throttled", user, by=kind, wait_s=round(wait))

    # Signed in --------------------------------------------------------------------------------------------------------

    def post_login(self, request: HttpRequest, user: User, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().post_login(request, user, **kwargs)
        if "_session_expiry" not in request.session:
            request.session.set_expiry(0)  # nobody asked to stay signed in when the browser is closed
        token, known = _known_device(request)
        mark = _mark_of(user)
        if mark not in known:
            self.send_notification_mail("account/email/new_device", user)
        value = signing.dumps(
            {"t": token, "u": [*[one for one in known if one != mark], mark][-MOST_KNOWN:]}, salt=KNOWN_COOKIE
        )
        response.set_cookie(
            KNOWN_COOKIE,
            value,
            max_age=KNOWN_FOR,
            httponly=True,
            samesite="Lax",
            secure=settings.SESSION_COOKIE_SECURE,
        )
        rules = sign_in.rules_of(user.organization_id)
        by = sign_in.deadline(user, rules)
        if by is not None and by > timezone.now() and not sign_in.has_second_factor(user, rules):
            messages.warning(
                request,
                f"Your organisation asks you to add a second factor by {by:%-d %B %Y}: Settings, Your sign-in.",
            )
        return response

    def is_reauthentication_required(self, *, app: str, **kwargs: Any) -> bool:
        request = context.request
        began = sessions.started_at(request) if request is not None else None
        if began is not None and timezone.now() - began < FRESH:
            return False
        return bool(super().is_reauthentication_required(app=app, **kwargs))

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        return reverse("accounts:security")

    # E-mail -----------------------------------------------------------------------------------------------------------

    def send_notification_mail(
        self,
        template_prefix: str,
        user: User,
        context: dict[str, Any] | None = None,
        email: str | None = None,
    ) -> None:
        if address := email or user.email:
            more = {"user": user, "browser": sessions.browser_name(self.get_http_user_agent(self.request))}
            super().send_notification_mail(template_prefix, user, more | (context or {}), address)

    def get_reset_password_from_key_url(self, key: str) -> str:
        """Below PUBLIC_URL: the host that a request names may be anybody's, and the link is as good as a password."""
        path = reverse("account_reset_password_from_key", kwargs={"uidb36": "UID", "key": "KEY"})
        return settings.PUBLIC_URL + path.replace("UID-KEY", quote(key))

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        try:
            super().send_mail(template_prefix, email, context | {"public_url": settings.PUBLIC_URL})
        except (SMTPException, OSError):
            # What was done is done; a mail server that is away must not turn it into an error page.
            logger.exception("The e-mail %s could not be sent", template_prefix)


def _record(action: str, user: User | None, **details: Any) -> None:
    audit.record(
        action=action,
        organization=user.organization if user else None,
        actor=user,
        target=user,
        details=details,
    )


def _account_name(request: HttpRequest, typed: str) -> str:
    """What failures are counted under: the account however it was named; a device it is used on counts apart.

    So a stranger who guesses does not keep the member out of the browser that the member always uses.
    """
    user = sign_in.find_member(typed)
    if user is None:
        return f"typed:{typed}"
    token, known = _known_device(request)
    return f"{user.pk}:{token}" if _mark_of(user) in known else str(user.pk)


def _known_device(request: HttpRequest) -> tuple[str, list[str]]:
    """Return the browser's own token and the marks of the members who signed in with it before."""
    try:
        value = signing.loads(request.COOKIES.get(KNOWN_COOKIE, ""), salt=KNOWN_COOKIE, max_age=KNOWN_FOR)
        return str(value["t"]), [str(mark) for mark in value["u"]]
    except (signing.BadSignature, KeyError, TypeError):
        return secrets.token_urlsafe(12), []


def _mark_of(user: User) -> str:
    # Changes with the password: after a change every device is new, and an old cookie buys no further guesses.
    return hashlib.sha256(f"{user.pk}:{user.password}".encode()).hexdigest()[:16]


class MFAAdapter(DefaultMFAAdapter):  # type: ignore[misc]
    error_messages = DefaultMFAAdapter.error_messages | {
        "cannot_delete_authenticator": (
            "Your organisation asks for a second factor. Add another one before you remove this one."
        ),
        "incorrect_code": "This code is wrong or has run out. Try the next one.",
    }

    def get_totp_issuer(self) -> str:
        return PRODUCT

    def _get_site_name(self) -> str:
        return PRODUCT

    def encrypt(self, text: str) -> str:
        return SEALED + base64.b64encode(storage.seal(text.encode(), context="second-factor")).decode()

    def decrypt(self, encrypted_text: str) -> str:
        if not encrypted_text.startswith(SEALED):
            return encrypted_text  # written before secrets were sealed
        return storage.unseal(base64.b64decode(encrypted_text[len(SEALED) :]), context="second-factor").decode()

    def can_delete_authenticator(self, authenticator: Authenticator) -> bool:
        return sign_in.may_lose(authenticator)

    def generate_authenticator_name(self, user: Any, type: str) -> str:
        request = context.request
        agent = request.headers.get("User-Agent", "") if request is not None else ""
        return sessions.browser_name(agent)
