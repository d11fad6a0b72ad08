"""Who may do what: organisations, users with a role, API keys, and the audit chain."""

from __future__ import annotations

import uuid

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.utils import timezone


class Organization(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=120)
    slug = models.SlugField(max_length=60, unique=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return self.name


class Role(models.TextChoices):
    VIEWER = "viewer", "Viewer"
    ANALYST = "analyst", "Analyst"
    REVIEWER = "reviewer", "Reviewer"
    DATA_SCIENTIST = "data_scientist", "Data scientist"
    ADMIN = "admin", "Administrator"


class User(AbstractUser):
    organization = models.ForeignKey(
        Organization, on_delete=models.PROTECT, null=True, blank=True, related_name="users"
    )
    role = models.CharField(max_length=20, choices=Role, default=Role.VIEWER)

    @property
    def can_submit(self) -> bool:
        return self.role in {Role.ANALYST, Role.REVIEWER, Role.ADMIN}

    @property
    def can_delete(self) -> bool:
        return self.role in {Role.ANALYST, Role.REVIEWER, Role.ADMIN}

    @property
    def can_review(self) -> bool:
        return self.role in {Role.REVIEWER, Role.ADMIN}


class ApiKey(models.Model):
    """A service's key. The secret is shown once; `secret_hash` is its SHA-256 (the secret has 256 random bits)."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="api_keys")
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True)
    name = models.CharField(max_length=80, default="API key")
    prefix = models.CharField(max_length=16, unique=True)
    secret_hash = models.CharField(max_length=64, unique=True)
    scopes = models.JSONField(default=list)
    # What callback bodies are signed with: derived from the secret, kept encrypted, because a hash cannot sign.
    signing_secret = models.BinaryField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @property
    def is_active(self) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > timezone.now())

    def has_scope(self, scope: str) -> bool:
        """Whether the key holds `scope` itself or the wildcard of its family, as `admin:*`."""
        return scope in self.scopes or f"{scope.split(':')[0]}:*" in self.scopes


class AuditLog(models.Model):
    """Append-only, hash-chained per installation: `hash` covers the row and `previous_hash`."""

    id = models.BigAutoField(primary_key=True)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, null=True, blank=True)
    actor = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True)
    api_key_prefix = models.CharField(max_length=16, blank=True)
    action = models.CharField(max_length=60)  # "media.submitted", "job.deleted", "auth.signed_in"
    target_type = models.CharField(max_length=40, blank=True)
    target_id = models.CharField(max_length=64, blank=True)
    details = models.JSONField(default=dict)
    ip_address = models.GenericIPAddressField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    previous_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64, unique=True)

    class Meta:
        indexes = [
            models.Index(fields=["organization", "-id"], name="audit_org_newest"),
            models.Index(fields=["target_type", "target_id"], name="audit_target"),  # the trail of one thing
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.action}"
