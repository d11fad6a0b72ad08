"""Opinions: what they need, where they bring a case, second opinions that nobody can peek at, and the way back."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from accounts import audit
from accounts.models import AuditLog
from deepfake.errors import DomainError
from detection.models import Job
from review import marks, rules, services
from review.models import Annotation, Decision, Priority, Reason, ReviewCase
from tests.review.conftest import opinion

pytestmark = [pytest.mark.services, pytest.mark.django_db]


def decide(case, actor, outcome="confirm", **fields) -> Decision:
    return services.decide(case=ReviewCase.objects.get(pk=case.pk), actor=actor, opinion=opinion(outcome, **fields))


@pytest.mark.parametrize(
    ("outcome", "state", "label"),
    [
        ("confirm", "decided", "fake"),
        ("override", "decided", "real"),
        ("cannot_tell", "decided", "inconclusive"),
        ("escalate", "escalated", ""),
    ],
)
def test_outcomes(case, bob, outcome, state, label):
    decide(case, bob, outcome)
    case.refresh_from_db()
    assert (case.state, case.label, case.claimed_by) == (state, label, None)
    job = Job.objects.get(pk=case.job_id)
    assert (job.review_state, job.review_label) == (state, label)
    assert (job.reviewed_at is not None) is (state == "decided")
    row = AuditLog.objects.get(action="review.decided")
    assert (row.actor, row.target_id, row.details["label"]) == (bob, str(case.pk), label)
    assert audit.verify() is None


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"outcome": "override", "label": "real"}, "reason_required"),
        ({"outcome": "override", "label": "fake", "reasons": ("known_fake",)}, "label_unknown"),  # it is fake already
        ({"outcome": "override", "label": "", "reasons": ("known_fake",)}, "label_unknown"),
        ({"outcome": "override", "label": "real", "reasons": ("other",)}, "note_required"),
        ({"outcome": "override", "label": "real", "reasons": ("made up",)}, "decision_unknown"),
        ({"outcome": "escalate"}, "note_required"),
        ({"outcome": "nonsense"}, "decision_unknown"),
    ],
)
def test_incomplete_opinions(case, bob, fields, code):
    with pytest.raises(DomainError) as refused:
        services.decide(case=case, actor=bob, opinion=services.Opinion(**fields))
    assert refused.value.code == code
    assert not Decision.objects.exists()
    assert ReviewCase.objects.get().state == "open"


def test_the_time_is_taken_from_the_claim(case, bob):
    services.claim(case=case, actor=bob)
    ReviewCase.objects.update(claimed_at=timezone.now() - timedelta(seconds=90))
    assert decide(case, bob).seconds == pytest.approx(90, abs=20)


def test_a_case_is_decided_once(case, bob, rita):
    decide(case, bob)
    with pytest.raises(DomainError, match="has been decided"):
        decide(case, rita)


def test_what_a_page_showed_long_ago_decides_nothing(open_case, bob, rita, administrator):
    case = open_case(opinions_wanted=2)
    decide(case, bob)
    with pytest.raises(DomainError, match="has changed meanwhile"):
        services.decide(case=case, actor=rita, opinion=opinion(), seen_state="open")


# Second opinions ------------------------------------------------------------------------------------------------------


def test_two_who_agree(open_case, bob, rita):
    case = open_case(opinions_wanted=2)
    decide(case, bob)
    assert ReviewCase.objects.get().state == "second_opinion"
    with pytest.raises(DomainError, match="the second comes from a colleague"):
        decide(case, bob)
    decide(case, rita)
    assert ReviewCase.objects.get().state == "decided"


def test_two_who_disagree_are_escalated_to_a_third(open_case, bob, rita, administrator):
    case = open_case(opinions_wanted=2)
    decide(case, bob)
    decide(case, rita, "override")
    assert ReviewCase.objects.get().state == "escalated"
    with pytest.raises(DomainError, match="You took part in this case"):
        decide(case, rita)
    with pytest.raises(DomainError, match="escalated already"):
        decide(case, administrator, "escalate")
    decide(case, administrator, "override")
    assert (ReviewCase.objects.get().outcome, ReviewCase.objects.get().label) == ("override", "real")
    assert [row.round for row in Decision.objects.order_by("created_at")] == ["first", "second", "final"]


def test_an_administrator_may_end_what_they_escalated(case, administrator):
    decide(case, administrator, "escalate")
    decide(case, administrator)
    assert ReviewCase.objects.get().state == "decided"


def test_a_reviewer_asks_for_a_second_opinion(case, bob):
    decide(case, bob, asks_second=True)
    assert ReviewCase.objects.get().state == "second_opinion"


def test_the_sample_of_second_opinions(open_case, review_settings):
    review_settings.second_opinion_rate = 1
    review_settings.save()
    assert rules.opinions_wanted(open_case().job_id, review_settings) == 2
    assert set(ReviewCase.objects.values_list("opinions_wanted", flat=True)) == {1}  # the fixture asked for one


def test_the_second_person_is_blind(client, open_case, alice, bob, rita, administrator):
    case = open_case(opinions_wanted=2)
    marks.annotate(case=case, actor=bob, text="Seam at the jaw", start_s=1)
    marks.set_thresholds(case=case, actor=bob, fake_at=0.95, real_below=0.3, reason="Platform filter")
    marks.add_note(case=case, actor=bob, text="Loose thought @rita")
    marks.add_note(case=case, actor=alice, text="Sent by the news desk")
    decide(case, bob, "override", note="Compression it is")
    secrets = (
        "Seam at the jaw",
        "Platform filter",
        "Loose thought",
        "Compression it is",
        "Opinion given",
        "Overridden",
    )
    for who in (rita, alice, administrator):
        client.force_login(who)
        page = client.get(case.get_absolute_url()).content.decode()
        for secret in secrets:
            assert secret not in page, (who, secret)
        assert "Sent by the news desk" in page
        assert "A colleague has judged this case." in page
    client.force_login(rita)
    mentioned = client.get("/review/mentions/").content.decode()
    assert "Loose thought" not in mentioned
    assert "after you have given your own opinion" in mentioned
    annotation = Annotation.objects.get()
    assert client.post(reverse("review:remove_annotation", args=[case.pk, annotation.pk])).status_code == 404
    client.force_login(bob)
    assert "Compression it is" in client.get(case.get_absolute_url()).content.decode()
    job = Job.objects.get(pk=case.job_id)
    assert (job.review_state, job.review_label, job.review_decision) == ("second_opinion", "", "")


def test_the_second_person_confirms_what_they_see(open_case, bob, rita):
    """Not the reading under thresholds that only the first has set."""
    case = open_case(opinions_wanted=2)
    marks.set_thresholds(case=case, actor=bob, fake_at=0.95, real_below=0.3, reason="Platform filter")
    assert decide(case, bob).label == "inconclusive"
    assert decide(case, rita).label == "fake"
    assert ReviewCase.objects.get().state == "escalated"


def test_afterwards_both_see_everything(client, open_case, bob, rita):
    case = open_case(opinions_wanted=2)
    decide(case, bob, "override", note="Compression it is")
    decide(case, rita, "override", note="I think so, too")
    client.force_login(rita)
    page = client.get(case.get_absolute_url()).content.decode()
    assert "Compression it is" in page
    assert "I think so, too" in page


# Undo -----------------------------------------------------------------------------------------------------------------


def test_undo_puts_everything_back(client, case, bob):
    decision = decide(case, bob, "override")
    client.force_login(bob)
    page = client.get("/review/").content.decode()
    assert "overridden, real" in page
    url = reverse("review:undo", args=[decision.pk])
    assert url in page
    client.post(url)
    case.refresh_from_db()
    assert (case.state, case.outcome, case.label, case.closed_at) == ("open", "", "", None)
    assert case.holder() == bob  # to give another opinion at once
    job = Job.objects.get(pk=case.job_id)
    assert (job.review_state, job.review_decision, job.review_label, job.reviewed_at) == ("open", "", "", None)
    actions = AuditLog.objects.filter(target_id=str(case.pk)).order_by("id").values_list("action", flat=True)
    assert list(actions) == ["review.opened", "review.decided", "review.undone"]
    assert url not in client.get("/review/").content.decode()
    decide(case, bob)
    assert ReviewCase.objects.get().label == "fake"


def test_undoing_a_first_opinion_that_waits_for_the_second(open_case, bob):
    case = open_case(opinions_wanted=2)
    decision = decide(case, bob)
    services.undo(decision=decision, actor=bob)
    assert ReviewCase.objects.get().state == "open"
    assert ReviewCase.objects.get().holder() == bob


def test_undoing_the_second_opinion(open_case, bob, rita):
    case = open_case(opinions_wanted=2)
    decide(case, bob)
    services.undo(decision=decide(case, rita, "override"), actor=rita)
    assert ReviewCase.objects.get().state == "second_opinion"


def test_undo_has_an_end(case, bob):
    decision = decide(case, bob)
    Decision.objects.update(created_at=timezone.now() - timedelta(minutes=11))
    with pytest.raises(DomainError, match="for 10 minutes"):
        services.undo(decision=decision, actor=bob)
    assert ReviewCase.objects.get().state == "decided"


@pytest.mark.parametrize("who", ["rita", "administrator"])
def test_nobody_undoes_for_somebody_else(case, bob, who, request):
    decision = decide(case, bob)
    with pytest.raises(DomainError) as refused:
        services.undo(decision=decision, actor=request.getfixturevalue(who))
    assert refused.value.status == 403


def test_undo_stops_where_a_colleague_went_on(client, open_case, bob, rita):
    case = open_case(opinions_wanted=2)
    first = decide(case, bob)
    client.force_login(bob)
    page = client.get("/review/").text
    assert reverse("review:undo", args=[first.pk]) in page
    assert "It waits for a second opinion." in page
    services.claim(case=ReviewCase.objects.get(), actor=rita)
    with pytest.raises(DomainError, match="rita has had"):
        services.undo(decision=first, actor=bob)
    assert "undo-bar" not in client.get("/review/").text  # what would be refused is not offered
    decide(case, rita)
    with pytest.raises(DomainError, match="A colleague has given an opinion since"):
        services.undo(decision=first, actor=bob)
    assert "undo-bar" not in client.get("/review/").text


def test_opinions_that_differ_are_told_as_open(client, open_case, bob, rita):
    case = open_case(opinions_wanted=2)
    decide(case, bob)
    decide(case, rita, "override")
    client.force_login(rita)
    page = client.get(case.get_absolute_url()).text
    assert "The opinions differ: a third person decides." in page
    assert '<span class="state-mark">Escalated</span>' in page


def test_undo_stops_where_the_analysis_is_in_review_again(case, bob):
    decision = decide(case, bob)
    ground = rules.Ground(Reason.APPEAL, Priority.URGENT, "Somebody objects.")
    again = services.open_case(job=case.job, grounds=[ground])
    assert again.pk != case.pk
    with pytest.raises(DomainError, match="in review again already"):
        services.undo(decision=decision, actor=bob)
    job = Job.objects.get(pk=case.job_id)
    assert (job.review_state, job.review_label) == ("open", "fake")  # the last word, until there is another


def test_an_undo_is_refused_twice(case, bob):
    decision = decide(case, bob)
    services.undo(decision=decision, actor=bob)
    with pytest.raises(DomainError, match="already"):
        services.undo(decision=decision, actor=bob)


# By the form ----------------------------------------------------------------------------------------------------------


def send(client, case, **sent):
    return client.post(reverse("review:decide", args=[case.pk]), {"outcome": "confirm", "seen_state": "open"} | sent)


def test_the_form_decides_and_takes_the_next(client, bob, open_case):
    first, second = open_case(), open_case()
    services.claim(case=first, actor=bob)
    client.force_login(bob)
    sent = {
        "outcome": "override_real",
        "reasons": ["compression", "context"],
        "helpfulness": "4",
        "note": "Seen before",
    }
    response = send(client, first, then="next", **sent)
    assert response.headers["Location"] == second.get_absolute_url()
    second.refresh_from_db()
    assert second.claimed_by == bob
    decision = Decision.objects.get()
    assert (decision.label, decision.reasons, decision.helpfulness) == ("real", ["compression", "context"], 4)
    assert decision.note.text == "Seen before"


def test_the_form_keeps_what_was_typed_when_somebody_was_faster(client, bob, rita, case):
    services.claim(case=case, actor=rita)
    client.force_login(bob)
    response = send(client, case, note="A long thought")
    assert response.status_code == 409
    page = response.content.decode()
    assert "rita has had this case since" in page
    assert "A long thought" in page
    assert not Decision.objects.exists()


def test_a_refused_form_comes_back_as_it_was_left(client, bob, case):
    services.claim(case=case, actor=bob)
    client.force_login(bob)
    page = send(client, case, outcome="override_real", veil=["grey"]).content.decode()
    reasons = page[page.index('class="reasons"') :]
    assert reasons.index("Choose at least one reason") < reasons.index("Compression")
    assert page.count("Choose at least one reason") == 1
    assert "case-main coverable is-greyed" in page


@pytest.mark.parametrize("sent", [{"outcome": ""}, {"helpfulness": "9"}, {"reasons": ["made up"]}])
def test_the_form_refuses_nonsense(client, bob, case, sent):
    services.claim(case=case, actor=bob)
    client.force_login(bob)
    response = send(client, case, **sent)
    assert response.status_code == 400
    assert 'role="alert"' in response.content.decode()
    assert not Decision.objects.exists()
