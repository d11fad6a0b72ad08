"""Signed, expiring addresses of explanation artifacts."""

from __future__ import annotations

import hmac
import time
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.urls import reverse
from django.utils.crypto import salted_hmac

from detection.models import ExplanationArtifact

PAGE_LIFETIME = timedelta(minutes=15)
API_LIFETIME = timedelta(hours=1)
WEBHOOK_LIFETIME = timedelta(hours=24)
API_STEP_S = 3600  # links of API answers end on full hours: the same job asked for again is the same text


def signed_path(artifact: ExplanationArtifact, *, lifetime: timedelta = PAGE_LIFETIME, step_s: int = 1) -> str:
    """Return `/artifacts/<uuid>?expires=<unix seconds>&signature=<hex>`, valid for `lifetime` up to the next step."""
    expires = -(-int(time.time() + lifetime.total_seconds()) // step_s) * step_s
    path = reverse("detection:artifact", args=[artifact.id])
    return f"{path}?expires={expires}&signature={_signature(artifact.id, expires)}"


def signed_url(artifact: ExplanationArtifact, base_url: str, *, lifetime: timedelta = API_LIFETIME) -> str:
    """The same as an absolute address below `base_url` (scheme and host)."""
    return base_url.rstrip("/") + signed_path(artifact, lifetime=lifetime, step_s=API_STEP_S)


def verify(artifact_id: UUID | str, expires: str, signature: str) -> bool:
    """Whether the signature belongs to this artifact and moment, and the moment has not passed."""
    if not (expires.isascii() and expires.isdigit() and len(expires) <= 12):
        return False
    expected = _signature(UUID(str(artifact_id)), int(expires))
    # Compared as bytes: compare_digest refuses text outside ASCII.
    return hmac.compare_digest(expected.encode(), signature.encode()) and int(expires) > time.time()


def _signature(artifact_id: UUID, expires: int) -> str:
    message = f"{artifact_id.hex}:{expires}"
    return salted_hmac("detection.artifacts", message, secret=settings.SECRET_KEY, algorithm="sha256").hexdigest()
