"""A stranger's file is measured, named and stored, or refused with a sentence."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import pytest

from deepfake import storage
from deepfake.errors import DomainError
from detection import ingest
from tests import factories
from tests.detection.conftest import wav_bytes

pytestmark = pytest.mark.services


def test_stores_encrypted_with_digest_and_type(organization: Any) -> None:
    content = factories.png_bytes()
    stored = ingest.store(io.BytesIO(content), organization=organization, filename="me.exe")
    assert stored.sha256 == hashlib.sha256(content).hexdigest()
    assert (stored.kind, stored.mime_type, stored.size_bytes) == ("image", "image/png", len(content))
    assert storage.open_decrypted(stored.storage_name).read() == content


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (wav_bytes(), "audio"),
        (b"\x00\x00\x00\x20ftypM4A \x00\x00\x00\x00" + b"\x00" * 32, "audio"),
        (b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2" + b"\x00" * 32, "video"),
        (b"\xff\xd8\xff\xe0" + b"\x00" * 32, "image"),
    ],
)
def test_kind_comes_from_the_content(head: bytes, kind: str, organization: Any) -> None:
    assert ingest.store(io.BytesIO(head), organization=organization, filename="x.txt").kind == kind


@pytest.mark.parametrize(
    ("content", "status", "code", "words"),
    [
        (b"", 400, "file_empty", "empty"),
        (b"PK\x03\x04" + b"\x00" * 64, 415, "unsupported_type", "ZIP archive"),
        (b"%PDF-1.7", 415, "unsupported_type", "PDF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "unsupported_type", "SVG"),
        (b"<!DOCTYPE html><html>", 415, "unsupported_type", "web page"),
        (b"hello world", 415, "unsupported_type", "Send a picture"),
    ],
)
def test_refuses_with_a_sentence(content: bytes, status: int, code: str, words: str, organization: Any) -> None:
    with pytest.raises(DomainError, match=words) as refused:
        ingest.store(io.BytesIO(content), organization=organization)
    assert (refused.value.status, refused.value.code) == (status, code)


def test_too_large_leaves_nothing_behind(organization: Any, settings: Any, data_dir: Any) -> None:
    settings.MAX_IMAGE_BYTES = 1000
    picture = b"\xff\xd8\xff" + b"\x00" * 2000
    with pytest.raises(DomainError) as refused:
        ingest.store(io.BytesIO(picture), organization=organization)
    assert (refused.value.status, refused.value.code) == (413, "file_too_large")
    left = [path for path in data_dir.rglob("*") if path.is_file() and path.name != "master.key"]
    assert left == []


def test_item_goes_when_its_row_cannot_be_written(organization: Any, data_dir: Any) -> None:
    with pytest.raises(RuntimeError), ingest.kept(io.BytesIO(wav_bytes()), organization=organization) as stored:
        raise RuntimeError
    assert not storage.exists(stored.storage_name)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("portrait.png", "portrait.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\clip.mp4", "clip.mp4"),
        ("evil\x00\r\nname\u202egpj.exe", "evilnamegpj.exe"),
        ("  . ", ""),
        ("ünïcödé 文.jpg", "ünïcödé 文.jpg"),
        ("a" * 300 + ".jpeg", "a" * 155 + ".jpeg"),
        ("a" * 300, "a" * 160),
        ("bad\ud800surrogate.png", "badsurrogate.png"),
    ],
)
def test_names_are_made_harmless(sent: str, kept: str) -> None:
    assert ingest.clean_name(sent) == kept
