"""Addresses of artifacts are signed and expire; their bytes come in ranges."""

from __future__ import annotations

import time
import uuid
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import AsyncClient, RequestFactory

from deepfake import storage
from detection import artifacts, ranges
from detection.models import JobStatus
from tests import factories

pytestmark = pytest.mark.services


@pytest.fixture
def artifact(organization: Any) -> Any:
    job = factories.make_job(organization=organization, status=JobStatus.COMPLETED)
    return factories.make_artifact(factories.make_result(job))


def signed_query(artifact: Any, **options: Any) -> tuple[str, str]:
    query = parse_qs(urlsplit(artifacts.signed_path(artifact, **options)).query)
    return query["expires"][0], query["signature"][0]


def test_signature_opens_its_artifact(artifact: Any) -> None:
    assert artifacts.verify(artifact.id, *signed_query(artifact))
    assert artifacts.verify(str(artifact.id), *signed_query(artifact))


def test_signature_opens_nothing_else(artifact: Any) -> None:
    expires, signature = signed_query(artifact)
    assert not artifacts.verify(uuid.uuid4(), expires, signature)
    assert not artifacts.verify(artifact.id, str(int(expires) + 1), signature)
    assert not artifacts.verify(artifact.id, expires, signature[:-1] + ("0" if signature[-1] != "0" else "1"))
    for nonsense in ("", "x", "-1", "1e9", "٣", "9" * 40):
        assert not artifacts.verify(artifact.id, nonsense, signature)
    assert not artifacts.verify(artifact.id, expires, "ü")


def test_signature_expires(artifact: Any, monkeypatch: Any) -> None:
    expires, signature = signed_query(artifact)
    monkeypatch.setattr(artifacts.time, "time", lambda: float(expires) - 1)
    assert artifacts.verify(artifact.id, expires, signature)
    monkeypatch.setattr(artifacts.time, "time", lambda: float(expires))
    assert not artifacts.verify(artifact.id, expires, signature)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", None),
        ("bytes=0-99", (0, 100)),
        ("bytes=10-", (10, 990)),
        ("bytes=-100", (900, 100)),
        ("bytes=-5000", (0, 1000)),
        ("bytes=990-5000", (990, 10)),
        ("bytes=999-999", (999, 1)),
        ("bytes=5-2", None),
        ("bytes=0-1,5-6", None),
        ("items=0-1", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=٣-٤", None),
    ],
)
def test_ranges_are_understood(header: str, expected: tuple[int, int] | None) -> None:
    found = ranges.parse(header, 1000)
    assert (None if found is None else (found.start, found.length)) == expected


@pytest.mark.parametrize("header", ["bytes=1000-", "bytes=5000-6000", "bytes=-0", "bytes=" + "9" * 30 + "-"])
def test_ranges_outside_are_unsatisfiable(header: str) -> None:
    with pytest.raises(ranges.Unsatisfiable):
        ranges.parse(header, 1000)


CONTENT = bytes(range(256)) * 2000  # 512,000 bytes: several encrypted chunks and several blocks


async def ask(name: str, header: str = "", method: str = "get") -> Any:
    request = getattr(RequestFactory(), method)("/", headers={"Range": header} if header else {})
    return await ranges.respond(request, name, content_type="video/mp4", filename="a b.mp4")


async def body_of(response: Any) -> bytes:
    return b"".join([block async for block in response])


@pytest.fixture
def stored() -> str:
    return storage.save_encrypted("media", CONTENT, organization_id=uuid.uuid4())


async def test_whole_object(stored: str) -> None:
    response = await ask(stored)
    assert response.status_code == 200
    assert (response["Content-Length"], response["Accept-Ranges"]) == (str(len(CONTENT)), "bytes")
    assert response["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in response["Content-Security-Policy"]
    assert await body_of(response) == CONTENT


async def test_part_of_an_object(stored: str) -> None:
    response = await ask(stored, "bytes=65530-330000")
    assert response.status_code == 206
    assert response["Content-Range"] == f"bytes 65530-330000/{len(CONTENT)}"
    assert await body_of(response) == CONTENT[65530:330001]


async def test_beyond_the_end(stored: str) -> None:
    response = await ask(stored, "bytes=512000-")
    assert response.status_code == 416
    assert response["Content-Range"] == "bytes */512000"


async def test_head_has_no_body(stored: str) -> None:
    response = await ask(stored, "bytes=0-9", "head")
    assert (response.status_code, response["Content-Length"], response.content) == (206, "10", b"")


@pytest.mark.django_db(transaction=True)
async def test_forged_address_is_not_found(async_client: AsyncClient, artifact: Any, alice: Any) -> None:
    await async_client.aforce_login(alice)
    path = f"/artifacts/{artifact.id}?expires={int(time.time()) + 60}&signature={'0' * 64}"
    assert (await async_client.get(path)).status_code in (403, 404, 410)
