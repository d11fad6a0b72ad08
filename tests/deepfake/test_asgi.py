"""Sockets: only from our own pages, only for members."""

from __future__ import annotations

import pytest
from channels.testing import WebsocketCommunicator
from django.test import Client

from accounts.models import User
from deepfake.asgi import application
from deepfake.sockets import is_own_page

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
    assert await is_accepted([(b"host", b"localhost"), (b"origin", b"http://localhost"), (b"cookie", cookie)])


async def test_foreign_page_with_a_members_cookie(cookie: bytes) -> None:
    for origin in (b"http://evil.example", b"http://localhost:3000", b"http://localhost.evil.example", b"null", b""):
        assert not await is_accepted([(b"host", b"localhost"), (b"origin", origin), (b"cookie", cookie)]), origin
    assert not await is_accepted([(b"host", b"localhost"), (b"cookie", cookie)])


async def test_name_of_anothers_that_leads_here(cookie: bytes) -> None:
    """DNS rebinding: origin and host agree, but the name is none of ours."""
    headers = [(b"host", b"evil.example"), (b"origin", b"http://evil.example"), (b"cookie", cookie)]
    assert not await is_accepted(headers)


@pytest.mark.parametrize(
    ("origin", "host", "is_own"),
    [
        ("http://localhost:8000", "localhost:8000", True),
        ("https://detect.example.org", "detect.example.org", True),
        ("https://detect.example.org:443", "detect.example.org", True),
        ("https://detect.example.org", "detect.example.org:443", True),
        ("http://[::1]:8000", "[::1]:8000", True),
        ("https://front.example.org", "detect.example.org", True),  # the operator named it
        ("https://detect.example.org:8443", "detect.example.org", False),
        ("https://other.example.org", "detect.example.org", False),
        ("ftp://detect.example.org", "detect.example.org", False),
        ("http://detect.example.org:x", "detect.example.org", False),
        ("null", "detect.example.org", False),
        ("", "", False),
    ],
)
def test_whose_page_it_is(settings, origin: str, host: str, is_own: bool) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://front.example.org"]
    assert is_own_page(origin, host) is is_own


def test_behind_tls_a_plain_page_is_no_page_of_ours(settings) -> None:
    settings.HTTPS = True
    assert not is_own_page("http://detect.example.org", "detect.example.org")
    assert is_own_page("https://detect.example.org", "detect.example.org")


async def test_stranger(cookie: bytes) -> None:
    assert not await is_accepted([(b"host", b"localhost"), (b"origin", b"http://localhost")])
