"""Events that leave the house: what there is to tell, to whom, and how it is signed. webhooks_sending.py sends it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from django.db import transaction
from django.utils import timezone

from accounts.models import Organization
from detection import artifacts, payloads
from detection.models import Batch, Job, JobStatus, WebhookDelivery, WebhookEndpoint
from detection.webhook_models import RECEIVER_LENGTH

# What an endpoint may ask for. A room that tells something new adds its line here.
EVENTS: dict[str, str] = {
    "job.completed": "An analysis has a verdict",
    "job.failed": "An analysis could not be carried out",
    "batch.completed": "Every item of a batch has come to its end",
}
TEST_EVENT = "webhook.test"  # goes to the one endpoint that is tested, whatever it asks for
_JOB_EVENTS = {JobStatus.COMPLETED: "job.completed", JobStatus.FAILED: "job.failed"}


# Telling --------------------------------------------------------------------------------------------------------------


def emit(
    *,
    organization: Organization,
    event: str,
    payload: Mapping[str, Any],
    job: Job | None = None,
    is_sandbox: bool = False,
) -> list[WebhookDelivery]:
    """Write a delivery for each endpoint of `organization` that asks for `event`.

    Call it in the transaction that makes the event true: both are kept or neither is. payload: JSON-ready, with the id
    of what it is about; `event` and `timestamp` are added. Calls may arrive in any order. With `job`, an endpoint is
    told of this event of that job once, however often it is emitted. is_sandbox: a sandbox key did it.
    """
    if event not in EVENTS:
        raise ValueError(f"{event} is not in EVENTS.")
    return _write(_subscribed(organization, event, is_sandbox), event, payload, job)


def queue_delivery(job: Job) -> None:
    """Tell of a job's end: the endpoints that ask for it, and its callback_url; in the transaction that ends it."""
    event = _JOB_EVENTS.get(JobStatus(job.status))
    if event is None:
        return
    endpoints = _subscribed(job.organization, event, job.is_sandbox)
    if not endpoints and not job.callback_url:
        return
    told = payloads.job_payload(job, lifetime=artifacts.WEBHOOK_LIFETIME, brief=True)
    payload = {"job_id": job.public_id, "media_id": told["media_id"], "status": job.status}
    payload |= {name: told[name] for name in ("result", "error") if name in told}
    if job.is_sandbox:
        payload["sandbox"] = True
    _write(endpoints, event, payload, job)
    call_back(job, event, payload)


def call_back(asked: Job | Batch, event: str, payload: Mapping[str, Any]) -> None:
    """Write the call to the callback_url that came with a job or batch, if one came; the same event is told once."""
    if not asked.callback_url:
        return
    WebhookDelivery.objects.get_or_create(
        **{"job" if isinstance(asked, Job) else "batch": asked},
        event=event,
        url=asked.callback_url,
        endpoint=None,
        defaults={
            "organization": asked.organization,
            "receiver": receiver_of(asked.callback_url),
            "body": body_of(event, payload),
        },
    )


def body_of(event: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """The body without its signature, which each attempt adds."""
    moment = timezone.now().isoformat(timespec="seconds").replace("+00:00", "Z")
    body: dict[str, Any] = _portable({"event": event, "timestamp": moment, **payload})
    return body


def receiver_of(url: str) -> str:
    """Host and port, by which calls to one receiver are counted."""
    return urlsplit(url).netloc.lower()[:RECEIVER_LENGTH]


def _subscribed(organization: Organization, event: str, is_sandbox: bool) -> list[WebhookEndpoint]:
    """What sandbox keys registered hears of what sandbox keys did; the others hear of both."""
    enabled = WebhookEndpoint.objects.filter(organization=organization, is_enabled=True).order_by("created_at")
    heard = enabled if is_sandbox else enabled.filter(is_sandbox=False)
    return [endpoint for endpoint in heard if endpoint.wants(event)]


def _write(
    endpoints: list[WebhookEndpoint], event: str, payload: Mapping[str, Any], job: Job | None
) -> list[WebhookDelivery]:
    if not endpoints:
        return []
    body = body_of(event, payload)
    with transaction.atomic():
        if job is not None:
            known = set(
                WebhookDelivery.objects.filter(job=job, event=event, endpoint__in=endpoints).values_list(
                    "endpoint_id", flat=True
                )
            )
            endpoints = [endpoint for endpoint in endpoints if endpoint.pk not in known]
        return WebhookDelivery.objects.bulk_create(
            WebhookDelivery(
                organization_id=endpoint.organization_id,
                endpoint=endpoint,
                job=job,
                event=event,
                url=endpoint.url,
                receiver=receiver_of(endpoint.url),
                body=body,
            )
            for endpoint in endpoints
        )


def _portable(value: Any) -> Any:
    """Numbers as every language prints them alike, so that a receiver in JavaScript finds the same canonical text."""
    if isinstance(value, float):
        rounded = round(value, 6) if abs(value) >= 1e-4 else 0.0
        return int(rounded) if rounded.is_integer() else rounded
    if isinstance(value, dict):
        return {name: _portable(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_portable(inner) for inner in value]
    return value


# Signing --------------------------------------------------------------------------------------------------------------


def canonical(body: Mapping[str, Any]) -> bytes:
    """The bytes that are signed: sorted keys, no spaces, UTF-8, without the field `signature`."""
    return content_of({name: value for name, value in body.items() if name != "signature"})


def content_of(body: Mapping[str, Any]) -> bytes:
    """The body as it is sent."""
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def sign(body: Mapping[str, Any], secret: bytes) -> str:
    """HMAC-SHA256 in hex over the canonical body."""
    return hmac.new(secret, canonical(body), hashlib.sha256).hexdigest()


def standard_headers(delivery_id: str, timestamp: int, content: bytes, secrets: Sequence[bytes]) -> dict[str, str]:
    """The headers of the Standard Webhooks specification (standardwebhooks.com), signed over id, time and body.

    One signature for each live secret, newest first, with spaces between them.
    """
    signed = f"{delivery_id}.{timestamp}.".encode() + content
    digests = [base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode() for secret in secrets]
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{digest}" for digest in digests),
    }
