"""/v1/keys: list, make, read, change, rotate, revoke; who may, and what a caller cannot give away."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts import roles
from accounts.api_keys import CHANGEABLE, create_api_key
from accounts.models import ApiKey, AuditLog, Organization, User
from detection.models import IdempotencyKey

pytestmark = pytest.mark.django_db

SCOPES = ["detect:read", "detect:write", "admin:read", "admin:write"]


@pytest.fixture
def admin_key(organization: Organization) -> ApiKey:
    return create_api_key(organization=organization, scopes=SCOPES, name="automation")[0]


@pytest.fixture
def admin(organization: Organization) -> dict[str, str]:
    _, text = create_api_key(organization=organization, scopes=SCOPES, name="automation")
    return {"Authorization": f"Bearer {text}"}


@pytest.fixture
def foreign(other_organization: Organization) -> ApiKey:
    return create_api_key(organization=other_organization, scopes=["detect:read"])[0]


def post(client: Client, address: str, body: Any, headers: dict[str, str]) -> Any:
    return client.post(address, body, content_type="application/json", headers=headers)


WISH = {
    "name": "Newsroom upload",
    "scopes": ["detect:write", "detect:read"],
    "ip_allow_list": ["127.0.0.1", "203.0.113.0/24"],
    "limits": {"submissions_per_minute": 30},
}


def test_make_use_read_and_list(client: Client, admin: Any, organization: Organization) -> None:
    made = post(client, "/v1/keys", WISH, admin)
    assert made.status_code == 201
    body = made.json()
    assert body["key"].startswith(body["prefix"] + "_")
    assert (body["scopes"], body["ip_allow_list"]) == (["detect:read", "detect:write"], WISH["ip_allow_list"])
    assert body["limits"]["submissions_per_minute"] == 30
    assert (body["state"], body["sandbox"], body["last_used_at"]) == ("active", False, None)
    assert client.get("/v1/jobs", headers={"Authorization": f"Bearer {body['key']}"}).status_code == 200
    read = client.get(f"/v1/keys/{body['key_id']}", headers=admin).json()
    assert "key" not in read
    assert read["last_used_ip"] == "127.0.0.1"
    listed = client.get("/v1/keys", headers=admin).json()["results"]
    assert listed[0] == read
    row = AuditLog.objects.filter(action="api_key.created").latest("id")
    assert row.ip_address == "127.0.0.1"
    assert row.api_key_prefix.startswith("dfk_")


def test_change(client: Client, admin: Any) -> None:
    address = f"/v1/keys/{post(client, '/v1/keys', WISH, admin).json()['key_id']}"
    until = (timezone.now() + timedelta(days=3)).isoformat()
    changes = {"name": "Renamed", "expires_at": until, "limits": {"reads_per_minute": 9}}
    changed = client.patch(address, changes, content_type="application/json", headers=admin)
    assert changed.status_code == 200
    body = changed.json()
    assert (body["name"], body["scopes"]) == ("Renamed", ["detect:read", "detect:write"])
    assert (body["limits"]["reads_per_minute"], body["limits"]["submissions_per_minute"]) == (9, 30)
    taken = {"expires_at": None, "limits": {"reads_per_minute": None}}
    body = client.patch(address, taken, content_type="application/json", headers=admin).json()
    assert (body["expires_at"], body["limits"]["reads_per_minute"]) == (None, None)


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"ip_allow_list": ["10.0.0.5/8"]}, "address_invalid", "ip_allow_list"),
        ({"scopes": ["detect:fly"]}, "invalid_scope", "scopes"),
        ({"name": "  "}, "invalid_name", "name"),
        ({"scopes": []}, "invalid_scope", "scopes"),
        ({"limits": {"reads_per_minute": 0}}, "invalid", "limits.reads_per_minute"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expiry_invalid", "expires_at"),
    ],
)
def test_bad_input(client: Client, admin: Any, change: Any, code: str, field: str) -> None:
    refused = post(client, "/v1/keys", WISH | change, admin)
    assert (refused.status_code, refused.json()["code"]) == (400, code)
    assert field in refused.json()["fields"]
    assert not ApiKey.objects.filter(name=WISH["name"]).exists()


def test_rotate_and_revoke(client: Client, admin: Any) -> None:
    body = post(client, "/v1/keys", WISH, admin).json()
    old = {"Authorization": f"Bearer {body['key']}"}
    rotated = post(client, f"/v1/keys/{body['key_id']}/rotate", {"overlap_hours": 48}, admin)
    assert rotated.status_code == 200
    new = {"Authorization": f"Bearer {rotated.json()['key']}"}
    assert rotated.json()["previous_secret_valid_until"] is not None
    assert [client.get("/v1/jobs", headers=headers).status_code for headers in (old, new)] == [200, 200]
    assert post(client, f"/v1/keys/{body['key_id']}/rotate", {"overlap_hours": 721}, admin).status_code == 400
    assert client.delete(f"/v1/keys/{body['key_id']}", headers=admin).status_code == 204
    assert [client.get("/v1/jobs", headers=headers).status_code for headers in (old, new)] == [401, 401]
    assert post(client, f"/v1/keys/{body['key_id']}/rotate", {}, admin).json()["code"] == "key_revoked"
    listed = {one["key_id"] for one in client.get("/v1/keys", headers=admin).json()["results"]}
    every = {one["key_id"]: one for one in client.get("/v1/keys?revoked=true", headers=admin).json()["results"]}
    assert body["key_id"] not in listed
    assert every[body["key_id"]]["state"] == "revoked"


def test_nobody_gives_away_what_they_do_not_hold(client: Client, admin: Any, organization: Organization) -> None:
    refused = post(client, "/v1/keys", WISH | {"scopes": ["review:read"]}, admin)
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_not_held")
    strong, _ = create_api_key(organization=organization, scopes=["review:*"])
    assert post(client, f"/v1/keys/{strong.public_id}/rotate", {}, admin).status_code == 403
    widened = client.patch(
        f"/v1/keys/{strong.public_id}", {"scopes": ["kyc:*"]}, content_type="application/json", headers=admin
    )
    assert widened.status_code == 403


def test_a_sandbox_key_stays_in_the_sandbox(client: Client, organization: Organization, admin_key: ApiKey) -> None:
    _, text = create_api_key(organization=organization, scopes=SCOPES, is_sandbox=True)
    test = {"Authorization": f"Bearer {text}"}
    assert post(client, "/v1/keys", WISH, test).json()["code"] == "sandbox_key"
    assert post(client, f"/v1/keys/{admin_key.public_id}/rotate", {}, test).status_code == 403
    assert client.delete(f"/v1/keys/{admin_key.public_id}", headers=test).status_code == 403
    made = post(client, "/v1/keys", WISH | {"sandbox": True}, test)
    assert made.status_code == 201
    assert made.json()["key"].startswith("test_")


def test_a_repeat_gets_the_same_key_which_lies_nowhere_in_plain_text(client: Client, admin: Any) -> None:
    headers = admin | {"Idempotency-Key": "once"}
    first, second = (post(client, "/v1/keys", WISH, headers) for _ in range(2))
    assert first.json() == second.json()
    assert second.headers["Idempotent-Replayed"] == "true"
    assert ApiKey.objects.filter(name=WISH["name"]).count() == 1
    assert first.json()["key"] not in str(IdempotencyKey.objects.get(key="once").response_body)


CALLS = [
    ("get", "/v1/keys"),
    ("post", "/v1/keys"),
    ("get", "/v1/keys/{id}"),
    ("patch", "/v1/keys/{id}"),
    ("delete", "/v1/keys/{id}"),
    ("post", "/v1/keys/{id}/rotate"),
]


@pytest.mark.parametrize(("method", "address"), CALLS)
def test_who_may_not(client: Client, bearer: Any, bob: User, admin_key: ApiKey, method: str, address: str) -> None:
    call, here = getattr(client, method), address.replace("{id}", admin_key.public_id)
    body = {"content_type": "application/json", "data": WISH} if method != "get" else {}
    assert call(here, **body).status_code == 401
    assert call(here, **body, headers=bearer).status_code == 403
    client.force_login(bob)
    assert call(here, **body).status_code == 403


@pytest.mark.parametrize(("method", "address"), CALLS[2:])
def test_an_outsiders_key_is_not_there(client: Client, admin: Any, foreign: ApiKey, method: str, address: str) -> None:
    body = {"content_type": "application/json", "data": {}} if method != "get" else {}
    for key_id in (foreign.public_id, "key_nonsense"):
        answer = getattr(client, method)(address.replace("{id}", key_id), **body, headers=admin)
        assert answer.status_code == 404
    foreign.refresh_from_db()
    assert foreign.revoked_at is None


def test_wrong_method(client: Client, admin: Any, admin_key: ApiKey) -> None:
    assert client.delete("/v1/keys", headers=admin).status_code == 405
    assert post(client, f"/v1/keys/{admin_key.public_id}", {}, admin).status_code == 405


def test_an_administrator_manages_keys_with_a_session(client: Client, administrator: User) -> None:
    client.force_login(administrator)
    made = post(client, "/v1/keys", WISH, {})
    assert made.status_code == 201
    assert ApiKey.objects.get(prefix=made.json()["prefix"]).created_by == administrator


def test_list_needs_few_queries(
    client: Client, admin: Any, organization: Organization, django_assert_num_queries: Any
) -> None:
    for _ in range(5):
        create_api_key(organization=organization, scopes=["detect:read"])
    client.get("/v1/keys", headers=admin)
    with django_assert_num_queries(2):
        client.get("/v1/keys", headers=admin)


# A key that changes keys ----------------------------------------------------------------------------------------------


@pytest.fixture
def bounded(organization: Organization, settings: Any) -> tuple[ApiKey, dict[str, str]]:
    """An admin:* key that ends in a month, and may be used from two networks, ten times a minute."""
    settings.API_READS_PER_MINUTE = 600
    key, text = create_api_key(
        organization=organization,
        scopes=["admin:*"],
        expires_at=timezone.now() + timedelta(days=30),
        ip_allow_list=["127.0.0.0/8", "2001:db8::/32"],
        limits={"reads_per_minute": 100, "writes_per_minute": 1000},
    )
    return key, {"Authorization": f"Bearer {text}"}


SOON, LATE = ((timezone.now() + timedelta(days=days)).isoformat() for days in (10, 60))
LOOSER: list[dict[str, Any]] = [
    {"expires_at": None},
    {"expires_at": LATE},
    {"ip_allow_list": []},
    {"ip_allow_list": ["127.0.0.1", "203.0.113.7"]},
    {"ip_allow_list": ["0.0.0.0/0"]},
    {"limits": {"reads_per_minute": None}},
    {"limits": {"reads_per_minute": 101}},
]
TIGHTER = {
    "expires_at": SOON,
    "ip_allow_list": ["127.0.0.1", "2001:db8::7"],
    "limits": {"reads_per_minute": 99, "writes_per_minute": 10},
}


@pytest.mark.parametrize("change", LOOSER)
def test_a_key_cannot_loosen_itself(client: Client, bounded: Any, change: dict[str, Any]) -> None:
    key, headers = bounded
    address = f"/v1/keys/{key.public_id}"
    refused = client.patch(address, change, content_type="application/json", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "more_than_own_key")
    before = [getattr(key, name) for name in CHANGEABLE]
    key.refresh_from_db()
    assert [getattr(key, name) for name in CHANGEABLE] == before
    added = client.patch(address, {"scopes": ["detect:read"]}, content_type="application/json", headers=headers)
    assert (added.status_code, added.json()["code"]) == (403, "scope_not_held")


def test_a_key_may_tighten_itself(client: Client, bounded: Any) -> None:
    key, headers = bounded
    address = f"/v1/keys/{key.public_id}"
    assert client.patch(address, TIGHTER, content_type="application/json", headers=headers).status_code == 200
    assert post(client, f"{address}/rotate", {}, headers).status_code == 200
    again = client.patch(address, {"expires_at": LATE}, content_type="application/json", headers=headers)
    assert again.status_code == 403


@pytest.mark.parametrize("change", LOOSER)
def test_a_key_makes_and_changes_none_that_has_more(
    client: Client, bounded: Any, organization: Organization, change: dict[str, Any]
) -> None:
    _, headers = bounded
    wish = {"name": "Another", "scopes": ["admin:read"], **TIGHTER}
    made = post(client, "/v1/keys", wish, headers)
    assert made.status_code == 201
    refused = post(client, "/v1/keys", wish | change, headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "more_than_own_key")
    address = f"/v1/keys/{made.json()['key_id']}"
    assert client.patch(address, change, content_type="application/json", headers=headers).status_code == 403
    # What another has already may become less, though it stays more than this key's own.
    free, _ = create_api_key(organization=organization, scopes=["admin:read"])
    assert post(client, f"/v1/keys/{free.public_id}/rotate", {}, headers).json()["code"] == "more_than_own_key"
    address, ends = f"/v1/keys/{free.public_id}", {"name": "Ends", "expires_at": LATE}
    assert client.patch(address, ends, content_type="application/json", headers=headers).status_code == 200
    assert (
        client.patch(address, {"expires_at": None}, content_type="application/json", headers=headers).status_code == 403
    )


def test_no_bounds_are_as_many_as_the_installation_gives(client: Client, admin: Any, settings: Any) -> None:
    settings.API_READS_PER_MINUTE = 600
    assert post(client, "/v1/keys", WISH | {"limits": {"reads_per_minute": 600}}, admin).status_code == 201
    assert post(client, "/v1/keys", WISH | {"limits": {"reads_per_minute": 601}}, admin).status_code == 403


def test_members_prolong_no_key_that_does_more_than_they(
    client: Client, organization: Organization, administrator: User, vera: User
) -> None:
    role = roles.create_role(organization=organization, name="Keys", permissions=["keys.manage"], actor=administrator)
    roles.set_role(member=vera, custom_role=role, actor=administrator)
    ended = timezone.now() - timedelta(days=1)
    key, _ = create_api_key(
        organization=organization, scopes=["detect:read"], expires_at=ended, ip_allow_list=["203.0.113.7"]
    )
    address = f"/v1/keys/{key.public_id}"
    for change in ({"expires_at": LATE}, {"expires_at": None}, {"ip_allow_list": []}):
        client.force_login(vera)
        refused = client.patch(address, change, content_type="application/json")
        assert (refused.status_code, refused.json()["code"]) == (403, "scope_not_held")
        client.force_login(administrator)
        assert client.patch(address, change, content_type="application/json").status_code == 200
