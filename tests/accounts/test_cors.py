"""CORS on /v1, and the page of browser origins."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts import cors
from accounts.api_keys import create_api_key
from accounts.models import AllowedOrigin, AuditLog, Organization, User
from deepfake.errors import DomainError

pytestmark = [pytest.mark.django_db]
ORIGIN = "https://app.example.org"
PAGE = "/settings/browser-origins/"


@pytest.fixture
def allowed(organization: Organization) -> AllowedOrigin:
    return cors.allow_origin(organization=organization, origin=ORIGIN, actor=None)


def preflight(client: Client, path: str = "/v1/jobs", origin: str = ORIGIN) -> Any:
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    return client.options(path, headers=asked)


def test_a_preflight_of_a_listed_origin_is_granted(client: Client, allowed: AllowedOrigin) -> None:
    answer = preflight(client)
    assert answer.status_code == 204
    assert answer["Access-Control-Allow-Origin"] == ORIGIN
    assert "Authorization" in answer["Access-Control-Allow-Headers"]
    assert "Idempotency-Key" in answer["Access-Control-Allow-Headers"]
    assert "PATCH" in answer["Access-Control-Allow-Methods"]
    assert "Access-Control-Allow-Credentials" not in answer
    assert "Origin" in answer["Vary"]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://app.example.org.evil.example", "*"])
def test_others_are_not(client: Client, allowed: AllowedOrigin, origin: str) -> None:
    assert "Access-Control-Allow-Origin" not in preflight(client, origin=origin)


def test_nothing_outside_of_the_api_is_concerned(client: Client, allowed: AllowedOrigin, alice: User) -> None:
    client.force_login(alice)
    for path in ("/settings/", "/scim/v2/Users", "/oauth/token"):
        assert "Access-Control-Allow-Origin" not in preflight(client, path)
        assert "Access-Control-Allow-Origin" not in client.get(path, headers={"Origin": ORIGIN})


def test_an_answer_is_readable_for_the_callers_own_list(client: Client, allowed: AllowedOrigin, bearer: Any) -> None:
    answer = client.get("/v1/jobs", headers=bearer | {"Origin": ORIGIN})
    assert answer["Access-Control-Allow-Origin"] == ORIGIN
    exposed = answer["Access-Control-Expose-Headers"]
    for name in (
        "ETag",
        "Idempotent-Replayed",
        "Location",
        "RateLimit",
        "Retry-After",
        "Upload-Offset",
        "X-Request-ID",
    ):
        assert name in exposed.split(", ")
    assert "Access-Control-Allow-Credentials" not in answer
    refused = client.get("/v1/jobs/nothing", headers=bearer | {"Origin": ORIGIN})
    assert (refused.status_code, refused["Access-Control-Allow-Origin"]) == (404, ORIGIN)


def test_and_not_for_the_list_of_another(
    client: Client, allowed: AllowedOrigin, other_organization: Organization
) -> None:
    _, text = create_api_key(organization=other_organization, scopes=["detect:read"])
    answer = client.get("/v1/jobs", headers={"Authorization": f"Bearer {text}", "Origin": ORIGIN})
    assert answer.status_code == 200
    assert "Access-Control-Allow-Origin" not in answer
    assert "Origin" in answer["Vary"]


def test_never_for_a_session_nor_for_an_unknown_key(client: Client, allowed: AllowedOrigin, alice: User) -> None:
    unknown = client.get("/v1/jobs", headers={"Authorization": "Bearer dfk_none_x", "Origin": ORIGIN})
    assert unknown.status_code == 401
    assert "Access-Control-Allow-Origin" not in unknown
    client.force_login(alice)
    assert "Access-Control-Allow-Origin" not in client.get("/v1/jobs", headers={"Origin": ORIGIN})


def test_every_answer_varies_by_origin(client: Client, bearer: Any) -> None:
    assert "Origin" in client.get("/v1/jobs", headers=bearer)["Vary"]


def test_plain_options_of_tus_still_answer(client: Client) -> None:
    assert client.options("/v1/uploads").headers["Tus-Version"] == "1.0.0"


# What an origin is ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("https://App.Example.org/", "https://app.example.org"),
        ("https://app.example.org:443", "https://app.example.org"),
        ("https://app.example.org:8443", "https://app.example.org:8443"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("https://[2001:db8::1]", "https://[2001:db8::1]"),
    ],
)
def test_origins_are_kept_as_browsers_send_them(typed: str, kept: str) -> None:
    assert cors.origin_of(typed) == kept


@pytest.mark.parametrize(
    "typed",
    ["", "*", "null", "app.example.org", "https://*.example.org", "https://app.example.org/path", "ftp://x.example",
     "http://app.example.org", "https://me@app.example.org", "https://app.example.org:99999", "https://a b.example"],
)  # fmt: skip
def test_what_is_none_is_refused(typed: str) -> None:
    with pytest.raises(DomainError):
        cors.origin_of(typed)


# The page -------------------------------------------------------------------------------------------------------------


def test_an_administrator_adds_and_removes(client: Client, administrator: User, organization: Organization) -> None:
    client.force_login(administrator)
    assert "None: no web page" in client.get(PAGE).content.decode()
    assert client.post(PAGE, {"origin": ORIGIN + "/"}).status_code == 302
    row = AllowedOrigin.objects.get()
    assert (row.origin, row.organization, row.created_by) == (ORIGIN, organization, administrator)
    twice = client.post(PAGE, {"origin": ORIGIN})
    assert twice.status_code == 409
    assert "on the list already" in twice.content.decode()
    wrong = client.post(PAGE, {"origin": "app.example.org"})
    assert wrong.status_code == 400
    assert 'value="app.example.org"' in wrong.content.decode()
    assert client.post(f"{PAGE}{row.pk}/remove/").status_code == 302
    assert not AllowedOrigin.objects.exists()
    actions = AuditLog.objects.filter(action__startswith="cors.").order_by("id").values_list("action", flat=True)
    assert list(actions) == ["cors.origin_allowed", "cors.origin_removed"]


def test_who_may_not(client: Client, allowed: AllowedOrigin, alice: User, charlie: User) -> None:
    remove = f"{PAGE}{allowed.pk}/remove/"
    assert client.get(PAGE).status_code == 302
    client.force_login(alice)
    assert client.get(PAGE).status_code == 403
    assert client.post(remove).status_code == 403
    charlie.role = "admin"
    charlie.save()
    client.force_login(charlie)
    assert client.post(remove).status_code == 404
    assert client.get(remove).status_code == 405
    assert client.delete(PAGE).status_code == 405
    assert "None: no web page" in client.get(PAGE).content.decode()
    assert AllowedOrigin.objects.exists()


def test_the_list_costs_the_same_for_many(
    client: Client, administrator: User, organization: Organization, django_assert_max_num_queries: Any
) -> None:
    client.force_login(administrator)
    for number in range(12):
        cors.allow_origin(organization=organization, origin=f"https://a{number}.example", actor=administrator)
    with django_assert_max_num_queries(8):
        client.get(PAGE)


def test_the_list_has_an_end(organization: Organization, monkeypatch: pytest.MonkeyPatch, allowed: Any) -> None:
    monkeypatch.setattr(cors, "MOST_ORIGINS", 1)
    with pytest.raises(DomainError, match="1 origins at most"):
        cors.allow_origin(organization=organization, origin="https://two.example", actor=None)
    cors.remove_origin(row=allowed, actor=None)


def test_the_back_office_uses_the_same_rules(client: Client, organization: Organization) -> None:
    client.force_login(User.objects.create_superuser("root", password="not needed here"))
    wish = {"organization": organization.pk, "origin": "https://x.example/path"}
    assert client.post("/admin/accounts/allowedorigin/add/", wish).status_code == 200
    assert client.post("/admin/accounts/allowedorigin/add/", wish | {"origin": ORIGIN}).status_code == 302
    row = AllowedOrigin.objects.get()
    assert client.post(f"/admin/accounts/allowedorigin/{row.pk}/delete/", {"post": "yes"}).status_code == 302
    assert AuditLog.objects.filter(action__startswith="cors.").count() == 2


def test_an_origin_that_no_browser_sends_is_not_looked_up(client: Client, bearer: dict[str, str]) -> None:
    with CaptureQueriesContext(connection) as asked:
        answer = client.get("/v1/jobs", headers=bearer | {"Origin": "https://a\x00.example.org"})
    assert answer.status_code == 200
    assert not [query for query in asked if "allowedorigin" in query["sql"].lower()]
