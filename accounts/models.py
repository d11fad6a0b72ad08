"""Who may do what: organisations, users with a role, API keys, and the audit chain."""

from __future__ import annotations

import uuid

from django.contrib.auth.models import AbstractUser
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone

from accounts.permissions import ROLE_PERMISSIONS, Permission, opens

MOST_PER_MINUTE = 1_000_000
_LIMIT = [MinValueValidator(1), MaxValueValidator(MOST_PER_MINUTE)]


class RequestLimits(models.Model):
    """How many requests a minute are taken, by family of routes; blank: what the installation's settings say."""

    reads_per_minute = models.PositiveIntegerField(null=True, blank=True, validators=_LIMIT)
    writes_per_minute = models.PositiveIntegerField(null=True, blank=True, validators=_LIMIT)
    submissions_per_minute = models.PositiveIntegerField(null=True, blank=True, validators=_LIMIT)
    reports_per_minute = models.PositiveIntegerField(null=True, blank=True, validators=_LIMIT)

    class Meta:
        abstract = True

    def per_minute(self, family: str) -> int | None:
        """The limit for "reads", "writes", "submissions" or "reports"."""
        limit: int | None = getattr(self, f"{family}_per_minute")
        return limit


class Organization(RequestLimits):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=120)
    slug = models.SlugField(max_length=60, unique=True)
    # Jobs that may wait at a time; blank: what the installation's settings say.
    max_waiting_jobs = models.PositiveIntegerField(null=True, blank=True, validators=_LIMIT)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return self.name

    def lock(self) -> None:
        """Hold the row until the transaction ends: of two that count at once, one counts after the other is done."""
        type(self).objects.select_for_update().get(pk=self.pk)

    def members_who_may(self, *permissions: Permission) -> models.QuerySet[User]:
        """Its active members who hold all of `permissions`, by a built-in role or by one of its own."""
        wanted = frozenset(permissions)
        built_in = [role for role, held in ROLE_PERMISSIONS.items() if wanted <= held]
        own = [role.pk for role in self.custom_roles.all() if wanted <= role.permission_set]
        holds = Q(custom_role=None, role__in=built_in) | Q(custom_role__in=own)
        return self.users.filter(holds, is_active=True)


class Role(models.TextChoices):
    VIEWER = "viewer", "Viewer"
    ANALYST = "analyst", "Analyst"
    REVIEWER = "reviewer", "Reviewer"
    DATA_SCIENTIST = "data_scientist", "Data scientist"
    ADMIN = "admin", "Administrator"


