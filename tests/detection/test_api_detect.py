"""POST /v1/detect."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django_q.models import OrmQ

from accounts.api_keys import create_api_key
from detection.models import Job, Media, ThresholdProfile
from tests import factories
from tests.detection.conftest import upload

pytestmark = [pytest.mark.services, pytest.mark.django_db]


def detect(client: Client, bearer: Any, **body: Any) -> Any:
    return client.post("/v1/detect", body, headers=bearer, content_type="application/json")


def test_starts_an_analysis_of_a_submitted_item(client: Client, bearer: Any, media: Any, api_key: Any) -> None:
    answer = detect(client, bearer, media_id=media.public_id, mode="image", priority=7)
    assert answer.status_code == 202
    job = Job.objects.get()
    assert answer.json() == {"job_id": f"job_{job.id.hex}", "media_id": media.public_id, "status": "queued"}
    assert (job.media, job.mode, job.priority, job.api_key) == (media, "image", 7, api_key)
    assert OrmQ.objects.count() == 1


def test_takes_a_file_directly(client: Client, bearer: Any) -> None:
    answer = client.post("/v1/detect", {"file": upload(), "mode": "auto"}, headers=bearer)
    assert answer.status_code == 202
    assert Job.objects.get().media.kind == "image"


def test_takes_a_url(client: Client, bearer: Any) -> None:
    answer = detect(client, bearer, url="https://media.example.org/clip.mp4")
    assert answer.status_code == 202
    assert Job.objects.get().media.source_url == "https://media.example.org/clip.mp4"


def test_keeps_callback_and_profile(client: Client, bearer: Any, media: Any, organization: Any) -> None:
    own = ThresholdProfile.objects.create(organization=organization, name="strict", fake_at=0.9, real_below=0.5)
    callback = "https://app.example.org/hook"
    detect(client, bearer, media_id=media.public_id, callback_url=callback, threshold_profile="strict")
    job = Job.objects.get()
    assert (job.callback_url, job.threshold_profile) == (callback, own)


def test_the_full_test_against_re_saving_on_request(client: Client, bearer: Any, media: Any) -> None:
    assert detect(client, bearer, media_id=media.public_id, stability="full").status_code == 202
    assert detect(client, bearer, media_id=media.public_id).status_code == 202
    assert [job.stability for job in Job.objects.order_by("created_at")] == ["full", "cheap"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "nothing_sent"),
        ({"media_id": "x", "url": "https://e.example.org/a.png"}, "one_source"),
        ({"url": "http://169.254.169.254/latest"}, "url_not_allowed"),
        ({"mode": "hologram"}, "mode_unknown"),
        ({"stability": "enormous"}, "stability_unknown"),
        ({"mode": "audio"}, "mode_mismatch"),
        ({"priority": 101}, "invalid"),
        ({"callback_url": "http://localhost/hook"}, "callback_url_not_allowed"),
        ({"callback_url": "ftp://app.example.org/hook"}, "callback_url_not_allowed"),
        ({"threshold_profile": "no_such"}, "threshold_profile_unknown"),
    ],
)
def test_refused(body: dict[str, Any], code: str, client: Client, bearer: Any, media: Any) -> None:
    if body and not {"media_id", "url"} & set(body):
        body = {"media_id": media.public_id, **body}
    answer = detect(client, bearer, **body)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert not Job.objects.exists()


def test_refused_upload_leaves_no_item(client: Client, bearer: Any) -> None:
    answer = client.post("/v1/detect", {"file": upload(), "mode": "audio"}, headers=bearer)
    assert (answer.status_code, answer.json()["code"]) == (400, "mode_mismatch")
    assert not Media.objects.exists()


def test_profile_of_another_organisation_is_unknown(
    client: Client, bearer: Any, media: Any, other_organization: Any
) -> None:
    ThresholdProfile.objects.create(organization=other_organization, name="theirs", fake_at=0.9, real_below=0.5)
    answer = detect(client, bearer, media_id=media.public_id, threshold_profile="theirs")
    assert answer.json()["code"] == "threshold_profile_unknown"


def test_callback_needs_a_key_to_be_signed_with(client: Client, alice: Any, media: Any) -> None:
    client.force_login(alice)
    body = {"media_id": media.public_id, "callback_url": "https://app.example.org/hook"}
    answer = client.post("/v1/detect", body, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (400, "callback_needs_api_key")


def test_outsider_does_not_find_the_item(client: Client, outsider_bearer: Any, media: Any) -> None:
    answer = detect(client, outsider_bearer, media_id=media.public_id)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_anonymous(client: Client, media: Any) -> None:
    assert detect(client, {}, media_id=media.public_id).status_code == 401


def test_key_that_may_only_read(client: Client, organization: Any, media: Any) -> None:
    _, text = create_api_key(organization=organization, scopes=["detect:read"])
    assert detect(client, {"Authorization": f"Bearer {text}"}, media_id=media.public_id).status_code == 403


def test_wrong_method(client: Client, bearer: Any) -> None:
    assert client.get("/v1/detect", headers=bearer).status_code == 405


def test_limits_are_told_and_kept(client: Client, bearer: Any, media: Any, settings: Any) -> None:
    settings.API_SUBMISSIONS_PER_MINUTE, settings.API_BURST_S = 2, 60
    first = detect(client, bearer, media_id=media.public_id)
    assert (first.headers["RateLimit-Limit"], first.headers["RateLimit-Remaining"]) == ("2", "1")
    assert 0 < int(first.headers["RateLimit-Reset"]) <= 60
    detect(client, bearer, media_id=media.public_id)
    third = detect(client, bearer, media_id=media.public_id)
    assert (third.status_code, third.json()["code"]) == (429, "throttled")
    assert 0 < int(third.headers["Retry-After"]) <= 60
    assert client.get("/v1/jobs", headers=bearer).status_code == 200
    assert Job.objects.count() == 2


def test_needs_few_queries(client: Client, bearer: Any, organization: Any, django_assert_max_num_queries: Any) -> None:
    media = factories.make_media(organization)
    with django_assert_max_num_queries(20):
        detect(client, bearer, media_id=media.public_id)


def test_json_without_end_and_names_without_number(client: Client, bearer: Any) -> None:
    deep = client.post("/v1/detect", "[" * 100_000 + "]" * 100_000, headers=bearer, content_type="application/json")
    assert deep.status_code == 400
    assert "nested too deeply" in deep.json()["detail"]
    many = detect(client, bearer, **{f"field_{number}": 1 for number in range(5000)})
    assert many.status_code == 400
    assert len(many.json()["fields"]) == 10
