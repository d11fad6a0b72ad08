"""A file on its way to us in pieces, or through a bucket."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.utils import timezone

from accounts.models import ApiKey, Organization
from detection.models import Media


class UploadState(models.TextChoices):
    RECEIVING = "receiving", "Receiving"
    COMPLETED = "completed", "Completed"
    REFUSED = "refused", "Refused"


class Upload(models.Model):
    """What was announced, how much of it is here, and what became of it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="uploads")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True)
    api_key = models.ForeignKey(ApiKey, on_delete=models.SET_NULL, null=True, blank=True)
    filename = models.CharField(max_length=255, blank=True)
    metadata = models.CharField(max_length=4000, blank=True)  # Upload-Metadata as sent, to be told again
    size_bytes = models.PositiveBigIntegerField()
    offset = models.PositiveBigIntegerField(default=0)
    is_direct = models.BooleanField(default=False)  # goes past us, into the quarantine of the bucket
    state = models.CharField(max_length=9, choices=UploadState, default=UploadState.RECEIVING)
    finishing_at = models.DateTimeField(null=True, blank=True)  # claim of the process that makes the item
    media = models.ForeignKey(Media, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    error_code = models.CharField(max_length=60, blank=True)
    error_message = models.TextField(blank=True)
    error_status = models.PositiveSmallIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField()

    class Meta:
        indexes = [
            models.Index(fields=["organization", "-created_at", "-id"], name="upload_org_newest"),
            models.Index(fields=["expires_at"], name="upload_expires"),
        ]

    def __str__(self) -> str:
        return self.filename or self.public_id

    @property
    def public_id(self) -> str:
        return f"upl_{self.id.hex}"

    @property
    def is_whole(self) -> bool:
        return self.offset == self.size_bytes


class UploadPart(models.Model):
    """A received piece, encrypted in storage until the item is made of all pieces."""

    upload = models.ForeignKey(Upload, on_delete=models.CASCADE, related_name="parts")
    offset = models.PositiveBigIntegerField()
    size_bytes = models.PositiveBigIntegerField()
    storage_name = models.CharField(max_length=200)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["upload", "offset"], name="upload_part_once")]

    def __str__(self) -> str:
        return f"{self.upload_id} {self.offset}+{self.size_bytes}"
