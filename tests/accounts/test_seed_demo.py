"""`seed_demo`: generated passwords, shown once, that work."""

from __future__ import annotations

import io
import re

import pytest
from django.core.management import call_command
from django.test import Client

from accounts.models import Organization, User

pytestmark = pytest.mark.django_db


def run(**options: bool) -> str:
    out = io.StringIO()
    call_command("seed_demo", stdout=out, **options)
    return out.getvalue()


def passwords(output: str) -> dict[str, str]:
    return dict(re.findall(r"│ (admin|analyst|reviewer|viewer) +(\S+)", output))


def can_sign_in(username: str, password: str) -> bool:
    answer = Client().post("/accounts/login/", {"login": username, "password": password})
    return answer.status_code == 302


def test_members_can_sign_in() -> None:
    shown = passwords(run())
    assert set(shown) == {"admin", "analyst", "reviewer", "viewer"}
    assert len(set(shown.values())) == 4
    for username, password in shown.items():
        assert can_sign_in(username, password)
        user = User.objects.get(username=username)
        assert (user.organization.slug, user.role) == ("demo", username)  # type: ignore[union-attr]


def test_second_run_shows_nothing() -> None:
    first = passwords(run())
    again = run()
    assert "exist already" in again
    assert passwords(again) == {}
    assert can_sign_in("analyst", first["analyst"])
    assert Organization.objects.count() == 1


def test_reset_gives_new_passwords() -> None:
    first = passwords(run())
    second = passwords(run(reset_passwords=True))
    assert not can_sign_in("viewer", first["viewer"])
    assert can_sign_in("viewer", second["viewer"])
