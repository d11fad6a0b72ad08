"""Members: the list, inviting, the link, switching off and on, the second factor."""

from __future__ import annotations

import time
from smtplib import SMTPServerDisconnected

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth.hashers import make_password
from django.core import mail
from django.core.signing import TimestampSigner
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import jobs, members, roles
from accounts.models import AuditLog, CustomRole, Role, User
from accounts.permissions import Permission
from deepfake import mails
from deepfake.errors import DomainError, TryLater
from tests import factories

pytestmark = pytest.mark.django_db
PASSWORD = "four quiet herons fishing"


def path_of(member: User) -> str:
    return "/invitation/" + members.invitation_link(member).partition("/invitation/")[2]


@pytest.fixture
def ivy(organization, administrator) -> User:
    return members.invite(
        organization=organization, username="ivy", email="ivy@example.org", role=Role.ANALYST, actor=administrator
    )


def page_of(member: User, name: str = "member") -> str:
    return reverse(f"accounts:{name}", args=[member.pk])


# Inviting -------------------------------------------------------------------------------------------------------------


def test_from_the_form_to_signing_in(client: Client, administrator, organization):
    client.force_login(administrator)
    sent = {"username": "ivy", "full_name": "Ivy von Stein", "email": "ivy@example.org", "role": "analyst"}
    response = client.post(reverse("accounts:invite"), sent | {"is_sent": "1"}, follow=True)
    ivy = User.objects.get(username="ivy")
    assert (ivy.first_name, ivy.last_name, ivy.organization) == ("Ivy", "von Stein", organization)
    link = members.invitation_link(ivy).rpartition(":")[0].rpartition(":")[0]  # without the moment of signing
    assert link in response.text
    assert link not in client.get(page_of(ivy)).text  # shown this once
    fresh = Client()
    page = fresh.get(path_of(ivy))
    assert page.headers["Referrer-Policy"] == "same-origin"  # with no-referrer, browsers send "Origin: null"
    assert "ivy" in page.text
    assert fresh.post(path_of(ivy), {"password": PASSWORD, "again": PASSWORD}).status_code == 302
    assert fresh.post("/accounts/login/", {"login": "ivy", "password": PASSWORD}).status_code == 302
    assert fresh.session["_auth_user_id"] == str(ivy.pk)
    actions = AuditLog.objects.order_by("id").values_list("action", flat=True)
    assert [action for action in actions if action.startswith("user.")] == [
        "user.invited", "user.password_set", "user.joined"
    ]  # fmt: skip


def test_the_link_works_once_and_only_the_newest_does(client: Client, ivy, administrator):
    first = path_of(ivy)
    members.invite_again(member=ivy, actor=administrator)
    assert client.get(first).status_code == 404
    second = path_of(ivy)
    client.post(second, {"password": PASSWORD, "again": PASSWORD})
    assert client.get(second).status_code == 404
    assert client.post(second, {"password": "another one entirely", "again": "another one entirely"}).status_code == 404
    ivy.refresh_from_db()
    assert ivy.check_password(PASSWORD)
    with pytest.raises(DomainError, match="signed in already"):
        members.invite_again(member=ivy, actor=administrator)


def test_the_link_expires(client: Client, ivy, monkeypatch):
    link = path_of(ivy)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 7 * 86400 - 60)
    assert client.get(link).status_code == 200
    monkeypatch.setattr(time, "time", lambda: now + 7 * 86400 + 60)
    assert client.get(link).status_code == 404


@pytest.mark.parametrize("token", ["over", "1.aaaa:bbbb:cccc", "1"])
def test_forged_links(client: Client, ivy, token):
    assert client.get(reverse("accounts:invitation", args=[token])).status_code == 404
    own = TimestampSigner(salt="accounts.invitation").sign(f"{ivy.pk}.0000")
    assert client.get(reverse("accounts:invitation", args=[own])).status_code == 404


def test_a_weak_or_mistyped_password_is_refused(client: Client, ivy):
    for sent, sentence in (
        ({"password": "short", "again": "short"}, "too short"),
        ({"password": PASSWORD, "again": PASSWORD + "!"}, "two passwords differ"),
        ({}, "too short"),
    ):
        response = client.post(path_of(ivy), sent)
        assert response.status_code == 400
        assert sentence in response.text
    assert members.is_invited(User.objects.get(pk=ivy.pk))


def test_the_link_of_somebody_switched_off_is_dead(client: Client, ivy, administrator):
    link = path_of(ivy)
    members.deactivate(member=ivy, actor=administrator)
    assert client.get(link).status_code == 404


def test_the_message(ivy):
    jobs.send_invitation(ivy.pk)
    [message] = mail.outbox
    assert message.to == ["ivy@example.org"]
    assert "/invitation/" in message.body
    members.accept(member=ivy, password=PASSWORD)
    jobs.send_invitation(ivy.pk)
    assert len(mail.outbox) == 1


