"""Every code that docs/api.md lists is one that the API answers: by a request here, or where another test asks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from rest_framework import serializers

from accounts import api_keys
from accounts.api_keys import create_api_key, revoke_api_key
from accounts.models import Organization, User
from deepfake import storage
from detection import api, batches, uploads
from detection.models import JobStatus, Label
from tests import factories

pytestmark = pytest.mark.django_db

GUIDE = Path(django_settings.BASE_DIR) / "docs/api.md"
JSON = "application/json"
TUS = {"Tus-Resumable": "1.0.0"}
HOOK = {"url": "https://app.example.org/hook", "events": ["*"]}
KEY = {"name": "n", "scopes": ["detect:read"]}
ANY = {"url": "https://media.example.org/a.jpg"}

# Code, method, address and body of a request that is answered with it. {…} is a row of the fixture `world`.
ASKED: list[tuple[str, str, str, Any]] = [
    ("parse_error", "POST", "/v1/detect", "{"),
    ("invalid", "POST", "/v1/detect", {"media_id": "{media}", "priority": 101}),
    ("nothing_sent", "POST", "/v1/detect", {}),
    ("one_source", "POST", "/v1/detect", {"media_id": "{media}", **ANY}),
    ("stability_unknown", "POST", "/v1/detect", {"media_id": "{media}", "stability": "x"}),
    ("stability_unknown", "POST", "/v1/jobs/{job}/rerun", {"stability": "x"}),
    ("mode_unknown", "POST", "/v1/detect", {"media_id": "{media}", "mode": "foo"}),
    ("mode_unknown", "POST", "/v1/batches", {"items": [ANY], "mode": "foo"}),
    ("mode_mismatch", "POST", "/v1/detect", {"media_id": "{media}", "mode": "audio"}),
    ("batch_too_large", "POST", "/v1/batches", {"items": [ANY] * (batches.MOST_ITEMS + 1)}),
    ("cursor_invalid", "GET", "/v1/jobs?cursor=x", None),
    ("cursor_invalid", "GET", "/v1/media?cursor=x", None),
    ("threshold_profile_unknown", "POST", "/v1/detect", {"media_id": "{media}", "threshold_profile": "x"}),
    (
        "callback_url_not_allowed",
        "POST",
        "/v1/detect",
        {"media_id": "{media}", "callback_url": "https://10.0.0.1/"},
    ),
    ("address_invalid", "POST", "/v1/keys", {**KEY, "ip_allow_list": ["x"]}),
    ("invalid_scope", "POST", "/v1/keys", {**KEY, "scopes": ["detect:fly"]}),
    ("invalid_scope", "POST", "/v1/keys", {**KEY, "scopes": []}),
    ("invalid_name", "POST", "/v1/keys", {**KEY, "name": ""}),
    ("invalid_name", "PATCH", "/v1/keys/{key}", {"name": "x" * 81}),
    ("overlap_invalid", "POST", "/v1/keys/{key}/rotate", {"overlap_hours": 1000}),
    ("overlap_invalid", "POST", "/v1/webhooks/{webhook}/rotate", {"overlap_hours": 500}),
    ("expiry_invalid", "POST", "/v1/keys", {**KEY, "expires_at": "2020-01-01T00:00:00Z"}),
    ("webhook_url_not_allowed", "POST", "/v1/webhooks", {**HOOK, "url": "http://app.example.org/"}),
    ("event_unknown", "POST", "/v1/webhooks", {**HOOK, "events": ["job.done"]}),
    ("event_unknown", "POST", "/v1/webhooks", {**HOOK, "events": []}),
    ("range_invalid", "POST", "/v1/webhooks/{webhook}/replay", {}),
    (
        "range_invalid",
        "POST",
        "/v1/webhooks/{webhook}/replay",
        {"since": "2026-11-21T10:00:00Z", "until": "2026-11-20T10:00:00Z"},
    ),
    ("retention_invalid", "POST", "/v1/detect", {"media_id": "{media}", "retention": "x"}),
    ("retention_invalid", "POST", "/v1/detect", {"media_id": "{media}", "retention_days": 0}),
    ("retention_conflict", "POST", "/v1/detect", {"media_id": "{media}", "retention": "none", "retention_days": 9}),
    ("label_unknown", "POST", "/v1/feedback", {"job_id": "{done}", "label": "genuine"}),
    ("format_unknown", "GET", "/v1/reports/{done}?format=docx", None),
    ("url_not_allowed", "POST", "/v1/media", {"url": "http://127.0.0.1/a.jpg"}),
    ("platform_page", "POST", "/v1/media", {"url": "https://youtu.be/x"}),
    ("not_found", "GET", "/v1/jobs/job_1", None),
    ("method_not_allowed", "DELETE", "/v1/models", None),
    ("key_revoked", "POST", "/v1/keys/{revoked}/rotate", {}),
    ("media_in_use", "DELETE", "/v1/media/{media}", None),
    ("job_ended", "POST", "/v1/jobs/{done}/cancel", None),
    ("job_not_completed", "POST", "/v1/feedback", {"job_id": "{job}", "label": "real"}),
    ("report_not_ready", "GET", "/v1/reports/{job}", None),
    ("direct_upload_unavailable", "POST", "/v1/uploads/direct", {"filename": "a.mp4", "size_bytes": 5}),
    ("tus_version", "POST", "/v1/uploads", None),
]

# Asked for by a test of its own, which holds what leads to it.
ELSEWHERE = {
    "receiving_full": "deepfake/test_bodies.py",
    "more_than_own_key": "detection/test_api_keys.py",
    "address_not_allowed": "accounts/test_api_key_rules.py",
    "authentication_failed": "accounts/test_api_keys.py",
    "batch_closed": "detection/test_api_batches.py",
    "batch_ended": "detection/test_api_batches.py",
    "callback_needs_api_key": "detection/test_api_detect.py",
    "checksum_mismatch": "detection/test_api_uploads.py",
    "file_too_large": "detection/test_api_media.py",
    "header_invalid": "detection/test_api_uploads.py",
    "idempotency_in_progress": "detection/test_api_idempotency_live.py",
    "idempotency_key_invalid": "detection/test_idempotency.py",
    "idempotency_key_reused": "detection/test_idempotency.py",
    "internal_error": "deepfake/test_errors.py",
    "item_kept": "detection/test_retention.py",
    "legal_hold": "detection/test_retention.py",
    "media_erased": "detection/test_retention.py",
    "not_authenticated": "accounts/test_api_keys.py",
    "original_gone": "reports/test_bundles.py",
    "permission_denied": "detection/test_api_media.py",
    "queue_full": "detection/test_back_pressure.py",
    "retention_not_allowed": "detection/test_retention.py",
    "sandbox_key": "detection/test_api_keys.py",
    "scope_not_held": "detection/test_api_keys.py",
    "second_factor_required": "accounts/test_sign_in_rules.py",
    "storage_full": "detection/test_api_media.py",
    "throttled": "detection/test_api_limits.py",
    "too_large": "deepfake/test_serve.py",
    "too_many_uploads": "detection/test_api_uploads.py",
    "too_many_webhooks": "detection/test_api_webhooks.py",
    "unsupported_media_type": "detection/test_api_media.py",
    "unsupported_type": "sdk/test_contract.py",
    "upload_expired": "detection/test_api_uploads.py",
    "upload_incomplete": "detection/test_api_uploads.py",
    "upload_is_direct": "detection/test_api_uploads.py",
    "upload_not_direct": "detection/test_api_uploads.py",
    "upload_offset": "detection/test_api_uploads.py",
    "upload_too_long": "detection/test_api_uploads.py",
    "webhook_off": "detection/test_api_webhooks.py",
}
# What no request alone can lead to, and why.
NOT_BY_A_REQUEST = {
    "bad_master_key": "the operator has damaged the master key",
    "csrf_failed": "of forms; signed-in members who call the API without its token are refused as permission_denied",
    "no_master_key": "the operator has lost the master key",
    "signing_key_unusable": "the operator has damaged the signing key",
    "storage_corrupt": "a stored file was altered behind our back",
    "upload_finished": "two processes end one upload at the same moment",
    "weights_invalid": "the operator has altered a weight file",
    "wrong_master_key": "the operator has exchanged the master key",
}


@pytest.fixture
def headers(organization: Organization) -> dict[str, str]:
    _, text = create_api_key(organization=organization, scopes=["detect:*", "webhooks:*", "admin:*"])
    return {"Authorization": f"Bearer {text}"}


@pytest.fixture
def world(organization: Organization, client: Client, headers: Any) -> dict[str, str]:
    done = factories.make_job(organization=organization, status=JobStatus.COMPLETED)
    factories.make_result(done)
    waiting = factories.make_job(organization=organization)
    key, _ = create_api_key(organization=organization, scopes=["detect:read"])
    revoked, _ = create_api_key(organization=organization, scopes=["detect:read"])
    revoke_api_key(api_key=revoked)
    webhook = client.post("/v1/webhooks", HOOK, JSON, headers=headers).json()
    return {
        "media": waiting.media.public_id,
        "job": waiting.public_id,
        "done": done.public_id,
        "key": key.public_id,
        "revoked": revoked.public_id,
        "webhook": webhook["webhook_id"],
    }


def filled(value: Any, world: dict[str, str]) -> Any:
    if isinstance(value, str):
        return re.sub(r"{(\w+)}", lambda name: world[name[1]], value)
    return {name: filled(one, world) for name, one in value.items()} if isinstance(value, dict) else value


def listed() -> dict[str, int]:
    """Code → status, of those that a request may be answered with."""
    api_table = GUIDE.read_text().partition("Only pages answer with these")[0]
    return {code: int(status) for code, status in re.findall(r"^\| `([a-z_]+)` \| (\d{3}) ", api_table, re.MULTILINE)}


@pytest.mark.parametrize(("code", "method", "path", "body"), ASKED, ids=lambda one: str(one)[:40])
def test_a_request_is_answered_with_it(
    client: Client, headers: Any, world: dict[str, str], code: str, method: str, path: str, body: Any
) -> None:
    body = filled(body, world)
    sent = {"data": body, "content_type": JSON} if body is not None else {}
    answer = getattr(client, method.lower())(filled(path, world), headers=headers, **sent)
    assert (answer.status_code, answer.json()["code"]) == (listed()[code], code), answer.json()
    assert answer.json()["detail"] == answer.json()["detail"].strip()


# Those that take more than one line -----------------------------------------------------------------------------------


def test_file_empty(client: Client, headers: Any) -> None:
    for path in ("/v1/media", "/v1/detect"):
        answer = client.post(path, {"file": SimpleUploadedFile("a.jpg", b"")}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, "file_empty")


def test_bad_request(client: Client, headers: Any) -> None:
    form = {f"field{number}": "x" for number in range(1100)}  # more than is read of a form
    answer = client.post("/v1/detect", form, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


def test_too_many_pieces(client: Client, headers: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(uploads, "MOST_PARTS", 1)
    address = client.generic("POST", "/v1/uploads", headers=headers | TUS | {"Upload-Length": "9000"})["Location"]
    content, codes = factories.png_bytes() + bytes(9000), []
    for offset in (0, 4000):
        answer = client.patch(
            address,
            content[offset : offset + 4000],
            "application/offset+octet-stream",
            headers=headers | TUS | {"Upload-Offset": str(offset)},
        )
        codes.append(answer.json()["code"] if answer.content else answer.status_code)
    assert codes == [204, "too_many_pieces"]


def test_too_many_keys(client: Client, headers: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(api_keys, "MOST_KEYS", 1)
    answer = client.post("/v1/keys", KEY, JSON, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_keys")


def test_no_organization(client: Client) -> None:
    client.force_login(get_user_model().objects.create_superuser("root", password="x"))
    client.raise_request_exception = False
    answer = client.get("/analyses/x", headers={"Accept": JSON})
    assert answer.status_code == 404
    answer = client.get("/", headers={"Accept": JSON})
    assert (answer.status_code, answer.json()["code"]) == (403, "no_organization")


def test_storage_missing(client: Client, headers: Any, organization: Organization) -> None:
    media = factories.make_media(organization)
    storage.destroy(media.storage_name)
    answer = client.get(f"/v1/media/{media.public_id}/file", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (404, "storage_missing")


def test_link_expired(client: Client, organization: Organization) -> None:
    artifact = factories.make_artifact(factories.make_result(factories.make_job(organization=organization)))
    answer = client.get(f"/artifacts/{artifact.pk}?expires=1&signature=x", headers={"Accept": JSON})
    assert (answer.status_code, answer.json()["code"]) == (403, "link_expired")


def test_role_insufficient(client: Client, vera: User) -> None:
    client.force_login(vera)
    answer = client.get("/settings/webhooks/", headers={"Accept": JSON})
    assert (answer.status_code, answer.json()["code"]) == (403, "role_insufficient")


# The table ------------------------------------------------------------------------------------------------------------


def test_every_code_of_the_table_is_asked_for() -> None:
    here = {code for code, *_ in ASKED}
    here |= {name.removeprefix("test_") for name in globals() if name.removeprefix("test_") in listed()}
    known = here | set(ELSEWHERE) | set(NOT_BY_A_REQUEST)
    assert set(listed()) - known == set(), "in the table, but no request leads to it"
    assert known - set(listed()) == set(), "asked for, but not in the table"
    assert not here & set(NOT_BY_A_REQUEST)
    for code, file in ELSEWHERE.items():
        assert f'"{code}"' in (Path(django_settings.BASE_DIR) / "tests" / file).read_text(), (code, file)


# Choices --------------------------------------------------------------------------------------------------------------


def inputs(of: type[api.StrictSerializer] = api.StrictSerializer) -> Iterator[type[api.StrictSerializer]]:
    for one in of.__subclasses__():
        yield one
        yield from inputs(one)


def test_who_chooses_wrongly_is_told_what_there_is(client: Client, headers: Any, world: dict[str, str]) -> None:
    for query, known in (
        ("jobs?status=foo", "completed"),
        ("jobs?sort=foo", "newest"),
        ("media?kind=foo", "video"),
        ("webhooks/{webhook}/deliveries?state=foo", "retrying"),
    ):
        answer = client.get(f"/v1/{filled(query, world)}", headers=headers).json()
        assert answer["code"] == "invalid"
        assert "'foo'" in answer["detail"]
        assert known in answer["detail"]
    body = {"job_id": world["done"], "label": "genuine"}
    answer = client.post("/v1/feedback", body, JSON, headers=headers).json()
    assert all(label in answer["fields"]["label"][0] for label in Label.values)
    answer = client.post("/v1/webhooks", {**HOOK, "events": ["job.done"]}, JSON, headers=headers).json()
    assert "job.done" in answer["detail"]
    assert "job.completed" in answer["detail"]


def test_all_inputs_have_choices_that_say_so() -> None:
    fields = [field for one in inputs() for field in one().fields.values()]
    assert len(fields) > 60
    assert all(isinstance(one, api.Choice) for one in fields if isinstance(one, serializers.ChoiceField))


def test_several_wrong_fields_are_all_named(client: Client, headers: Any, world: dict[str, str]) -> None:
    body = {"media_id": world["media"], "mode": "foo", "stability": "x"}
    answer = client.post("/v1/detect", body, JSON, headers=headers).json()
    assert (answer["code"], set(answer["fields"])) == ("invalid", {"mode", "stability"})
    answer = client.post("/v1/feedback", {"job_id": world["done"]}, JSON, headers=headers).json()
    assert (answer["code"], list(answer["fields"])) == ("invalid", ["label"])  # missing, not unknown
