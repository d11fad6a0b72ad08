"""The dashboard page and its fragment for refreshing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.http import urlencode
from django.views.decorators.http import require_GET

from accounts.authentication import organization_of
from accounts.models import Organization, User
from accounts.permissions import Permission, requires
from deepfake.reader_zone import in_readers_zone
from detection.models import JobStatus, Label, MediaKind, ReviewOutcome
from reports import dashboard_charts as charts
from reports.dashboard import KINDS, LABELS, PERIODS, TOP, Figures, Period, figures, period_of
from review.models import Reason

REFRESH_S = 10


@require_GET
@requires(Permission.VIEW)
@in_readers_zone
def dashboard(request: HttpRequest) -> HttpResponse:
    return render(request, "reports/dashboard.html", _context(request))


@require_GET
@requires(Permission.VIEW)
@in_readers_zone
def panel(request: HttpRequest) -> HttpResponse:
    """The figures alone, for refreshing."""
    return render(request, "reports/_dashboard.html", _context(request))


def _context(request: HttpRequest) -> dict[str, Any]:
    organization = organization_of(request)
    viewer = request.user
    assert isinstance(viewer, User)  # organization_of refuses everybody else
    period = period_of(request.GET.get("period", ""), timezone.now(), timezone.get_current_timezone())
    found = figures(organization, period)
    to_list = _Links(period)
    return {
        "organization": organization,
        "period": period,
        "periods": [(key, title) for key, (title, _, _) in PERIODS.items()],
        "refresh_s": max(REFRESH_S, period.keep_s),
        "found": found,
        "load": _load(found, period, to_list),
        "states": _states(found, to_list),
        "verdicts": _verdicts(found, to_list),
        "hosts": [(host or "no host", n, to_list(domain=host) if host else "") for host, n in found.hosts],
        "uploaders": _uploaders(found, organization, viewer, to_list),
        "latency": _latency(found, to_list),
        "review": _review(found, period, viewer),
        "waiting_s": (timezone.now() - found.oldest_at).total_seconds() if found.oldest_at else None,
        "links": {
            "all": to_list(),
            "queued": _anytime(status=JobStatus.QUEUED),
            "running": _anytime(status=JobStatus.RUNNING),
            "failed": to_list(status=JobStatus.FAILED),
        },
        "models": [(name, n, to_list(model=name)) for name, n in found.models],
        "failed": found.states.get(JobStatus.FAILED, 0),
        "top": TOP,
    }


class _Links:
    """Addresses of the list of analyses, narrowed to the period and more; the period's days are the reader's."""

    def __init__(self, period: Period) -> None:
        self._period = period

    def __call__(self, **query: str) -> str:
        return self.on(self._period.first, self._period.last, **query)

    def on(self, first: Any, last: Any, **query: str) -> str:
        return _anytime(**query, since=first.isoformat(), until=last.isoformat())

    def part(self, moment: datetime, period: Period, **query: str) -> str:
        """One hour or one day of the period."""
        if period.is_hourly:
            return _anytime(**query, hour=f"{moment:%Y-%m-%dT%H:%M}")
        return self.on(moment.date(), moment.date(), **query)


def _anytime(**query: str) -> str:
    return f"{reverse('detection:analyses')}?{urlencode(query)}"


def kind_word(kind: str) -> str:
    return str(MediaKind(kind).label) if kind else "Not looked at yet"


def _load(found: Figures, period: Period, to_list: _Links) -> dict[str, Any]:
    starts = [timezone.localtime(moment) for moment in period.bounds[:-1]]
    labels = [_part(moment, period) for moment in starts]
    bars, top = charts.columns(list(zip(labels, found.load, strict=True)), KINDS)
    present = [kind for kind in KINDS if any(part.get(kind) for part in found.load)]
    rows = []
    for moment, label, counts in zip(starts, labels, found.load, strict=True):
        cells = [(counts.get(kind, 0), to_list.part(moment, period, kind=kind) if kind else "") for kind in present]
        rows.append((label, cells, sum(counts.values()), to_list.part(moment, period)))
    busiest = max(rows, key=lambda row: row[2])
    return {
        "bars": bars,
        "top": top,
        "rows": rows,
        "kinds": [
            (kind, kind_word(kind), sum(part.get(kind, 0) for part in found.load), to_list(kind=kind) if kind else "")
            for kind in present
        ],
        "marks": _marks(labels),
        "busiest": (busiest[0], busiest[2]),
    }


def _part(moment: datetime, period: Period) -> str:
    if not period.is_hourly:
        return date_format(moment, "D j M")
    return f"{moment:%H:%M}–{moment + timedelta(hours=1):%H:%M}"


def _marks(labels: list[str], wanted: int = 6) -> list[tuple[str, str]]:
    """A few words below the bars: where, and what."""
    step = max(1, round(len(labels) / wanted))
    return [
        (charts.share((number + 0.5) / len(labels)), labels[number].split("–")[0])
        for number in range(0, len(labels), step)
    ]


def _states(found: Figures, to_list: _Links) -> list[tuple[str, int, str]]:
    return [
        (str(JobStatus(state).label), found.states[state], to_list(status=state))
        for state in JobStatus.values
        if found.states.get(state)
    ]


def _verdicts(found: Figures, to_list: _Links) -> dict[str, Any]:
    kinds = [kind for kind in KINDS if any(found.verdicts.get((kind, label)) for label in LABELS)]
    rows = []
    for kind in kinds:
        counts = {str(label): found.verdicts.get((kind, label), 0) for label in LABELS}
        query = {"kind": kind} if kind else {}
        cells = [(label, n, to_list(label=label, **query)) for label, n in counts.items()]
        total = (sum(counts.values()), to_list(status=JobStatus.COMPLETED, **query))
        rows.append((kind_word(kind), charts.line(counts, [str(label) for label in LABELS]), cells, total))
    totals = [
        (str(label), str(Label(label).label), sum(found.verdicts.get((kind, label), 0) for kind in kinds))
        for label in LABELS
    ]
    whole = sum(n for _, _, n in totals)
    return {
        "rows": rows,
        "whole": whole,
        "totals": [(label, word, n, n / whole if whole else 0.0, to_list(label=label)) for label, word, n in totals],
    }


def _uploaders(found: Figures, organization: Organization, viewer: User, to_list: _Links) -> list[tuple[str, int, str]]:
    """How much each colleague sent is for those who may see names; others see one sum. Services are no people."""
    people = User.objects.filter(organization=organization, pk__in=[row[0] for row in found.uploaders if row[0]])
    names = {user.pk: user.get_full_name() or user.get_username() for user in people}
    is_told = viewer.may(Permission.NAMES)
    rows, colleagues = [], 0
    for user, key, key_name, n in found.uploaders:
        if user is None:
            link = to_list(key=str(key)) if key else to_list(uploader="api")
            rows.append((f"{key_name} (API)" if key else "Nobody named", n, link))
        elif user == viewer.pk:
            rows.append((f"{names[user]} (you)", n, to_list(uploader=str(user))))
        elif not is_told:
            colleagues += n
        elif user in names:
            rows.append((names[user], n, to_list(uploader=str(user))))
        else:
            rows.append(("Former member", n, ""))
    return sorted([*rows, ("Colleagues", colleagues, "")] if colleagues else rows, key=lambda row: -row[1])


def _latency(found: Figures, to_list: _Links) -> list[dict[str, Any]]:
    return [
        {"kind": kind_word(kind), "times": times, "link": to_list(kind=kind, status=JobStatus.COMPLETED)}
        for kind in MediaKind.values
        if (times := found.latency.get(kind))
    ]


def _review(found: Figures, period: Period, viewer: User) -> dict[str, Any]:
    """Counts are everybody's; the queue opens to those whose role lets them in."""
    queue = reverse("review:queue") if viewer.may(Permission.REVIEW_READ) else ""

    def link(**query: str) -> str:
        return f"{queue}?{urlencode(query)}" if queue else ""

    decisions: Mapping[str, int] = found.decisions
    return {
        "open": link() if queue else "",
        "overdue": link(overdue="1"),
        "reasons": [
            (str(Reason(reason).label), n, link(reason=reason), late, link(reason=reason, overdue="1"))
            for reason, n, late in found.reasons
        ],
        "decisions": [(str(outcome.label), decisions[outcome]) for outcome in ReviewOutcome if decisions.get(outcome)],
        "opinions": sum(decisions.values()),
        "decided": found.decided_cases,
        "decided_link": link(state="decided", since=period.first.isoformat()),
    }
