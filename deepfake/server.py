"""Daphne, made fit for large files: bounded bodies, bodies read from disk, responses no faster than their reader.

Stock Daphne puts a whole request body into memory before the application sees it, and queues a response as fast as
the application makes it; with videos both would take the process's memory.
"""

from __future__ import annotations

import asyncio
import io
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, BinaryIO

from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.server import Server, twisted_loop
from django.http import HttpRequest
from twisted.internet import reactor as _reactor
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from deepfake.api_errors import refusal
from deepfake.errors import DomainError, StorageFull, is_disk_full
from deepfake.middleware import body_limit, too_large

reactor: Any = _reactor
access_log = logging.getLogger("deepfake.access")

BODY_CHUNK_BYTES = 256 * 1024
# A connection that is closed while the client still sends is reset, and the client loses the answer; so what it sends
# after a refusal is read for a while and thrown away.
LINGER_S = 15


@implementer(IPushProducer)
class _Pace:
    """Tells a response to wait while the client has not taken what was sent."""

    def __init__(self) -> None:
        self.clear = asyncio.Event()
        self.clear.set()

    def pauseProducing(self) -> None:
        self.clear.clear()

    def resumeProducing(self) -> None:
        self.clear.set()

    def stopProducing(self) -> None:
        self.clear.set()


