"""Programs that sign in by OAuth 2, what members let them do, and which tokens came of it."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.utils import timezone


class ClientKind(models.TextChoices):
    SERVICE = "service", "Service: acts for the organisation, without a person"
    WEB = "web", "Web application: acts for a member, and can keep a secret"
    NATIVE = "native", "App on a device or in a browser: acts for a member, keeps no secret"


class OAuthClient(models.Model):
    """What we know of an allauth client besides the protocol: whose it is, and its secret.

    The secret has 256 random bits, so one SHA-256 of it is kept; allauth's own slow hash stays unused.
    """

    client = models.OneToOneField(
        "allauth_idp_oidc.Client", primary_key=True, on_delete=models.CASCADE, related_name="registration"
    )
    organization = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="oauth_clients")
    kind = models.CharField(max_length=10, choices=ClientKind)
    secret_hash = models.CharField(max_length=64, blank=True)
    previous_secret_hash = models.CharField(max_length=64, blank=True)
    previous_secret_until = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True)
    disabled_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        return str(self.client.name)

    @property
    def is_active(self) -> bool:
        return self.disabled_at is None

    @property
    def has_secret(self) -> bool:
        return self.kind != ClientKind.NATIVE

    @property
    def audit_name(self) -> str:
        """What stands in the audit log where an API key's prefix would."""
        return str(self.client_id)[:16]


class GrantEnd(models.TextChoices):
    MEMBER = "member", "taken back by the member"
    ADMINISTRATOR = "administrator", "revoked by an administrator"
    CLIENT = "client", "given back by the program"
    DISABLED = "disabled", "the program was switched off"
    REFRESH_REUSED = "refresh_reused", "a refresh token was used twice"
    EXPIRED = "expired", "a member has to agree again from time to time"
    CODE_REUSED = "code_reused", "an authorization code was used twice"


class OAuthGrant(models.Model):
    """One consent of one member and the family of tokens that descends from it; revoked as a whole."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    client = models.ForeignKey(OAuthClient, on_delete=models.CASCADE, related_name="grants")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="oauth_grants")
    scopes = models.JSONField(default=list)
    code_hash = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(default=timezone.now)
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_because = models.CharField(max_length=20, choices=GrantEnd, blank=True)

    class Meta:
        indexes = [models.Index(fields=["user", "-created_at"], name="oauth_grant_member")]

    def __str__(self) -> str:
        return f"{self.client_id} for {self.user_id}"


class GrantToken(models.Model):
    """The hash of one token of a family; of a refresh token it stays after use, so that a second use is noticed."""

    hash = models.CharField(max_length=64, primary_key=True)
    grant = models.ForeignKey(OAuthGrant, on_delete=models.CASCADE, related_name="tokens")
    is_refresh = models.BooleanField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    spent_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{'refresh' if self.is_refresh else 'access'} token of {self.grant_id}"
