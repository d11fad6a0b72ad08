"""What an organisation did in a period: load, verdicts, waiting, time, sources. Counts in, plain figures out.

Every figure is one bounded or indexed aggregate. The names of people are not part of it: they depend on who looks.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from statistics import median
from typing import Any

from django.core.cache import cache
from django.db.models import Case, Count, IntegerField, Min, Q, Sum, Value, When
from django.utils import timezone

from accounts.models import Organization
from detection.models import Job, JobStatus, Label, Media, MediaKind, ModelVersion, ThresholdProfile
from review.models import Decision, ReviewCase

MAX_TIMED = 5_000  # newest finished analyses that the times are taken from
MAX_SOURCES = 5_000  # newest fetched items whose hosts are counted
TOP = 8
STORAGE_SECONDS = 60
CLOSED_DAY_SECONDS = 900
KINDS = (*MediaKind.values, "")  # blank: not looked at yet


@dataclass(frozen=True)
class Period:
    """A stretch of days in the reader's zone, cut into hours (one day) or days."""

    key: str
    title: str
    first: date
    last: date
    bounds: tuple[datetime, ...]  # one more than there are parts
    is_hourly: bool
    keep_s: int  # how long its figures may be shown again

    @property
    def start(self) -> datetime:
        return self.bounds[0]

    @property
    def end(self) -> datetime:
        return self.bounds[-1]


PERIODS = {"today": ("Today", 1, 5), "7": ("7 days", 7, 15), "30": ("30 days", 30, 60)}


def period_of(key: str, now: datetime, zone: tzinfo) -> Period:
    """The period that an address asks for, ending with today; an unknown one is today."""
    key = key if key in PERIODS else "today"
    title, days, keep_s = PERIODS[key]
    last = now.astimezone(zone).date()
    first = last - timedelta(days=days - 1)
    midnights = [_midnight(first + timedelta(days=number), zone) for number in range(days + 1)]
    bounds = _hours(*midnights) if days == 1 else midnights
    return Period(key, title, first, last, tuple(bounds), days == 1, keep_s)


def _midnight(day: date, zone: tzinfo) -> datetime:
    return datetime.combine(day, time.min, tzinfo=zone)


def _hours(start: datetime, end: datetime) -> list[datetime]:
    """Full hours of a day; a day on which the clocks change has 23 or 25."""
    zone, moment = start.tzinfo, start.timestamp()
    moments = []
    while moment < end.timestamp():
        moments.append(datetime.fromtimestamp(moment, zone))
        moment += 3600
    return [*moments, end]


@dataclass(frozen=True)
class Latency:
    """Seconds from receipt to verdict, and of the analysis alone."""

    count: int
    median_s: float
    p95_s: float
    analysis_s: float  # median


@dataclass(frozen=True)
class Figures:
    counted_at: datetime
    load: tuple[Mapping[str, int], ...]  # per part of the period: kind -> received
    states: Mapping[str, int]
    verdicts: Mapping[tuple[str, str], int]  # (kind, label) -> completed
    waiting: int
    oldest_at: datetime | None
    running: int
    hosts: tuple[tuple[str, int], ...]
    hosts_from: int  # fetched items that were looked at
    uploaders: tuple[tuple[int | None, Any, str, int], ...]  # user, API key, name of the key, received
    latency: Mapping[str, Latency]
    models: tuple[tuple[str, int], ...]  # most recent first
    open_cases: int
    overdue_cases: int
    reasons: tuple[tuple[str, int, int], ...]  # reason, open, overdue
    decisions: Mapping[str, int]  # outcome -> how many
    decided_cases: int
    stored_bytes: int
    stored_items: int
    stored_at: datetime  # counted less often than the rest
    thresholds: tuple[tuple[str, str, float, float, bool], ...]  # kind, profile, fake from, real below, shipped

    @property
    def received(self) -> int:
        return sum(self.states.values())


def figures(organization: Organization, period: Period) -> Figures:
    """The figures of a period, at most `period.keep_s` seconds old: many may look, one counts."""
    zone = getattr(period.start.tzinfo, "key", str(period.start.tzinfo))
    key = f"dashboard:{organization.pk}:{period.key}:{zone}:{period.last}"
    found: Figures | None = cache.get(key)
    if found is None:
        found = count(organization, period)
        cache.set(key, found, period.keep_s)
    return found


