"""TLS of our own: the certificate, and a server that really answers over it."""

from __future__ import annotations

import base64
import http.client
import os
import socket
import ssl
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlencode

import pytest
from cryptography import x509

from deepfake import tls
from tests.deepfake.serving import Serving, manage

NAMES = ["localhost", "127.0.0.1", "::1", "box.local", "192.168.7.9"]


def test_made_once_for_these_names(tmp_path: Path) -> None:
    first = tls.own(tmp_path, NAMES)
    before = first.certificate_file.read_bytes()
    assert tls.own(tmp_path, NAMES).certificate_file.read_bytes() == before
    assert first.key_file.stat().st_mode & 0o077 == 0
    assert (tmp_path / "tls_ca.key").stat().st_mode & 0o077 == 0
    certificate = x509.load_pem_x509_certificate(before)
    ca = x509.load_pem_x509_certificate((tmp_path / "tls_ca.crt").read_bytes())
    certificate.verify_directly_issued_by(ca)
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc < timedelta(days=398)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "box.local"]
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1", "192.168.7.9"]


def test_new_address_gets_a_new_certificate_of_the_same_authority(tmp_path: Path) -> None:
    tls.own(tmp_path, NAMES)
    ca = (tmp_path / "tls_ca.crt").read_bytes()
    before = (tmp_path / "tls_server.crt").read_bytes()
    again = tls.own(tmp_path, [*NAMES, "10.0.0.4"])
    assert again.certificate_file.read_bytes() != before
    assert (tmp_path / "tls_ca.crt").read_bytes() == ca


def test_authority_signs_for_nobody_else(tmp_path: Path) -> None:
    made = tls.own(tmp_path, [*NAMES, "bank.example", "8.8.8.8"])
    assert made.left_out == ("bank.example", "8.8.8.8")
    ca = x509.load_pem_x509_certificate((tmp_path / "tls_ca.crt").read_bytes())
    limits = ca.extensions.get_extension_for_class(x509.NameConstraints)
    assert limits.critical
    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0


def test_given_files_are_looked_at(tmp_path: Path) -> None:
    made = tls.own(tmp_path, NAMES)
    assert tls.given(made.certificate_file, made.key_file).names == (
        "localhost",
        "box.local",
        "127.0.0.1",
        "::1",
        "192.168.7.9",
    )
    with pytest.raises(ValueError, match="no file"):
        tls.given(tmp_path / "nothing.pem", made.key_file)
    with pytest.raises(ValueError, match="not a certificate"):
        tls.given(made.certificate_file, tmp_path / "tls_ca.key")


def test_pages_of_trust_only_where_they_belong(client, db, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    assert client.get("/trust/").status_code == 404
    assert client.get("/trust/ca.crt").status_code == 404
    monkeypatch.setattr(tls, "_served", tls.own(tmp_path, NAMES))
    page = client.get("/trust/")
    der = client.get("/trust/ca.crt").content
    assert tls.fingerprint(der) in page.text
    assert x509.load_der_x509_certificate(der).subject
    assert client.post("/trust/").status_code == 405


class Browser:
    """Enough of a browser to sign in over one connection."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self.origin = f"https://localhost:{port}"
        self.connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=60)
        self.cookies: dict[str, str] = {}
        self.set_cookies: list[str] = []

    @property
    def cookie_header(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    def ask(self, method: str, path: str, form: dict[str, str] | None = None) -> tuple[http.client.HTTPResponse, bytes]:
        head = {"Cookie": self.cookie_header, "Referer": self.origin + path, "Origin": self.origin}
        if form is not None:
            head["Content-Type"] = "application/x-www-form-urlencoded"
        self.connection.request(method, path, urlencode(form) if form else None, head)
        answer = self.connection.getresponse()
        body = answer.read()
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            self.set_cookies.append(cookie)
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer, body


def test_answers_over_tls_13_and_wss(start: Callable[..., Serving], prepared: dict[str, str]) -> None:
    passwords = manage(prepared, "seed_demo", "--reset-passwords")
    password = next(line.split()[2] for line in passwords.splitlines() if "analyst" in line)
    serving = start("--tls")
    assert serving.first_line() == f"Serving https://127.0.0.1:{serving.port}"
    ca_line, fingerprint = serving.first_line(), serving.first_line()
    context = ssl.create_default_context(cafile=ca_line.rpartition(": ")[2])
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    browser = Browser(serving.port, context)
    answer, page = browser.ask("GET", "/accounts/login/")
    assert browser.connection.sock.version() == "TLSv1.3"  # type: ignore[attr-defined]
    assert answer.status == 200
    assert "Strict-Transport-Security" not in answer.headers
    token = page.decode().split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]
    form = {"csrfmiddlewaretoken": token, "login": "analyst", "password": password}
    answer, _ = browser.ask("POST", "/accounts/login/", form)
    assert (answer.status, answer.headers["Location"]) == (302, "/")
    assert "__Host-sessionid" in browser.cookies
    assert all("; Secure" in cookie for cookie in browser.set_cookies)
    assert browser.ask("GET", "/settings/security/")[0].status == 200
    assert fingerprint == f"SHA-256 {tls.fingerprint(browser.ask('GET', '/trust/ca.crt')[1])}"
    with (
        socket.create_connection(("127.0.0.1", serving.port)) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as wss,
    ):
        key = base64.b64encode(os.urandom(16)).decode()
        wss.sendall(
            f"GET /ws/jobs/ HTTP/1.1\r\nHost: localhost:{serving.port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nOrigin: {browser.origin}\r\nCookie: {browser.cookie_header}\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        assert wss.version() == "TLSv1.3"
        assert wss.recv(4096).startswith(b"HTTP/1.1 101")
    with pytest.raises(ssl.SSLCertVerificationError):
        http.client.HTTPSConnection("localhost", serving.port, timeout=60).request("GET", "/")


def test_half_a_certificate_is_refused(prepared: dict[str, str]) -> None:
    with pytest.raises(AssertionError, match="go together: a certificate and its key"):
        manage(prepared, "serve", "--tls-cert", "somewhere.pem")
