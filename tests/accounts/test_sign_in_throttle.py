"""Failed sign-ins make wait, longer each time, and tell nothing about which accounts there are."""

from __future__ import annotations

import re
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.test import Client
from django.utils import timezone

from accounts import sign_in_throttle
from accounts.models import AuditLog, SignInAttempts, User
from tests.factories import PASSWORD

pytestmark = pytest.mark.django_db


def attempt(login: str, password: str = "guess", client: Client | None = None, address: str = "192.0.2.7") -> Any:
    return (client or Client()).post("/accounts/login/", {"login": login, "password": password}, REMOTE_ADDR=address)


def pass_time(**time: float) -> None:
    for row in SignInAttempts.objects.all():
        row.last_at -= timedelta(**time)
        if row.blocked_until:
            row.blocked_until -= timedelta(**time)
        row.save()


def test_waits_grow(alice: User) -> None:
    for _ in range(5):
        answer = attempt("alice")
    assert "Too many" not in answer.text
    waits = []
    for _ in range(4):
        answer = attempt("alice", PASSWORD)
        assert answer.status_code == 200
        assert "Too many failed attempts. Wait" in answer.text
        row = SignInAttempts.objects.get(failures__gte=5, failures__lt=20, blocked_until__gt=timezone.now())
        waits.append(round((row.blocked_until - row.last_at).total_seconds()))  # type: ignore[operator]
        pass_time(seconds=waits[-1] + 1)
        attempt("alice")
    assert waits == [30, 60, 120, 240]
    throttled = AuditLog.objects.filter(action="auth.throttled")
    assert throttled.count() == 5
    assert throttled.first().actor == alice


def test_right_password_forgets(alice: User) -> None:
    for _ in range(4):
        attempt("alice")
    assert attempt("alice", PASSWORD).status_code == 302
    for _ in range(4):
        assert "Too many" not in attempt("alice").text


@pytest.mark.parametrize("login", ["alice", "alice@example.org", "nobody", "nobody@example.org"])
def test_unknown_accounts_answer_alike(alice: User, login: str) -> None:
    answers = [attempt(login).text for _ in range(7)]
    assert ["do not belong together" in text for text in answers] == [True] * 5 + [False] * 2
    assert [bool(re.search(r"Wait [23]\d seconds", text)) for text in answers] == [False] * 5 + [True] * 2


def test_name_and_address_count_as_one_account(alice: User) -> None:
    for _ in range(3):
        attempt("alice")
        attempt("alice@example.org", address="198.51.100.4")
    assert "Too many" in attempt("ALICE", PASSWORD).text


def test_known_device_is_not_kept_out(alice: User) -> None:
    usual = Client()
    assert attempt("alice", PASSWORD, usual).status_code == 302
    usual.post("/accounts/logout/")
    for _ in range(6):
        attempt("alice", address="198.51.100.4")
    assert "Too many" in attempt("alice", PASSWORD, address="198.51.100.4").text
    assert attempt("alice", PASSWORD, usual).status_code == 302


def test_one_address_that_tries_many_accounts(alice: User) -> None:
    for number in range(30):
        attempt(f"nobody{number}")
    assert "Too many" in attempt("alice", PASSWORD).text
    assert attempt("alice", PASSWORD, address="198.51.100.4").status_code == 302


def test_own_account_does_not_wash_an_address(alice: User) -> None:
    for number in range(29):
        attempt(f"nobody{number}")
        if number % 5 == 0:
            assert attempt("alice", PASSWORD).status_code == 302
    attempt("nobody")
    assert "Too many" in attempt("alice", PASSWORD).text


def test_what_was_typed_is_not_kept_readable() -> None:
    attempt("my-secret-password")
    assert "secret" not in str(list(SignInAttempts.objects.values()))


def test_old_failures_are_cleared(alice: User) -> None:
    attempt("alice")
    pass_time(days=2)
    assert sign_in_throttle.clear_old() == 2
    assert sign_in_throttle.reserve("account", "x") == 0
    assert sign_in_throttle.clear_old() == 0


def test_admin_has_no_door_of_its_own(client: Client, alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(is_staff=True)
    answer = client.post("/admin/login/", {"username": "alice", "password": PASSWORD})
    assert answer.status_code == 302
    assert answer["Location"].startswith("/accounts/login/")
    assert "_auth_user_id" not in client.session


def test_new_device_is_told_once(alice: User, mailoutbox: Any) -> None:
    usual = Client()
    for _ in range(2):
        attempt("alice", PASSWORD, usual)
        usual.post("/accounts/logout/")
    assert [mail.subject for mail in mailoutbox] == ["New sign-in to Deepfake Detection"]
    assert "192.0.2.7" in mailoutbox[0].body
    assert mailoutbox[0].to == ["alice@example.org"]
    attempt("alice", PASSWORD)
    assert len(mailoutbox) == 2


def test_mail_server_that_is_away_does_not_matter(alice: User, settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    assert attempt("alice", PASSWORD).status_code == 302


def test_sentence_of_a_long_wait() -> None:
    assert "60 minutes" in sign_in_throttle.sentence(3600)


@pytest.mark.services
@pytest.mark.django_db(transaction=True)
def test_many_guesses_at_once_gain_nothing() -> None:
    waits: list[float] = []

    def guess() -> None:
        try:
            waits.append(sign_in_throttle.reserve("account", "one"))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=guess) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(waits) == 16
    assert waits.count(0) == 5
