"""Resumable uploads (tus 1.0), and uploads directly to a bucket."""

from __future__ import annotations

import base64
import hashlib
import io
from datetime import timedelta
from typing import Any

import pytest
import requests
from django.core.files.storage import storages
from django.test import Client, override_settings
from django.utils import timezone

from accounts.api_keys import create_api_key
from accounts.models import AuditLog
from deepfake import storage
from detection import ingest, uploads
from detection.models import Media, Upload, UploadPart, UploadState
from tests import factories
from tests.detection.conftest import wav_bytes

pytestmark = [pytest.mark.services, pytest.mark.django_db]

TUS = {"Tus-Resumable": "1.0.0"}
PIECE = "application/offset+octet-stream"
CONTENT = factories.png_bytes(64, 48) + b"\x00" * 5000


@pytest.fixture
def tus(client: Client, bearer: Any) -> Any:
    def send(method: str, path: str, body: bytes | None = None, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {"data": body, "content_type": PIECE} if body is not None else {}
        return client.generic(
            method, path.removeprefix("http://testserver"), headers={**bearer, **TUS, **named}, **sent
        )

    return send


def begin(tus: Any, content: bytes = CONTENT, **headers: str) -> str:
    name = base64.b64encode("../é portrait.png".encode()).decode()
    answer = tus("POST", "/v1/uploads", Upload_Length=str(len(content)), Upload_Metadata=f"filename {name}", **headers)
    assert answer.status_code == 201, answer.content
    return answer.headers["Location"]


def test_pieces_become_an_item(tus: Any, api_key: Any) -> None:
    address = begin(tus)
    assert tus("HEAD", address).headers["Upload-Offset"] == "0"
    answer = tus("PATCH", address, CONTENT[:3000], Upload_Offset="0")
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, "3000")
    assert answer.headers["Upload-Expires"].endswith("GMT")
    head = tus("HEAD", address)
    assert (head.status_code, head.headers["Upload-Offset"]) == (200, "3000")
    assert head.headers["Upload-Length"] == str(len(CONTENT))
    assert head.headers["Cache-Control"] == "no-store"
    answer = tus("PATCH", address, CONTENT[3000:], Upload_Offset="3000")
    media = Media.objects.get()
    assert (answer.status_code, answer.headers["Media-Id"]) == (204, media.public_id)
    assert storage.open_decrypted(media.storage_name).read() == CONTENT
    assert (media.sha256, media.filename) == (hashlib.sha256(CONTENT).hexdigest(), "é portrait.png")
    assert (media.kind, media.api_key) == ("image", api_key)
    body = tus("GET", address).json()
    assert (body["state"], body["media_id"], body["offset"]) == ("completed", media.public_id, len(CONTENT))
    assert not UploadPart.objects.exists()
    again = tus("PATCH", address, b"", Upload_Offset=str(len(CONTENT)))
    assert (again.status_code, again.headers["Media-Id"]) == (204, media.public_id)


def test_pieces_lie_encrypted(tus: Any, data_dir: Any) -> None:
    address = begin(tus)
    tus("PATCH", address, CONTENT[:3000], Upload_Offset="0")
    stored = [path.read_bytes() for path in data_dir.rglob("*") if path.is_file()]
    assert UploadPart.objects.count() == 1
    assert not any(CONTENT[:64] in content for content in stored)


def test_first_piece_may_come_with_the_announcement(tus: Any) -> None:
    answer = tus("POST", "/v1/uploads", CONTENT[:1000], Upload_Length=str(len(CONTENT)))
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (201, "1000")
    answer = tus("POST", "/v1/uploads", CONTENT, Upload_Length=str(len(CONTENT)))
    assert answer.headers["Media-Id"] == Media.objects.get().public_id


def test_piece_at_the_wrong_place(tus: Any) -> None:
    address = begin(tus)
    tus("PATCH", address, CONTENT[:100], Upload_Offset="0")
    for offset in ("0", "50", "101"):
        answer = tus("PATCH", address, CONTENT[:100], Upload_Offset=offset)
        assert (answer.status_code, answer.json()["code"]) == (409, "upload_offset")
    assert UploadPart.objects.count() == 1


def test_two_pieces_for_one_place(tus: Any, organization: Any) -> None:
    begin(tus)
    first, second = (Upload.objects.get() for _ in range(2))
    pieces = [uploads.store_piece(upload, offset=0, stream=io.BytesIO(CONTENT[:9])) for upload in (first, second)]
    uploads.add_piece(pieces[0])
    with pytest.raises(uploads.DomainError) as refused:
        uploads.add_piece(pieces[1])
    assert refused.value.code == "upload_offset"
    assert not storage.exists(pieces[1].storage_name)


