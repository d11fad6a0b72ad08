"""Which verdicts go before people, and where a case stands by its opinions."""

from __future__ import annotations

import uuid

import pytest

from detection.models import BranchScore, InferenceResult
from review import rules
from review.models import Decision, Priority, Reason, ReviewSettings

JOB = uuid.UUID("5f0c7d6e-9a8b-4c3d-8e2f-1a0b9c8d7e6f")


def result(label: str = "fake", score: float | None = 0.91, **fields) -> InferenceResult:
    values = {"threshold_fake": 0.7, "threshold_real": 0.3, "details": {}}
    return InferenceResult(label=label, score=score, **(values | fields))


def branch(name: str, score: float | None, weight: float = 0.5, state: str = "scored") -> BranchScore:
    return BranchScore(branch=name, score=score, weight=weight, state=state)


def own(**fields) -> ReviewSettings:
    return ReviewSettings(**({"audit_rate": 0, "second_opinion_rate": 0} | fields))


def reasons(*args, **kwargs) -> list[str]:
    return [ground.reason for ground in rules.grounds(*args, **kwargs)]


def test_a_clear_verdict_is_left_alone():
    assert reasons(result(), [branch("spatial", 0.9), branch("synthesis", 0.8)], own(), JOB) == []


@pytest.mark.parametrize(
    ("label", "score", "is_uncertain"),
    [
        ("inconclusive", 0.5, True),
        ("inconclusive", None, True),
        ("fake", 0.74, True),
        ("fake", 0.76, False),
        ("real", 0.26, True),
        ("real", 0.2, False),
    ],
)
def test_uncertain(label, score, is_uncertain):
    assert (reasons(result(label, score), [], own(), JOB) == [Reason.UNCERTAIN]) is is_uncertain


def test_uncertain_can_be_switched_off():
    assert reasons(result("inconclusive", 0.5), [], own(opens_uncertain=False), JOB) == []


def test_branches_that_contradict_each_other():
    found = rules.grounds(result(), [branch("spatial", 0.95), branch("synthesis", 0.1)], own(), JOB)
    assert [(ground.reason, ground.priority) for ground in found] == [(Reason.DISAGREEMENT, Priority.HIGH)]
    assert found[0].sentence == "Checks contradict each other: spatial at 95 %, synthesis at 10 %."


@pytest.mark.parametrize(
    "branches",
    [
        [branch("spatial", 0.95), branch("synthesis", 0.1, weight=0)],  # only shown
        [branch("spatial", 0.95), branch("synthesis", None, state="skipped")],
        [branch("spatial", 0.95), branch("synthesis", 0.4)],  # not clearly real
        [branch("spatial", 0.95)],
        [],
    ],
)
def test_no_contradiction(branches):
    assert reasons(result(), branches, own(), JOB) == []


def test_a_contradiction_must_be_wide_enough():
    two = [branch("spatial", 0.75), branch("synthesis", 0.25)]
    assert reasons(result(), two, own(), JOB) == []
    assert reasons(result(), two, own(disagreement_gap=0.5), JOB) == [Reason.DISAGREEMENT]
    assert reasons(result(), two, own(disagreement_gap=0.5, opens_disagreement=False), JOB) == []


def test_channels_that_contradict_each_other():
    channels = [{"channel": "picture", "label": "real"}, {"channel": "voice", "label": "fake"}]
    found = rules.grounds(result(details={"channels": channels}), [], own(), JOB)
    assert found[0].sentence == "Channels contradict each other: voice reads fake, picture reads real."


def test_the_weightiest_ground_comes_first():
    two = [branch("spatial", 0.95), branch("synthesis", 0.1)]
    assert reasons(result("inconclusive", 0.5), two, own(), JOB) == [Reason.DISAGREEMENT, Reason.UNCERTAIN]


def test_the_audit_sample_is_deterministic_and_of_the_right_size():
    jobs = [uuid.UUID(int=number) for number in range(2000)]
    drawn = {job for job in jobs if reasons(result(), [], own(audit_rate=0.1), job) == [Reason.AUDIT]}
    assert 150 < len(drawn) < 250
    assert drawn == {job for job in jobs if rules.is_sampled(job, 0.1, rules.SALT_AUDIT)}
    assert {job for job in jobs if rules.is_sampled(job, 0.05, rules.SALT_AUDIT)} < drawn
    assert not any(rules.is_sampled(job, 0, rules.SALT_AUDIT) for job in jobs)
    assert all(rules.is_sampled(job, 1, rules.SALT_AUDIT) for job in jobs)


def test_the_audit_sample_is_drawn_among_the_others():
    assert reasons(result("inconclusive", 0.5), [], own(audit_rate=1), JOB) == [Reason.UNCERTAIN]


def test_two_samples_are_independent():
    jobs = [uuid.UUID(int=number) for number in range(2000)]
    both = [job for job in jobs if rules.is_sampled(job, 0.3, rules.SALT_AUDIT) and rules.opinions_wanted(
        job, own(second_opinion_rate=0.3)) == 2]  # fmt: skip
    assert 120 < len(both) < 240


@pytest.mark.parametrize(
    ("fields", "fake_at", "real_below", "label"),
    [
        ({}, 0.7, 0.3, "fake"),
        ({}, 0.95, 0.3, "inconclusive"),
        ({"score": 0.2, "label": "real"}, 0.2, 0.1, "fake"),
        ({"score": 0.5, "label": "inconclusive", "abstain_reason": "uncertain_band"}, 0.8, 0.6, "real"),
        ({"score": 0.1, "label": "inconclusive", "abstain_reason": "unstable"}, 0.8, 0.6, "inconclusive"),
        ({"score": None, "label": "inconclusive"}, 0.8, 0.6, "inconclusive"),
    ],
)
def test_reading_under_other_thresholds(fields, fake_at, real_below, label):
    assert rules.reading(result(**fields), fake_at, real_below) == label


# Where a case stands --------------------------------------------------------------------------------------------------


def said(round: str, outcome: str, label: str = "", **fields) -> Decision:
    return Decision(round=round, outcome=outcome, label=label, **fields)


@pytest.mark.parametrize(
    ("decisions", "wanted", "state", "outcome", "label"),
    [
        ([], 1, "open", "", ""),
        ([said("first", "confirm", "fake")], 1, "decided", "confirm", "fake"),
        ([said("first", "confirm", "fake")], 2, "second_opinion", "", ""),
        ([said("first", "confirm", "fake", asks_second=True)], 1, "second_opinion", "", ""),
        ([said("first", "escalate")], 2, "escalated", "", ""),
        ([said("first", "confirm", "fake"), said("second", "confirm", "fake")], 2, "decided", "confirm", "fake"),
        ([said("first", "confirm", "fake"), said("second", "override", "real")], 2, "escalated", "", ""),
        ([said("first", "confirm", "fake"), said("second", "escalate")], 2, "escalated", "", ""),
        ([said("first", "escalate"), said("final", "override", "real")], 1, "decided", "override", "real"),
    ],
)
def test_standing(decisions, wanted, state, outcome, label):
    found = rules.standing(decisions, wanted)
    assert (found.state, found.outcome, found.label) == (state, outcome, label)
