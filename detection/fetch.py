"""Fetching what a stranger's URL points at, without letting it reach anything but the open internet."""

from __future__ import annotations

import contextlib
import errno
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from django.conf import settings

from deepfake.errors import DomainError
from detection import addresses
from detection.addresses import Address

MAX_REDIRECTS = 5
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 20.0
BLOCK_BYTES = 64 * 1024
USER_AGENT = "deepfake-detection/1.0 (media check)"

_REDIRECTS = (301, 302, 303, 307, 308)
_RETRYABLE_STATUSES = (408, 425, 429, 500, 502, 503, 504)

# Sites whose links are pages around a player; what to do instead is the same for all.
_PLATFORMS = {
    "youtube.com": "YouTube",
    "youtu.be": "YouTube",
    "tiktok.com": "TikTok",
    "x.com": "X",
    "twitter.com": "X",
    "instagram.com": "Instagram",
    "facebook.com": "Facebook",
    "fb.watch": "Facebook",
    "vimeo.com": "Vimeo",
}


class FetchError(DomainError):
    """The URL cannot be fetched; `retryable` says whether a later try may help."""

    def __init__(self, message: str, code: str, *, retryable: bool = False) -> None:
        super().__init__(message, code, 400)
        self.retryable = retryable


@dataclass(frozen=True)
class Target:
    """One checked URL: what to ask of whom."""

    url: str
    scheme: str
    host: str
    port: int
    path: str  # with the query
    verb: str = "fetched"  # what is done with it, for sentences: fetched or called

    @property
    def host_header(self) -> str:
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == {"http": 80, "https": 443}[self.scheme] else f"{name}:{self.port}"


@dataclass(frozen=True)
class Fetched:
    url: str  # after redirects
    filename: str
    size_bytes: int


OnBytes = Callable[[int, int | None], None]
"""`on_bytes(received, total or None)`: told after each block; may raise to stop."""


def check_url(url: str, *, verb: str = "fetched") -> Target:
    """Refuse what no look-up could make acceptable: scheme, credentials, port, private address, platform page.

    verb: "fetched" for a file, "called" for a callback or a webhook. Raises FetchError.
    """
    parts = _split(url)
    if parts.scheme not in ("http", "https"):
        raise FetchError(f"Only http:// and https:// addresses can be {verb}.", "url_not_allowed")
    if parts.username is not None or parts.password is not None:
        raise FetchError(f"An address with a user name or password in it is not {verb}.", "url_not_allowed")
    host = _ascii_host(parts.hostname or "")
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        raise FetchError("The port in this address is not a number.", "url_not_allowed") from None
    _check_host(host, verb)
    if port not in settings.FETCH_PORTS and not settings.FETCH_ALLOW_PRIVATE:
        raise FetchError(f"Port {port} is not {verb}; only the usual web ports are.", "url_not_allowed")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.geturl(), parts.scheme, host, port, _ascii_path(path), verb)


def fetch(
    url: str,
    sink: BinaryIO,
    *,
    max_bytes: int,
    total_s: float | None = None,
    on_bytes: OnBytes = lambda received, total: None,
) -> Fetched:
    """Write what `url` points at into `sink`, following redirects, each checked anew. Raises FetchError."""
    deadline = time.monotonic() + (total_s or settings.FETCH_TIMEOUT_S)
    target = _check_not_platform(check_url(url))
    for _ in range(MAX_REDIRECTS + 1):
        with _request(target, "GET", deadline=deadline) as response:
            location = response.getheader("Location")
            if response.status in _REDIRECTS and location:
                target = _check_not_platform(check_url(urljoin(target.url, location)))
                continue
            _check_status(response.status)
            size = _receive(response, sink, max_bytes, deadline, on_bytes)
            return Fetched(target.url, unquote(urlsplit(target.url).path.rpartition("/")[2]), size)
    raise FetchError(f"The address redirects more than {MAX_REDIRECTS} times.", "too_many_redirects")


@dataclass(frozen=True)
class Answer:
    """What a server said; of its body perhaps only the beginning."""

    status: int
    headers: dict[str, str]  # names in small letters
    body: bytes
    is_truncated: bool = False


def post(
    url: str, body: bytes, headers: Mapping[str, str], *, total_s: float = 15.0, keep_bytes: int = 16 * 1024
) -> Answer:
    """POST under the same rules, redirects not followed. Raises FetchError."""
    deadline = time.monotonic() + total_s
    with _request(check_url(url, verb="called"), "POST", body=body, headers=headers, deadline=deadline) as response:
        said = {name.lower(): value for name, value in response.getheaders()}
        kept, is_truncated = _beginning(response, keep_bytes)
        return Answer(response.status, said, kept, is_truncated)