@pytest.mark.parametrize("name", ["md5", "sha1", "sha256", "sha512"])
def test_checksums(name: str, tus: Any) -> None:
    address = begin(tus)
    good = base64.b64encode(hashlib.new(name, CONTENT[:100]).digest()).decode()
    bad = base64.b64encode(hashlib.new(name, b"other").digest()).decode()
    answer = tus("PATCH", address, CONTENT[:100], Upload_Offset="0", Upload_Checksum=f"{name} {bad}")
    assert (answer.status_code, answer.json()["code"]) == (460, "checksum_mismatch")
    assert tus("HEAD", address).headers["Upload-Offset"] == "0"
    answer = tus("PATCH", address, CONTENT[:100], Upload_Offset="0", Upload_Checksum=f"{name} {good}")
    assert answer.status_code == 204


@pytest.mark.parametrize("value", ["crc32 AAAA", "sha1 !!", "sha1 AAAA", "sha1"])
def test_strange_checksums(value: str, tus: Any) -> None:
    answer = tus("PATCH", begin(tus), b"x", Upload_Offset="0", Upload_Checksum=value)
    assert (answer.status_code, answer.json()["code"]) == (400, "header_invalid")


def test_more_than_announced(tus: Any) -> None:
    address = begin(tus)
    answer = tus("PATCH", address, CONTENT + b"x", Upload_Offset="0")
    assert (answer.status_code, answer.json()["code"]) == (413, "upload_too_long")
    assert not UploadPart.objects.exists()


def test_what_cannot_be_analysed_is_refused_with_its_first_piece(tus: Any) -> None:
    content = b"PK\x03\x04" + b"x" * 200_000
    address = begin(tus, content)
    answer = tus("PATCH", address, content[:100_000], Upload_Offset="0")
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_type")
    body = tus("GET", address).json()
    assert (body["state"], body["error"]["code"]) == ("refused", "unsupported_type")
    assert tus("HEAD", address).status_code == 410
    assert tus("PATCH", address, b"x", Upload_Offset="0").status_code == 415


def test_picture_that_is_too_large_is_refused_at_the_end(tus: Any, settings: Any) -> None:
    settings.MAX_IMAGE_BYTES = 1000
    address = begin(tus)
    answer = tus("PATCH", address, CONTENT, Upload_Offset="0")
    assert (answer.status_code, answer.json()["code"]) == (413, "file_too_large")
    assert tus("GET", address).json()["state"] == "refused"
    assert not UploadPart.objects.exists()
    assert not Media.objects.exists()


def test_fault_of_ours_leaves_the_upload_to_be_finished(tus: Any, monkeypatch: Any) -> None:
    address = begin(tus)
    with monkeypatch.context() as patched:

        def full(*args: Any, **kwargs: Any) -> Any:
            raise ingest.DomainError("The disk is full.", "storage_full", 507)

        patched.setattr(ingest, "store", full)
        assert tus("PATCH", address, CONTENT, Upload_Offset="0").status_code == 507
    assert tus("HEAD", address).headers["Upload-Offset"] == str(len(CONTENT))
    answer = tus("PATCH", address, b"", Upload_Offset=str(len(CONTENT)))
    assert answer.headers["Media-Id"] == Media.objects.get().public_id


def test_sweep_finishes_what_a_killed_process_left(tus: Any) -> None:
    address = begin(tus)
    upload = Upload.objects.get()
    uploads.add_piece(uploads.store_piece(upload, offset=0, stream=io.BytesIO(CONTENT)))
    Upload.objects.update(finishing_at=timezone.now() - timedelta(minutes=1))
    uploads.sweep()
    assert not Media.objects.exists(), "another process is at it"
    Upload.objects.update(finishing_at=timezone.now() - timedelta(minutes=10))
    uploads.sweep()
    assert tus("GET", address).json()["media_id"] == Media.objects.get().public_id


def test_abandoned_uploads_are_forgotten_with_their_pieces(tus: Any, data_dir: Any) -> None:
    address = begin(tus)
    tus("PATCH", address, CONTENT[:100], Upload_Offset="0")
    (part,) = UploadPart.objects.all()
    uploads.sweep()
    assert storage.exists(part.storage_name)
    Upload.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert tus("HEAD", address).status_code == 410
    assert tus("PATCH", address, b"x", Upload_Offset="100").json()["code"] == "upload_expired"
    uploads.sweep()
    assert not storage.exists(part.storage_name)
    assert tus("HEAD", address).status_code == 404


def test_termination(tus: Any) -> None:
    address = begin(tus)
    tus("PATCH", address, CONTENT[:100], Upload_Offset="0")
    (part,) = UploadPart.objects.all()
    assert tus("DELETE", address).status_code == 204
    assert not storage.exists(part.storage_name)
    assert tus("HEAD", address).status_code == 404


