"""How the reviewers work: time, load, agreement, overrides, known items. Counts in, plain figures out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import combinations
from typing import Any, NamedTuple

from django.db.models import BooleanField, ExpressionWrapper, Q
from django.utils import timezone

from accounts.models import Organization, User
from accounts.permissions import Permission
from detection.models import Label, ReviewOutcome
from review import agreement
from review.models import Decision, KnownItem, ReviewCase

PERIODS = (7, 30, 90)


class Opinion(NamedTuple):
    """What the figures need of a decision; there may be tens of thousands."""

    reviewer: int
    case: Any
    job: Any
    outcome: str
    label: str
    machine_label: str
    seconds: float | None
    helpfulness: int | None
    model_version: str
    is_decided: bool  # the case has its final label, and its item does not wait for its deletion
    day: date


@dataclass(frozen=True)
class Times:
    count: int
    median_s: float | None
    p95_s: float | None


@dataclass(frozen=True)
class PersonRow:
    name: str
    decisions: int
    times: Times
    overrides: int
    escalations: int
    known_right: int
    known_total: int
    is_viewer: bool


@dataclass(frozen=True)
class PairRow:
    names: tuple[str, str]
    items: int
    kappa: float | None
    strength: str


@dataclass(frozen=True)
class EffectRow:
    """Per model version: how many of its verdicts that people decided on they changed, and in which direction."""

    model_version: str
    judged: int
    changed: int
    directions: tuple[tuple[str, str, int], ...]  # from, to, how many

    @property
    def share(self) -> float:
        return self.changed / self.judged if self.judged else 0.0


@dataclass(frozen=True)
class DayBar:
    day: date
    count: int
    x: str
    y: str
    width: str
    height: str


@dataclass(frozen=True)
class Statistics:
    days: int
    decisions: int
    times: Times
    waiting: int
    overdue: int
    on_time: int
    closed: int
    people: tuple[PersonRow, ...]
    bars: tuple[DayBar, ...]
    busiest: int
    pairs: tuple[PairRow, ...]
    fleiss: float | None
    fleiss_items: int
    fleiss_strength: str
    effects: tuple[EffectRow, ...]
    known_right: int
    known_total: int
    helpfulness: float | None
    ratings: tuple[tuple[int, int], ...]


def statistics(organization: Organization, viewer: User, days: int) -> Statistics:
    """All figures of the last `days` days; names of colleagues for whoever may see them (Permission.NAMES)."""
    now = timezone.now()
    since = now - timedelta(days=days)
    opinions = _opinions(organization, since)
    names = _names(organization, viewer, {opinion.reviewer for opinion in opinions})
    known = _known(opinions, organization)
    by_case = _by_case(opinions)
    cases = ReviewCase.objects.visible_to(organization)
    closed = list(cases.filter(closed_at__gte=since).values_list("closed_at", "due_at"))
    items = [Counter(labels.values()) for labels in by_case.values() if len(labels) > 1]
    fleiss = agreement.fleiss_kappa(items)
    ratings = Counter(opinion.helpfulness for opinion in opinions if opinion.helpfulness)
    bars, busiest = _bars(opinions, days, timezone.localdate())
    return Statistics(
        days=days,
        decisions=len(opinions),
        times=times(opinion.seconds for opinion in opinions),
        waiting=cases.unfinished().count(),
        overdue=cases.overdue().count(),
        on_time=sum(closed_at <= due_at for closed_at, due_at in closed if closed_at),
        closed=len(closed),
        people=_people(opinions, names, known, viewer),
        bars=bars,
        busiest=busiest,
        pairs=_pairs(by_case, names, viewer),
        fleiss=fleiss,
        fleiss_items=len(items),
        fleiss_strength=agreement.strength(fleiss, len(items)),
        effects=effects(opinions),
        known_right=sum(right for right, _ in known.values()),
        known_total=sum(total for _, total in known.values()),
        helpfulness=sum(n * count for n, count in ratings.items()) / ratings.total() if ratings else None,
        ratings=tuple((n, ratings[n]) for n in range(1, 6)),
    )


def _opinions(organization: Organization, since: datetime) -> list[Opinion]:
    rows = Decision.objects.standing().filter(organization=organization, created_at__gte=since)
    columns = rows.order_by("created_at").values_list(
        "reviewer_id",
        "case_id",
        "case__job_id",
        "outcome",
        "label",
        "machine_label",
        "seconds",
        "helpfulness",
        "case__job__result__model_version__name",
        ExpressionWrapper(Q(case__closed_at__isnull=False, case__job__deleted_at=None), output_field=BooleanField()),
        "created_at",
    )
    zone = timezone.get_current_timezone()
    found: Iterable[Any] = columns.iterator(chunk_size=2000)
    return [Opinion._make((*row[:-1], row[-1].astimezone(zone).date())) for row in found]


def _names(organization: Organization, viewer: User, wanted: set[int]) -> dict[int, str]:
    """Real names for those who may see them, and one's own; a number for everybody else."""
    found = {}
    people = User.objects.filter(organization=organization, pk__in=wanted).order_by("pk")
    names_all = viewer.may(Permission.NAMES)
    for number, user in enumerate(people, 1):
        is_shown = names_all or user == viewer
        found[user.pk] = user.get_full_name() or user.get_username() if is_shown else f"Reviewer {number}"
    return found


