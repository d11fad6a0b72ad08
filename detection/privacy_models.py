"""How long an organisation keeps what it was sent, and what may not be destroyed meanwhile."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone

from accounts.models import Organization
from deepfake.sealed_fields import SealedTextField
from detection.models import Job, Media, MediaKind

MOST_DAYS = 3650


class RetentionSettings(models.Model):
    """An organisation's own limits and extensions; what is kept how long stands in its RetentionRules."""

    organization = models.OneToOneField(
        Organization, on_delete=models.CASCADE, primary_key=True, related_name="retention_settings"
    )
    review_extra_days = models.PositiveSmallIntegerField(default=30)  # after the decision; while it is open, always
    allows_zero_retention = models.BooleanField(default=True)
    request_days_from = models.PositiveSmallIntegerField(default=1)  # what a request itself may ask for
    request_days_to = models.PositiveSmallIntegerField(default=MOST_DAYS)

    class Meta:
        verbose_name_plural = "retention settings"

    def __str__(self) -> str:
        return f"Retention settings of {self.organization_id}"


class RetentionRule(models.Model):
    """Days that things of one kind are kept; None keeps them until somebody deletes them."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="retention_rules")
    kind = models.CharField(max_length=8, choices=MediaKind, blank=True)  # blank: every kind without a rule of its own
    media_days = models.PositiveSmallIntegerField(null=True, blank=True)
    artifact_days = models.PositiveSmallIntegerField(null=True, blank=True)
    result_days = models.PositiveSmallIntegerField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization", "kind"], name="retention_rule_per_kind")]

    def __str__(self) -> str:
        return f"{self.kind or 'any kind'} of {self.organization_id}"


class LegalHold(models.Model):
    """Nothing of an item (or of one analysis of it, and the item) may be destroyed until this is released."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="legal_holds")
    media = models.ForeignKey(Media, on_delete=models.PROTECT, related_name="holds")
    job = models.ForeignKey(Job, on_delete=models.PROTECT, null=True, blank=True, related_name="holds")
    reason: Any = SealedTextField(context="hold.reason")
    set_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    set_at = models.DateTimeField(default=timezone.now, editable=False)
    release_reason: Any = SealedTextField(context="hold.release_reason", blank=True)
    released_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    released_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-set_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["media"],
                condition=models.Q(job__isnull=True, released_at__isnull=True),
                name="one_hold_per_item",
            ),
            models.UniqueConstraint(
                fields=["job"],
                condition=models.Q(job__isnull=False, released_at__isnull=True),
                name="one_hold_per_job",
            ),
        ]
        indexes = [
            models.Index(
                fields=["organization", "-set_at"], name="hold_standing", condition=models.Q(released_at__isnull=True)
            )
        ]

    def __str__(self) -> str:
        return f"hold on {self.media_id}"