class CustomRole(models.Model):
    """A role that an organisation put together itself, beside the built-in ones."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="custom_roles")
    name = models.CharField(max_length=40)
    permissions = models.JSONField(default=list)  # values of Permission
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint("organization", Lower("name"), name="custom_role_name_once"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def permission_set(self) -> frozenset[Permission]:
        """What it allows; a permission that a newer release knows is left out."""
        held = set(self.permissions)
        return frozenset(permission for permission in Permission if permission.value in held)


class User(AbstractUser):
    organization = models.ForeignKey(
        Organization, on_delete=models.PROTECT, null=True, blank=True, related_name="users"
    )
    role = models.CharField(max_length=20, choices=Role, default=Role.VIEWER)
    # Takes the place of `role`, which is then the least one. Load it with the member: select_related("custom_role").
    custom_role = models.ForeignKey(CustomRole, on_delete=models.PROTECT, null=True, blank=True, related_name="members")
    invited_at = models.DateTimeField(null=True, blank=True, editable=False)  # of the newest invitation link

    class Meta(AbstractUser.Meta):
        # People sign in by either, in letters of any size: of two accounts, nobody could say which is meant.
        constraints = [
            models.UniqueConstraint(
                Lower("username"), name="user_name_once", violation_error_message="The user name is taken."
            ),
            models.UniqueConstraint(
                Lower("email"),
                condition=~Q(email=""),
                name="user_email_once",
                violation_error_message="There is an account with this e-mail address already.",
            ),
        ]

    @property
    def permissions(self) -> frozenset[Permission]:
        if self.custom_role is not None:
            return self.custom_role.permission_set
        return ROLE_PERMISSIONS.get(self.role, frozenset())

    @property
    def role_name(self) -> str:
        return self.custom_role.name if self.custom_role is not None else self.get_role_display()

    def may(self, permission: Permission) -> bool:
        return permission in self.permissions

    @property
    def can(self) -> dict[str, bool]:
        """For templates: `{% if request.user.can.review_rules %}`, by the names of Permission in small letters."""
        held = self.permissions
        return {permission.name.lower(): permission in held for permission in Permission}

    @property
    def can_submit(self) -> bool:
        return self.may(Permission.SUBMIT)

    @property
    def can_delete(self) -> bool:
        return self.may(Permission.DELETE)

    @property
    def can_review(self) -> bool:
        return self.may(Permission.REVIEW)


class ApiKey(RequestLimits):
    """A service's key. The secret is shown once; `secret_hash` is its SHA-256 (the secret has 256 random bits)."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="api_keys")
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True)
    name = models.CharField(max_length=80, default="API key")
    prefix = models.CharField(max_length=16, unique=True)
    secret_hash = models.CharField(max_length=64, unique=True)
    scopes = models.JSONField(default=list)
    # Answers the shipped samples with recorded outputs; what it starts alerts nobody and counts nowhere.
    is_sandbox = models.BooleanField(default=False, editable=False)
    # Addresses and networks that it may be used from, as "203.0.113.7" and "2001:db8::/32"; empty: from anywhere.
    ip_allow_list = models.JSONField(default=list, blank=True)
    # What callback bodies are signed with: derived from the secret, kept encrypted, because a hash cannot sign.
    signing_secret = models.BinaryField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    last_used_ip = models.GenericIPAddressField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    # The secret before the last rotation, which goes on working until the moment that was chosen then.
    rotated_at = models.DateTimeField(null=True, blank=True)
    previous_valid_until = models.DateTimeField(null=True, blank=True)
    previous_secret_hash = models.CharField(max_length=64, blank=True)
    previous_signing_secret = models.BinaryField(null=True, blank=True)

    class Meta:
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @property
    def public_id(self) -> str:
        return f"key_{self.id.hex}"

    @property
    def is_active(self) -> bool:
        return self.revoked_at is None and not self.is_expired

    @property
    def is_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()

    @property
    def has_previous_secret(self) -> bool:
        """Whether the secret before the last rotation still works."""
        return self.previous_valid_until is not None and self.previous_valid_until > timezone.now()

    @property
    def caller_name(self) -> str:
        """Under which its requests are counted and its idempotency keys are kept."""
        return f"key:{self.pk}"

    def has_scope(self, scope: str) -> bool:
        """Whether the key holds `scope` itself, the wildcard of its family, as `admin:*`, or one that opens it too."""
        return opens(self.scopes, scope)


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
            # One for each filter of the page, so that its newest rows are found without looking at others.
            models.Index(fields=["organization", "action", "-id"], name="audit_org_action"),
            models.Index(fields=["organization", "actor", "-id"], name="audit_org_actor"),
            models.Index(fields=["organization", "api_key_prefix", "-id"], name="audit_org_key"),
            models.Index(fields=["organization", "ip_address", "-id"], name="audit_org_address"),
            models.Index(fields=["organization", "created_at"], name="audit_org_moment"),
        ]

    def __str__(self) -> str:
        return f"{self.id} {self.action}"


# Rooms of their own; Django finds models only through this module.
from accounts.audit_models import AuditCheck as AuditCheck  # noqa: E402
from accounts.audit_models import AuditOnce as AuditOnce  # noqa: E402
from accounts.cors_models import AllowedOrigin as AllowedOrigin  # noqa: E402
from accounts.oauth.models import ClientKind as ClientKind  # noqa: E402
from accounts.oauth.models import GrantEnd as GrantEnd  # noqa: E402
from accounts.oauth.models import GrantToken as GrantToken  # noqa: E402
from accounts.oauth.models import OAuthClient as OAuthClient  # noqa: E402
from accounts.oauth.models import OAuthGrant as OAuthGrant  # noqa: E402
from accounts.privacy_models import Consent as Consent  # noqa: E402
from accounts.privacy_models import DataRequest as DataRequest  # noqa: E402
from accounts.scim.models import ProvisioningToken as ProvisioningToken  # noqa: E402
from accounts.scim.models import ScimGroup as ScimGroup  # noqa: E402
from accounts.scim.models import ScimUser as ScimUser  # noqa: E402
from accounts.sign_in_models import Factors as Factors  # noqa: E402
from accounts.sign_in_models import MemberSession as MemberSession  # noqa: E402
from accounts.sign_in_models import SignInAttempts as SignInAttempts  # noqa: E402
from accounts.sign_in_models import SignInRules as SignInRules  # noqa: E402
from accounts.sso.models import EmailDomain as EmailDomain  # noqa: E402
from accounts.sso.models import SsoConnection as SsoConnection  # noqa: E402
from accounts.sso.models import SsoKind as SsoKind  # noqa: E402
