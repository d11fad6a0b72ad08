"""One request to the API, repeated while that may help, and lists read page after page."""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import json
import os
import random
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from deepfake_client import sources
from deepfake_client.errors import DeepfakeError

RETRIED = (429, 500, 502, 503, 504)
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
LONGEST_RETRY_AFTER_S = 120.0  # a server that asks for more is obeyed by giving up


class Wire:
    """What `Client` speaks through; its settings are described there."""

    def __init__(self, api_key: str = "", base_url: str = "", *, timeout_s: float = 60.0, retries: int = 4) -> None:
        self.api_key = api_key or os.environ.get("DEEPFAKE_API_KEY", "")
        self.base_url = (base_url or os.environ.get("DEEPFAKE_URL", "") or "http://127.0.0.1:8000").rstrip("/")
        self.timeout_s = timeout_s
        self.retries = retries
        if not self.api_key:
            raise DeepfakeError("Give an API key, or set DEEPFAKE_API_KEY.", code="settings_invalid")
        if not self.base_url.startswith(("http://", "https://")):
            raise DeepfakeError("base_url begins with http:// or https://.", code="settings_invalid")
        self._opener = urllib.request.build_opener(_NoRedirects)  # the key goes to this server and to no other

    def _call(self, method: str, path: str, **options: Any) -> Any:
        with self._open(method, path, **options) as answer:
            content = answer.read()
        try:
            return json.loads(content)
        except ValueError as error:
            raise DeepfakeError(
                f"{self.base_url} answers something else than JSON.", code="answer_unreadable"
            ) from error

    def _each(self, path: str, **filters: Any) -> Iterator[Any]:
        """The rows of a list, fetched page after page as they are asked for."""
        query = urllib.parse.urlencode({name: _text(value) for name, value in filters.items() if value is not None})
        while True:
            page = self._call("GET", f"{path}?{query}")
            yield from page["results"]
            if not page.get("next"):
                return
            query = urllib.parse.urlsplit(page["next"]).query  # of the same list: the key follows no other address

    @contextlib.contextmanager
    def _open(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        form: sources.Form | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        key: str = "",
        extra_s: float = 0,
        retries: int | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        """One request, repeated while that may help; the answer to it is closed with the block."""
        sent = {"Authorization": f"Bearer {self.api_key}", "Accept": "application/json, */*;q=0.5", **(headers or {})}
        if method == "POST":
            sent["Idempotency-Key"] = key or str(uuid.uuid4())
        if body is not None:
            sent["Content-Type"] = "application/json"
            content = json.dumps(body).encode()
        if form is not None:
            sent |= {"Content-Type": form.content_type, "Content-Length": str(form.length)}
        if content is None and method == "POST":
            content = b""
        most = self.retries if retries is None else retries
        tried = 0
        while True:
            data: Any = form.blocks() if form is not None else content
            request = urllib.request.Request(self.base_url + path, data, sent, method=method)  # noqa: S310
            try:
                answer: http.client.HTTPResponse = self._opener.open(request, timeout=self.timeout_s + extra_s)
                break
            except urllib.error.HTTPError as refused:
                with refused:
                    error = _problem(refused)
            except (OSError, http.client.HTTPException) as broken:  # URLError and TimeoutError are OSErrors
                error = self._broken(broken)
            if not helps(error) or tried >= most:
                raise error
            pause(error, tried)
            tried += 1
        with answer:
            try:
                yield answer
            except (http.client.HTTPException, ConnectionError, TimeoutError) as broken:
                raise self._broken(broken) from broken

    def _broken(self, broken: Exception) -> DeepfakeError:
        reason = getattr(broken, "reason", broken)
        error = DeepfakeError(f"{self.base_url} does not answer: {reason}", code="network")
        error.__cause__ = broken
        return error


def helps(error: DeepfakeError) -> bool:
    """Whether the same request, sent again, may fare better."""
    return (error.status in RETRIED or error.code in ("network", "idempotency_in_progress")) and not (
        error.retry_after_s or 0
    ) > LONGEST_RETRY_AFTER_S


def pause(error: DeepfakeError | None, tried: int) -> None:
    """Wait longer each time, and not less than the server asks for."""
    asked_s = (error.retry_after_s if error else 0.0) or 0.0
    time.sleep(max(asked_s, min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**tried) * random.uniform(0.5, 1.0)))


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None:
        return None


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value.isoformat() if hasattr(value, "isoformat") else value)


def _problem(refused: urllib.error.HTTPError) -> DeepfakeError:
    try:
        told = json.loads(refused.read(1_000_000))
    except (ValueError, OSError, http.client.HTTPException):
        told = None
    told = told if isinstance(told, dict) else {}
    return DeepfakeError(
        str(told.get("detail") or f"The server answered {refused.code}."),
        code=str(told.get("code") or f"http_{refused.code}"),
        status=refused.code,
        request_id=str(told.get("request_id") or refused.headers.get("X-Request-ID") or ""),
        fields=told.get("fields") or {},
        retry_after_s=_retry_after(refused.headers.get("Retry-After") or ""),
    )


def _retry_after(text: str) -> float | None:
    if text.strip().isdecimal():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
