"""What other packages do to accounts, written into the audit log: e-mail addresses, the back office.

Passwords and second factors are with sign-in (accounts/signals.py).
"""

from __future__ import annotations

from typing import Any

from allauth.account import signals as account_signals
from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.db.models.signals import post_save
from django.dispatch import receiver

from accounts import audit
from accounts.models import User

_ADMIN_ACTIONS = {ADDITION: "admin.added", CHANGE: "admin.changed", DELETION: "admin.deleted"}


@receiver(account_signals.email_changed)
def record_email(sender: Any, user: User, **kwargs: Any) -> None:
    _about(user, "user.email_changed")  # not which: the log is kept longer than addresses are


@receiver(post_save, sender=LogEntry)
def record_back_office(sender: Any, instance: LogEntry, created: bool, **kwargs: Any) -> None:
    """Every form of Django's admin writes a LogEntry; which fields were changed is in it, their values are not."""
    if not created:
        return
    actor = instance.user
    changed = instance.get_edited_object() if instance.action_flag != DELETION else None
    audit.record(
        action=_ADMIN_ACTIONS.get(instance.action_flag, "admin.changed"),
        organization=getattr(changed, "organization", None) or actor.organization,
        actor=actor,
        details={
            "what": str(instance.content_type),
            "row": str(instance.object_id),
            "changes": instance.get_change_message(),
        },
    )


def _about(user: User, action: str, **details: Any) -> None:
    audit.record(action=action, organization=user.organization, actor=user, target=user, details=details)
