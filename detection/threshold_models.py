"""Changes of threshold profiles: what somebody proposed, who agreed, and every version that held."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.urls import reverse
from django.utils import timezone


class ProposalAction(models.TextChoices):
    CREATE = "create", "New profile"
    CHANGE = "change", "Change"
    RETIRE = "retire", "Retire"


class ProposalState(models.TextChoices):
    OPEN = "open", "Waits for a second person"
    APPROVED = "approved", "Approved"
    REJECTED = "rejected", "Rejected"
    WITHDRAWN = "withdrawn", "Withdrawn"


class ThresholdProposal(models.Model):
    """One person's wish to change a profile. Another one decides; what was asked for never changes."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(
        "accounts.Organization", on_delete=models.CASCADE, related_name="threshold_proposals"
    )
    profile = models.ForeignKey(  # null: a new one, until it is approved
        "detection.ThresholdProfile", on_delete=models.PROTECT, null=True, blank=True, related_name="proposals"
    )
    action = models.CharField(max_length=8, choices=ProposalAction)
    name = models.SlugField(max_length=60)
    base_version = models.PositiveIntegerField(default=0)  # of the profile that the proposer looked at
    before: Any = models.JSONField(default=dict)  # its rule and thresholds then; empty for a new one
    after: Any = models.JSONField(default=dict)  # as they shall be; empty to retire it
    why = models.TextField()
    state = models.CharField(max_length=9, choices=ProposalState, default=ProposalState.OPEN)
    proposed_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    decided_at = models.DateTimeField(null=True, blank=True)
    answer = models.TextField(blank=True)
    effect: Any = models.JSONField(default=dict)  # what the preview said when it was decided

    class Meta:
        ordering = ["-created_at"]
        indexes = [models.Index(fields=["organization", "-created_at"], name="proposal_org_newest")]
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "name"], condition=models.Q(state="open"), name="one_open_proposal_per_profile"
            ),
            models.CheckConstraint(
                condition=~models.Q(state="approved", decided_by=models.F("proposed_by")),
                name="proposal_approved_by_another",
            ),
        ]

    def __str__(self) -> str:
        if self.action == ProposalAction.CREATE and self.before:
            return f"Own thresholds in place of the shipped {self.name}"
        return f"{self.get_action_display()}: {self.name}"

    def get_absolute_url(self) -> str:
        return reverse("detection:threshold_proposal", args=[self.id])

    @property
    def is_open(self) -> bool:
        return self.state == ProposalState.OPEN


class ThresholdVersion(models.Model):
    """What a profile said from a moment on. Written once, never changed."""

    profile = models.ForeignKey("detection.ThresholdProfile", on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    content: Any = models.JSONField()  # rule and thresholds
    proposal = models.OneToOneField(
        ThresholdProposal, on_delete=models.PROTECT, null=True, blank=True, related_name="version"
    )
    changed_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["profile", "number"], name="one_row_per_profile_version")]

    def __str__(self) -> str:
        return f"{self.profile_id} version {self.number}"
