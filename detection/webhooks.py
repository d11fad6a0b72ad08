"""Signed calls to a job's callback_url: queued with the job's end, retried for days, stopped by 410."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.utils import timezone

from accounts.models import ApiKey
from accounts.services import signing_secret
from detection import artifacts, fetch, payloads
from detection.models import Job, JobStatus, WebhookDelivery

logger = logging.getLogger(__name__)

EVENTS = {JobStatus.COMPLETED: "job.completed", JobStatus.FAILED: "job.failed"}
BACKOFF = tuple(
    timedelta(seconds=seconds) for seconds in (10, 60, 300, 1800, 2 * 3600, 8 * 3600, 24 * 3600, 24 * 3600, 24 * 3600)
)
CLAIMED_FOR = timedelta(seconds=60)
TIMEOUT_S = 15.0
BATCH = 20
GONE = 410


def queue_delivery(job: Job) -> None:
    """Write the call that the end of `job` asks for; in the transaction that ends it, so that neither is lost."""
    event = EVENTS.get(JobStatus(job.status))
    if event is None or not job.callback_url:
        return
    payload = payloads.job_payload(job, lifetime=artifacts.WEBHOOK_LIFETIME, brief=True)
    body = {
        "event": event,
        "job_id": job.public_id,
        "media_id": payload["media_id"],
        "status": job.status,
        "timestamp": timezone.now().isoformat(timespec="seconds").replace("+00:00", "Z"),
    }
    body |= {name: payload[name] for name in ("result", "error") if name in payload}
    WebhookDelivery.objects.get_or_create(
        job=job,
        event=event,
        url=job.callback_url,
        defaults={"organization": job.organization, "body": _portable(body)},
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


def deliver_due(limit: int = BATCH) -> int:
    """Send what is due; return how many calls were made. Safe beside other processes that do the same."""
    sent = 0
    for delivery in WebhookDelivery.objects.due().order_by("next_attempt_at")[:limit]:
        if _claim(delivery):
            _deliver(delivery)
            sent += 1
    return sent


def canonical(body: Mapping[str, Any]) -> bytes:
    """The bytes that are signed: sorted keys, no spaces, UTF-8, without the field `signature`."""
    unsigned = {name: value for name, value in body.items() if name != "signature"}
    return json.dumps(unsigned, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def sign(body: Mapping[str, Any], secret: bytes) -> str:
    """HMAC-SHA256 in hex over the canonical body."""
    return hmac.new(secret, canonical(body), hashlib.sha256).hexdigest()


def standard_headers(delivery_id: str, timestamp: int, content: bytes, secret: bytes) -> dict[str, str]:
    """The headers of the Standard Webhooks specification (standardwebhooks.com), signed over id, time and body."""
    signed = f"{delivery_id}.{timestamp}.".encode() + content
    digest = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
    return {"webhook-id": delivery_id, "webhook-timestamp": str(timestamp), "webhook-signature": f"v1,{digest}"}


def _claim(delivery: WebhookDelivery) -> bool:
    """Count the attempt and keep others off for a minute; a sender that dies is followed by the next after that."""
    now = timezone.now()
    claimed = WebhookDelivery.objects.due().filter(pk=delivery.pk, attempts=delivery.attempts)
    if not claimed.update(attempts=delivery.attempts + 1, claimed_until=now + CLAIMED_FOR):
        return False
    delivery.attempts += 1
    return True


def _deliver(delivery: WebhookDelivery) -> None:
    api_key = delivery.job.api_key if delivery.job else None
    if api_key is None:
        _give_up(delivery, "The API key that would sign this call was deleted.")
        return
    try:
        status = _send(delivery, api_key)
    except fetch.FetchError as error:
        _retry_later(delivery, None, error.message)
        return
    if 200 <= status < 300:
        _settle(delivery, delivered_at=timezone.now(), last_status=status, last_error="")
    elif status == GONE:
        _give_up(delivery, "The receiver said that it is gone (410).", status)
    else:
        _retry_later(delivery, status, f"The receiver answered {status}.")


def _send(delivery: WebhookDelivery, api_key: ApiKey) -> int:
    secret = signing_secret(api_key)
    body = {**delivery.body, "signature": sign(delivery.body, secret)}
    content = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    headers = standard_headers(f"msg_{delivery.id.hex}", int(timezone.now().timestamp()), content, secret)
    return fetch.post(
        delivery.url, content, {"Content-Type": "application/json; charset=utf-8", **headers}, total_s=TIMEOUT_S
    )


def _retry_later(delivery: WebhookDelivery, status: int | None, error: str) -> None:
    if delivery.attempts > len(BACKOFF):
        _give_up(delivery, error, status)
        return
    wait = BACKOFF[delivery.attempts - 1]
    _settle(delivery, next_attempt_at=timezone.now() + wait, last_status=status, last_error=error[:300])


def _give_up(delivery: WebhookDelivery, error: str, status: int | None = None) -> None:
    logger.warning("Gave up calling back for %s: %s", delivery.job_id, error)
    _settle(delivery, gave_up_at=timezone.now(), last_status=status, last_error=error[:300])


def _settle(delivery: WebhookDelivery, **fields: Any) -> None:
    """Write the outcome, unless another sender has taken over meanwhile."""
    WebhookDelivery.objects.filter(pk=delivery.pk, attempts=delivery.attempts).update(claimed_until=None, **fields)
