"""Sandbox keys: samples are answered from recordings of the real engine, and nothing comes of what they start."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from accounts.api_keys import create_api_key
from accounts.models import ApiKey, Organization, User
from deepfake.errors import DomainError
from detection import back_pressure, jobs, sandbox, services
from detection.engine import fusion, pipeline
from detection.models import Batch, FacePrint, Job, JobStatus, Media, ThresholdProfile, Upload, WebhookDelivery
from detection.signals import verdict_recorded
from detection.what_if import _newest
from reports import dashboard
from review.models import ReviewCase, ReviewSettings
from review.services import open_case, send_to_review
from tests import factories

pytestmark = [pytest.mark.django_db]

SAMPLES = sandbox.sample_paths()
INDEX = json.loads((sandbox.RECORDED_DIR / sandbox.INDEX).read_text())


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# The recording --------------------------------------------------------------------------------------------------------


def test_recording_belongs_to_the_shipped_weights() -> None:
    advice = "the weights have changed: run `manage.py record_sandbox`"
    assert INDEX["model_version"] == pipeline.model_version(), advice
    assert INDEX["fusion_version"] == fusion.load().version, advice
    assert {one["analysis"]["model_version"] for one in INDEX["samples"].values()} == {INDEX["model_version"]}


def test_every_sample_is_recorded_and_every_file_is_whole() -> None:
    assert {path.name: digest(path) for path in SAMPLES} == {one["file"]: key for key, one in INDEX["samples"].items()}
    for one in INDEX["samples"].values():
        folder = sandbox.RECORDED_DIR / one["folder"]
        assert {path.name: digest(path) for path in folder.iterdir()} == one["files"]
        assert {item["path"] for item in one["analysis"]["artifacts"]} <= set(one["files"])


def test_recorded_is_what_the_engine_says() -> None:
    path = sandbox.SAMPLES_DIR / "cat-photo.jpg"
    recorded = INDEX["samples"][digest(path)]["analysis"]
    found = pipeline.analyze(path).to_dict()
    assert found["label"] == recorded["label"]
    assert found["score"] == pytest.approx(recorded["score"], abs=0.02)
    said = {one["branch"]: one["score"] for one in recorded["per_branch"]}
    for branch in found["per_branch"]:
        assert branch["score"] == pytest.approx(said[branch["branch"]], abs=0.03), branch["branch"]


# Answers --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def key_and_text(organization: Organization) -> tuple[ApiKey, str]:
    return create_api_key(organization=organization, scopes=["detect:*"], name="try", is_sandbox=True)


@pytest.fixture
def key(key_and_text: tuple[ApiKey, str]) -> ApiKey:
    return key_and_text[0]


@pytest.fixture
def test_bearer(key_and_text: tuple[ApiKey, str]) -> dict[str, str]:
    return {"Authorization": f"Bearer {key_and_text[1]}"}


@pytest.fixture
def send(client: Client, test_bearer: Any, django_capture_on_commit_callbacks: Any) -> Any:
    def send_(name: str, **more: str) -> Any:
        file = SimpleUploadedFile(name, (sandbox.SAMPLES_DIR / name).read_bytes())
        with django_capture_on_commit_callbacks(execute=True):
            return client.post("/v1/detect", {"file": file} | more, headers=test_bearer)

    return send_


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_a_sample_is_complete_at_once(client: Client, test_bearer: Any, send: Any, path: Path) -> None:
    sent = send(path.name)
    assert sent.status_code == 202
    body = client.get(f"/v1/jobs/{sent.json()['job_id']}", headers=test_bearer).json()
    recorded = INDEX["samples"][digest(path)]["analysis"]
    assert (body["status"], body["sandbox"]) == ("completed", True)
    assert (body["result"]["label"], body["result"]["score"]) == (recorded["label"], recorded["score"])
    assert body["result"]["model_version"] == INDEX["model_version"]
    assert len(body["result"]["artifacts"]) == len(recorded["artifacts"])
    assert body["media"]["kind"] == recorded["media"]["kind"]
    for item in body["result"]["artifacts"][:2]:
        picture = client.get(item["url"])
        assert picture.status_code == 200


def test_a_worker_answers_it_too_should_the_request_have_died(
    key: ApiKey, organization: Organization, monkeypatch: Any
) -> None:
    monkeypatch.setattr(pipeline, "analyze", None)  # not needed
    with (sandbox.SAMPLES_DIR / "cat-photo.jpg").open("rb") as file:
        job = services.submit_and_start(organization=organization, api_key=key, file=file, filename="cat.jpg")
    assert job.status == JobStatus.QUEUED
    jobs.run_detection()
    job.refresh_from_db()
    assert job.status == JobStatus.COMPLETED
    assert job.media.thumbnail_name


@pytest.mark.parametrize(
    "question",
    [{"mode": "image"}, {"stability": "full"}, {"threshold_profile": "own"}],
    ids=lambda one: next(iter(one)),
)
def test_what_was_not_recorded_goes_to_the_engine(
    send: Any, organization: Organization, question: dict[str, str]
) -> None:
    ThresholdProfile.objects.create(organization=organization, name="own", fake_at=0.9, real_below=0.1)
    send("blended-clip.mp4", **question)
    job = Job.objects.get()
    assert (job.status, job.is_sandbox) == (JobStatus.QUEUED, True)
    assert sandbox.recording_for(job) is None


def test_another_file_goes_to_the_engine_and_a_live_key_too(
    client: Client, test_bearer: Any, bearer: Any, django_capture_on_commit_callbacks: Any
) -> None:
    sample = (sandbox.SAMPLES_DIR / "cat-photo.jpg").read_bytes()
    with django_capture_on_commit_callbacks(execute=True):
        for content, headers in ((factories.png_bytes(), test_bearer), (sample, bearer)):
            file = SimpleUploadedFile("a", content)
            assert client.post("/v1/detect", {"file": file}, headers=headers).status_code == 202
    assert [(job.status, job.is_sandbox) for job in Job.objects.order_by("created_at")] == [
        ("queued", True),
        ("queued", False),
    ]


def test_callbacks_are_marked(send: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(services, "checked_callback", lambda url, key: url)
    send("cat-photo.jpg", callback_url="https://app.example.org/hook")
    delivery = WebhookDelivery.objects.get()
    assert delivery.body["sandbox"] is True
    assert (
        delivery.body["result"]["label"]
        == INDEX["samples"][digest(sandbox.SAMPLES_DIR / "cat-photo.jpg")]["analysis"]["label"]
    )


def test_a_full_queue_takes_samples_and_nothing_else(
    client: Client, test_bearer: Any, send: Any, organization: Organization, media: Media, settings: Any
) -> None:
    settings.QUEUE_MAX_WAITING = 1
    factories.make_job(organization=organization, media=media)
    assert send("cat-photo.jpg").status_code == 202
    before = Media.objects.count()
    file = SimpleUploadedFile("a.png", factories.png_bytes())
    assert client.post("/v1/detect", {"file": file}, headers=test_bearer).json()["code"] == "queue_full"
    assert Media.objects.count() == before
    with pytest.raises(back_pressure.QueueFull):
        back_pressure.check_room(organization)


# Nothing comes of it --------------------------------------------------------------------------------------------------


@pytest.fixture
def done(send: Any) -> Job:
    send("blended-clip.mp4")
    return Job.objects.get(is_sandbox=True)


def test_no_case_is_opened_by_rule_or_by_hand(organization: Organization, send: Any, alice: User) -> None:
    ReviewSettings.objects.create(organization=organization, audit_rate=1.0)
    heard: list[Any] = []
    verdict_recorded.connect(lambda job, **kwargs: heard.append(job), weak=False, dispatch_uid="sandbox-test")
    try:
        send("blended-face.jpg")  # inconclusive: of a live key a case would be opened
    finally:
        verdict_recorded.disconnect(dispatch_uid="sandbox-test")
    job = Job.objects.get()
    assert heard == []
    with pytest.raises(DomainError, match="sandbox key"):
        send_to_review(job=job, actor=alice)
    with pytest.raises(DomainError, match="sandbox key"):
        open_case(job=job, grounds=[])
    assert not ReviewCase.objects.exists()


def test_members_see_it_only_when_they_ask(client: Client, alice: User, done: Job, job: Job) -> None:
    client.force_login(alice)

    def shown(query: str) -> set[Job]:
        page = client.get(f"/{query}").content.decode()
        return {one for one in (done, job) if str(one.pk) in page}

    assert shown("") == {job}
    assert shown("?sandbox=only") == {done}
    assert shown("?sandbox=with") == {done, job}
    assert shown(f"?q={done.media.sha256[:12]}") == set()
    assert "sandbox" in client.get(f"/analyses/{done.pk}/").content.decode()


def test_the_api_shows_each_kind_of_key_its_own(
    client: Client, bearer: Any, test_bearer: Any, done: Job, job: Job
) -> None:
    def listed(headers: Any, query: str = "") -> list[str]:
        return [one["job_id"] for one in client.get(f"/v1/jobs{query}", headers=headers).json()["results"]]

    assert listed(bearer) == [job.public_id]
    assert listed(test_bearer) == [done.public_id]
    assert listed(bearer, "?sandbox=true") == []
    assert listed(test_bearer, "?sandbox=false") == []


def test_each_kind_of_key_finds_nothing_of_the_other(
    client: Client, bearer: Any, test_bearer: Any, done: Job, job: Job, organization: Organization, key: ApiKey
) -> None:
    upload = Upload.objects.create(
        organization=organization, api_key=key, size_bytes=5, expires_at=timezone.now() + timedelta(hours=1)
    )
    batch = Batch.objects.create(organization=organization, api_key=key)
    for own, other, mine in ((test_bearer, bearer, done), (bearer, test_bearer, job)):
        addresses = [
            f"/v1/jobs/{mine.public_id}", f"/v1/media/{mine.media.public_id}", f"/v1/reports/{mine.public_id}",
            f"/v1/thresholds/match?media_id={mine.media.public_id}",
        ]  # fmt: skip
        if mine is done:
            addresses += [f"/v1/uploads/{upload.public_id}", f"/v1/batches/{batch.public_id}"]
        for address in addresses:
            assert client.get(address, headers=other).status_code == 404, address
            assert client.get(address, headers=own).status_code != 404, address
        for address in ("cancel", "rerun"):
            path = f"/v1/jobs/{mine.public_id}/{address}"
            assert client.post(path, {}, "application/json", headers=other).status_code == 404
        said = {"job_id": mine.public_id, "label": "real"}
        assert client.post("/v1/feedback", said, "application/json", headers=other).status_code == 404
        wish = {"media_id": mine.media.public_id}
        assert client.post("/v1/detect", wish, "application/json", headers=other).status_code == 404
        found = client.get("/v1/media", headers=other).json()["results"]
        assert mine.media.public_id not in [one["media_id"] for one in found]
    for name, its in (("uploads", "upload_id"), ("batches", "batch_id")):
        assert client.get(f"/v1/{name}", headers=bearer).json()["results"] == []
        assert len(client.get(f"/v1/{name}", headers=test_bearer).json()["results"]) == 1, its
    made = client.post("/v1/batches", {"items": [wish]}, "application/json", headers=test_bearer).json()
    (item,) = client.get(f"/v1/batches/{made['batch_id']}/items", headers=test_bearer).json()["results"]
    assert item["error"]["code"] == "not_found"


def test_a_member_sees_both_worlds(client: Client, administrator: User, done: Job, job: Job) -> None:
    client.force_login(administrator)
    for one in (done, job):
        assert client.get(f"/v1/jobs/{one.public_id}").status_code == 200
    assert [row["job_id"] for row in client.get("/v1/jobs?sandbox=true").json()["results"]] == [done.public_id]


def test_it_counts_in_no_figure_and_stands_beside_nothing(
    client: Client, administrator: User, organization: Organization, done: Job, bearer: Any
) -> None:
    assert not FacePrint.objects.exists()
    assert done.media.look is None
    assert list(_newest(organization)) == []
    client.force_login(administrator)
    assert client.get("/dashboard/").status_code == 200
    found = dashboard.count(organization, dashboard.period_of("today", timezone.now(), UTC))
    assert (found.received, found.waiting, found.running) == (0, 0, 0)
    file = SimpleUploadedFile("b.mp4", (sandbox.SAMPLES_DIR / "blended-clip.mp4").read_bytes())
    client.logout()
    seen = client.post("/v1/media", {"file": file}, headers=bearer).json()["seen_before"]
    assert seen == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("way", ["detect", "rerun"])
def test_the_answer_says_that_it_is_complete(client: Client, test_bearer: Any, way: str) -> None:
    """With real commits: the recording is written down between the commit and the answer."""
    name = "cat-photo.jpg"
    headers = test_bearer | {"Idempotency-Key": "k"}

    def sent() -> Any:
        if way == "rerun":
            return client.post(f"/v1/jobs/{job.public_id}/rerun", {}, "application/json", headers=headers)
        file = SimpleUploadedFile(name, (sandbox.SAMPLES_DIR / name).read_bytes())
        return client.post("/v1/detect", {"file": file}, headers=headers)

    if way == "rerun":
        file = SimpleUploadedFile(name, (sandbox.SAMPLES_DIR / name).read_bytes())
        first = client.post("/v1/detect", {"file": file}, headers=test_bearer).json()
        job = Job.objects.get(pk=first["job_id"].removeprefix("job_"))
    answer, again = sent(), sent()
    assert (answer.status_code, answer.json()["status"]) == (202, "completed"), answer.content
    assert (again.json(), again.headers["Idempotent-Replayed"]) == (answer.json(), "true")


@pytest.mark.django_db(transaction=True)
def test_the_answer_about_another_file_says_that_it_waits(client: Client, test_bearer: Any) -> None:
    file = SimpleUploadedFile("a.png", factories.png_bytes())
    assert client.post("/v1/detect", {"file": file}, headers=test_bearer).json()["status"] == "queued"