def count(organization: Organization, period: Period) -> Figures:
    jobs = Job.objects.filter(
        organization=organization,
        is_sandbox=False,
        deleted_at=None,
        created_at__gte=period.start,
        created_at__lt=period.end,
    )
    parts = _parts(organization, period)
    senders = _summed(part.senders for part in parts).most_common(TOP)
    queue = _queue(organization)
    stored_bytes, stored_items, stored_at = _stored(organization)
    hosts, hosts_from = _hosts(jobs)
    reasons = _reasons(organization)
    return Figures(
        counted_at=timezone.now(),
        load=tuple(part.kinds for part in parts),
        states=_summed(part.states for part in parts),
        verdicts=_summed(part.verdicts for part in parts),
        waiting=queue.get(JobStatus.QUEUED, (0, None))[0],
        oldest_at=queue.get(JobStatus.QUEUED, (0, None))[1],
        running=queue.get(JobStatus.RUNNING, (0, None))[0],
        hosts=hosts,
        hosts_from=hosts_from,
        uploaders=tuple((*sender, n) for sender, n in senders),
        latency=_latency(jobs),
        models=_models(_summed(part.models for part in parts)),
        open_cases=sum(row[1] for row in reasons),
        overdue_cases=sum(row[2] for row in reasons),
        reasons=reasons,
        decisions=_decisions(organization, period),
        decided_cases=ReviewCase.objects.visible_to(organization).filter(closed_at__gte=period.start).count(),
        stored_bytes=stored_bytes,
        stored_items=stored_items,
        stored_at=stored_at,
        thresholds=_thresholds(organization),
    )


@dataclass
class _Part:
    """What was received in one hour or day."""

    kinds: Counter[str]
    states: Counter[str]
    verdicts: Counter[tuple[str, str]]
    models: Counter[Any]
    senders: Counter[tuple[int | None, Any, str]]


def _parts(organization: Organization, period: Period) -> list[_Part]:
    """The period's rows, counted part by part in one pass.

    A day that has ended hardly changes: its counts are kept for a while, so that a long period costs no more than the
    day that runs.
    """
    keys = [] if period.is_hourly else [_day_key(organization, moment) for moment in period.bounds[:-2]]
    kept = cache.get_many(keys)
    known = [kept[key] for key in keys] if len(kept) == len(keys) else []
    counted = _counted(organization, period, len(known))
    if len(known) < len(keys):
        cache.set_many(dict(zip(keys, counted[:-1], strict=True)), CLOSED_DAY_SECONDS)
    return [*known, *counted]


def _day_key(organization: Organization, midnight: datetime) -> str:
    return f"dashboard:{organization.pk}:day:{int(midnight.timestamp())}"


def _counted(organization: Organization, period: Period, first: int) -> list[_Part]:
    bounds = period.bounds[first:]
    versions = list(ModelVersion.objects.values_list("pk", flat=True)[:2])
    only = versions[0] if len(versions) == 1 else None
    if period.is_hourly:
        return _count_between(organization, bounds, only)
    # A question per day: telling days apart within one question costs SQLite twice the time.
    days = itertools.pairwise(bounds)
    return [part for day in days for part in _count_between(organization, day, only)]


def _count_between(organization: Organization, bounds: Sequence[datetime], only_version: Any) -> list[_Part]:
    """Count the rows between each two bounds.

    only_version: the model version, while there is no other: all verdicts are its own then.
    """
    # The bounds are the reader's: truncating in the database would have to know the zone, and is slower on SQLite.
    part = Case(
        *(When(created_at__lt=end, then=Value(number)) for number, end in enumerate(bounds[1:-1])),
        default=Value(len(bounds) - 2),
        output_field=IntegerField(),
    )
    jobs = Job.objects.filter(
        organization=organization,
        is_sandbox=False,
        deleted_at=None,
        created_at__gte=bounds[0],
        created_at__lt=bounds[-1],
    ).order_by()
    found = [_Part(Counter(), Counter(), Counter(), Counter(), Counter()) for _ in bounds[1:]]
    # Everything that one index holds in one pass; what would make the database read the rows themselves comes after.
    rows = jobs.values_list(part, "kind", "status", "final_label", "created_by_id").annotate(n=Count("*"))
    for number, kind, status, label, user, n in rows:
        one = found[number]
        one.kinds[kind] += n
        one.states[status] += n
        if user is not None:
            one.senders[user, None, ""] += n
        if label:
            one.verdicts[kind, label] += n
            one.models[only_version] += n
    by_key = jobs.filter(created_by=None).values_list(part, "api_key_id", "api_key__name").annotate(n=Count("*"))
    for number, key, key_name, n in by_key:
        found[number].senders[None, key, key_name or ""] += n
    if only_version is None:
        by_version = jobs.filter(status=JobStatus.COMPLETED).values_list(part, "result__model_version_id")
        for one in found:
            one.models.clear()
        for number, version, n in by_version.annotate(n=Count("*")):
            found[number].models[version] += n
    return found


