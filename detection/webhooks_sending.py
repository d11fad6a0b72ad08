"""The sender: claims what is due, signs it, calls, writes down what came back, and says what happens next.

At least once, never in a promised order: a process that dies between the call and its record leaves a claim that runs
out, and the call is made again under the same webhook-id.
"""

from __future__ import annotations

import email.utils
import logging
import random
import time
import uuid
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connections, transaction
from django.db.models import F, Q
from django.utils import timezone

from accounts import audit
from accounts.api_keys import signing_secrets
from accounts.models import ApiKey, User
from deepfake import storage, tracing
from deepfake.loop import stopping
from detection import fetch
from detection.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from detection.webhook_models import SwitchedOff
from detection.webhooks import TEST_EVENT, content_of, sign, standard_headers

logger = logging.getLogger(__name__)

BACKOFF = tuple(
    timedelta(seconds=seconds) for seconds in (10, 60, 300, 1800, 2 * 3600, 8 * 3600, 24 * 3600, 24 * 3600, 24 * 3600)
)
JITTER = (1.0, 1.25)  # what failed together is not called together again, and never sooner
LONGEST_WAIT = timedelta(hours=24)  # of those that a receiver may ask for by Retry-After
CLAIMED_FOR = timedelta(seconds=60)
TIMEOUT_S = 15.0
KEPT_BYTES = 16 * 1024  # of an answer's body
KEPT_HEADERS = ("content-type", "retry-after", "location", "server", "date", "x-request-id")
THREADS = 8
PER_RECEIVER = 2  # a slow one may hold this many threads, and no more
PER_ORGANIZATION = 4  # nor may all the slow ones of one organisation hold them all
CANDIDATES = 50
LOOK_AGAIN_S = 0.5
MIN_FAILURES = 10  # before an endpoint is switched off for failing, however long that takes
GONE = 410
NO_KEY = "The API key that would sign this call was deleted."
SWITCHED_OFF = "The webhook was switched off."


# Due calls ------------------------------------------------------------------------------------------------------------


def deliver_due() -> int:
    """Send what is due, several at a time, until nothing is left; return how many calls were begun.

    Safe beside other processes that do the same. While a slow receiver is waited for, others are looked after.
    """
    begun = 0
    running: dict[Future[None], WebhookDelivery] = {}
    with ThreadPoolExecutor(THREADS, thread_name_prefix="webhook") as pool:
        while True:
            if not stopping.is_set():
                for delivery in _claimed(list(running.values())):
                    running[pool.submit(_deliver_apart, delivery)] = delivery
                    begun += 1
            if not running:
                return begun
            done, _ = wait(running, timeout=LOOK_AGAIN_S, return_when=FIRST_COMPLETED)
            for future in done:
                del running[future]
                if failure := future.exception():
                    logger.error("A webhook could not be sent", exc_info=failure)


def _claimed(running: list[WebhookDelivery]) -> list[WebhookDelivery]:
    """Due deliveries, claimed for us: as many as threads are free, and none for whom has its share of them already."""
    receivers = Counter(delivery.receiver for delivery in running)
    organizations = Counter(delivery.organization_id for delivery in running)
    taken: list[WebhookDelivery] = []
    while free := THREADS - len(running) - len(taken):
        due = WebhookDelivery.objects.due().exclude(
            Q(receiver__in=[name for name, count in receivers.items() if count >= PER_RECEIVER])
            | Q(organization__in=[key for key, count in organizations.items() if count >= PER_ORGANIZATION])
        )
        before = len(taken)
        for delivery in due.order_by("next_attempt_at")[:CANDIDATES]:
            has_room = (
                receivers[delivery.receiver] < PER_RECEIVER
                and organizations[delivery.organization_id] < PER_ORGANIZATION
            )
            if free and has_room and _claim(delivery):
                receivers[delivery.receiver] += 1
                organizations[delivery.organization_id] += 1
                taken.append(delivery)
                free -= 1
        if len(taken) == before:
            break
    return taken


def _claim(delivery: WebhookDelivery) -> bool:
    """Count the attempt and keep others off for a minute; a sender that dies is followed by the next after that."""
    now = timezone.now()
    claimed = WebhookDelivery.objects.due().filter(pk=delivery.pk, attempts=delivery.attempts)
    if not claimed.update(attempts=delivery.attempts + 1, claimed_until=now + CLAIMED_FOR):
        return False
    delivery.attempts += 1
    return True


