"""/v1/webhooks: endpoints, rotation, test, log and replay by API."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from standardwebhooks.webhooks import Webhook

from accounts.api_keys import create_api_key
from accounts.models import AuditLog, CustomRole, Role
from accounts.permissions import Permission
from detection import webhooks, webhooks_sending, webhooks_services
from detection.models import IdempotencyKey, WebhookDelivery, WebhookEndpoint
from tests import factories
from tests.detection.web import LocalServer, Reply

pytestmark = [pytest.mark.services, pytest.mark.django_db(transaction=True)]

URL = "https://app.example.org/hook"


@pytest.fixture
def key(organization: Any) -> dict[str, str]:
    _, text = create_api_key(organization=organization, scopes=["webhooks:read", "webhooks:write", "detect:read"])
    return {"Authorization": f"Bearer {text}"}


@pytest.fixture
def outsider_key(other_organization: Any) -> dict[str, str]:
    _, text = create_api_key(organization=other_organization, scopes=["webhooks:*", "detect:read"])
    return {"Authorization": f"Bearer {text}"}


@pytest.fixture
def reader_key(organization: Any) -> dict[str, str]:
    _, text = create_api_key(organization=organization, scopes=["webhooks:read", "detect:*"])
    return {"Authorization": f"Bearer {text}"}


@pytest.fixture
def endpoint(organization: Any, local_servers: Any, server: LocalServer) -> WebhookEndpoint:
    server.replies["/hook"] = Reply(200, b"ok")
    return webhooks_services.create_endpoint(organization=organization, url=server.url("/hook"), events=["*"])[0]


def send(client: Client, key: Any, path: str, method: str = "post", headers: Any = None, **body: Any) -> Any:
    call = getattr(client, method)
    return call(f"/v1/webhooks{path}", body, headers={**key, **(headers or {})}, content_type="application/json")


def emit(organization: Any) -> WebhookDelivery:
    payload = {"batch_id": "bat_1"}
    (delivery,) = webhooks.emit(organization=organization, event="batch.completed", payload=payload)
    return delivery


def test_life_of_a_webhook(client: Client, key: Any, organization: Any) -> None:
    answer = send(client, key, "", url=URL, events=["job.failed", "job.completed"], description="Desk")
    assert answer.status_code == 201, answer.content
    made = answer.json()
    assert (made["url"], made["events"], made["enabled"]) == (URL, ["job.completed", "job.failed"], True)
    assert made["secret"].startswith("whsec_")
    (listed,) = client.get("/v1/webhooks", headers=key).json()["results"]
    assert listed == {name: value for name, value in made.items() if name != "secret"}
    path = f"/{made['webhook_id']}"
    changed = send(client, key, path, "patch", events=["*"], enabled=False).json()
    assert (changed["events"], changed["enabled"], changed["off_reason"]) == (["*"], False, "by_hand")
    changed = send(client, key, path, "patch", enabled=True).json()
    assert (changed["enabled"], changed["off_reason"], changed["off_at"]) == (True, None, None)
    assert client.get(f"/v1/webhooks{path}", headers=key).json() == changed
    assert client.delete(f"/v1/webhooks{path}", headers=key).status_code == 204
    assert not WebhookEndpoint.objects.exists()
    said = list(AuditLog.objects.filter(action__startswith="webhook.").order_by("id").values_list("action", flat=True))
    assert said == ["webhook.created", "webhook.changed", "webhook.disabled", "webhook.enabled", "webhook.deleted"]
    assert made["secret"] not in str(list(AuditLog.objects.values_list("details", flat=True)))


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://app.example.org/hook", "webhook_url_not_allowed"),
        ("https://127.0.0.1/hook", "webhook_url_not_allowed"),
        ("https://[::ffff:10.0.0.1]/", "webhook_url_not_allowed"),
        ("https://169.254.169.254/latest/meta-data/", "webhook_url_not_allowed"),
        ("https://app.example.org:8443/hook", "webhook_url_not_allowed"),
        ("https://user:word@app.example.org/hook", "webhook_url_not_allowed"),
        ("ftp://app.example.org/", "webhook_url_not_allowed"),
        ("", "invalid"),
    ],
)
def test_addresses_that_are_refused(client: Client, key: Any, url: str, code: str) -> None:
    answer = send(client, key, "", url=url, events=["*"])
    assert (answer.status_code, answer.json()["code"]) == (400, code)


@pytest.mark.parametrize("events", [[], ["job.exploded"], ["job.completed", "x"], "job.completed", None, [1, {}]])
def test_events_that_are_refused(client: Client, key: Any, events: Any) -> None:
    answer = send(client, key, "", url=URL, events=events)
    assert answer.status_code == 400
    assert answer.json()["code"] in ("invalid", "event_unknown")


def test_there_is_an_end_to_their_number(client: Client, key: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(webhooks_services, "MAX_ENDPOINTS", 1)
    assert send(client, key, "", url=URL, events=["*"]).status_code == 201
    answer = send(client, key, "", url=URL, events=["*"])
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_webhooks")


def test_repeat_with_the_same_key_tells_the_secret_again_and_keeps_it_sealed(client: Client, key: Any) -> None:
    again = {"Idempotency-Key": "one"}
    first = send(client, key, "", url=URL, events=["*"], headers=again)
    second = send(client, key, "", url=URL, events=["*"], headers=again)
    assert (second.status_code, second["Idempotent-Replayed"]) == (201, "true")
    assert second.json() == first.json()
    assert WebhookEndpoint.objects.count() == 1
    assert first.json()["secret"] not in json.dumps(
        list(IdempotencyKey.objects.values_list("response_body", flat=True))
    )
    path = f"/{first.json()['webhook_id']}/rotate"
    turned = send(client, key, path, headers={"Idempotency-Key": "two"}).json()
    assert send(client, key, path, headers={"Idempotency-Key": "two"}).json() == turned
    assert turned["secret"] != first.json()["secret"]


def test_rotation(client: Client, key: Any, endpoint: WebhookEndpoint) -> None:
    answer = send(client, key, f"/{endpoint.public_id}/rotate", overlap_hours=2)
    assert answer.status_code == 200
    until = timezone.datetime.fromisoformat(answer.json()["previous_secret_until"])  # type: ignore[attr-defined]
    assert abs(until - timezone.now() - timedelta(hours=2)) < timedelta(seconds=20)
    assert send(client, key, f"/{endpoint.public_id}/rotate", overlap_hours=0).json()["previous_secret_until"] is None
    assert send(client, key, f"/{endpoint.public_id}/rotate", overlap_hours=999).status_code == 400


def test_test_says_how_it_went(client: Client, key: Any, endpoint: WebhookEndpoint, server: LocalServer) -> None:
    secret = webhooks_services.secret_text(endpoint)
    body = send(client, key, f"/{endpoint.public_id}/test").json()
    assert (body["event"], body["state"], body["last_status"]) == ("webhook.test", "delivered", 200)
    assert body["log"][0]["response_body"] == "ok"
    Webhook(secret).verify(server.seen[0].body, server.seen[0].headers)
    server.replies["/hook"] = Reply(404)
    body = send(client, key, f"/{endpoint.public_id}/test").json()
    assert (body["state"], body["last_error"]) == ("failed", "The receiver answered 404.")


def test_log_is_filtered_and_paged(
    client: Client, key: Any, organization: Any, endpoint: WebhookEndpoint, django_assert_num_queries: Any
) -> None:
    rows = [emit(organization) for _ in range(3)]
    webhooks_sending.deliver_due()
    WebhookDelivery.objects.filter(pk=rows[0].pk).update(delivered_at=None, gave_up_at=timezone.now())
    path = f"/v1/webhooks/{endpoint.public_id}/deliveries"

    def ids(query: str) -> set[str]:
        return {row["delivery_id"] for row in client.get(f"{path}?{query}", headers=key).json()["results"]}

    everything = {row.public_id for row in rows}
    assert ids("") == everything
    assert ids("state=failed") == {rows[0].public_id}
    assert ids("state=delivered") == everything - {rows[0].public_id}
    assert ids("event=job.failed") == ids("state=waiting") == ids("until=2020-01-01T00:00:00Z") == set()
    assert client.get(f"{path}?state=lost", headers=key).status_code == 400
    page = client.get(f"{path}?limit=2", headers=key).json()
    assert len(page["results"]) == 2
    assert len(client.get(page["next"], headers=key).json()["results"]) == 1
    with django_assert_num_queries(3):  # the key, the webhook, the page
        client.get(path, headers=key)
    one = client.get(f"{path}/{rows[1].public_id}", headers=key).json()
    assert one["body"]["batch_id"] == "bat_1"
    assert one["log"][0]["request_headers"]["webhook-id"] == rows[1].public_id


def test_replay_of_one_and_of_a_range(
    client: Client, key: Any, organization: Any, endpoint: WebhookEndpoint, server: LocalServer
) -> None:
    rows = [emit(organization) for _ in range(3)]
    webhooks_sending.deliver_due()
    path = f"/{endpoint.public_id}/replay"
    answer = send(client, key, path, delivery_id=rows[0].public_id)
    assert (answer.status_code, answer.json()) == (202, {"replayed": 1})
    webhooks_sending.deliver_due()
    assert [call.headers["webhook-id"] for call in server.seen].count(rows[0].public_id) == 2
    since = (timezone.now() - timedelta(hours=1)).isoformat()
    assert send(client, key, path, since=since).json() == {"replayed": 0}
    assert send(client, key, path, since=since, state="all").json() == {"replayed": 3}
    for wrong in ({}, {"delivery_id": rows[0].public_id, "since": since}, {"since": "yesterday"}):
        assert send(client, key, path, **wrong).status_code == 400
    answer = send(client, key, path, since=since, until="2020-01-01T00:00:00Z")
    assert answer.json()["code"] == "range_invalid"
    webhooks_services.change_endpoint(endpoint=endpoint, is_enabled=False)
    answer = send(client, key, path, since=since)
    assert (answer.status_code, answer.json()["code"]) == (409, "webhook_off")


def test_who_may_what(
    client: Client,
    key: Any,
    outsider_key: Any,
    reader_key: Any,
    bearer: Any,
    organization: Any,
    endpoint: WebhookEndpoint,
    alice: Any,
) -> None:
    delivery = emit(organization)
    one = f"/v1/webhooks/{endpoint.public_id}"
    reads = ["/v1/webhooks", one, f"{one}/deliveries", f"{one}/deliveries/{delivery.public_id}"]
    writes = [("post", "/v1/webhooks"), ("patch", one), ("delete", one)]
    writes += [("post", f"{one}/{action}") for action in ("rotate", "test", "replay")]
    for path in reads:
        assert client.get(path).status_code == 401
        assert client.get(path, headers=bearer).status_code == 403, "another family of scopes"
        assert client.get(path, headers=reader_key).status_code == 200
        if path != "/v1/webhooks":
            assert client.get(path, headers=outsider_key).status_code == 404
    assert client.get("/v1/webhooks", headers=outsider_key).json()["results"] == []
    for method, path in writes:
        assert getattr(client, method)(path).status_code == 401
        assert getattr(client, method)(path, headers=reader_key).status_code == 403
        if path != "/v1/webhooks":
            body = {"delivery_id": delivery.public_id}
            answer = getattr(client, method)(path, body, headers=outsider_key, content_type="application/json")
            assert answer.status_code == 404, path
    assert client.put(one, headers=key).status_code == 405
    assert client.get("/v1/webhooks/whk_nonsense", headers=key).status_code == 404
    client.force_login(alice)
    assert client.get("/v1/webhooks").status_code == 403, "an analyst does not manage webhooks"
    client.force_login(factories.make_user(organization, "anna", Role.ADMIN))
    assert client.get("/v1/webhooks").status_code == 200
    assert WebhookEndpoint.objects.count() == 1


# Who sees what --------------------------------------------------------------------------------------------------------


def test_verdicts_take_the_scope_to_see_them(client: Client, organization: Any, endpoint: WebhookEndpoint) -> None:
    _, text = create_api_key(organization=organization, scopes=["webhooks:*"])
    blind = {"Authorization": f"Bearer {text}"}
    delivery = emit(organization)
    path = f"/{endpoint.public_id}"
    assert client.get(f"/v1/webhooks{path}/deliveries", headers=blind).status_code == 200
    for answer in (
        client.get(f"/v1/webhooks{path}/deliveries/{delivery.public_id}", headers=blind),
        send(client, blind, "", url=URL, events=["*"]),
        send(client, blind, path, "patch", url=URL),
        send(client, blind, path, "patch", events=["job.failed"]),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
    assert send(client, blind, path, "patch", enabled=False).status_code == 200


def test_role_without_analyses_reads_no_bodies_on_the_pages(
    client: Client, organization: Any, endpoint: WebhookEndpoint, vera: Any
) -> None:
    vera.custom_role = CustomRole.objects.create(
        organization=organization, name="Plumber", permissions=[Permission.WEBHOOKS.value]
    )
    vera.save()
    client.force_login(vera)
    delivery = emit(organization)
    assert client.get(f"/settings/webhooks/{endpoint.pk}/").status_code == 200
    assert client.get(f"/settings/webhooks/{endpoint.pk}/deliveries/{delivery.pk}/").status_code == 403
    assert client.post("/settings/webhooks/new/", {"url": URL, "events": ["job.completed"]}).status_code == 403
    assert WebhookEndpoint.objects.count() == 1


def test_sandbox_keys_have_webhooks_of_their_own(
    client: Client, key: Any, organization: Any, endpoint: WebhookEndpoint, local_servers: Any, server: LocalServer
) -> None:
    _, text = create_api_key(organization=organization, scopes=["webhooks:*", "detect:*"], is_sandbox=True)
    test_key = {"Authorization": f"Bearer {text}"}
    made = send(client, test_key, "", url=server.url("/own"), events=["*"]).json()
    assert made["sandbox"] is True
    assert [one["webhook_id"] for one in client.get("/v1/webhooks", headers=test_key).json()["results"]] == [
        made["webhook_id"]
    ]
    assert client.delete(f"/v1/webhooks/{endpoint.public_id}", headers=test_key).status_code == 404
    assert client.get(f"/v1/webhooks/{made['webhook_id']}", headers=key).status_code == 404
    emit(organization)
    webhooks.emit(organization=organization, event="batch.completed", payload={"batch_id": "bat_2"}, is_sandbox=True)
    heard = WebhookDelivery.objects.select_related("endpoint")
    assert sorted((one.endpoint.is_sandbox, one.body["batch_id"]) for one in heard) == [
        (False, "bat_1"),
        (False, "bat_2"),
        (True, "bat_2"),
    ]


@pytest.mark.parametrize("url", ["foo", "https://127.0.0.1:9000/hook", "https://10.0.0.1/"])
def test_a_refused_address_is_told_as_one_that_is_called(client: Client, key: Any, url: str) -> None:
    answer = send(client, key, "", url=url, events=["*"]).json()
    assert answer["fields"]["url"] == [answer["detail"]]
    assert "called" in answer["detail"]
    assert "fetched" not in answer["detail"]
    assert ("FETCH_ALLOW_PRIVATE=yes" in answer["detail"]) == ("127.0.0.1" in url)


def test_a_test_is_sent_to_a_webhook_that_is_off(
    client: Client, key: Any, endpoint: WebhookEndpoint, server: LocalServer
) -> None:
    """So does one see whether a receiver that answered 410 is back."""
    server.replies["/hook"] = Reply(410)
    emit(endpoint.organization)
    webhooks_sending.deliver_due()
    endpoint.refresh_from_db()
    assert not endpoint.is_enabled
    server.replies["/hook"] = Reply(200, b"ok")
    assert send(client, key, f"/{endpoint.public_id}/test").json()["last_status"] == 200
    endpoint.refresh_from_db()
    assert not endpoint.is_enabled
