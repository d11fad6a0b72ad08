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
    ("label", "score", "reason"),
    [
        ("inconclusive", 0.5, Reason.UNCERTAIN),
        ("inconclusive", None, Reason.UNCERTAIN),
        ("inconclusive", 0.35, Reason.UNCERTAIN),
        ("inconclusive", 0.34, None),
        ("fake", 0.74, Reason.CLOSE),
        ("fake", 0.76, None),
        ("real", 0.26, Reason.CLOSE),
        ("real", 0.2, None),
    ],
)
def test_no_verdict_and_one_close_to_a_threshold_are_told_apart(label, score, reason):
    assert reasons(result(label, score), [], own(), JOB) == ([reason] if reason else [])


def test_uncertain_says_how_near_and_to_what():
    assert rules.uncertainty(result("fake", 0.74), own()).sentence == (
        "The score, 74 %, lies close to a threshold: fake from 70 %."
    )
    assert rules.uncertainty(result("real", 0.26), own()).sentence.endswith("real below 30 %.")


def test_from_which_chance_an_inconclusive_verdict_is_looked_at_is_a_rule():
    assert reasons(result("inconclusive", 0.1), [], own(uncertain_from=0), JOB) == [Reason.UNCERTAIN]
    assert reasons(result("inconclusive", 0.6), [], own(uncertain_from=0.7), JOB) == []


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
    assert rules.reading(result(**fields), fake_at, real_below).label == label


@pytest.mark.parametrize(
    ("fields", "fake_at", "real_below", "label", "piece"),
    [
        ({"interval_low": 0.6, "interval_high": 0.95}, 0.5, 0.3, "fake", ""),
        ({"interval_low": 0.6, "interval_high": 0.95}, 0.7, 0.3, "fake", "weak verdict"),
        ({"interval_low": 0.3, "interval_high": 0.95}, 0.7, 0.2, "inconclusive", "too far back"),
        ({"score": 0.1, "interval_low": 0.0, "interval_high": 0.3}, 0.8, 0.2, "real", "weak verdict"),
        ({"score": 0.1, "interval_low": 0.0, "interval_high": 0.6}, 0.8, 0.2, "inconclusive", "too far back"),
        ({"score": 0.1, "interval_low": 0.0, "interval_high": 0.15}, 0.8, 0.2, "real", ""),
    ],
)
def test_a_reading_respects_its_interval_as_the_engine_does(monkeypatch, fields, fake_at, real_below, label, piece):
    monkeypatch.setattr(rules, "clear_margin", lambda: 0.3)
    found = rules.reading(result(**fields), fake_at, real_below)
    assert found.label == label
    assert (piece in found.words) if piece else found.words == ""


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
