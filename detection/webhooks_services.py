"""Actions on webhook endpoints: make, change, rotate the secret, switch off and on, test, replay, forget."""

from __future__ import annotations

import base64
import logging
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from accounts import audit
from accounts.authentication import may
from accounts.models import ApiKey, Organization, User
from deepfake import storage
from deepfake.errors import DomainError
from detection import fetch, webhooks_sending
from detection.models import WebhookDelivery, WebhookEndpoint
from detection.webhook_models import SwitchedOff
from detection.webhooks import EVENTS, TEST_EVENT, body_of, receiver_of

logger = logging.getLogger(__name__)

SECRET_PREFIX = "whsec_"  # noqa: S105  the mark of its form, not a secret
SECRET_BYTES = 32
MAX_ENDPOINTS = 50
MAX_OVERLAP = timedelta(days=7)
DEFAULT_OVERLAP = timedelta(hours=24)
DELETED_AT_ONCE = 1000


def check_sees_verdicts(request: Any) -> None:
    """Webhooks carry verdicts: who says where they go, or reads what went, must be allowed to see them."""
    if not may(request, "detect:read"):
        raise DomainError(
            "Webhooks carry verdicts, so this also takes the scope detect:read, which your API key or your role does "
            "not have.",
            "permission_denied",
            403,
        )


def create_endpoint(
    *,
    organization: Organization,
    url: str,
    events: Iterable[str],
    description: str = "",
    actor: User | None = None,
    api_key: ApiKey | None = None,
) -> tuple[WebhookEndpoint, str]:
    """Return the endpoint and the text of its secret. Raises DomainError."""
    url, wanted = _checked_url(url), _checked_events(events)
    text = _new_secret()
    with transaction.atomic():
        organization.lock()
        if WebhookEndpoint.objects.filter(organization=organization).count() >= MAX_ENDPOINTS:
            raise DomainError(
                f"There are {MAX_ENDPOINTS} webhooks, the most an organisation may have. Delete one first.",
                "too_many_webhooks",
                409,
            )
        endpoint = WebhookEndpoint(
            organization=organization,
            url=url,
            events=wanted,
            description=description.strip()[:200],
            created_by=actor,
            is_sandbox=bool(api_key and api_key.is_sandbox),
        )
        endpoint.secret = _seal(endpoint, text)
        endpoint.save(force_insert=True)
        _audit("webhook.created", endpoint, actor, api_key, {"url": url, "events": wanted})
    return endpoint, text


def change_endpoint(
    *,
    endpoint: WebhookEndpoint,
    actor: User | None = None,
    api_key: ApiKey | None = None,
    url: str | None = None,
    events: Iterable[str] | None = None,
    description: str | None = None,
    is_enabled: bool | None = None,
) -> WebhookEndpoint:
    """Change what is given; what still waits goes to a new address. Raises DomainError."""
    new: dict[str, Any] = {}
    if url is not None:
        new["url"] = _checked_url(url)
    if events is not None:
        new["events"] = _checked_events(events)
    if description is not None:
        new["description"] = description.strip()[:200]
    with transaction.atomic():
        endpoint = WebhookEndpoint.objects.select_for_update().get(pk=endpoint.pk)
        before = {name: getattr(endpoint, name) for name, value in new.items() if getattr(endpoint, name) != value}
        if before:
            after = {name: new[name] for name in before}
            _update(endpoint, **after)
            if "url" in after:
                endpoint.deliveries.pending().update(url=after["url"], receiver=receiver_of(after["url"]))
            _audit("webhook.changed", endpoint, actor, api_key, {"before": before, "after": after})
        if is_enabled is not None and is_enabled != endpoint.is_enabled:
            if is_enabled:
                _update(endpoint, is_enabled=True, off_reason="", off_at=None, failures=0, failing_since=None)
                _audit("webhook.enabled", endpoint, actor, api_key, {})
            else:
                webhooks_sending.switch_off(endpoint, SwitchedOff.BY_HAND, actor=actor, api_key=api_key)
    return endpoint


def delete_endpoint(*, endpoint: WebhookEndpoint, actor: User | None = None, api_key: ApiKey | None = None) -> None:
    """Delete the endpoint and its log."""
    with transaction.atomic():
        _audit("webhook.deleted", endpoint, actor, api_key, {"url": endpoint.url})
        endpoint.delete()


# Secrets --------------------------------------------------------------------------------------------------------------


def rotate_secret(
    *,
    endpoint: WebhookEndpoint,
    overlap: timedelta = DEFAULT_OVERLAP,
    actor: User | None = None,
    api_key: ApiKey | None = None,
) -> tuple[WebhookEndpoint, str]:
    """Return the endpoint and its new secret; the one before stays live for `overlap`. Raises DomainError."""
    if not timedelta() <= overlap <= MAX_OVERLAP:
        raise DomainError(
            f"The old secret may stay live for 0 to {MAX_OVERLAP // timedelta(hours=1)} hours.", "overlap_invalid"
        )
    text = _new_secret()
    with transaction.atomic():
        endpoint = WebhookEndpoint.objects.select_for_update().get(pk=endpoint.pk)
        _update(
            endpoint,
            previous_secret=bytes(endpoint.secret) if overlap else None,
            previous_secret_until=timezone.now() + overlap if overlap else None,
            secret=_seal(endpoint, text),
        )
        _audit("webhook.rotated", endpoint, actor, api_key, {"overlap_hours": overlap / timedelta(hours=1)})
    return endpoint, text


