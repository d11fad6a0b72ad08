"""The page of the audit log, and its rows as a file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse, QueryDict, StreamingHttpResponse
from django.shortcuts import render
from django.urls import NoReverseMatch, reverse
from django.views.decorators.http import require_GET

from accounts import audit, audit_checkpoints, audit_export, audit_search, audit_words
from accounts.authentication import organization_of
from accounts.models import ApiKey, AuditCheck, AuditLog, User
from accounts.permissions import Permission, requires
from deepfake.errors import DomainError
from deepfake.reader_zone import in_readers_zone

MOST_PEOPLE = 500
# What a row is about: a word for it, and the page that shows it where there is one.
TARGETS: dict[str, tuple[str, str]] = {
    "job": ("analysis", "detection:job"),
    "media": ("item", ""),
    "reviewcase": ("review case", "review:case"),
    "thresholdproposal": ("threshold proposal", "detection:threshold_proposal"),
    "thresholdprofile": ("threshold profile", "detection:threshold_profile"),
    "reportissue": ("report", ""),
    "user": ("member", ""),
    "apikey": ("API key", ""),
    "savedview": ("saved view", ""),
    "organization": ("organisation", ""),
}


@dataclass(frozen=True)
class Shown:
    """A row as the page shows it."""

    row: AuditLog
    sentence: str
    who: str
    target: str
    target_url: str
    trail: str  # the query that finds everything about the same thing
    details: list[tuple[str, str]]


@require_GET
@requires(Permission.AUDIT)
@in_readers_zone
def log(request: HttpRequest) -> HttpResponse:
    organization, member = organization_of(request), request.user
    audit.record_hourly(action="audit.read", organization=organization, actor=member)
    try:
        search, problem = audit_search.read(request.GET, organization), None
    except DomainError as error:
        search, problem = audit_search.read({}, organization), error
    if not request.GET.get("reads") and not search.action:
        search.leaves_out = audit_words.READS
    before = request.GET.get("before", "")
    page = search.page(before=int(before) if before.isdigit() and len(before) <= 18 else None)
    asked = _asked(request.GET)
    context = {
        "organization": organization,
        "rows": [_shown(row) for row in page.rows],
        "asked": request.GET,
        "problem": problem,
        "people": _people(organization),
        "groups": [(name, words) for name, (words, _) in audit_words.GROUPS.items()],
        "is_filtered": bool(asked),
        "is_first": not before,
        "newest": f"?{asked.urlencode()}" if asked else reverse("accounts:audit"),
        "older": _older(asked, page.before),
        "looked_back_to": page.looked_back_to,
        "exports": [
            (words, f"{reverse('accounts:audit_export')}?{_with(asked, format=name)}")
            for name, words in (("csv", "CSV"), ("jsonl", "JSON lines"))
        ],
        "checks": list(AuditCheck.objects.all()[:1]),
        "full_check": AuditCheck.objects.filter(is_full=True).first(),
        "checkpoint": audit_checkpoints.newest(),
        "head": audit.head(),
    }
    return render(request, "accounts/audit.html", context, status=400 if problem else 200)


@require_GET
@requires(Permission.AUDIT)
@in_readers_zone  # type: ignore[arg-type]  # a stream; it is only passed on
def export(request: HttpRequest) -> StreamingHttpResponse:
    assert isinstance(request.user, User)
    search = audit_search.read(request.GET, organization_of(request))
    return audit_export.response(search, wanted=request.GET.get("format", "csv"), actor=request.user)


def _asked(query: QueryDict) -> QueryDict:
    """The filters that were set, and nothing else."""
    kept = QueryDict(mutable=True)
    for name in (*audit_search.NAMES, "reads"):
        if value := query.get(name):
            kept[name] = str(value)
    return kept


def _with(asked: QueryDict, **more: Any) -> str:
    query = asked.copy()
    query.update(more)
    return query.urlencode()


def _older(asked: QueryDict, before: int | None) -> str:
    return f"?{_with(asked, before=before)}" if before else ""


def _people(organization: Any) -> list[tuple[str, str]]:
    members = User.objects.filter(organization=organization).order_by("username")[:MOST_PEOPLE]
    keys = ApiKey.objects.filter(organization=organization).order_by("name", "prefix")[:MOST_PEOPLE]
    return [
        *((f"user:{user.pk}", user.get_full_name() or user.get_username()) for user in members),
        *((f"key:{key.prefix}", f"{key.name} ({key.prefix})") for key in keys),
        ("system", "The system"),
    ]


def _shown(row: AuditLog) -> Shown:
    words, url_name = TARGETS.get(row.target_type, (row.target_type, ""))
    return Shown(
        row=row,
        sentence=audit_words.sentence(row.action),
        who=_who(row),
        target=f"{words} {row.target_id[:8]}" if row.target_type else "",
        target_url=_address(url_name, row.target_id) if row.action != "job.deleted" else "",
        trail=f"target={row.target_type}:{row.target_id}" if row.target_id else "",
        details=[(_readable(name), _text(value)) for name, value in row.details.items()],
    )


def _who(row: AuditLog) -> str:
    if row.actor is not None:
        return row.actor.get_full_name() or row.actor.get_username()
    if row.api_key_prefix:
        return f"Key {row.api_key_prefix}"
    return "Not signed in" if row.ip_address else "The system"


def _address(url_name: str, identifier: str) -> str:
    try:
        return reverse(url_name, args=[identifier]) if url_name else ""
    except NoReverseMatch:
        return ""


def _readable(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value or "–"
    return json.dumps(value, ensure_ascii=False)[:2000]
