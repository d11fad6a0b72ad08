"""Fetching a stranger's URL reaches the open internet and nothing else."""

from __future__ import annotations

import io
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from detection import addresses, fetch
from tests import factories
from tests.detection.web import LocalServer, Reply

PNG = factories.png_bytes()

REFUSED_AT_ONCE = [
    "ftp://example.org/a.jpg",
    "file:///etc/passwd",
    "gopher://example.org/",
    "javascript:alert(1)",
    "//example.org/a.jpg",
    "example.org/a.jpg",
    "http://",
    "http:///a.jpg",
    "http://user:secret@example.org/a.jpg",
    "http://example.org@127.0.0.1/a.jpg",
    "http://example.org:22/a.jpg",
    "http://example.org:99999/a.jpg",
    "http://example.org:x/a.jpg",
    "http://exa mple.org/",
    "http://example.org\\@127.0.0.1/",
    "http://example.org/a\r\nHost: x",
    "http://localhost/a.jpg",
    "http://LOCALHOST./a.jpg",
    "http://printer.local/a.jpg",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://127.0.0.1/a.jpg",
    "http://127.1/a.jpg",
    "http://2130706433/a.jpg",
    "http://0x7f000001/a.jpg",
    "http://0177.0.0.1/a.jpg",
    "http://0/a.jpg",
    "http://10.0.0.1/a.jpg",
    "http://172.16.3.4/a.jpg",
    "http://192.168.1.1/a.jpg",
    "http://100.64.0.1/a.jpg",
    "http://100.100.100.200/latest/meta-data/",
    "http://169.254.169.254/latest/meta-data/",
    "http://168.63.129.16/metadata",
    "http://192.0.0.192/",
    "http://198.18.0.1/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    "http://[::1]/a.jpg",
    "http://[::]/a.jpg",
    "http://[::ffff:127.0.0.1]/a.jpg",
    "http://[::ffff:7f00:1]/a.jpg",
    "http://[64:ff9b::7f00:1]/a.jpg",
    "http://[64:ff9b::a9fe:a9fe]/a.jpg",
    "http://[2002:7f00:1::]/a.jpg",
    "http://[2002:c0a8:101::]/a.jpg",
    "http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/a.jpg",
    "http://[fe80::1]/a.jpg",
    "http://[fe80::1%25eth0]/a.jpg",
    "http://[fc00::1]/a.jpg",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://[ff02::1]/a.jpg",
    "http://[2001:db8::1]/a.jpg",
    "http://[::7f00:1]/a.jpg",
    "http://[64:ff9b:1::1]/a.jpg",
]

PUBLIC = ["93.184.216.34", "1.1.1.1", "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::5db8:d822", "2002:5db8:d822::"]

PLATFORMS = {
    "https://www.youtube.com/watch?v=abc": "YouTube",
    "https://youtu.be/abc": "YouTube",
    "https://vm.tiktok.com/abc": "TikTok",
    "https://x.com/someone/status/1": "X",
    "https://mobile.twitter.com/someone/status/1": "X",
    "https://www.instagram.com/reel/abc": "Instagram",
    "https://m.facebook.com/watch?v=1": "Facebook",
    "https://vimeo.com/1": "Vimeo",
}


