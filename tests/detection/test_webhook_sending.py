"""Endpoints are told of events: signed as the official library reads it, retried, several at a time, at least once."""

from __future__ import annotations

import base64
import email.utils
import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as live_settings
from django.db import connection, transaction
from django.utils import timezone
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from accounts.api_keys import derive_signing_secret
from accounts.models import AuditLog, Organization
from detection import fetch, services, webhooks, webhooks_sending, webhooks_services
from detection.models import Job, JobStatus, WebhookAttempt, WebhookDelivery, WebhookEndpoint
from tests import factories
from tests.detection.conftest import upload
from tests.detection.web import LocalServer, Reply

pytestmark = [pytest.mark.services, pytest.mark.django_db(transaction=True)]

PAYLOAD = {"batch_id": "bat_1", "completed": 3, "failed": 0, "share": 0.25}


@pytest.fixture(autouse=True)
def _local(local_servers: Any) -> None:
    """All these tests call receivers of this machine."""


@pytest.fixture
def made(organization: Organization, server: LocalServer) -> tuple[WebhookEndpoint, str]:
    server.replies["/hook"] = Reply(200, b'{"ok": true}', {"X-Request-Id": "r1"})
    return webhooks_services.create_endpoint(organization=organization, url=server.url("/hook"), events=["*"])


@pytest.fixture
def endpoint(made: tuple[WebhookEndpoint, str]) -> WebhookEndpoint:
    return made[0]


@pytest.fixture
def secret(made: tuple[WebhookEndpoint, str]) -> str:
    return made[1]


def emit(organization: Organization, **changes: Any) -> WebhookDelivery:
    (delivery,) = webhooks.emit(organization=organization, event="batch.completed", payload={**PAYLOAD, **changes})
    return delivery


def due_now() -> None:
    WebhookDelivery.objects.pending().update(next_attempt_at=timezone.now(), claimed_until=None)


# Signatures -----------------------------------------------------------------------------------------------------------


def test_official_library_takes_our_call(
    organization: Organization, endpoint: WebhookEndpoint, secret: str, server: LocalServer
) -> None:
    delivery = emit(organization)
    assert webhooks_sending.deliver_due() == 1
    (call,) = server.seen
    body = Webhook(secret).verify(call.body, call.headers)
    assert {name: body[name] for name in PAYLOAD} == PAYLOAD
    assert body["event"] == "batch.completed"
    assert call.headers["webhook-id"] == delivery.public_id
    key = base64.b64decode(secret.removeprefix("whsec_"))
    assert secret.startswith("whsec_")
    assert len(key) == 32
    signature = body.pop("signature")
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert signature == hmac.new(key, canonical, hashlib.sha256).hexdigest()


def test_official_library_refuses_what_is_forged_altered_or_late(
    organization: Organization, endpoint: WebhookEndpoint, secret: str, server: LocalServer
) -> None:
    emit(organization)
    webhooks_sending.deliver_due()
    (call,) = server.seen
    forged = webhooks.standard_headers("msg_x", int(time.time()), call.body, [b"somebody else's secret"])
    late = webhooks.standard_headers(
        "msg_x", int(time.time()) - 301, call.body, [base64.b64decode(secret.removeprefix("whsec_"))]
    )
    for body, headers in (
        (call.body, forged),
        (call.body, late),
        (call.body.replace(b'"completed":3', b'"completed":4'), call.headers),
        (call.body, {**call.headers, "webhook-id": "msg_other"}),
        (call.body, {**call.headers, "webhook-timestamp": str(int(time.time()) + 7)}),
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body, headers)


def test_official_library_takes_a_callback_with_the_secret_of_the_key(
    organization: Organization, api_key_and_text: Any, run_next: Any, server: LocalServer
) -> None:
    server.replies["/one"] = Reply(204)
    services.submit_and_start(
        organization=organization,
        api_key=api_key_and_text[0],
        file=upload(),
        filename="a.png",
        callback_url=server.url("/one"),
    )
    run_next()
    webhooks_sending.deliver_due()
    (call,) = server.seen
    body = Webhook(derive_signing_secret(api_key_and_text[1])).verify(call.body, call.headers)
    assert body["event"] == "job.completed"


