"""Taking a case: one of two people gets it, the other is told who; claims run out and are given back."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection, connections
from django.utils import timezone

from accounts.models import AuditLog
from deepfake.errors import DomainError
from review import services
from review.models import Priority, ReviewCase
from tests.review.conftest import opinion

pytestmark = [pytest.mark.services, pytest.mark.django_db]


def test_a_case_is_taken_for_a_while(case, bob):
    taken = services.claim(case=case, actor=bob)
    assert taken.holder() == bob
    assert taken.claimed_until - taken.claimed_at == timedelta(minutes=30)
    assert AuditLog.objects.filter(action="review.claimed", actor=bob, target_id=str(case.pk)).count() == 1


def test_the_second_is_told_who_has_it(case, bob, rita):
    stale = ReviewCase.objects.get(pk=case.pk)
    services.claim(case=case, actor=bob)
    with pytest.raises(DomainError, match="bob has had this case since") as refused:
        services.claim(case=stale, actor=rita)
    assert (refused.value.code, refused.value.status) == ("case_claimed", 409)
    assert ReviewCase.objects.get(pk=case.pk).claimed_by == bob


def test_taking_again_prolongs_and_keeps_the_clock(case, bob):
    first = services.claim(case=case, actor=bob).claimed_at
    ReviewCase.objects.update(claimed_until=timezone.now() + timedelta(minutes=1))
    again = services.claim(case=case, actor=bob)
    assert again.claimed_at == first
    assert again.claimed_until > timezone.now() + timedelta(minutes=29)
    assert AuditLog.objects.filter(action="review.claimed").count() == 1


def test_a_claim_that_ran_out_holds_nobody_off(case, bob, rita):
    services.claim(case=case, actor=bob)
    ReviewCase.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
    assert services.claim(case=ReviewCase.objects.get(pk=case.pk), actor=rita).holder() == rita


def test_whoever_let_it_run_out_may_still_decide_unless_it_was_taken(case, bob, rita):
    services.claim(case=case, actor=bob)
    ReviewCase.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
    services.claim(case=ReviewCase.objects.get(pk=case.pk), actor=rita)
    with pytest.raises(DomainError, match="rita has had"):
        services.decide(case=ReviewCase.objects.get(pk=case.pk), actor=bob, opinion=opinion())
    services.release(case=case, actor=rita)
    assert services.decide(case=ReviewCase.objects.get(pk=case.pk), actor=bob, opinion=opinion()).label == "fake"


def test_giving_back(case, bob, rita, administrator):
    services.claim(case=case, actor=bob)
    services.release(case=case, actor=rita)  # not hers to give
    assert ReviewCase.objects.get(pk=case.pk).claimed_by == bob
    services.release(case=case, actor=administrator)
    assert ReviewCase.objects.get(pk=case.pk).claimed_by is None
    services.release(case=case, actor=bob)
    assert AuditLog.objects.filter(action="review.released").count() == 1


@pytest.mark.parametrize("who", ["alice", "vera"])
def test_other_roles_take_nothing(case, who, request):
    with pytest.raises(DomainError) as refused:
        services.claim(case=case, actor=request.getfixturevalue(who))
    assert refused.value.status == 403


def test_the_next_is_the_most_urgent_then_the_soonest_due(open_case, bob, rita):
    late, soon, urgent = open_case(), open_case(), open_case(priority=Priority.URGENT)
    ReviewCase.objects.filter(pk=late.pk).update(due_at=timezone.now() + timedelta(hours=40))
    queue = ReviewCase.objects.visible_to(bob)
    assert services.take_next(queue=queue, actor=bob) == urgent
    assert services.take_next(queue=queue, actor=bob) == soon
    assert services.take_next(queue=queue, actor=rita) == late
    assert services.take_next(queue=queue, actor=bob) is None


def test_the_next_passes_over_ones_own_first_opinion(open_case, bob, rita):
    case = open_case(opinions_wanted=2)
    services.decide(case=case, actor=bob, opinion=opinion())
    queue = ReviewCase.objects.visible_to(bob)
    assert services.take_next(queue=queue, actor=bob) is None
    assert services.take_next(queue=queue, actor=rita) == case


@pytest.mark.django_db(transaction=True)
def test_two_reviewers_at_once(case, bob, rita):
    """Both ask in the same moment, each on a connection of its own: exactly one gets it."""
    gate, outcomes = threading.Barrier(2), {}

    def race(user):
        try:
            own = ReviewCase.objects.select_related("job", "organization").get(pk=case.pk)
            gate.wait(10)
            services.claim(case=own, actor=user)
            outcomes[user.username] = "got it"
        except DomainError as error:
            outcomes[user.username] = error.message
        finally:
            connections.close_all()

    threads = [threading.Thread(target=race, args=(user,)) for user in (bob, rita)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    winner = ReviewCase.objects.get(pk=case.pk).claimed_by.username
    loser = {"bob": "rita", "rita": "bob"}[winner]
    assert outcomes[winner] == "got it"
    assert outcomes[loser].startswith(f"{winner} has had this case since")
    assert AuditLog.objects.filter(action="review.claimed").count() == 1
    assert connection.vendor in ("sqlite", "postgresql")


@pytest.mark.django_db(transaction=True)
def test_many_who_take_the_next_get_different_cases(open_case, bob, rita):
    cases = {open_case().pk for _ in range(4)}
    gate, taken = threading.Barrier(4), []

    def race(user):
        try:
            gate.wait(10)
            found = services.take_next(queue=ReviewCase.objects.visible_to(user), actor=user)
            taken.append(found.pk if found else None)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=race, args=(user,)) for user in (bob, rita, bob, rita)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    held = ReviewCase.objects.exclude(claimed_by=None)
    assert set(taken) <= cases
    assert held.count() == len(set(taken))
