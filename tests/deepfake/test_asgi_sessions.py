"""Sockets follow the rules of sign-in: none for a session that is over, and open ones close when it ends."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator
from django.utils import timezone

from accounts import sessions
from accounts.models import MemberSession, SignInRules, User
from deepfake.asgi import application
from detection import live
from tests.deepfake.test_asgi import session_cookie

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.services]


@pytest.fixture
def cookie(alice: User) -> bytes:
    return session_cookie(alice)


def socket(cookie: bytes) -> WebsocketCommunicator:
    return WebsocketCommunicator(
        application,
        "/ws/jobs/",
        headers=[(b"host", b"localhost"), (b"origin", b"http://localhost"), (b"cookie", cookie)],
    )


async def is_accepted(cookie: bytes) -> bool:
    communicator = socket(cookie)
    connected, _ = await communicator.connect(timeout=5)
    await communicator.disconnect()
    return bool(connected)


async def test_session_that_was_idle_for_too_long(cookie: bytes) -> None:
    assert await is_accepted(cookie)
    await MemberSession.objects.aupdate(seen_at=timezone.now() - timedelta(hours=5))
    assert not await is_accepted(cookie)


async def test_member_who_has_yet_to_set_up_a_second_factor(cookie: bytes, alice: User) -> None:
    from django.core.cache import cache

    await SignInRules.objects.acreate(organization_id=alice.organization_id, required_roles=["analyst"])
    await sync_to_async(cache.clear)()
    assert not await is_accepted(cookie)


async def test_open_socket_closes_when_its_session_has_ended(
    cookie: bytes, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "SOCKET_CHECK_EVERY", timedelta(0))
    communicator = socket(cookie)
    assert (await communicator.connect(timeout=5))[0]
    layer: Any = get_channel_layer()
    message = {"type": "job.changed", "data": {"job": "1"}}
    group = live.organization_group(alice.organization_id)
    await layer.group_send(group, message)
    assert await communicator.receive_json_from(timeout=5) == {"job": "1"}
    await sync_to_async(sessions.end_sessions)(alice)
    await layer.group_send(group, message)
    closed = await communicator.receive_output(timeout=5)
    assert closed == {"type": "websocket.close", "code": sessions.NOT_SIGNED_IN}
    await communicator.disconnect()