def test_two_secrets_are_live_during_the_overlap_and_one_after_it(
    organization: Organization, endpoint: WebhookEndpoint, secret: str, server: LocalServer
) -> None:
    _, newer = webhooks_services.rotate_secret(endpoint=endpoint, overlap=timedelta(hours=1))
    emit(organization)
    webhooks_sending.deliver_due()
    call = server.seen[-1]
    assert len(call.headers["webhook-signature"].split()) == 2
    Webhook(secret).verify(call.body, call.headers)
    body = Webhook(newer).verify(call.body, call.headers)
    assert body["signature"] == webhooks.sign(body, base64.b64decode(secret.removeprefix("whsec_"))), "older receivers"
    WebhookEndpoint.objects.update(previous_secret_until=timezone.now())
    emit(organization)
    webhooks_sending.deliver_due()
    call = server.seen[-1]
    Webhook(newer).verify(call.body, call.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(call.body, call.headers)


def test_a_leaked_secret_dies_at_once(
    organization: Organization, endpoint: WebhookEndpoint, secret: str, server: LocalServer
) -> None:
    _, newer = webhooks_services.rotate_secret(endpoint=endpoint, overlap=timedelta())
    emit(organization)
    webhooks_sending.deliver_due()
    Webhook(newer).verify(server.seen[0].body, server.seen[0].headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(server.seen[0].body, server.seen[0].headers)


def test_secrets_are_sealed_in_the_database(endpoint: WebhookEndpoint, secret: str) -> None:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    assert key not in bytes(WebhookEndpoint.objects.get().secret)


# Who is told what -----------------------------------------------------------------------------------------------------


def test_only_those_who_asked_are_told(
    organization: Organization, other_organization: Organization, server: LocalServer
) -> None:
    def register(who: Organization, *events: str) -> WebhookEndpoint:
        return webhooks_services.create_endpoint(organization=who, url=server.url("/x"), events=events)[0]

    one, every = register(organization, "batch.completed"), register(organization, "*")
    register(organization, "job.failed")
    register(other_organization, "*")
    off = register(organization, "*")
    webhooks_services.change_endpoint(endpoint=off, is_enabled=False)
    written = webhooks.emit(organization=organization, event="batch.completed", payload=PAYLOAD)
    assert {delivery.endpoint_id for delivery in written} == {one.pk, every.pk}


def test_an_event_that_is_taken_back_is_not_told(organization: Organization, endpoint: WebhookEndpoint) -> None:
    with transaction.atomic():
        emit(organization)
        transaction.set_rollback(True)
    assert not WebhookDelivery.objects.exists()


def test_unknown_event_is_a_fault_of_ours(organization: Organization) -> None:
    with pytest.raises(ValueError, match=r"job\.exploded"):
        webhooks.emit(organization=organization, event="job.exploded", payload={})


def test_end_of_a_job_is_told_once(
    organization: Organization, endpoint: WebhookEndpoint, run_next: Any, server: LocalServer
) -> None:
    services.submit_and_start(organization=organization, file=upload(), filename="a.png")
    job = run_next()
    webhooks.queue_delivery(job)
    assert webhooks_sending.deliver_due() == 1
    body = json.loads(server.seen[0].body)
    assert (body["event"], body["job_id"], body["result"]["label"]) == ("job.completed", job.public_id, "fake")


def test_callback_and_webhook_of_the_same_address_are_two_calls(
    organization: Organization, endpoint: WebhookEndpoint, api_key: Any, server: LocalServer
) -> None:
    job = factories.make_job(
        organization=organization, status=JobStatus.FAILED, api_key=api_key, callback_url=server.url("/hook")
    )
    webhooks.queue_delivery(job)
    assert WebhookDelivery.objects.count() == 2
    assert webhooks_sending.deliver_due() == 2


# Trying again ---------------------------------------------------------------------------------------------------------


def test_retry_keeps_the_id_and_logs_both(
    organization: Organization, endpoint: WebhookEndpoint, secret: str, server: LocalServer
) -> None:
    server.replies["/hook"] = [Reply(503, b"away\x00 for lunch"), Reply(200, b"ok")]
    delivery = emit(organization)
    webhooks_sending.deliver_due()
    endpoint.refresh_from_db()
    assert (endpoint.failures, endpoint.last_success_at) == (1, None)
    assert endpoint.failing_since
    due_now()
    webhooks_sending.deliver_due()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts) == ("delivered", 2)
    assert {call.headers["webhook-id"] for call in server.seen} == {delivery.public_id}
    second, first = delivery.log.all()
    assert (first.number, first.status, first.response_body) == (1, 503, "away\ufffd for lunch")
    assert (second.number, second.status, second.response_body) == (2, 200, "ok")
    sent = {**delivery.body, "signature": second.signature}
    Webhook(secret).verify(webhooks.content_of(sent), second.headers)
    endpoint.refresh_from_db()
    assert (endpoint.failures, endpoint.failing_since) == (0, None)


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured(form: str, organization: Any, endpoint: Any, server: LocalServer) -> None:
    wanted = timezone.now() + timedelta(hours=1)
    text = "3600" if form == "seconds" else email.utils.format_datetime(wanted)
    server.replies["/hook"] = Reply(429, headers={"Retry-After": text})
    delivery = emit(organization)
    webhooks_sending.deliver_due()
    delivery.refresh_from_db()
    assert abs(delivery.next_attempt_at - wanted) < timedelta(seconds=20)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", 0), ("soon", 0), ("-5", 0), ("1.5", 0), ("120", 120), ("٣", 0), ("9" * 40, 10**8),
     ("Wed, 21 Oct 2015 07:28:00 GMT", 0), ("Wed, 21 Oct 2015 07:28:00", 0)],
)  # fmt: skip
def test_reading_of_retry_after(text: str, seconds: int) -> None:
    assert webhooks_sending.retry_after(text) == timedelta(seconds=seconds)


