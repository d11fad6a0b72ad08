"""The dashboard: what it counts, whose, in whose day, for whose eyes, and with how many queries."""

from __future__ import annotations

import html
import re
import zoneinfo
from datetime import UTC, datetime, timedelta

import pytest
from django.core.cache import cache
from django.urls import reverse
from django.utils import timezone

from accounts.models import Role
from detection.models import InferenceResult, Job, JobStatus, ModelVersion
from reports import dashboard, dashboard_charts
from review import rules, services
from review.models import Priority, Reason, ReviewCase
from review.services import Opinion
from tests import factories
from tests.pages.finished import make_finished

pytestmark = pytest.mark.services

URL = "/dashboard/"
UNCERTAIN = rules.Ground(Reason.UNCERTAIN, Priority.NORMAL, "The analysis reached no verdict.")


@pytest.fixture
def busy(organization, alice, bob, review_settings):
    """Five analyses of today in different states, one of last week, and a case."""
    jobs = {
        "fake": make_finished(organization, alice),
        "real": make_finished(organization, alice, kind="image", label="real", score=0.1),
        "open": make_finished(organization, bob, kind="audio", label="inconclusive", score=0.5),
        "failed": factories.make_job(organization=organization, status=JobStatus.FAILED, created_by=bob),
        "queued": factories.make_job(organization=organization, created_by=alice),
        "old": make_finished(organization, alice),
    }
    now = timezone.now()
    Job.objects.filter(pk=jobs["old"].pk).update(created_at=now - timedelta(days=5))
    jobs["real"].media.source_url = "https://pictures.example.org/a.png"
    jobs["real"].media.save()
    Job.objects.filter(pk=jobs["real"].pk).update(source_host="pictures.example.org")
    case = services.open_case(job=jobs["open"], grounds=[UNCERTAIN])
    ReviewCase.objects.filter(pk=case.pk).update(due_at=now - timedelta(hours=1))
    return jobs


def found(organization, key="today", zone=UTC):
    return dashboard.count(organization, dashboard.period_of(key, timezone.now(), zone))


def test_it_counts_the_day(busy, organization):
    figures = found(organization)
    assert figures.received == 5
    assert figures.states == {"completed": 3, "failed": 1, "queued": 1}
    assert figures.verdicts == {("video", "fake"): 1, ("image", "real"): 1, ("audio", "inconclusive"): 1}
    assert (figures.waiting, figures.running) == (1, 0)
    assert figures.oldest_at == busy["queued"].created_at
    assert figures.hosts == (("pictures.example.org", 1),)
    assert (figures.open_cases, figures.overdue_cases) == (1, 1)
    assert figures.reasons == (("uncertain", 1, 1),)
    assert figures.models == (("ensemble-test", 3),)
    assert sum(sum(part.values()) for part in figures.load) == 5


def test_a_longer_period_takes_in_more(busy, organization):
    figures = found(organization, "7")
    assert figures.received == 6
    assert len(figures.load) == 7
    assert figures.load[1] == {"video": 1}
    assert figures.load[6].total() == 5


def test_another_organisations_rows_are_not_counted(busy, other_organization):
    figures = found(other_organization, "30")
    assert (figures.received, figures.waiting, figures.open_cases, figures.stored_items) == (0, 0, 0, 0)


def test_decisions_of_the_day(busy, organization, bob):
    case = ReviewCase.objects.get()
    services.decide(case=case, actor=bob, opinion=Opinion("cannot_tell", note="Too dark."))
    figures = found(organization)
    assert figures.decisions == {"cannot_tell": 1}
    assert figures.decided_cases == 1


def test_the_number_of_decided_cases_leads_to_just_these(client, busy, organization, bob):
    case = ReviewCase.objects.get()
    services.decide(case=case, actor=bob, opinion=Opinion("cannot_tell", note="Too dark."))
    client.force_login(bob)
    page = client.get("/dashboard/?period=7").text
    [link] = re.findall(r'href="([^"]*state=decided[^"]*)">1</a> case', page)
    assert [row.pk for row in client.get(html.unescape(link)).context["page"].cases] == [case.pk]
    ReviewCase.objects.update(closed_at=timezone.now() - timedelta(days=8))
    assert client.get(html.unescape(link)).context["page"].cases == []


