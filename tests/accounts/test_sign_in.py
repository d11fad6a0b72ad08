"""Sign-in: by name or e-mail, throttled, without self-registration; the admin shows no secrets."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.hashers import get_hasher
from django.test import Client

from accounts import audit
from accounts.models import ApiKey, Organization, User
from tests.factories import PASSWORD

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("login", ["alice", "alice@example.org", "ALICE"])
def test_by_name_or_address(client: Client, alice: User, login: str) -> None:
    answer = client.post("/accounts/login/", {"login": login, "password": PASSWORD})
    assert answer.status_code == 302
    assert client.session["_auth_user_id"] == str(alice.pk)


def test_guessing_is_throttled(client: Client, alice: User) -> None:
    for _ in range(6):
        client.post("/accounts/login/", {"login": "alice", "password": "guess"})
    answer = client.post("/accounts/login/", {"login": "alice", "password": PASSWORD})
    assert answer.status_code == 200
    assert "_auth_user_id" not in client.session


def test_after_a_wrong_password_the_cursor_is_where_it_is_typed_anew(client: Client, alice: User) -> None:
    def focused(page: str) -> list[str]:
        return re.findall(r'id="(\w+)"[^>]*\sautofocus', page)

    assert focused(client.get("/accounts/login/").text) == ["id_login"]
    answer = client.post("/accounts/login/", {"login": "alice", "password": "guess"})
    assert focused(answer.text) == ["id_password"]


def test_nobody_registers(client: Client) -> None:
    client.post(
        "/accounts/signup/", {"username": "eve", "email": "e@example.org", "password1": PASSWORD, "password2": PASSWORD}
    )
    assert not User.objects.filter(username="eve").exists()


def test_inactive_member(client: Client, alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(is_active=False)
    client.post("/accounts/login/", {"login": "alice", "password": PASSWORD})
    assert "_auth_user_id" not in client.session


def test_admin_is_read_only_where_it_must_be(
    client: Client, organization: Organization, api_key: ApiKey, administrator: User
) -> None:
    User.objects.filter(pk=administrator.pk).update(is_staff=True, is_superuser=True)
    row = audit.record(action="test.row", organization=organization)
    client.force_login(administrator)
    page = client.get(f"/admin/accounts/apikey/{api_key.pk}/change/")
    assert page.status_code == 200
    assert api_key.secret_hash not in page.text
    for address in ("auditlog", "apikey", "organization", "user"):
        assert client.get(f"/admin/accounts/{address}/").status_code == 200
    assert client.get("/admin/accounts/auditlog/add/").status_code == 403
    assert client.post(f"/admin/accounts/auditlog/{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert client.post(f"/admin/accounts/auditlog/{row.pk}/change/", {"action": "x"}).status_code == 403
    client.post("/admin/accounts/apikey/", {"action": "revoke", "_selected_action": [str(api_key.pk)]})
    api_key.refresh_from_db()
    assert api_key.revoked_at is not None


def test_member_without_staff_right_sees_no_admin(client: Client, administrator: User) -> None:
    client.force_login(administrator)
    assert client.get("/admin/").status_code == 302


@pytest.mark.parametrize(
    "login", ["alice", "alice@example.org", "nobody", "nobody@example.org", "no-password@example.org"]
)
def test_every_attempt_costs_one_hash(
    client: Client, alice: User, bob: User, login: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time of an answer does not tell who has an account."""
    alice.email, bob.email = "alice@example.org", "no-password@example.org"
    bob.set_unusable_password()
    alice.save()
    bob.save()
    hasher = type(get_hasher())
    encode, calls = hasher.encode, []
    monkeypatch.setattr(hasher, "encode", lambda *args, **kwargs: calls.append(1) or encode(*args, **kwargs))
    answer = client.post("/accounts/login/", {"login": login, "password": "not the password"})
    assert answer.status_code == 200
    assert len(calls) == 1