def test_nobody_can_ask_for_more_than_a_day(organization: Any, endpoint: Any, server: LocalServer) -> None:
    server.replies["/hook"] = Reply(503, headers={"Retry-After": "99999999"})
    delivery = emit(organization)
    webhooks_sending.deliver_due()
    delivery.refresh_from_db()
    assert delivery.next_attempt_at <= timezone.now() + timedelta(hours=24)


def test_tries_are_spread_and_last_for_three_days() -> None:
    delivery = WebhookDelivery(attempts=1)
    waits = {(webhooks_sending._next_attempt(delivery, None) - timezone.now()).total_seconds() for _ in range(20)}
    assert len({round(wait, 2) for wait in waits}) > 5
    assert 9.9 < min(waits) <= max(waits) < 12.6
    shortest = sum(webhooks_sending.BACKOFF, timedelta()) * webhooks_sending.JITTER[0]
    assert timedelta(days=3) < shortest < timedelta(days=4)


def test_410_switches_the_webhook_off(organization: Any, endpoint: WebhookEndpoint, server: LocalServer) -> None:
    server.replies["/hook"] = Reply(410)
    first, second = emit(organization), emit(organization)
    WebhookDelivery.objects.filter(pk=second.pk).update(next_attempt_at=timezone.now() + timedelta(hours=1))
    webhooks_sending.deliver_due()
    endpoint.refresh_from_db()
    assert (endpoint.is_enabled, endpoint.off_reason) == (False, "gone")
    for delivery in (first, second):
        delivery.refresh_from_db()
        assert delivery.state == "failed"
    row = AuditLog.objects.get(action="webhook.disabled")
    assert (row.details["reason"], row.details["deliveries_ended"]) == ("gone", 1)
    assert webhooks.emit(organization=organization, event="batch.completed", payload=PAYLOAD) == []


