"""Callbacks are signed, sent until they are taken, and reach nothing private."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from accounts.services import derive_signing_secret
from detection import services, webhooks
from detection.engine.errors import DecoderCrashed
from detection.models import Job, WebhookDelivery
from tests.detection.conftest import StubEngine, upload
from tests.detection.web import Reply

pytestmark = [pytest.mark.services, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def started(organization: Any, api_key: Any, local_servers: Any, server: Any) -> Job:
    server.replies["/hook"] = Reply(204)
    return services.submit_and_start(
        organization=organization,
        api_key=api_key,
        file=upload(),
        filename="a.png",
        callback_url=server.url("/hook"),
    )


def delivery_due_now() -> WebhookDelivery:
    WebhookDelivery.objects.update(next_attempt_at=timezone.now(), claimed_until=None)
    return WebhookDelivery.objects.get()


def test_completed_job_calls_back_with_a_signed_body(
    started: Job, run_next: Any, server: Any, api_key_and_text: Any
) -> None:
    run_next()
    assert webhooks.deliver_due() == 1
    (call,) = server.seen
    assert (call.method, call.path) == ("POST", "/hook")
    body = json.loads(call.body)
    assert (body["event"], body["job_id"], body["status"]) == ("job.completed", started.public_id, "completed")
    assert (body["result"]["label"], body["result"]["score"]) == ("fake", 0.93)
    assert body["result"]["explanations"]["saliency_map"].startswith("http")

    # What an integrator does, with nothing but the text of the key.
    secret = hmac.new(api_key_and_text[1].encode(), b"callback-signing", hashlib.sha256).hexdigest().encode()
    assert secret == derive_signing_secret(api_key_and_text[1])
    signature = body.pop("signature")
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert signature == hmac.new(secret, canonical, hashlib.sha256).hexdigest()

    headers = {name.lower(): value for name, value in call.headers.items()}
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + call.body
    expected = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert abs(int(headers["webhook-timestamp"]) - timezone.now().timestamp()) < 60

    assert webhooks.deliver_due() == 0
    delivery = WebhookDelivery.objects.get()
    assert delivery.delivered_at
    assert (delivery.last_status, delivery.attempts) == (204, 1)


def test_failed_job_calls_back_with_its_error(started: Job, engine: StubEngine, run_next: Any, server: Any) -> None:
    def crash(call: Any) -> None:
        raise DecoderCrashed("The decoder died.")

    engine.before = crash
    run_next()
    webhooks.deliver_due()
    body = json.loads(server.seen[0].body)
    assert body["event"] == "job.failed"
    assert body["error"] == {"code": "decoder_crashed", "message": "The decoder died."}


def test_cancelled_job_calls_nobody(started: Job) -> None:
    services.cancel_job(job=started)
    assert not WebhookDelivery.objects.exists()


def test_refused_call_is_repeated_later_and_later(started: Job, run_next: Any, server: Any) -> None:
    run_next()
    server.replies["/hook"] = [Reply(500), Reply(302, headers={"Location": "/elsewhere"}), Reply(200)]
    waits = []
    for _ in range(2):
        webhooks.deliver_due()
        delivery = WebhookDelivery.objects.get()
        waits.append((delivery.next_attempt_at - timezone.now()).total_seconds())
        assert webhooks.deliver_due() == 0, "not before its time"
        delivery_due_now()
    assert 8 < waits[0] <= 10
    assert 58 < waits[1] <= 60
    webhooks.deliver_due()
    delivery = WebhookDelivery.objects.get()
    assert delivery.delivered_at
    assert delivery.attempts == 3
    assert [seen.path for seen in server.seen] == ["/hook"] * 3
    ids = {seen.headers["webhook-id"] for seen in server.seen}
    assert len(ids) == 1, "a receiver recognises a repeat by its id"


def test_unreachable_receiver_is_tried_for_days_and_then_given_up(started: Job, run_next: Any, server: Any) -> None:
    run_next()
    server.replies["/hook"] = Reply(500)
    total = timedelta()
    for _ in range(len(webhooks.BACKOFF)):
        delivery_due_now()
        webhooks.deliver_due()
        delivery = WebhookDelivery.objects.get()
        assert delivery.gave_up_at is None
        total += delivery.next_attempt_at - timezone.now()
    assert total > timedelta(days=3)
    delivery_due_now()
    webhooks.deliver_due()
    assert WebhookDelivery.objects.get().gave_up_at
    delivery_due_now()
    assert webhooks.deliver_due() == 0


def test_gone_stops_at_once(started: Job, run_next: Any, server: Any) -> None:
    run_next()
    server.replies["/hook"] = Reply(410)
    webhooks.deliver_due()
    delivery = delivery_due_now()
    assert delivery.gave_up_at
    assert "410" in delivery.last_error
    assert webhooks.deliver_due() == 0


def test_private_receiver_is_not_called(started: Job, run_next: Any, server: Any, local_servers: Any) -> None:
    run_next()
    local_servers.FETCH_ALLOW_PRIVATE = False
    webhooks.deliver_due()
    assert server.seen == []
    assert "private" in WebhookDelivery.objects.get().last_error


def test_claimed_delivery_is_left_alone_until_its_sender_is_dead(started: Job, run_next: Any, server: Any) -> None:
    run_next()
    now = timezone.now()
    WebhookDelivery.objects.update(claimed_until=now + timedelta(seconds=30), attempts=1)
    assert webhooks.deliver_due() == 0
    WebhookDelivery.objects.update(claimed_until=now - timedelta(seconds=1))
    assert webhooks.deliver_due() == 1


def test_two_senders_do_not_send_the_same_call(started: Job, run_next: Any) -> None:
    run_next()
    first, second = WebhookDelivery.objects.get(), WebhookDelivery.objects.get()
    assert webhooks._claim(first)
    assert not webhooks._claim(second)


def test_numbers_are_printed_alike_in_every_language() -> None:
    body = {"whole": 1.0, "tiny": 3e-7, "score": 0.9300001, "nested": [{"x": 2.5}], "n": 3, "no": None, "t": True}
    plain = webhooks._portable(body)
    assert webhooks.canonical(plain) == (
        b'{"n":3,"nested":[{"x":2.5}],"no":null,"score":0.93,"t":true,"tiny":0,"whole":1}'
    )


def test_signature_field_does_not_sign_itself() -> None:
    body = {"event": "job.completed", "job_id": "job_1"}
    assert webhooks.sign(body, b"s") == webhooks.sign({**body, "signature": "x"}, b"s")
    assert webhooks.sign(body, b"s") != webhooks.sign({**body, "job_id": "job_2"}, b"s")


@pytest.fixture
def guide() -> dict[str, Any]:
    """The functions that docs/api.md gives to integrators in Python."""
    text = (Path(settings.BASE_DIR) / "docs/api.md").read_text()
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        if "def is_genuine" in block:
            exec(block, names)
    return names


def test_code_of_the_guide_recognises_a_call(
    started: Job, run_next: Any, server: Any, api_key_and_text: Any, guide: dict[str, Any]
) -> None:
    run_next()
    webhooks.deliver_due()
    key, call = api_key_and_text[1], server.seen[0]
    headers = {name.lower(): value for name, value in call.headers.items()}
    assert guide["is_genuine"](key, headers, call.body)
    assert not guide["is_genuine"](key, headers, call.body + b" ")
    assert not guide["is_genuine"](key + "x", headers, call.body)
    body = json.loads(call.body)
    assert guide["is_genuine_body"](key, body)
    assert not guide["is_genuine_body"](key, {**body, "status": "failed"})


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_node_code_of_the_guide_recognises_a_call(
    started: Job, run_next: Any, server: Any, api_key_and_text: Any, tmp_path: Path
) -> None:
    run_next()
    webhooks.deliver_due()
    call = server.seen[0]
    text = (Path(settings.BASE_DIR) / "docs/api.md").read_text()
    script = tmp_path / "check.mjs"
    script.write_text("\n".join(re.findall(r"```js\n(.*?)```", text, re.DOTALL)) + NODE_CHECK)
    given = {
        "key": api_key_and_text[1],
        "headers": {name.lower(): value for name, value in call.headers.items()},
        "body": call.body.decode(),
    }
    answer = subprocess.run(
        [shutil.which("node") or "node", script], input=json.dumps(given), capture_output=True, text=True, check=True
    )
    assert json.loads(answer.stdout) == [True, False, True, False]


NODE_CHECK = """
import { readFileSync } from "node:fs";
const { key, headers, body } = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify([
  isGenuine(key, headers, Buffer.from(body)), isGenuine(key, headers, Buffer.from(body + " ")),
  isGenuineBody(key, JSON.parse(body)), isGenuineBody(key + "x", JSON.parse(body)),
]));
"""
