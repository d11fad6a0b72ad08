"""The list of analyses as a file: as filtered, as long as it is, and harmless in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import struct
from datetime import UTC, datetime

import pytest
from django.template.loader import render_to_string
from django.utils import timezone

from accounts.models import AuditLog
from detection.models import Job, JobStatus
from reports import exports, parquet
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


class Thrift:
    """As much of a reader of Thrift's compact protocol as a Parquet footer takes."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data, self.at = data, at

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def varint(self) -> int:
        value, shift = 0, 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value

    def value(self, kind: int):
        if kind in (5, 6):
            number = self.varint()
            return number >> 1 ^ -(number & 1)
        if kind == 8:
            length = self.varint()
            self.at += length
            return self.data[self.at - length : self.at]
        if kind == 9:
            head = self.byte()
            count = head >> 4 if head >> 4 < 15 else self.varint()
            return [self.value(head & 15) for _ in range(count)]
        assert kind == 12
        found, number = {}, 0
        while head := self.byte():
            number += head >> 4
            found[number] = self.value(head & 15)
        return found


def column(data: bytes, chunk: dict, read) -> list:
    """The values of one column chunk, with None where the definition level is 0."""
    reader = Thrift(data, chunk[9])
    header = reader.value(12)
    start = reader.at
    (size,) = struct.unpack_from("<I", data, start)
    levels = Thrift(data, start + 4)
    present: list[int] = []
    while levels.at < start + 4 + size:
        length = levels.varint()
        assert length & 1 == 0
        present += [levels.byte()] * (length >> 1)
    assert len(present) == header[5][1] == chunk[5]
    at, found = levels.at, []
    for level in present:
        value, used = read(data, at) if level else (None, 0)
        found.append(value)
        at += used
    assert at == start + header[3]
    return found


def text(data: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<I", data, at)
    return data[at + 4 : at + 4 + length].decode(), 4 + length


def real(data: bytes, at: int) -> tuple[float, int]:
    return struct.unpack_from("<d", data, at)[0], 8


def whole(data: bytes, at: int) -> tuple[int, int]:
    return struct.unpack_from("<q", data, at)[0], 8


def test_parquet_can_be_read(client, alice, jobs) -> None:
    client.force_login(alice)
    data = b"".join(client.get(f"{URL}?format=parquet"))
    assert data[:4] == data[-4:] == b"PAR1"
    (length,) = struct.unpack("<I", data[-8:-4])
    footer = Thrift(data, len(data) - 8 - length).value(12)
    assert footer[3] == 3
    names = [element[4].decode() for element in footer[2][1:]]
    assert names == list(exports.COLUMNS)
    [group] = footer[4]
    chunks = {chunk[3][3][0].decode(): chunk[3] for chunk in group[1]}
    assert column(data, chunks["label"], text) == ["inconclusive", "real", "fake"]
    assert column(data, chunks["score"], real) == [0.5, 0.05, 0.91]
    assert column(data, chunks["duration_s"], real) == [None, None, None]
    assert column(data, chunks["width"], whole) == [64, 64, 64]
    micros = column(data, chunks["created_at"], whole)
    made = [job.created_at for job in reversed(jobs)]
    assert [datetime.fromtimestamp(value / 1e6, UTC) for value in micros] == made


def test_parquet_of_nothing_and_of_gaps() -> None:
    columns = {"name": parquet.TEXT}
    empty = b"".join(parquet.write(columns, iter([])))
    assert empty[:4] == empty[-4:] == b"PAR1"
    values = [None, "a", None, None, "ü" * 300, ""]
    data = b"".join(parquet.write(columns, iter([[{"name": value} for value in values]])))
    (length,) = struct.unpack("<I", data[-8:-4])
    footer = Thrift(data, len(data) - 8 - length).value(12)
    assert column(data, footer[4][0][1][0][3], text) == values


def test_parquet_as_its_usual_library_reads_it(tmp_path) -> None:
    library = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "x.parquet"
    path.write_bytes(b"".join(parquet.write({"n": parquet.WHOLE}, iter([[{"n": 1}, {"n": None}]]))))
    assert library.read_table(path).to_pylist() == [{"n": 1}, {"n": None}]