def begin(delivery: WebhookDelivery) -> WebhookDelivery:
    """Write a new delivery that its writer sends at once; should it die, the sender takes over."""
    delivery.attempts = 1
    delivery.claimed_until = timezone.now() + CLAIMED_FOR
    delivery.save(force_insert=True)
    return delivery


def _deliver_apart(delivery: WebhookDelivery) -> None:
    try:
        deliver(delivery)
    finally:
        connections.close_all()  # this thread's own


# One call -------------------------------------------------------------------------------------------------------------


def deliver(delivery: WebhookDelivery) -> None:
    """Make the call of a claimed delivery and write down what came of it."""
    endpoint = delivery.endpoint
    if endpoint is not None and not endpoint.is_enabled and delivery.event != TEST_EVENT:
        _settle(delivery, gave_up_at=timezone.now(), last_error=SWITCHED_OFF)  # written in the moment it was
        return
    live = _live_secrets(delivery)
    if not live:
        _settle(delivery, gave_up_at=timezone.now(), last_status=None, last_error=NO_KEY)
        return
    # The header holds a signature for each secret. The field has room for one: made with the older, which the receiver
    # is sure to have while two are live.
    signature = sign(delivery.body, live[-1])
    content = content_of({**delivery.body, "signature": signature})
    headers = standard_headers(delivery.public_id, int(timezone.now().timestamp()), content, live)
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        **headers,
        **tracing.outgoing_of_job(delivery.job_id),
    }
    begun = time.monotonic()
    answer: fetch.Answer | None = None
    error = ""
    try:
        answer = fetch.post(delivery.url, content, headers, total_s=TIMEOUT_S, keep_bytes=KEPT_BYTES)
    except fetch.FetchError as refused:
        error = refused.message
    attempt = WebhookAttempt(
        delivery=delivery,
        number=delivery.attempts,
        url=delivery.url,
        headers=headers,
        signature=signature,
        status=answer.status if answer else None,
        error=error[:300],
        response_headers=_kept_headers(answer),
        response_body=_text(answer.body) if answer else "",
        is_truncated=answer.is_truncated if answer else False,
        milliseconds=round((time.monotonic() - begun) * 1000),
    )
    with transaction.atomic():
        _record(delivery, attempt, answer)


def _record(delivery: WebhookDelivery, attempt: WebhookAttempt, answer: fetch.Answer | None) -> None:
    if not WebhookDelivery.objects.filter(pk=delivery.pk).exists():
        return  # deleted while it was sent
    attempt.save(force_insert=True)
    status = answer.status if answer else None
    if status is not None and 200 <= status < 300:
        if _settle(delivery, delivered_at=timezone.now(), last_status=status, last_error=""):
            _note_success(delivery.endpoint_id)
        return
    error = attempt.error or f"The receiver answered {status}."
    if status == GONE:
        if _settle(delivery, gave_up_at=timezone.now(), last_status=status, last_error="It is gone (410)."):
            _note_gone(delivery.endpoint_id)
        return
    next_attempt_at = None if delivery.event == TEST_EVENT else _next_attempt(delivery, answer)
    if next_attempt_at is None:
        mine = _settle(delivery, gave_up_at=timezone.now(), last_status=status, last_error=error)
    else:
        mine = _settle(delivery, next_attempt_at=next_attempt_at, last_status=status, last_error=error)
    if mine and delivery.event != TEST_EVENT:
        _note_failure(delivery.endpoint_id)


def _next_attempt(delivery: WebhookDelivery, answer: fetch.Answer | None) -> Any:
    """When to try again: later each time, and not before the receiver asks for; None when it was tried enough."""
    tries = delivery.attempts - delivery.attempts_before
    if tries > len(BACKOFF):
        return None
    pause = BACKOFF[tries - 1] * random.uniform(*JITTER)
    asked = min(retry_after(answer.headers.get("retry-after", "")), LONGEST_WAIT) if answer else timedelta()
    return timezone.now() + max(pause, asked)


