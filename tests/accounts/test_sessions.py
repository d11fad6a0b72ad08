"""Devices: sessions are listed, end one by one or all, and end by themselves when the rules say so."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.core import signing
from django.core.signing import BadSignature
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import sessions
from accounts.models import AuditLog, CustomRole, MemberSession, Organization, Role, SignInRules, User
from accounts.permissions import Permission
from accounts.services import set_password
from tests.factories import PASSWORD

pytestmark = pytest.mark.django_db

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Mobile Safari/604.1"


def signed_in(user: User, agent: str = FIREFOX) -> Client:
    client = Client(headers={"User-Agent": agent}, REMOTE_ADDR="192.0.2.7")
    assert client.post("/accounts/login/", {"login": user.username, "password": PASSWORD}).status_code == 302
    return client


def age(user: User, **changes: Any) -> None:
    assert MemberSession.objects.filter(user=user).update(**changes)


def is_in(client: Client) -> bool:
    return client.get(reverse("accounts:security")).status_code == 200


def test_page_lists_devices(alice: User, bob: User, django_assert_num_queries: Any) -> None:
    client = signed_in(alice)
    signed_in(alice, IPHONE)
    signed_in(bob, IPHONE)
    page = client.get(reverse("accounts:security")).text
    assert "Firefox on Linux" in page
    assert "Safari on iPhone" in page
    assert "192.0.2.7" in page
    assert page.count("this device") == 1
    assert page.count(">Sign out<span") == 1
    signed_in(alice, IPHONE)
    with django_assert_num_queries(6):  # session, member, factors, devices, organisation, mentions
        client.get(reverse("accounts:security"))


def test_page_of_nobody_and_wrong_methods(client: Client, alice: User) -> None:
    address = reverse("accounts:security")
    assert client.get(address).status_code == 302
    assert client.post(reverse("accounts:end_other_sessions")).status_code == 302
    client.force_login(alice)
    assert client.post(address).status_code == 405
    assert client.get(reverse("accounts:end_other_sessions")).status_code == 405


@pytest.mark.parametrize(
    ("referrer", "then"),
    [
        ("http://testserver/review/?kind=image", "/review/?kind=image#unsent"),
        ("https://elsewhere.example/review/", "/"),
        ("", "/"),
    ],
)
def test_a_form_sent_without_a_session_leads_back_to_its_page(client: Client, referrer: str, then: str) -> None:
    answer = client.post("/review/take/", headers={"Referer": referrer} if referrer else {})
    assert answer.status_code == 302
    address = urlsplit(answer["Location"])
    assert (address.path, parse_qs(address.query)) == ("/accounts/login/", {"next": [then]})
    assert "was not saved" in client.get(answer["Location"]).text


def test_a_part_of_a_page_sent_without_a_session_leads_the_page_to_sign_in(client: Client) -> None:
    headers = {"HX-Request": "true", "Referer": "http://testserver/review/cases/1/"}
    answer = client.post("/review/take/", headers=headers)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer["HX-Redirect"] == "/accounts/login/?next=%2Freview%2Fcases%2F1%2F%23unsent"


def test_a_page_asked_for_without_a_session_is_where_signing_in_leads(client: Client) -> None:
    assert client.get("/review/?kind=image")["Location"] == "/accounts/login/?next=/review/%3Fkind%3Dimage"


def test_ending_one_device(alice: User, charlie: User) -> None:
    here, there, stranger = signed_in(alice), signed_in(alice, IPHONE), signed_in(charlie)
    row = MemberSession.objects.get(user=alice, user_agent=IPHONE)
    address = reverse("accounts:end_session", args=[row.device_id])
    assert here.get(address).status_code == 405
    assert Client().post(address).status_code == 302
    assert stranger.post(address).status_code == 404
    assert is_in(there)
    assert here.post(address).status_code == 302
    assert is_in(here)
    assert not is_in(there)
    assert here.post(address).status_code == 404
    ended = AuditLog.objects.get(action="auth.session_ended")
    assert (ended.actor, ended.details["why"], ended.details["browser"]) == (alice, "member", "Safari on iPhone")


def test_ending_all_others(alice: User) -> None:
    here, there = signed_in(alice), signed_in(alice, IPHONE)
    here.post(reverse("accounts:end_other_sessions"))
    assert is_in(here)
    assert not is_in(there)
    assert AuditLog.objects.get(action="auth.sessions_ended").details["count"] == 1


def test_idle_session_ends_and_says_why(alice: User) -> None:
    client = signed_in(alice)
    age(alice, seen_at=timezone.now() - timedelta(minutes=241))
    answer = client.get("/", follow=True)
    assert "not used for a while" in answer.text
    assert not MemberSession.objects.filter(user=alice).exists()
    assert AuditLog.objects.get(action="auth.session_ended").details == {"why": "idle"}


def test_session_has_a_full_length(alice: User) -> None:
    client = signed_in(alice)
    age(alice, started_at=timezone.now() - timedelta(hours=12, minutes=1))
    assert not is_in(client)


def test_organisation_sets_the_lengths(alice: User, organization: Organization) -> None:
    SignInRules.objects.create(organization=organization, idle_minutes=10, session_hours=2)
    client = signed_in(alice)
    age(alice, seen_at=timezone.now() - timedelta(minutes=9))
    assert is_in(client)
    age(alice, seen_at=timezone.now() - timedelta(minutes=11))
    assert not is_in(client)


def test_api_session_ends_too(alice: User) -> None:
    client = signed_in(alice)
    assert client.get("/v1/jobs").status_code == 200
    age(alice, seen_at=timezone.now() - timedelta(hours=5))
    assert client.get("/v1/jobs").status_code in (401, 403)


def test_seen_is_written_once_a_minute_and_not_by_pages_on_their_own(
    alice: User, django_assert_num_queries: Any
) -> None:
    client = signed_in(alice)
    before = MemberSession.objects.get(user=alice).seen_at
    client.get("/settings/")
    assert MemberSession.objects.get(user=alice).seen_at == before
    long_ago = timezone.now() - timedelta(minutes=5)
    age(alice, seen_at=long_ago)
    client.get("/settings/", headers={"X-Requested-With": "fetch"})
    assert MemberSession.objects.get(user=alice).seen_at == long_ago
    client.get("/settings/")
    assert MemberSession.objects.get(user=alice).seen_at > before


def test_key_changes_at_sign_in_and_with_privileges(client: Client, alice: User) -> None:
    client.get("/accounts/login/")
    session = client.session
    session["kept"] = "yes"
    session.save()
    before = session.session_key
    client.post("/accounts/login/", {"login": "alice", "password": PASSWORD})
    first = client.session.session_key
    assert first != before
    client.get("/settings/")
    assert client.session.session_key == first
    User.objects.filter(pk=alice.pk).update(role=Role.ADMIN)
    assert client.get("/settings/").status_code == 200
    assert client.session.session_key != first
    assert MemberSession.objects.filter(user=alice).count() == 1


def test_key_changes_with_roles_of_ones_own(client: Client, alice: User, organization: Organization) -> None:
    """Beside such a role `role` is always the least one, so it tells nothing of what the member may do."""
    seeing, deleting = Permission.VIEW.value, Permission.DELETE.value
    roles = [
        CustomRole.objects.create(organization=organization, name=name, permissions=[seeing])
        for name in ("Desk", "Night desk")
    ]
    User.objects.filter(pk=alice.pk).update(role=Role.VIEWER)
    client.force_login(alice)
    client.get("/settings/")
    seen = [client.session.session_key]
    for role in roles:
        User.objects.filter(pk=alice.pk).update(custom_role=role)
        client.get("/settings/")
        seen.append(client.session.session_key)
    CustomRole.objects.filter(pk=roles[1].pk).update(permissions=[seeing, deleting])
    client.get("/settings/")
    seen.append(client.session.session_key)
    client.get("/settings/")
    assert client.session.session_key == seen[-1]
    assert len(set(seen)) == 4


def test_database_holds_nothing_that_opens_a_session(alice: User) -> None:
    """Whoever has a dump or a backup has the rows; none of what stands in them signs anybody in."""
    client = signed_in(alice)
    session = client.session
    session["mfa.totp.secret"] = "JBSWY3DPEHPK3PXP"
    session.save()
    cookie = client.cookies["sessionid"].value
    row = MemberSession.objects.get(user=alice)
    stored = " ".join(str(value) for value in MemberSession.objects.filter(user=alice).values().get().values())
    assert cookie not in stored
    assert row.session_key == sessions.row_key(cookie)
    assert "JBSWY3DPEHPK3PXP" not in stored
    with pytest.raises(BadSignature):
        signing.loads(row.session_data, salt=session.key_salt)  # nor is it Django's form, which anybody can read
    stranger = Client(headers={"User-Agent": FIREFOX})
    stranger.cookies["sessionid"] = row.session_key
    assert not is_in(stranger)
    assert is_in(client)
    assert client.session["mfa.totp.secret"] == "JBSWY3DPEHPK3PXP"


def test_session_that_was_sealed_elsewhere_signs_nobody_in(alice: User) -> None:
    client = signed_in(alice)
    age(alice, session_data=signing.dumps({"_auth_user_id": str(alice.pk)}, salt=client.session.key_salt))
    assert not is_in(client)


def test_password_change_ends_other_devices(alice: User, mailoutbox: Any) -> None:
    here, there = signed_in(alice), signed_in(alice, IPHONE)
    key = here.session.session_key
    wish = {"oldpassword": PASSWORD, "password1": "seven brown lamps", "password2": "seven brown lamps"}
    mailoutbox.clear()
    assert here.post("/accounts/password/change/", wish).status_code == 302
    assert is_in(here)
    assert not is_in(there)
    assert here.session.session_key != key
    assert MemberSession.objects.filter(user=alice).count() == 1
    assert [(mail.to, mail.subject) for mail in mailoutbox] == [(["alice@example.org"], "Your password was changed")]
    assert AuditLog.objects.filter(action="user.password_changed", actor=alice).exists()


def test_password_set_by_somebody_else_and_deactivation_end_all(alice: User, bob: User) -> None:
    hers, his = signed_in(alice), signed_in(bob)
    set_password(user=alice, password="seven brown lamps")
    bob.is_active = False
    bob.save()
    assert not is_in(hers)
    assert not is_in(his)
    assert MemberSession.objects.exclude(user=None).count() == 0


def test_end_sessions_keeps_one(alice: User) -> None:
    here = signed_in(alice)
    signed_in(alice, IPHONE)
    assert sessions.end_sessions(alice, keep=here.session.session_key) == 1
    assert sessions.end_sessions(alice) == 1
    assert sessions.end_sessions(alice) == 0


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        (FIREFOX, "Firefox on Linux"),
        (IPHONE, "Safari on iPhone"),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0", "Edge on Windows"),
        ("curl/8.5.0", "curl"),
        ("", "Unknown browser"),
    ],
)
def test_browser_names(agent: str, name: str) -> None:
    assert sessions.browser_name(agent) == name