@pytest.mark.parametrize("job", [jobs.send_invitation, jobs.send_password_notice])
def test_a_message_waits_for_the_mail_server(ivy, monkeypatch, job):
    def away(*args: object, **kwargs: object) -> None:
        raise SMTPServerDisconnected("Connection unexpectedly closed")

    monkeypatch.setattr(mails, "send_mail", away)
    with pytest.raises(TryLater, match="closed"):
        job(ivy.pk)


@pytest.mark.parametrize(("sent", "code"), [
    ({"username": "alice"}, 409), ({"username": "ALICE"}, 409), ({"username": "a b"}, 400), ({"username": ""}, 400),
    ({"email": "nonsense"}, 400), ({"email": "ALICE@example.org"}, 409), ({"role": "king"}, 400),
    ({"role": "00000000-0000-0000-0000-000000000000"}, 400),
])  # fmt: skip
def test_what_cannot_be_invited(client: Client, administrator, alice, sent, code):
    client.force_login(administrator)
    response = client.post(reverse("accounts:invite"), {"username": "ivy", "role": "viewer", "email": ""} | sent)
    assert response.status_code == code
    assert 'role="alert"' in response.text
    assert not User.objects.filter(username="ivy").exists()


# Switching off and on -------------------------------------------------------------------------------------------------


def test_switching_off_ends_sessions_and_switching_on_does_not_bring_them_back(client: Client, administrator, alice):
    hers = Client()
    hers.force_login(alice)
    client.force_login(administrator)
    assert client.post(page_of(alice, "member_deactivate")).status_code == 302
    assert hers.get("/").status_code == 302
    assert client.post(page_of(alice, "member_reactivate")).status_code == 302
    assert hers.get("/").status_code == 302
    assert client.get("/").status_code == 200  # others stay signed in
    actions = list(AuditLog.objects.filter(target_id=str(alice.pk)).values_list("action", flat=True))
    assert "user.deactivated" in actions
    assert "user.reactivated" in actions


def test_signing_out_everywhere(client: Client, administrator, alice):
    hers = Client()
    hers.force_login(alice)
    client.force_login(administrator)
    client.post(page_of(alice, "member_end_sessions"))
    assert hers.get("/").status_code == 302
    assert AuditLog.objects.get(action="user.sessions_ended").details == {"sessions_ended": 1}


def test_nobody_switches_off_themselves_or_the_last_administrator(client: Client, administrator, organization):
    client.force_login(administrator)
    response = client.post(page_of(administrator, "member_deactivate"))
    assert response.status_code == 409
    assert "your own account" in response.text
    with pytest.raises(DomainError) as refused:
        members.deactivate(member=administrator, actor=None)
    assert refused.value.code == "last_administrator"
    administrator.refresh_from_db()
    assert administrator.is_active


def test_nobody_reaches_above_themselves(client: Client, organization, administrator, bob):
    small = CustomRole.objects.create(organization=organization, name="Desk", permissions=[Permission.MEMBERS])
    dora = factories.make_user(organization, "dora", Role.VIEWER, custom_role=small)
    client.force_login(dora)
    for name in ("member_deactivate", "member_end_sessions", "member_reset_factor", "member_reactivate"):
        assert client.post(page_of(bob, name)).status_code == 403, name
    assert client.post(page_of(bob, "member_role"), {"role": "viewer"}).status_code == 403
    assert client.post(page_of(dora, "member_role"), {"role": "admin"}).status_code == 403
    bob.refresh_from_db()
    assert bob.is_active
    page = client.get(page_of(bob)).text
    assert "may do more than you" in page
    assert "Switch the account off" not in page


@pytest.mark.parametrize("mark", ["is_staff", "is_superuser"])
def test_an_administrator_reaches_no_operator_of_the_installation(
    client: Client, organization, administrator, bob, mark
):
    operator = factories.make_user(organization, "root", Role.VIEWER, **{mark: True})
    client.force_login(administrator)
    for name in ("member_deactivate", "member_end_sessions", "member_reset_factor", "member_reactivate"):
        assert client.post(page_of(operator, name)).status_code == 403, name
    assert client.post(page_of(operator, "member_role"), {"role": "analyst"}).status_code == 403
    operator.refresh_from_db()
    assert (operator.is_active, operator.role) == (True, "viewer")
    assert "may do more than you" in client.get(page_of(operator)).text
    User.objects.filter(pk=administrator.pk).update(is_superuser=True)
    assert client.post(page_of(operator, "member_role"), {"role": "analyst"}).status_code == 302
    # Operators who are administrators of their organisation go on as such.
    User.objects.filter(pk=administrator.pk).update(is_superuser=False, is_staff=True)
    assert client.post(page_of(bob, "member_role"), {"role": "viewer"}).status_code == 302
    members.invite(organization=organization, username="new", role=Role.VIEWER, actor=administrator)


