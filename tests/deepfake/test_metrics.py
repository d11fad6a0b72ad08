"""/metrics: who may read it, what is in it, and that analyses and requests are counted."""

from __future__ import annotations

import urllib.error
import urllib.request
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from accounts import audit, audit_verify
from accounts.models import AuditLog, Organization
from deepfake import metrics, metrics_database, metrics_views, worker
from detection.models import Job, JobStatus, WebhookDelivery
from detection.signals import analysis_finished
from tests import factories

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture(autouse=True)
def fresh() -> None:
    metrics_database.collector.forget()


def read(client: Client, **headers: str) -> dict[str, float]:
    """Every sample of the page by its name and labels."""
    answer = client.get("/metrics", headers=headers)
    assert answer.status_code == 200
    return {
        name + "".join(f",{key}={value}" for key, value in sorted(labels.items())): number
        for family in text_string_to_metric_families(answer.content.decode())
        for name, labels, number, *_ in family.samples
    }


def value(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.mark.parametrize(
    ("address", "headers"),
    [
        ("203.0.113.9", {}),
        ("127.0.0.1", {"X-Forwarded-For": "203.0.113.9"}),  # a proxy on this machine lets strangers in
        ("127.0.0.1", {"Forwarded": "for=203.0.113.9"}),
    ],
)
def test_strangers_get_nothing(client: Client, address: str, headers: dict[str, str]) -> None:
    answer = client.get("/metrics", headers=headers, REMOTE_ADDR=address)
    assert answer.status_code == 403
    assert "METRICS_TOKEN" in answer.content.decode()
    assert "deepfake_" not in answer.content.decode()


def test_a_token_opens_it_from_anywhere_and_its_lack_closes_it_everywhere(client: Client, settings: Any) -> None:
    settings.METRICS_TOKEN = "s3cret"
    assert client.get("/metrics").status_code == 403
    assert client.get("/metrics", headers={"Authorization": "Bearer s3cre"}).status_code == 403
    found = client.get("/metrics", headers={"Authorization": "Bearer s3cret"}, REMOTE_ADDR="203.0.113.9")
    assert found.status_code == 200


def test_nothing_can_be_written(client: Client) -> None:
    assert client.post("/metrics").status_code == 405


def test_requests_are_counted_by_the_pattern_of_their_address(client: Client, alice: Any, job: Job) -> None:
    client.force_login(alice)
    labels = {"method": "GET", "route": "/analyses/<uuid:pk>/", "status": "200"}
    before = value("deepfake_http_request_seconds_count", **labels)
    client.get(job.get_absolute_url())
    client.get("/no/such/page")
    assert value("deepfake_http_request_seconds_count", **labels) == before + 1
    assert value("deepfake_http_request_seconds_count", method="GET", route="(none)", status="404") >= 1


def test_queue_depth_and_age(client: Client, organization: Organization) -> None:
    old = factories.make_job(organization=organization)
    Job.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(minutes=5))
    factories.make_job(organization=organization)
    silent = factories.make_job(organization=organization, status=JobStatus.RUNNING)
    Job.objects.filter(pk=silent.pk).update(heartbeat_at=timezone.now() - timedelta(hours=1))
    found = read(client)
    assert found["deepfake_queue_jobs,status=queued"] == 2
    assert found["deepfake_queue_jobs,status=running"] == 1
    assert 300 <= found["deepfake_queue_oldest_seconds"] < 330
    assert found["deepfake_queue_stale_jobs"] == 1
    assert found["deepfake_database_up"] == 1
    assert found["process_resident_memory_bytes"] > 1e6
    assert any(name.startswith("deepfake_model_info,version=") for name in found)


def test_the_database_is_asked_once_for_many_scrapes(
    client: Client, organization: Organization, django_assert_num_queries: Any
) -> None:
    read(client)
    factories.make_job(organization=organization)
    with django_assert_num_queries(0):
        assert read(client)["deepfake_queue_jobs,status=queued"] == 0


