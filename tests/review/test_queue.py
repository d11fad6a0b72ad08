"""The queue: who sees it, its order, filters, pages, queries, bulk decisions."""

from __future__ import annotations

import importlib
from datetime import timedelta

import pytest
from django.apps import apps
from django.urls import reverse
from django.utils import timezone

from detection.models import Job
from review import marks, rules, services
from review.models import Decision, Mention, Priority, Reason, ReviewCase, ReviewPreference
from review.statistics import statistics
from tests import factories
from tests.review.conftest import opinion

pytestmark = [pytest.mark.services, pytest.mark.django_db]

URL = "/review/"


def names(response) -> list[str]:
    return [case.job.media.filename for case in response.context["page"].cases]


def test_the_most_urgent_comes_first_with_its_clock(client, bob, open_case):
    open_case(filename="later.mp4")
    late = open_case(filename="late.mp4", reason=Reason.AUDIT, priority=Priority.LOW)
    open_case(filename="urgent.mp4", reason=Reason.APPEAL, priority=Priority.URGENT)
    ReviewCase.objects.filter(pk=late.pk).update(due_at=timezone.now() - timedelta(hours=3, minutes=5))
    client.force_login(bob)
    response = client.get(URL)
    assert names(response) == ["urgent.mp4", "later.mp4", "late.mp4"]
    page = response.content.decode()
    assert "3 h 5 min overdue" in page
    assert "23 h left" in page
    assert "Uncertain verdict" in page
    assert "91\N{NO-BREAK SPACE}%" in page


def test_anonymous_is_sent_to_sign_in(client, db):
    assert client.get(URL).headers["Location"] == f"{reverse('account_login')}?next=/review/"


def test_an_outsider_sees_nothing_of_it(client, charlie, open_case):
    open_case()
    client.force_login(charlie)
    response = client.get(URL)
    assert names(response) == []
    assert "Nothing waits for review" in response.content.decode()


@pytest.mark.parametrize(
    ("who", "status", "may_take"), [("vera", 403, False), ("alice", 200, False), ("bob", 200, True)]
)
def test_roles(client, request, open_case, who, status, may_take):
    open_case()
    client.force_login(request.getfixturevalue(who))
    response = client.get(URL)
    assert response.status_code == status
    assert ("Take the next case" in response.content.decode()) is may_take


@pytest.mark.parametrize("url", [URL, "/review/rows/"])
def test_wrong_method(client, bob, url):
    client.force_login(bob)
    assert client.post(url).status_code == 405


@pytest.mark.parametrize("count", [1, 12])
def test_queries_do_not_grow_with_the_queue(client, bob, rita, open_case, django_assert_num_queries, count):
    for _ in range(count):
        services.claim(case=open_case(), actor=rita)
    client.force_login(bob)
    # session, user, organisation, cases, preferences, mentions, rules, own last decision, count in the header
    with django_assert_num_queries(9):
        client.get(URL)


def test_large_columns_stay_in_the_database(client, bob, open_case, django_assert_max_num_queries):
    open_case()
    client.force_login(bob)
    with django_assert_max_num_queries(12) as queries:
        client.get(URL)
    rows = next(query["sql"] for query in queries.captured_queries if '"review_reviewcase"."due_at"' in query["sql"])
    assert '"details"' not in rows
    assert '"info"' not in rows


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", {"clip.mp4", "voice.wav", "mine.png"}),
        ("reason=appeal", {"voice.wav"}),
        ("priority=3", {"voice.wav"}),
        ("kind=image", {"mine.png"}),
        ("label=real", {"mine.png"}),
        ("holder=mine", {"mine.png"}),
        ("holder=others", {"clip.mp4"}),
        ("holder=free", {"voice.wav", "mine.png"}),
        ("overdue=1", {"clip.mp4"}),
        ("q=VOICE", {"voice.wav"}),
        ("state=open", {"clip.mp4", "voice.wav", "mine.png"}),
        ("state=escalated", set()),
        ("state=decided", {"done.mp4"}),
        ("state=decided&holder=mine", {"done.mp4"}),
        ("reason=nonsense", {"clip.mp4", "voice.wav", "mine.png"}),
    ],
)
def test_filters_live_in_the_address(client, bob, rita, open_case, query, found):
    clip = services.claim(case=open_case(filename="clip.mp4"), actor=rita)
    ReviewCase.objects.filter(pk=clip.pk).update(due_at=timezone.now() - timedelta(hours=1))
    open_case(filename="voice.wav", kind="audio", reason=Reason.APPEAL, priority=Priority.URGENT)
    services.claim(case=open_case(filename="mine.png", kind="image", label="real", score=0.1), actor=bob)
    services.decide(case=open_case(filename="done.mp4"), actor=bob, opinion=opinion())
    client.force_login(bob)
    assert set(names(client.get(f"{URL}?{query}"))) == found
    assert set(names(client.get(f"/review/rows/?{query}"))) == found


