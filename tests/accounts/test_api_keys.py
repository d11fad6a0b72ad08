"""API keys: made once, stored as a hash, refused when wrong, expired, revoked or without the scope."""

from __future__ import annotations

import hashlib
import hmac
import io
import re
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import path
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.api_keys import create_api_key, revoke_api_key, signing_secret
from accounts.authentication import HasScope, api_key_of, member_of, organization_of
from accounts.models import ApiKey, AuditLog, Organization, User
from deepfake.errors import DomainError

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


class Read(APIView):
    permission_classes = [HasScope("detect:read")]

    def get(self, request: Request) -> Response:
        key, member = api_key_of(request), member_of(request)
        return Response(
            {
                "organization": organization_of(request).slug,
                "key": key.prefix if key else None,
                "member": member.username if member else None,
            }
        )


class Write(APIView):
    permission_classes = [HasScope("detect:write")]

    def post(self, request: Request) -> Response:
        return Response({"organization": organization_of(request).slug})


urlpatterns = [path("v1/read", Read.as_view()), path("v1/write", Write.as_view())]


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def test_text_and_row(organization: Organization) -> None:
    key, text = create_api_key(organization=organization, scopes=["detect:read"])
    assert re.fullmatch(r"dfk_[0-9a-f]{8}_[A-Za-z0-9_-]{43}", text)
    assert key.prefix == text[:12]
    assert key.secret_hash == hashlib.sha256(text.encode()).hexdigest()
    assert text.encode() not in bytes(key.signing_secret)
    assert AuditLog.objects.get(action="api_key.created").details == {"scopes": ["detect:read"]}


def test_holder_can_derive_the_signing_secret(organization: Organization) -> None:
    key, text = create_api_key(organization=organization, scopes=["detect:read"])
    expected = hmac.new(text.encode(), b"callback-signing", hashlib.sha256).hexdigest().encode()
    assert signing_secret(ApiKey.objects.get(pk=key.pk)) == expected


@pytest.mark.parametrize("scopes", [[], ["detect"], ["detect:all"], ["detect:read", "root:*"]])
def test_unknown_scope(organization: Organization, scopes: list[str]) -> None:
    with pytest.raises(DomainError, match="scope"):
        create_api_key(organization=organization, scopes=scopes)


def test_key_opens_its_organisation(client: Client, organization: Organization) -> None:
    key, text = create_api_key(organization=organization, scopes=["detect:read"])
    answer = client.get("/v1/read", headers=bearer(text))
    assert answer.json() == {"organization": "example", "key": key.prefix, "member": None}
    key.refresh_from_db()
    assert key.last_used_at is not None


def test_no_key(client: Client) -> None:
    answer = client.get("/v1/read")
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert answer.json()["code"] == "not_authenticated"


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer ",
        "Bearer test_00000000_" + "x" * 43,
        "Bearer dfk_00000000_" + "x" * 43,
        "Bearer dfk_é_x",
        "Basic YTpi",
        "{key}x",
    ],
)
def test_wrong_key(client: Client, api_key_and_text: tuple[ApiKey, str], header: str) -> None:
    header = header.replace("{key}", f"Bearer {api_key_and_text[1]}")
    answer = client.get("/v1/read", headers={"Authorization": header})
    assert (answer.status_code, answer.json()["code"]) == (401, "authentication_failed")


@pytest.mark.parametrize("header", ["", " ", "Bearer", "Bearer ", "Basic YTpi", "Token x", ", Bearer x"])
def test_a_header_without_a_key_is_refused_and_never_leads_to_the_session(
    client: Client, alice: User, header: str
) -> None:
    client.force_login(alice)
    assert client.get("/v1/read").status_code == 200
    for answer in (
        client.get("/v1/read", headers={"Authorization": header}),
        client.post("/v1/write", headers={"Authorization": header}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (401, "authentication_failed")


def test_bearer_text_of_another_kind_is_left_to_others(client: Client) -> None:
    answer = client.get("/v1/read", headers=bearer("eyJhbGciOiJSUzI1NiJ9.e30.x"))
    assert answer.status_code == 401


def test_expired_and_revoked_keys(client: Client, organization: Organization) -> None:
    past = timezone.now() - timedelta(seconds=1)
    _, expired = create_api_key(organization=organization, scopes=["detect:read"], expires_at=past)
    key, revoked = create_api_key(organization=organization, scopes=["detect:read"])
    assert client.get("/v1/read", headers=bearer(revoked)).status_code == 200
    revoke_api_key(api_key=key)
    revoke_api_key(api_key=key)
    assert client.get("/v1/read", headers=bearer(expired)).status_code == 401
    assert client.get("/v1/read", headers=bearer(revoked)).status_code == 401
    assert AuditLog.objects.filter(action="api_key.revoked").count() == 1


def test_missing_scope_is_said(client: Client, organization: Organization) -> None:
    _, text = create_api_key(organization=organization, scopes=["detect:read"])
    answer = client.post("/v1/write", headers=bearer(text))
    assert answer.status_code == 403
    assert "detect:write" in answer.json()["detail"]
    _, every = create_api_key(organization=organization, scopes=["detect:*"])
    assert client.post("/v1/write", headers=bearer(every)).status_code == 200


@pytest.mark.parametrize(("member", "may_write"), [("vera", False), ("alice", True), ("bob", True)])
def test_roles_have_scopes(client: Client, request: Any, member: str, may_write: bool) -> None:
    user: User = request.getfixturevalue(member)
    client.force_login(user)
    assert client.get("/v1/read").json() == {"organization": "example", "key": None, "member": member}
    assert client.post("/v1/write").status_code == (200 if may_write else 403)


def test_session_needs_csrf_token(alice: User) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(alice)
    answer = strict.post("/v1/write")
    assert answer.status_code == 403
    assert "CSRF" in answer.json()["detail"]


def test_account_without_organisation(client: Client, db: None) -> None:
    client.force_login(User.objects.create_user("stray", password="x"))
    assert client.get("/v1/read").status_code == 403


def test_command_prints_just_the_key(organization: Organization) -> None:
    out = io.StringIO()
    call_command("create_api_key", organization="example", scopes="detect:read, detect:write", stdout=out)
    text = out.getvalue()
    assert re.fullmatch(r"dfk_[0-9a-f]{8}_[A-Za-z0-9_-]{43}\n", text)
    assert ApiKey.objects.get(prefix=text[:12]).scopes == ["detect:read", "detect:write"]


@pytest.mark.parametrize(
    ("organization_slug", "scopes", "sentence"),
    [("nobody", "detect:read", "no organisation 'nobody'. Known: example"), ("example", "detect:fly", "Unknown scope")],
)
def test_command_refuses(organization: Organization, organization_slug: str, scopes: str, sentence: str) -> None:
    with pytest.raises(CommandError, match=sentence):
        call_command("create_api_key", organization=organization_slug, scopes=scopes)


@pytest.mark.parametrize("headers", [{}, {"X-Api-Key": "dfk_00000000_x"}])
def test_who_sends_no_key_is_told_how(client: Client, headers: dict[str, str]) -> None:
    answer = client.get("/v1/read", headers=headers)
    assert answer.status_code == 401
    assert "Authorization: Bearer" in answer.json()["detail"]