def _summed(counts: Iterable[Counter[Any]]) -> Counter[Any]:
    whole: Counter[Any] = Counter()
    for one in counts:
        whole.update(one)
    return whole


def _queue(organization: Organization) -> dict[str, tuple[int, datetime | None]]:
    active = Job.objects.filter(
        organization=organization, is_sandbox=False, deleted_at=None, status__in=[JobStatus.QUEUED, JobStatus.RUNNING]
    )
    rows = active.order_by().values_list("status").annotate(n=Count("pk"), oldest=Min("created_at"))
    return {status: (n, oldest) for status, n, oldest in rows}


def _hosts(jobs: Any) -> tuple[tuple[tuple[str, int], ...], int]:
    """Hosts as the list knows them, of the newest fetched items."""
    newest = jobs.exclude(source_host="").order_by("-created_at", "-id").values_list("source_host", flat=True)
    counts = Counter(newest[:MAX_SOURCES])
    return tuple(counts.most_common(TOP)), counts.total()


def _latency(jobs: Any) -> dict[str, Latency]:
    done = jobs.filter(status=JobStatus.COMPLETED, finished_at__isnull=False).order_by("-created_at", "-id")
    rows = done.values_list("media__kind", "created_at", "started_at", "finished_at")[:MAX_TIMED]
    whole: dict[str, list[float]] = defaultdict(list)
    alone: dict[str, list[float]] = defaultdict(list)
    for kind, created_at, started_at, finished_at in rows:
        whole[kind].append(max((finished_at - created_at).total_seconds(), 0.0))
        alone[kind].append(max((finished_at - (started_at or created_at)).total_seconds(), 0.0))
    return {
        kind: Latency(len(times), median(times), percentile(times, 0.95), median(alone[kind]))
        for kind, times in whole.items()
    }


def percentile(values: Iterable[float], share: float) -> float:
    """The value that `share` of all do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -(-round(share * len(ordered) * 1000) // 1000) - 1)]


def _models(counts: Counter[Any]) -> tuple[tuple[str, int], ...]:
    found = ModelVersion.objects.filter(pk__in=list(counts)).order_by("-created_at").only("name")
    return tuple((version.name, counts[version.pk]) for version in found)


def _reasons(organization: Organization) -> tuple[tuple[str, int, int], ...]:
    late = Count("pk", filter=Q(due_at__lt=timezone.now()))
    cases = ReviewCase.objects.filter(organization=organization).unfinished().order_by()
    rows = cases.values_list("reason").annotate(n=Count("pk"), late=late)
    return tuple(sorted(rows, key=lambda row: (-row[1], row[0])))


def _decisions(organization: Organization, period: Period) -> dict[str, int]:
    given = Decision.objects.standing().filter(organization=organization, created_at__gte=period.start)
    return dict(given.order_by().values_list("outcome").annotate(n=Count("pk")))


def _stored(organization: Organization) -> tuple[int, int, datetime]:
    """Bytes and number of the originals kept, and when they were counted: a sum over all rows, so less often."""
    key = f"dashboard:{organization.pk}:stored-at"
    found: tuple[int, int, datetime] | None = cache.get(key)
    if found is None:
        kept = Media.objects.filter(organization=organization).exclude(storage_name="")
        sums = kept.aggregate(size=Sum("size_bytes"), n=Count("pk"))
        found = (sums["size"] or 0, sums["n"], timezone.now())
        cache.set(key, found, STORAGE_SECONDS)
    return found


def _thresholds(organization: Organization) -> tuple[tuple[str, str, float, float, bool], ...]:
    """Per kind, the profile that an upload without anything special about it gets."""
    names = {f"default_{kind}": kind for kind in MediaKind.values}
    profiles = ThresholdProfile.objects.filter(Q(organization=organization) | Q(organization=None), name__in=names)
    profiles = profiles.filter(retired_at=None)
    found: dict[str, ThresholdProfile] = {}
    for profile in profiles:
        kind = names[profile.name]
        if kind not in found or profile.organization_id is not None:
            found[kind] = profile
    return tuple(
        (kind, row.name, row.fake_at, row.real_below, row.organization_id is None)
        for kind in MediaKind.values
        if (row := found.get(kind))
    )


LABELS = (Label.FAKE, Label.INCONCLUSIVE, Label.REAL)