def resolver(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Let look-ups give `answers` one after another (the last one for ever); returns the names asked for."""
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, **kwargs: Any) -> list[Any]:
        found = answers[min(len(asked), len(answers) - 1)]
        asked.append(host)
        return [(socket.AF_INET6 if ":" in a else socket.AF_INET, 1, 6, "", (a, port)) for a in found]

    monkeypatch.setattr(fetch, "_look_up", getaddrinfo)
    return asked


def dialler(monkeypatch: pytest.MonkeyPatch, server: LocalServer) -> list[tuple[str, int]]:
    """Connect to the test's server whatever address is dialled; returns the addresses dialled."""
    dialled: list[tuple[str, int]] = []

    def dial(address: Any, port: int, timeout_s: float) -> socket.socket:
        dialled.append((str(address), port))
        return socket.create_connection(("127.0.0.1", server.port), timeout=timeout_s)

    monkeypatch.setattr(fetch, "_dial", dial)
    return dialled


def get(url: str, **options: Any) -> bytes:
    sink = io.BytesIO()
    fetch.fetch(url, sink, max_bytes=options.pop("max_bytes", 10_000_000), **options)
    return sink.getvalue()


@pytest.mark.parametrize("url", REFUSED_AT_ONCE)
def test_refuses_at_once(url: str) -> None:
    with pytest.raises(fetch.FetchError) as refused:
        fetch.check_submitted(url)
    assert refused.value.code == "url_not_allowed"
    assert not refused.value.retryable


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_may_be_dialled(address: str) -> None:
    literal = addresses.literal(address)
    assert literal is not None
    assert addresses.is_public(literal)


@pytest.mark.parametrize(("url", "platform"), PLATFORMS.items())
def test_platform_pages_are_named(url: str, platform: str) -> None:
    with pytest.raises(fetch.FetchError, match=f"page on {platform},") as refused:
        fetch.check_submitted(url)
    assert refused.value.code == "platform_page"


def test_lookalike_of_a_platform_is_no_platform() -> None:
    assert fetch.check_submitted("https://netflix.com/clip.mp4") == "https://netflix.com/clip.mp4"


def test_fetches_from_the_checked_address(monkeypatch: pytest.MonkeyPatch, server: LocalServer) -> None:
    server.replies["/a/portrait.png?size=1"] = Reply(body=PNG)
    resolver(monkeypatch, ["93.184.216.34"])
    dialled = dialler(monkeypatch, server)
    assert get("http://media.example.org/a/portrait.png?size=1#top") == PNG
    assert dialled == [("93.184.216.34", 80)]
    assert server.seen[0].headers["Host"] == "media.example.org"
    assert server.seen[0].headers["Accept-Encoding"] == "identity"


def test_name_that_resolves_to_a_private_address_is_refused(
    monkeypatch: pytest.MonkeyPatch, server: LocalServer
) -> None:
    resolver(monkeypatch, ["10.1.2.3"])
    dialled = dialler(monkeypatch, server)
    with pytest.raises(fetch.FetchError, match="private or internal"):
        get("http://internal.example.org/a.png")
    assert dialled == []


def test_one_private_address_among_public_ones_refuses_all(
    monkeypatch: pytest.MonkeyPatch, server: LocalServer
) -> None:
    resolver(monkeypatch, ["93.184.216.34", "::ffff:169.254.169.254"])
    dialled = dialler(monkeypatch, server)
    with pytest.raises(fetch.FetchError, match="private or internal"):
        get("http://mixed.example.org/a.png")
    assert dialled == []


def test_rebinding_name_is_looked_up_once(monkeypatch: pytest.MonkeyPatch, server: LocalServer) -> None:
    """A name server that answers with a public address first and a private one next gets no second question."""
    server.replies["/a.png"] = Reply(body=PNG)
    asked = resolver(monkeypatch, ["93.184.216.34"], ["127.0.0.1"])
    dialled = dialler(monkeypatch, server)
    assert get("http://rebind.example.org/a.png") == PNG
    assert asked == ["rebind.example.org"]
    assert dialled == [("93.184.216.34", 80)]


def test_rebinding_between_redirects_is_refused(monkeypatch: pytest.MonkeyPatch, server: LocalServer) -> None:
    server.replies["/a.png"] = Reply(302, headers={"Location": "/b.png"})
    server.replies["/b.png"] = Reply(body=PNG)
    resolver(monkeypatch, ["93.184.216.34"], ["127.0.0.1"])
    dialler(monkeypatch, server)
    with pytest.raises(fetch.FetchError, match="private or internal"):
        get("http://rebind.example.org/a.png")
    assert [seen.path for seen in server.seen] == ["/a.png"]


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1/admin",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/",
        "//localhost/",
        "file:///etc/passwd",
        "http://user:secret@example.org/",
        "http://example.org:6379/",
    ],
)
def test_redirect_to_what_is_not_allowed_is_refused(
    location: str, monkeypatch: pytest.MonkeyPatch, server: LocalServer
) -> None:
    server.replies["/a.png"] = Reply(302, headers={"Location": location})
    resolver(monkeypatch, ["93.184.216.34"])
    dialled = dialler(monkeypatch, server)
    with pytest.raises(fetch.FetchError) as refused:
        get("http://media.example.org/a.png")
    assert refused.value.code == "url_not_allowed"
    assert len(dialled) == 1


