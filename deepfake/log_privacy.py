"""A logging filter that takes personal data and secrets out of messages, arguments and exception texts.

It runs on the handler, so that whatever logs passes it, libraries too. What it hides it names, as in `<email>`, so that
a log line stays readable. Ids of ours (job_…, med_…, UUIDs, digests) stay: they are how a line is found.

Anybody may write into a log line, by the address that is asked for. So the time of each rule grows with the text and
no faster: repetitions are bounded, or run over characters at which nothing else of the rule can begin.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

_HIDDEN_NAMES = (
    r"pass(?:word|wd|phrase)?|pwd|secret(?:_?key)?|client_?secret|api[_-]?key|access_?key|private_?key|master_?key|"
    r"(?:access|refresh|id|auth|csrf|csrfmiddleware|session)?_?token|authorization|cookie|set-cookie|sessionid|otp|pin"
)
_SIGNED_NAMES = (
    r"signature|sig|expires|token|access_token|refresh_token|code|state|key|api_key|password|"
    r"X-Amz-[A-Za-z-]{1,40}|AWSAccessKeyId|GoogleAccessId|sv|se|sp|skoid|"
    r"code_verifier|id_token_hint|login_hint|client_secret|SAMLRequest|SAMLResponse|RelayState"
)
# Addresses that let somebody in by themselves, also where one stands in the query of another.
_LINK = re.compile(
    r"(?i)((?:/|%2F)(?:invitation|appeal|confirm-email|password(?:/|%2F)reset(?:/|%2F)key)(?:/|%2F))(?!\(\?P<)[^/\s?#&\"'<>]+"
)
_EMAIL = re.compile(r"[A-Za-z0-9._%+'-]{1,64}(?:@|%40)[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,8}\.[A-Za-z]{2,24}")
_AUTHORIZATION = re.compile(r"(?i)\b(bearer|basic|token)\s+[A-Za-z0-9._~+/=-]{8,}")
_OWN_KEY = re.compile(r"\b((?:dfk|test|whsec|sk|pk)_(?:[0-9a-f]{8}_)?)[A-Za-z0-9+/=_-]{16,}")
_JWT = re.compile(
    r"(?:(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{5,}+|(?<=[_-])eyJ[A-Za-z0-9_-]{5,500}+)"
    r"\.[A-Za-z0-9_-]{5,}+\.[A-Za-z0-9_-]*+"
)
_ASSIGNED = re.compile(
    rf"""(?ix) (?P<name> ["']? \b(?:{_HIDDEN_NAMES})\b ["']?) (?P<is> \s*[:=]\s*)
    (?P<value> "(?:[^"\\]|\\.)*+" | '(?:[^'\\]|\\.)*+' | [^\s,;&}})\]"']+ )"""
)
_QUERY = re.compile(rf"(?i)([?&](?:{_SIGNED_NAMES})=)[^&\s\"'<>]+")
_USER_INFO = re.compile(r"(?<=://)[^/?#\s\"']+@")
_IBAN_HEAD = re.compile(r"\b[A-Z]{2}\d{2}(?=[ ]?[A-Z0-9]{4})")
_IBAN_GROUP, _IBAN_END = re.compile(r"[ ]?[A-Z0-9]{4}"), re.compile(r"(?:[ ]?[A-Z0-9]{1,3})?\b")
_DIGITS = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,}+")
_GOES_ON = re.compile(r"\w|[.-]\w")
_IDENTITY = re.compile(r"(?<![\w-])(?:\d{3}-\d{2}-\d{4}|[A-Z]{2}\d{6}[A-D]|\d{8}[A-HJ-NP-TV-Z])(?![\w-])")
_PASSPORT = re.compile(
    r"(?i)\b(passport|id card|ssn|national id|driving licen[cs]e)"
    r"(\s{0,4}(?:(?:no\.?|number|\#)\s{0,4})?(?:[:=]\s{0,4})?)"
    r"(?=[A-Z<]{0,20}\d)[A-Z0-9<]{6,}+"
)
_MRZ = re.compile(r"[A-Z0-9<]{22,}+")
_PHONE = re.compile(r"(?<![\w.:/-])(?:\+|00)[1-9]\d{0,2}(?:[ ()./-]{0,2}\d){6,13}(?![\w:])")
_LOCAL_PHONE = re.compile(r"(?<![\w.:/-])(?:\(\d{3}\)\s?|\d{3}[-. ])\d{3}[-. ]\d{4}(?![\w-])")
_IP = re.compile(r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4})(?![\w:]|\.\d)")