def test_versions_and_extensions(client: Client, bearer: Any, tus: Any) -> None:
    answer = client.options("/v1/uploads")
    assert answer.status_code == 204
    assert (answer.headers["Tus-Version"], answer.headers["Tus-Resumable"]) == ("1.0.0", "1.0.0")
    assert set(answer.headers["Tus-Extension"].split(",")) == {
        "creation",
        "creation-with-upload",
        "termination",
        "checksum",
        "expiration",
    }
    assert int(answer.headers["Tus-Max-Size"]) > 0
    assert "sha1" in answer.headers["Tus-Checksum-Algorithm"]
    for version in ("", "0.2.2"):
        answer = tus("POST", "/v1/uploads", Upload_Length="5", Tus_Resumable=version)
        assert (answer.status_code, answer.json()["code"]) == (412, "tus_version")
        assert answer.headers["Tus-Version"] == "1.0.0"


def test_method_override(client: Client, bearer: Any, tus: Any) -> None:
    address = begin(tus)
    answer = tus("POST", address, CONTENT[:100], Upload_Offset="0", X_HTTP_Method_Override="PATCH")
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, "100")


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 400, "header_invalid"),
        ({"Upload_Length": "-1"}, 400, "header_invalid"),
        ({"Upload_Length": "٣"}, 400, "header_invalid"),
        ({"Upload_Length": "0"}, 400, "file_empty"),
        ({"Upload_Length": "999999999999999"}, 413, "file_too_large"),
        ({"Upload_Defer_Length": "1"}, 400, "header_invalid"),
        ({"Upload_Length": "5", "Upload_Metadata": "filename ???"}, 400, "header_invalid"),
        ({"Upload_Length": "5", "Upload_Metadata": ",,"}, 400, "header_invalid"),
        ({"Upload_Length": "5", "Upload_Metadata": "x" * 4001}, 400, "header_invalid"),
    ],
)
def test_strange_announcements(headers: Any, status: int, code: str, tus: Any) -> None:
    answer = tus("POST", "/v1/uploads", **headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert not Upload.objects.exists()


def test_too_many_under_way(tus: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(uploads, "MOST_OPEN", 2)
    begin(tus)
    begin(tus)
    answer = tus("POST", "/v1/uploads", Upload_Length="5")
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_uploads")


def test_other_bodies_and_strangers(
    client: Client, tus: Any, bearer: Any, outsider_bearer: Any, organization: Any
) -> None:
    address = begin(tus).removeprefix("http://testserver")
    json = {"content_type": "application/json", "headers": {**bearer, **TUS, "Upload-Offset": "0"}}
    assert client.patch(address, b"{}", **json).json()["code"] == "unsupported_media_type"
    for method in ("GET", "HEAD", "DELETE"):
        assert client.generic(method, address, headers={**outsider_bearer, **TUS}).status_code == 404
        assert client.generic(method, address, headers=TUS).status_code == 401
    sent = {"data": b"x", "content_type": PIECE}
    assert (
        client.generic("PATCH", address, headers={**outsider_bearer, **TUS, "Upload-Offset": "0"}, **sent).status_code
        == 404
    )
    _, text = create_api_key(organization=organization, scopes=["detect:read"])
    reader = {"Authorization": f"Bearer {text}", **TUS}
    assert client.get(address, headers=reader).status_code == 200
    assert client.generic("POST", "/v1/uploads", headers={**reader, "Upload-Length": "5"}).status_code == 403
    assert client.put(address, headers={**bearer, **TUS}).status_code == 405
    assert client.get("/v1/uploads", headers=outsider_bearer).json()["results"] == []
    assert len(client.get("/v1/uploads", headers=bearer).json()["results"]) == 1


def test_announcement_sent_twice(tus: Any) -> None:
    first, second = (begin(tus, Idempotency_Key="a") for _ in range(2))
    assert first == second
    assert Upload.objects.count() == 1
    answer = tus("POST", "/v1/uploads", Upload_Length="77", Idempotency_Key="a")
    assert answer.status_code == 422


def test_pieces_may_be_of_any_size(tus: Any) -> None:
    address, at = begin(tus), 0
    for size in (1, 2, 3, 30, len(CONTENT) - 36):
        assert tus("PATCH", address, CONTENT[at : at + size], Upload_Offset=str(at)).status_code == 204
        at += size
    assert storage.open_decrypted(Media.objects.get().storage_name).read() == CONTENT


def test_rewindable_goes_back_to_its_beginning_only() -> None:
    file = uploads.Rewindable(io.BytesIO(CONTENT))
    head = file.read(100)
    file.seek(0)
    assert file.read(100) == head
    assert head + file.read() == CONTENT
    with pytest.raises(io.UnsupportedOperation):
        file.seek(10_000)


# Directly to storage --------------------------------------------------------------------------------------------------


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Any:
    boto3 = pytest.importorskip("boto3")
    moto = pytest.importorskip("moto")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with moto.mock_aws():
        made = boto3.client("s3", region_name="us-east-1")
        made.create_bucket(Bucket="media")
        options = {"bucket_name": "media", "location": "house", "region_name": "us-east-1", "file_overwrite": False}
        backend = {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}
        static = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
        before = storages["default"]
        with override_settings(STORAGES={"default": backend, "staticfiles": static}):
            yield made
        storages._storages["default"] = before  # type: ignore[attr-defined]


@pytest.fixture
def post(client: Client, bearer: Any) -> Any:
    def send(path: str, body: Any = None, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return client.post(path, body or {}, headers={**bearer, **named}, content_type="application/json")

    return send


def keys(bucket: Any) -> set[str]:
    return {entry["Key"] for entry in bucket.list_objects_v2(Bucket="media").get("Contents", ())}


def test_directly_to_the_bucket(bucket: Any, post: Any, client: Client, bearer: Any) -> None:
    content = wav_bytes()
    answer = post("/v1/uploads/direct", {"filename": "memo.wav", "size_bytes": len(content)})
    assert answer.status_code == 201
    form = answer.json()
    complete = f"/v1/uploads/{form['upload_id']}/complete"
    assert post(complete).json()["code"] == "upload_incomplete"
    sent = requests.post(form["url"], data=form["fields"], files={"file": content}, timeout=20)
    assert sent.status_code in (200, 204)
    (quarantined,) = keys(bucket)
    assert quarantined.startswith("house/quarantine/")
    answer = post(complete, Idempotency_Key="once")
    media = Media.objects.get()
    assert (answer.status_code, answer.json()["media_id"]) == (200, media.public_id)
    assert storage.open_decrypted(media.storage_name).read() == content
    assert quarantined not in keys(bucket)
    assert AuditLog.objects.get(action="media.submitted").target_id == str(media.pk)
    assert post(complete, Idempotency_Key="once").json() == answer.json()
    assert post(complete).json()["media_id"] == media.public_id
    assert Media.objects.count() == 1


def test_direct_form_is_bound_to_place_and_size(bucket: Any, post: Any) -> None:
    form = post("/v1/uploads/direct", {"size_bytes": 1234}).json()
    policy = base64.b64decode(form["fields"]["policy"]).decode()
    assert '["content-length-range", 1234, 1234]' in policy
    assert form["fields"]["key"].endswith(form["upload_id"].removeprefix("upl_"))


def test_direct_upload_of_something_else_is_refused_and_removed(bucket: Any, post: Any) -> None:
    content = b"PK\x03\x04" + b"x" * 999
    form = post("/v1/uploads/direct", {"size_bytes": len(content)}).json()
    bucket.put_object(Bucket="media", Key=form["fields"]["key"], Body=content)
    answer = post(f"/v1/uploads/{form['upload_id']}/complete")
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_type")
    assert keys(bucket) == set()
    assert post(f"/v1/uploads/{form['upload_id']}/complete").status_code == 415


def test_abandoned_direct_upload_is_removed(bucket: Any, post: Any) -> None:
    form = post("/v1/uploads/direct", {"size_bytes": 5}).json()
    bucket.put_object(Bucket="media", Key=form["fields"]["key"], Body=b"12345")
    Upload.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    uploads.sweep()
    assert keys(bucket) == set()
    assert not Upload.objects.exists()


def test_direct_upload_takes_no_pieces(bucket: Any, post: Any, tus: Any) -> None:
    form = post("/v1/uploads/direct", {"size_bytes": 5}).json()
    answer = tus("PATCH", f"/v1/uploads/{form['upload_id']}", b"12345", Upload_Offset="0")
    assert (answer.status_code, answer.json()["code"]) == (409, "upload_is_direct")


def test_local_storage_says_so(post: Any, tus: Any) -> None:
    answer = post("/v1/uploads/direct", {"filename": "a.wav", "size_bytes": 5})
    assert (answer.status_code, answer.json()["code"]) == (409, "direct_upload_unavailable")
    assert "/v1/uploads" in answer.json()["detail"]
    address = begin(tus).removeprefix("http://testserver")
    assert post(f"{address}/complete").json()["code"] == "upload_not_direct"
    assert Upload.objects.get().state == UploadState.RECEIVING


def test_a_method_that_is_not_there_is_405_without_the_version_too(client: Client, bearer: Any) -> None:
    assert client.post(f"/v1/uploads/upl_{0:032d}", headers=bearer).status_code == 405
