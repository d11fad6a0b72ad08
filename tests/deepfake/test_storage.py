"""Encrypted objects: what goes in comes out, and nothing that was touched comes out at all."""

from __future__ import annotations

import errno
import io
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from django.core.files.storage import storages
from django.test import override_settings

from deepfake import storage
from deepfake.errors import DomainError

ORGANIZATION = uuid.UUID(int=7)
CHUNK = storage.CHUNK_BYTES


def pattern(length: int) -> bytes:
    """Bytes that differ at every position nearby, so that a wrong offset shows."""
    return bytes((index * 7 + index // 251) % 256 for index in range(length))


def save(content: bytes) -> str:
    return storage.save_encrypted("media", content, organization_id=ORGANIZATION)


def object_path(data_dir: Path, name: str) -> Path:
    return data_dir / "objects" / "objects" / name


def key_path(data_dir: Path, name: str) -> Path:
    return data_dir / "objects" / "data-keys" / name


@pytest.mark.parametrize("length", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 17])
def test_round_trip(length: int) -> None:
    content = pattern(length)
    name = save(content)
    assert storage.size(name) == length
    with storage.open_decrypted(name) as file:
        assert file.read() == content


@pytest.mark.parametrize(
    ("start", "length"),
    [
        (0, 1),
        (CHUNK - 1, 2),
        (CHUNK, CHUNK),
        (CHUNK - 1, CHUNK + 2),
        (2 * CHUNK + 5, 10),
        (3 * CHUNK + 10, 100),
        (0, 10 * CHUNK),
        (5 * CHUNK, 10),
        (10, 0),
    ],
)
def test_range_is_the_slice(start: int, length: int) -> None:
    content = pattern(3 * CHUNK + 17)
    name = save(content)
    assert storage.read_range(name, start, length) == content[start : start + length]
    assert b"".join(storage.iter_range(name, start, length, block_bytes=1000)) == content[start : start + length]


def test_reader_seeks() -> None:
    content = pattern(2 * CHUNK + 5)
    with storage.open_decrypted(save(content)) as file:
        assert file.seek(-5, io.SEEK_END) == 2 * CHUNK
        assert file.read() == content[-5:]
        file.seek(CHUNK - 3)
        assert file.read(6) == content[CHUNK - 3 : CHUNK + 3]


def test_source_that_gives_little_at_a_time() -> None:
    class Trickle(io.RawIOBase):
        def __init__(self, content: bytes) -> None:
            self.rest = content

        def read(self, length: int = -1) -> bytes:
            taken = min(length, 999)
            part, self.rest = self.rest[:taken], self.rest[taken:]
            return part

    content = pattern(CHUNK + 4321)
    source: Any = Trickle(content)
    name = storage.save_encrypted("media", source, organization_id=ORGANIZATION)
    assert storage.read_range(name, 0, 10**9) == content


def test_nothing_readable_lies_on_the_disk(data_dir: Path) -> None:
    name = save(b"a very recognisable sentence " * 5000)
    raw = object_path(data_dir, name).read_bytes() + key_path(data_dir, name).read_bytes()
    assert b"recognisable" not in raw
    for path in (object_path(data_dir, name), key_path(data_dir, name), data_dir / "keys" / "master.key"):
        assert path.stat().st_mode & 0o077 == 0, f"{path} can be read by others"


def test_two_saves_share_neither_key_nor_bytes(data_dir: Path) -> None:
    one, two = save(b"same"), save(b"same")
    assert one != two
    assert object_path(data_dir, one).read_bytes()[20:] != object_path(data_dir, two).read_bytes()[20:]


@pytest.mark.parametrize("position", [0, 4, 20, 25, storage.HEADER_BYTES + storage.SEALED_CHUNK_BYTES + 30, -1])
def test_changed_byte_is_found(data_dir: Path, position: int) -> None:
    name = save(pattern(2 * CHUNK + 9))
    path = object_path(data_dir, name)
    raw = bytearray(path.read_bytes())
    raw[position] ^= 1
    path.write_bytes(raw)
    with pytest.raises(storage.StorageError):
        storage.read_range(name, 0, 10**9)


def test_truncation_at_a_chunk_border_is_found(data_dir: Path) -> None:
    name = save(pattern(3 * CHUNK))
    path = object_path(data_dir, name)
    path.write_bytes(path.read_bytes()[: storage.HEADER_BYTES + 2 * storage.SEALED_CHUNK_BYTES])
    with pytest.raises(storage.StorageError):
        storage.read_range(name, 0, 1)


def test_exchanged_chunks_are_found(data_dir: Path) -> None:
    name = save(pattern(3 * CHUNK))
    path = object_path(data_dir, name)
    raw = path.read_bytes()
    first, second = storage.HEADER_BYTES, storage.HEADER_BYTES + storage.SEALED_CHUNK_BYTES
    third = second + storage.SEALED_CHUNK_BYTES
    path.write_bytes(raw[:first] + raw[second:third] + raw[first:second] + raw[third:])
    with pytest.raises(storage.StorageError):
        storage.read_range(name, 0, 1)


def test_last_chunk_cannot_pose_as_a_middle_one(data_dir: Path) -> None:
    """Even when the size in the key file were forged along, the last-chunk flag would tell."""
    name = save(pattern(2 * CHUNK))
    stored = json.loads(key_path(data_dir, name).read_text())
    stored["plain_bytes"] = CHUNK
    key_path(data_dir, name).write_text(json.dumps(stored))
    with pytest.raises(storage.StorageError, match="altered"):
        storage.size(name)


def test_object_under_another_objects_name_is_refused(data_dir: Path) -> None:
    one, two = save(b"one"), save(b"two")
    object_path(data_dir, one).write_bytes(object_path(data_dir, two).read_bytes())
    with pytest.raises(storage.StorageError):
        storage.read_range(one, 0, 10)
    key_path(data_dir, one).write_bytes(key_path(data_dir, two).read_bytes())
    with pytest.raises(storage.StorageError, match="another object"):
        storage.read_range(one, 0, 10)


def test_wrong_master_key(data_dir: Path, settings: Any) -> None:
    name = save(b"content")
    sealed = storage.seal(b"secret", context="row")
    settings.MASTER_KEY_FILE = data_dir / "keys" / "another.key"
    settings.MASTER_KEY_FILE.write_bytes(os.urandom(32))
    with pytest.raises(storage.StorageError, match="another master key"):
        storage.read_range(name, 0, 10)
    with pytest.raises(storage.StorageError):
        storage.unseal(sealed, context="row")


def test_lost_master_key_is_not_replaced(data_dir: Path, settings: Any) -> None:
    save(b"content")
    settings.MASTER_KEY_FILE = data_dir / "keys" / "lost.key"
    with pytest.raises(storage.StorageError, match="missing"):
        save(b"more")
    assert not settings.MASTER_KEY_FILE.exists()


def test_sealed_secret_opens_only_in_its_context() -> None:
    sealed = storage.seal(b"secret", context="dfk_1")
    assert storage.unseal(sealed, context="dfk_1") == b"secret"
    with pytest.raises(storage.StorageError):
        storage.unseal(sealed, context="dfk_2")


def test_destroy_leaves_nothing_that_opens(data_dir: Path) -> None:
    name = save(pattern(CHUNK))
    backup = object_path(data_dir, name).read_bytes()
    storage.destroy(name)
    storage.destroy(name)
    assert not object_path(data_dir, name).exists()
    assert not key_path(data_dir, name).exists()
    assert not storage.exists(name)
    object_path(data_dir, name).write_bytes(backup)  # restored from a backup of the media
    with pytest.raises(storage.ObjectMissing):
        storage.read_range(name, 0, 10)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "a/b/c", "a/b/../d", "/a/b/c/d", "a/b/c/d\0"])
