"""Daphne, made fit for large files: bounded bodies, bodies read from disk, responses no faster than their reader,
pieces of uploads kept as far as they came, and nobody who holds a connection without using it.

Stock Daphne puts a whole request body into memory before the application sees it, and queues a response as fast as
the application makes it; with videos both would take the process's memory.
"""

from __future__ import annotations

import asyncio
import io
import logging
import re
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, BinaryIO
from urllib.parse import unquote

from cryptography.x509 import load_pem_x509_certificates
from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.server import Server, twisted_loop
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from twisted.internet import reactor as _reactor
from twisted.internet.interfaces import IPushProducer
from twisted.web import http as twisted_http
from zope.interface import implementer

from deepfake import bodies, browser_headers
from deepfake.api_errors import phrase, refusal
from deepfake.bodies import receiving
from deepfake.errors import DomainError, StorageFull, is_disk_full
from deepfake.log_privacy import short_path
from deepfake.request_id import id_for
from deepfake.tls import Certificate

reactor: Any = _reactor
HTTPChannel: Any = twisted_http.HTTPChannel
access_log = logging.getLogger("deepfake.access")

BODY_CHUNK_BYTES = 256 * 1024
# A connection that is closed while the client still sends is reset, and the client loses the answer; so what it sends
# after a refusal is read for a while and thrown away.
LINGER_S = 15
ROOM_EVERY_BYTES = 1_000_000  # how often a body that comes is held against the room that there is
# Pieces of tus uploads: of one whose connection breaks, what came until then is handed to the application.
KEPT_WHEN_CUT = re.compile(rb"/v1/uploads/[^/?]+")


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
    begun = False
    limit = 0
    received = 0
    counted = 0  # bytes of it that are in the budget of all bodies
    has_credential = False
    ends: tuple[Any, Any] = (None, None)  # addresses of both, which a lost connection no longer tells
    content: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Twisted would read the whole body into memory to fill `args`, which nobody asks for.
        self._parsePOSTFormSubmission = False

    pace: _Pace | None = None

    def gotLength(self, length: int | None) -> None:
        self.ends = (self.channel.getHost(), self.channel.getPeer())
        self.has_credential = self.requestHeaders.hasHeader(b"authorization") or bodies.has_session(
            ";".join(self._headers(b"cookie"))
        )
        content_type = self._header(b"content-type")
        self.limit = bodies.limit_of(self._asked_for(), content_type, has_credential=self.has_credential)
        error = self._why_not(length or 0)
        if error is not None:
            super().gotLength(0)
            self.requestHeaders.removeHeader(b"expect")  # no "100 Continue" after the refusal
            self._refuse(error)
        else:
            super().gotLength(length)

    def handleContentChunk(self, data: bytes) -> None:
        if self.refused:
            return
        before, self.received = self.received, self.received + len(data)
        # What was announced had room when it began; but others may have filled the disk since.
        looks = self.received // ROOM_EVERY_BYTES > before // ROOM_EVERY_BYTES
        why = self._why_not(0 if looks else -1)
        if why is not None:
            self._refuse(why)
            return
        try:
            super().handleContentChunk(data)
        except OSError as error:
            if not is_disk_full(error):
                raise
            self._refuse(StorageFull())
            return
        self.counted += len(data)
        receiving.count(len(data), has_credential=self.has_credential)

    def _why_not(self, more: int) -> DomainError | None:
        """Why the body cannot be taken, with `more` bytes to come; negative: whether there is room is not asked."""
        if max(self.received, more) > self.limit:
            return bodies.too_large(self._asked_for(), self.limit, has_credential=self.has_credential)
        if more >= 0 and self.received + more > bodies.SMALL_BYTES:
            try:
                receiving.check(more, has_credential=self.has_credential)
            except bodies.ReceivingFull as full:
                return full
        return None

    def _header(self, name: bytes) -> str:
        return next(iter(self._headers(name)), "")

    def _headers(self, name: bytes) -> list[str]:
        return [value.decode("latin-1") for value in self.requestHeaders.getRawHeaders(name, [])]

    def _asked_for(self) -> str:
        """The path, as the application sees it."""
        return unquote(self.channel._path.partition(b"?")[0].decode("latin-1"))

    def _uncount(self) -> None:
        receiving.count(-self.counted, has_credential=self.has_credential)
        self.counted = 0

    def setResponseCode(self, code: int, message: bytes | None = None) -> None:
        # Twisted's own table ends before 429 and calls the rest "Unknown Status".
        super().setResponseCode(code, message or phrase(code).encode() or None)

    def process(self) -> Any:
        self.begun = True
        if self.refused:
            self.channel.loseConnection()
            return None
        # Daphne believes this header from anybody and would put its value before every address.
        self.requestHeaders.removeHeader(b"daphne-root-path")
        if self.requestHeaders.hasHeader(b"transfer-encoding"):
            # Django reads no body of unknown length; by now it is known.
            self.requestHeaders.removeHeader(b"transfer-encoding")
            self.requestHeaders.setRawHeaders(b"content-length", [str(self.received).encode()])
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
        self._uncount()

    def connectionLost(self, reason: Any) -> None:
        if self.pace is not None:
            self.pace.stopProducing()
        if self._is_cut_piece():
            self.server.finish_cut(_scope_of_cut(self), _UnreadBody(self.content))
            self.content = io.BytesIO()  # Twisted closes it
        super().connectionLost(reason)
        self._uncount()

    def _is_cut_piece(self) -> bool:
        if self.begun or self.refused or not self.received:
            return False
        has_checksum = self.requestHeaders.hasHeader(b"upload-checksum")  # which tells of all bytes or of none
        path = self.channel._path
        return self.channel._command == b"PATCH" and not has_checksum and KEPT_WHEN_CUT.fullmatch(path) is not None

    def _refuse(self, error: DomainError) -> None:
        """Answer at once, past the application, and close."""
        self.refused = True
        with suppress(OSError):  # a full disk may refuse the last buffered bytes, too
            self.content.close()
        self.content = io.BytesIO()
        self._uncount()
        request = self._as_django()
        transport = self.channel.transport
        answer = browser_headers.tell(request, refusal(request, error))
        answer["X-Request-ID"] = request.request_id  # type: ignore[attr-defined]
        transport.write(_raw(answer))
        reactor.callLater(LINGER_S, transport.loseConnection)

    def _as_django(self) -> HttpRequest:
        """What of this request an answer hangs on."""
        request = HttpRequest()
        request.path = self._asked_for()
        request.META["HTTP_ACCEPT"] = self._header(b"accept")
        request.META["HTTP_X_FORWARDED_PROTO"] = self._header(b"x-forwarded-proto")
        request.request_id = id_for(self._header(b"x-request-id"))  # type: ignore[attr-defined]
        request._get_scheme = lambda: "https" if self.isSecure() else "http"  # type: ignore[attr-defined]
        return request

    def basic_error(self, status: int, status_text: bytes, body: str) -> None:
        """What Daphne says itself, of a request that it cannot read or an application that failed or is too slow."""
        text = f"{status} {status_text.decode()}. {body}\n"
        page = HttpResponse(text, status=status, content_type="text/plain; charset=utf-8")
        answer = browser_headers.tell(HttpRequest(), page)
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.items()]
        self.handle_reply({"type": "http.response.start", "status": status, "headers": headers})
        self.handle_reply({"type": "http.response.body", "body": answer.content})


