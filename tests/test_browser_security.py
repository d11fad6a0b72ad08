"""What browsers are told: every address's answers, cookies under TLS, foreign pages, foreign hosts, hostile files."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from http.cookies import SimpleCookie
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import reverse

from deepfake import storage
from detection import ranges
from detection.models import Job
from tests import factories
from tests.authorisation import ADDRESSES, API, ROOT, SAMPLES, Address, World, knock
from tests.authorisation import world as world

pytestmark = pytest.mark.django_db(transaction=False)

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # No less either: after "no-referrer" browsers send "Origin: null" with every form of the page, which is refused.
    "Referrer-Policy": "same-origin",
}
# What a browser or a client may keep, and why.
KEPT = {
    "detection:media_file": "a player seeks back; signing out clears it",
    "detection:thumbnail": "a list is drawn again at every change; signing out clears it",
    "detection:artifact": "as above",
}
# Published for everybody by their standards, without cookies: other sites' scripts and caches may have them.
PUBLISHED = (".well-known/openid-configuration", ".well-known/oauth-authorization-server", ".well-known/jwks.json")
INLINE = re.compile(
    rb"<style[\s>]|\sstyle\s*=|\son[a-z]+\s*=\s*[\"']|javascript:|<script(?![^>]*\ssrc=)(?![^>]*type=.application/json)",
    re.IGNORECASE,
)


def faults(name: str, response: Any, *, is_file: bool) -> list[str]:
    found = [
        f"{header} is {response.headers.get(header)!r}, should be {wanted!r}"
        for header, wanted in HEADERS.items()
        if response.headers.get(header) != wanted
    ]
    if "camera=(self)" not in response.headers.get("Permissions-Policy", ""):
        found.append("Permissions-Policy is missing")
    policy = response.headers.get("Content-Security-Policy", "")
    if not policy or "unsafe" in policy or "*" in policy or "default-src" not in policy:
        found.append(f"Content-Security-Policy is {policy!r}")
    cache = response.headers.get("Cache-Control", "")
    is_published = name in PUBLISHED
    if not (is_published or "no-store" in cache or (is_file and cache.startswith("private"))):
        found.append(f"Cache-Control is {cache!r}")
    if response.headers.get("Content-Type", "").startswith("text/html") and (inline := INLINE.search(response.seen)):
        at = inline.start()
        found.append(f"needs inline: …{response.seen[max(0, at - 40) : at + 60]!r}…")
    if "Access-Control-Allow-Origin" in response.headers and not is_published:
        found.append("lets other sites read it")
    return [f"/{name}: {one}" for one in found]


def known(addresses: list[Address]) -> list[Address]:
    """Those that can be asked: test_authorisation says which lack a sample."""
    plain = [replace(address, name="") for address in addresses if not re.search(r"[<^\\$]", address.path)]
    return plain + [address for address in addresses if address.has_object and address.name in SAMPLES]


def test_every_page_sends_the_whole_set_and_needs_nothing_inline(world: World) -> None:
    """As an administrator, who sees most, and as nobody, who sees sign-in and refusals."""
    wrong, looked_at = [], 0
    for address in known(ADDRESSES):
        if address.is_api or address.gate:
            continue
        for who, member in (("admin", world.admin), ("anonymous", None)):
            response: Any = knock(world, world.clients[who], address, "GET", member)[1]
            wrong += faults(address.path, response, is_file=address.name in KEPT)
            looked_at += response.status_code == 200
    assert not wrong, "\n".join(sorted(set(wrong)))
    assert looked_at > 60


def test_every_answer_of_the_api_sends_the_whole_set(world: World) -> None:
    wrong = []
    for address in known(API):
        for key in ("", world.all_scopes):
            response: Any = knock(world, Client(raise_request_exception=False), address, "GET", None, key=key)[1]
            # Finished jobs have an ETag: a client may keep them and must ask each time ("private, no-cache").
            wrong += faults(address.path, response, is_file=True)
    assert not wrong, "\n".join(sorted(set(wrong)))


def test_the_back_office_needs_nothing_inline(client: Client, admin_page_member: Any) -> None:
    client.force_login(admin_page_member)
    index = client.get("/admin/")
    index.seen = index.content
    wrong = faults("admin/", index, is_file=False)
    tables = sorted(set(re.findall(r'href="(/admin/[a-z_0-9]+/[a-z_0-9]+/)"', index.content.decode())))
    assert len(tables) > 10
    for path in tables:
        for page in (path, f"{path}add/"):
            answer: Any = client.get(page)
            answer.seen = answer.content
            wrong += faults(page, answer, is_file=False)
    assert not wrong, "\n".join(wrong)


@pytest.fixture
def admin_page_member(organization: Any) -> Any:
    from accounts.models import Role

    member = factories.make_user(organization, "root", Role.ADMIN)
    member.is_staff = member.is_superuser = True
    member.save()
    return member


@pytest.mark.parametrize("path", ["/nothing-here", "/static/css/base.css", "/static/nothing.css", "/v1/nothing"])
def test_refusals_and_static_files_send_it_too(client: Client, path: str) -> None:
    answer = client.get(path)
    for header, wanted in HEADERS.items():
        assert answer.headers[header] == wanted, header
    assert "default-src" in answer.headers["Content-Security-Policy"]
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_signing_out_clears_the_browsers_cache(client: Client, alice: Any) -> None:
    client.force_login(alice)
    assert "Clear-Site-Data" not in client.get(reverse("account_logout")).headers
    assert client.post(reverse("account_logout")).headers["Clear-Site-Data"] == '"cache"'


# TLS ------------------------------------------------------------------------------------------------------------------

UNDER_TLS = """
import json, sys
sys.modules.setdefault("pytest", type(sys)("pytest"))  # the folders of tests
import os; os.environ["DJANGO_SETTINGS_MODULE"] = "deepfake.settings"
import django; django.setup()
from django.conf import settings
from django.http import HttpResponse
from django.middleware.csrf import get_token
from django.test import RequestFactory
from django.middleware.csrf import CsrfViewMiddleware
from django.middleware.security import SecurityMiddleware
from csp.middleware import CSPMiddleware
def view(request):
    get_token(request)
    return HttpResponse("x")
