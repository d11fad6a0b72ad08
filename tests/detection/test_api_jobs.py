"""GET /v1/jobs, GET and DELETE /v1/jobs/{id}, POST /v1/jobs/{id}/cancel."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.api_keys import create_api_key
from accounts.models import AuditLog
from deepfake import storage
from detection import services
from detection.models import Job, JobStatus, Media
from tests import factories

pytestmark = [pytest.mark.services, pytest.mark.django_db]


@pytest.fixture
def completed(organization: Any) -> Job:
    job = factories.make_job(organization=organization, status=JobStatus.COMPLETED)
    factories.make_artifact(factories.make_result(job), kind="saliency_map", score=0.9)
    return job


def get(client: Client, bearer: Any, job: Job) -> Any:
    return client.get(f"/v1/jobs/{job.public_id}", headers=bearer)


# One job --------------------------------------------------------------------------------------------------------------


def test_completed_job_has_its_result(client: Client, bearer: Any, completed: Job) -> None:
    body = get(client, bearer, completed).json()
    assert (body["job_id"], body["status"], body["percent"]) == (completed.public_id, "completed", 100)
    assert body["created_at"].endswith("Z")
    result = body["result"]
    assert (result["label"], result["score"], result["confidence_interval"]) == ("fake", 0.91, [0.84, 0.96])
    assert result["per_branch"][0]["branch"] == "spatial"
    assert result["per_branch"][0]["score"] == 0.91
    assert result["model_version"] == "ensemble-test"
    assert result["details"]["channels"][0]["channel"] == "picture"
    assert "error" not in body


def test_explanation_links_are_absolute_signed_and_open(
    client: Client, bearer: Any, completed: Job, alice: Any
) -> None:
    links = get(client, bearer, completed).json()["result"]["explanations"]
    assert links["frequency_heatmap"] is None
    assert links["saliency_map"].startswith("http://testserver/artifacts/")
    client.force_login(alice)
    answer = client.get(links["saliency_map"].removeprefix("http://testserver"))
    assert answer.status_code == 200


def test_review_is_null_until_there_was_one(client: Client, bearer: Any, completed: Job) -> None:
    assert get(client, bearer, completed).json()["review"] is None
    Job.objects.filter(pk=completed.pk).update(review_state="open")
    assert get(client, bearer, completed).json()["review"] == {
        "state": "open",
        "decision": None,
        "label": None,
        "decided_at": None,
    }


def test_review_tells_the_final_label(client: Client, bearer: Any, completed: Job) -> None:
    decided_at = timezone.now()
    Job.objects.filter(pk=completed.pk).update(
        review_state="decided", review_decision="override", review_label="real", reviewed_at=decided_at
    )
    review = get(client, bearer, completed).json()["review"]
    assert review["decided_at"] == decided_at.isoformat().replace("+00:00", "Z")
    assert (review["state"], review["decision"], review["label"]) == ("decided", "override", "real")
    listed = client.get("/v1/jobs", headers=bearer).json()["results"][0]
    assert listed["review"] == review


def test_failed_job_has_its_error(client: Client, bearer: Any, organization: Any) -> None:
    job = factories.make_job(organization=organization, status=JobStatus.FAILED)
    body = get(client, bearer, job).json()
    assert body["error"] == {"code": job.failure_code, "message": job.failure_message}
    assert "result" not in body


@pytest.mark.parametrize("status", [JobStatus.QUEUED, JobStatus.RUNNING])
def test_unfinished_job_has_neither(status: str, client: Client, bearer: Any, organization: Any) -> None:
    body = get(client, bearer, factories.make_job(organization=organization, status=status)).json()
    assert body["status"] == status
    assert not {"result", "error"} & set(body)


def test_ids_are_taken_in_every_spelling(client: Client, bearer: Any, completed: Job) -> None:
    for spelled in (completed.public_id, str(completed.id), completed.id.hex):
        assert client.get(f"/v1/jobs/{spelled}", headers=bearer).status_code == 200
    for spelled in ("job_", "job_xyz", "1", "med_" + completed.id.hex, "0" * 32):
        answer = client.get(f"/v1/jobs/{spelled}", headers=bearer)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_outsider_and_anonymous(client: Client, outsider_bearer: Any, completed: Job) -> None:
    assert get(client, outsider_bearer, completed).status_code == 404
    assert get(client, {}, completed).status_code == 401


def test_key_of_another_family_may_not_read(client: Client, organization: Any, completed: Job) -> None:
    _, text = create_api_key(organization=organization, scopes=["kyc:*"])
    assert get(client, {"Authorization": f"Bearer {text}"}, completed).status_code == 403


def test_signed_in_member_may_read(client: Client, vera: Any, charlie: Any, completed: Job) -> None:
    client.force_login(vera)
    assert get(client, {}, completed).status_code == 200
    client.force_login(charlie)
    assert get(client, {}, completed).status_code == 404


# The list -------------------------------------------------------------------------------------------------------------


def test_list_is_newest_first_and_scoped(client: Client, bearer: Any, organization: Any, charlie: Any) -> None:
    now = timezone.now()
    media = factories.make_media(organization)
    made = [
        factories.make_job(organization=organization, media=media, created_at=now - timedelta(minutes=age))
        for age in (2, 0, 1)
    ]
    factories.make_job(organization=charlie.organization)
    listed = [job["job_id"] for job in client.get("/v1/jobs", headers=bearer).json()["results"]]
    assert listed == [made[1].public_id, made[2].public_id, made[0].public_id]


def test_pages_follow_one_another(client: Client, bearer: Any, organization: Any) -> None:
    media = factories.make_media(organization)
    made = {factories.make_job(organization=organization, media=media).public_id for _ in range(5)}
    address, found = "/v1/jobs?limit=2", []
    while address:
        page = client.get(address, headers=bearer).json()
        found += [job["job_id"] for job in page["results"]]
        address = page["next"]
    assert len(found) == 5
    assert set(found) == made


def test_filters(client: Client, bearer: Any, organization: Any, completed: Job) -> None:
    other = factories.make_job(
        organization=organization,
        status=JobStatus.FAILED,
        media=factories.make_media(organization, kind="audio", filename="voice memo.wav", sha256="cd" * 32),
        created_at=timezone.now() - timedelta(days=3),
    )

    def found(query: str) -> list[str]:
        answer = client.get(f"/v1/jobs?{query}", headers=bearer)
        assert answer.status_code == 200
        return [job["job_id"] for job in answer.json()["results"]]

    assert found("label=fake") == [completed.public_id]
    assert found("label=real") == []
    assert found("status=failed") == [other.public_id]
    assert found("kind=audio") == [other.public_id]
    assert found("q=VOICE") == [other.public_id]
    assert found("q=cdcdcdcd") == [other.public_id]
    assert found(f"q={completed.public_id}") == [completed.public_id]
    assert found(f"since={timezone.now().date()}") == [completed.public_id]
    assert found(f"until={(timezone.now() - timedelta(days=2)).date()}") == [other.public_id]


@pytest.mark.parametrize("query", ["label=maybe", "status=done", "since=yesterday", "limit=0", "cursor=nonsense"])
def test_nonsense_in_the_query_is_refused(query: str, client: Client, bearer: Any) -> None:
    assert client.get(f"/v1/jobs?{query}", headers=bearer).status_code in (400, 404)


def test_list_needs_few_queries(
    client: Client, bearer: Any, organization: Any, django_assert_max_num_queries: Any
) -> None:
    for _ in range(5):
        job = factories.make_job(organization=organization, status=JobStatus.COMPLETED)
        factories.make_artifact(factories.make_result(job))
    with django_assert_max_num_queries(8):
        assert len(client.get("/v1/jobs", headers=bearer).json()["results"]) == 5


def test_list_is_brief(client: Client, bearer: Any, completed: Job) -> None:
    (listed,) = client.get("/v1/jobs", headers=bearer).json()["results"]
    assert "details" not in listed["result"]


# Cancelling -----------------------------------------------------------------------------------------------------------


def test_cancel_what_waits(client: Client, bearer: Any, organization: Any) -> None:
    job = factories.make_job(organization=organization)
    answer = client.post(f"/v1/jobs/{job.public_id}/cancel", headers=bearer)
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    assert AuditLog.objects.filter(action="job.cancelled", target_id=str(job.id)).exists()


def test_cancel_what_runs_asks_the_worker(client: Client, bearer: Any, organization: Any) -> None:
    job = factories.make_job(organization=organization, status=JobStatus.RUNNING)
    answer = client.post(f"/v1/jobs/{job.public_id}/cancel", headers=bearer)
    assert (answer.status_code, answer.json()["status"]) == (200, "running")
    job.refresh_from_db()
    assert job.cancel_requested_at


def test_cancel_what_has_ended(client: Client, bearer: Any, completed: Job) -> None:
    answer = client.post(f"/v1/jobs/{completed.public_id}/cancel", headers=bearer)
    assert (answer.status_code, answer.json()["code"]) == (409, "job_ended")


def test_cancel_by_others(client: Client, outsider_bearer: Any, organization: Any) -> None:
    job = factories.make_job(organization=organization)
    assert client.post(f"/v1/jobs/{job.public_id}/cancel", headers=outsider_bearer).status_code == 404
    assert client.post(f"/v1/jobs/{job.public_id}/cancel").status_code == 401
    assert client.get(f"/v1/jobs/{job.public_id}/cancel").status_code == 401
    job.refresh_from_db()
    assert job.status == JobStatus.QUEUED


# Deleting -------------------------------------------------------------------------------------------------------------


def test_delete_destroys_rows_objects_and_keys(client: Client, bearer: Any, completed: Job, data_dir: Any) -> None:
    names = [completed.media.storage_name, completed.result.artifacts.get().storage_name]
    assert client.delete(f"/v1/jobs/{completed.public_id}", headers=bearer).status_code == 204
    assert not Job.objects.exists()
    assert not Media.objects.exists()
    for name in names:
        assert not storage.exists(name)
        with pytest.raises(storage.ObjectMissing):
            storage.open_decrypted(name)
    left = [path for path in data_dir.rglob("*") if path.is_file() and path.parent.name != "keys"]
    assert left == []
    assert AuditLog.objects.filter(action="job.deleted", target_id=str(completed.id)).exists()
    assert get(client, bearer, completed).status_code == 404


def test_item_stays_while_another_analysis_uses_it(client: Client, bearer: Any, completed: Job) -> None:
    second = services.rerun_job(job=completed)
    client.delete(f"/v1/jobs/{completed.public_id}", headers=bearer)
    assert storage.exists(second.media.storage_name)
    client.delete(f"/v1/jobs/{second.public_id}", headers=bearer)
    assert not storage.exists(second.media.storage_name)


def test_delete_that_broke_off_can_be_asked_for_again(client: Client, bearer: Any, completed: Job) -> None:
    storage.destroy(completed.media.storage_name)
    assert client.delete(f"/v1/jobs/{completed.public_id}", headers=bearer).status_code == 204


def test_delete_by_others(client: Client, outsider_bearer: Any, vera: Any, completed: Job) -> None:
    assert client.delete(f"/v1/jobs/{completed.public_id}", headers=outsider_bearer).status_code == 404
    assert client.delete(f"/v1/jobs/{completed.public_id}").status_code == 401
    client.force_login(vera)
    assert client.delete(f"/v1/jobs/{completed.public_id}").status_code == 403
    assert storage.exists(completed.media.storage_name)


def test_wrong_method(client: Client, bearer: Any, completed: Job) -> None:
    assert client.post(f"/v1/jobs/{completed.public_id}", headers=bearer).status_code == 405