def test_pages_stay_right_while_cases_come_and_go(client, bob, open_case, monkeypatch):
    monkeypatch.setattr("review.listing.PAGE_SIZE", 2)
    start = timezone.now() + timedelta(hours=1)
    for number in range(5):
        case = open_case(filename=f"{number}.mp4", priority=Priority.HIGH if number < 2 else Priority.NORMAL)
        ReviewCase.objects.filter(pk=case.pk).update(due_at=start + timedelta(minutes=10 - number))
    client.force_login(bob)
    first = client.get(URL)
    assert names(first) == ["1.mp4", "0.mp4"]
    open_case(filename="new.mp4", priority=Priority.URGENT)
    second = client.get(URL, {"after": first.context["page"].after})
    assert names(second) == ["4.mp4", "3.mp4"]
    last = client.get(URL, {"after": second.context["page"].after})
    assert names(last) == ["2.mp4"]
    assert last.context["page"].after == ""
    assert names(client.get(URL, {"before": last.context["page"].before})) == ["4.mp4", "3.mp4"]
    back = client.get(URL, {"before": second.context["page"].before})
    assert names(back) == ["1.mp4", "0.mp4"]
    assert names(client.get(URL, {"before": back.context["page"].before})) == ["new.mp4"]


def test_pages_of_decided_cases(client, bob, open_case, monkeypatch):
    monkeypatch.setattr("review.listing.PAGE_SIZE", 2)
    for number in range(3):
        services.decide(case=open_case(filename=f"{number}.mp4"), actor=bob, opinion=opinion())
    client.force_login(bob)
    first = client.get(URL, {"state": "decided"})
    assert names(first) == ["2.mp4", "1.mp4"]
    second = client.get(URL, {"state": "decided", "after": first.context["page"].after})
    assert names(second) == ["0.mp4"]
    assert names(client.get(URL, {"state": "decided", "before": second.context["page"].before})) == ["2.mp4", "1.mp4"]


@pytest.mark.parametrize("cursor", ["x", "1_2", "1_zz_q", "9_" + "9" * 400 + "_" + "a" * 32, "1_nan_" + "a" * 32])
def test_a_cursor_that_is_none_is_ignored(client, bob, open_case, cursor):
    open_case(filename="clip.mp4")
    client.force_login(bob)
    assert names(client.get(URL, {"after": cursor})) == ["clip.mp4"]
    assert names(client.get(URL, {"before": cursor})) == ["clip.mp4"]


def test_the_header_counts_what_waits_for_those_who_judge(client, alice, bob, open_case):
    open_case()
    open_case()
    services.decide(case=open_case(), actor=bob, opinion=opinion())
    client.force_login(bob)
    assert ", waiting: </span>2</span>" in client.get("/").content.decode()
    client.force_login(alice)
    page = client.get("/").content.decode()
    assert "/review/" in page  # an analyst reads cases
    assert ", waiting: </span>" not in page