def test_a_database_that_does_not_answer_costs_only_its_own_figures(client: Client, monkeypatch: Any) -> None:
    from django.db import OperationalError

    def fail() -> Any:
        raise OperationalError("gone")

    monkeypatch.setattr(metrics_database, "PARTS", (fail,))
    found = read(client)
    assert found["deepfake_database_up"] == 0
    assert "process_resident_memory_bytes" in found
    assert "deepfake_queue_jobs,status=queued" not in found


def test_finished_analyses_are_counted(organization: Organization) -> None:
    done = factories.make_job(organization=organization, status=JobStatus.COMPLETED, kind="image")
    factories.make_result(done, details={"seconds": {"spatial": 0.4, "decoding": 0.1, "total": 0.6}})
    failed = factories.make_job(organization=organization, status=JobStatus.FAILED, kind="image")
    names = {
        "deepfake_jobs_finished_total": {"kind": "image", "status": "completed"},
        "deepfake_verdicts_total": {"kind": "image", "label": "fake"},
        "deepfake_job_failures_total": {"code": "media_unreadable"},
        "deepfake_stage_seconds_count": {"stage": "spatial", "kind": "image"},
        "deepfake_job_seconds_count": {"kind": "image"},
        "deepfake_job_wait_seconds_count": {"kind": "image"},
    }
    before = {name: value(name, **labels) for name, labels in names.items()}
    analysis_finished.send_robust(sender=Job, job=done)
    analysis_finished.send_robust(sender=Job, job=failed)
    grown = {name: value(name, **labels) - before[name] for name, labels in names.items()}
    assert grown == dict.fromkeys(names, 1.0) | {"deepfake_job_seconds_count": 2, "deepfake_job_wait_seconds_count": 2}
    assert value("deepfake_stage_seconds_count", stage="total", kind="image") == 0


def test_webhooks_by_outcome(client: Client, organization: Organization, job: Job) -> None:
    now = timezone.now()
    for number, fields in enumerate(
        [{"delivered_at": now}, {"delivered_at": now}, {"gave_up_at": now}, {"attempts": 2}]
    ):
        WebhookDelivery.objects.create(
            organization=organization, job=job, event=f"e{number}", url="https://a.example", body={}, **fields
        )
    found = read(client)
    assert [
        found[f"deepfake_webhook_deliveries,outcome={outcome}"] for outcome in ("delivered", "gave_up", "retrying")
    ] == [
        2,
        1,
        1,
    ]


def test_the_state_of_the_audit_chain(client: Client, organization: Organization) -> None:
    audit.record(action="test.1", organization=organization)
    audit_verify.hourly()
    audit.record(action="test.2", organization=organization)
    found = read(client)
    assert found["deepfake_audit_chain_whole"] == 1
    assert found["deepfake_audit_rows_since_checkpoint"] == 1
    assert timezone.now().timestamp() - found["deepfake_audit_checkpoint_timestamp_seconds"] < 60
    from django.db import connection

    from accounts import audit_triggers

    audit_triggers.remove(connection)
    AuditLog.objects.order_by("-id").update(action="x")
    audit_verify.hourly()
    metrics_database.collector.forget()
    assert read(client)["deepfake_audit_chain_whole"] == 0


def test_workers_of_this_process(monkeypatch: Any) -> None:
    import threading

    crew = worker.Crew(2, periodic=())
    crew.threads.append(threading.current_thread())
    monkeypatch.setattr(threading.current_thread(), "name", "worker-1")
    crew.busy.add(threading.current_thread())
    monkeypatch.setattr(worker, "_crews", [crew])
    assert value("deepfake_workers", state="busy") == 1
    assert value("deepfake_workers", state="all") == 1


def test_a_worker_without_a_web_server_answers_apart(settings: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(metrics_database, "PARTS", ())
    server = metrics_views.serve_apart("127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.server_port}"
    try:
        with urllib.request.urlopen(f"{address}/metrics") as answer:
            assert b"process_resident_memory_bytes" in answer.read()
        settings.METRICS_TOKEN = "s3cret"
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"{address}/metrics")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{address}/")
    finally:
        server.shutdown()
        server.server_close()