chain = SecurityMiddleware(CSPMiddleware(CsrfViewMiddleware(view)))
answers = {}
for proto in ("https", "http"):
    answer = chain(RequestFactory().get("/", headers={"X-Forwarded-Proto": proto}))
    answers[proto] = {**answer.headers, "cookie": answer.cookies.output(header="")}
names = ("SESSION_COOKIE_NAME", "SESSION_COOKIE_SECURE", "SESSION_COOKIE_HTTPONLY", "SESSION_COOKIE_SAMESITE",
         "SESSION_COOKIE_PATH", "SESSION_COOKIE_DOMAIN")
print(json.dumps({"answers": answers, "session": {name: getattr(settings, name) for name in names}}))
"""


def test_behind_tls_cookies_are_bound_to_it_and_browsers_stay(tmp_path: Any) -> None:
    environment = {**os.environ, "HTTPS": "yes", "DATA_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", UNDER_TLS], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    encrypted = said["answers"]["https"]
    assert encrypted["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"
    assert "upgrade-insecure-requests" in encrypted["Content-Security-Policy"]
    cookie = SimpleCookie(encrypted["cookie"])["__Host-csrftoken"]
    assert cookie["secure"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert cookie["path"] == "/"
    assert not cookie["domain"]
    assert said["session"] == {
        "SESSION_COOKIE_NAME": "__Host-sessionid",
        "SESSION_COOKIE_SECURE": True,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SESSION_COOKIE_PATH": "/",
        "SESSION_COOKIE_DOMAIN": None,
    }
    assert "Strict-Transport-Security" not in said["answers"]["http"]


def test_cookies_without_tls(client: Client) -> None:
    def view(request: Any) -> HttpResponse:
        request.session["any"] = "thing"
        return HttpResponse()

    answer = SessionMiddleware(view)(RequestFactory().get("/"))
    cookies = {**answer.cookies, **client.get(reverse("account_login")).cookies}
    assert cookies["sessionid"]["httponly"]
    assert cookies["sessionid"]["samesite"] == "Lax"
    assert cookies["csrftoken"]["httponly"]
    assert cookies["csrftoken"]["samesite"] == "Lax"


# Foreign pages and hosts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("address", "field"), [("detection:upload", "files"), ("api_detect", "file")])
def test_a_foreign_page_uploads_nothing(alice: Any, address: str, field: str) -> None:
    """Even with the token: a page of another site that got hold of it is refused by its Origin."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    page = client.get("/")
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.content.decode())
    assert token is not None

    def upload(**headers: str) -> Any:
        file = SimpleUploadedFile("a.png", factories.png_bytes(), content_type="image/png")
        return client.post(reverse(address), {field: file}, headers={"X-CSRFToken": token.group(1), **headers})

    for origin in ("https://evil.example", "http://testserver:3000", "http://testserver.evil.example", "null"):
        assert upload(Origin=origin).status_code == 403, origin
    assert not Job.objects.exists()
    assert upload(Origin="http://testserver").status_code in (200, 201, 202, 302)
    assert Job.objects.count() == 1


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "localhost@evil.example", "127.0.0.1.nip.io"]
)
def test_a_foreign_host_is_refused(client: Client, host: str) -> None:
    for path in ("/accounts/login/", "/v1/models", "/accounts/password/reset/"):
        answer = client.get(path, headers={"Host": host})
        assert answer.status_code == 400, path
        assert host not in answer.content.decode()


def test_a_forwarded_host_is_not_believed(client: Client) -> None:
    page = client.get("/accounts/login/", headers={"X-Forwarded-Host": "evil.example"})
    assert page.status_code == 200
    assert "evil.example" not in page.content.decode()


# Hostile files --------------------------------------------------------------------------------------------------------

HOSTILE = {
    "image/svg+xml": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "text/html": b"<script>alert(1)</script>",
    "application/xhtml+xml": b"<html/>",
    "application/pdf": b"%PDF-1.7",
    "text/xml": b"<a/>",
    "": b"<script>alert(1)</script>",
    "IMAGE/SVG+XML; charset=utf-8": b"<svg/>",
}


@pytest.mark.parametrize("content_type", HOSTILE)
def test_a_hostile_file_never_runs(organization: Any, content_type: str) -> None:
    name = storage.save_encrypted("media", HOSTILE[content_type], organization_id=organization.id)
    answer = async_to_sync(ranges.respond)(RequestFactory().get("/"), name, content_type=content_type)
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("content_type", ["image/jpeg", "video/mp4", "audio/ogg; codecs=opus"])
def test_pictures_and_clips_are_shown_in_place(organization: Any, content_type: str) -> None:
    name = storage.save_encrypted("media", b"<script>alert(1)</script>", organization_id=organization.id)
    answer = async_to_sync(ranges.respond)(RequestFactory().get("/"), name, content_type=content_type)
    assert "Content-Disposition" not in answer.headers
    assert answer.headers["Content-Type"] == content_type
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_hostile_upload_is_refused_whatever_it_calls_itself(client: Client, alice: Any) -> None:
    client.force_login(alice)
    for content_type, content in HOSTILE.items():
        file = SimpleUploadedFile("portrait.png", content, content_type=content_type or "image/png")
        client.post(reverse("detection:upload"), {"files": file})
    assert not Job.objects.exclude(status="failed").exists()