def test_names_cannot_leave_the_storage(name: str) -> None:
    with pytest.raises(storage.ObjectMissing):
        storage.read_range(name, 0, 1)


@pytest.mark.parametrize("write_number", [1, 2])
def test_full_disk_is_a_sentence_and_leaves_nothing(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, write_number: int
) -> None:
    calls = 0
    original = os.fsync

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == write_number:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(descriptor)

    storage.ensure_master_key()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DomainError) as caught:
        save(pattern(CHUNK))
    assert (caught.value.code, caught.value.status) == ("storage_full", 507)
    assert [path for path in (data_dir / "objects").rglob("*") if path.is_file()] == []
    assert list((data_dir / "tmp").iterdir()) == []


def test_failed_source_leaves_nothing(data_dir: Path) -> None:
    class Broken(io.RawIOBase):
        def read(self, length: int = -1) -> bytes:
            raise ConnectionResetError

    broken: BinaryIO = Broken()  # type: ignore[assignment]
    with pytest.raises(ConnectionResetError):
        storage.save_encrypted("media", broken, organization_id=ORGANIZATION)
    assert list((data_dir / "tmp").iterdir()) == []


# The same over an S3 bucket -------------------------------------------------------------------------------------------


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    boto3 = pytest.importorskip("boto3")
    moto = pytest.importorskip("moto")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with moto.mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="media")
        options = {"bucket_name": "media", "location": "house", "region_name": "us-east-1", "file_overwrite": False}
        backend = {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}
        static = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
        before = storages["default"]
        with override_settings(STORAGES={"default": backend, "staticfiles": static}):
            yield client
        storages._storages["default"] = before  # type: ignore[attr-defined]


def test_bucket_round_trip_ranges_and_destruction(bucket: Any) -> None:
    content = pattern(3 * CHUNK + 17)
    name = save(content)
    assert storage.size(name) == len(content)
    assert storage.read_range(name, CHUNK - 1, CHUNK + 2) == content[CHUNK - 1 : 2 * CHUNK + 1]
    with storage.open_decrypted(name) as file:
        assert file.read() == content
    keys = {entry["Key"] for entry in bucket.list_objects_v2(Bucket="media")["Contents"]}
    assert keys == {f"house/objects/{name}", f"house/data-keys/{name}"}
    storage.destroy(name)
    assert "Contents" not in bucket.list_objects_v2(Bucket="media")
    with pytest.raises(storage.ObjectMissing):
        storage.read_range(name, 0, 1)


def test_bucket_object_that_was_cut(bucket: Any) -> None:
    name = save(pattern(2 * CHUNK))
    key = f"house/objects/{name}"
    raw = bucket.get_object(Bucket="media", Key=key)["Body"].read()
    bucket.put_object(Bucket="media", Key=key, Body=raw[:-1])
    with pytest.raises(storage.StorageError):
        storage.read_range(name, 0, 1)
    bucket.delete_object(Bucket="media", Key=key)
    with pytest.raises(storage.ObjectMissing):
        storage.read_range(name, 0, 1)
