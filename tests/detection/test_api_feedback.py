"""POST /v1/feedback."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from accounts.models import AuditLog
from detection.models import Feedback, JobStatus
from tests import factories

pytestmark = [pytest.mark.services, pytest.mark.django_db]


def send(client: Client, bearer: Any, **body: Any) -> Any:
    return client.post("/v1/feedback", body, headers=bearer, content_type="application/json")


@pytest.fixture
def completed(organization: Any) -> Any:
    return factories.make_job(organization=organization, status=JobStatus.COMPLETED)


def test_label_is_kept(client: Client, bearer: Any, completed: Any, api_key: Any) -> None:
    answer = send(client, bearer, job_id=completed.public_id, label="real", notes="Filmed by us.")
    assert answer.status_code == 201
    feedback = Feedback.objects.get()
    assert answer.json() == {"feedback_id": f"fbk_{feedback.id.hex}", "job_id": completed.public_id, "label": "real"}
    assert (feedback.job, feedback.notes, feedback.api_key) == (completed, "Filmed by us.", api_key)
    assert AuditLog.objects.filter(action="job.feedback").exists()


def test_unfinished_job_cannot_be_labelled(client: Client, bearer: Any, job: Any) -> None:
    answer = send(client, bearer, job_id=job.public_id, label="real")
    assert (answer.status_code, answer.json()["code"]) == (409, "job_not_completed")


def test_refused(client: Client, bearer: Any, outsider_bearer: Any, vera: Any, completed: Any) -> None:
    assert send(client, bearer, job_id=completed.public_id, label="maybe").status_code == 400
    assert send(client, bearer, label="real").status_code == 400
    assert send(client, bearer, job_id="job_1", label="real").status_code == 404
    assert send(client, outsider_bearer, job_id=completed.public_id, label="real").status_code == 404
    assert send(client, {}, job_id=completed.public_id, label="real").status_code == 401
    client.force_login(vera)
    assert send(client, {}, job_id=completed.public_id, label="real").status_code == 403
    assert client.get("/v1/feedback", headers=bearer).status_code == 405
    assert not Feedback.objects.exists()
