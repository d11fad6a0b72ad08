"""The list of analyses: who sees what, pages in every order, queries, marks and empty states."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.db.models import F
from django.urls import reverse
from django.utils import timezone

from accounts.models import ApiKey
from detection import likeness, listing
from detection.forms import AnalysisFilter
from detection.models import Job, JobStatus, Media
from tests import factories
from tests.pages.finished import make_finished

pytestmark = pytest.mark.services

URL = "/"


def names(response) -> list[str]:
    return [job.media.filename for job in response.context["page"].jobs]


def named(organization, name, *, score=None, at=None, **fields) -> Job:
    status = JobStatus.COMPLETED if score is not None else fields.pop("status", JobStatus.COMPLETED)
    job = factories.make_job(
        organization=organization,
        status=status,
        media=factories.make_media(organization, filename=name, sha256=f"{abs(hash(name)):064x}"[:64]),
        **fields,
    )
    if status == JobStatus.COMPLETED:
        factories.make_result(job, score=score)
    if at is not None:
        Job.objects.filter(pk=job.pk).update(created_at=at, finished_at=at + timedelta(seconds=3))
    return job


def test_it_lists_the_organisations_analyses(client, alice, organization):
    make_finished(organization, alice)
    client.force_login(alice)
    page = client.get(URL).content.decode()
    assert "speech.mp4" in page
    assert "91\N{NO-BREAK SPACE}%" in page
    assert "Fake" in page


def test_anonymous_is_sent_to_sign_in(client, db):
    assert client.get(URL).headers["Location"] == f"{reverse('account_login')}?next=/"
    for url in ("/analyses/rows/", "/analyses/states/"):
        assert client.get(url).status_code == 302


def test_an_outsider_sees_nothing_of_it(client, charlie, organization, alice):
    job = make_finished(organization, alice)
    client.force_login(charlie)
    response = client.get(URL)
    assert names(response) == []
    assert "Nothing has been analysed yet" in response.content.decode()
    assert client.get("/analyses/states/", {"id": str(job.pk)}).json() == {"jobs": []}
    for query in (f"q=job_{job.pk.hex}", "q=speech", f"same_as={job.media_id}", f"uploader={alice.pk}"):
        assert names(client.get(f"{URL}?{query}")) == []


@pytest.mark.parametrize("url", [URL, "/analyses/rows/", "/analyses/states/"])
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


def test_a_viewer_gets_no_upload_form_and_no_bulk_bar(client, vera, organization):
    factories.make_job(organization=organization)
    client.force_login(vera)
    page = client.get(URL).content.decode()
    assert "data-upload" not in page
    assert "data-bulk" not in page
    assert "data-choose" not in page
    assert "Ask an administrator for the analyst role" in page


def test_the_state_of_jobs_for_a_page_without_a_socket(client, alice, organization):
    running = factories.make_job(organization=organization, status=JobStatus.RUNNING)
    done = make_finished(organization, alice)
    client.force_login(alice)
    answer = client.get("/analyses/states/", {"id": [str(running.pk), str(done.pk), "nonsense"]}).json()
    found = {job["job"]: job for job in answer["jobs"]}
    assert found[str(running.pk)]["percent"] == 40
    assert (found[str(done.pk)]["final_label"], found[str(done.pk)]["score"]) == ("fake", 0.91)
    assert found[str(done.pk)]["score_words"] in unbroken_spaces(client.get(URL).content.decode())
    assert found[str(done.pk)]["score_words"].startswith("91")
    assert found[str(running.pk)]["score_words"] == ""
    assert len(found) == 2


def unbroken_spaces(text: str) -> str:
    return text.replace("\u00a0", " ")


# Queries --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 12])
def test_queries_do_not_grow_with_the_list(client, alice, organization, django_assert_num_queries, count):
    for _ in range(count):
        likeness.note_look(make_finished(organization, alice).media)
    factories.make_job(organization=organization, status=JobStatus.RUNNING, created_by=alice, reviewer=alice)
    client.force_login(alice)
    # session, user, default view, organisation, members, API keys, ids of the page, its rows, looks, deletion to undo,
    # views, retention
    with django_assert_num_queries(13):
        client.get(URL)
    # no views here; the text of the search is looked up first
    with django_assert_num_queries(10):
        client.get("/analyses/rows/?q=speech&label=fake&sort=score_high")


def test_large_columns_stay_in_the_database(client, alice, organization, django_assert_max_num_queries):
    make_finished(organization, alice)
    client.force_login(alice)
    with django_assert_max_num_queries(13) as queries:
        client.get(URL)
    rows = [query["sql"] for query in queries.captured_queries if 'FROM "detection_job"' in query["sql"]]
    assert len(rows) == 3
    for sql in rows:
        assert '"details"' not in sql
        assert '"info"' not in sql
        assert "COUNT(" not in sql  # a page that holds all needs no counting


def test_what_is_counted_is_bounded(client, alice, organization, monkeypatch):
    monkeypatch.setattr(listing, "PAGE_SIZE", 2)
    monkeypatch.setattr(listing, "COUNTED", 3)
    media = factories.make_media(organization)
    for _ in range(3):
        factories.make_job(organization=organization, media=media)
    client.force_login(alice)
    assert str(client.get(URL).context["page"].count) == "3"
    factories.make_job(organization=organization, media=media)
    response = client.get(URL)
    assert str(response.context["page"].count) == "3+"
    assert "3+ analyses" in response.content.decode()


# Pages in every order -------------------------------------------------------------------------------------------------


def walk(client, **query) -> tuple[list[str], list[str]]:
    """Names from the first page to the last, and on the way back."""
    pages = [client.get(URL, query)]
    while after := pages[-1].context["page"].after:
        pages.append(client.get(URL, query | {"after": after}))
    forth = [names(page) for page in pages]
    back, page = [names(pages[-1])], pages[-1]
    while before := page.context["page"].before:
        page = client.get(URL, query | {"before": before})
        back.insert(0, names(page))
    return [name for page in forth for name in page], [name for page in back for name in page]


@pytest.mark.parametrize(
    ("sort", "column", "is_descending"),
    [
        ("newest", "created_at", True),
        ("oldest", "created_at", False),
        ("score_high", "score", True),
        ("score_low", "score", False),
        ("finished", "finished_at", True),
        ("uncertain", "margin", False),
    ],
)
def test_every_order_across_pages_with_ties(client, alice, organization, monkeypatch, sort, column, is_descending):
    monkeypatch.setattr(listing, "PAGE_SIZE", 3)
    start = timezone.now() - timedelta(hours=1)
    for number, score in enumerate([0.9, 0.1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.2, 0.45, 0.9, 0.31]):
        named(organization, f"{number}.png", score=score, at=start + timedelta(minutes=number // 4))
    named(organization, "waiting.png", status=JobStatus.QUEUED, at=start)
    client.force_login(alice)
    forth, back = walk(client, sort=sort)
    expected = sorted(
        Job.objects.exclude(**{f"{column}__isnull": True}).values_list(column, "id", "media__filename"),
        reverse=is_descending,
    )
    if column == "finished_at":
        expected = [row for row in expected if row[2] != "waiting.png" or row[0]]
    assert forth == [name for _, _, name in expected]
    assert back == forth


def test_orders_say_what_is_not_in_them(client, alice, organization):
    named(organization, "waiting.png", status=JobStatus.QUEUED)
    client.force_login(alice)
    response = client.get(f"{URL}?sort=uncertain")
    assert names(response) == []
    assert "Analyses without a score are not in this order." in response.content.decode()


def test_pages_stay_right_while_rows_arrive(client, alice, organization, monkeypatch):
    monkeypatch.setattr(listing, "PAGE_SIZE", 2)
    start = timezone.now() - timedelta(hours=1)
    for number in range(5):
        named(organization, f"{number}.png", score=0.5, at=start + timedelta(minutes=number))
    client.force_login(alice)
    first = client.get(URL)
    assert names(first) == ["4.png", "3.png"]
    factories.make_job(organization=organization)
    second = client.get(URL, {"after": first.context["page"].after})
    assert names(second) == ["2.png", "1.png"]
    last = client.get(URL, {"after": second.context["page"].after})
    assert names(last) == ["0.png"]
    assert last.context["page"].after == ""


@pytest.mark.parametrize("cursor", ["x", "1_zz", "9" * 400 + "_" + "a" * 32, "nan_" + "a" * 32, "inf_" + "a" * 32])
@pytest.mark.parametrize("sort", ["newest", "score_high"])
def test_a_cursor_that_is_none_is_ignored(client, alice, organization, cursor, sort):
    make_finished(organization, alice)
    client.force_login(alice)
    for name in ("after", "before"):
        assert names(client.get(f"{URL}?{urlencode({name: cursor, 'sort': sort})}")) == ["speech.mp4"]


def test_five_thousand_rows(client, alice, organization, django_assert_num_queries):
    """Made in bulk, as the measuring command makes them: pages, filters and search answer from their indexes."""
    from django.core.management import call_command

    call_command("seed_analyses", rows=5000, organization=organization.slug, verbosity=0)
    client.force_login(alice)
    seen: set = set()
    query = {"sort": "score_high", "label": "fake"}
    page = client.get(URL, query).context["page"]
    while True:
        seen |= {job.pk for job in page.jobs}
        if not page.after:
            break
        page = client.get(URL, query | {"after": page.after}).context["page"]
    assert len(seen) == Job.objects.filter(final_label="fake", score__gte=0).count() > 1000
    newest = Media.objects.order_by("-created_at", "-id").first()
    with django_assert_num_queries(10):
        found = client.get("/analyses/rows/", {"q": newest.filename})
    assert names(found) == [newest.filename]
    assert str(client.get("/analyses/rows/").context["page"].count) == "1,000+"
    key = ApiKey.objects.get(organization=organization, name="Measuring 0")
    with django_assert_num_queries(10):
        found = client.get("/analyses/rows/", {"key": str(key.pk), "sort": "score_high"})
    assert {job.api_key_id for job in found.context["page"].jobs} == {key.pk}
    expected = Job.objects.filter(api_key=key, score__gte=0).count()
    assert found.context["page"].count.number == expected > 200


@pytest.mark.parametrize("sort", listing.ORDERS)
def test_rows_of_one_key_are_found_in_the_index_of_every_order(alice, organization, api_key, sort):
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL weighs costs: of a table this small it reads the rows")
    filters = AnalysisFilter({"key": str(api_key.pk), "sort": sort}, organization=organization)
    plan = filters.in_order().values_list("pk", flat=True)[:50].explain()
    assert f"USING COVERING INDEX job_by_{listing.ORDERS[sort].column.removesuffix('_at')}" in plan
    assert "TEMP B-TREE" not in plan


def test_the_measuring_command_keeps_away_from_work(organization):
    from django.core.management import CommandError, call_command

    factories.make_job(organization=organization)
    with pytest.raises(CommandError, match="holds analyses already"):
        call_command("seed_analyses", rows=1, organization=organization.slug)
    with pytest.raises(CommandError, match="This database holds analyses"):
        call_command("seed_analyses", rows=1)
    call_command("seed_analyses", rows=1, yes=True, verbosity=0)
    assert Job.objects.count() == 2


# Marks and empty states -----------------------------------------------------------------------------------------------


def test_what_was_seen_before_is_marked_and_leads_to_the_others(client, alice, organization, other_organization):
    first = factories.make_media(organization, filename="first.png")
    again = factories.make_media(organization, filename="again.png")
    near = factories.make_media(organization, filename="near.png", sha256="12" * 32, phash="0f0f0f0f0f0f0f0e")
    other = factories.make_media(organization, filename="other.png", sha256="34" * 32, phash="f0f0f0f0f0f0f0f0")
    foreign = factories.make_media(other_organization, filename="foreign.png")
    for media in (first, again, near, other, foreign):
        likeness.note_look(media)
        factories.make_job(organization=media.organization, media=media)
    client.force_login(alice)
    page = client.get(URL).content.decode()
    assert page.count("Seen 3 times") == 3
    response = client.get(f"{URL}?same_as={near.pk}")
    assert set(names(response)) == {"first.png", "again.png", "near.png"}
    assert "Same or alike items" in response.content.decode()
    assert names(client.get(f"{URL}?same_as={foreign.pk}")) == []


def test_looks_do_not_wander_from_the_first(organization):
    """Each is within six bits of the one before, and not of the first: the third is a first of its own."""
    phashes = ("0f0f0f0f0f0f0f0f", "0f0f0f0f0f0f0ff0", "0f0f0f0f0f0ff0f0")
    items = [factories.make_media(organization, sha256=f"{n}" * 64, phash=phash) for n, phash in enumerate(phashes)]
    for media in items:
        likeness.note_look(media)
    assert Media.objects.filter(look=F("id")).count() == 3
    close = factories.make_media(organization, sha256="9" * 64, phash="0f0f0f0f0f0f0f0d")
    likeness.note_look(close)
    assert close.look == items[0].pk


def test_nothing_matches_says_which_filter_to_leave_out(client, alice, organization):
    make_finished(organization, alice)
    client.force_login(alice)
    page = client.get(f"{URL}?label=real&q=nothing").content.decode()
    assert "Nothing fits these filters" in page
    empty = page.partition("Nothing fits these filters")[2]
    assert "Take one of them away:" in empty
    assert '<a class="chip" href="/?label=real" data-chip><span>Search for “nothing”</span>' in empty
    assert '<a class="chip" href="/?q=nothing" data-chip><span>Real</span>' in empty


def test_the_verdict_of_people_is_marked_on_the_picture(client, alice, bob, organization):
    job = make_finished(organization, alice)
    Job.objects.filter(pk=job.pk).update(review_state="decided", review_label="real", final_label="real", reviewer=bob)
    client.force_login(alice)
    page = client.get(URL).content.decode()
    assert 'class="thumb-mark is-real"' in page
    assert "Review: bob" in page
    verdict = page.partition('<td role="cell" class="cell-verdict">')[2].partition("</td>")[0]
    assert 'class="verdict-badge is-real"' in verdict
    assert "is-fake" not in verdict
    assert "Decided, the machine read: fake" in verdict
    assert client.get(f"{URL}?label=real").context["page"].jobs == [job]
