"""Passwords: long ones are fine whatever they are made of, common and guessable ones are not."""

from __future__ import annotations

import pytest
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.test import Client

from accounts.models import User
from accounts.sign_in_passwords import _fingerprints, is_common
from tests.factories import PASSWORD

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple",
        "Straße nach Überlingen 7",
        "日本語のとても長い合言葉です",
        "onlylowercaselettershere",
        "x7Kp" * 2 + "-" + "q9Zt" * 30,  # 129 characters
        "alice and her 40 elephants",
        "93875620184756",  # digits alone are fine when no pattern is in them
    ],
)
def test_taken(alice: User, password: str) -> None:
    validate_password(password, alice)


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("elevenchars", "password_too_short"),
        ("x" * 5 + "yz" * 200, "password_too_long"),
        ("finalfantasy", "password_too_common"),
        ("FinalFantasy", "password_too_common"),
        ("1qaz2wsx3edc4rfv", "password_too_common"),
        ("Sunshine2024!", "password_too_common"),
        ("sunshinesunshine", "password_too_common"),
        ("abcdefghijklmn", "password_too_common"),
        ("aaaaaaaaaaaaaa", "password_too_common"),
        ("qzxqzxqzxqzxqzx", "password_too_common"),
        ("deepfake-2026!!", "password_context_word"),
        ("ExampleNewsroom1", "password_context_word"),
        ("alicealicealice", "password_context_word"),
        ("alice-example-1", "password_context_word"),
    ],
)
def test_refused(alice: User, password: str, code: str) -> None:
    with pytest.raises(ValidationError) as caught:
        validate_password(password, alice)
    assert code in {error.code for error in caught.value.error_list}


def test_the_list_is_larger_than_djangos_and_sorted() -> None:
    known = list(_fingerprints())
    assert len(known) > 200_000
    assert known == sorted(known)
    assert is_common("motherfucker")
    assert not is_common("a sentence nobody has used")


def test_rules_are_shown_and_pasting_is_possible(client: Client, alice: User) -> None:
    client.force_login(alice)
    page = client.get("/accounts/password/change/").text
    assert "At least 12 characters" in page
    assert 'autocomplete="new-password"' in page
    assert "onpaste" not in page


def test_change_says_what_is_wrong_and_keeps_the_old_one(client: Client, alice: User) -> None:
    client.force_login(alice)
    wish = {"oldpassword": PASSWORD, "password1": "finalfantasy", "password2": "finalfantasy"}
    answer = client.post("/accounts/password/change/", wish)
    assert "lists of stolen passwords" in answer.text
    alice.refresh_from_db()
    assert alice.check_password(PASSWORD)
