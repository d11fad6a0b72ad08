"""Nothing personal and no secret gets into the log: planted through real log calls and a failing request."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import UTC, datetime
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.test import Client
from django.urls import get_resolver, path, reverse

from deepfake import server
from deepfake.log_privacy import RULES, PrivacyFilter, hide_ips, redact

KEY = "dfk_0a1b2c3d_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
PLANTED = {
    "anna.miller+news@mail.example.org": "<email>",
    "anna%40example.org": "<email>",
    "+49 170 1234567": "<phone>",
    "0044 20 7946 0958": "<phone>",
    "(555) 123-4567": "<phone>",
    "555-123-4567": "<phone>",
    "DE89 3704 0044 0532 0130 00": "<iban>",
    "GB82WEST12345698765432": "<iban>",
    "4111 1111 1111 1111": "<card>",
    "5500-0000-0000-0004": "<card>",
    "078-05-1120": "<identity>",
    "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<": "<mrz>",
    KEY: "<key>",
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw": "<key>",
    "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl": "<token>",
    "correct-horse-battery": "<secret>",
}


class Thing:
    """What `extra=` may carry: nothing that a formatter knows, but for its text."""

    def __init__(self, value: str) -> None:
        self.value = value

    def __str__(self) -> str:
        return f"<Thing: {sentence(self.value)}>"

    __repr__ = __str__


class Mute:
    """Has no text at all."""

    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


def sentence(value: str) -> str:
    return f"password={value}" if value == "correct-horse-battery" else f"Could not take {value} today"


@pytest.fixture(params=["line", "json"])
def log(request: Any) -> Iterator[io.StringIO]:
    """The house's own logging configuration in each of its formats, writing where it can be read."""
    stream = io.StringIO()
    configured: dict[str, Any] = deepcopy(django_settings.LOGGING)
    configured["handlers"]["console"] |= {"stream": stream, "formatter": request.param}
    for name in ("deepfake.access", "deepfake.request"):
        configured["loggers"][name]["level"] = "NOTSET"
    root = logging.getLogger()
    before = root.handlers[:], root.level
    logging.config.dictConfig(configured)
    yield stream
    root.handlers[:], root.level = before[0], before[1]
    logging.config.dictConfig(django_settings.LOGGING | {"handlers": {}, "root": {}})


@pytest.mark.parametrize(("value", "mark"), PLANTED.items())
def test_planted_values_do_not_get_through(log: io.StringIO, value: str, mark: str) -> None:
    logger = logging.getLogger("planted")
    logger.warning(sentence(value))
    logger.warning("With arguments: %s %r", sentence(value), {"note": sentence(value)})
    try:
        raise ValueError(sentence(value))
    except ValueError:
        logger.exception("It failed")
    logger.warning("With its stack", extra={"note": sentence(value), "thing": Thing(value)}, stack_info=True)
    text = log.getvalue()
    assert value not in text
    assert text.count(mark) >= 4
    assert "Traceback (most recent call last)" in text
    assert "ValueError" in text


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Authorization: Bearer abcdefgh12345678", "<secret>"),
        ('"password": "hunter2 and more"', '"password": <secret>'),
        ("{'api_key': 'abc', 'mode': 'auto'}", "{'api_key': <secret>, 'mode': 'auto'}"),
        (
            "GET /artifacts/1?expires=99&signature=abc&page=2",
            "GET /artifacts/1?expires=<secret>&signature=<secret>&page=2",
        ),
        ("https://b.s3.amazonaws.com/x?X-Amz-Signature=ab12&X-Amz-Credential=AK", "X-Amz-Signature=<secret>"),
        ("postgres://house:hunter2@db:5432/media", "postgres://<user>@db:5432/media"),
        ("Cookie: sessionid=0abc123def", "<secret>"),
        ("X-Api-Key: hunter2", "X-Api-Key: <secret>"),
        ("/accounts/oidc/x/login/callback/?code=hunter2&SAMLResponse=ab12", "?code=<secret>&SAMLResponse=<secret>"),
        ("GET /accounts/login/?next=%2Finvitation%2Fhunter2%3Aab12 200", "%2Finvitation%2F<secret> 200"),
        ("postgres://house:hunter2@home@db:5432/media", "postgres://<user>@db:5432/media"),
    ],
)
def test_secrets_by_their_place(text: str, wanted: str) -> None:
    cleaned = redact(text)
    assert wanted in cleaned
    for secret in ("hunter2", "abcdefgh12345678", "ab12", "0abc123def", "signature=abc", "'abc'"):
        assert secret not in cleaned


@pytest.mark.parametrize(
    "text",
    [
        "job_0a1b2c3d4e5f60718293a4b5c6d7e8f9 failed",
        "2026-11-27 04:37:12,123 WARNING 12.5 ms",
        "0b6e1c1e-8f3a-4a53-9a3e-2f3f7c1d2e3f went to another worker",
        "sha256 " + "ab12" * 16,
        "4111 1111 1111 1112 is no card: its last digit is wrong",
        "Pass 3: 1,234 wrapped anew. 1280x720 at 29.97 fps, 10.000.000 bytes, 1e-05",
        "GET /v1/jobs?cursor=cD0yMDI2&limit=50 200 12 ms",
        "version 1.31.1, model ensemble-2026.11.21-ab12cd34",
        "127.0.0.1:8000",
    ],
)
def test_what_a_line_is_found_by_stays(text: str) -> None:
    assert redact(text, hides_ips=True) == text


