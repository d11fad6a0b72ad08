"""What-if: the engine's own answer under other thresholds, from what was stored of an analysis."""

from __future__ import annotations

import itertools

import pytest

from detection.engine import fusion, pipeline
from detection.engine.fusion import Thresholds
from detection.engine.types import Evidence, Stability
from detection.models import BranchScore, InferenceResult, JobStatus
from detection.profile_matching import Rule
from detection.what_if import what_if
from review.models import KnownItem
from tests import factories

STACK = fusion.load()
LIMITS = [Thresholds(fake, real) for fake, real in ((0.9, 0.1), (0.6, 0.4), (0.5, 0.5), (0.97, 0.9), (0.2, 0.05))]


def said(branch, channel, score, **more):
    return Evidence(branch, channel, "scored", "", score=score, **more)


CASES = [
    ("image", [said("synthesis", "picture", p, quality=q)], flips)
    for p, q, flips in itertools.product((0.02, 0.3, 0.5, 0.8, 0.99), (1.0, 0.1), (False, True))
]
CASES += [("image", [said("synthesis", "picture", p), said("spatial", "picture", 0.3)], False) for p in (0.02, 0.9)]
CASES += [("audio", [said("audio", "voice", p)], False) for p in (0.01, 0.4, 0.95)]
CASES += [
    ("video", [said("synthesis", "picture", p), said("audio", "voice", v)], False)
    for p, v in itertools.product((0.05, 0.5, 0.95), (0.02, 0.99))
]
CASES += [("image", [said("provenance", "provenance", 0.99), said("synthesis", "picture", 0.4)], False)]
CASES += [("image", [said("synthesis", "picture", 0.99, data={"ood": {"distance": 9, "limit": 3}})], False)]
CASES += [("image", [], False)]


@pytest.mark.parametrize(("kind", "evidence", "flips"), CASES)
def test_relabelling_gives_what_fusing_would_have_given(kind, evidence, flips):
    """Whatever thresholds held at first, and whatever come then."""
    stability = Stability((0.0, 1.0), flips, ())
    for first, then in itertools.product(LIMITS, LIMITS):
        made = fusion.fuse(kind, evidence, stack=STACK, thresholds=first, stability=stability)
        wanted = fusion.fuse(kind, evidence, stack=STACK, thresholds=then, stability=stability)
        label, abstain = fusion.relabel(
            kind, made.evidence, made.score, made.interval, thresholds=then, stability=stability, stack=STACK
        )
        assert (label, abstain) == (wanted.label, wanted.abstain_reason)


# Over rows ------------------------------------------------------------------------------------------------------------


def analysed(organization, p_synthesis, *, kind="image", review_label="", version="", **media):
    """A completed job whose rows hold what the engine says of one synthesis score."""
    evidence = [said("synthesis", "picture", p_synthesis, quality=1.0)]
    made = fusion.fuse(kind, evidence, stack=STACK)
    item = factories.make_media(organization, kind=kind, **media)
    job = factories.make_job(
        organization=organization, status=JobStatus.COMPLETED, media=item, review_label=review_label
    )
    result = InferenceResult.objects.create(
        job=job,
        model_version=factories.make_model_version(version or pipeline.model_version()),
        label=made.label,
        score=made.score,
        interval_low=made.interval[0],
        interval_high=made.interval[1],
        abstain_reason=made.abstain_reason or "",
        rationale="",
        threshold_fake=made.thresholds["fake"],
        threshold_real=made.thresholds["real"],
        details={"stability": {"flips": False}, "curve": [1] * 50},
    )
    BranchScore.objects.create(
        result=result, branch="synthesis", channel="picture", state="scored", score=p_synthesis, quality=1.0
    )
    return job


def shipped(name="default_image"):
    limits = STACK.thresholds[name.removeprefix("default_")]
    return Rule(name=name, fake_at=limits.fake, real_below=limits.real, is_own=False)


def test_it_tells_what_would_change(organization):
    jobs = [analysed(organization, p) for p in (0.02, 0.5, 0.98)]
    lower = Rule(name="default_image", fake_at=0.02, real_below=0.01)
    found = what_if(organization, [shipped()], [lower])
    expected = [
        job
        for job in jobs
        if fusion.fuse(
            "image",
            [said("synthesis", "picture", job.result.branch_scores.get().score, quality=1.0)],
            stack=STACK,
            thresholds=Thresholds(0.02, 0.01),
        ).label
        != job.result.label
    ]
    assert expected  # else this test shows nothing
    assert {change.job for change in found.changes} == set(expected)
    assert (found.looked_at, found.concerned) == (3, 3)
    assert sum(n for _, _, n in found.directions) == len(expected)


def test_nothing_changes_under_the_same_thresholds(organization):
    analysed(organization, 0.5)
    found = what_if(organization, [shipped()], [shipped()])
    assert (found.looked_at, found.concerned, found.changes) == (1, 0, ())


def test_only_what_the_rule_fits_is_concerned(organization):
    analysed(organization, 0.5, source_url="https://pictures.example.org/a.png")
    analysed(organization, 0.5)
    narrow = Rule(name="newsdesk", host="example.org", fake_at=0.02, real_below=0.01)
    found = what_if(organization, [shipped()], [shipped(), narrow])
    assert (found.looked_at, found.concerned, len(found.changes)) == (2, 1, 1)
    assert found.changes[0].job.media.source_url


def test_reviewed_items_tell_false_alarms_and_misses(organization):
    analysed(organization, 0.5, review_label="real")
    analysed(organization, 0.5, review_label="fake")
    analysed(organization, 0.5)
    found = what_if(organization, [shipped()], [Rule(name="default_image", fake_at=0.02, real_below=0.01)])
    assert (found.false_alarms.reviewed, found.false_alarms.before, found.false_alarms.after) == (1, 0, 1)
    assert (found.misses.reviewed, found.misses.before, found.misses.after) == (1, 0, 0)


def test_a_known_item_counts_with_what_is_known_once_it_was_judged(organization):
    judged, waiting = analysed(organization, 0.5, review_label="fake"), analysed(organization, 0.5)
    for job in (judged, waiting):
        KnownItem.objects.create(job=job, organization=organization, truth="real")
    found = what_if(organization, [shipped()], [Rule(name="default_image", fake_at=0.02, real_below=0.01)])
    assert (found.false_alarms.reviewed, found.false_alarms.turned, found.misses.reviewed) == (1, 1, 0)


def test_other_model_versions_and_other_organisations_are_left_out(organization, other_organization):
    analysed(organization, 0.5, version="ensemble-of-old")
    analysed(other_organization, 0.5)
    found = what_if(organization, [shipped()], [Rule(name="default_image", fake_at=0.02, real_below=0.01)])
    assert (found.looked_at, found.left_out, found.changes) == (0, 1, ())


def test_it_is_bounded_and_its_queries_do_not_grow(organization, monkeypatch, django_assert_num_queries):
    for _ in range(6):
        analysed(organization, 0.5)
    rules = [shipped()], [Rule(name="default_image", fake_at=0.02, real_below=0.01)]
    with django_assert_num_queries(2):
        assert what_if(organization, *rules).looked_at == 6
    monkeypatch.setattr("detection.what_if.LOOKED_AT", 4)
    assert what_if(organization, *rules).looked_at == 4
