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

from accounts.api_keys import derive_signing_secret, rotate_api_key
from detection import services, webhooks, webhooks_sending
from detection.engine.errors import DecoderCrashed
from detection.models import Job, WebhookDelivery
from detection.webhooks import standard_headers
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
    assert webhooks_sending.deliver_due() == 1
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

    assert webhooks_sending.deliver_due() == 0
    delivery = WebhookDelivery.objects.get()
    assert delivery.delivered_at
    assert (delivery.last_status, delivery.attempts) == (204, 1)


def test_failed_job_calls_back_with_its_error(started: Job, engine: StubEngine, run_next: Any, server: Any) -> None:
    def crash(call: Any) -> None:
        raise DecoderCrashed("The decoder died.")

    engine.before = crash
    run_next()
    webhooks_sending.deliver_due()
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
        webhooks_sending.deliver_due()
        delivery = WebhookDelivery.objects.get()
        waits.append((delivery.next_attempt_at - timezone.now()).total_seconds())
        assert webhooks_sending.deliver_due() == 0, "not before its time"
        delivery_due_now()
    assert 9 < waits[0] <= 12.5
    assert 58 < waits[1] <= 75
    webhooks_sending.deliver_due()
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
    for _ in range(len(webhooks_sending.BACKOFF)):
        delivery_due_now()
        webhooks_sending.deliver_due()
        delivery = WebhookDelivery.objects.get()
        assert delivery.gave_up_at is None
        total += delivery.next_attempt_at - timezone.now()
    assert total > timedelta(days=3)
    delivery_due_now()
    webhooks_sending.deliver_due()
    assert WebhookDelivery.objects.get().gave_up_at
    delivery_due_now()
    assert webhooks_sending.deliver_due() == 0


def test_gone_stops_at_once(started: Job, run_next: Any, server: Any) -> None:
    run_next()
    server.replies["/hook"] = Reply(410)
    webhooks_sending.deliver_due()
    delivery = delivery_due_now()
    assert delivery.gave_up_at
    assert "410" in delivery.last_error
    assert webhooks_sending.deliver_due() == 0


def test_private_receiver_is_not_called(started: Job, run_next: Any, server: Any, local_servers: Any) -> None:
    run_next()
    local_servers.FETCH_ALLOW_PRIVATE = False
    webhooks_sending.deliver_due()
    assert server.seen == []
    assert "private" in WebhookDelivery.objects.get().last_error


def test_claimed_delivery_is_left_alone_until_its_sender_is_dead(started: Job, run_next: Any, server: Any) -> None:
    run_next()
    now = timezone.now()
    WebhookDelivery.objects.update(claimed_until=now + timedelta(seconds=30), attempts=1)
    assert webhooks_sending.deliver_due() == 0
    WebhookDelivery.objects.update(claimed_until=now - timedelta(seconds=1))
    assert webhooks_sending.deliver_due() == 1


def test_two_senders_do_not_send_the_same_call(started: Job, run_next: Any) -> None:
    run_next()
    first, second = WebhookDelivery.objects.get(), WebhookDelivery.objects.get()
    assert webhooks_sending._claim(first)
    assert not webhooks_sending._claim(second)


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


WRONG_KEY = f"dfk_0a1b2c3d_{'x' * 43}"
UNUSABLE = ["", None, "dfk_", "dfk_…", "whsec_", "test_0a1b2c3d_"]


@pytest.fixture
def rotated(started: Job, api_key: Any) -> str:
    """The newer text of the key that asked for the callback; the older one is live still."""
    return rotate_api_key(api_key=api_key)[1]


