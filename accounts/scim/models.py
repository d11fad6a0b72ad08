"""What an identity provider wrote about members and groups by SCIM, and the token it writes with."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.utils import timezone


class ProvisioningToken(models.Model):
    """The one token of an organisation; its secret has 256 random bits, so one SHA-256 of it is kept."""

    organization = models.OneToOneField(
        "accounts.Organization", primary_key=True, on_delete=models.CASCADE, related_name="provisioning_token"
    )
    hash = models.CharField(max_length=64, unique=True)
    default_role = models.CharField(max_length=60, default="viewer")  # of members whose groups give none
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    last_used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"SCIM token of {self.organization_id}"


class ScimUser(models.Model):
    """A member as SCIM sees it. Every member has one, whoever made the member."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="scim_users")
    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="scim")
    user_name = models.CharField(max_length=254)
    external_id = models.CharField(max_length=254, blank=True)
    display_name = models.CharField(max_length=254, blank=True)
    formatted_name = models.CharField(max_length=254, blank=True)
    emails = models.JSONField(default=list)
    is_provisioned = models.BooleanField(default=False)  # made or changed by SCIM: its groups set the role
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now)
    deleted_at = models.DateTimeField(null=True, blank=True)  # the member stays, switched off, for the records

    class Meta:
        indexes = [models.Index(fields=["organization", "created_at"], name="scim_user_oldest")]

    def __str__(self) -> str:
        return self.user_name


class ScimGroup(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="scim_groups")
    display_name = models.CharField(max_length=254)
    external_id = models.CharField(max_length=254, blank=True)
    role = models.CharField(max_length=60, blank=True)  # what its members get, as an administrator chose
    members = models.ManyToManyField(ScimUser, related_name="groups")
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["organization", "created_at"], name="scim_group_oldest")]

    def __str__(self) -> str:
        return self.display_name
