"""Which analyses people should look at, how urgent that is, and what follows from their opinions. No database here."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from detection import words
from detection.engine import fusion
from detection.engine.fusion import Thresholds
from detection.engine.wording import limit_percent, percent, percent_beside
from detection.models import BranchScore, InferenceResult, Label, ReviewOutcome, ReviewState
from review.models import Decision, Priority, Reason, ReviewSettings, Round

SALT_AUDIT, SALT_SECOND = "review-audit", "review-second"


@dataclass(frozen=True)
class Ground:
    """Why a job is put before people."""

    reason: Reason
    priority: Priority
    sentence: str


def grounds(
    result: InferenceResult, branches: Iterable[BranchScore], rules: ReviewSettings, job_id: uuid.UUID
) -> list[Ground]:
    """Return all grounds for a review of this verdict, the weightiest first; none for most jobs.

    The audit sample is drawn among those that no other rule takes.
    """
    found = [ground for ground in (disagreement(result, branches, rules), uncertainty(result, rules)) if ground]
    if not found and (sampled := audit(job_id, rules)):
        found = [sampled]
    return sorted(found, key=lambda ground: -ground.priority)


def uncertainty(result: InferenceResult, rules: ReviewSettings) -> Ground | None:
    """No verdict was given, or the score lies so near to a threshold that it could as well be the other one."""
    if not rules.opens_uncertain:
        return None
    score, fake_at, real_below = result.score, result.threshold_fake, result.threshold_real
    if score is None:
        is_open = result.label == Label.INCONCLUSIVE
        return Ground(Reason.UNCERTAIN, Priority.NORMAL, "The analysis reached no verdict.") if is_open else None
    shown = percent_beside(score, real_below, fake_at)
    if result.label == Label.INCONCLUSIVE:
        if score < rules.uncertain_from:
            return None
        return Ground(Reason.UNCERTAIN, Priority.NORMAL, f"The analysis reached no verdict, at {shown}.")
    distance, limit, name = min(
        (abs(score - fake_at), fake_at, "fake from"), (abs(score - real_below), real_below, "real below")
    )
    if distance > rules.uncertain_margin:
        return None
    near = f"The score, {shown}, lies close to a threshold: {name} {limit_percent(limit)}."
    return Ground(Reason.CLOSE, Priority.NORMAL, near)


def disagreement(result: InferenceResult, branches: Iterable[BranchScore], rules: ReviewSettings) -> Ground | None:
    """Checks that count say opposite things, or one channel is fake while another is real."""
    if not rules.opens_disagreement:
        return None
    channels = {found["channel"]: found["label"] for found in (result.details or {}).get("channels") or []}
    if {Label.FAKE, Label.REAL} <= set(channels.values()):
        fake = _listed(name for name, label in channels.items() if label == Label.FAKE)
        real = _listed(name for name, label in channels.items() if label == Label.REAL)
        sentence = f"Channels contradict each other: {fake} reads fake, {real} reads real."
        return Ground(Reason.DISAGREEMENT, Priority.HIGH, sentence)
    counted = [
        (branch.score, branch.branch)
        for branch in branches
        if branch.state == "scored" and branch.weight > 0 and branch.score is not None
    ]
    if len(counted) < 2:
        return None
    (low, least), (high, most) = min(counted), max(counted)
    opposite = high >= result.threshold_fake and low < result.threshold_real
    if not opposite or high - low < rules.disagreement_gap:
        return None
    sentence = f"Checks contradict each other: {most} at {percent(high)}, {least} at {percent(low)}."
    return Ground(Reason.DISAGREEMENT, Priority.HIGH, sentence)


def audit(job_id: uuid.UUID, rules: ReviewSettings) -> Ground | None:
    if not is_sampled(job_id, rules.audit_rate, SALT_AUDIT):
        return None
    return audit_ground()


def audit_ground() -> Ground:
    """Also what a planted item is opened with: the two must not be told apart."""
    return Ground(Reason.AUDIT, Priority.LOW, "Drawn at random to see how well the checks do.")


def is_sampled(job_id: uuid.UUID, rate: float, salt: str) -> bool:
    """Whether a job belongs to a random share of all; the same job always gets the same answer."""
    digest = hashlib.sha256(salt.encode() + job_id.bytes).digest()
    return int.from_bytes(digest[:8], "big") < rate * 2**64


def opinions_wanted(job_id: uuid.UUID, rules: ReviewSettings) -> int:
    return 2 if is_sampled(job_id, rules.second_opinion_rate, SALT_SECOND) else 1


@dataclass(frozen=True)
class Reading:
    """How a score reads under other thresholds, by the engine's own rule for intervals."""

    label: str
    words: str  # what its interval makes of it; blank where it lies on one side


def reading(result: InferenceResult, fake_at: float, real_below: float) -> Reading:
    """What abstained for another reason than its score stays so; an interval may reach no further than the engine
    lets it."""
    if result.score is None or result.abstain_reason not in ("", "uncertain_band"):
        return Reading(Label.INCONCLUSIVE, "")
    limits = Thresholds(fake=fake_at, real=real_below)
    label = Label(limits.label(result.score))
    if result.interval_low is None or result.interval_high is None or label == Label.INCONCLUSIVE:
        return Reading(label, "")
    if not fusion.is_clear(result.score, (result.interval_low, result.interval_high), limits, clear_margin()):
        return Reading(Label.INCONCLUSIVE, words.TOO_FAR_ACROSS)
    is_across = result.reaches_across(label, fake_at=fake_at, real_below=real_below)
    return Reading(label, words.ACROSS.format(label=label) if is_across else "")


def clear_margin() -> float:
    """How far an interval may reach back across the threshold of a label that stands."""
    return fusion.load().clear_margin


@dataclass(frozen=True)
class Standing:
    """Where a case is, by the opinions that stand."""

    state: ReviewState
    outcome: str = ""
    label: str = ""

    @property
    def is_final(self) -> bool:
        return self.state == ReviewState.DECIDED


def standing(decisions: Sequence[Decision], opinions_wanted: int) -> Standing:
    """Return where a case stands after these opinions (none of them undone, oldest first).

    A second opinion that finds another label, or any opinion that escalates, brings the case before a third person.
    """
    by_round = {decision.round: decision for decision in decisions}
    final, first, second = (by_round.get(name) for name in (Round.FINAL, Round.FIRST, Round.SECOND))
    if final is not None and final.outcome != ReviewOutcome.ESCALATE:
        return Standing(ReviewState.DECIDED, final.outcome, final.label)
    if first is None:
        return Standing(ReviewState.OPEN)
    if ReviewOutcome.ESCALATE in (first.outcome, second.outcome if second else ""):
        return Standing(ReviewState.ESCALATED)
    if second is not None and second.label != first.label:
        return Standing(ReviewState.ESCALATED)
    if second is None and (opinions_wanted > 1 or first.asks_second):
        return Standing(ReviewState.SECOND_OPINION)
    return Standing(ReviewState.DECIDED, first.outcome, first.label)


ROUND_IN: dict[str, Round] = {
    ReviewState.OPEN: Round.FIRST,
    ReviewState.SECOND_OPINION: Round.SECOND,
    ReviewState.ESCALATED: Round.FINAL,
}


def _listed(names: Iterable[str]) -> str:
    return " and ".join(sorted(names))