def _beginning(response: http.client.HTTPResponse, keep_bytes: int) -> tuple[bytes, bool]:
    """What comes of the body, up to `keep_bytes`. The status has been said: a line that breaks off costs only text."""
    kept = b""
    try:
        while len(kept) <= keep_bytes and (block := response.read1(keep_bytes + 1 - len(kept))):
            kept += block
    except (OSError, http.client.HTTPException):
        return kept[:keep_bytes], True
    return kept[:keep_bytes], len(kept) > keep_bytes


def ask(
    url: str,
    *,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    max_bytes: int = 1_000_000,
    total_s: float = 15.0,
) -> Answer:
    """One request under the same rules with its whole answer, redirects not followed. Raises FetchError."""
    deadline = time.monotonic() + total_s
    with _request(check_url(url, verb="called"), method, body=body, headers=headers, deadline=deadline) as response:
        content = response.read(max_bytes + 1)
        _check_in_time(deadline)
        if len(content) > max_bytes:
            raise _too_large(max_bytes)
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, content)


def check_submitted(url: str) -> str:
    """Return the URL as it will be stored, after refusing at once what can never be fetched."""
    return _check_not_platform(check_url(url)).url


def _split(url: str) -> SplitResult:
    url = url.strip()
    if not url or len(url) > 2000:
        raise FetchError("Give an address of at most 2,000 characters.", "url_not_allowed")
    if "\\" in url or any(ord(character) <= 32 or ord(character) == 127 for character in url):
        raise FetchError("The address holds a space or another character that no web address has.", "url_not_allowed")
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  parsed on access
    except ValueError:
        raise FetchError("This is not a valid web address.", "url_not_allowed") from None
    return parts._replace(fragment="")


def _ascii_host(host: str) -> str:
    if not host:
        raise FetchError("The address names no host.", "url_not_allowed")
    if host.isascii():
        return host.lower()
    try:
        return host.encode("idna").decode().lower()
    except UnicodeError:
        raise FetchError("The host name in this address is not valid.", "url_not_allowed") from None


def _ascii_path(path: str) -> str:
    return "".join(character if character.isascii() else _percent(character) for character in path)


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def _check_host(host: str, verb: str) -> None:
    if settings.FETCH_ALLOW_PRIVATE:
        return
    address = addresses.literal(host.rstrip("."))
    if (address is not None and not addresses.is_public(address)) or addresses.is_local_name(host):
        raise _refused_address(verb, is_this_machine=addresses.is_this_machine(host))


def _check_not_platform(target: Target) -> Target:
    name = target.host.rstrip(".")
    for domain, platform in _PLATFORMS.items():
        if name == domain or name.endswith(f".{domain}"):
            raise FetchError(
                f"This is a page on {platform}, not a media file. Save the video or picture itself and upload it here, "
                "or give the direct link to the file.",
                "platform_page",
            )
    return target


def _refused_address(verb: str, *, is_this_machine: bool = False) -> FetchError:
    instead = " Upload the file instead." if verb == "fetched" else ""
    hint = " To try it on a machine of your own, start the server with FETCH_ALLOW_PRIVATE=yes (docs/operations.md)."
    return FetchError(
        f"This address leads to a private or internal network, which is never {verb}.{instead}"
        f"{hint if is_this_machine else ''}",
        "url_not_allowed",
    )


_look_up = socket.getaddrinfo


def resolve(target: Target) -> list[Address]:
    """All addresses of the host, every one checked: one private address among public ones refuses them all."""
    try:
        found = _look_up(target.host, target.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError) as error:
        # "Try again" means that the name server did not answer; anything else, that there is no such host.
        retryable = getattr(error, "errno", None) == socket.EAI_AGAIN
        raise FetchError(
            f"The host {target.host} cannot be found. Check the address.", "url_unreachable", retryable=retryable
        ) from None
    candidates = [ipaddress.ip_address(str(sockaddr[0])) for *_, sockaddr in found]
    if not all(addresses.may_dial(address) for address in candidates):
        raise _refused_address(target.verb)
    return list(dict.fromkeys(candidates))


def _dial(address: Address, port: int, timeout_s: float) -> socket.socket:
    raw = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        raw.settimeout(timeout_s)
        raw.connect((str(address), port))
    except BaseException:
        raw.close()
        raise
    return raw


def _connect(target: Target, deadline: float) -> socket.socket:
    """Dial exactly the addresses that were checked; the name is not looked up a second time."""
    failure: Exception | None = None
    for address in resolve(target)[:4]:
        try:
            return _dial(address, target.port, min(CONNECT_TIMEOUT_S, _left(deadline)))
        except OSError as error:
            failure = error
    raise FetchError(f"The server {target.host} does not answer.", "url_unreachable", retryable=True) from failure