def test_redirect_to_a_platform_page_is_named(monkeypatch: pytest.MonkeyPatch, server: LocalServer) -> None:
    server.replies["/s"] = Reply(301, headers={"Location": "https://www.youtube.com/watch?v=1"})
    resolver(monkeypatch, ["93.184.216.34"])
    dialler(monkeypatch, server)
    with pytest.raises(fetch.FetchError, match="page on YouTube"):
        get("http://short.example.org/s")


def test_follows_redirects_but_not_for_ever(local_servers: Any, server: LocalServer) -> None:
    server.replies["/a"] = Reply(307, headers={"Location": "/b"})
    server.replies["/b"] = Reply(body=PNG)
    assert get(server.url("/a")) == PNG
    server.replies["/loop"] = Reply(302, headers={"Location": "/loop"})
    with pytest.raises(fetch.FetchError) as refused:
        get(server.url("/loop"))
    assert refused.value.code == "too_many_redirects"
    assert len([seen for seen in server.seen if seen.path == "/loop"]) == 6


@pytest.mark.parametrize(
    ("reply", "code", "retryable"),
    [
        (Reply(404), "url_not_found", False),
        (Reply(410), "url_not_found", False),
        (Reply(403), "url_forbidden", False),
        (Reply(418), "url_failed", False),
        (Reply(503), "url_failed", True),
        (Reply(429), "url_failed", True),
        (Reply(body=b"<!DOCTYPE html><html>", headers={"Content-Type": "text/html"}), "url_is_web_page", False),
        (Reply(body=b"\n <HTML><body>", headers={"Content-Type": "image/png"}), "url_is_web_page", False),
        (Reply(body=b"x" * 300), "file_too_large", False),
        (Reply(body=b"x" * 10, announce_length=300), "file_too_large", False),
        (Reply(body=b"x" * 10, announce_length=50), "url_unreachable", True),
        (Reply(body=b"\x1f\x8b", headers={"Content-Encoding": "gzip"}), "url_failed", False),
    ],
)
def test_says_what_is_wrong_with_an_answer(
    reply: Reply, code: str, retryable: bool, local_servers: Any, server: LocalServer
) -> None:
    server.replies["/a"] = reply
    with pytest.raises(fetch.FetchError) as refused:
        get(server.url("/a"), max_bytes=100)
    assert (refused.value.code, refused.value.retryable) == (code, retryable)


def test_picture_sent_as_html_is_taken(local_servers: Any, server: LocalServer) -> None:
    server.replies["/a"] = Reply(body=PNG, headers={"Content-Type": "text/html"})
    assert get(server.url("/a")) == PNG


def test_endless_body_stops_at_the_limit(local_servers: Any, server: LocalServer) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"x" * 65536)
        except OSError:
            pass

    server.replies["/a"] = endless
    sink = io.BytesIO()
    with pytest.raises(fetch.FetchError) as refused:
        fetch.fetch(server.url("/a"), sink, max_bytes=1_000_000)
    assert refused.value.code == "file_too_large"
    assert len(sink.getvalue()) <= 1_000_000


