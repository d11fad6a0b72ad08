"""Batches: taken at once, started from the queue, ended together, told once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from standardwebhooks.webhooks import Webhook

from accounts.api_keys import create_api_key, derive_signing_secret
from accounts.models import AuditLog
from deepfake.errors import DomainError
from detection import batches, services, webhooks, webhooks_sending
from detection.models import Batch, BatchItem, Job, JobStatus, Media, WebhookDelivery
from tests import factories
from tests.detection.web import LocalServer, Reply

pytestmark = [pytest.mark.services, pytest.mark.django_db]


@pytest.fixture
def events(monkeypatch: Any) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(webhooks, "emit", lambda **event: told.append(event), raising=False)
    return told


@pytest.fixture
def post(client: Client, bearer: Any) -> Callable[..., Any]:
    def send(path: str, body: Any = None, **options: Any) -> Any:
        return client.post(path, {} if body is None else body, content_type="application/json", headers=bearer)

    return send


@pytest.fixture
def read(client: Client, bearer: Any) -> Callable[..., Any]:
    return lambda path: client.get(path, headers=bearer)


def urls(number: int) -> list[dict[str, str]]:
    return [{"url": f"https://media.example.org/{n}.jpg", "reference": f"wire-{n}"} for n in range(number)]


def end(batch_id: str, status: str = JobStatus.COMPLETED) -> None:
    """Let every job of the batch end as a worker would end it."""
    for item in BatchItem.objects.filter(batch_id=batch_id.removeprefix("bat_"), job__isnull=False):
        job = item.job
        assert job is not None
        if status == JobStatus.COMPLETED:
            Job.objects.filter(pk=job.pk).update(status=status, finished_at=timezone.now())
            job.refresh_from_db()
            factories.make_result(job)
        else:
            Job.objects.filter(pk=job.pk).update(status=status, failure_code="media_unreadable", failure_message="No.")
        job.refresh_from_db()
        batches.job_has_ended(Job, job)


def test_items_become_jobs_and_one_event(post: Any, read: Any, media: Any, events: list[Any], api_key: Any) -> None:
    items = [{"media_id": media.public_id, "reference": "mine"}, *urls(2)]
    answer = post("/v1/batches", {"name": "Morning", "items": items, "priority": 5, "stability": "full"})
    assert answer.status_code == 202
    body = answer.json()
    assert (body["status"], body["total"], body["ended"], body["counts"]["waiting"]) == ("running", 3, 0, 3)
    batch_id = body["batch_id"]
    assert not Job.objects.exists(), "taking a batch starts nothing by itself"
    batches.advance_one(batch_id.removeprefix("bat_"))
    jobs = list(Job.objects.all())
    assert {(job.priority, job.stability, job.api_key) for job in jobs} == {(5, "full", api_key)}
    assert len(jobs) == 3
    assert read(f"/v1/batches/{batch_id}").json()["counts"]["queued"] == 3
    assert events == []
    end(batch_id)
    body = read(f"/v1/batches/{batch_id}").json()
    assert (body["status"], body["percent"], body["ended"]) == ("completed", 100, 3)
    assert (body["counts"]["completed"], body["labels"]["fake"]) == (3, 3)
    batches.advance_all()
    assert [event["event"] for event in events] == ["batch.completed"]
    assert events[0]["payload"] == body
    assert events[0]["organization"] == media.organization


def test_each_item_tells_how_it_stands(post: Any, read: Any, media: Any, other_organization: Any) -> None:
    foreign = factories.make_media(other_organization)
    items = [
        {"media_id": media.public_id, "reference": "good"},
        {"media_id": foreign.public_id},
        {"media_id": "med_nonsense"},
        {"url": "http://127.0.0.1/x.jpg"},
        {"url": "https://www.youtube.com/watch?v=x"},
    ]
    batch_id = post("/v1/batches", {"items": items}).json()["batch_id"]
    batches.advance_one(batch_id.removeprefix("bat_"))
    listed = read(f"/v1/batches/{batch_id}/items").json()["results"]
    assert [item["status"] for item in listed] == ["queued", "refused", "refused", "refused", "refused"]
    codes = [item["error"] and item["error"]["code"] for item in listed]
    assert codes == [None, "not_found", "not_found", "url_not_allowed", "platform_page"]
    assert (listed[0]["reference"], listed[0]["job_id"]) == ("good", Job.objects.get().public_id)
    assert listed[2]["media_id"] == "med_nonsense"
    end(batch_id, JobStatus.FAILED)
    (failed,) = read(f"/v1/batches/{batch_id}/items?status=failed").json()["results"]
    assert failed["error"] == {"code": "media_unreadable", "message": "No."}
    assert len(read(f"/v1/batches/{batch_id}/items?has_error=true").json()["results"]) == 5
    assert read(f"/v1/batches/{batch_id}/items?has_error=false").json()["results"] == []
    assert len(read(f"/v1/batches/{batch_id}/items?status=refused").json()["results"]) == 4


def test_all_items_refused_ends_the_batch_too(post: Any, read: Any, events: list[Any]) -> None:
    batch_id = post("/v1/batches", {"items": [{"media_id": "med_nonsense"}]}).json()["batch_id"]
    batches.advance_all()
    assert read(f"/v1/batches/{batch_id}").json()["status"] == "completed"
    assert len(events) == 1


def test_open_batch_takes_items_until_it_is_closed(post: Any, read: Any, media: Any, events: list[Any]) -> None:
    body = post("/v1/batches", {"name": "Later"}).json()
    assert (body["status"], body["total"]) == ("open", 0)
    batch_id = body["batch_id"]
    assert post(f"/v1/batches/{batch_id}/items", {"items": [{"media_id": media.public_id}]}).json()["total"] == 1
    batches.advance_all()
    end(batch_id)
    assert read(f"/v1/batches/{batch_id}").json()["status"] == "open"
    answer = post(f"/v1/batches/{batch_id}/items", {"items": urls(1), "close": True})
    assert (answer.status_code, answer.json()["total"], answer.json()["status"]) == (202, 2, "running")
    positions = [item["position"] for item in read(f"/v1/batches/{batch_id}/items").json()["results"]]
    assert positions == [1, 2]
    for path, sent in ((f"/v1/batches/{batch_id}/items", {"items": urls(1)}), (f"/v1/batches/{batch_id}/close", None)):
        answer = post(path, sent)
        assert (answer.status_code, answer.json()["code"]) == (409, "batch_closed")
    assert events == []


def test_closing_an_empty_batch_ends_it(post: Any, read: Any) -> None:
    batch_id = post("/v1/batches").json()["batch_id"]
    assert post(f"/v1/batches/{batch_id}/close").status_code == 200
    batches.advance_all()
    assert read(f"/v1/batches/{batch_id}").json()["status"] == "completed"


def test_forgotten_open_batch_is_closed(post: Any, read: Any) -> None:
    batch_id = post("/v1/batches").json()["batch_id"]
    batches.advance_all()
    assert read(f"/v1/batches/{batch_id}").json()["status"] == "open"
    Batch.objects.update(created_at=timezone.now() - timedelta(hours=25))
    batches.advance_all()
    assert read(f"/v1/batches/{batch_id}").json()["status"] == "completed"


def test_cancel_stops_what_waits_and_what_runs(post: Any, read: Any, events: list[Any]) -> None:
    batch_id = post("/v1/batches", {"items": urls(batches.BLOCK + 3)}).json()["batch_id"]
    batch = Batch.objects.get()
    assert batches._start_items(batch)  # one block of them
    running = Job.objects.first()
    assert running is not None
    Job.objects.filter(pk=running.pk).update(status=JobStatus.RUNNING)
    body = post(f"/v1/batches/{batch_id}/cancel").json()
    assert (body["cancel_requested"], body["status"], body["counts"]["cancelled"]) == (True, "running", 3)
    batches.advance_one(str(batch.pk))
    running.refresh_from_db()
    assert running.cancel_requested_at
    assert read(f"/v1/batches/{batch_id}").json()["counts"]["running"] == 1
    Job.objects.filter(pk=running.pk).update(status=JobStatus.CANCELLED)
    batches.advance_all()
    body = read(f"/v1/batches/{batch_id}").json()
    assert (body["status"], body["counts"]["cancelled"]) == ("cancelled", batches.BLOCK + 3)
    assert len(read(f"/v1/batches/{batch_id}/items?status=cancelled&limit=200").json()["results"]) == batches.BLOCK + 3
    assert [event["payload"]["status"] for event in events] == ["cancelled"]
    assert post(f"/v1/batches/{batch_id}/cancel").json()["code"] == "batch_ended"


def test_deleted_analyses_count_as_ended(post: Any, read: Any, media: Any, client: Client, bearer: Any) -> None:
    batch_id = post("/v1/batches", {"items": [{"media_id": media.public_id}]}).json()["batch_id"]
    batches.advance_all()
    assert client.delete(f"/v1/jobs/{Job.objects.get().public_id}", headers=bearer).status_code == 204
    batches.advance_all()
    body = read(f"/v1/batches/{batch_id}").json()
    assert (body["status"], body["counts"]["deleted"]) == ("completed", 1)
    assert read(f"/v1/batches/{batch_id}/items?status=deleted").json()["results"][0]["job_id"] is None


def test_item_whose_time_has_not_come_waits(post: Any, read: Any, media: Any, monkeypatch: Any) -> None:
    batch_id = post("/v1/batches", {"items": [{"media_id": media.public_id}]}).json()["batch_id"]
    with monkeypatch.context() as patched:

        def busy(**options: Any) -> None:
            raise DomainError("Too much waits.", "queue_full", 503)

        patched.setattr(services, "start_job", busy)
        batches.advance_all()
        assert read(f"/v1/batches/{batch_id}").json()["counts"]["waiting"] == 1
    batches.advance_all()
    assert read(f"/v1/batches/{batch_id}").json()["counts"]["queued"] == 1


def test_two_who_go_on_with_a_batch_start_each_item_once(post: Any, media: Any) -> None:
    post("/v1/batches", {"items": urls(3)})
    batch = Batch.objects.get()
    item = batch.items.first()
    assert item is not None
    assert batches._claim(item)
    assert not batches._claim(item)
    batches.advance_one(str(batch.pk))
    batches.advance_one(str(batch.pk))
    assert Job.objects.count() == 2


def test_most_items_and_one_more(post: Any, read: Any) -> None:
    answer = post("/v1/batches", {"items": urls(1000), "keep_open": True})
    assert answer.status_code == 202
    batch_id = answer.json()["batch_id"]
    answer = post(f"/v1/batches/{batch_id}/items", {"items": urls(1)})
    assert (answer.status_code, answer.json()["code"]) == (400, "batch_too_large")
    refused = post("/v1/batches", {"items": urls(1001)}).json()
    assert (refused["code"], list(refused["fields"])) == ("batch_too_large", ["items"])
    refused = post(f"/v1/batches/{batch_id}/items", {"items": urls(1001)}).json()
    assert refused["code"] == "batch_too_large"
    address, found = f"/v1/batches/{batch_id}/items?limit=200", 0
    while address:
        page = read(address).json()
        found += len(page["results"])
        address = page["next"]
    assert found == 1000


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"items": [{}]}, "items.0.non_field_errors"),
        ({"items": [{"url": "https://a.example.org/x", "media_id": "med_1"}]}, "items.0.non_field_errors"),
        ({"items": [{"url": "https://a.example.org/x", "refrence": "x"}]}, "items.0.refrence"),
        ({"items": [{"url": 5}]}, "items.0.url"),
        ({"items": "x"}, "items.non_field_errors"),
        ({"itmes": []}, "itmes"),
        ({"items": [], "keep_open": False}, "items"),
        ({"items": []}, "items"),
        ({"mode": "smell"}, "mode"),
    ],
)
def test_nonsense_is_refused_with_its_field(body: Any, field: str, post: Any) -> None:
    answer = post("/v1/batches", body)
    assert answer.status_code == 400
    assert field in answer.json()["fields"], answer.json()
    assert not Batch.objects.exists()


def test_unknown_profile_is_refused_at_once(post: Any) -> None:
    answer = post("/v1/batches", {"items": urls(1), "threshold_profile": "none"})
    assert (answer.status_code, answer.json()["code"]) == (400, "threshold_profile_unknown")


def test_strangers_and_roles(
    client: Client, post: Any, outsider_bearer: Any, organization: Any, vera: Any, media: Any
) -> None:
    batch_id = post("/v1/batches", {"items": urls(1)}).json()["batch_id"]
    paths = [f"/v1/batches/{batch_id}", f"/v1/batches/{batch_id}/items"]
    for path in paths:
        assert client.get(path, headers=outsider_bearer).status_code == 404
        assert client.get(path).status_code == 401
    for action in ("items", "close", "cancel"):
        body = {"items": urls(1)} if action == "items" else {}
        path = f"/v1/batches/{batch_id}/{action}"
        sent = {"content_type": "application/json"}
        assert client.post(path, body, headers=outsider_bearer, **sent).status_code == 404
        assert client.post(path, body, **sent).status_code == 401
    assert client.get("/v1/batches", headers=outsider_bearer).json()["results"] == []
    _, text = create_api_key(organization=organization, scopes=["detect:read"])
    headers = {"Authorization": f"Bearer {text}"}
    assert client.post("/v1/batches", {}, headers=headers, content_type="application/json").status_code == 403
    client.force_login(vera)
    assert client.get(paths[0]).status_code == 200
    assert client.post("/v1/batches", {}, content_type="application/json").status_code == 403
    assert client.put(paths[0]).status_code in (403, 405)


def test_list_and_its_queries(read: Any, post: Any, django_assert_num_queries: Any) -> None:
    first = post("/v1/batches", {"items": urls(2)}).json()["batch_id"]
    second = post("/v1/batches").json()["batch_id"]
    assert [row["batch_id"] for row in read("/v1/batches").json()["results"]] == [second, first]
    assert [row["batch_id"] for row in read("/v1/batches?status=open").json()["results"]] == [second]
    assert read("/v1/batches?status=odd").status_code == 400
    with django_assert_num_queries(3):  # key, batch, items with their jobs
        read(f"/v1/batches/{first}/items")
    with django_assert_num_queries(3):  # key, batch, counts
        read(f"/v1/batches/{first}")


def test_actions_are_audited(post: Any) -> None:
    batch_id = post("/v1/batches").json()["batch_id"]
    post(f"/v1/batches/{batch_id}/items", {"items": urls(1)})
    post(f"/v1/batches/{batch_id}/cancel")
    actions = AuditLog.objects.filter(target_type="batch").order_by("id").values_list("action", flat=True)
    assert list(actions) == ["batch.created", "batch.items_added", "batch.cancelled"]
    assert Media.objects.count() == 0


# Calling back ---------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)  # calls are made by threads with connections of their own
def test_callback_comes_once_at_the_end_and_is_signed_with_the_key(
    post: Any, local_servers: Any, server: LocalServer, api_key_and_text: Any
) -> None:
    server.replies["/hook"] = Reply(204)
    batch_id = post("/v1/batches", {"items": urls(2), "callback_url": server.url("/hook")}).json()["batch_id"]
    batches.advance_one(batch_id.removeprefix("bat_"))
    assert not WebhookDelivery.objects.exists()
    end(batch_id)
    batches.job_has_ended(Job, BatchItem.objects.filter(batch_id=batch_id.removeprefix("bat_"))[0].job)
    webhooks_sending.deliver_due()
    (call,) = server.seen
    body = Webhook(derive_signing_secret(api_key_and_text[1])).verify(call.body, call.headers)
    assert (body["event"], body["batch_id"], body["labels"]["fake"]) == ("batch.completed", batch_id, 2)
    assert body["sandbox"] is False


def test_callback_to_a_private_address_is_refused(post: Any) -> None:
    answer = post("/v1/batches", {"items": urls(1), "callback_url": "http://10.0.0.1/hook"})
    assert (answer.status_code, answer.json()["code"]) == (400, "callback_url_not_allowed")
    assert not Batch.objects.exists()


def test_callback_needs_a_key(client: Client, alice: Any) -> None:
    client.force_login(alice)
    body = {"items": urls(1), "callback_url": "https://app.example.org/hook"}
    answer = client.post("/v1/batches", body, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (400, "callback_needs_api_key")
