"""A live server, a member with a browser's manners, and programs registered with the organisation."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from accounts.models import ClientKind, OAuthClient, Organization, User
from accounts.oauth import keys, services
from deepfake.keys import read_or_create
from tests.factories import PASSWORD

CALLBACK = "https://client.example.org/callback"


@pytest.fixture(autouse=True)
def _plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")


@pytest.fixture(scope="session")
def first_key() -> bytes:
    return keys.new_key()


@pytest.fixture(autouse=True)
def _ready_made_key(first_key: bytes, data_dir: Path) -> None:
    """Making an RSA key takes up to a second; each test gets the same first one, in its own folder."""
    read_or_create(keys.folder() / "0.pem", lambda: first_key)


@pytest.fixture
def make_client(organization: Organization, administrator: User) -> Callable[..., tuple[OAuthClient, str]]:
    def make(kind: str = ClientKind.WEB, **changes: Any) -> tuple[OAuthClient, str]:
        content = {
            "organization": organization,
            "name": "Newsroom tool",
            "kind": kind,
            "redirect_uris": [] if kind == ClientKind.SERVICE else [CALLBACK],
            "scopes": ["detect:read", "detect:write"]
            if kind == ClientKind.SERVICE
            else ["openid", "profile", "email", "detect:read", "detect:write", "admin:read"],
            "actor": administrator,
        }
        return services.create_client(**content | changes)

    return make


@pytest.fixture
def base(live_server: Any, settings: Any) -> str:
    settings.PUBLIC_URL = live_server.url
    return str(live_server.url)


class Person:
    """Signs in and consents over HTTP, as a browser without scripts would."""

    def __init__(self, base: str, username: str) -> None:
        self.base, self.session = base, requests.Session()
        page = self.session.get(f"{base}/accounts/login/").text
        answer = self.session.post(
            f"{base}/accounts/login/",
            {"login": username, "password": PASSWORD, "csrfmiddlewaretoken": hidden(page, "csrfmiddlewaretoken")},
            allow_redirects=False,
        )
        assert answer.status_code == 302, answer.text

    def ask(self, url: str) -> requests.Response:
        return self.session.get(url, allow_redirects=False)

    def consent(self, url: str, action: str = "grant", drop: tuple[str, ...] = ()) -> str:
        """Return the address that the member is sent to."""
        page = self.ask(url)
        assert page.status_code == 200, (page.status_code, page.headers.get("Location"), page.text[:2000])
        offered = re.findall(r'name="scopes" value="([^"]+)"', page.text)
        answer = self.session.post(
            f"{self.base}/oauth/authorize",
            {
                "csrfmiddlewaretoken": hidden(page.text, "csrfmiddlewaretoken"),
                "request": hidden(page.text, "request"),
                "scopes": [scope for scope in offered if scope not in drop],
                "action": action,
            },
            allow_redirects=False,
        )
        assert answer.status_code == 302, answer.text[:2000]
        return answer.headers["Location"]


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found, f"no field {name} in {page[:500]}"
    return found[1]


def query(url: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
