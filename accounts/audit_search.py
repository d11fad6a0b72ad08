"""Finding rows of the audit log, newest first, a page at a time, as quickly in a million rows as in a hundred.

Pages go by the row's number (keyset), never by an offset. An action group is asked for action by action, each from its
index, and the answers are merged: one question for many actions would sort all of their rows. Text is looked for in at
most TEXT_ROWS rows at a time; the page then says how far back it has looked and offers to go on.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from heapq import merge
from ipaddress import ip_address
from itertools import islice
from typing import Any

from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from accounts import audit_words
from accounts.models import AuditLog, Organization, User
from deepfake.errors import DomainError
from deepfake.reader_zone import is_within_reason

PAGE_ROWS = 50
TEXT_ROWS = 20_000
# Clocks of several machines differ, so a row may have a lower number than one that says it is older.
CLOCK_SLACK = timedelta(minutes=5)
NAMES = ("who", "group", "action", "target", "since", "until", "address", "q")
PREFIXES = {"job_": "job", "med_": "media", "rpt_": "reportissue", "case_": "reviewcase"}
MOST_TARGETS = 20


@dataclass(frozen=True)
class Page:
    rows: list[AuditLog]
    before: int | None  # rows before this number come next; None at the end
    looked_back_to: datetime | None = None  # a text search that stopped here, with more rows to look at


@dataclass
class AuditSearch:
    """What somebody asks of an organisation's audit rows. Build it with `read`."""

    organization: Organization
    who: str = ""  # "user:<id>", "key:<prefix>", "system"
    group: str = ""
    action: str = ""
    targets: list[tuple[str, str]] = field(default_factory=list)  # (type or "", id)
    since: datetime | None = None
    until: datetime | None = None  # not included
    address: str = ""
    text: str = ""
    leaves_out: tuple[str, ...] = ()  # actions

    @property
    def as_details(self) -> dict[str, str]:
        """The search in words of its query, for the row that an export leaves."""
        asked = {
            "who": self.who,
            "group": self.group,
            "action": self.action,
            "target": ",".join(f"{kind}:{identifier}" if kind else identifier for kind, identifier in self.targets),
            "since": self.since.isoformat() if self.since else "",
            "until": self.until.isoformat() if self.until else "",
            "address": self.address,
            "q": self.text,
        }
        return {name: value for name, value in asked.items() if value}

    def page(self, *, before: int | None = None, size: int = PAGE_ROWS, all_text: bool = False) -> Page:
        """Rows below number `before`, newest first. all_text: look for text without a limit, as an export does."""
        rows = self._bounded(before)
        floor = None
        if self.text and not all_text:
            floor = rows.order_by("-id").values_list("id", flat=True)[TEXT_ROWS : TEXT_ROWS + 1].first()
            if floor is not None:
                rows = rows.filter(id__gt=floor)
        found = self._newest(rows, size + 1)
        if len(found) > size:
            return Page(found[:size], found[size - 1].pk)
        if floor is None:
            return Page(found, None)
        moment = AuditLog.objects.filter(pk=floor).values_list("created_at", flat=True).first()
        return Page(found, floor + 1, moment)

    def _newest(self, rows: QuerySet[AuditLog], count: int) -> list[AuditLog]:
        rows = self._matching(rows).select_related("actor").order_by("-id")
        actions = self._actions()
        if actions is None or len(actions) == 1:
            rows = rows if actions is None else rows.filter(action=actions[0])
            return list(rows[:count])
        parts = [rows.filter(action=action)[:count] for action in actions]
        return list(islice(merge(*parts, key=lambda row: -row.pk), count))

    def _actions(self) -> tuple[str, ...] | None:
        if self.action:
            return (self.action,)
        # With a target or text the rows are few, or bounded, already.
        if not self.group or self.targets or self.text:
            return None
        return audit_words.actions_of(self.group)

    def _bounded(self, before: int | None) -> QuerySet[AuditLog]:
        """The organisation's rows within the dates; as numbers too, because rows are read in their order."""
        own = AuditLog.objects.filter(organization=self.organization)
        rows = own
        if before is not None:
            rows = rows.filter(id__lt=before)
        if self.since is not None:
            rows = rows.filter(created_at__gte=self.since)
            near = own.filter(created_at__gte=self.since - CLOCK_SLACK).order_by("created_at", "id")
            first = near.values_list("id", flat=True).first()
            rows = rows.filter(id__gte=first) if first is not None else rows.none()
        if self.until is not None:
            rows = rows.filter(created_at__lt=self.until)
            near = own.filter(created_at__lt=self.until + CLOCK_SLACK).order_by("-created_at", "-id")
            last = near.values_list("id", flat=True).first()
            rows = rows.filter(id__lte=last) if last is not None else rows.none()
        return rows

    def _matching(self, rows: QuerySet[AuditLog]) -> QuerySet[AuditLog]:
        kind, _, name = self.who.partition(":")
        if kind == "user":
            rows = rows.filter(actor_id=int(name))
        elif kind == "key":
            rows = rows.filter(api_key_prefix=name)
        elif kind == "system":
            rows = rows.filter(actor=None, api_key_prefix="")
        if self.group and self._actions() is None:
            rows = rows.filter(action__in=audit_words.actions_of(self.group))
        if self.targets:
            wanted = Q(pk__in=[])
            for target_type, identifier in self.targets:
                types = [target_type] if target_type else KNOWN_TYPES
                wanted |= Q(target_type__in=types, target_id=identifier)
            rows = rows.filter(wanted)
        if self.address:
            rows = rows.filter(ip_address=self.address)
        if self.leaves_out:
            rows = rows.exclude(action__in=self.leaves_out)
        return self._with_text(rows) if self.text else rows

    def _with_text(self, rows: QuerySet[AuditLog]) -> QuerySet[AuditLog]:
        wanted = self.text.lower()
        named = [action for action, words in audit_words.SENTENCES.items() if wanted in words.lower()]
        people = User.objects.filter(
            Q(username__icontains=self.text) | Q(first_name__icontains=self.text) | Q(last_name__icontains=self.text),
            organization=self.organization,
        )
        escaped = json.dumps(self.text)[1:-1]  # as SQLite keeps letters outside of ASCII
        return rows.alias(said=Cast("details", TextField())).filter(
            Q(action__in=named)
            | Q(action__icontains=self.text)
            | Q(actor__in=list(people.values_list("pk", flat=True)[:200]))
            | Q(api_key_prefix__icontains=self.text)
            | Q(target_id__icontains=self.text)
            | Q(said__icontains=self.text)
            | Q(said__icontains=escaped)
        )


