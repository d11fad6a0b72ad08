"""Sign-ins, sign-outs and refused sign-ins go into the audit log; triggers are put back after each migration."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import connections
from django.db.models import Q
from django.db.models.signals import post_migrate
from django.dispatch import receiver
from django.http import HttpRequest

from accounts import audit, audit_triggers
from accounts.models import User


@receiver(user_logged_in)
def record_sign_in(sender: Any, request: HttpRequest, user: User, **kwargs: Any) -> None:
    _record("auth.signed_in", request, user)


@receiver(user_logged_out)
def record_sign_out(sender: Any, request: HttpRequest, user: User | None, **kwargs: Any) -> None:
    if user is not None:
        _record("auth.signed_out", request, user)


@receiver(user_login_failed)
def record_refused_sign_in(
    sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: Any
) -> None:
    # The name as typed is not kept: people type passwords into that field.
    typed = str(credentials.get("username") or credentials.get("email") or "")[:254]
    user = User.objects.filter(Q(username__iexact=typed) | Q(email__iexact=typed)).first() if typed else None
    _record("auth.refused", request, user)


@receiver(post_migrate)
def restore_triggers(sender: Any, using: str, **kwargs: Any) -> None:
    if sender.name == "accounts" and audit_triggers.TABLE in connections[using].introspection.table_names():
        audit_triggers.install(connections[using])


def _record(action: str, request: HttpRequest | None, user: User | None) -> None:
    audit.record(
        action=action,
        organization=user.organization if user else None,
        actor=user,
        target=user,
        ip_address=audit.client_ip(request) if request is not None else None,
    )
