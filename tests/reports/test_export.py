"""The list of analyses as a file: as filtered, as long as it is, and harmless in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime

import pyarrow.parquet as pq
import pytest
from django.template.loader import render_to_string
from django.utils import timezone

from accounts.models import AuditLog
from detection import search
from detection.models import Job, JobStatus
from reports import exports
from tests import factories

pytestmark = pytest.mark.services
URL = "/analyses/export"


@pytest.fixture
def jobs(organization, alice):
    made = []
    for number, (label, score) in enumerate((("fake", 0.91), ("real", 0.05), ("inconclusive", 0.5))):
        media = factories.make_media(organization, filename=f"item-{number}.png")
        job = factories.make_job(organization=organization, media=media, status=JobStatus.COMPLETED, created_by=alice)
        factories.make_result(job, label=label, score=score)
        made.append(job)
    return made


def rows_of(client, query: str = "") -> list[dict[str, str]]:
    response = client.get(f"{URL}?format=csv{query}")
    assert response.status_code == 200
    return list(csv.DictReader(io.StringIO(b"".join(response).decode("utf-8-sig"))))


def test_csv(client, alice, jobs) -> None:
    client.force_login(alice)
    rows = rows_of(client)
    assert [row["job_id"] for row in rows] == [job.public_id for job in reversed(jobs)]
    assert list(rows[0]) == list(exports.COLUMNS)
    first = rows[-1]
    assert (first["label"], first["score"], first["sha256"]) == ("fake", "0.91", "ab" * 32)
    assert first["created_at"].endswith("Z")
    assert first["model_version"] == "ensemble-test"
    assert first["finished_at"]


def test_json_lines(client, alice, jobs) -> None:
    client.force_login(alice)
    lines = b"".join(client.get(f"{URL}?format=jsonl")).decode().splitlines()
    found = [json.loads(line) for line in lines]
    assert [row["score"] for row in found] == [0.5, 0.05, 0.91]
    assert found[0]["duration_s"] is None
    assert found[0]["width"] == 64


@pytest.mark.parametrize(
    ("query", "labels"),
    [("&label=fake", ["fake"]), ("&score_to=40", ["real"]), ("&q=item-2", ["inconclusive"]), ("&kind=video", [])],
)
def test_the_filters_of_the_page_hold(client, alice, jobs, query, labels) -> None:
    client.force_login(alice)
    assert [row["label"] for row in rows_of(client, query)] == labels


def test_days_are_those_of_the_reader_as_on_the_page(client, alice, organization) -> None:
    factories.make_job(organization=organization, created_at=datetime(2026, 11, 21, 23, 30, tzinfo=UTC))
    client.force_login(alice)
    assert rows_of(client, "&since=2026-11-22") == []
    client.cookies["timezone"] = "Europe/Berlin"  # there it was half past midnight
    [row] = rows_of(client, "&since=2026-11-22")
    assert row["created_at"] == "2026-11-21T23:30:00Z"  # what is written is UTC all the same


def test_a_filter_that_makes_no_sense_is_refused_not_left_out(client, alice, jobs) -> None:
    client.force_login(alice)
    response = client.get(f"{URL}?format=csv&score_from=80&score_to=20", headers={"Accept": "application/json"})
    assert (response.status_code, response.json()["code"]) == (400, "filter_invalid")
    assert "score_to" in response.json()["fields"]


def test_unknown_format(client, alice, db) -> None:
    client.force_login(alice)
    assert client.get(f"{URL}?format=xls").status_code == 400


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "＝1", "=cmd|' /C calc'!A0"])
def test_no_cell_runs_as_a_formula(client, alice, organization, name) -> None:
    factories.make_job(organization=organization, media=factories.make_media(organization, filename=name))
    client.force_login(alice)
    cell = rows_of(client)[0]["filename"]
    assert cell.startswith("'")
    [line] = b"".join(client.get(f"{URL}?format=jsonl")).decode().splitlines()
    assert json.loads(line)["filename"] == name  # programs get it as it is


def test_names_with_quotes_and_line_breaks_stay_one_cell(client, alice, organization) -> None:
    name = 'a "b", c\nd'
    factories.make_job(organization=organization, media=factories.make_media(organization, filename=name))
    client.force_login(alice)
    assert rows_of(client)[0]["filename"] == name


def test_only_the_own_organisation(client, charlie, vera, jobs) -> None:
    assert client.get(URL).status_code == 302
    client.force_login(charlie)
    assert rows_of(client) == []
    client.force_login(vera)
    assert len(rows_of(client)) == 3
    assert client.post(URL).status_code == 405


def test_an_export_is_audited(client, alice, jobs) -> None:
    client.force_login(alice)
    rows_of(client, "&label=fake")
    row = AuditLog.objects.get(action="analyses.exported")
    assert row.actor == alice
    assert row.details == {"format": "csv", "rows": 1, "filters": {"label": "fake"}}


def test_a_long_list_comes_page_by_page_and_whole(organization, monkeypatch, django_assert_num_queries) -> None:
    monkeypatch.setattr(exports, "PAGE_ROWS", 10)
    media = factories.make_media(organization)
    moment = timezone.now()  # the same for all: the order by id has to hold
    Job.objects.bulk_create(Job(organization=organization, media=media, created_at=moment) for _ in range(34))
    with django_assert_num_queries(5):  # four pages and the empty one after them
        pages = list(exports.pages(Job.objects.visible_to(organization)))
    ids = [row["job_id"] for page in pages for row in page]
    assert [len(page) for page in pages] == [10, 10, 10, 4]
    assert len(set(ids)) == 34


def test_what_arrives_meanwhile_is_not_in_it(client, alice, jobs, organization) -> None:
    client.force_login(alice)
    response = client.get(f"{URL}?format=jsonl")
    factories.make_job(organization=organization)
    assert len(b"".join(response).splitlines()) == 3


def test_the_control_keeps_the_filters() -> None:
    page = render_to_string("reports/_export.html", {"kept_query": "label=fake&q=a%20b"})
    assert 'href="/analyses/export?label=fake&amp;q=a%20b&amp;format=csv"' in page
    assert 'href="/analyses/export?format=parquet"' in render_to_string("reports/_export.html", {})


# Parquet --------------------------------------------------------------------------------------------------------------


def test_parquet_can_be_read(client, alice, jobs) -> None:
    client.force_login(alice)
    data = b"".join(client.get(f"{URL}?format=parquet"))
    table = pq.read_table(io.BytesIO(data))
    assert table.column_names == list(exports.COLUMNS)
    rows = table.to_pylist()
    assert [row["label"] for row in rows] == ["inconclusive", "real", "fake"]
    assert [row["score"] for row in rows] == [0.5, 0.05, 0.91]
    assert [row["duration_s"] for row in rows] == [None, None, None]
    assert [row["width"] for row in rows] == [64, 64, 64]
    assert [row["created_at"] for row in rows] == [job.created_at for job in reversed(jobs)]


def test_parquet_of_nothing_is_a_table_without_rows() -> None:
    empty = pq.read_table(io.BytesIO(b"".join(exports.write_parquet(iter([])))))
    assert (empty.num_rows, empty.column_names) == (0, list(exports.COLUMNS))


def test_parquet_leaves_in_groups_and_keeps_nothing(monkeypatch) -> None:
    monkeypatch.setattr(exports, "PAGES_PER_GROUP", 2)
    row: dict[str, object] = dict.fromkeys(exports.COLUMNS)
    pages = ([row | {"filename": f"ü{number}"}] for number in range(5))
    parts = list(exports.write_parquet(pages))
    assert len(parts) == 4  # three groups and the foot
    file = pq.ParquetFile(io.BytesIO(b"".join(parts)))
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [2, 2, 1]
    assert file.read(["filename"]).column(0).to_pylist() == [f"ü{number}" for number in range(5)]


def test_a_search_that_saw_only_a_part_gives_no_file(client, alice, jobs, monkeypatch) -> None:
    monkeypatch.setattr(search, "MOST", 2)
    client.force_login(alice)
    response = client.get(f"{URL}?format=csv&q=item", headers={"Accept": "application/json"})
    assert (response.status_code, response.json()["code"]) == (400, "search_too_wide")
    assert "menu" in client.get("/?q=item").content.decode()


def test_the_list_offers_its_export_as_it_is_filtered(client, vera, jobs) -> None:
    client.force_login(vera)
    assert "/analyses/export?label=fake&amp;format=csv" in client.get("/?label=fake").content.decode()