def _assigned(found: re.Match[str]) -> str:
    return f"{found['name']}{found['is']}<secret>"


def _mrz(found: re.Match[str]) -> str:
    line = found[0]
    return "<mrz>" if line.startswith("P<") or (len(line) >= 30 and "<" in line) else line


def _cards(found: re.Match[str]) -> str:
    """Card numbers in a run of digits, which other numbers may stand before and after."""
    text = found[0]
    places = [place for place, character in enumerate(text) if character.isdecimal()]
    begins = [place == 0 or text[place - 1] in " -" for place in places]
    ends = [place + 1 < len(text) and text[place + 1] in " -" for place in places]
    ends[-1] = not _GOES_ON.match(found.string, found.end())
    sums = _luhn_sums([int(text[place]) for place in places])
    kept, since, at = [], 0, 0
    while at <= len(places) - 13:
        for last in _last_digits(at, places, ends) if begins[at] else ():
            doubled = sums[1 - last % 2]
            if (doubled[last + 1] - doubled[at]) % 10 == 0 and _may_be_card(text[places[at] : places[last] + 1], text):
                kept += [text[since : places[at]], "<card>"]
                since, at = places[last] + 1, last
                break
        at += 1
    return "".join([*kept, text[since:]])


def _last_digits(at: int, places: list[int], ends: list[bool]) -> Iterator[int]:
    return (last for last in range(min(at + 18, len(places) - 1), at + 11, -1) if ends[last])


def _luhn_sums(digits: list[int]) -> list[list[int]]:
    """Running sums of the digits, with those at even places doubled as Luhn says, and with those at odd ones."""
    sums = [[0], [0]]
    for place, digit in enumerate(digits):
        for parity in (0, 1):
            value = sum(divmod(2 * digit, 10)) if place % 2 == parity else digit
            sums[parity].append(sums[parity][-1] + value)
    return sums


def _may_be_card(part: str, run: str) -> bool:
    """A part of a run must look like one, since one of ten strings of digits has Luhn's sum."""
    groups = re.split("[ -]", part)
    return part == run or (part[0] in "23456" and all(len(group) >= 4 for group in groups[:-1]))


def _ibans(text: str) -> str:
    kept, since, at = [], 0, 0
    while head := _IBAN_HEAD.search(text, at):
        at = head.end()
        if end := _iban_end(text, head):
            kept += [text[since : head.start()], "<iban>"]
            since = at = end
    return "".join([*kept, text[since:]])


def _iban_end(text: str, head: re.Match[str]) -> int:
    """Where the IBAN ends whose first four characters these are; 0 when it is none. Other words may follow it."""
    at, ends = head.end(), []
    for groups in range(1, 8):
        group = _IBAN_GROUP.match(text, at)
        if group is None:
            break
        at = group.end()
        if groups >= 2:
            ends += [end.end() for end in (re.compile(r"\b").match(text, at), _IBAN_END.match(text, at)) if end]
    return next((end for end in reversed(ends) if _is_iban(text[head.start() : end])), 0)


def _is_iban(text: str) -> bool:
    text = text.replace(" ", "")
    if not 15 <= len(text) <= 34:
        return False
    return int("".join(str(int(character, 36)) for character in text[4:] + text[:4])) % 97 == 1


def _ip(found: re.Match[str]) -> str:
    try:
        address = ipaddress.ip_address(found[0])
    except ValueError:
        return found[0]
    return found[0] if address.is_loopback or address.is_unspecified else "<ip>"


