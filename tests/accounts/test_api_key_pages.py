"""The pages of API keys: list, make, change, rotate, revoke; what is shown once and who may see it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.api_keys import create_api_key, revoke_api_key
from accounts.models import ApiKey, AuditLog, Organization, User

pytestmark = pytest.mark.django_db

LIST, NEW = "/settings/api-keys/", "/settings/api-keys/new/"
TEXT = re.compile(r"(?:dfk|test)_[0-9a-f]{8}_[A-Za-z0-9_-]{43}")
TYPED = {"name": "Newsroom", "scopes": ["detect:read", "detect:write"], "ip_allow_list": "203.0.113.7\n10.0.0.0/8"}


@pytest.fixture
def key(organization: Organization, administrator: User) -> ApiKey:
    return create_api_key(organization=organization, scopes=["detect:read"], name="Archive", created_by=administrator)[
        0
    ]


@pytest.fixture
def ada(client: Client, administrator: User) -> Client:
    client.force_login(administrator)
    return client


def page_of(key: ApiKey, step: str = "") -> str:
    return f"{LIST}{key.pk}/{step}"


def test_list(ada: Client, key: ApiKey, organization: Organization) -> None:
    old, _ = create_api_key(organization=organization, scopes=["kyc:*"], name="Old", is_sandbox=True)
    page = ada.get(LIST).content.decode()
    assert key.prefix in page
    assert "sandbox" in page
    revoke_api_key(api_key=old)
    assert old.prefix not in ada.get(LIST).content.decode()
    assert old.prefix in ada.get(f"{LIST}?revoked=1").content.decode()
    assert reverse("accounts:api_keys") in ada.get("/settings/").content.decode()


def test_list_needs_few_queries(ada: Client, organization: Organization, django_assert_num_queries: Any) -> None:
    for _ in range(5):
        create_api_key(organization=organization, scopes=["detect:read"])
    ada.get(LIST)
    with django_assert_num_queries(6):
        ada.get(LIST)


def test_make_one_and_try_its_line(ada: Client, administrator: User) -> None:
    assert "Make the key" in ada.get(NEW).content.decode()
    made = ada.post(NEW, TYPED | {"expires_on": "", "submissions_per_minute": "30"})
    assert made.status_code == 200
    assert "no-store" in made.headers["Cache-Control"]
    page = made.content.decode()
    text = TEXT.search(page)[0]  # type: ignore[index]
    assert "curl -X POST http://testserver/v1/detect -H &quot;Authorization: Bearer " + text in page
    key = ApiKey.objects.get()
    assert (key.created_by, key.scopes) == (administrator, ["detect:read", "detect:write"])
    assert key.ip_allow_list == ["203.0.113.7", "10.0.0.0/8"]
    assert (key.submissions_per_minute, key.reads_per_minute, key.expires_at) == (30, None, None)
    headers = {"Authorization": f"Bearer {text}"}
    assert Client().get("/v1/jobs", headers=headers, REMOTE_ADDR="10.1.2.3").status_code == 200
    assert Client().get("/v1/jobs", headers=headers).status_code == 403
    assert text not in ada.get(page_of(key)).content.decode()


def test_a_sandbox_key(ada: Client) -> None:
    page = ada.post(NEW, TYPED | {"is_sandbox": "1"}).content.decode()
    assert TEXT.search(page)[0].startswith("test_")  # type: ignore[index]
    assert ApiKey.objects.get().is_sandbox


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": ""}, "Say what the key is for."),
        ({"scopes": []}, "Choose at least one thing"),
        ({"scopes": ["kyc:read"]}, "kyc:read is not one of"),  # no role holds it
        ({"ip_allow_list": "10.0.0.1/8"}, "Write 10.0.0.0/8 for the network"),
        ({"expires_on": "2020-01-01"}, "The expiry lies in the past."),
        ({"reads_per_minute": "0"}, "greater than or equal to 1"),
    ],
)
def test_what_is_refused_comes_back_with_what_was_typed(ada: Client, change: Any, sentence: str) -> None:
    answer = ada.post(NEW, TYPED | change)
    page = answer.content.decode()
    assert answer.status_code == 400
    assert sentence in page
    assert change.get("ip_allow_list", "203.0.113.7") in page
    assert not ApiKey.objects.exists()


def test_change_one(ada: Client, key: ApiKey) -> None:
    day = (timezone.now() + timedelta(days=10)).date()
    answer = ada.post(page_of(key), TYPED | {"expires_on": day.isoformat()})
    assert answer.status_code == 302
    key.refresh_from_db()
    assert (key.name, key.ip_allow_list) == ("Newsroom", ["203.0.113.7", "10.0.0.0/8"])
    assert key.expires_at is not None
    assert key.expires_at.date() == day + timedelta(days=1)  # its end
    page = ada.get(page_of(key)).content.decode()
    assert f'value="{day.isoformat()}"' in page
    assert AuditLog.objects.get(action="api_key.changed").actor_id is not None


def test_a_scope_that_the_member_does_not_hold_may_stay(ada: Client, organization: Organization) -> None:
    key, _ = create_api_key(organization=organization, scopes=["kyc:read", "detect:read"])
    assert ada.post(page_of(key), TYPED | {"scopes": ["kyc:read"]}).status_code == 302
    key.refresh_from_db()
    assert key.scopes == ["kyc:read"]
    refused = ada.post(page_of(key, "rotate/"), {"overlap_hours": "1"}, follow=True)
    assert "You do not hold kyc:read yourself" in refused.content.decode()


def test_rotate(ada: Client, key: ApiKey) -> None:
    before = key.secret_hash
    made = ada.post(page_of(key, "rotate/"), {"overlap_hours": "48"})
    assert "no-store" in made.headers["Cache-Control"]
    assert TEXT.search(made.content.decode())
    key.refresh_from_db()
    assert key.previous_secret_hash == before
    assert key.has_previous_secret
    for hours, sentence in (("", "Say for how many hours"), ("721", "less than or equal to 720")):
        page = ada.post(page_of(key, "rotate/"), {"overlap_hours": hours}, follow=True)
        assert sentence in page.content.decode()


def test_revoke_asks_first(ada: Client, key: ApiKey) -> None:
    assert "Revoke this key?" in ada.get(page_of(key, "revoke/")).content.decode()
    key.refresh_from_db()
    assert key.revoked_at is None
    assert ada.post(page_of(key, "revoke/")).status_code == 302
    key.refresh_from_db()
    assert key.revoked_at is not None
    page = ada.get(page_of(key)).content.decode()
    assert "cannot be changed or brought back" in page
    assert "Keep changes" not in page
    assert ada.post(page_of(key), TYPED).status_code == 400


ADDRESSES = ["", "new/", "{key}/", "{key}/rotate/", "{key}/revoke/"]


@pytest.mark.parametrize("address", ADDRESSES)
def test_anonymous_is_sent_to_sign_in(client: Client, key: ApiKey, address: str) -> None:
    here = LIST + address.replace("{key}", str(key.pk))
    answer = client.post(here) if "rotate" in address else client.get(here)
    assert answer.status_code == 302
    assert "/accounts/login/" in answer.headers["Location"]


@pytest.mark.parametrize("address", ADDRESSES)
def test_only_who_manages_keys(client: Client, bob: User, key: ApiKey, address: str) -> None:
    client.force_login(bob)
    here = LIST + address.replace("{key}", str(key.pk))
    assert (client.post(here) if "rotate" in address else client.get(here)).status_code == 403


@pytest.mark.parametrize(("address", "method"), [("", "get"), ("rotate/", "post"), ("revoke/", "post"), ("", "post")])
def test_keys_of_others_are_not_there(ada: Client, other_organization: Organization, address: str, method: str) -> None:
    foreign, _ = create_api_key(organization=other_organization, scopes=["detect:read"])
    body = {"data": TYPED | {"overlap_hours": "1"}} if method == "post" else {}
    assert getattr(ada, method)(page_of(foreign, address), **body).status_code == 404
    assert foreign.prefix not in ada.get(LIST).content.decode()


@pytest.mark.parametrize(("address", "method"), [("", "post"), ("{key}/rotate/", "get"), ("{key}/revoke/", "put")])
def test_wrong_method(ada: Client, key: ApiKey, address: str, method: str) -> None:
    assert getattr(ada, method)(LIST + address.replace("{key}", str(key.pk))).status_code == 405


def test_only_what_opens_something_is_offered(ada: Client) -> None:
    page = ada.get("/settings/api-keys/new/").content.decode()
    assert 'value="detect:read"' in page
    assert not re.search(r'value="(kyc|documents|review):', page)
