"""Open pages hear of changes, each organisation of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import AnonymousUser

from deepfake import loop
from detection import consumers, live
from tests import factories

pytestmark = [pytest.mark.services, pytest.mark.django_db(transaction=True)]


@pytest.fixture
async def server_loop() -> AsyncIterator[None]:
    loop.set_server_loop(asyncio.get_running_loop())
    yield
    loop.set_server_loop(None)


def socket_of(user: Any, path: str) -> WebsocketCommunicator:
    socket = WebsocketCommunicator(URLRouter(consumers.urlpatterns), path)
    socket.scope["user"] = user
    return socket


@pytest.mark.parametrize("watch", ["job", "organization"])
async def test_change_made_in_a_thread_arrives_at_once(watch: str, job: Any, alice: Any, server_loop: None) -> None:
    socket = socket_of(alice, f"/ws/jobs/{job.id}/" if watch == "job" else "/ws/jobs/")
    assert (await socket.connect())[0]
    job.status, job.stage, job.percent = "running", "spatial", 40
    started = time.monotonic()
    await sync_to_async(live.publish, thread_sensitive=False)(job)
    heard = await socket.receive_json_from(timeout=2)
    assert time.monotonic() - started < 0.5
    assert heard == {"job": str(job.id), "status": "running", "stage": "spatial", "percent": 40}
    await socket.disconnect()


async def test_outsider_hears_nothing(job: Any, charlie: Any, server_loop: None) -> None:
    assert not (await socket_of(charlie, f"/ws/jobs/{job.id}/").connect())[0]
    socket = socket_of(charlie, "/ws/jobs/")
    assert (await socket.connect())[0]
    live.publish(job)
    assert await socket.receive_nothing(timeout=0.2)
    await socket.disconnect()


async def test_job_page_hears_of_its_job_alone(job: Any, alice: Any, server_loop: None) -> None:
    other = await sync_to_async(factories.make_job)(organization=alice.organization)
    socket = socket_of(alice, f"/ws/jobs/{job.id}/")
    await socket.connect()
    live.publish(other)
    assert await socket.receive_nothing(timeout=0.2)
    await socket.disconnect()


async def test_anonymous_is_turned_away(job: Any) -> None:
    for path in ("/ws/jobs/", f"/ws/jobs/{job.id}/"):
        assert not (await socket_of(AnonymousUser(), path).connect())[0]


async def test_unknown_job_is_turned_away(alice: Any) -> None:
    assert not (await socket_of(alice, f"/ws/jobs/{uuid4()}/").connect())[0]


async def test_what_a_client_says_is_ignored(alice: Any) -> None:
    socket = socket_of(alice, "/ws/jobs/")
    await socket.connect()
    await socket.send_to(text_data="{not json")
    await socket.send_to(bytes_data=b"\x00")
    assert await socket.receive_nothing(timeout=0.2)
    await socket.disconnect()


def test_without_a_server_nothing_happens(job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    monkeypatch.setattr("asyncio.run_coroutine_threadsafe", lambda *arguments: sent.append(arguments))
    live.publish(job)
    assert sent == []