def test_days_of_failing_switch_it_off(
    organization: Any, endpoint: WebhookEndpoint, server: LocalServer, settings: Any
) -> None:
    server.replies["/hook"] = Reply(500)
    emit(organization)
    long_ago = timezone.now() - timedelta(days=settings.WEBHOOK_OFF_AFTER_DAYS, seconds=1)
    WebhookEndpoint.objects.update(failing_since=long_ago, failures=webhooks_sending.MIN_FAILURES - 2)
    webhooks_sending.deliver_due()
    endpoint.refresh_from_db()
    assert endpoint.is_enabled, "too few failures to be sure"
    due_now()
    webhooks_sending.deliver_due()
    endpoint.refresh_from_db()
    assert (endpoint.is_enabled, endpoint.off_reason) == (False, "failing")
    assert AuditLog.objects.filter(action="webhook.disabled", target_id=str(endpoint.pk)).exists()


def test_a_delivery_written_while_it_was_switched_off_is_not_sent(
    organization: Any, endpoint: WebhookEndpoint, server: LocalServer
) -> None:
    delivery = emit(organization)
    WebhookEndpoint.objects.update(is_enabled=False)
    webhooks_sending.deliver_due()
    delivery.refresh_from_db()
    assert (delivery.state, server.seen) == ("failed", [])


# What is dialled ------------------------------------------------------------------------------------------------------


def test_redirect_is_a_failure(organization: Any, endpoint: Any, server: LocalServer) -> None:
    server.replies["/hook"] = Reply(307, headers={"Location": server.url("/private")})
    delivery = emit(organization)
    webhooks_sending.deliver_due()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.last_status) == ("retrying", 307)
    assert [call.path for call in server.seen] == ["/hook"]


def test_name_that_turns_private_after_it_was_registered_is_not_called(
    organization: Any, server: LocalServer, settings: Any, monkeypatch: Any
) -> None:
    settings.FETCH_ALLOW_PRIVATE = False
    webhooks_services.create_endpoint(organization=organization, url="https://rebound.example.org/hook", events=["*"])
    asked: list[str] = []

    def rebound(host: str, port: int, **kwargs: Any) -> Any:
        asked.append(host)
        return [(2, 1, 6, "", ("169.254.169.254", port))]

    monkeypatch.setattr(fetch, "_look_up", rebound)
    monkeypatch.setattr(fetch, "_dial", lambda *args: pytest.fail("dialled"))
    delivery = emit(organization)
    webhooks_sending.deliver_due()
    delivery.refresh_from_db()
    assert asked == ["rebound.example.org"]
    assert delivery.last_error == "This address leads to a private or internal network, which is never called."


def test_answer_is_kept_but_bounded(organization: Any, endpoint: Any, server: LocalServer) -> None:
    server.replies["/hook"] = Reply(200, b"x" * 1_000_000, {"Set-Cookie": "secret=1", "Content-Type": "text/plain"})
    emit(organization)
    webhooks_sending.deliver_due()
    attempt = WebhookAttempt.objects.get()
    assert (attempt.response_body, attempt.is_truncated) == ("x" * webhooks_sending.KEPT_BYTES, True)
    assert "set-cookie" not in attempt.response_headers
    assert attempt.response_headers["content-type"] == "text/plain"


# Several at a time ----------------------------------------------------------------------------------------------------