def test_the_day_is_the_readers(organization, alice):
    zone = zoneinfo.ZoneInfo("Pacific/Auckland")
    now = datetime(2026, 11, 26, 12, 30, tzinfo=UTC)  # 01:30 on the 27th over there
    period = dashboard.period_of("today", now, zone)
    assert period.first.isoformat() == "2026-11-27"
    assert period.start == datetime(2026, 11, 26, 11, tzinfo=UTC)
    for hour in (10, 11, 12):
        job = make_finished(organization, alice, kind="image")
        Job.objects.filter(pk=job.pk).update(created_at=datetime(2026, 11, 26, hour, 10, tzinfo=UTC))
    figures = dashboard.count(organization, period)
    assert figures.received == 2
    assert [part.total() for part in figures.load[:3]] == [1, 1, 0]


@pytest.mark.parametrize(("day", "hours"), [((2026, 3, 29), 23), ((2026, 10, 25), 25), ((2026, 11, 26), 24)])
def test_days_on_which_the_clocks_change(day, hours):
    zone = zoneinfo.ZoneInfo("Europe/Berlin")
    period = dashboard.period_of("today", datetime(*day, 12, tzinfo=zone), zone)
    assert len(period.bounds) == hours + 1
    assert (period.bounds[-1].timestamp() - period.bounds[0].timestamp()) == hours * 3600


def test_times(busy, organization):
    job = busy["fake"]
    start = timezone.now() - timedelta(minutes=1)
    Job.objects.filter(pk=job.pk).update(
        created_at=start, started_at=start + timedelta(seconds=10), finished_at=start + timedelta(seconds=30)
    )
    day = dashboard.period_of("7", timezone.now(), UTC)
    times = dashboard.count(organization, day).latency["video"]
    assert (times.count, times.p95_s) == (2, pytest.approx(5 * 86400, rel=0.01))
    assert times.analysis_s == pytest.approx((0 + 20) / 2, abs=0.2)


def test_percentile_is_the_nearest_rank():
    assert dashboard.percentile([1.0], 0.95) == 1.0
    assert dashboard.percentile(range(1, 101), 0.95) == 95
    assert dashboard.percentile(range(1, 21), 0.95) == 19


def test_columns_stack_up():
    bars, top = dashboard_charts.columns([("a", {"x": 1, "y": 3}), ("b", {})], ("x", "y"))
    assert top == 4
    assert [(piece.name, piece.y, piece.height) for piece in bars[0].segments] == [
        ("x", "75%", "25%"),
        ("y", "0%", "75%"),
    ]
    assert bars[1].segments == ()
    assert [dashboard_charts.round_up(n) for n in (0, 4, 6, 11, 23, 99, 101)] == [4, 4, 6, 20, 30, 100, 200]


def test_days_that_have_ended_are_kept_and_today_is_counted_again(busy, organization, alice):
    assert found(organization, "7").received == 6
    make_finished(organization, alice)
    late = make_finished(organization, alice)
    Job.objects.filter(pk=late.pk).update(created_at=timezone.now() - timedelta(days=3))
    assert found(organization, "7").received == 7
    cache.clear()
    assert found(organization, "7").received == 8
    assert found(organization, "30").received == 8


# The page -------------------------------------------------------------------------------------------------------------


def test_every_number_leads_to_its_rows(client, busy, alice):
    client.force_login(alice)
    page = client.get(URL).content.decode()
    day = timezone.now().date().isoformat()
    for query in (
        f"?since={day}&amp;until={day}",
        f"?status=failed&amp;since={day}&amp;until={day}",
        "?status=queued",
        f"?label=fake&amp;kind=video&amp;since={day}&amp;until={day}",
        f"?domain=pictures.example.org&amp;since={day}&amp;until={day}",
        f"?uploader={alice.pk}&amp;since={day}&amp;until={day}",
        f"?model={ModelVersion.objects.get().name}&amp;since={day}&amp;until={day}",
        f"?kind=video&amp;hour={day}T",
        "/review/?overdue=1",
        "/review/?reason=uncertain",
    ):
        assert f"{query}" in page, query


def test_the_links_say_what_the_list_understands(client, busy, alice):
    client.force_login(alice)
    page = client.get(URL).content.decode()
    for link in re.findall(r'href="(/\?[^"]+)"', page):
        chips = client.get(link.replace("&amp;", "&")).context["filters"].chips()
        assert len(chips) == link.count("="), link