def retry_after(text: str) -> timedelta:
    """What a Retry-After header asks for, in seconds or as a date; nothing when it makes no sense."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        return timedelta(seconds=min(int(text[:9]), 10**8))
    try:
        moment = email.utils.parsedate_to_datetime(text)
        return max(moment - timezone.now(), timedelta())
    except (TypeError, ValueError, OverflowError):  # no date, or one without a zone
        return timedelta()


def _settle(delivery: WebhookDelivery, **fields: Any) -> bool:
    """Write the outcome, unless another sender has taken over or the webhook was switched off meanwhile."""
    mine = WebhookDelivery.objects.pending().filter(pk=delivery.pk, attempts=delivery.attempts)
    return bool(mine.update(claimed_until=None, **fields))


def _kept_headers(answer: fetch.Answer | None) -> dict[str, str]:
    if answer is None:
        return {}
    return {
        name: _text(answer.headers[name].encode("utf-8", "replace"))[:300]
        for name in KEPT_HEADERS
        if name in answer.headers
    }


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace").replace("\x00", "\ufffd")


# Secrets --------------------------------------------------------------------------------------------------------------


def secret_context(endpoint: WebhookEndpoint) -> str:
    return f"webhook:{endpoint.pk.hex}"


def secrets_of(endpoint: WebhookEndpoint) -> list[bytes]:
    """The live secrets, newest first."""
    sealed = [bytes(endpoint.secret)]
    if endpoint.has_two_secrets:
        sealed.append(bytes(endpoint.previous_secret or b""))
    return [storage.unseal(one, context=secret_context(endpoint)) for one in sealed]


def _live_secrets(delivery: WebhookDelivery) -> list[bytes]:
    """What to sign with, newest first: the endpoint's secrets, or that of the API key which asked for the callback."""
    if delivery.endpoint is not None:
        return secrets_of(delivery.endpoint)
    asked = delivery.job or delivery.batch
    api_key = asked.api_key if asked else None
    return signing_secrets(api_key) if api_key is not None else []


# The endpoint's health ------------------------------------------------------------------------------------------------


def _note_success(pk: uuid.UUID | None) -> None:
    if pk is None:
        return  # a callback: nobody keeps its health
    WebhookEndpoint.objects.filter(pk=pk).update(failures=0, failing_since=None, last_success_at=timezone.now())


def _note_failure(pk: uuid.UUID | None) -> None:
    if pk is None:
        return
    now = timezone.now()
    row = WebhookEndpoint.objects.filter(pk=pk)
    row.filter(failing_since=None).update(failing_since=now)
    row.update(failures=F("failures") + 1, last_failure_at=now)
    limit = now - timedelta(days=settings.WEBHOOK_OFF_AFTER_DAYS)
    failing = row.filter(is_enabled=True, failures__gte=MIN_FAILURES, failing_since__lt=limit).first()
    if failing is not None:
        switch_off(failing, SwitchedOff.FAILING)


def _note_gone(pk: uuid.UUID | None) -> None:
    if pk is None:
        return
    endpoint = WebhookEndpoint.objects.filter(pk=pk, is_enabled=True).first()
    if endpoint is not None:
        switch_off(endpoint, SwitchedOff.GONE)


def switch_off(
    endpoint: WebhookEndpoint, reason: SwitchedOff, *, actor: User | None = None, api_key: ApiKey | None = None
) -> None:
    """Stop calling an endpoint; what waits for it ends here, and can be replayed once it is on again."""
    now = timezone.now()
    with transaction.atomic():
        row = WebhookEndpoint.objects.filter(pk=endpoint.pk, is_enabled=True)
        if not row.update(is_enabled=False, off_reason=reason, off_at=now):
            return
        waiting = WebhookDelivery.objects.pending().filter(endpoint=endpoint)
        ended = waiting.update(gave_up_at=now, last_error=SWITCHED_OFF, claimed_until=None)
        endpoint.refresh_from_db()
        audit.record(
            action="webhook.disabled",
            organization=endpoint.organization,
            actor=actor,
            api_key=api_key,
            target=endpoint,
            details={"reason": str(reason), "deliveries_ended": ended, "url": endpoint.url},
        )
    logger.warning("The webhook %s was switched off: %s", endpoint.public_id, reason.label)