def show_secret(*, endpoint: WebhookEndpoint, actor: User) -> str:
    """The text of the newest secret, for a member; the audit log says who has seen it."""
    with transaction.atomic():
        _audit("webhook.secret_shown", endpoint, actor, None, {})
    return secret_text(endpoint)


def secret_text(endpoint: WebhookEndpoint) -> str:
    """The newest secret in the form that receivers take."""
    return SECRET_PREFIX + base64.b64encode(webhooks_sending.secrets_of(endpoint)[0]).decode()


def _new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def _seal(endpoint: WebhookEndpoint, text: str) -> bytes:
    return storage.seal(
        base64.b64decode(text.removeprefix(SECRET_PREFIX)), context=webhooks_sending.secret_context(endpoint)
    )


# Testing and replaying ------------------------------------------------------------------------------------------------


def send_test(
    *, endpoint: WebhookEndpoint, actor: User | None = None, api_key: ApiKey | None = None
) -> WebhookDelivery:
    """Send a real `webhook.test` event now, once, even to an endpoint that is switched off; return how it went."""
    payload = {"webhook_id": endpoint.public_id, "message": "This is a test. Nothing happened."}
    with transaction.atomic():
        delivery = webhooks_sending.begin(
            WebhookDelivery(
                organization=endpoint.organization,
                endpoint=endpoint,
                event=TEST_EVENT,
                url=endpoint.url,
                receiver=receiver_of(endpoint.url),
                body=body_of(TEST_EVENT, payload),
            )
        )
        _audit("webhook.tested", endpoint, actor, api_key, {"delivery": delivery.public_id})
    webhooks_sending.deliver(delivery)
    delivery.refresh_from_db()
    return delivery


def replay(
    *,
    endpoint: WebhookEndpoint,
    delivery: WebhookDelivery | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    state: str = "failed",
    actor: User | None = None,
    api_key: ApiKey | None = None,
) -> int:
    """Send again one delivery, or those of a time range in `state`; each keeps its webhook-id. Raises DomainError.

    What still waits for a retry of its own is sent now when it is named, and left alone by a range.
    """
    if not endpoint.is_enabled:
        raise DomainError("This webhook is switched off. Switch it on, then replay.", "webhook_off", 409)
    chosen = WebhookDelivery.objects.filter(endpoint=endpoint)
    if delivery is not None:
        chosen = chosen.filter(pk=delivery.pk)
        details: dict[str, Any] = {"delivery": delivery.public_id}
    else:
        if since is None or (until is not None and until <= since):
            raise DomainError("Give `since`, and an `until` after it.", "range_invalid")
        chosen = chosen.filter(created_at__gte=since, created_at__lt=until or timezone.now()).exclude(event=TEST_EVENT)
        chosen = chosen.filter(Q(delivered_at__isnull=False) | Q(gave_up_at__isnull=False))
        chosen = chosen.in_state(state) if state == "failed" else chosen
        details = {"since": since, "until": until, "state": state}
    with transaction.atomic():
        count = chosen.update(
            url=endpoint.url,
            receiver=receiver_of(endpoint.url),
            attempts_before=F("attempts"),
            replays=F("replays") + 1,
            next_attempt_at=timezone.now(),
            delivered_at=None,
            gave_up_at=None,
        )
        _audit("webhook.replayed", endpoint, actor, api_key, {**details, "count": count})
    return count


def forget_old() -> int:
    """Housekeeping: what has come to its end is kept for WEBHOOK_LOG_DAYS."""
    settled = WebhookDelivery.objects.filter(Q(delivered_at__isnull=False) | Q(gave_up_at__isnull=False))
    old = settled.filter(created_at__lt=timezone.now() - timedelta(days=settings.WEBHOOK_LOG_DAYS))
    total = 0
    while ids := list(old.order_by("created_at").values_list("pk", flat=True)[:DELETED_AT_ONCE]):
        WebhookDelivery.objects.filter(pk__in=ids).delete()
        total += len(ids)
    return total


# Shared ---------------------------------------------------------------------------------------------------------------


def _checked_url(url: str) -> str:
    try:
        target = fetch.check_url(url, verb="called")
        if target.scheme != "https" and not settings.FETCH_ALLOW_PRIVATE:
            raise fetch.FetchError("A webhook needs an https:// address.", "url_not_allowed")
    except fetch.FetchError as error:
        raise DomainError(error.message, "webhook_url_not_allowed", fields={"url": [error.message]}) from None
    return target.url


def _checked_events(events: Iterable[str]) -> list[str]:
    wanted = list(dict.fromkeys(events))
    unknown = [name for name in wanted if name != "*" and name not in EVENTS]
    if unknown or not wanted:
        wrong = f"There is no event called {', '.join(unknown)}." if unknown else "Choose at least one event."
        sentence = f'{wrong} There are {", ".join(EVENTS)}, and "*" for all.'
        raise DomainError(sentence, "event_unknown", fields={"events": [sentence]})
    return ["*"] if "*" in wanted else [name for name in EVENTS if name in wanted]


def _update(endpoint: WebhookEndpoint, **fields: Any) -> None:
    for name, value in fields.items():
        setattr(endpoint, name, value)
    endpoint.save(update_fields=list(fields))


def _audit(
    action: str, endpoint: WebhookEndpoint, actor: User | None, api_key: ApiKey | None, details: dict[str, Any]
) -> None:
    audit.record(
        action=action,
        organization=endpoint.organization,
        actor=actor,
        api_key=api_key,
        target=endpoint,
        details=details,
    )
