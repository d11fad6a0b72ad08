"""A job that completes opens its case in the same transaction, once; a failing rule never costs the verdict."""

from __future__ import annotations

import pytest
from django.db import IntegrityError

from accounts.models import AuditLog
from detection.models import Job, JobStatus
from detection.services import submit_and_start
from review import planting, rules, services
from review.models import KnownItem, Priority, Reason, ReviewCase
from tests import factories
from tests.detection.conftest import StubEngine, engine, run_next, upload  # noqa: F401 -- fixtures
from tests.pages.finished import make_finished

pytestmark = [pytest.mark.services, pytest.mark.django_db]


@pytest.fixture
def start(organization, alice, review_settings):
    return lambda: submit_and_start(organization=organization, actor=alice, file=upload(), filename="portrait.png")


def test_an_inconclusive_verdict_opens_a_case(start, engine, run_next):  # noqa: F811
    engine.changes = {"label": "inconclusive", "score": 0.5, "abstain_reason": "uncertain_band"}
    start()
    job = run_next()
    case = ReviewCase.objects.get(job=job)
    assert (case.reason, case.priority, case.state) == (Reason.UNCERTAIN, Priority.NORMAL, "open")
    assert case.grounds == ["The analysis reached no verdict, at 50 %."]
    assert (case.due_at - case.opened_at).total_seconds() == 24 * 3600
    assert Job.objects.get(pk=job.pk).review_state == "open"
    assert AuditLog.objects.filter(action="review.opened", target_id=str(case.pk)).count() == 1


def test_a_clear_verdict_opens_none(start, engine, run_next):  # noqa: F811
    start()
    assert run_next().status == JobStatus.COMPLETED
    assert not ReviewCase.objects.exists()


def test_a_rule_that_fails_costs_no_verdict(start, engine, run_next, monkeypatch, caplog):  # noqa: F811
    def fail(job, result):
        ReviewCase.objects.create(
            organization=job.organization, job=job, reason="audit", due_at=job.created_at, priority=Priority.LOW
        )
        raise IntegrityError("no")

    monkeypatch.setattr(services, "route", fail)
    start()
    assert run_next().status == JobStatus.COMPLETED
    assert not ReviewCase.objects.exists()  # what it had written is taken back
    assert "could not be written" in caplog.text


def test_routing_twice_opens_one_case(organization, alice, review_settings):
    job = make_finished(organization, alice, label="inconclusive", score=0.5)
    first = services.route(job, job.result)
    assert first is not None
    assert services.route(job, job.result) is None
    assert ReviewCase.objects.count() == 1


def test_a_decided_job_is_not_routed_again(organization, alice, bob, review_settings, case):
    services.decide(case=case, actor=bob, opinion=services.Opinion("confirm"))
    assert services.route(case.job, case.job.result) is None


def test_a_second_ground_raises_the_open_case(case, bob):
    urgent = rules.Ground(Reason.APPEAL, Priority.URGENT, "Somebody objects.")
    again = services.open_case(job=case.job, grounds=[urgent])
    assert again.pk == case.pk
    assert (again.priority, again.reason) == (Priority.URGENT, Reason.APPEAL)
    assert again.due_at < case.due_at
    assert again.grounds == ["The score lies close to a threshold.", "Somebody objects."]
    lower = rules.Ground(Reason.AUDIT, Priority.LOW, "Drawn at random.")
    assert services.open_case(job=case.job, grounds=[lower]).priority == Priority.URGENT


def test_planted_items_look_like_the_audit_sample(organization, alice, administrator, review_settings):
    planted, sampled = make_finished(organization, alice), make_finished(organization, alice)
    planting.plant(job=planted, actor=administrator, truth="fake", source="made by us")
    services.open_case(job=sampled, grounds=[rules.audit_ground()])
    one, other = (
        ReviewCase.objects.filter(job=job).values("reason", "priority", "grounds", "state", "opened_by").get()
        for job in (planted, sampled)
    )
    assert one == other
    case = ReviewCase.objects.get(job=planted)
    rows = AuditLog.objects.filter(target_type__in=["reviewcase", "job"], target_id__in=[str(case.pk), str(planted.pk)])
    assert [row.action for row in rows] == ["review.opened"]


def test_only_an_administrator_plants(organization, alice, bob, review_settings):
    job = make_finished(organization, alice)
    with pytest.raises(services.DomainError) as refused:
        planting.plant(job=job, actor=bob, truth="fake")
    assert refused.value.status == 403
    assert not KnownItem.objects.exists()


def test_earlier_analyses_are_brought_in_by_command(organization, alice, review_settings):
    from django.core.management import call_command

    job = make_finished(organization, alice, label="inconclusive", score=0.5)
    make_finished(organization, alice, details={})
    factories.make_job(organization=organization)
    call_command("open_review_cases")
    call_command("open_review_cases")
    assert [case.job_id for case in ReviewCase.objects.all()] == [job.pk]