@pytest.mark.parametrize("address", ["192.0.2.17", "2001:db8::17"])
def test_addresses_are_hidden_where_that_is_wished(address: str) -> None:
    assert redact(f"refused {address}") == f"refused {address}"
    assert redact(f"refused {address}", hides_ips=True) == "refused <ip>"


def test_extra_fields_for_formatters_that_write_them(caplog: Any) -> None:
    record = logging.makeLogRecord({"msg": "x", "password": "hunter2", "user": {"email": "a@example.org", "n": 1}})
    assert PrivacyFilter().filter(record)
    assert record.__dict__["password"] == "<secret>"
    assert record.__dict__["user"] == {"email": "<email>", "n": 1}


def test_of_extra_fields_numbers_stay_and_all_else_is_cleaned_as_text(log: io.StringIO) -> None:
    cyclic: dict[str, Any] = {"email": "anna@example.org"}
    cyclic["again"] = cyclic
    extra = {
        "status": 404,
        "ms": 1.5,
        "is_good": True,
        "none": None,
        "when": datetime(2026, 11, 27, 14, 3, tzinfo=UTC),
        "things": [Thing("anna@example.org"), {"anna@example.org": 1}],
        "raw": b"anna@example.org",
        "names": {"anna@example.org"},
        "request": "<ASGIRequest: GET '/v1/jobs?q=jane.doe@example.org&token=SECRETQ'>",
        "mute": Mute(),
        "cyclic": cyclic,
    }
    logging.getLogger("planted").warning("x %s", Mute(), extra=extra)
    text = log.getvalue()
    for value in ("anna@example.org", "jane.doe@example.org", "SECRETQ"):
        assert value not in text
    if text.startswith("{"):
        line = json.loads(text)
        assert (line["status"], line["ms"], line["is_good"], line["none"]) == (404, 1.5, True, None)
        assert line["when"] == "2026-11-27 14:03:00+00:00"
        assert line["things"] == ["<Thing: Could not take <email> today>", {"<email>": 1}]
        assert (line["raw"], line["names"], line["mute"]) == ("<email>'", ["<email>"], "<Mute>")
        assert "request" not in line


def test_arguments_that_do_not_fit_are_no_second_failure() -> None:
    record = logging.makeLogRecord({"msg": "%d of %s", "args": ("a@example.org",)})
    assert PrivacyFilter().filter(record)
    assert "@" not in record.getMessage()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("card 4111 1111 1111 1111 4 times", "card <card> 4 times"),
        ("GET /pay/4111111111111111 404 12 ms", "GET /pay/<card> 404 12 ms"),
        ("12 4111 1111 1111 1111", "12 <card>"),
        ("4111-1111-1111-1111 5500 0000 0000 0004 2 of 2", "<card> <card> 2 of 2"),
        ("Amex 3782 822463 10005 404 15 ms", "Amex <card> 404 15 ms"),
        ("Paid with 4111 1111 1111 1111.", "Paid with <card>."),
        ("ES91 2100 0418 4502 0005 1332 200 15", "<iban> 200 15"),
        ("DE89 3704 0044 0532 0130 00 GB82 WEST 1234 5698 7654 32 12 times", "<iban> <iban> 12 times"),
    ],
)
def test_numbers_are_found_among_other_numbers(text: str, wanted: str) -> None:
    assert redact(text) == wanted


def test_lists_of_numbers_stay() -> None:
    for text in ("scores 12 5 33 8 1 90 14 2 21 7 18 4 55 61 3", "00000000-0000-0000-0000-000000000000"):
        assert redact(text) == text


# Time -----------------------------------------------------------------------------------------------------------------

REPEATED = r"""a. a- a 1 1. 1- A A< < A1 a@ a@a. a@1. a%40 :// a:// x: :: eyJaaaaa -eyJaaaaa eyJaaaaa. ?a= &X-Amz-a
    pwd= pwd=" pwd=' pwd=\"
    dfk_ sk_0a1b2c3d_ passport passport< P< +1 00 555- GB82 /invitation/ %2Finvitation%2F \ " = - . é ٣"""
SPACED = "1|12|token|bearer |passport|passport no|+49|(555)|GB82|DE89 3704|4111 1111||pwd"
BEGINNINGS = "eyJaaaaa|passport|pwd|pwd=|a@|://|a://|token|?X-Amz-|AA11|+1|P<|" + "A" * 29 + "<"
HOSTILE = [*REPEATED.split(), *(f"{text} " for text in SPACED.split("|")), "\n", "pwd \n"]


