"""Where events go, each call that an event asks for, and every attempt that was made at it."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from deepfake.sealed_fields import SealedJSONField
from detection.querysets import WebhookDeliveryQuerySet

RECEIVER_LENGTH = 260  # host and port


class SwitchedOff(models.TextChoices):
    BY_HAND = "by_hand", "Switched off by a member"
    GONE = "gone", "The receiver answered 410: it is gone"
    FAILING = "failing", "It failed for days"


class WebhookEndpoint(models.Model):
    """An address of an organisation that is told of events."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE, related_name="webhooks")
    url = models.URLField(max_length=2000)
    description = models.CharField(max_length=200, blank=True)
    events: Any = models.JSONField(default=list)  # names, or ["*"] for all, those of later releases too
    is_sandbox = models.BooleanField(default=False)  # made by a sandbox key: told of what sandbox keys do, alone
    is_enabled = models.BooleanField(default=True)
    off_reason = models.CharField(max_length=8, choices=SwitchedOff, blank=True)
    off_at = models.DateTimeField(null=True, blank=True)
    # Sealed. While the previous one is live, calls are signed with both.
    secret = models.BinaryField()
    previous_secret = models.BinaryField(null=True, blank=True)
    previous_secret_until = models.DateTimeField(null=True, blank=True)
    # Its health: failures since the last success.
    failures = models.PositiveIntegerField(default=0)
    failing_since = models.DateTimeField(null=True, blank=True)
    last_success_at = models.DateTimeField(null=True, blank=True)
    last_failure_at = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [models.Index(fields=["organization", "-created_at"], name="webhook_org_newest")]

    def __str__(self) -> str:
        return self.description or self.url

    def get_absolute_url(self) -> str:
        return reverse("detection:webhook", args=[self.id])

    @property
    def public_id(self) -> str:
        return f"whk_{self.id.hex}"

    @property
    def has_two_secrets(self) -> bool:
        return bool(self.previous_secret and self.previous_secret_until and self.previous_secret_until > timezone.now())

    def wants(self, event: str) -> bool:
        return self.is_enabled and ("*" in self.events or event in self.events)


class WebhookDelivery(models.Model):
    """A signed call to an endpoint, or to the callback_url of a job or batch, retried until it is taken.

    `attempts` only ever grows, so that it tells two senders apart; `attempts_before` is where the present round of
    tries began, which a replay moves.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey("accounts.Organization", on_delete=models.CASCADE)
    endpoint = models.ForeignKey(  # null: a callback_url
        WebhookEndpoint, on_delete=models.CASCADE, null=True, blank=True, related_name="deliveries"
    )
    job = models.ForeignKey("detection.Job", on_delete=models.CASCADE, null=True, related_name="deliveries")
    batch = models.ForeignKey("detection.Batch", on_delete=models.CASCADE, null=True, related_name="deliveries")
    event = models.CharField(max_length=40)
    url = models.URLField(max_length=2000)
    receiver = models.CharField(max_length=RECEIVER_LENGTH, blank=True)  # host and port: who must not be flooded
    body: Any = SealedJSONField(context="webhook.body", default=dict)
    attempts = models.PositiveSmallIntegerField(default=0)
    attempts_before = models.PositiveSmallIntegerField(default=0)
    replays = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(default=timezone.now)
    claimed_until = models.DateTimeField(null=True, blank=True)
    delivered_at = models.DateTimeField(null=True)
    gave_up_at = models.DateTimeField(null=True)
    last_status = models.PositiveSmallIntegerField(null=True)
    last_error = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = WebhookDeliveryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "webhook deliveries"
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["job", "event", "url"], condition=Q(endpoint=None), name="delivery_once_per_job_event"
            ),
            models.UniqueConstraint(
                fields=["endpoint", "job", "event"],
                condition=Q(endpoint__isnull=False, job__isnull=False),
                name="delivery_once_per_endpoint_job",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_attempt_at"], name="delivery_due", condition=Q(delivered_at=None, gave_up_at=None)
            ),
            models.Index(fields=["endpoint", "-created_at", "-id"], name="delivery_log"),
            models.Index(fields=["created_at"], name="delivery_age"),
        ]

    def __str__(self) -> str:
        return f"{self.event} {self.url}"

    @property
    def public_id(self) -> str:
        """Also the header webhook-id, the same for every attempt and replay."""
        return f"msg_{self.id.hex}"

    @property
    def state(self) -> str:
        if self.delivered_at:
            return "delivered"
        if self.gave_up_at:
            return "failed"
        return "retrying" if self.attempts > self.attempts_before else "waiting"

    @property
    def is_settled(self) -> bool:
        return bool(self.delivered_at or self.gave_up_at)


class WebhookAttempt(models.Model):
    """One call as it was made, and what came back. The body sent is the delivery's, with this signature in it."""

    delivery = models.ForeignKey(WebhookDelivery, on_delete=models.CASCADE, related_name="log")
    number = models.PositiveSmallIntegerField()
    url = models.URLField(max_length=2000)
    headers: Any = models.JSONField(default=dict)
    signature = models.CharField(max_length=64, blank=True)
    status = models.PositiveSmallIntegerField(null=True)  # null: no answer
    error = models.CharField(max_length=300, blank=True)
    response_headers: Any = models.JSONField(default=dict)
    response_body = models.TextField(blank=True)  # its beginning
    is_truncated = models.BooleanField(default=False)
    milliseconds = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["delivery", "number"], name="attempt_once")]

    def __str__(self) -> str:
        return f"{self.number}: {self.status or self.error}"