@pytest.mark.parametrize("where", ["headers", "body"])
def test_dripping_server_is_cut_off_at_the_deadline(where: str, local_servers: Any, server: LocalServer) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + (b"\r\n" if where == "body" else b""))
        try:
            while True:
                handler.wfile.write(b"X-Slow: yes\r\n" if where == "headers" else b"x")
                handler.wfile.flush()
                time.sleep(0.05)
        except OSError:
            pass

    server.replies["/a"] = drip
    started = time.monotonic()
    with pytest.raises(fetch.FetchError) as refused:
        get(server.url("/a"), total_s=0.5)
    assert (refused.value.code, refused.value.retryable) == ("url_timeout", True)
    assert time.monotonic() - started < 3


def test_unreachable_server_may_be_tried_again(local_servers: Any) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(fetch.FetchError) as refused:
        get(f"http://127.0.0.1:{port}/a.png")
    assert (refused.value.code, refused.value.retryable) == ("url_unreachable", True)


def test_unknown_host_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(fetch, "_look_up", getaddrinfo)
    with pytest.raises(fetch.FetchError, match=r"nowhere\.example cannot be found") as refused:
        get("http://nowhere.example/a.png")
    assert not refused.value.retryable


def test_proxy_of_the_environment_is_not_used(
    monkeypatch: pytest.MonkeyPatch, local_servers: Any, server: LocalServer
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    server.replies["/a"] = Reply(body=PNG)
    assert get(server.url("/a")) == PNG


def test_certificate_is_checked_against_the_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, server: LocalServer
) -> None:
    certificate = self_signed(tmp_path, "media.example.org")
    listener = tls_listener(certificate)
    resolver(monkeypatch, ["93.184.216.34"])
    monkeypatch.setattr(
        fetch, "_dial", lambda address, port, timeout_s: socket.create_connection(listener.getsockname(), timeout_s)
    )
    with listener, pytest.raises(fetch.FetchError) as refused:
        get("https://media.example.org/a.png")
    assert refused.value.code == "url_certificate"


def self_signed(folder: Any, name: str) -> Any:
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


def tls_listener(certificate: Any) -> socket.socket:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        try:
            connection, _ = listener.accept()
            context.wrap_socket(connection, server_side=True).close()
        except OSError:
            pass

    threading.Thread(target=accept, daemon=True).start()
    return listener


def test_post_does_not_follow_redirects(local_servers: Any, server: LocalServer) -> None:
    server.replies["/hook"] = Reply(302, headers={"Location": "/other"})
    answer = fetch.post(server.url("/hook"), b"{}", {"Content-Type": "application/json"})
    assert answer.status == 302
    assert [(seen.method, seen.path, seen.body) for seen in server.seen] == [("POST", "/hook", b"{}")]


LOOPBACK = (
    "http://127.0.0.1:9000/hook",
    "http://localhost/hook",
    "http://[::1]/",
    "http://127.1/",
    "http://a.localhost/",
)


@pytest.mark.parametrize("url", LOOPBACK)
def test_this_machine_is_told_how_it_may_be_reached(url: str) -> None:
    with pytest.raises(fetch.FetchError, match="FETCH_ALLOW_PRIVATE=yes") as refused:
        fetch.check_submitted(url)
    assert "never fetched. Upload the file instead." in refused.value.message
    with pytest.raises(fetch.FetchError, match="FETCH_ALLOW_PRIVATE=yes") as refused:
        fetch.check_url(url, verb="called")
    assert "never called. To try it" in refused.value.message


@pytest.mark.parametrize("url", ["foo", "http://u:p@a.example/", "http://a.example:99/", "http://10.0.0.1/"])
def test_what_is_called_is_said_to_be_called(url: str) -> None:
    with pytest.raises(fetch.FetchError) as refused:
        fetch.check_url(url, verb="called")
    assert "called" in refused.value.message
    assert "fetched" not in refused.value.message
    assert "Upload" not in refused.value.message
    assert "FETCH_ALLOW_PRIVATE" not in refused.value.message
