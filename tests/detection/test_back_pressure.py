"""A queue that is full refuses with the time to come again, and keeps nothing of what it refuses."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from accounts.models import AuditLog, Organization, User
from deepfake.errors import DomainError
from detection import back_pressure, services
from detection.models import IdempotencyKey, Job, JobStatus, Media
from tests import factories

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture
def waiting(organization: Organization, media: Media, settings: Any) -> list[Job]:
    """Three jobs wait, and no more may."""
    settings.QUEUE_MAX_WAITING = 3
    return [factories.make_job(organization=organization, media=media) for _ in range(3)]


def stored() -> list[Path]:
    return [path for path in (Path(django_settings.DATA_DIR) / "objects").rglob("*") if path.is_file()]


def send(client: Client, headers: Any, **more: Any) -> Any:
    file = SimpleUploadedFile("picture.png", factories.png_bytes(), "image/png")
    return client.post("/v1/detect", {"file": file} | more, headers=headers)


def ended(organization: Organization, media: Media, number: int, **fields: Any) -> None:
    for _ in range(number):
        factories.make_job(organization=organization, media=media, status=JobStatus.COMPLETED, **fields)


def test_a_full_queue_answers_503_and_nothing_stays_behind(client: Client, bearer: Any, waiting: Any) -> None:
    before = (Media.objects.count(), Job.objects.count(), AuditLog.objects.count(), stored())
    refused = send(client, bearer | {"Idempotency-Key": "k"})
    assert (refused.status_code, refused.json()["code"]) == (503, "queue_full")
    assert refused.headers["Retry-After"] == "10"  # nothing was measured yet, and one place is to be free
    assert "10 s" in refused.json()["detail"]
    assert (Media.objects.count(), Job.objects.count(), AuditLog.objects.count(), stored()) == before
    assert not IdempotencyKey.objects.exists()  # the same request may be sent again


def test_when_one_is_taken_there_is_room_again(client: Client, bearer: Any, waiting: list[Job]) -> None:
    assert send(client, bearer).status_code == 503
    services.cancel_job(job=waiting[0])
    assert send(client, bearer | {"Idempotency-Key": "k"}).status_code == 202
    assert send(client, bearer).status_code == 503
    again = send(client, bearer | {"Idempotency-Key": "k"})  # a repeat needs no room
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (202, "true")


def test_retry_after_is_measured(client: Client, bearer: Any, organization: Any, media: Any, settings: Any) -> None:
    settings.QUEUE_MAX_WAITING = 20
    for _ in range(20):
        factories.make_job(organization=organization, media=media)
    ended(organization, media, 60)  # in ten minutes: one in 10 s; a tenth of 20 places are two
    assert send(client, bearer).headers["Retry-After"] == "20"
    cache.clear()
    ended(organization, media, 60)
    assert send(client, bearer).headers["Retry-After"] == "10"
    cache.clear()
    old = timezone.now() - timedelta(minutes=11)
    Job.objects.filter(status=JobStatus.COMPLETED).update(finished_at=old)
    assert send(client, bearer).headers["Retry-After"] == "20"


def test_little_that_was_measured_says_nothing(
    client: Client, bearer: Any, organization: Organization, media: Media, waiting: Any, settings: Any
) -> None:
    ended(organization, media, 4)  # soon after a start: not one job in 150 s
    assert send(client, bearer).headers["Retry-After"] == "10"
    cache.clear()
    ended(organization, media, back_pressure.MEASURED_AT_LEAST - 4)
    assert send(client, bearer).headers["Retry-After"] == "30"


def test_the_guess_is_bounded(organization: Organization, settings: Any) -> None:
    assert back_pressure._wait_s(5000, 5000, None) == back_pressure.UNKNOWN_S


def test_an_organisation_has_a_limit_of_its_own(
    client: Client, bearer: Any, outsider_bearer: Any, organization: Organization, media: Media
) -> None:
    Organization.objects.filter(pk=organization.pk).update(max_waiting_jobs=2)
    for _ in range(2):
        factories.make_job(organization=organization, media=media)
    refused = send(client, bearer)
    assert refused.json()["code"] == "queue_full"
    assert "of your organisation" in refused.json()["detail"]
    assert send(client, outsider_bearer).status_code == 202


def test_jobs_that_run_or_have_ended_do_not_count(client: Client, bearer: Any, waiting: list[Job]) -> None:
    Job.objects.filter(pk=waiting[0].pk).update(status=JobStatus.RUNNING)
    assert send(client, bearer).status_code == 202


def test_the_page_says_it_too(client: Client, alice: User, waiting: Any) -> None:
    client.force_login(alice)
    before = stored()
    file = SimpleUploadedFile("picture.png", factories.png_bytes(), "image/png")
    refused = client.post("/analyses/", {"files": file}, headers={"Accept": "application/json"})
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "10")
    assert refused.json()["code"] == "queue_full"
    file = SimpleUploadedFile("picture.png", factories.png_bytes(), "image/png")
    page = client.post("/analyses/", {"files": file}, follow=True)
    assert "3 analyses wait already" in page.content.decode()
    assert (Job.objects.count(), stored()) == (3, before)


def test_running_again_needs_room_too(waiting: list[Job], organization: Organization, media: Media) -> None:
    done = factories.make_job(organization=organization, media=media, status=JobStatus.COMPLETED)
    with pytest.raises(DomainError, match="wait already"):
        services.rerun_job(job=done)
