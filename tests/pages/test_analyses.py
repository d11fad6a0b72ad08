"""The list of analyses: who sees what, filters, pages, queries."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from detection.models import Job, JobStatus
from tests import factories
from tests.pages.finished import make_finished

pytestmark = pytest.mark.services

URL = "/"


def names(response) -> list[str]:
    return [job.media.filename for job in response.context["page"].jobs]


def test_it_lists_the_organisations_analyses(client, alice, organization):
    make_finished(organization, alice)
    client.force_login(alice)
    page = client.get(URL).content.decode()
    assert "speech.mp4" in page
    assert "91\N{NO-BREAK SPACE}%" in page
    assert "Fake" in page


def test_anonymous_is_sent_to_sign_in(client, db):
    assert client.get(URL).headers["Location"] == f"{reverse('account_login')}?next=/"


def test_an_outsider_sees_nothing_of_it(client, charlie, organization, alice):
    make_finished(organization, alice)
    client.force_login(charlie)
    response = client.get(URL)
    assert names(response) == []
    assert "Nothing has been analysed yet" in response.content.decode()


@pytest.mark.parametrize("url", [URL, "/analyses/rows/"])
def test_wrong_method(client, alice, url):
    client.force_login(alice)
    assert client.post(url).status_code == 405


def test_a_member_of_no_organisation_is_told_what_to_do(client, alice):
    alice.organization = None
    alice.save()
    client.force_login(alice)
    response = client.get(URL)
    assert response.status_code == 403
    assert "belongs to no organisation" in response.content.decode()


def test_a_viewer_gets_no_upload_form(client, vera):
    client.force_login(vera)
    page = client.get(URL).content.decode()
    assert "data-upload" not in page
    assert "Ask an administrator for the analyst role" in page


@pytest.mark.parametrize("count", [1, 12])
def test_queries_do_not_grow_with_the_list(client, alice, organization, django_assert_num_queries, count):
    for _ in range(count):
        make_finished(organization, alice)
    factories.make_job(organization=organization, status=JobStatus.RUNNING, created_by=alice)
    client.force_login(alice)
    with django_assert_num_queries(4):  # session, user, organisation, jobs
        client.get(URL)


def test_large_columns_stay_in_the_database(client, alice, organization, django_assert_max_num_queries):
    make_finished(organization, alice)
    client.force_login(alice)
    with django_assert_max_num_queries(10) as queries:
        client.get(URL)
    rows = next(query["sql"] for query in queries.captured_queries if 'FROM "detection_job"' in query["sql"])
    assert '"details"' not in rows
    assert '"info"' not in rows


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("label=fake", {"fake.png"}),
        ("label=real", {"real.png"}),
        ("status=failed", {"failed.png"}),
        ("kind=audio", {"voice.wav"}),
        ("q=REAL", {"real.png"}),
        ("score_from=80", {"fake.png"}),
        ("score_to=20", {"real.png"}),
        ("score_from=10&score_to=95", {"fake.png"}),
        ("until=2020-01-01", set()),
        ("since=2020-01-01&label=fake", {"fake.png"}),
    ],
)
def test_filters(client, alice, organization, query, found):
    def media(name, **fields):
        return factories.make_media(organization, filename=name, **fields)

    fake = factories.make_job(organization=organization, status=JobStatus.COMPLETED, media=media("fake.png"))
    factories.make_result(fake, label="fake", score=0.9)
    real = factories.make_job(organization=organization, status=JobStatus.COMPLETED, media=media("real.png"))
    factories.make_result(real, label="real", score=0.05)
    factories.make_job(organization=organization, status=JobStatus.FAILED, media=media("failed.png"))
    factories.make_job(organization=organization, media=media("voice.wav", kind="audio"))
    client.force_login(alice)
    assert set(names(client.get(f"{URL}?{query}"))) == found
    assert set(names(client.get(f"/analyses/rows/?{query}"))) == found


def test_filters_that_make_no_sense_are_told_and_left_out(client, alice, organization):
    make_finished(organization, alice)
    client.force_login(alice)
    response = client.get(f"{URL}?score_from=90&score_to=10&label=nonsense&since=yesterday")
    page = response.content.decode()
    assert "The second score must not be lower than the first." in page
    assert "Enter a valid date." in page


def test_dates_are_read_in_the_readers_zone(client, alice, organization):
    job = factories.make_job(organization=organization)
    Job.objects.filter(pk=job.pk).update(created_at="2026-03-01T23:30:00Z")
    client.force_login(alice)
    client.cookies["timezone"] = "Asia/Tokyo"
    response = client.get(f"{URL}?since=2026-03-02&until=2026-03-02")
    assert len(names(response)) == 1
    assert "2 Mar 2026, 08:30 JST" in response.content.decode()
    client.cookies["timezone"] = "../../etc/passwd"
    assert "1 Mar 2026, 23:30 UTC" in client.get(URL).content.decode()


def test_pages_stay_right_while_rows_arrive(client, alice, organization, monkeypatch):
    monkeypatch.setattr("detection.listing.PAGE_SIZE", 2)
    start = timezone.now() - timedelta(hours=1)
    for number in range(5):
        job = factories.make_job(
            organization=organization, media=factories.make_media(organization, filename=f"{number}.png")
        )
        Job.objects.filter(pk=job.pk).update(created_at=start + timedelta(minutes=number))
    client.force_login(alice)
    first = client.get(URL)
    assert names(first) == ["4.png", "3.png"]
    factories.make_job(organization=organization)
    second = client.get(URL, {"older": first.context["page"].older})
    assert names(second) == ["2.png", "1.png"]
    last = client.get(URL, {"older": second.context["page"].older})
    assert names(last) == ["0.png"]
    assert last.context["page"].older == ""
    back = client.get(URL, {"newer": last.context["page"].newer})
    assert names(back) == ["2.png", "1.png"]


@pytest.mark.parametrize("cursor", ["x", "1_zz", "9" * 400 + "_" + "a" * 32, "nan_" + "a" * 32])
def test_a_cursor_that_is_none_is_ignored(client, alice, organization, cursor):
    make_finished(organization, alice)
    client.force_login(alice)
    assert names(client.get(URL, {"older": cursor})) == ["speech.mp4"]