def times(seconds: Iterable[float | None]) -> Times:
    known = [value for value in seconds if value is not None]
    return Times(len(known), agreement.percentile(known, 0.5), agreement.percentile(known, 0.95))


def _by_case(opinions: Iterable[Opinion]) -> dict[Any, dict[int, str]]:
    """Per case, each person's label; an opinion that only escalates names none."""
    found: dict[Any, dict[int, str]] = defaultdict(dict)
    for opinion in opinions:
        if opinion.label:
            found[opinion.case][opinion.reviewer] = opinion.label
    return found


def _known(opinions: Iterable[Opinion], organization: Organization) -> dict[int, tuple[int, int]]:
    """Per person, how many known items they judged rightly, and how many they judged."""
    truths = dict(KnownItem.objects.filter(organization=organization).values_list("job_id", "truth"))
    found: dict[int, tuple[int, int]] = {}
    for opinion in opinions:
        if opinion.job in truths and opinion.label:
            right, total = found.get(opinion.reviewer, (0, 0))
            found[opinion.reviewer] = (right + (opinion.label == truths[opinion.job]), total + 1)
    return found


def _people(
    opinions: list[Opinion], names: dict[int, str], known: dict[int, tuple[int, int]], viewer: User
) -> tuple[PersonRow, ...]:
    own: dict[int, list[Opinion]] = defaultdict(list)
    for opinion in opinions:
        own[opinion.reviewer].append(opinion)
    rows = [
        PersonRow(
            name=names.get(pk, "Former member"),
            decisions=len(given),
            times=times(opinion.seconds for opinion in given),
            overrides=sum(bool(opinion.label) and opinion.label != opinion.machine_label for opinion in given),
            escalations=sum(opinion.outcome == ReviewOutcome.ESCALATE for opinion in given),
            known_right=known.get(pk, (0, 0))[0],
            known_total=known.get(pk, (0, 0))[1],
            is_viewer=pk == viewer.pk,
        )
        for pk, given in own.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.decisions, row.name)))


def _pairs(by_case: dict[Any, dict[int, str]], names: dict[int, str], viewer: User) -> tuple[PairRow, ...]:
    """Each two people who judged the same cases; whoever may not see names sees the pairs they are part of."""
    shared: dict[tuple[int, int], list[tuple[str, str]]] = defaultdict(list)
    for labels in by_case.values():
        for one, other in combinations(sorted(labels), 2):
            shared[one, other].append((labels[one], labels[other]))
    shows_all = viewer.may(Permission.NAMES)
    rows = []
    for (one, other), labels_of_both in shared.items():
        if not shows_all and viewer.pk not in (one, other):
            continue
        kappa = agreement.cohen_kappa(labels_of_both)
        words = agreement.strength(kappa, len(labels_of_both))
        both = (names.get(one, "Former member"), names.get(other, "Former member"))
        rows.append(PairRow(both, len(labels_of_both), kappa, words))
    return tuple(sorted(rows, key=lambda row: (-row.items, row.names)))


def effects(opinions: Iterable[Opinion]) -> tuple[EffectRow, ...]:
    """What people changed in the cases that are decided, by the last label of each: the final one."""
    last: dict[Any, Opinion] = {opinion.case: opinion for opinion in opinions if opinion.label and opinion.is_decided}
    by_model: dict[str, list[Opinion]] = defaultdict(list)
    for opinion in last.values():
        by_model[opinion.model_version or "unknown"].append(opinion)
    rows = []
    for model, given in sorted(by_model.items()):
        changed = Counter((one.machine_label, one.label) for one in given if one.machine_label != one.label)
        directions = tuple(
            (str(Label(before).label), str(Label(after).label), count)
            for (before, after), count in changed.most_common()
        )
        rows.append(EffectRow(model, len(given), changed.total(), directions))
    return tuple(rows)


def _bars(opinions: Iterable[Opinion], days: int, today: date) -> tuple[tuple[DayBar, ...], int]:
    """One bar per day, in percent of the drawing."""
    counts = Counter(opinion.day for opinion in opinions)
    busiest = max(counts.values(), default=0)
    step = 100 / days
    bars = []
    for number in range(days):
        day = today - timedelta(days=days - 1 - number)
        height = 100 * counts[day] / busiest if busiest else 0.0
        bars.append(
            DayBar(
                day=day,
                count=counts[day],
                x=f"{number * step + step * 0.12:.2f}%",
                y=f"{100 - height:.2f}%",
                width=f"{step * 0.76:.2f}%",
                height=f"{height:.2f}%",
            )
        )
    return tuple(bars), busiest