Rule = Callable[[str], str]
RULES: dict[str, Rule] = {
    "link": partial(_LINK.sub, r"\1<secret>"),
    "token": partial(_JWT.sub, "<token>"),
    "authorization": partial(_AUTHORIZATION.sub, r"\1 <token>"),
    "own key": partial(_OWN_KEY.sub, r"\1<key>"),
    "query": partial(_QUERY.sub, r"\1<secret>"),
    "user": partial(_USER_INFO.sub, "<user>@"),
    "assigned": partial(_ASSIGNED.sub, _assigned),
    "email": partial(_EMAIL.sub, "<email>"),
    "iban": _ibans,
    "card": partial(_DIGITS.sub, _cards),
    "mrz": partial(_MRZ.sub, _mrz),
    "passport": partial(_PASSPORT.sub, r"\1\2<identity>"),
    "identity": partial(_IDENTITY.sub, "<identity>"),
    "phone": partial(_PHONE.sub, "<phone>"),
    "local phone": partial(_LOCAL_PHONE.sub, "<phone>"),
}
hide_ips: Rule = partial(_IP.sub, _ip)
_LONGEST = 20_000  # characters of one message that are looked through; what is longer is cut
_LONGEST_PATH = 500
_DEEPEST = 6  # levels of `extra=`


def redact(text: str, *, hides_ips: bool = False) -> str:
    """The text without what could tell who somebody is, or let somebody in."""
    text = text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
    for rule in RULES.values():
        text = rule(text)
    return hide_ips(text) if hides_ips else text


def short_path(address: str) -> str:
    """The path of an address that was asked for, as long as a log line needs it.

    Without the query: it may hold signatures of artifact addresses.
    """
    path = address.partition("?")[0]
    return path if len(path) <= _LONGEST_PATH else path[:_LONGEST_PATH] + "…"


class PrivacyFilter(logging.Filter):
    """Put it on a handler, behind filters that add fields to the record."""

    def __init__(self, name: str = "", hides_ips: bool = False) -> None:
        super().__init__(name)
        self.hides_ips = hides_ips

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record itself, after its message was put together: that handler and those after it get it so."""
        if isinstance(record.args, tuple):
            record.args = tuple(_short(value) for value in record.args)
        try:
            message = record.getMessage()
        except Exception:  # of whatever an argument is: what is logged must not fail because of it
            message = f"{_text(record.msg)} {_text(record.args)}"
        record.msg, record.args = self._clean(message), ()
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = self._clean("".join(traceback.format_exception(*record.exc_info)).rstrip("\n"))
            record.exc_info = None
        elif record.exc_text:
            record.exc_text = self._clean(record.exc_text)
        if record.stack_info:
            record.stack_info = self._clean(record.stack_info)
        record.__dict__.pop("request", None)  # Django adds it; as text it is its address with the query
        for key, value in list(record.__dict__.items()):
            if key not in _STANDARD:
                record.__dict__[key] = self._deep(value, key)
        return True

    def _clean(self, text: str) -> str:
        return redact(text, hides_ips=self.hides_ips)

    def _deep(self, value: Any, key: str = "", depth: int = 0) -> Any:
        """What `extra=` carried along, for formatters that write it out."""
        if value is None or (isinstance(value, str) and value in ("", "-")):
            return value
        if key and re.fullmatch(f"(?i){_HIDDEN_NAMES}", key):
            return "<secret>"
        if isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping) and depth < _DEEPEST:
            return {
                self._clean(_text(name)): self._deep(inner, _text(name), depth + 1) for name, inner in value.items()
            }
        if isinstance(value, list | tuple | set | frozenset) and depth < _DEEPEST:
            return [self._deep(inner, "", depth + 1) for inner in value]
        return self._clean(_text(value))


def _short(value: Any) -> Any:
    """Of an argument that is an address, what a line needs."""
    return short_path(value) if isinstance(value, str) and value.startswith("/") else value


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception:  # whatever it is
        return f"<{type(value).__name__}>"


_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "exc_text"}
