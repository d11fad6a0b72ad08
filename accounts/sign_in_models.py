"""Rows of sign-in: the rules of an organisation, signed-in devices, and counted failures."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models
from django.utils import timezone


class Factors(models.TextChoices):
    ANY = "any", "Authenticator app or passkey"
    PASSKEY = "passkey", "Passkey only"


class SignInRules(models.Model):
    """What an organisation asks of its members; one that never chose has no row, and the defaults hold."""

    organization = models.OneToOneField(
        "accounts.Organization", on_delete=models.CASCADE, primary_key=True, related_name="sign_in_rules"
    )
    required_roles = models.JSONField(default=list)  # whose members need a second factor: see sign_in.role_choices
    factors = models.CharField(max_length=10, choices=Factors, default=Factors.ANY)
    grace_days = models.PositiveSmallIntegerField(default=0)
    required_since = models.DateTimeField(null=True, blank=True)  # from when the grace period counts
    idle_minutes = models.PositiveIntegerField(default=240)
    session_hours = models.PositiveIntegerField(default=12)
    passwords_allowed = models.BooleanField(default=True)
    changed_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"Sign-in rules of {self.organization_id}"

    @property
    def idle(self) -> timedelta:
        return timedelta(minutes=self.idle_minutes)

    @property
    def absolute(self) -> timedelta:
        return timedelta(hours=self.session_hours)


class MemberSession(AbstractBaseSession):
    """A browser's session. Who it belongs to and where it is used are columns, so that it can be listed and ended.

    `session_key` holds a digest of the key that the browser has (accounts.sessions.row_key).
    """

    user = models.ForeignKey("accounts.User", on_delete=models.CASCADE, null=True, related_name="sessions")
    # Names it on pages; its key is a secret. Not unique: while a key is changed, the old row is still there.
    device_id = models.UUIDField(default=uuid.uuid4, db_index=True)
    started_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField(default=timezone.now)
    ip_address = models.GenericIPAddressField(null=True, blank=True)
    user_agent = models.CharField(max_length=300, blank=True)

    def __str__(self) -> str:
        return f"Session {self.device_id}"

    @classmethod
    def get_session_store_class(cls) -> Any:
        from accounts.sessions import SessionStore

        return SessionStore


class SignInAttempts(models.Model):
    """How often signing in failed lately, for one account, address or second factor; `key` is a keyed hash of which."""

    key = models.CharField(max_length=64, unique=True)
    failures = models.PositiveIntegerField(default=0)
    last_at = models.DateTimeField(default=timezone.now, db_index=True)
    blocked_until = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.failures} failures"