class _UnreadBody:
    """Stands for the spooled body while Daphne looks at it: Daphne sees an empty one, the application the real one."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.at_end = False

    @property
    def closed(self) -> bool:
        return self.file.closed

    def seek(self, position: int, whence: int = 0) -> int:
        return self.file.seek(position, whence)

    def read(self, length: int = -1) -> bytes:
        return b""

    def close(self) -> None:
        self.file.close()

    def next_message(self) -> dict[str, Any]:
        chunk = b"" if self.file.closed else self.file.read(BODY_CHUNK_BYTES)
        self.at_end = len(chunk) < BODY_CHUNK_BYTES
        return {"type": "http.request", "body": chunk, "more_body": not self.at_end}


class BoundedRequest(WebRequest):  # type: ignore[misc]
    """A request that is refused as soon as its body is known to be too large or finds no room on the disk."""

    refused = False
    limit = 0
    received = 0
    content: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Twisted would read the whole body into memory to fill `args`, which nobody asks for.
        self._parsePOSTFormSubmission = False

    pace: _Pace | None = None

    def gotLength(self, length: int | None) -> None:
        content_type = self.requestHeaders.getRawHeaders(b"content-type", [b""])[0].decode("latin-1")
        self.limit = body_limit(content_type)
        if length is not None and length > self.limit:
            super().gotLength(0)
            self.requestHeaders.removeHeader(b"expect")  # no "100 Continue" after the refusal
            self._refuse(too_large(self.limit))
        else:
            super().gotLength(length)

    def handleContentChunk(self, data: bytes) -> None:
        if self.refused:
            return
        self.received += len(data)
        if self.received > self.limit:
            self._refuse(too_large(self.limit))
            return
        try:
            super().handleContentChunk(data)
        except OSError as error:
            if not is_disk_full(error):
                raise
            self._refuse(StorageFull())

    def process(self) -> Any:
        if self.refused:
            self.channel.loseConnection()
            return None
        # Daphne believes this header from anybody and would put its value before every address.
        self.requestHeaders.removeHeader(b"daphne-root-path")
        if not self.requestHeaders.hasHeader(b"upgrade"):
            self.content = _UnreadBody(self.content)
        return super().process()

    def handle_reply(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start" and self.channel is not None and self.pace is None:
            self.pace = _Pace()
            self.registerProducer(self.pace, True)
        super().handle_reply(message)

    def finish(self) -> None:
        if self.producer:
            self.unregisterProducer()
        super().finish()

    def connectionLost(self, reason: Any) -> None:
        if self.pace is not None:
            self.pace.stopProducing()
        super().connectionLost(reason)

    def _refuse(self, error: DomainError) -> None:
        """Answer at once, past the application, and close."""
        self.refused = True
        with suppress(OSError):  # a full disk may refuse the last buffered bytes, too
            self.content.close()
        self.content = io.BytesIO()
        request = HttpRequest()
        request.path = self.channel._path.partition(b"?")[0].decode("latin-1")
        request.META["HTTP_ACCEPT"] = self.requestHeaders.getRawHeaders(b"accept", [b""])[0].decode("latin-1")
        answer = refusal(request, error)
        head = (
            f"HTTP/1.1 {answer.status_code} {answer.reason_phrase}\r\nContent-Type: {answer['Content-Type']}\r\n"
            f"Content-Length: {len(answer.content)}\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
        )
        transport = self.channel.transport
        transport.write(head.encode("latin-1") + answer.content)
        reactor.callLater(LINGER_S, transport.loseConnection)


class _Factory(HTTPFactory):  # type: ignore[misc]
    def buildProtocol(self, addr: Any) -> Any:
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = BoundedRequest
        return protocol


class HouseServer(Server):  # type: ignore[misc]
    """Daphne's server on one address, stopped by us and not by its own signal handlers."""

    connections: dict[Any, dict[str, Any]]

    def __init__(self, application: Any, *, host: str, port: int, ready: Callable[[], None]) -> None:
        self.failure = ""
        interface = host.replace(":", r"\:")
        super().__init__(
            application,
            endpoints=[f"tcp:{port}:interface={interface}"],
            signal_handlers=False,
            action_logger=_log_access,
            ready_callable=ready,
            server_name="",
        )

    def run(self) -> None:
        # Server.run() makes its own HTTPFactory; this is the only seam it leaves.
        import daphne.server

        daphne.server.HTTPFactory = _Factory
        super().run()

    def listen_error(self, failure: Any) -> None:
        self.failure = failure.getErrorMessage()
        self.stop()

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> asyncio.Queue[dict[str, Any]] | None:
        """As Daphne's, but an HTTP body reaches the application piece by piece."""
        if protocol not in self.connections:
            return None
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        scope.setdefault("asgi", {"version": "3.0"})
        body = getattr(protocol, "content", None)
        receive = partial(_receive, body, queue) if isinstance(body, _UnreadBody) else queue.get
        instance = self.application(scope=scope, receive=receive, send=partial(self.handle_reply, protocol))
        self.connections[protocol]["application_instance"] = asyncio.ensure_future(instance, loop=twisted_loop)
        return queue

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        await super().handle_reply(protocol, message)
        pace = getattr(protocol, "pace", None)
        if pace is not None and message.get("more_body"):
            await pace.clear.wait()

    def kill_all_applications(self) -> Any:
        # Daphne stumbles over connections that have no application yet, such as an upload under way.
        self.connections = {
            protocol: details for protocol, details in self.connections.items() if "application_instance" in details
        }
        return super().kill_all_applications()

    def stop_listening(self) -> None:
        for listener in self.listeners:
            listener.addCallback(lambda port: port.stopListening() if port else None)
        for protocol in list(self.connections):
            if hasattr(protocol, "serverClose"):
                protocol.serverClose(code=1001)  # "going away"

    def requests_in_flight(self) -> int:
        return sum(
            1
            for protocol, details in list(self.connections.items())
            if isinstance(protocol, WebRequest)
            and "disconnected" not in details
            and not details.get("application_instance", _DONE).done()
        )


class _Done:
    def done(self) -> bool:
        return True


_DONE = _Done()


async def _receive(body: _UnreadBody, queue: asyncio.Queue[dict[str, Any]]) -> dict[str, Any]:
    if not body.at_end:
        return body.next_message()
    while (message := await queue.get())["type"] == "http.request":
        pass  # the empty body that Daphne saw
    return message


def _log_access(protocol: str, action: str, details: dict[str, Any]) -> None:
    if protocol != "http":
        return
    # Without the query: it may hold signatures of artifact addresses.
    path = details["path"].partition("?")[0]
    access_log.info("%s %s %s %.0f ms", details["method"], path, details["status"], 1000 * (details["time_taken"] or 0))


def wait_for_requests(server: HouseServer, seconds: float) -> None:
    end = time.monotonic() + seconds
    while server.requests_in_flight() and time.monotonic() < end:
        time.sleep(0.05)
