"""What happens at sign-in goes into the audit log; triggers are put back after each migration."""

from __future__ import annotations

from typing import Any

from allauth.account import signals as account_signals
from allauth.account.adapter import get_adapter
from allauth.mfa import signals as mfa_signals
from allauth.mfa.models import Authenticator
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import connections
from django.db.models.signals import post_migrate, post_save
from django.dispatch import receiver
from django.http import HttpRequest

from accounts import audit, audit_triggers, sessions, sign_in
from accounts.models import OAuthGrant, User
from accounts.oauth.models import GrantEnd
from accounts.oauth.services import end_grant


@receiver(user_logged_in)
def record_sign_in(sender: Any, request: HttpRequest, user: User, **kwargs: Any) -> None:
    sessions.begin(request, user)
    _record("auth.signed_in", user, **_how(request))


@receiver(user_logged_out)
def record_sign_out(sender: Any, request: HttpRequest, user: User | None, **kwargs: Any) -> None:
    if user is not None:
        _record("auth.signed_out", user)


@receiver(user_login_failed)
def record_refused_sign_in(
    sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: Any
) -> None:
    # The name as typed is not kept: people type passwords into that field.
    typed = str(credentials.get("username") or credentials.get("email") or "")[:254]
    _record("auth.refused", sign_in.find_member(typed))


# Second factors -------------------------------------------------------------------------------------------------------


@receiver(mfa_signals.authenticator_added)
def record_factor_added(
    sender: Any, request: HttpRequest, user: User, authenticator: Authenticator, **kwargs: Any
) -> None:
    _record("auth.factor_added", user, kind=authenticator.type, name=str(authenticator))


@receiver(mfa_signals.authenticator_removed)
def record_factor_removed(
    sender: Any, request: HttpRequest, user: User, authenticator: Authenticator, **kwargs: Any
) -> None:
    _record("auth.factor_removed", user, kind=authenticator.type, name=str(authenticator))


@receiver(mfa_signals.authenticator_reset)
def record_codes_renewed(sender: Any, request: HttpRequest, user: User, **kwargs: Any) -> None:
    _record("auth.recovery_codes_renewed", user)


@receiver(mfa_signals.authenticator_used)
def record_recovery_code(
    sender: Any, request: HttpRequest, user: User, authenticator: Authenticator, **kwargs: Any
) -> None:
    if authenticator.type != Authenticator.Type.RECOVERY_CODES:
        return
    # Read again: what was handed over is from before the code was crossed out.
    left = len(Authenticator.objects.get(pk=authenticator.pk).wrap().get_unused_codes())
    _record("auth.recovery_code_used", user, left=left)
    get_adapter(request).send_notification_mail("account/email/recovery_code_used", user, {"left": left})


@receiver(mfa_signals.authentication_failed)
def record_refused_factor(
    sender: Any, request: HttpRequest, user: User | None, authenticator: Authenticator | None, **kwargs: Any
) -> None:
    _record("auth.factor_refused", user, kind=authenticator.type if authenticator else "webauthn")


# Passwords ------------------------------------------------------------------------------------------------------------


@receiver(account_signals.password_changed)
@receiver(account_signals.password_set)
def after_password_change(sender: Any, request: HttpRequest, user: User, **kwargs: Any) -> None:
    """The browser in which it was changed stays signed in, under a new key; every other device is signed out."""
    _record("user.password_changed", user)
    sessions.end_sessions(user, keep=request.session.session_key, why="password changed", actor=user)


@receiver(account_signals.password_reset)
def after_password_reset(sender: Any, request: HttpRequest, user: User, **kwargs: Any) -> None:
    _record("user.password_reset", user)
    sessions.end_sessions(user, why="password changed", actor=user)


@receiver(post_save, sender=User)
def end_access_of_the_inactive(sender: Any, instance: User, created: bool, **kwargs: Any) -> None:
    if not created and not instance.is_active:
        sessions.end_sessions(instance, why="account deactivated")
        for grant in OAuthGrant.objects.filter(user=instance, revoked_at=None).select_related("client__organization"):
            end_grant(grant=grant, because=GrantEnd.ADMINISTRATOR)


@receiver(post_migrate)
def restore_triggers(sender: Any, using: str, **kwargs: Any) -> None:
    if sender.name == "accounts" and audit_triggers.TABLE in connections[using].introspection.table_names():
        audit_triggers.install(connections[using])


def _how(request: HttpRequest) -> dict[str, Any]:
    """By which means, in order: password, totp, webauthn, recovery_codes."""
    records = request.session.get("account_authentication_methods") or []
    means = [str(record.get("type") or record.get("method")) for record in records]
    return {"by": means} if means else {}


def _record(action: str, user: User | None, **details: Any) -> None:
    audit.record(
        action=action,
        organization=user.organization if user else None,
        actor=user,
        target=user,
        details=details,
    )
