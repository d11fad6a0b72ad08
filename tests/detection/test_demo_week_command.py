"""`manage.py demo_week`: real files, through the worker's own way, dated in a week, done once."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts import audit
from accounts.models import AuditLog, Organization
from deepfake import demo_media, demo_week
from detection.engine import media as engine_media
from detection.engine.errors import EngineError
from detection.history import history_of
from detection.models import Job, ThresholdProfile, ThresholdProposal
from review.models import Appeal, Decision, KnownItem, ReviewCase
from review.presentation import case_page


def run(**options: int) -> str:
    out = StringIO()
    call_command("demo_week", stdout=out, **({"files": 10, "days": 3} | options))
    return out.getvalue()


def test_the_files_differ_and_can_be_decoded(tmp_path):
    made = list(demo_media.variants(10, 1))
    contents = [one.make() for one in made]
    assert len({one.name for one in made}) == len(set(contents)) == 10
    kinds = []
    for one, content in zip(made, contents, strict=True):
        path = tmp_path / one.name
        path.write_bytes(content)
        kinds.append(engine_media.probe(path).kind)
        assert one.truth in ("real", "fake")
    assert kinds == [{"picture": "image", "voice": "audio", "clip": "video"}[kind] for kind in demo_media.MIX]
    again = [one.make() for one in demo_media.variants(10, 1) if not one.name.endswith(".mp4")]
    assert again == [content for one, content in zip(made, contents, strict=True) if not one.name.endswith(".mp4")]
    assert next(demo_media.variants(1, 2)).make() != contents[0]


def test_the_broken_one_is_refused_by_the_engine(tmp_path):
    path = tmp_path / "broken.jpg"
    path.write_bytes(demo_media.broken(1).make())
    with pytest.raises(EngineError):
        engine_media.decode(path)


def test_moments_follow_the_hours_of_work():
    now = datetime(2026, 11, 26, 17, 30, tzinfo=UTC)
    drawn = demo_week.moments(600, 7, now, random.Random(1))
    assert drawn == sorted(drawn)
    assert now - timedelta(days=7) < drawn[0]
    assert drawn[-1] < now
    assert all(moment.hour in demo_week.HOURS for moment in drawn)
    weekend = [moment for moment in drawn if moment.weekday() > 4]
    assert len(weekend) < len(drawn) / 10
    morning = [moment for moment in drawn if moment.hour == 10]
    assert len(morning) > len([moment for moment in drawn if moment.hour == 20])


def test_a_week_is_made_and_making_it_again_adds_nothing(db, engine):
    engine.changes = {"label": "inconclusive", "score": 0.5, "abstain_reason": "uncertain_band"}
    printed = run()
    organization = Organization.objects.get(slug="demo")
    jobs = Job.objects.filter(organization=organization)
    assert sorted(jobs.values_list("status", flat=True)) == ["completed"] * 10 + ["failed"]
    assert len(engine.calls) == 11  # every file went through the pipeline
    now = timezone.now()
    for job in jobs.select_related("media"):
        assert now - timedelta(days=4) < job.created_at <= job.started_at <= job.finished_at < now
        assert job.media.created_at <= job.started_at
    decisions = Decision.objects.filter(organization=organization)
    assert decisions.count() >= 3
    assert len(set(decisions.values_list("reviewer", flat=True))) >= 2
    for decision in decisions.select_related("case"):
        assert decision.case.opened_at <= decision.created_at < now
    assert KnownItem.objects.count() == 3
    assert Appeal.objects.count() == 1
    assert list(ThresholdProposal.objects.order_by("created_at").values_list("state", flat=True)) == [
        "approved",
        "rejected",
        "open",
    ]
    assert audit.verify() is None  # the chain was not touched
    rows = AuditLog.objects.order_by("id")
    assert now - timedelta(minutes=5) < rows.first().created_at  # and tells no other time than its own
    dated = {(row.target_type, row.target_id): row.details["dated"] for row in rows.filter(action="demo.dated")}
    for job in jobs:
        assert datetime.fromisoformat(dated["job", str(job.pk)]) == job.created_at.replace(second=0, microsecond=0)
    for case_id in decisions.values_list("case_id", flat=True):
        assert ("reviewcase", str(case_id)) in dated
    assert sum(kind == "thresholdproposal" for kind, _ in dated) == 3
    appeal = Appeal.objects.select_related("job__media").get()
    assert appeal.text == demo_week.APPEALS[appeal.job.media.kind]
    asked = ThresholdProposal.objects.get(state="open").after
    shipped = ThresholdProfile.objects.get(organization=None, name="default_image")
    assert asked["fake_at"] == shipped.fake_at
    assert 0.5 * shipped.real_below < asked["real_below"] < shipped.real_below
    reviewer = organization.users.get(username=demo_week.SECOND_REVIEWER)
    trail = case_page(decisions.first().case, decisions.first().case.job.result, reviewer).trail
    assert "Dated into the demo week; this log keeps the true times" in [event.what for event in trail]
    first = jobs.filter(status="completed").first()
    assert [event.detail for event in history_of(first) if event.what.startswith("Dated it")] == [
        f"to {first.created_at:%-d %b %Y, %H:%M} UTC"
    ]
    assert "11 analyses" in printed

    counts = jobs.count(), decisions.count(), ReviewCase.objects.count(), ThresholdProposal.objects.count()
    assert "0 analyses, 0 known items, 0 decisions, 0 appeals, 0 proposals" in run()
    assert counts == (
        jobs.count(),
        decisions.count(),
        ReviewCase.objects.count(),
        ThresholdProposal.objects.count(),
    )


@pytest.mark.parametrize("options", [{"files": 0}, {"files": 501}, {"days": 0}, {"days": 61}])
def test_numbers_that_make_no_sense(db, options):
    with pytest.raises(CommandError):
        run(**options)
