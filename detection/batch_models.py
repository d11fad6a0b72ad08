"""Many items under one number: a batch, and each of its items."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.utils import timezone

from accounts.models import ApiKey, Organization
from detection.models import Job, Media, StabilityTest


class BatchStatus(models.TextChoices):
    OPEN = "open", "Takes more items"
    RUNNING = "running", "Running"
    COMPLETED = "completed", "Completed"
    CANCELLED = "cancelled", "Cancelled"


class Batch(models.Model):
    """Up to 1,000 analyses with the same options, one progress and one event at their end."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="batches")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True)
    api_key = models.ForeignKey(ApiKey, on_delete=models.SET_NULL, null=True, blank=True)
    name = models.CharField(max_length=120, blank=True)
    status = models.CharField(max_length=10, choices=BatchStatus, default=BatchStatus.OPEN)
    item_count = models.PositiveIntegerField(default=0)
    mode = models.CharField(max_length=8, default="auto")
    threshold_profile = models.CharField(max_length=60, blank=True)  # by name, looked up when an item starts
    stability = models.CharField(max_length=5, choices=StabilityTest, default=StabilityTest.CHEAP)
    priority = models.SmallIntegerField(default=0)
    callback_url = models.URLField(max_length=2000, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    closed_at = models.DateTimeField(null=True, blank=True)  # no more items from then on
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["organization", "-created_at", "-id"], name="batch_org_newest"),
            models.Index(
                fields=["created_at"], name="batch_unfinished", condition=models.Q(status__in=["open", "running"])
            ),
        ]

    def __str__(self) -> str:
        return self.name or self.public_id

    @property
    def public_id(self) -> str:
        return f"bat_{self.id.hex}"

    @property
    def is_final(self) -> bool:
        return self.status in (BatchStatus.COMPLETED, BatchStatus.CANCELLED)


class ItemState(models.TextChoices):
    WAITING = "waiting", "Not started yet"
    STARTED = "started", "Has a job"
    REFUSED = "refused", "Cannot be analysed"
    CANCELLED = "cancelled", "Cancelled before it started"


class BatchItem(models.Model):
    """One item of a batch; once it has started, its job's row says how it stands."""

    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="items")
    position = models.PositiveIntegerField()
    reference = models.CharField(max_length=200, blank=True)  # the sender's own name for it
    media = models.ForeignKey(Media, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    media_id_given = models.CharField(max_length=60, blank=True)
    url = models.CharField(max_length=2000, blank=True)
    state = models.CharField(max_length=9, choices=ItemState, default=ItemState.WAITING)
    job = models.OneToOneField(Job, on_delete=models.SET_NULL, null=True, blank=True, related_name="batch_item")
    error_code = models.CharField(max_length=60, blank=True)
    error_message = models.TextField(blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["batch", "position"], name="batch_item_position")]

    def __str__(self) -> str:
        return f"{self.batch_id} {self.position}"
