"""A forgotten password: a link by e-mail that works once, ends all sessions, and tells nobody which accounts exist."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from accounts.models import AuditLog, MemberSession, User
from tests.factories import PASSWORD

pytestmark = pytest.mark.django_db


def ask(email: str) -> Any:
    return Client().post("/accounts/password/reset/", {"email": email}, follow=True)


def test_link_works_once_and_ends_sessions(client: Client, alice: User, mailoutbox: Any, settings: Any) -> None:
    client.force_login(alice)
    assert "If there is an account" in ask("alice@example.org").text
    link = re.search(rf"{re.escape(settings.PUBLIC_URL)}(/\S+)", mailoutbox[0].body)
    assert link
    browser = Client()
    form = browser.get(link[1], follow=True)
    assert "At least 12 characters" in form.text
    place = form.redirect_chain[-1][0]
    weak = browser.post(place, {"password1": "finalfantasy", "password2": "finalfantasy"})
    assert "lists of stolen passwords" in weak.text
    done = browser.post(place, {"password1": "seven brown lamps", "password2": "seven brown lamps"}, follow=True)
    assert "Every device was signed out" in done.text
    alice.refresh_from_db()
    assert alice.check_password("seven brown lamps")
    assert "_auth_user_id" not in browser.session
    assert not MemberSession.objects.filter(user=alice).exists()
    assert AuditLog.objects.filter(action="user.password_reset", actor=alice).exists()
    assert [mail.subject for mail in mailoutbox] == ["Reset your password", "Your password was reset"]
    assert "This link no longer works" in Client().get(link[1], follow=True).text


def test_no_mail_names_the_host_that_a_request_named(alice: User, mailoutbox: Any, settings: Any) -> None:
    """Else whoever asks for a reset of somebody's password chooses where the link leads."""
    settings.PUBLIC_URL = "https://detect.example.org"
    settings.ALLOWED_HOSTS = ["127.0.0.1"]
    other = Client(headers={"Host": "127.0.0.1:4444"})
    for email in ("alice@example.org", "nobody@example.org"):
        assert other.post("/accounts/password/reset/", {"email": email}).status_code == 302
    assert "https://detect.example.org/accounts/password/reset/key/" in mailoutbox[0].body
    other.post("/accounts/login/", {"login": "alice", "password": PASSWORD})
    wish = {"oldpassword": PASSWORD, "password1": "seven brown lamps", "password2": "seven brown lamps"}
    assert other.post("/accounts/password/change/", wish).status_code == 302
    assert [mail.subject for mail in mailoutbox] == [
        "Reset your password",
        "Reset your password",
        "New sign-in to Deepfake Detection",
        "Your password was changed",
    ]
    for mail in mailoutbox:
        assert "4444" not in f"{mail.subject} {mail.body}"
        assert "https://detect.example.org" in mail.body


def test_unknown_address_is_answered_alike(alice: User, mailoutbox: Any) -> None:
    known, unknown = ask("alice@example.org"), ask("nobody@example.org")
    plain = [re.sub(r'value="[A-Za-z0-9]{64}"', "", answer.text) for answer in (known, unknown)]
    assert plain[0] == plain[1]
    assert [mail.to for mail in mailoutbox] == [["alice@example.org"], ["nobody@example.org"]]
    assert "There is none" in mailoutbox[1].body