def _secure(held: list[socket.socket], target: Target) -> None:
    """Replace the plain socket by an encrypted one whose certificate was checked against the host's name."""
    context = ssl.create_default_context()
    held.append(context.wrap_socket(held[0], server_hostname=target.host.rstrip("."), do_handshake_on_connect=False))
    try:
        held[-1].do_handshake()  # type: ignore[attr-defined]
    except ssl.SSLCertVerificationError:
        what = "the file" if target.verb == "fetched" else "it"
        raise FetchError(
            f"The certificate of {target.host} is not valid, so {what} was not {target.verb}.", "url_certificate"
        ) from None


@contextlib.contextmanager
def _request(
    target: Target,
    method: str,
    *,
    deadline: float,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Iterator[http.client.HTTPResponse]:
    held: list[socket.socket] = []  # the open socket; TLS wraps the first into a second
    # A read timeout alone lets a server drip one byte at a time for ever; this cuts the line at the deadline.
    watchdog = threading.Timer(_left(deadline), _cut, [held])
    watchdog.daemon = True
    watchdog.start()
    try:
        held.append(_connect(target, deadline))
        held[-1].settimeout(READ_TIMEOUT_S)
        if target.scheme == "https":
            _secure(held, target)
        connection = http.client.HTTPConnection(target.host, target.port)
        connection.sock = held[-1]
        with contextlib.closing(connection):
            sent = {"Host": target.host_header, "User-Agent": USER_AGENT, "Accept": "*/*"}
            # "identity": a compressed answer could unpack to any size.
            connection.request(method, target.path, body, {**sent, "Accept-Encoding": "identity", **(headers or {})})
            response = connection.getresponse()
            _check_in_time(deadline)
            yield response
    except TimeoutError as error:
        raise _too_slow(target) from error
    except (OSError, http.client.HTTPException) as error:
        if time.monotonic() >= deadline:
            raise _too_slow(target) from error
        if _is_local_trouble(error):
            raise
        raise FetchError(f"The connection to {target.host} broke off.", "url_unreachable", retryable=True) from error
    finally:
        watchdog.cancel()
        for held_socket in held:
            held_socket.close()


def _is_local_trouble(error: Exception) -> bool:
    """A full disk here is not the other server's fault; those errors come from the sink."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


def _cut(held: list[socket.socket]) -> None:
    for held_socket in reversed(held):
        with contextlib.suppress(OSError):
            # shutdown, not close: the descriptor may not be given to another file while the reader still holds it.
            held_socket.shutdown(socket.SHUT_RDWR)


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.001)


def _check_in_time(deadline: float) -> None:
    """A line that was cut at the deadline looks like one that has come to its end."""
    if time.monotonic() >= deadline:
        raise TimeoutError


def _too_slow(target: Target) -> FetchError:
    return FetchError(f"The server {target.host} is too slow.", "url_timeout", retryable=True)


def _check_status(status: int) -> None:
    if status == 200:
        return
    if status in (404, 410):
        raise FetchError(f"There is no file at this address (the server answered {status}).", "url_not_found")
    if status in (401, 403, 451):
        raise FetchError(
            f"The server does not let us read this file (it answered {status}). Download it and upload it here.",
            "url_forbidden",
        )
    raise FetchError(
        f"The server answered {status} instead of the file.", "url_failed", retryable=status in _RETRYABLE_STATUSES
    )


def _receive(
    response: http.client.HTTPResponse, sink: BinaryIO, max_bytes: int, deadline: float, on_bytes: OnBytes
) -> int:
    if (response.getheader("Content-Encoding") or "identity").lower() not in ("", "identity"):
        raise FetchError("The server sends the file compressed although asked not to.", "url_failed")
    expected = response.length
    if expected is not None and expected > max_bytes:
        raise _too_large(max_bytes)
    received = 0
    while block := response.read1(BLOCK_BYTES):
        if received == 0:
            _check_not_a_page(block, response.getheader("Content-Type") or "")
        received += len(block)
        if received > max_bytes:
            raise _too_large(max_bytes)
        _check_in_time(deadline)
        sink.write(block)
        on_bytes(received, expected)
    _check_in_time(deadline)
    if expected is not None and received < expected:
        raise FetchError(
            f"The connection broke off after {received:,} of {expected:,} bytes.", "url_unreachable", retryable=True
        )
    return received


def _check_not_a_page(head: bytes, content_type: str) -> None:
    start = head[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    says_page = content_type.lower().startswith(("text/html", "application/xhtml"))
    if start.startswith((b"<!doctype html", b"<html")) or (says_page and start.startswith(b"<")):
        raise FetchError(
            "This is a web page, not a media file. Give the direct link to the picture, video or recording "
            "(it often ends in .jpg, .mp4 or .mp3), or upload the file.",
            "url_is_web_page",
        )


def _too_large(max_bytes: int) -> FetchError:
    return FetchError(f"The file is larger than {max_bytes / 1e6:,.0f} MB, the most that is taken.", "file_too_large")
