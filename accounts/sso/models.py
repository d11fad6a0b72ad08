"""How the members of an organisation sign in elsewhere: its identity providers, its e-mail domains, its rules."""

from __future__ import annotations

import secrets
import uuid

from django.conf import settings
from django.db import models
from django.utils import timezone


class SsoKind(models.TextChoices):
    OIDC = "oidc", "OpenID Connect"
    SAML = "saml", "SAML 2.0"


class SsoConnection(models.Model):
    """One identity provider of one organisation; allauth sees it as a SocialApp that lies in no table."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="sso_connections")
    kind = models.CharField(max_length=4, choices=SsoKind)
    name = models.CharField(max_length=60)
    is_enabled = models.BooleanField(default=True)

    issuer = models.CharField(max_length=500, blank=True)
    client_id = models.CharField(max_length=191, blank=True)
    sealed_secret = models.BinaryField(default=bytes)  # encrypted with the connection's id as context

    metadata_url = models.CharField(max_length=500, blank=True)
    metadata_xml = models.TextField(blank=True)
    idp_entity_id = models.CharField(max_length=500, blank=True)
    idp_sso_url = models.CharField(max_length=500, blank=True)
    idp_certificates = models.JSONField(default=list)

    # Whether an address of a verified domain that this provider names counts as proved without its saying so.
    vouches_for_emails = models.BooleanField(default=False)
    makes_members = models.BooleanField(default=False)
    default_role = models.CharField(max_length=60, default="viewer")
    group_attribute = models.CharField(max_length=200, blank=True, default="groups")
    group_roles = models.JSONField(default=list)  # [[group, role], …]; the first that fits counts

    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [models.Index(fields=["organization", "name"], name="sso_connection_org")]

    def __str__(self) -> str:
        return self.name

    @property
    def provider_id(self) -> str:
        """Under this name allauth keeps the accounts of this provider, apart from those of every other."""
        return f"sso-{self.id.hex}"


def _token() -> str:
    return secrets.token_urlsafe(24)


class EmailDomain(models.Model):
    """A domain that an organisation says is its own; it counts once the proof was found on the domain's web server."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="email_domains")
    domain = models.CharField(max_length=253)
    token = models.CharField(max_length=64, default=_token)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    verified_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "domain"], name="email_domain_once"),
            models.UniqueConstraint(
                fields=["domain"], condition=models.Q(verified_at__isnull=False), name="email_domain_of_one"
            ),
        ]

    def __str__(self) -> str:
        return self.domain

    @property
    def proof_url(self) -> str:
        return f"https://{self.domain}/.well-known/deepfake-domain.txt"
