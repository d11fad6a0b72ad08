"""Which passwords are refused: too short, made of context words, or on the list of common ones."""

from __future__ import annotations

import hashlib
import itertools
import re
from array import array
from bisect import bisect_left
from functools import lru_cache
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError

LIST_FILE = Path(__file__).with_name("data") / "common_passwords.bin"
FINGERPRINT_BYTES = 4
MAX_LENGTH = 256
PRODUCT_WORDS = ("deepfake", "detection")
# A word of context may be in a password that is long enough without it.
ENOUGH_BESIDES = 8
SHORTEST_WORD = 4
MOST_PADDING = 6

RULES = (
    "At least 12 characters, at most 256. Every character counts, spaces too; a sentence is fine.",
    "Not on the list of 233,000 passwords that attackers try first, and not one of them with a few digits added.",
    "Not your name, your organisation's or the product's with little besides.",
)


def fingerprint(password: str) -> int:
    """The first four bytes of a SHA-256: one in 19,000 passwords is refused though it is not on the list."""
    return int.from_bytes(hashlib.sha256(password.encode()).digest()[:FINGERPRINT_BYTES], "big")


@lru_cache(maxsize=1)
def _fingerprints() -> array[int]:
    found: array[int] = array("I", LIST_FILE.read_bytes())
    if found.itemsize != FINGERPRINT_BYTES:  # pragma: no cover -- no platform of ours
        raise RuntimeError("array('I') is not four bytes wide here")
    return found


def is_common(password: str) -> bool:
    """Whether exactly this, in lower case, is on the list."""
    known = _fingerprints()
    wanted = fingerprint(password.lower())
    place = bisect_left(known, wanted)
    return place < len(known) and known[place] == wanted


class LongestPasswordValidator:
    """Without an upper end, hashing could be made to take long; 256 characters are more than anybody types."""

    def validate(self, password: str, user: Any = None) -> None:
        if len(password) > MAX_LENGTH:
            raise ValidationError(f"This password is longer than {MAX_LENGTH} characters.", "password_too_long")

    def get_help_text(self) -> str:
        return f"At most {MAX_LENGTH} characters."


class CommonPasswordValidator:
    """Not on the list, and not one of the list with padding, twice in a row, or a plain run of characters."""

    def validate(self, password: str, user: Any = None) -> None:
        if is_common(password):
            raise ValidationError(
                "This password is on lists of stolen passwords that attackers try first. Choose another.",
                "password_too_common",
            )
        if self._is_predictable(password.lower()):
            raise ValidationError(
                "This is a common password with little changed, or a plain pattern. Choose another.",
                "password_too_common",
            )

    def get_help_text(self) -> str:
        return RULES[1]

    def _is_predictable(self, password: str) -> bool:
        core = re.sub(r"^[\W\d_]+|[\W\d_]+$", "", password)
        if core != password and len(password) - len(core) <= MOST_PADDING and is_common(core):
            return True
        for size in range(1, len(password) // 2 + 1):
            unit = password[:size]
            if unit * (len(password) // size) == password and (size <= len(password) // 3 or is_common(unit)):
                return True
        steps = {ord(after) - ord(before) for before, after in itertools.pairwise(password)}
        return len(steps) == 1 and steps <= {-1, 0, 1}


class ContextWordsValidator:
    """Not built from the product's, the organisation's or the member's own names."""

    def validate(self, password: str, user: Any = None) -> None:
        plain = re.sub(r"[^a-z0-9]", "", password.lower())
        for word in sorted(_words_about(user), key=len, reverse=True):
            if word in plain and len(plain.replace(word, "")) < ENOUGH_BESIDES:
                raise ValidationError(
                    f"This password is little more than “{word}”, which is easily guessed here. Choose another.",
                    "password_context_word",
                )
        rest = plain
        for word in sorted(_words_about(user), key=len, reverse=True):
            rest = rest.replace(word, "")
        if rest != plain and len(rest) < ENOUGH_BESIDES // 2:
            raise ValidationError(
                "This password is made of names of this product, your organisation or yourself. Choose another.",
                "password_context_word",
            )

    def get_help_text(self) -> str:
        return RULES[2]


def _words_about(user: Any) -> set[str]:
    texts = [*PRODUCT_WORDS, "".join(PRODUCT_WORDS)]
    if user is not None:
        texts += [user.username, user.first_name, user.last_name, *user.email.split("@")[0:1]]
        texts += user.email.rpartition("@")[2].split(".")
        organization = getattr(user, "organization", None)
        if organization is not None:
            texts += [organization.slug, organization.name, *organization.name.split()]
    plain = {re.sub(r"[^a-z0-9]", "", text.lower()) for text in texts}
    return {word for word in plain if len(word) >= SHORTEST_WORD}
