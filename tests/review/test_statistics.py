"""The figures of review, and the pages of rules and known items."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import AuditLog, Role
from review import planting, services
from review.models import Decision, KnownItem, ReviewCase, ReviewSettings
from review.statistics import statistics, times
from tests import factories
from tests.pages.finished import make_finished
from tests.review.conftest import opinion

pytestmark = [pytest.mark.services, pytest.mark.django_db]

URL = "/review/statistics/"


def judge(case, *opinions) -> None:
    for actor, outcome in opinions:
        services.decide(case=ReviewCase.objects.get(pk=case.pk), actor=actor, opinion=opinion(outcome))


def test_agreement_of_pairs_and_of_all(organization, bob, rita, administrator, open_case):
    for first, second in (("confirm", "confirm"), ("override", "override"), ("confirm", "override")):
        judge(open_case(opinions_wanted=2), (bob, first), (rita, second))
    found = statistics(organization, administrator, 30)
    assert [(row.names, row.items) for row in found.pairs] == [(("bob", "rita"), 3)]
    assert found.pairs[0].kappa == pytest.approx(0.4)  # 2 of 3 agree; by chance 4 of 9 would
    assert found.fleiss == pytest.approx(1 / 3)
    assert found.fleiss_items == 3


def test_a_third_person_counts_for_all(organization, bob, rita, administrator, open_case):
    judge(open_case(opinions_wanted=2), (bob, "confirm"), (rita, "override"), (administrator, "override"))
    found = statistics(organization, administrator, 30)
    assert len(found.pairs) == 3
    assert found.fleiss_items == 1
    assert found.fleiss == pytest.approx(-0.5)


def test_what_people_changed_per_model_version(organization, bob, rita, administrator, open_case):
    judge(open_case(), (bob, "override"))
    judge(open_case(), (bob, "confirm"))
    judge(open_case(opinions_wanted=2), (bob, "confirm"), (rita, "override"), (administrator, "override"))
    judge(open_case(opinions_wanted=2), (bob, "override"))  # waits for its second opinion
    judge(open_case(), (bob, "escalate"))
    found = statistics(organization, administrator, 30)
    assert sum(row.judged for row in found.effects) == found.closed == 3
    row = found.effects[0]
    assert (row.model_version, row.judged, row.changed) == ("ensemble-test", 3, 2)
    assert row.directions == (("Fake", "Real", 2),)


def test_known_items(organization, alice, bob, rita, administrator, review_settings):
    for truth, outcome in (("fake", "confirm"), ("real", "confirm"), ("real", "override")):
        job = make_finished(organization, alice)
        planting.plant(job=job, actor=administrator, truth=truth)
        judge(job.review_cases.get(), (bob, outcome))
    found = statistics(organization, administrator, 30)
    assert (found.known_right, found.known_total) == (2, 3)
    assert [(row.known_right, row.known_total) for row in found.people] == [(2, 3)]


def test_load_time_and_ratings(organization, bob, administrator, open_case):
    for rating in (4, 5):
        case = services.claim(case=open_case(), actor=bob)
        services.decide(case=case, actor=bob, opinion=opinion(helpfulness=rating))
    Decision.objects.update(seconds=30)
    late = Decision.objects.first()
    Decision.objects.filter(pk=late.pk).update(seconds=90)
    overdue = open_case()
    ReviewCase.objects.filter(pk=overdue.pk).update(due_at=timezone.now() - timedelta(hours=1))
    found = statistics(organization, administrator, 7)
    assert (found.decisions, found.times.median_s, found.helpfulness) == (2, 60, 4.5)
    assert found.times.p95_s == pytest.approx(87)
    assert (found.waiting, found.overdue, found.on_time, found.closed) == (1, 1, 2, 2)
    assert [bar.count for bar in found.bars] == [0, 0, 0, 0, 0, 0, 2]


def test_undone_opinions_and_old_ones_do_not_count(organization, bob, administrator, open_case):
    services.undo(decision=services.decide(case=open_case(), actor=bob, opinion=opinion()), actor=bob)
    services.decide(case=open_case(), actor=bob, opinion=opinion())
    Decision.objects.standing().update(created_at=timezone.now() - timedelta(days=8))
    assert statistics(organization, administrator, 7).decisions == 0
    assert statistics(organization, administrator, 30).decisions == 1


def test_no_times_without_claims():
    assert times([None, None]).median_s is None


def test_names_are_for_administrators(client, organization, bob, rita, administrator, open_case):
    judge(open_case(opinions_wanted=2), (bob, "confirm"), (rita, "confirm"))
    scientist = factories.make_user(organization, "dora", Role.DATA_SCIENTIST)

    def page(user):
        client.force_login(user)
        return client.get(URL).content.decode().split("<h1>")[1]

    assert "rita" in page(administrator)
    own = page(bob)
    assert "bob (you)" in own
    assert "rita" not in own
    assert "Reviewer 2" in own
    neutral = page(scientist)
    assert "bob" not in neutral
    assert "rita" not in neutral


@pytest.mark.parametrize("who", ["alice", "vera"])
def test_other_roles_see_no_figures(client, who, request):
    client.force_login(request.getfixturevalue(who))
    assert client.get(URL).status_code == 403


def test_others_figures_are_their_own(client, other_organization, bob, open_case):
    judge(open_case(), (bob, "confirm"))
    client.force_login(factories.make_user(other_organization, "otto", Role.ADMIN))
    assert client.get(URL).context["found"].decisions == 0


def test_access(client, bob):
    assert client.get(URL).status_code == 302
    client.force_login(bob)
    assert client.post(URL).status_code == 405
    assert client.get(URL, {"days": "nonsense"}).context["found"].days == 30
    assert client.get(URL, {"days": "7"}).context["found"].days == 7


def test_queries(client, bob, rita, open_case, django_assert_num_queries):
    for _ in range(4):
        judge(open_case(opinions_wanted=2), (bob, "confirm"), (rita, "confirm"))
    client.force_login(bob)
    # session, user, organisation, opinions, names, known items, decided, waiting, overdue, count in the header
    with django_assert_num_queries(10):
        client.get(URL)


# Rules and known items ------------------------------------------------------------------------------------------------

RULES = {
    "opens_uncertain": "on",
    "audit_percent": "5",
    "second_percent": "20",
    "from_percent": "50",
    "margin_percent": "4",
    "gap_percent": "70",
    "sla_urgent_h": "2",
    "sla_high_h": "6",
    "sla_normal_h": "12",
    "sla_low_h": "48",
    "claim_minutes": "20",
    "undo_minutes": "5",
    "appeal_days": "14",
}


def test_an_administrator_sets_the_rules(client, administrator, organization):
    client.force_login(administrator)
    assert client.get("/review/settings/").status_code == 200
    client.post("/review/settings/", RULES)
    own = ReviewSettings.objects.get(organization=organization)
    assert (own.audit_rate, own.second_opinion_rate, own.disagreement_gap) == (0.05, 0.2, 0.7)
    assert (own.opens_uncertain, own.opens_disagreement, own.sla_urgent_h) == (True, False, 2)
    row = AuditLog.objects.get(action="review.settings_saved")
    assert (row.actor, row.details["audit_rate"]) == (administrator, 0.05)


@pytest.mark.parametrize("wrong", [{"audit_percent": "101"}, {"sla_low_h": "0"}, {"claim_minutes": ""}])
def test_rules_that_make_no_sense(client, administrator, wrong):
    client.force_login(administrator)
    assert 'aria-invalid="true"' in client.post("/review/settings/", RULES | wrong).content.decode()
    assert not ReviewSettings.objects.exists()


@pytest.mark.parametrize("url", ["/review/settings/", "/review/known/"])
@pytest.mark.parametrize("who", ["alice", "vera", "bob"])
def test_rules_and_known_items_are_for_administrators(client, request, who, url):
    assert client.get(url).status_code == 302
    client.force_login(request.getfixturevalue(who))
    assert client.get(url).status_code == 403
    assert client.post(url, RULES).status_code == 403


def test_an_administrator_plants_and_removes(client, administrator, alice, organization, review_settings):
    job = make_finished(organization, alice)
    client.force_login(administrator)
    client.post("/review/known/", {"job": job.public_id, "truth": "fake", "source": "made by us"})
    assert "made by us" in client.get("/review/known/").content.decode()
    assert ReviewCase.objects.get(job=job).reason == "audit"
    client.post(f"/review/known/{job.pk}/remove/")
    assert not KnownItem.objects.exists()
    page = client.post("/review/known/", {"job": "job_nonsense", "truth": "fake"}).content.decode()
    assert "There is no analysis of that id" in page