def in_small_letters(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def test_code_of_the_guide_recognises_a_call(
    started: Job, run_next: Any, server: Any, api_key_and_text: Any, guide: dict[str, Any]
) -> None:
    run_next()
    webhooks_sending.deliver_due()
    key, call = api_key_and_text[1], server.seen[0]
    is_genuine, is_genuine_body = guide["is_genuine"], guide["is_genuine_body"]
    headers = in_small_letters(call.headers)
    assert is_genuine(key, headers, call.body)
    assert not is_genuine(key, headers, call.body + b" ")
    assert not is_genuine(WRONG_KEY, headers, call.body)
    assert not is_genuine(key, {}, call.body)
    assert not is_genuine(key, {**headers, "webhook-signature": "v1,é"}, call.body)
    body = json.loads(call.body)
    assert is_genuine_body(key, body)
    assert not is_genuine_body(key, {**body, "status": "failed"})
    assert not is_genuine_body(key, {name: value for name, value in body.items() if name != "signature"})
    # A genuine signature, of a moment six minutes away.
    for away_s in (-360, 360):
        moment = int(timezone.now().timestamp()) + away_s
        assert not is_genuine(key, standard_headers("msg_1", moment, call.body, [guide["secret_of"](key)]), call.body)
    # No key: the forger's is as good, so there is none.
    now = int(timezone.now().timestamp())
    for unusable in UNUSABLE:
        forged = standard_headers("msg_1", now, call.body, [derive_signing_secret(unusable or "")])
        with pytest.raises(ValueError, match="Set the API key"):
            is_genuine(unusable, forged, call.body)
        with pytest.raises(ValueError, match="Set the API key"):
            is_genuine_body(unusable, body)


def test_code_of_the_guide_recognises_a_call_of_a_rotated_key(
    rotated: str, run_next: Any, server: Any, api_key_and_text: Any, guide: dict[str, Any]
) -> None:
    run_next()
    webhooks_sending.deliver_due()
    call = server.seen[0]
    headers = in_small_letters(call.headers)
    assert len(headers["webhook-signature"].split()) == 2
    for key in (rotated, api_key_and_text[1]):
        assert guide["is_genuine"](key, headers, call.body)
        assert not guide["is_genuine"](key, headers, call.body + b" ")
    assert not guide["is_genuine"](WRONG_KEY, headers, call.body)
    assert guide["is_genuine_body"](api_key_and_text[1], json.loads(call.body)), "made with the older text"
    assert not guide["is_genuine_body"](rotated, json.loads(call.body))


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js")
def test_node_code_of_the_guide_recognises_a_call(
    rotated: str, run_next: Any, server: Any, api_key_and_text: Any, tmp_path: Path
) -> None:
    run_next()
    webhooks_sending.deliver_due()
    older, call = api_key_and_text[1], server.seen[0]
    now, content = int(timezone.now().timestamp()), call.body
    text = (Path(settings.BASE_DIR) / "docs/api.md").read_text()
    script = tmp_path / "check.mjs"
    script.write_text("\n".join(re.findall(r"```js\n(.*?)```", text, re.DOTALL)) + NODE_CHECK)
    given = {
        "keys": [rotated, older, WRONG_KEY, *UNUSABLE],
        "headers": in_small_letters(call.headers),
        "old": standard_headers("msg_1", now - 360, content, [derive_signing_secret(older)]),
        "forged": standard_headers("msg_1", now, content, [derive_signing_secret("")]),
        "body": content.decode(),
    }
    answer = subprocess.run(
        [shutil.which("node") or "node", script], input=json.dumps(given), capture_output=True, text=True, check=True
    )
    nothing = [["error"] * 5] * len(UNUSABLE)
    assert json.loads(answer.stdout) == [
        [True, False, False, False, False],
        [True, False, False, False, True],
        [False, False, False, False, False],
        *nothing,
    ]


NODE_CHECK = """
import { readFileSync } from "node:fs";
const { keys, headers, old, forged, body } = JSON.parse(readFileSync(0, "utf8"));
const tried = (check) => { try { return check(); } catch { return "error"; } };
console.log(JSON.stringify(keys.map((key) => [
  tried(() => isGenuine(key, headers, Buffer.from(body))),
  tried(() => isGenuine(key, headers, Buffer.from(body + " "))),
  tried(() => isGenuine(key, old, Buffer.from(body))),
  tried(() => isGenuine(key, forged, Buffer.from(body))),
  tried(() => isGenuineBody(key, JSON.parse(body))),
])));
"""


def test_texts_say_when_a_call_is_repeated() -> None:
    guide = (Path(settings.BASE_DIR) / "docs/api.md").read_text()
    page = (Path(settings.BASE_DIR) / "templates/detection/webhooks.html").read_text()
    told = re.search(r"tried again after about ((?:\d+ \w+(?:, | and )?)+): ten attempts", guide)
    assert told, "the guide lists the pauses"
    seconds = {"s": 1, "min": 60, "h": 3600}
    pauses = [int(number) * seconds[unit] for number, unit in re.findall(r"(\d+) (\w+)", told[1])]
    assert [timedelta(seconds=pause) for pause in pauses] == list(webhooks_sending.BACKOFF)
    assert len(webhooks_sending.BACKOFF) + 1 == 10
    shortest, longest = (sum(webhooks_sending.BACKOFF, timedelta()) * factor for factor in webhooks_sending.JITTER)
    assert round((shortest + longest) / 2 / timedelta(days=1)) == 4
    assert guide.count("ten attempts over about four days") == 2
    assert "ten attempts over about four days" in page