def test_taking_the_next_goes_to_it_as_the_list_is_filtered(client, bob, open_case):
    open_case(priority=Priority.URGENT)
    voice = open_case(kind="audio")
    client.force_login(bob)
    response = client.post("/review/take/?kind=audio")
    assert response.headers["Location"] == f"{voice.get_absolute_url()}?kind=audio"
    voice.refresh_from_db()
    assert voice.claimed_by == bob
    services.decide(case=voice, actor=bob, opinion=opinion())
    response = client.post("/review/take/?kind=audio", follow=True)
    assert "There is no free case here that you may judge." in response.content.decode()


def test_analysts_take_nothing(client, alice, open_case):
    open_case()
    client.force_login(alice)
    assert client.post("/review/take/").status_code == 403


# In bulk --------------------------------------------------------------------------------------------------------------


def test_a_bulk_decision_and_its_undo(client, bob, rita, open_case):
    cases = [open_case(filename=f"{number}.mp4") for number in range(3)]
    services.claim(case=cases[2], actor=rita)
    client.force_login(bob)
    sent = {"cases": [str(case.pk) for case in cases], "outcome": "override_real", "reasons": ["compression"]}
    page = client.post("/review/bulk/", sent, follow=True).content.decode()
    assert "2 cases decided." in page
    assert "2.mp4: rita has had this case since" in page
    assert "2 cases decided together" in page
    assert sorted(ReviewCase.objects.values_list("state", flat=True)) == ["decided", "decided", "open"]
    batch = Decision.objects.values_list("batch", flat=True).distinct().get()
    page = client.post(f"/review/batches/{batch}/undo/", follow=True).content.decode()
    assert "2 decisions taken back." in page
    assert set(ReviewCase.objects.values_list("state", flat=True)) == {"open"}
    assert Decision.objects.standing().count() == 0


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        ({"outcome": "confirm"}, "Choose at least one case."),
        ({"cases": ["CASE"], "outcome": "override_real", "reasons": [""]}, "Choose at least one reason"),
        ({"cases": ["CASE"]}, "Choose what you decide."),
        ({"cases": ["not-an-id"], "outcome": "confirm"}, "Choose at least one case."),
        ({"cases": ["CASE"], "outcome": "override_real"}, "Choose at least one reason for overriding the verdict."),
    ],
)
def test_a_bulk_decision_that_is_incomplete(client, bob, case, sent, sentence):
    client.force_login(bob)
    if "cases" in sent:
        sent = sent | {"cases": [str(case.pk) if value == "CASE" else value for value in sent["cases"]]}
    response = client.post("/review/bulk/", sent, follow=True)
    assert sentence in response.content.decode()
    assert not Decision.objects.exists()


def test_nobody_decides_in_bulk_for_others(client, alice, charlie, case, other_organization):
    sent = {"cases": [str(case.pk)], "outcome": "confirm"}
    client.force_login(alice)
    assert client.post("/review/bulk/", sent).status_code == 403
    client.force_login(factories.make_user(other_organization, "otto", "reviewer"))
    assert "Choose at least one case." in client.post("/review/bulk/", sent, follow=True).content.decode()
    assert not Decision.objects.exists()


def test_a_bulk_decision_is_undone_as_long_as_any_of_it_can_be(client, bob, open_case):
    cases = [open_case(), open_case()]
    services.decide_many(cases=cases, actor=bob, opinion=opinion())
    client.force_login(bob)
    ground = rules.Ground(Reason.APPEAL, Priority.URGENT, "Somebody objects.")
    for number, case in enumerate(cases):
        assert "Undo all" in client.get(URL).text, number
        services.open_case(job=case.job, grounds=[ground])
    assert "Undo all" not in client.get(URL).text


def test_only_ones_own_batch_is_undone(client, bob, rita, open_case):
    batch = services.decide_many(cases=[open_case()], actor=bob, opinion=opinion())
    client.force_login(rita)
    assert client.post(f"/review/batches/{batch.id}/undo/").status_code == 404
    assert Decision.objects.standing().count() == 1