def _raw(answer: HttpResponse) -> bytes:
    """An answer as it goes over the line, for a connection that ends with it."""
    headers = dict(answer.items()) | {"Content-Length": str(len(answer.content)), "Connection": "close"}
    lines = [f"HTTP/1.1 {answer.status_code} {phrase(answer.status_code)}", *(f"{a}: {b}" for a, b in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + answer.content


def _scope_of_cut(request: BoundedRequest) -> dict[str, Any]:
    """The ASGI scope of a request that ends where its connection did, as Daphne makes it of whole ones."""
    left_out = (b"content-length", b"transfer-encoding", b"daphne-root-path")
    headers = [
        (name.lower(), value)
        for name, values in request.requestHeaders.getAllRawHeaders()
        for value in values
        if b"_" not in name and name.lower() not in left_out
    ]
    headers.append((b"content-length", str(request.received).encode()))
    here, there = request.ends
    path = request.channel._path
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "PATCH",
        "path": unquote(path.decode("ascii", "replace")),
        "raw_path": path,
        "root_path": "",
        "scheme": "https" if request.isSecure() else "http",
        "query_string": b"",
        "headers": headers,
        "client": [str(there.host), there.port] if hasattr(there, "host") else None,
        "server": [str(here.host), here.port] if hasattr(here, "host") else None,
    }


class _Channel(HTTPChannel):  # type: ignore[misc]
    """A connection that must send its request's head in time and its body not too slowly.

    What the server takes for its answer, and how fast the client reads it, is not judged here.
    """

    _due: Any = None  # the call that will look, while a head or a body is expected
    _seen = 0

    def connectionMade(self) -> None:
        super().connectionMade()
        self._expect_head()

    def dataReceived(self, data: bytes) -> None:
        if self._due is None and not self._handlingRequest:
            self._expect_head()  # of the next request on this connection
        super().dataReceived(data)

    def allHeadersReceived(self) -> None:
        self._expect_nothing()
        super().allHeadersReceived()
        if self.length != 0:
            self._seen = 0
            self._due = reactor.callLater(settings.BODY_RATE_OVER_S, self._look_at_body, 0)

    def allContentReceived(self) -> None:
        self._expect_nothing()
        super().allContentReceived()

    def connectionLost(self, reason: Any) -> None:
        self._expect_nothing()
        super().connectionLost(reason)

    def _expect_head(self) -> None:
        self._due = reactor.callLater(settings.HEAD_WITHIN_S, self._cut_off)

    def _expect_nothing(self) -> None:
        if self._due is not None and self._due.active():
            self._due.cancel()
        self._due = None

    def _look_at_body(self, least: int) -> None:
        self._due = None
        request = self.requests[-1]
        if request.refused:
            return  # is closed soon
        if request.received - self._seen < least:
            self._cut_off()
            return
        self._seen = request.received
        span = settings.BODY_RATE_OVER_S
        self._due = reactor.callLater(span, self._look_at_body, span * settings.BODY_RATE_BYTES_PER_S)

    def _cut_off(self) -> None:
        self._expect_nothing()
        if self.requests:  # else nothing was asked, and nobody waits for an answer
            self.transport.write(_raw(_blank(408)))
        self.timeoutConnection()

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.transport.write(_raw(_blank(400)))
        self.loseConnection()


def _blank(status: int) -> HttpResponse:
    return browser_headers.tell(HttpRequest(), HttpResponse(status=status, content_type="text/plain; charset=utf-8"))


class _Factory(HTTPFactory):  # type: ignore[misc]
    def protocol(self) -> Any:
        return twisted_http._GenericHTTPChannelProtocol(_Channel())

    def buildProtocol(self, addr: Any) -> Any:
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = BoundedRequest
        return protocol


class HouseServer(Server):  # type: ignore[misc]
    """Daphne's server on one address, stopped by us and not by its own signal handlers."""

    connections: dict[Any, dict[str, Any]]

    def __init__(
        self,
        application: Any,
        *,
        host: str,
        port: int,
        ready: Callable[[], None],
        certificate: Certificate | None = None,
    ) -> None:
        self.failure = ""
        self.cut: set[asyncio.Future[None]] = set()  # requests that go on without their connection
        self.address = (host, port)
        self.certificate = certificate
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
        # Server.run() makes its own HTTPFactory and endpoints; these are the only seams it leaves.
        import daphne.server

        daphne.server.HTTPFactory = _Factory
        if self.certificate is not None:
            daphne.server.serverFromString = self._tls_endpoint
        super().run()

    def _tls_endpoint(self, reactor: Any, description: str) -> Any:
        from twisted.internet.endpoints import SSL4ServerEndpoint

        host, port = self.address
        assert self.certificate is not None
        endpoint: Any = SSL4ServerEndpoint  # no types
        return endpoint(reactor, port, tls_options(self.certificate), interface=host)

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

    def finish_cut(self, scope: dict[str, Any], body: _UnreadBody) -> None:
        """Let the application have a request whose connection is gone; nobody hears the answer."""
        body.seek(0)
        scope["asgi"] = {"version": "3.0"}
        running = asyncio.ensure_future(_run_cut(self.application, scope, body), loop=twisted_loop)
        self.cut.add(running)
        running.add_done_callback(self.cut.discard)

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
        return len(self.cut) + sum(
            1
            for protocol, details in list(self.connections.items())
            if isinstance(protocol, WebRequest)
            and "disconnected" not in details
            and not details.get("application_instance", _DONE).done()
        )


def tls_options(certificate: Certificate) -> Any:
    """TLS 1.2 and 1.3 with this certificate and whatever chain stands below it in its file."""
    from OpenSSL import crypto
    from twisted.internet.ssl import CertificateOptions, TLSVersion

    key = crypto.load_privatekey(crypto.FILETYPE_PEM, certificate.key_file.read_bytes())
    chain = [
        crypto.X509.from_cryptography(one)
        for one in load_pem_x509_certificates(certificate.certificate_file.read_bytes())
    ]
    return CertificateOptions(
        privateKey=key, certificate=chain[0], extraCertChain=chain[1:], raiseMinimumTo=TLSVersion.TLSv1_2
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


async def _run_cut(application: Any, scope: dict[str, Any], body: _UnreadBody) -> None:
    async def receive() -> dict[str, Any]:
        if not body.at_end:
            return body.next_message()
        await asyncio.get_running_loop().create_future()  # no word of the lost connection: it would stop the work
        raise AssertionError("unreachable")

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            access_log.info("PATCH %s %s, connection lost", scope["path"], message["status"])

    try:
        await application(scope, receive, send)
    except Exception:
        access_log.exception("PATCH %s, connection lost", scope["path"])
    finally:
        body.close()


def _log_access(protocol: str, action: str, details: dict[str, Any]) -> None:
    if protocol != "http":
        return
    # Both as long as whoever asked made them, and in the thread that serves everybody.
    method, path = details["method"][:16], short_path(details["path"])
    access_log.info("%s %s %s %.0f ms", method, path, details["status"], 1000 * (details["time_taken"] or 0))


def wait_for_requests(server: HouseServer, seconds: float) -> None:
    end = time.monotonic() + seconds
    while server.requests_in_flight() and time.monotonic() < end:
        time.sleep(0.05)
