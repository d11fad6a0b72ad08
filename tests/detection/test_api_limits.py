"""Limits of the API: by family, per key and organisation, own numbers, and the headers that tell."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from accounts.api_keys import create_api_key
from accounts.models import ApiKey, Organization
from detection.models import Job, JobStatus
from tests import factories

pytestmark = [pytest.mark.django_db, pytest.mark.services]


@pytest.fixture(autouse=True)
def small(settings: Any) -> None:
    """A burst of one minute: a bucket holds what its limit says."""
    settings.API_BURST_S = 60


def read(client: Client, headers: Any) -> Any:
    return client.get("/v1/jobs", headers=headers)


def key_for(organization: Organization, **limits: int) -> dict[str, str]:
    _, text = create_api_key(organization=organization, scopes=["detect:*"], limits=limits)
    return {"Authorization": f"Bearer {text}"}


def test_headers_of_the_draft_and_the_older_ones(client: Client, organization: Organization) -> None:
    bearer = key_for(organization, reads_per_minute=30)
    answer = read(client, bearer)
    assert answer.headers["RateLimit-Policy"] == '"caller";q=30;w=60, "organization";q=4800;w=60'
    assert answer.headers["RateLimit"] == '"caller";r=29;t=2, "organization";r=4799;t=1'
    old = [answer.headers[f"RateLimit-{name}"] for name in ("Limit", "Remaining", "Reset")]
    assert old == ["30", "29", "2"]


def test_a_refusal_says_when_to_come_back(client: Client, organization: Organization) -> None:
    bearer = key_for(organization, reads_per_minute=2)
    assert [read(client, bearer).status_code for _ in range(3)] == [200, 200, 429]
    refused = read(client, bearer)
    assert refused.json()["code"] == "throttled"
    assert 1 <= int(refused.headers["Retry-After"]) <= 30  # one token of two a minute
    assert refused.headers["RateLimit-Remaining"] == "0"
    assert re.match(r'"caller";r=0;t=(59|60), ', refused.headers["RateLimit"])


def test_families_are_counted_apart(client: Client, organization: Organization, media: Any, settings: Any) -> None:
    settings.API_SUBMISSIONS_PER_MINUTE = settings.API_WRITES_PER_MINUTE = settings.API_REPORTS_PER_MINUTE = 1
    bearer = key_for(organization)
    job = factories.make_job(organization=organization, status=JobStatus.COMPLETED)
    factories.make_result(job)

    def detect() -> int:
        body = {"media_id": media.public_id}
        return client.post("/v1/detect", body, content_type="application/json", headers=bearer).status_code

    def report(format: str) -> int:
        return client.get(f"/v1/reports/{job.public_id}?format={format}", headers=bearer).status_code

    def cancel() -> int:
        return client.post(f"/v1/jobs/{job.public_id}/cancel", headers=bearer).status_code

    assert [detect(), detect()] == [202, 429]
    assert [cancel(), cancel()] == [409, 429]
    assert [report("html"), report("html")] == [200, 200]  # a read
    assert report("pdf") == 200
    assert report("pdf") == 429
    assert read(client, bearer).status_code == 200


def test_one_key_does_not_use_up_the_others(client: Client, organization: Organization, settings: Any) -> None:
    settings.API_READS_PER_MINUTE = 2
    one, other = key_for(organization), key_for(organization)
    assert [read(client, one).status_code for _ in range(3)] == [200, 200, 429]
    assert read(client, other).status_code == 200


def test_all_callers_of_an_organisation_share_its_limit(
    client: Client, organization: Organization, other_organization: Organization
) -> None:
    Organization.objects.filter(pk=organization.pk).update(reads_per_minute=3)
    keys = [key_for(organization) for _ in range(4)]
    assert [read(client, key).status_code for key in keys] == [200, 200, 200, 429]
    assert read(client, keys[0]).headers["RateLimit-Limit"] == "3"  # the tighter of the two
    assert read(client, key_for(other_organization)).status_code == 200


def test_members_are_counted_too(client: Client, alice: Any, settings: Any) -> None:
    settings.API_READS_PER_MINUTE = 1
    client.force_login(alice)
    assert [read(client, {}).status_code for _ in range(2)] == [200, 429]


def test_a_refused_call_does_nothing(client: Client, organization: Organization, media: Any, settings: Any) -> None:
    settings.API_SUBMISSIONS_PER_MINUTE = 1
    bearer = key_for(organization)
    for _ in range(3):
        client.post("/v1/detect", {"media_id": media.public_id}, content_type="application/json", headers=bearer)
    assert Job.objects.count() == 1


def test_a_burst_and_then_the_sustained_rate(client: Client, organization: Organization, settings: Any) -> None:
    settings.API_BURST_S = 10
    answer = read(client, key_for(organization, reads_per_minute=60))
    assert answer.headers["RateLimit-Policy"].startswith('"caller";q=10;w=10')


def test_limits_of_a_key_can_be_seen_in_its_row(organization: Organization) -> None:
    key_for(organization, reports_per_minute=7)
    assert ApiKey.objects.get().per_minute("reports") == 7
