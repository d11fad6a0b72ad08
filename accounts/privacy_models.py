"""What people agreed to, and what they asked to be done with their data."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.urls import reverse
from django.utils import timezone

from accounts.models import Organization
from deepfake.sealed_fields import SealedJSONField, SealedTextField


class Consent(models.Model):
    """That a person agreed to one text, and when they took it back. Never changed otherwise."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="consents")
    # A member, or somebody from outside by an address, a phone number or another reference.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="consents"
    )
    subject: Any = SealedTextField(context="consent.subject", blank=True)
    subject_digest = models.CharField(max_length=64, blank=True)  # finds the rows of one reference; see consent.py
    purpose = models.CharField(max_length=40)
    text_version = models.CharField(max_length=40)
    text_sha256 = models.CharField(max_length=64)  # of the words that were shown
    evidence: Any = SealedJSONField(context="consent.evidence", default=dict, blank=True)  # how it was given
    about_type = models.CharField(max_length=40, blank=True)  # what it was given for: "job", "kyc_session"
    about_id = models.CharField(max_length=64, blank=True)
    given_at = models.DateTimeField(default=timezone.now, editable=False)
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    withdrawn_how = models.CharField(max_length=200, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["organization", "subject_digest", "purpose"], name="consent_subject"),
            models.Index(fields=["organization", "user", "purpose"], name="consent_user"),
            models.Index(fields=["about_type", "about_id"], name="consent_about"),
        ]

    def __str__(self) -> str:
        return f"{self.purpose} {self.text_version}"

    @property
    def holds(self) -> bool:
        return self.withdrawn_at is None


class DataRequest(models.Model):
    """A request to hand out or to erase the data of one person: what was asked, what was done, and the proof of it."""

    class Kind(models.TextChoices):
        EXPORT = "export", "Export"
        ERASE = "erase", "Erase"

    class About(models.TextChoices):
        MEMBER = "member", "A member"
        PERSON = "person", "A person in media"

    class Status(models.TextChoices):
        QUEUED = "queued", "Waiting"
        RUNNING = "running", "Under way"
        DONE = "done", "Done"
        PARTLY = "partly", "Done, but for what is on hold"
        FAILED = "failed", "Failed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="data_requests")
    kind = models.CharField(max_length=6, choices=Kind)
    about = models.CharField(max_length=6, choices=About)
    member = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="data_requests"
    )
    subject: Any = SealedTextField(context="data_request.subject", blank=True)  # the person, as the clerk noted them
    wanted: Any = SealedJSONField(context="data_request.wanted", default=dict, blank=True)  # see data_requests.ask
    status = models.CharField(max_length=8, choices=Status, default=Status.QUEUED)
    message = models.CharField(max_length=300, blank=True)
    counts: Any = models.JSONField(default=dict)  # what was handed out or erased, by kind
    kept: Any = models.JSONField(default=list)  # sentences: what stays, and why
    proof: Any = models.JSONField(default=dict)  # digests of what was destroyed, and ids of what must be gone
    archive_name = models.CharField(max_length=200, blank=True)  # encrypted object in storage
    archive_sha256 = models.CharField(max_length=64, blank=True)
    archive_bytes = models.PositiveBigIntegerField(default=0)
    expires_at = models.DateTimeField(null=True, blank=True)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="requested_data"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    claimed_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [models.Index(fields=["organization", "-created_at"], name="data_request_newest")]

    def __str__(self) -> str:
        return self.public_id

    def get_absolute_url(self) -> str:
        return reverse("accounts:data_request", args=[self.id])

    @property
    def public_id(self) -> str:
        return f"dsr_{self.id.hex}"

    @property
    def is_open(self) -> bool:
        return self.status in (self.Status.QUEUED, self.Status.RUNNING)

    @property
    def has_archive(self) -> bool:
        return bool(self.archive_name) and self.expires_at is not None and self.expires_at > timezone.now()