# The types of things that rows are about, for an id that is given without its type.
KNOWN_TYPES = (
    "job", "media", "reviewcase", "reportissue", "user", "apikey", "organization", "thresholdprofile",
    "thresholdproposal", "savedview", "reviewsettings", "reviewpreference", "appeallink", "appeal", "knownitem",
)  # fmt: skip


def read(asked: Mapping[str, Any], organization: Organization) -> AuditSearch:
    """Understand a query string. Raises DomainError with a sentence for each field that makes no sense."""
    wrong: dict[str, list[str]] = {}

    def given(name: str) -> str:
        return str(asked.get(name) or "").replace("\x00", "").strip()[:500]

    search = AuditSearch(organization=organization, text=given("q")[:200], group=given("group"), action=given("action"))
    search.who = given("who")
    if search.who and not re.fullmatch(r"user:\d{1,15}|key:[\w.-]{1,80}|system", search.who):
        wrong["who"] = ["Choose a member, an API key or the system."]
    if search.group and search.group not in audit_words.GROUPS:
        wrong["group"] = [f"Choose one of {', '.join(audit_words.GROUPS)}."]
    if search.action and not re.fullmatch(r"[a-z0-9_.]{1,60}", search.action):
        wrong["action"] = ["An action looks like job.started."]
    for part in given("target").split(",")[:MOST_TARGETS]:
        if part.strip():
            search.targets.append(_target(part.strip()))
    if given("address"):
        try:
            search.address = str(ip_address(given("address")))
        except ValueError:
            wrong["address"] = ["An address looks like 192.0.2.7 or 2001:db8::7."]
    for name in ("since", "until"):
        try:
            setattr(search, name, _moment(given(name), is_end=name == "until"))
        except ValueError:
            wrong[name] = ["A date looks like 2026-11-27."]
    if wrong:
        raise DomainError(" ".join(sentences[0] for sentences in wrong.values()), "filter_invalid", fields=wrong)
    return search


def _target(text: str) -> tuple[str, str]:
    """Take `job_<hex>`, `media:<id>` and a bare id."""
    for prefix, target_type in PREFIXES.items():
        if text.startswith(prefix):
            return target_type, _plain_id(text.removeprefix(prefix))
    target_type, colon, identifier = text.partition(":")
    return (target_type.lower()[:40], _plain_id(identifier)) if colon else ("", _plain_id(text))


def _plain_id(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return text[:64]


def _moment(text: str, *, is_end: bool) -> datetime | None:
    """A day in the reader's time zone, `until` with its whole day; or a moment as the API gives it."""
    if not text:
        return None
    if len(text) > 10:
        moment = parse_datetime(text)
        if moment is None or not is_within_reason(moment):
            raise ValueError(text)
        return moment if timezone.is_aware(moment) else timezone.make_aware(moment)
    day = parse_date(text)
    if day is None or not is_within_reason(day):
        raise ValueError(text)
    return timezone.make_aware(datetime.combine(day + timedelta(days=1) if is_end else day, time.min))