def hostile(length: int) -> Iterator[str]:
    for unit in HOSTILE:
        for beginning in ("", *BEGINNINGS.split("|")) if len(unit) <= 2 else ("",):
            yield beginning + unit * (length // len(unit))


def seconds(rule: Callable[[str], str], text: str, times: int = 1) -> float:
    """Of this thread alone, so that a busy machine does not count."""
    best = 1e9
    for _ in range(times):
        began = time.thread_time()
        rule(text)
        best = min(best, time.thread_time() - began)
    return best


@pytest.mark.parametrize("name", [*RULES, "address"])
def test_no_text_makes_a_rule_slow(name: str) -> None:
    """Four times the text may take four times as long; what grows with the square would take sixteen times."""
    rule = (RULES | {"address": hide_ips})[name]
    slow = []
    for short, long in zip(hostile(3_000), hostile(12_000), strict=True):
        if seconds(rule, long) < 0.01:  # where the square takes ten times that
            continue
        ratio = seconds(rule, long, 5) / seconds(rule, short, 5)
        if ratio > 9:
            slow.append(f"{ratio:.1f} times as long for four times {short[:40]!r}")
    assert not slow, "\n".join(slow)


def test_an_address_is_logged_as_far_as_a_line_needs_it(log: io.StringIO, client: Client) -> None:
    asked = "/" + "a." * 7900
    server._log_access("http", "complete", {"method": "G" * 9000, "path": asked, "status": 404, "time_taken": 0.1})
    assert 500 < len(log.getvalue()) < 900
    client.get(asked)
    for line in log.getvalue().splitlines():
        assert len(line) < 1200
    assert "Not Found" in log.getvalue()


# Addresses that let somebody in ---------------------------------------------------------------------------------------

ONE_TIME = {"key", "token"}  # names of what stands in the path and is a secret; of the others none is
OPEN_BY_THEMSELVES = {"account_confirm_email", "account_reset_password_from_key", "invitation", "appeal"}


def links() -> dict[str, str]:
    """Each address with a secret in it, by its name."""
    found = {}

    def walk(patterns: Any, space: str) -> None:
        for one in patterns:
            if hasattr(one, "url_patterns"):
                walk(one.url_patterns, f"{space}{one.namespace}:" if one.namespace else space)
                continue
            names = one.pattern.regex.groupindex
            if ONE_TIME & set(names):
                found[one.name] = reverse(space + one.name, kwargs=dict.fromkeys(names, "s3cr3tl1nk"))

    walk([one for one in get_resolver().url_patterns if getattr(one, "namespace", "") != "admin"], "")
    return found


def test_the_list_of_links_is_that_of_the_urls() -> None:
    assert set(links()) == OPEN_BY_THEMSELVES


@pytest.mark.django_db
@pytest.mark.parametrize("name", sorted(OPEN_BY_THEMSELVES))
def test_links_that_let_somebody_in_are_logged_without_what_does(log: io.StringIO, client: Client, name: str) -> None:
    address = links()[name]
    client.get(address)  # the request log, and what Django says of refusals
    server._log_access("http", "complete", {"method": "GET", "path": address, "status": 200, "time_taken": 0.1})
    logging.getLogger("django.request").warning("Not Found: %s", address, extra={"status_code": 404})
    assert "s3cr3tl1nk" not in log.getvalue()
    assert log.getvalue().count(address.partition("s3cr3tl1nk")[0] + "<secret>") >= 3


def test_patterns_of_addresses_stay() -> None:
    route = "/accounts/password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)/"
    for text in (route, "/invitation/<str:token>/", "/review/jobs/0b6e1c1e-8f3a-4a53-9a3e-2f3f7c1d2e3f/appeals/link/"):
        assert redact(text) == text


def test_no_logger_has_a_handler_that_does_not_clean() -> None:
    """Django's own print to the console when DEBUG is on."""
    code = """
import logging
import django
django.setup()
from deepfake.log_privacy import PrivacyFilter
found = [logging.getLogger(), *(one for one in logging.root.manager.loggerDict.values() if hasattr(one, "handlers"))]
for logger in found:
    for handler in logger.handlers:
        cleans = any(isinstance(one, PrivacyFilter) for one in handler.filters)
        # django.server is that of runserver, which nobody starts.
        assert cleans or isinstance(handler, logging.NullHandler) or logger.name == "django.server", (logger, handler)
"""
    with TemporaryDirectory() as folder:
        variables = os.environ | {"DJANGO_SETTINGS_MODULE": "deepfake.settings", "DATA_DIR": folder, "DEBUG": "yes"}
        done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def failing(request: Any) -> Any:
    raise RuntimeError(f"No row for {request.GET['who']} with {request.META['HTTP_AUTHORIZATION']}")


urlpatterns = [path("fails/", failing)]


@pytest.mark.urls("tests.deepfake.test_log_privacy")
@pytest.mark.django_db
def test_a_request_that_really_fails(log: io.StringIO) -> None:
    client = Client(raise_request_exception=False)
    answer = client.get("/fails/?who=anna@example.org&token=abc123secret", headers={"Authorization": f"Bearer {KEY}"})
    assert answer.status_code == 500
    text = log.getvalue()
    assert "RuntimeError: No row for <email> with" in text
    for value in ("anna@example.org", KEY, "abc123secret"):
        assert value not in text