def test_one_slow_receiver_does_not_hold_the_others(organization: Any, server: LocalServer) -> None:
    release = threading.Event()
    at_once: list[int] = []
    lock = threading.Lock()

    def slow(handler: Any) -> None:
        with lock:
            at_once.append(len(at_once) + 1)
        release.wait(20)
        handler.send_response(200)
        handler.end_headers()

    with LocalServer() as other:
        server.replies["/slow"] = slow
        other.replies["/quick"] = Reply(200)
        webhooks_services.create_endpoint(organization=organization, url=server.url("/slow"), events=["*"])
        for number in range(30):
            emit(organization, number=number)
        WebhookEndpoint.objects.update(is_enabled=False)
        quick, _ = webhooks_services.create_endpoint(organization=organization, url=other.url("/quick"), events=["*"])
        for number in range(10):
            emit(organization, number=number)
        WebhookEndpoint.objects.update(is_enabled=True)
        sender = threading.Thread(target=webhooks_sending.deliver_due)
        sender.start()
        try:
            wait_for(lambda: quick.deliveries.filter(delivered_at__isnull=False).count() == 10)
            assert len(at_once) == webhooks_sending.PER_RECEIVER
        finally:
            release.set()
            sender.join(30)
        wait_for(lambda: not WebhookDelivery.objects.pending().exists())
        assert len(server.seen) == 30


def test_slow_receivers_of_one_organisation_do_not_hold_those_of_another(
    organization: Organization, other_organization: Organization
) -> None:
    for number in range(6):
        for n in range(3):
            WebhookDelivery.objects.create(
                organization=organization, event="x", url=f"http://{number}.example/{n}", receiver=str(number), body={}
            )
    WebhookDelivery.objects.create(
        organization=other_organization, event="x", url="http://last.example/", receiver="last", body={}
    )
    taken = webhooks_sending._claimed([])
    own = [delivery.receiver for delivery in taken if delivery.organization_id == organization.pk]
    assert len(own) == webhooks_sending.PER_ORGANIZATION
    assert len(taken) == len(own) + 1, "the other organisation's call is not behind theirs"
    assert all(own.count(receiver) <= webhooks_sending.PER_RECEIVER for receiver in own)
    assert webhooks_sending._claimed(taken) == [], "everybody has their share"


def wait_for(condition: Any, seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


# Kill -9 --------------------------------------------------------------------------------------------------------------

SEND_AND_DIE = """
import os, signal, sys
import django
django.setup()
from django.conf import settings
from django.db import connection
from detection import webhooks_sending
settings.FETCH_ALLOW_PRIVATE = True
webhooks_sending._record = lambda *args: os.kill(os.getpid(), signal.SIGKILL)  # after the call, before its record
webhooks_sending.deliver_due()
"""


def test_killed_between_the_call_and_its_record_calls_again_with_the_same_id(
    organization: Any, endpoint: WebhookEndpoint, secret: str, server: LocalServer, data_dir: Any
) -> None:
    delivery = emit(organization)
    name = connection.settings_dict["NAME"]
    options = connection.settings_dict
    url = (
        f"sqlite:///{name}"
        if connection.vendor == "sqlite"
        else f"postgres://{options['USER']}:{options['PASSWORD']}@{options['HOST']}:{options['PORT']}/{name}"
    )
    done = subprocess.run(
        [sys.executable, "-c", SEND_AND_DIE],
        cwd=live_settings.BASE_DIR,
        env={
            **os.environ,
            "DATABASE_URL": url,
            "DATA_DIR": str(data_dir),
            "DJANGO_SETTINGS_MODULE": "deepfake.settings",
        },
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL
    assert len(server.seen) == 1
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts) == ("retrying", 1)
    assert webhooks_sending.deliver_due() == 0, "it may still be at it"
    WebhookDelivery.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
    assert webhooks_sending.deliver_due() == 1
    assert [call.headers["webhook-id"] for call in server.seen] == [delivery.public_id] * 2
    for call in server.seen:
        Webhook(secret).verify(call.body, call.headers)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts, delivery.log.count()) == ("delivered", 2, 1)


# Replay, test, log ----------------------------------------------------------------------------------------------------