def test_the_second_factor_is_forgotten(client: Client, administrator, alice, mailoutbox):
    User.objects.filter(pk=alice.pk).update(email="alice@example.org")
    Authenticator.objects.create(user=alice, type=Authenticator.Type.TOTP, data={"secret": "x"})
    Authenticator.objects.create(user=alice, type=Authenticator.Type.RECOVERY_CODES, data={})
    client.force_login(administrator)
    assert "Reset the second factor" in client.get(page_of(alice)).text
    client.post(page_of(alice, "member_reset_factor"))
    assert not Authenticator.objects.filter(user=alice).exists()
    assert AuditLog.objects.get(action="auth.factors_reset").details["kinds"] == ["recovery_codes", "totp"]
    assert [mail.to for mail in mailoutbox] == [["alice@example.org"]]  # somebody else did it: the member hears of it
    own = client.post(page_of(administrator, "member_reset_factor"))
    assert own.status_code == 409


def test_giving_a_role(client: Client, administrator, alice, organization):
    role = roles.create_role(organization=organization, name="Desk", permissions=[Permission.VIEW], actor=administrator)
    client.force_login(administrator)
    for wanted, name in ((str(role.pk), "Desk"), ("reviewer", "Reviewer")):
        assert client.post(page_of(alice, "member_role"), {"role": wanted}).status_code == 302
        assert User.objects.get(pk=alice.pk).role_name == name
    assert client.post(page_of(alice, "member_role"), {"role": "king"}).status_code == 400


def test_whoever_gives_up_managing_members_is_led_elsewhere(client: Client, administrator, organization):
    factories.make_user(organization, "ben", Role.ADMIN)
    client.force_login(administrator)
    response = client.post(page_of(administrator, "member_role"), {"role": "analyst"})
    assert response.headers["Location"] == reverse("accounts:settings")


# The list -------------------------------------------------------------------------------------------------------------


def test_find_and_filter(client: Client, administrator, alice, vera, ivy):
    vera.is_active = False
    vera.save()
    client.force_login(administrator)
    url = reverse("accounts:members")

    def shown(**query: str) -> set[str]:
        return {member.username for member in client.get(url, query).context["members"]}

    assert shown() == {"ada", "alice", "ivy", "vera"}
    assert shown(q="ALICE@") == {"alice"}
    assert shown(state="invited") == {"ivy"}
    assert shown(state="off") == {"vera"}
    assert shown(state="active") == {"ada", "alice"}
    assert shown(q="nobody-like-this") == set()
    assert shown(state="nonsense") == {"ada", "alice", "ivy", "vera"}


def test_pages_follow_each_other_without_gap_and_cost_the_same(
    client: Client, administrator, organization, django_assert_num_queries
):
    role = CustomRole.objects.create(organization=organization, name="Desk", permissions=["media.view"])
    User.objects.bulk_create(
        User(username=f"member{number:04}", organization=organization, custom_role=role if number % 2 else None)
        for number in range(2000)
    )
    client.force_login(administrator)
    url, query, seen = reverse("accounts:members"), "", []
    pages = 0
    while True:
        with django_assert_num_queries(5):  # session, user, organisation, members; the header's open cases
            page = client.get(f"{url}?{query}")
        seen += [member.username for member in page.context["members"]]
        query, pages = page.context["next_query"], pages + 1
        if not query:
            break
    assert pages == 41
    assert len(seen) == len(set(seen)) == 2001


def test_access(client: Client, vera, alice, other_organization):
    url = reverse("accounts:members")
    assert client.get(url).status_code == 302
    client.force_login(vera)
    assert client.get(url).status_code == 403
    client.force_login(factories.make_user(other_organization, "otto", Role.ADMIN))
    assert "alice" not in client.get(url).text
    assert client.get(page_of(alice)).status_code == 404
    assert client.post(page_of(alice, "member_deactivate")).status_code == 404
    assert client.get(page_of(alice, "member_deactivate")).status_code == 405
    assert client.post(url).status_code == 405


@pytest.mark.parametrize(
    ("values", "is_so"),
    [
        ({}, True),
        ({"invited_at": None}, False),
        ({"is_active": False}, False),
        ({"last_login": timezone.now()}, False),
        ({"password": make_password(factories.PASSWORD)}, False),
    ],
)
def test_who_is_invited_is_the_same_of_one_and_of_many(administrator, organization, values, is_so):
    made = members.invite(organization=organization, username="new", role=Role.VIEWER, actor=administrator)
    User.objects.filter(pk=made.pk).update(**values)
    made.refresh_from_db()
    assert members.is_invited(made) is is_so
    assert User.objects.filter(members.INVITED, pk=made.pk).exists() is is_so
