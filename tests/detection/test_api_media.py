"""POST /v1/media and GET /v1/media/{id}."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from django.core.files.uploadhandler import MemoryFileUploadHandler
from django.test import Client

from accounts.api_keys import create_api_key
from accounts.models import AuditLog
from deepfake import storage
from detection.models import Job, Media
from tests import factories
from tests.detection.conftest import upload

pytestmark = [pytest.mark.services, pytest.mark.django_db]


def test_upload(client: Client, bearer: Any, api_key: Any) -> None:
    answer = client.post("/v1/media", {"file": upload(name="../me.png")}, headers=bearer)
    assert answer.status_code == 201
    body = answer.json()
    media = Media.objects.get()
    assert body["media_id"] == media.public_id == f"med_{media.id.hex}"
    assert body["uri"].endswith(f"/v1/media/{media.public_id}/file")
    assert (body["kind"], body["filename"], body["sha256"]) == ("image", "me.png", media.sha256)
    assert body["seen_before"] == []
    assert media.api_key == api_key
    assert storage.open_decrypted(media.storage_name).read() == factories.png_bytes()
    assert AuditLog.objects.filter(action="media.submitted", target_id=str(media.id)).exists()


def test_url_is_taken_and_fetched_later(client: Client, bearer: Any) -> None:
    url = "https://media.example.org/a%20b/clip.mp4"
    body = client.post("/v1/media", {"url": url}, headers=bearer, content_type="application/json").json()
    assert (body["source_url"], body["filename"], body["kind"], body["sha256"]) == (url, "clip.mp4", None, None)


def test_repeat_names_the_earlier_jobs(client: Client, bearer: Any, organization: Any) -> None:
    first = client.post("/v1/media", {"file": upload()}, headers=bearer).json()
    job = factories.make_job(organization=organization, media=Media.objects.get())
    second = client.post("/v1/media", {"file": upload()}, headers=bearer).json()
    assert second["seen_before"] == [job.public_id]
    assert second["media_id"] != first["media_id"]


def test_repeat_in_another_organisation_is_not_told(client: Client, bearer: Any, other_organization: Any) -> None:
    client.post("/v1/media", {"file": upload()}, headers=bearer)
    sha256 = Media.objects.get().sha256
    media = factories.make_media(other_organization, sha256=sha256)
    factories.make_job(organization=other_organization, media=media)
    assert client.post("/v1/media", {"file": upload()}, headers=bearer).json()["seen_before"] == []


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [(b"", 400, "file_empty"), (b"PK\x03\x04" + b"x" * 99, 415, "unsupported_type"), (b"x", 415, "unsupported_type")],
)
def test_refused_files(content: bytes, status: int, code: str, client: Client, bearer: Any) -> None:
    answer = client.post("/v1/media", {"file": upload(content)}, headers=bearer)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert not Media.objects.exists()


def test_too_large(client: Client, bearer: Any, settings: Any) -> None:
    settings.MAX_IMAGE_BYTES = 100
    answer = client.post("/v1/media", {"file": upload()}, headers=bearer)
    assert (answer.status_code, answer.json()["code"]) == (413, "file_too_large")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "nothing_sent"),
        ({"file": "text"}, "invalid"),
        ({"url": "http://127.0.0.1/a.png"}, "url_not_allowed"),
        ({"url": "http://[::ffff:10.0.0.1]/a.png"}, "url_not_allowed"),
        ({"url": "https://www.tiktok.com/@someone/video/1"}, "platform_page"),
        ({"url": "nonsense"}, "url_not_allowed"),
        ({"url": "\x00"}, "invalid"),
        ({"url": 5 * ["x"]}, "invalid"),
        ([], "invalid"),
        ('"text"', "invalid"),
    ],
)
def test_refused_bodies(body: Any, code: str, client: Client, bearer: Any) -> None:
    answer = client.post("/v1/media", body, headers=bearer, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_file_and_url_together_are_refused(client: Client, bearer: Any) -> None:
    answer = client.post("/v1/media", {"file": upload(), "url": "https://e.example.org/a.png"}, headers=bearer)
    assert (answer.status_code, answer.json()["code"]) == (400, "one_source")


def test_garbled_body_is_refused(client: Client, bearer: Any) -> None:
    answer = client.post("/v1/media", b"{", headers=bearer, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (400, "parse_error")
    answer = client.post("/v1/media", b"xx", headers=bearer, content_type="multipart/form-data; boundary=b")
    assert answer.status_code == 400
    answer = client.post("/v1/media", b"xx", headers=bearer, content_type="text/plain")
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


def test_full_disk_while_parsing_is_a_sentence(client: Client, bearer: Any, monkeypatch: Any) -> None:
    def no_space(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(MemoryFileUploadHandler, "receive_data_chunk", no_space)
    answer = client.post("/v1/media", {"file": upload()}, headers=bearer)
    assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")


def test_anonymous(client: Client) -> None:
    answer = client.post("/v1/media", {"file": upload()})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert not Media.objects.exists()


def test_wrong_key(client: Client) -> None:
    answer = client.post("/v1/media", {"file": upload()}, headers={"Authorization": "Bearer dfk_00000000_nonsense"})
    assert (answer.status_code, answer.json()["code"]) == (401, "authentication_failed")


def test_key_that_may_only_read(client: Client, organization: Any) -> None:
    _, text = create_api_key(organization=organization, scopes=["detect:read"])
    answer = client.post("/v1/media", {"file": upload()}, headers={"Authorization": f"Bearer {text}"})
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")


def test_viewer_may_not_submit(client: Client, vera: Any) -> None:
    client.force_login(vera)
    assert client.post("/v1/media", {"file": upload()}).status_code == 403


def test_wrong_method(client: Client, bearer: Any) -> None:
    answer = client.put("/v1/media", {}, headers=bearer, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")


def test_read_facts(client: Client, bearer: Any, outsider_bearer: Any, media: Any) -> None:
    for spelled in (media.public_id, str(media.id), media.id.hex):
        assert client.get(f"/v1/media/{spelled}", headers=bearer).json()["media_id"] == media.public_id
    assert client.get(f"/v1/media/{media.public_id}", headers=outsider_bearer).status_code == 404
    assert client.get("/v1/media/med_nonsense", headers=bearer).status_code == 404
    assert not Job.objects.exists()