def test_several_model_versions_are_told_apart_and_lead_to_their_rows(client, busy, organization, alice):
    old = ModelVersion.objects.create(name="before")
    InferenceResult.objects.filter(job__final_label="fake").update(model_version=old)
    counted = dict(found(organization).models)
    assert counted["before"] >= 1
    assert sum(counted.values()) == sum(found(organization).verdicts.values())
    client.force_login(alice)
    day = timezone.now().date().isoformat()
    listed = client.get(f"/?model=before&since={day}&until={day}").context["page"].jobs
    assert len(listed) == counted["before"]


def test_an_hour_of_the_list(client, busy, organization, alice):
    first = Job.objects.filter(organization=organization).first()
    Job.objects.exclude(pk=first.pk).update(created_at=timezone.now() - timedelta(hours=5))
    client.force_login(alice)
    hour = timezone.localtime(first.created_at).strftime("%Y-%m-%dT%H:00")
    shown = client.get(f"/?hour={hour}")
    assert [job.pk for job in shown.context["page"].jobs] == [first.pk]
    assert f'name="hour" value="{hour}"' in shown.content.decode()


def test_the_panel_alone_has_no_page_around_it(client, busy, alice):
    client.force_login(alice)
    page = client.get("/dashboard/panel/?period=7").content.decode()
    assert "Received by day" in page
    assert "<html" not in page


@pytest.mark.parametrize("url", [URL, "/dashboard/panel/"])
def test_anonymous_outsider_and_wrong_method(client, busy, charlie, url):
    assert client.get(url).headers["Location"].startswith(reverse("account_login"))
    client.force_login(charlie)
    assert "Nothing was received" in client.get(url).content.decode()
    assert client.post(url).status_code == 405


def test_an_unknown_period_is_today(client, alice):
    client.force_login(alice)
    assert client.get(f"{URL}?period=9999").context["period"].key == "today"


def test_names_are_for_administrators(client, busy, alice, administrator):
    client.force_login(alice)
    page = client.get(URL).content.decode()
    assert "alice (you)" in page
    assert ">bob<" not in page
    assert ">Colleagues<" in page
    client.force_login(administrator)
    assert ">bob<" in client.get(URL).content.decode()


def test_who_may_not_open_cases_sees_counts_without_links(client, busy, vera, organization):
    scientist = factories.make_user(organization, "dana", Role.DATA_SCIENTIST)
    for member in (vera, scientist):
        client.force_login(member)
        page = client.get(URL).content.decode()
        assert "Uncertain verdict" in page
        assert "/review/?" not in page


def test_queries_do_not_grow_with_the_rows(client, busy, alice, organization, django_assert_num_queries):
    client.force_login(alice)
    for number in range(20):
        make_finished(organization, alice, kind=("image", "video", "audio")[number % 3])
    cache.clear()
    with django_assert_num_queries(30):  # one of them the rules of sign-in, which the cache forgot too
        client.get(f"{URL}?period=7")
    with django_assert_num_queries(5):  # session, user, organisation, mentions, the names of who sent
        client.get(f"{URL}?period=7")


def test_figures_are_kept_for_a_few_seconds_per_organisation(client, busy, alice, charlie, organization):
    client.force_login(alice)
    client.get(URL)
    make_finished(organization, alice)
    assert client.get(URL).context["found"].received == 5
    cache.clear()
    assert client.get(URL).context["found"].received == 6
    client.force_login(charlie)
    assert client.get(URL).context["found"].received == 0


def test_originals_say_when_they_were_counted(client, busy, alice, organization):
    client.force_login(alice)
    first = client.get(URL).context["found"]
    assert first.stored_items > 0
    make_finished(organization, alice)
    kept = cache.get(f"dashboard:{organization.pk}:stored-at")
    cache.clear()
    cache.set(f"dashboard:{organization.pk}:stored-at", kept)
    page = client.get(URL)
    later = page.context["found"]
    assert later.received == first.received + 1
    assert (later.stored_items, later.stored_at) == (first.stored_items, first.stored_at)
    assert later.counted_at > later.stored_at
    line = page.content.decode().partition("Originals kept:")[2].partition("</p>")[0]
    assert later.stored_at.isoformat() in line


def test_verdicts_are_counted_as_the_list_shows_them(client, busy, organization, alice):
    Job.objects.filter(pk=busy["fake"].pk).update(review_label="real", final_label="real")
    totals = found(organization).verdicts
    assert totals.get(("video", "fake"), 0) == 0
    assert totals[("video", "real")] == 1
