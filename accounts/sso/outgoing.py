"""Requests to identity providers, through the client that reaches nothing but the open internet."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import requests
from django.conf import settings
from django.utils.module_loading import import_string
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict

from deepfake.errors import DomainError

MAX_REDIRECTS = 3


def ask(url: str, **options: Any) -> Any:
    """See detection.fetch.ask; raises a DomainError with a sentence."""
    return import_string(settings.OUTGOING_REQUESTS)(url, **options)


def read(url: str, *, max_bytes: int = 1_000_000) -> bytes:
    """What lies at `url`, after at most a few redirects, each checked anew. Raises DomainError."""
    if not url.startswith("https://") and not settings.FETCH_ALLOW_PRIVATE:
        raise DomainError("Use an address that begins with https://.", "url_not_allowed")
    session = SafeSession()
    session.max_redirects = MAX_REDIRECTS
    try:
        answer = session.get(url, timeout=15)
    except requests.RequestException as error:
        raise DomainError(f"{url} could not be read: {error}", "url_unreachable") from None
    if answer.status_code != 200:
        raise DomainError(f"{url} answered {answer.status_code}.", "url_failed")
    if len(answer.content) > max_bytes:
        raise DomainError(f"{url} holds more than {max_bytes:,} bytes.", "url_failed")
    return answer.content


class SafeSession(requests.Session):
    """What allauth talks with: a session whose only way out is the safe client."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False
        self.adapters.clear()
        self.mount("https://", _SafeAdapter())
        if settings.FETCH_ALLOW_PRIVATE:
            # For tests on one machine. Otherwise only TLS: what comes from a provider directly is taken unsigned.
            self.mount("http://", _SafeAdapter())


class _SafeAdapter(BaseAdapter):
    def send(
        self, request: requests.PreparedRequest, *args: Any, timeout: Any = None, **kwargs: Any
    ) -> requests.Response:
        body = request.body.encode() if isinstance(request.body, str) else request.body
        headers: Mapping[str, str] = {
            name: str(value)
            for name, value in request.headers.items()
            if name.lower() not in ("accept-encoding", "connection", "content-length")
        }
        try:
            answer = ask(str(request.url), method=request.method, body=body, headers=headers)
        except DomainError as error:
            raise requests.ConnectionError(error.message, request=request) from error
        response = requests.Response()
        response.status_code = answer.status
        response.headers = CaseInsensitiveDict(answer.headers)
        response.url = str(request.url)
        response.request = request
        response.raw = io.BytesIO(answer.body)
        response.encoding = requests.utils.get_encoding_from_headers(response.headers)
        return response

    def close(self) -> None:
        """Every request has a connection of its own."""
