"""What the API reads: filters, orders, parts and tags of jobs; items; thresholds; the audit log; strict fields."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import AsyncClient, Client
from django.utils import timezone

from accounts import audit, roles
from accounts.api_keys import create_api_key
from deepfake import storage
from detection.models import Job, JobStatus, Media, ThresholdProfile
from tests import factories

pytestmark = [pytest.mark.services, pytest.mark.django_db]


@pytest.fixture
def read(client: Client, bearer: Any) -> Any:
    return lambda path, **headers: client.get(path, headers={**bearer, **headers})


@pytest.fixture
def jobs(organization: Any) -> list[Job]:
    """Three verdicts of .2, .5 and .9, the oldest first, and one that waits."""
    now, made = timezone.now(), []
    for hours, score, label in ((30, 0.2, "real"), (20, 0.5, "inconclusive"), (10, 0.9, "fake")):
        media = factories.make_media(organization, source_url=f"https://www.site-{hours}.example.org/x.png")
        job = factories.make_job(
            organization=organization,
            status=JobStatus.COMPLETED,
            media=media,
            created_at=now - timedelta(hours=hours),
        )
        factories.make_result(job, score=score, label=label)
        made.append(job)
    made.append(factories.make_job(organization=organization))
    return made


def listed(read: Any, query: str) -> list[str]:
    answer = read(f"/v1/jobs?{query}")
    assert answer.status_code == 200, answer.content
    return [job["job_id"] for job in answer.json()["results"]]


def test_filters_and_orders(read: Any, jobs: list[Job]) -> None:
    low, middle, high, waiting = [job.public_id for job in jobs]
    assert listed(read, "") == [waiting, high, middle, low]
    assert listed(read, "sort=oldest") == [low, middle, high, waiting]
    assert listed(read, "sort=score_high") == [high, middle, low]
    assert listed(read, "sort=uncertain")[0] == middle
    assert listed(read, "score_from=0.5") == [high, middle]
    assert listed(read, "score_from=0.3&score_to=0.6") == [middle]
    assert listed(read, "domain=site-20.example.org") == [middle]
    assert listed(read, f"media_id={jobs[0].media.public_id}") == [low]
    moment = (timezone.now() - timedelta(hours=15)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert listed(read, f"since={moment}") == [waiting, high]
    assert listed(read, f"until={moment}") == [middle, low]
    assert listed(read, "label=fake&status=completed&kind=image") == [high]


def test_of_one_key(
    client: Client, alice: Any, read: Any, jobs: list[Job], organization: Any, other_organization: Any,
    django_assert_num_queries: Any,
) -> None:  # fmt: skip
    made = {"scopes": ["detect:write"], "organization": organization}
    scanner, trial = (create_api_key(name=name, is_sandbox=name == "Trial", **made)[0] for name in ("Scanner", "Trial"))
    foreign, _ = create_api_key(organization=other_organization, name="Elsewhere", scopes=["detect:write"])
    Job.objects.filter(pk=jobs[2].pk).update(api_key=scanner)
    Job.objects.filter(pk=jobs[1].pk).update(api_key=trial, is_sandbox=True)
    factories.make_job(organization=other_organization, api_key=foreign)
    assert listed(read, f"key_id={scanner.public_id}") == [jobs[2].public_id]
    assert listed(read, f"key_id={scanner.public_id}&label=real") == []
    assert listed(read, f"key_id={trial.public_id}") == []  # a live key sees nothing of the other world
    assert listed(read, f"key_id={foreign.public_id}") == []
    assert read("/v1/jobs?key_id=nonsense").status_code == 404
    with django_assert_num_queries(3):  # key, ids, rows
        read(f"/v1/jobs?include=&key_id={scanner.public_id}")
    client.force_login(alice)  # a member need not ask for the world of a key as well
    assert listed(client.get, f"key_id={trial.public_id}") == [jobs[1].public_id]
    assert listed(client.get, f"key_id={trial.public_id}&sandbox=false") == []


def test_pages_in_both_directions(read: Any, jobs: list[Job]) -> None:
    for order in ("newest", "score_low"):
        whole = listed(read, f"sort={order}")
        address, found, last = f"/v1/jobs?sort={order}&limit=1", [], None
        while address:
            page = read(address).json()
            found += [job["job_id"] for job in page["results"]]
            address, last = page["next"], page
        assert found == whole
        back = read(last["previous"]).json()
        assert [job["job_id"] for job in back["results"]] == [whole[-2]]
        assert read(back["next"]).json()["results"][0]["job_id"] == whole[-1]


@pytest.mark.parametrize(
    "query",
    ["score_from=50", "since=2026-11-21T09:00:00", "sort=odd", "cursor=x", "labl=fake", "include=all", "limit=201",
     "until=", "status=", "score_to=nan"],
)  # fmt: skip
def test_nonsense_is_named(query: str, read: Any) -> None:
    answer = read(f"/v1/jobs?{query}")
    assert answer.status_code == 400
    assert set(answer.json()["fields"]) == {query.partition("=")[0]}


def test_parts(read: Any, jobs: list[Job]) -> None:
    address = f"/v1/jobs/{jobs[2].public_id}"
    assert {"media", "result"} <= set(read(address).json())
    state = read(f"{address}?include=").json()
    assert state["status"] == "completed"
    assert not {"media", "result"} & set(state)
    headline = read(f"{address}?include=result").json()["result"]
    assert headline["label"] == "fake"
    assert not {"per_branch", "artifacts", "explanations", "details"} & set(headline)
    some = read(f"{address}?include=branches,artifacts,media").json()
    assert {"per_branch", "artifacts", "explanations"} <= set(some["result"])
    assert "details" not in some["result"]
    assert some["media"]["media_id"] == jobs[2].media.public_id
    (first, *_) = read("/v1/jobs?include=details&label=fake").json()["results"]
    assert first["result"]["details"]
    assert "media" not in first


def test_parts_cost_only_what_they_need(read: Any, jobs: list[Job], django_assert_num_queries: Any) -> None:
    read("/v1/jobs")  # notes the use of the key
    with django_assert_num_queries(3):  # key, ids, rows
        read("/v1/jobs?include=")
    with django_assert_num_queries(5):  # and branches, artifacts
        read("/v1/jobs")


def test_tag_of_a_finished_job(read: Any, jobs: list[Job]) -> None:
    address = f"/v1/jobs/{jobs[2].public_id}"
    factories.make_artifact(jobs[2].result)
    first = read(address)
    tag = first.headers["ETag"]
    assert tag.startswith('"')
    again = read(address, **{"If-None-Match": tag})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    assert read(address, **{"If-None-Match": f'"other", W/{tag}'}).status_code == 304
    assert read(address, **{"If-None-Match": '"other"'}).status_code == 200
    assert read(f"{address}?include=", **{"If-None-Match": tag}).status_code == 200
    Job.objects.filter(pk=jobs[2].pk).update(review_state="open")
    changed = read(address, **{"If-None-Match": tag})
    assert (changed.status_code, changed.headers["ETag"] != tag) == (200, True)
    assert "ETag" not in read(f"/v1/jobs/{jobs[3].public_id}").headers


def test_rerun(
    client: Client, read: Any, bearer: Any, outsider_bearer: Any, jobs: list[Job], organization: Any
) -> None:
    ThresholdProfile.objects.create(organization=organization, name="strict", fake_at=0.9, real_below=0.5)
    address = f"/v1/jobs/{jobs[2].public_id}/rerun"

    def post(body: Any, headers: Any = bearer) -> Any:
        return client.post(address, body, headers=headers, content_type="application/json")

    answer = post({"threshold_profile": "strict", "stability": "full"})
    assert answer.status_code == 202
    job = Job.objects.get(pk=answer.json()["job_id"].removeprefix("job_"))
    assert (job.media, job.stability, job.threshold_profile and job.threshold_profile.name) == (
        jobs[2].media,
        "full",
        "strict",
    )
    assert post({}).status_code == 202
    assert post({"threshold_profile": "none"}).json()["code"] == "threshold_profile_unknown"
    assert set(post({"stabilty": "full"}).json()["fields"]) == {"stabilty"}
    assert post({}, outsider_bearer).status_code == 404
    assert post({}, {}).status_code == 401


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/media", {"url": "https://a.example.org/x.jpg", "urll": "x"}, "urll"),
        ("/v1/detect", {"url": "https://a.example.org/x.jpg", "treshold_profile": "x"}, "treshold_profile"),
        ("/v1/feedback", {"job_id": "job_1", "label": "fake", "note": "x"}, "note"),
        ("/v1/uploads/direct", {"size_bytes": 5, "name": "x"}, "name"),
    ],
)
def test_unknown_fields_are_refused_by_name(path: str, body: Any, field: str, client: Client, bearer: Any) -> None:
    answer = client.post(path, body, headers=bearer, content_type="application/json")
    assert (answer.status_code, set(answer.json()["fields"])) == (400, {field})
    assert "There is no such field" in answer.json()["detail"]


def test_action_without_options_takes_none(client: Client, bearer: Any, job: Job) -> None:
    path = f"/v1/jobs/{job.public_id}/cancel"
    answer = client.post(path, {"force": True}, headers=bearer, content_type="application/json")
    assert (answer.status_code, set(answer.json()["fields"])) == (400, {"force"})


# Items ----------------------------------------------------------------------------------------------------------------


def test_items_are_listed(read: Any, client: Client, outsider_bearer: Any, organization: Any) -> None:
    old = factories.make_media(organization, created_at=timezone.now() - timedelta(days=1), sha256="cd" * 32)
    new = factories.make_media(organization, kind="audio")
    factories.make_media(organization, deleted_at=timezone.now())
    assert [row["media_id"] for row in read("/v1/media").json()["results"]] == [new.public_id, old.public_id]
    assert [row["media_id"] for row in read("/v1/media?kind=audio").json()["results"]] == [new.public_id]
    assert [row["media_id"] for row in read(f"/v1/media?sha256={'cd' * 32}").json()["results"]] == [old.public_id]
    page = read("/v1/media?limit=1").json()
    assert read(page["next"]).json()["results"][0]["media_id"] == old.public_id
    assert read("/v1/media?cursor=nonsense").json()["code"] == "cursor_invalid"
    assert client.get("/v1/media", headers=outsider_bearer).json()["results"] == []
    assert client.get("/v1/media").status_code == 401


async def body_of(answer: Any) -> bytes:
    return b"".join([block async for block in answer.streaming_content])


@pytest.mark.django_db(transaction=True)
async def test_uri_gives_the_bytes_to_the_key(bearer: Any, outsider_bearer: Any, media: Any) -> None:
    client = AsyncClient()
    facts = await client.get(f"/v1/media/{media.public_id}", headers=bearer)
    uri = facts.json()["uri"].removeprefix("http://testserver")
    answer = await client.get(uri, headers=bearer)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/png")
    assert await body_of(answer) == factories.png_bytes()
    assert answer.headers["Content-Disposition"].startswith("attachment")
    part = await client.get(uri, headers={**bearer, "Range": "bytes=2-5"})
    assert (part.status_code, await body_of(part)) == (206, factories.png_bytes()[2:6])
    assert (await client.get(uri, headers={**bearer, "Range": "bytes=99999999-"})).status_code == 416
    assert (await client.get(uri, headers=outsider_bearer)).status_code == 404
    assert (await client.get(uri)).status_code == 401


def test_file_of_an_address_that_was_not_fetched(read: Any, organization: Any) -> None:
    media = factories.make_media(organization, storage_name="", source_url="https://a.example.org/x.jpg")
    assert read(f"/v1/media/{media.public_id}/file").status_code == 404


def test_item_is_deleted_with_its_key(client: Client, bearer: Any, outsider_bearer: Any, media: Any) -> None:
    address = f"/v1/media/{media.public_id}"
    assert client.delete(address, headers=outsider_bearer).status_code == 404
    assert client.delete(address).status_code == 401
    assert client.delete(address, headers=bearer).status_code == 204
    assert not storage.exists(media.storage_name)
    assert not Media.objects.exists()
    assert client.get(address, headers=bearer).status_code == 404


def test_analysed_item_is_deleted_only_with_its_analyses(client: Client, bearer: Any, job: Job) -> None:
    factories.make_job(organization=job.organization, media=job.media)
    address = f"/v1/media/{job.media.public_id}"
    answer = client.delete(address, headers=bearer)
    assert (answer.status_code, answer.json()["code"]) == (409, "media_in_use")
    assert client.delete(f"{address}?with_jobs=perhaps", headers=bearer).status_code == 400
    assert client.delete(f"{address}?with_jobs=true", headers=bearer).status_code == 204
    assert not Job.objects.exists()
    assert not storage.exists(job.media.storage_name)


# Thresholds -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def strict(organization: Any) -> ThresholdProfile:
    return ThresholdProfile.objects.create(
        organization=organization, name="strict", kind="image", host="example.org", fake_at=0.9, real_below=0.5
    )


def test_thresholds(read: Any, client: Client, outsider_bearer: Any, strict: ThresholdProfile) -> None:
    names = {row["name"]: row for row in read("/v1/thresholds").json()["results"]}
    assert {"strict", "default_image", "default_video", "default_audio"} <= set(names)
    assert (names["strict"]["shipped"], names["strict"]["fake"], names["default_image"]["shipped"]) == (
        False,
        0.9,
        True,
    )
    narrowed = {row["name"] for row in read("/v1/thresholds?kind=image").json()["results"]}
    assert narrowed == {"strict", "default_image"}
    for spelled in ("strict", f"thr_{strict.pk.hex}", str(strict.pk)):
        assert read(f"/v1/thresholds/{spelled}").json()["name"] == "strict"
        assert client.get(f"/v1/thresholds/{spelled}", headers=outsider_bearer).status_code == 404
    assert client.get("/v1/thresholds").status_code == 401
    assert client.post("/v1/thresholds").status_code in (401, 405)


def test_which_thresholds_would_fit(read: Any, organization: Any, strict: ThresholdProfile) -> None:
    here = factories.make_media(organization, source_url="https://www.example.org/x.png")
    body = read(f"/v1/thresholds/match?media_id={here.public_id}").json()
    assert body["chosen"]["name"] == "strict"
    assert [row["name"] for row in body["fitting"]] == ["strict", "default_image"]
    assert read("/v1/thresholds/match?kind=image&host=a.example.org").json()["chosen"]["name"] == "strict"
    assert read("/v1/thresholds/match?kind=image&host=else.test").json()["chosen"]["name"] == "default_image"
    assert set(read("/v1/thresholds/match").json()["fields"]) == {"kind"}
    assert read(f"/v1/thresholds/match?media_id={here.public_id}&kind=image").status_code == 400
    assert read("/v1/thresholds/match?media_id=med_0").status_code == 404


# Audit ----------------------------------------------------------------------------------------------------------------


def test_audit_log(
    client: Client, bearer: Any, organization: Any, other_organization: Any, alice: Any, job: Job
) -> None:
    _, text = create_api_key(organization=organization, scopes=["admin:read"])
    headers = {"Authorization": f"Bearer {text}"}
    audit.record(action="job.started", organization=organization, actor=alice, target=job, details={"n": 1})
    audit.record(action="job.deleted", organization=organization)
    audit.record(action="media.submitted", organization=organization)
    audit.record(action="job.started", organization=other_organization)

    def found(query: str = "") -> list[dict[str, Any]]:
        answer = client.get(f"/v1/audit?{query}", headers=headers)
        assert answer.status_code == 200
        return answer.json()["results"]

    assert [row["action"] for row in found()[:3]] == ["media.submitted", "job.deleted", "job.started"]
    assert {row["action"] for row in found("action=job.")} == {"job.started", "job.deleted"}
    (one,) = found("action=job.started")
    assert (one["actor"], one["target_id"], one["details"]) == ("alice", str(job.pk), {"n": 1})
    assert one["entry_id"].startswith("aud_")
    assert found("actor=alice") == [one]
    assert found(f"target_type=job&target_id={job.pk}") == [one]
    assert found("since=2100-01-01") == []
    page = client.get("/v1/audit?limit=1", headers=headers).json()
    assert client.get(page["next"], headers=headers).json()["results"][0]["action"] == "job.deleted"
    assert client.get("/v1/audit", headers=bearer).status_code == 403
    assert client.get("/v1/audit").status_code == 401
    client.force_login(alice)
    assert client.get("/v1/audit").status_code == 403


@pytest.mark.parametrize(
    ("scopes", "status"),
    [(["audit:read"], 200), (["admin:read"], 200), (["admin:*"], 200), (["admin:write", "detect:*"], 403)],
)
def test_keys_that_read_the_audit_log(client: Client, organization: Any, scopes: list[str], status: int) -> None:
    _, text = create_api_key(organization=organization, scopes=scopes)
    assert client.get("/v1/audit", headers={"Authorization": f"Bearer {text}"}).status_code == status


@pytest.mark.parametrize(
    ("permission", "audit_status", "keys_status"), [("keys.manage", 403, 200), ("audit.read", 200, 403)]
)
def test_who_manages_keys_and_who_reads_the_audit_log_are_two(
    client: Client,
    organization: Any,
    administrator: Any,
    vera: Any,
    permission: str,
    audit_status: int,
    keys_status: int,
) -> None:
    role = roles.create_role(organization=organization, name="One", permissions=[permission], actor=administrator)
    roles.set_role(member=vera, custom_role=role, actor=administrator)
    client.force_login(vera)
    assert client.get("/v1/audit").status_code == audit_status
    assert client.get("/v1/keys").status_code == keys_status


def test_only_who_reads_the_audit_log_gives_a_key_that_does(
    client: Client, organization: Any, administrator: Any, vera: Any
) -> None:
    """admin:read opens it too, for the keys that had it before there was a scope for it."""
    role = roles.create_role(organization=organization, name="Keys", permissions=["keys.manage"], actor=administrator)
    roles.set_role(member=vera, custom_role=role, actor=administrator)
    reader, _ = create_api_key(organization=organization, scopes=["admin:read"])
    client.force_login(vera)

    def asked(method: str, address: str, **body: Any) -> int:
        return int(client.generic(method, address, json.dumps(body), content_type="application/json").status_code)

    for scope in ("audit:read", "admin:read", "admin:*"):
        assert asked("POST", "/v1/keys", name="Mine", scopes=[scope]) == 403, scope
    assert asked("POST", f"/v1/keys/{reader.public_id}/rotate") == 403
    assert asked("POST", "/v1/keys", name="Mine", scopes=["admin:write"]) == 201
    page = client.get("/settings/api-keys/new/").text
    assert ('value="admin:write"' in page, 'value="admin:read"' in page, "audit:read" in page) == (True, False, False)
    client.force_login(administrator)
    for scope in ("audit:read", "admin:read", "admin:*"):
        assert asked("POST", "/v1/keys", name="Hers", scopes=[scope]) == 201, scope
    assert 'value="audit:read"' in client.get("/settings/api-keys/new/").text
