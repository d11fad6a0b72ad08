"""The same request sent again gets the first answer again, and does nothing twice."""

from __future__ import annotations

import re
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.test import Client
from django.utils import timezone

from deepfake.errors import DomainError
from detection import idempotency
from detection.models import IdempotencyKey, Job, Media
from tests import factories
from tests.detection.conftest import upload

pytestmark = [pytest.mark.services, pytest.mark.django_db(transaction=True)]


def post(bearer: dict[str, str], key: str, path: str = "/v1/detect", **data: Any) -> Any:
    headers = {**bearer, "Idempotency-Key": key} if key else bearer
    if "file" in data:
        return Client().post(path, data, headers=headers)
    return Client().post(path, data, headers=headers, content_type="application/json")


def test_repeat_gets_the_first_answer(bearer: Any, media: Any) -> None:
    first = post(bearer, "a", media_id=media.public_id)
    second = post(bearer, "a", media_id=media.public_id)
    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json() == second.json()
    assert second.headers["Idempotent-Replayed"] == "true"
    assert Job.objects.count() == 1


def test_repeated_upload_is_stored_once(bearer: Any) -> None:
    first = post(bearer, "a", "/v1/media", file=upload())
    second = post(bearer, "a", "/v1/media", file=upload())
    assert first.json() == second.json()
    assert Media.objects.count() == 1


def test_other_body_under_the_same_key_is_refused(bearer: Any, media: Any) -> None:
    post(bearer, "a", media_id=media.public_id)
    other = post(bearer, "a", media_id=media.public_id, mode="image")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    post(bearer, "b", "/v1/media", file=upload())
    other = post(bearer, "b", "/v1/media", file=upload(factories.png_bytes(8, 8)))
    assert other.status_code == 422


def test_another_caller_may_use_the_same_key(bearer: Any, outsider_bearer: Any) -> None:
    first = post(bearer, "a", "/v1/media", file=upload())
    second = post(outsider_bearer, "a", "/v1/media", file=upload())
    assert first.json()["media_id"] != second.json()["media_id"]


def test_without_a_key_every_request_is_new(bearer: Any, media: Any) -> None:
    for _ in range(2):
        assert post(bearer, "", media_id=media.public_id).status_code == 202
    assert Job.objects.count() == 2


def test_refused_request_frees_its_key(bearer: Any, media: Any) -> None:
    refused = post(bearer, "a", media_id=media.public_id, threshold_profile="unknown")
    assert refused.status_code == 400
    assert not IdempotencyKey.objects.exists()
    assert post(bearer, "a", media_id=media.public_id).status_code == 202


def test_still_running_is_told(bearer: Any, organization: Any, api_key: Any, media: Any) -> None:
    owner = f"key:{api_key.pk}"
    with idempotency.once(organization=organization, owner=owner, key="a", request_hash="x"):
        with pytest.raises(DomainError) as refused, again(organization, owner, "x"):
            pass
        assert (refused.value.status, refused.value.code) == (409, "idempotency_in_progress")
        with pytest.raises(DomainError) as refused, again(organization, owner, "y"):
            pass
        assert refused.value.status == 422


def again(organization: Any, owner: str, digest: str) -> Any:
    return idempotency.once(organization=organization, owner=owner, key="a", request_hash=digest)


def test_key_of_a_killed_request_can_be_taken_over(organization: Any) -> None:
    long_ago = timezone.now() - idempotency.ABANDONED_AFTER * 2
    dead = IdempotencyKey.objects.create(
        organization=organization, owner="user:1", key="a", request_hash="x", created_at=long_ago
    )
    with again(organization, "user:1", "x") as second:
        second.finish(201, {"n": 2})
    # Should the first not be dead but slow, its answer comes too late and its transaction is undone.
    with pytest.raises(DomainError):
        idempotency.Once(dead).finish(201, {"n": 1})
    with again(organization, "user:1", "x") as third:
        assert third.answer == (201, {"n": 2})


def test_old_keys_are_forgotten(organization: Any) -> None:
    for hours in (23, 25):
        created_at = timezone.now() - timedelta(hours=hours)
        IdempotencyKey.objects.create(
            organization=organization, owner="user:1", key=str(hours), request_hash="x", created_at=created_at
        )
    assert idempotency.forget_old() == 1
    assert IdempotencyKey.objects.get().key == "23"


@pytest.mark.parametrize("key", ["x" * 201, "tab\there", "two words", "naïve", ""])
def test_strange_keys_are_refused(key: str, bearer: Any, media: Any) -> None:
    sent = {**bearer, "Idempotency-Key": key}
    body = {"media_id": media.public_id}
    answer = Client().post("/v1/detect", body, headers=sent, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_invalid")


@pytest.mark.parametrize("what", ["detect", "upload"])
def test_twenty_at_once_do_it_once(what: str, bearer: Any, media: Any) -> None:
    answers: list[Any] = []
    gate = threading.Barrier(20)

    def send() -> None:
        try:
            gate.wait()
            if what == "upload":
                answers.append(post(bearer, "a", "/v1/detect", file=upload()))
            else:
                answers.append(post(bearer, "a", media_id=media.public_id))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=send) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 20
    assert {answer.status_code for answer in answers} <= {202, 409}
    taken = [answer.json() for answer in answers if answer.status_code == 202]
    assert taken
    assert all(body == taken[0] for body in taken)
    assert Job.objects.count() == 1
    assert Media.objects.count() == (2 if what == "upload" else 1)


def test_form_sent_twice_starts_one_analysis(client: Client, alice: Any) -> None:
    client.force_login(alice)
    token = re.search(r'name="token" value="([0-9a-f]{32})"', client.get("/").content.decode())
    assert token
    first, second = (client.post("/analyses/", {"files": upload(), "token": token.group(1)}) for _ in range(2))
    assert (first.status_code, first.headers["Location"]) == (302, second.headers["Location"])
    assert Job.objects.count() == 1
    client.post("/analyses/", {"files": upload(factories.png_bytes(9, 9)), "token": token.group(1)})
    assert Job.objects.count() == 2, "another file from the same page is another request"
