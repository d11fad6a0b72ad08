"""Web pages of other origins that may ask the API in a browser, per organisation."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.utils import timezone

from accounts.models import Organization


class AllowedOrigin(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="allowed_origins")
    origin = models.CharField(max_length=255, db_index=True)  # "https://app.example.org", as browsers send it
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["organization", "origin"], name="allowed_origin_once")]

    def __str__(self) -> str:
        return self.origin