def test_the_main_menu_tells_reviewers_of_unread_mentions(client, bob, rita, open_case):
    case = open_case()
    marks.add_note(case=case, actor=rita, text="@bob, please look.")
    client.force_login(bob)
    assert "not read yet where you are mentioned: " in client.get("/").text
    client.get(reverse("review:mentions"))
    assert "not read yet where you are mentioned: " not in client.get("/").text


def test_what_waits_for_its_deletion_is_counted_and_named_nowhere(client, bob, rita, open_case):
    case = open_case()
    marks.add_note(case=case, actor=rita, text="@bob, please look.")
    Job.objects.filter(pk=case.job_id).update(deleted_at=timezone.now())
    client.force_login(bob)
    page = client.get("/").text
    assert "not read yet where you are mentioned: " not in page
    assert ", waiting: " not in page
    assert case.job.media.filename not in client.get(reverse("review:mentions")).text
    assert statistics(case.organization, bob, 30).waiting == 0


def test_a_mention_stays_behind_with_the_organisation(bob, rita, open_case, other_organization):
    marks.add_note(case=open_case(), actor=rita, text="@bob, please look.")
    assert Mention.objects.unseen_by(bob).count() == 1
    bob.organization = other_organization
    assert Mention.objects.unseen_by(bob).count() == 0  # the page shows none, so the mark would never go


@pytest.mark.parametrize(("veil", "calm"), [("all", True), ("harsh", False)])
def test_the_list_covers_what_the_page_of_a_case_covers(client, bob, open_case, veil, calm):
    cases = [open_case(), open_case()]
    ReviewCase.objects.filter(pk=cases[1].pk).update(is_harsh=True)
    preference = ReviewPreference.objects.create(user=bob, veil=veil)
    client.force_login(bob)
    shown = {case.pk: case.is_veiled for case in client.get(URL).context["page"].cases}
    assert shown == {cases[0].pk: calm, cases[1].pk: True}, "a colleague's warning counts more"
    assert client.get(URL).text.count("thumb is-covered") == 1 + calm
    ReviewPreference.objects.filter(pk=preference.pk).update(blurs=False, greys=False)
    assert "is-covered" not in client.get(URL).text


def test_the_final_label_leads_a_decided_case_and_the_machines_stands_beside_it(client, bob, case):
    services.decide(case=case, actor=bob, opinion=opinion("override"))
    client.force_login(bob)
    assert not client.get(URL, {"state": "decided", "label": "fake"}).context["page"].cases
    row = client.get(URL, {"state": "decided", "label": "real"}).content.decode()
    row = row.partition('<td role="cell" class="cell-verdict col-verdict">')[2].partition("</td>")[0]
    assert 'class="verdict-badge is-real"' in row
    assert "is-fake" not in row
    assert "the machine read: fake, 91\N{NO-BREAK SPACE}%" in row
    page = client.get(case.get_absolute_url()).content.decode().partition('id="machine-title"')[2]
    first, _, rest = page.partition('class="small machine-word"')
    assert 'class="verdict-badge is-real"' in first
    assert 'class="verdict-badge is-fake"' in rest.partition("</p>")[0]


def test_a_firm_verdict_close_to_a_threshold_says_so_in_the_queue_its_filter_and_for_cases_of_before(
    client, bob, open_case
):
    for label, filename in (("fake", "firm.mp4"), ("inconclusive", "open.mp4")):
        open_case(filename=filename, label=label)
    migration = importlib.import_module("review.migrations.0006_cases_close_to_a_threshold")
    migration.part(apps, None)
    client.force_login(bob)
    close = client.get(URL, {"reason": "close"})
    assert names(close) == ["firm.mp4"]
    assert '<span class="why">Close to a threshold</span>' in close.content.decode()
    assert names(client.get(URL, {"reason": "uncertain"})) == ["open.mp4"]
    migration.join(apps, None)
    assert len(names(client.get(URL, {"reason": "uncertain"}))) == 2
