"""What other thresholds would have said of past analyses, by the engine's own rule on what was stored of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import F

from accounts.models import Organization
from detection.engine import fusion, pipeline
from detection.engine.fusion import Thresholds
from detection.engine.types import Evidence, Stability
from detection.models import BranchScore, Job, JobStatus, Label
from detection.profile_matching import Rule, choose, item_of

LOOKED_AT = 1_000  # newest analyses
EXAMPLES = 20


@dataclass(frozen=True)
class Change:
    job: Job
    before: str
    after: str


@dataclass(frozen=True)
class Errors:
    """Among items whose truth people gave: how many are called the opposite."""

    reviewed: int
    before: int
    after: int
    turned: int  # called the opposite then, and not now


@dataclass(frozen=True)
class WhatIf:
    looked_at: int
    left_out: int  # verdicts of other model versions: their scores do not compare
    concerned: int  # analyses whose thresholds would be others
    changes: tuple[Change, ...]
    false_alarms: Errors  # genuine, called fake
    misses: Errors  # fake, called real

    @property
    def directions(self) -> list[tuple[str, str, int]]:
        counts = Counter((change.before, change.after) for change in self.changes)
        return [(before, after, n) for (before, after), n in counts.most_common()]

    @property
    def examples(self) -> tuple[Change, ...]:
        return self.changes[:EXAMPLES]

    def as_json(self) -> dict[str, Any]:
        return {
            "looked_at": self.looked_at,
            "left_out": self.left_out,
            "concerned": self.concerned,
            "changed": len(self.changes),
            "directions": self.directions,
            "false_alarms": [self.false_alarms.reviewed, self.false_alarms.before, self.false_alarms.after],
            "misses": [self.misses.reviewed, self.misses.before, self.misses.after],
        }


def what_if(organization: Organization, before: Sequence[Rule], after: Sequence[Rule]) -> WhatIf:
    """Compare the labels of the newest analyses under two sets of profiles."""
    jobs = list(_newest(organization))
    current = [job for job in jobs if job.result.model_version.name == pipeline.model_version()]
    moved = [(job, one, other) for job in current if (pair := _thresholds(job, before, after)) for one, other in [pair]]
    evidence = _evidence([job.result.pk for job, one, other in moved if one != other])
    changes, concerned = [], 0
    truths: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for job, one, other in moved:
        labels = (job.result.label, job.result.label)
        if one != other:
            concerned += 1
            labels = tuple(_label(job, evidence[job.result.pk], limits) for limits in (one, other))  # type: ignore[assignment]
            if labels[0] != labels[1]:
                changes.append(Change(job, *labels))
        truths[_truth(job)].append(labels)
    return WhatIf(
        looked_at=len(current),
        left_out=len(jobs) - len(current),
        concerned=concerned,
        changes=tuple(changes),
        false_alarms=_errors(truths[Label.REAL], Label.FAKE),
        misses=_errors(truths[Label.FAKE], Label.REAL),
    )


def _truth(job: Job) -> str:
    """What people found; of a known item what is known, once it was judged: a preview must not give a truth away."""
    return getattr(job, "known_truth", None) or job.review_label if job.review_label else ""


def _newest(organization: Organization) -> Any:
    done = Job.objects.filter(
        organization=organization, status=JobStatus.COMPLETED, result__isnull=False, is_sandbox=False
    )
    rows = done.order_by("-created_at", "-id").select_related("media", "result__model_version")
    # A result's details can be large; of them, one fact is needed.
    rows = rows.defer("result__details", "result__model_version__branches", "result__model_version__metrics")
    return rows.annotate(flips=F("result__details__stability__flips"), known_truth=F("known_item__truth"))[:LOOKED_AT]


def _thresholds(job: Job, before: Sequence[Rule], after: Sequence[Rule]) -> tuple[Thresholds, Thresholds] | None:
    item = item_of(job.media)
    one, other = choose(before, item), choose(after, item)
    if one is None or other is None:
        return None
    return Thresholds(one.fake_at, one.real_below), Thresholds(other.fake_at, other.real_below)


def _evidence(results: Sequence[int]) -> dict[int, list[Evidence]]:
    columns = ("result_id", "branch", "channel", "state", "score", "quality", "data__ood")
    found: dict[int, list[Evidence]] = defaultdict(list)
    for result, branch, channel, state, score, quality, ood in BranchScore.objects.filter(
        result__in=results
    ).values_list(*columns):
        data = {"ood": ood} if ood else {}
        found[result].append(Evidence(branch, channel, state, "", score=score, quality=quality, data=data))
    return found


def _label(job: Job, evidence: Sequence[Evidence], thresholds: Thresholds) -> str:
    result = job.result
    interval = None if result.interval_low is None else (result.interval_low, result.interval_high)
    flips = getattr(job, "flips", None)
    stability = None if flips is None else Stability((0.0, 1.0), bool(flips), ())
    label, _ = fusion.relabel(
        job.media.kind,  # type: ignore[arg-type]
        evidence,
        result.score,
        interval,  # type: ignore[arg-type]
        thresholds=thresholds,
        stability=stability,
        stack=fusion.load(),
    )
    return label


def _errors(labels: Sequence[tuple[str, str]], wrong: str) -> Errors:
    return Errors(
        len(labels),
        before=sum(one == wrong for one, _ in labels),
        after=sum(other == wrong for _, other in labels),
        turned=sum(one != wrong and other == wrong for one, other in labels),
    )