def test_replay_keeps_the_id_and_begins_a_new_round(
    organization: Any, endpoint: WebhookEndpoint, server: LocalServer
) -> None:
    delivery = emit(organization)
    webhooks_sending.deliver_due()
    assert webhooks_services.replay(endpoint=endpoint, delivery=delivery) == 1
    server.replies["/hook"] = Reply(500)
    webhooks_sending.deliver_due()
    delivery.refresh_from_db()
    assert (delivery.state, delivery.attempts, delivery.replays) == ("retrying", 2, 1)
    assert delivery.next_attempt_at < timezone.now() + timedelta(seconds=13), "the first pause of the round"
    assert {call.headers["webhook-id"] for call in server.seen} == {delivery.public_id}


def test_replay_of_a_range_takes_what_failed(organization: Any, endpoint: WebhookEndpoint, server: LocalServer) -> None:
    now = timezone.now()
    rows = [emit(organization, n=n) for n in range(4)]
    ends = ({"gave_up_at": now}, {"delivered_at": now}, {"gave_up_at": now}, {})
    for hours, (row, end) in enumerate(zip(rows, ends, strict=True)):
        WebhookDelivery.objects.filter(pk=row.pk).update(created_at=now - timedelta(hours=hours + 1), attempts=3, **end)
    since, until = now - timedelta(hours=2.5), now
    assert webhooks_services.replay(endpoint=endpoint, since=since, until=until) == 1
    assert webhooks_services.replay(endpoint=endpoint, since=since, until=until, state="all") == 1
    assert webhooks_services.replay(endpoint=endpoint, since=since - timedelta(hours=9)) == 1
    assert AuditLog.objects.filter(action="webhook.replayed").count() == 3


def test_a_test_is_tried_once_even_when_off(endpoint: WebhookEndpoint, secret: str, server: LocalServer) -> None:
    webhooks_services.change_endpoint(endpoint=endpoint, is_enabled=False)
    endpoint.refresh_from_db()
    delivery = webhooks_services.send_test(endpoint=endpoint)
    assert delivery.state == "delivered"
    body = Webhook(secret).verify(server.seen[0].body, server.seen[0].headers)
    assert (body["event"], body["webhook_id"]) == ("webhook.test", endpoint.public_id)
    server.replies["/hook"] = Reply(500)
    delivery = webhooks_services.send_test(endpoint=endpoint)
    assert (delivery.state, delivery.attempts) == ("failed", 1)
    endpoint.refresh_from_db()
    assert endpoint.failures == 0, "a test says nothing about days"


def test_a_new_address_gets_what_still_waits(organization: Any, endpoint: WebhookEndpoint, server: LocalServer) -> None:
    emit(organization)
    server.replies["/new"] = Reply(200)
    webhooks_services.change_endpoint(endpoint=endpoint, url=server.url("/new"))
    webhooks_sending.deliver_due()
    assert [call.path for call in server.seen] == ["/new"]


def test_log_is_forgotten_after_its_days(organization: Any, endpoint: Any, settings: Any) -> None:
    old = timezone.now() - timedelta(days=settings.WEBHOOK_LOG_DAYS, minutes=1)
    gone, young, waiting = (emit(organization, n=n) for n in range(3))
    webhooks_sending.deliver_due()
    WebhookDelivery.objects.filter(pk__in=[gone.pk, waiting.pk]).update(created_at=old)
    WebhookDelivery.objects.filter(pk=waiting.pk).update(delivered_at=None)
    assert webhooks_services.forget_old() == 1
    assert set(WebhookDelivery.objects.all()) == {young, waiting}
    assert not WebhookAttempt.objects.filter(delivery_id=gone.pk).exists()


def test_deleted_analysis_takes_its_deliveries_along(organization: Any, endpoint: Any, job: Job) -> None:
    webhooks.emit(organization=organization, event="job.completed", payload={"job_id": job.public_id}, job=job)
    webhooks_sending.deliver_due()
    services.delete_analysis(job=job)
    assert not WebhookDelivery.objects.exists()
    assert not WebhookAttempt.objects.exists()
