"""Allowed addresses, rotation with an overlap, scopes that cannot be given away, refused uses in the audit log."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from accounts.api_keys import (
    change_api_key,
    create_api_key,
    derive_signing_secret,
    parse_addresses,
    revoke_api_key,
    rotate_api_key,
    signing_secret,
    signing_secrets,
)
from accounts.models import ApiKey, AuditLog, Organization, User
from deepfake import rate_limits
from deepfake.errors import DomainError

pytestmark = pytest.mark.django_db


def ask(client: Client, text: str, address: str = "127.0.0.1", **more: Any) -> Any:
    return client.get("/v1/jobs", headers={"Authorization": f"Bearer {text}"} | more, REMOTE_ADDR=address)


# Addresses ------------------------------------------------------------------------------------------------------------


def test_addresses_are_kept_in_their_usual_form() -> None:
    given = "203.0.113.7, 198.51.100.0/24\n2001:DB8::0/32 2001:db8::0007 203.0.113.7/32"
    assert parse_addresses(given) == ["203.0.113.7", "198.51.100.0/24", "2001:db8::/32", "2001:db8::7"]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("300.1.2.3", "300.1.2.3 is no IP address"),
        ("example.org", "example.org is no IP address"),
        ("10.0.0.5/8", "Write 10.0.0.0/8 for the network"),
        ("2001:db8::1/32", "Write 2001:db8::/32 for the network"),
        (["10.0.0.0/33"], "is no IP address and no network"),
        (" ".join(f"10.0.{n}.1" for n in range(101)), "at most 100"),
    ],
)
def test_what_is_no_address_is_told(given: Any, sentence: str) -> None:
    with pytest.raises(DomainError, match=sentence) as refused:
        parse_addresses(given)
    assert refused.value.code == "address_invalid"
    assert "ip_allow_list" in refused.value.fields


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("203.0.113.7", 200),
        ("203.0.113.8", 403),
        ("198.51.100.200", 200),
        ("2001:db8:1::5", 200),
        ("2001:db9::5", 403),
        ("::ffff:203.0.113.7", 200),  # the same caller, seen by a server that listens on both protocols
        ("", 403),
    ],
)
def test_only_from_allowed_addresses(client: Client, organization: Organization, address: str, status: int) -> None:
    _, text = create_api_key(
        organization=organization,
        scopes=["detect:read"],
        ip_allow_list=["203.0.113.7", "198.51.100.0/24", "2001:db8::/32"],
    )
    answer = ask(client, text, address)
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["code"] == "address_not_allowed"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("::ffff:198.51.100.0/120", "198.51.100.0/24"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("::/0", "::/0"),
    ],
)
def test_an_older_address_in_newer_clothes_is_kept_as_it_is_seen(given: str, kept: str) -> None:
    assert parse_addresses(given) == [kept]


@pytest.mark.parametrize("allowed", ["::ffff:127.0.0.1", "::ffff:127.0.0.0/104"])
def test_a_key_for_an_older_address_in_newer_clothes_can_be_used(
    client: Client, organization: Organization, allowed: str
) -> None:
    made, text = create_api_key(organization=organization, scopes=["detect:read"], ip_allow_list=[allowed])
    assert ask(client, text, "127.0.0.1").status_code == 200
    ApiKey.objects.filter(pk=made.pk).update(ip_allow_list=[allowed])  # as it was kept formerly
    assert ask(client, text, "::ffff:127.0.0.1").status_code == 200
    assert ask(client, text, "203.0.113.7").status_code == 403


def test_a_proxy_of_ours_is_believed_about_the_address_and_a_stranger_is_not(
    client: Client, organization: Organization, settings: Any
) -> None:
    _, text = create_api_key(organization=organization, scopes=["detect:read"], ip_allow_list=["203.0.113.7"])
    forged = {"X-Forwarded-For": "203.0.113.7"}
    assert ask(client, text, "198.51.100.9", **forged).status_code == 403
    settings.TRUSTED_PROXY_COUNT = 1
    assert ask(client, text, "10.0.0.1", **forged).status_code == 200
    assert ask(client, text, "10.0.0.1", **{"X-Forwarded-For": "203.0.113.7, 198.51.100.9"}).status_code == 403


def test_last_use_has_time_and_address(client: Client, organization: Organization) -> None:
    key, text = create_api_key(organization=organization, scopes=["detect:read"])
    ask(client, text, "203.0.113.7")
    ask(client, text, "203.0.113.8")  # within the minute: not worth a write
    key.refresh_from_db()
    assert key.last_used_at is not None
    assert key.last_used_ip == "203.0.113.7"


def test_refused_uses_are_audited_but_not_each(client: Client, organization: Organization) -> None:
    key, text = create_api_key(organization=organization, scopes=["detect:read"], ip_allow_list=["203.0.113.7"])
    for _ in range(3):
        assert ask(client, text, "198.51.100.9").status_code == 403
    rows = AuditLog.objects.filter(action="api_key.refused")
    row = rows.get()
    assert (row.target_id, row.ip_address) == (str(key.pk), "198.51.100.9")
    assert row.details == {"prefix": key.prefix, "why": "address"}
    for number in range(40):  # another address each time
        ask(client, text, f"2001:db8::{number}")
    assert rows.count() == 20
    rate_limits.forget()  # the hour has gone by
    cache.clear()
    revoke_api_key(api_key=key)
    ask(client, text, "203.0.113.7")
    ask(client, text + "x", "203.0.113.7")
    assert [row.details["why"] for row in rows.order_by("-id")[:2]] == ["secret", "revoked"]


# Rotation -------------------------------------------------------------------------------------------------------------


def test_both_secrets_work_until_the_chosen_time(client: Client, organization: Organization) -> None:
    key, old = create_api_key(organization=organization, scopes=["detect:read"])
    key, new = rotate_api_key(api_key=key, overlap=timedelta(hours=2))
    assert new != old
    assert new.startswith(key.prefix)
    assert (ask(client, old).status_code, ask(client, new).status_code) == (200, 200)
    assert signing_secrets(key) == [derive_signing_secret(new), derive_signing_secret(old)]
    assert signing_secret(key) == derive_signing_secret(new)
    ApiKey.objects.filter(pk=key.pk).update(previous_valid_until=timezone.now() - timedelta(seconds=1))
    assert (ask(client, old).status_code, ask(client, new).status_code) == (401, 200)
    key.refresh_from_db()
    assert signing_secrets(key) == [derive_signing_secret(new)]


def test_a_second_rotation_ends_the_oldest(client: Client, organization: Organization) -> None:
    key, first = create_api_key(organization=organization, scopes=["detect:read"])
    _, second = rotate_api_key(api_key=key)
    key, third = rotate_api_key(api_key=key)
    assert [ask(client, text).status_code for text in (first, second, third)] == [401, 200, 200]
    assert signing_secrets(key) == [derive_signing_secret(third), derive_signing_secret(second)]


def test_no_overlap_ends_the_old_one_at_once(client: Client, organization: Organization) -> None:
    key, old = create_api_key(organization=organization, scopes=["detect:read"])
    key, _ = rotate_api_key(api_key=key, overlap=timedelta(0))
    assert ask(client, old).status_code == 401
    assert len(signing_secrets(key)) == 1


@pytest.mark.parametrize("overlap", [timedelta(seconds=-1), timedelta(days=31)])
def test_an_overlap_has_bounds(organization: Organization, overlap: timedelta) -> None:
    key, _ = create_api_key(organization=organization, scopes=["detect:read"])
    with pytest.raises(DomainError, match="0 to 30 days"):
        rotate_api_key(api_key=key, overlap=overlap)


def test_revoking_ends_both_secrets_and_forbids_the_rest(client: Client, organization: Organization) -> None:
    key, old = create_api_key(organization=organization, scopes=["detect:read"])
    key, new = rotate_api_key(api_key=key)
    revoke_api_key(api_key=key)
    assert (ask(client, old).status_code, ask(client, new).status_code) == (401, 401)
    with pytest.raises(DomainError, match="revoked"):
        rotate_api_key(api_key=key)
    with pytest.raises(DomainError, match="revoked"):
        change_api_key(api_key=key, changes={"name": "x"})


# Scopes and changes ---------------------------------------------------------------------------------------------------


def holder(*scopes: str) -> Any:
    return lambda scope: scope in scopes


def test_nobody_gives_a_scope_that_they_do_not_hold(organization: Organization) -> None:
    holds = holder("detect:read", "admin:write")
    create_api_key(organization=organization, scopes=["detect:read"], holds=holds)
    for scopes in (["detect:write"], ["detect:*"], ["detect:read", "review:read"]):
        with pytest.raises(DomainError) as refused:
            create_api_key(organization=organization, scopes=scopes, holds=holds)
        assert (refused.value.code, refused.value.status) == ("scope_not_held", 403)
    create_api_key(organization=organization, scopes=["detect:*"], holds=holder("detect:read", "detect:write"))


def test_nor_gets_hold_of_one_by_a_stronger_key(organization: Organization) -> None:
    strong, _ = create_api_key(organization=organization, scopes=["detect:*", "admin:*"])
    holds = holder("admin:read", "admin:write")
    with pytest.raises(DomainError, match="do not hold audit:read, detect"):
        rotate_api_key(api_key=strong, holds=holds)
    with pytest.raises(DomainError, match="do not hold review:read"):
        change_api_key(api_key=strong, changes={"scopes": ["detect:*", "review:read"]}, holds=holds)
    changed = change_api_key(api_key=strong, changes={"scopes": ["detect:read"], "name": "less"}, holds=holds)
    assert (changed.scopes, changed.name) == (["detect:read"], "less")


def test_changes_are_audited_with_what_was_before(organization: Organization, administrator: User) -> None:
    key, _ = create_api_key(organization=organization, scopes=["detect:read"], name="old")
    change_api_key(api_key=key, changes={"name": "new", "reads_per_minute": 5}, actor=administrator)
    change_api_key(api_key=key, changes={"name": "new"}, actor=administrator)  # nothing to say
    row = AuditLog.objects.get(action="api_key.changed")
    assert row.details == {
        "before": {"name": "old", "reads_per_minute": None},
        "after": {"name": "new", "reads_per_minute": 5},
    }
    with pytest.raises(DomainError, match="whole number from 1"):
        change_api_key(api_key=key, changes={"reads_per_minute": 0})


def test_an_organisation_has_so_many_keys_and_no_more(organization: Organization, monkeypatch: Any) -> None:
    monkeypatch.setattr("accounts.api_keys.MOST_KEYS", 2)
    first, _ = create_api_key(organization=organization, scopes=["detect:read"])
    create_api_key(organization=organization, scopes=["detect:read"])
    with pytest.raises(DomainError, match="at most 2 keys"):
        create_api_key(organization=organization, scopes=["detect:read"])
    revoke_api_key(api_key=first)
    create_api_key(organization=organization, scopes=["detect:read"])


def test_command_makes_sandbox_keys_for_some_addresses(organization: Organization, capsys: Any) -> None:
    wish = {"organization": "example", "scopes": "detect:read"}
    call_command("create_api_key", **wish, sandbox=True, allow=["203.0.113.0/24"], days=7)
    text = capsys.readouterr().out.strip()
    assert text.startswith("test_")
    key = ApiKey.objects.get(prefix=text[:13])
    assert (key.is_sandbox, key.ip_allow_list) == (True, ["203.0.113.0/24"])
    assert timedelta(days=6) < key.expires_at - timezone.now() <= timedelta(days=7)  # type: ignore[operator]
    with pytest.raises(CommandError, match="is no IP address"):
        call_command("create_api_key", **wish, allow=["nonsense"])
