"""Sockets: only from our own pages, only for members."""

from __future__ import annotations

import pytest
from channels.testing import WebsocketCommunicator
from django.test import Client

from accounts.models import User
from deepfake.asgi import application

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.services]


def session_cookie(user: User) -> bytes:
    client = Client()
    client.force_login(user)
    return f"sessionid={client.cookies['sessionid'].value}".encode()


async def is_accepted(headers: list[tuple[bytes, bytes]]) -> bool:
    socket = WebsocketCommunicator(application, "/ws/jobs/", headers=headers)
    connected, _ = await socket.connect(timeout=5)
    await socket.disconnect()
    return bool(connected)


@pytest.fixture
def cookie(alice: User) -> bytes:
    return session_cookie(alice)


async def test_member_on_our_own_page(cookie: bytes) -> None:
    assert await is_accepted([(b"origin", b"http://localhost"), (b"cookie", cookie)])


async def test_foreign_page_with_a_members_cookie(cookie: bytes) -> None:
    assert not await is_accepted([(b"origin", b"http://evil.example"), (b"cookie", cookie)])


async def test_stranger(cookie: bytes) -> None:
    assert not await is_accepted([(b"origin", b"http://localhost")])
