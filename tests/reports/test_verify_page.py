"""The public page: tells what was issued, checks a file without keeping it, and says nothing about people."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from django.utils import timezone

from deepfake import signing
from detection.models import ReviewState
from detection.services import delete_analysis
from reports import limits, seals, services
from reports.models import ReportIssue
from tests import factories

pytestmark = pytest.mark.services


def url(issue) -> str:
    return reverse("reports:verify", args=[issue.public_id])


def drop(client, address: str, content: bytes, name: str = "report.pdf"):
    return client.post(address, {"file": SimpleUploadedFile(name, content)})


def test_anyone_is_told_what_was_issued(client, issued_pdf) -> None:
    issue = issued_pdf.issue
    response = client.get(url(issue))
    page = response.content.decode()
    assert response.status_code == 200
    for piece in (issue.public_id, "Fake", "91", issue.organization.name, "Not taken back", "UTC"):
        assert piece in page, piece
    plain = page.replace(" ", "")
    assert issue.media_sha256 in plain
    assert issue.sha256 in plain
    assert issue.key_id in plain
    assert "noindex" in response.headers["X-Robots-Tag"]
    assert "no-store" in response.headers["Cache-Control"]


def test_the_score_is_as_precise_as_in_the_report(client, issued_pdf) -> None:
    ReportIssue.objects.filter(pk=issued_pdf.issue.pk).update(score=0.2124)
    assert "21.2\N{NO-BREAK SPACE}% probability" in client.get(url(issued_pdf.issue)).content.decode()


def test_nothing_is_told_about_people_or_names(client, finished, issued_pdf) -> None:
    page = client.get(url(issued_pdf.issue)).content.decode()
    page += drop(client, url(issued_pdf.issue), issued_pdf.pdf).content.decode()
    for secret in (finished.media.filename, "alice", "bob", "example.org", finished.public_id, str(finished.id)):
        assert secret not in page, secret


@pytest.mark.parametrize("address", ["/verify/rpt_" + "0" * 32 + "/", "/verify/nonsense/"])
def test_an_unknown_report(client, db, address) -> None:
    response = client.get(address)
    assert response.status_code == 404
    assert "No such report was issued here" in response.content.decode()


@pytest.mark.parametrize("part", ["pdf", "json"])
def test_the_file_that_was_issued(client, issued_pdf, part) -> None:
    response = drop(client, url(issued_pdf.issue), getattr(issued_pdf, part))
    assert response.status_code == 200
    assert "This file is the report that was issued" in response.content.decode()


def test_an_altered_file(client, issued_pdf) -> None:
    changed = bytearray(issued_pdf.pdf)
    changed[5000] ^= 1
    response = drop(client, url(issued_pdf.issue), bytes(changed))
    assert response.status_code == 422
    assert "Do not rely on this file" in response.content.decode()


def test_the_item_that_was_examined(client, finished, issued_pdf) -> None:
    original = factories.png_bytes()
    response = drop(client, url(issued_pdf.issue), original, "photo.png")
    page = response.content.decode()
    assert response.status_code == 200
    assert "This is the file that was examined" in page
    assert f"the report {issued_pdf.issue.public_id} speaks of" in page
    assert "Do not rely" not in page
    assert finished.media.filename not in page
    services.revoke(issue=issued_pdf.issue, reason="The wrong file was examined.")
    page = drop(client, url(issued_pdf.issue), original, "photo.png").content.decode()
    assert "This is the file that was examined, but the report was taken back" in page


def test_an_item_larger_than_a_report_in_json_is_known_again(client, issued_pdf, monkeypatch) -> None:
    monkeypatch.setattr(limits, "MAX_JSON_BYTES", 10)
    page = drop(client, url(issued_pdf.issue), factories.png_bytes(), "photo.png").content.decode()
    assert "This is the file that was examined" in page


@pytest.mark.parametrize(
    "content", [factories.png_bytes() + b"1", b"\xff\xd8\xff\xe0 a photo", b"", b"<!doctype html>"]
)
def test_a_file_that_is_neither_report_nor_item(client, issued_pdf, content) -> None:
    response = drop(client, url(issued_pdf.issue), content or b" ", "photo.jpg")
    page = response.content.decode()
    assert response.status_code == 200
    assert "Neither this report nor the file that was examined" in page
    assert "have this copy examined by itself" in page
    assert "Do not rely" not in page


def test_without_a_report_nobody_learns_what_was_examined(client, issued_pdf) -> None:
    known = drop(client, reverse("reports:verify_any"), factories.png_bytes(), "photo.png").content
    other = drop(client, reverse("reports:verify_any"), factories.png_bytes() + b"1", "photo.png").content
    assert known == other
    assert b"This file is no report" in known


@pytest.mark.parametrize(
    "content", [b"%PDF-1.7 a report whose end is gone", b"\n%PDF-1.7", b'{"schema": 1', b"\xef\xbb\xbf{}"]
)
def test_a_report_that_does_not_verify_is_not_to_be_relied_on(client, issued_pdf, content) -> None:
    response = drop(client, url(issued_pdf.issue), content)
    assert response.status_code == 422
    assert "Do not rely on this file" in response.content.decode()


def test_another_genuine_report_is_not_this_one(client, issued_pdf, issued_json) -> None:
    page = drop(client, url(issued_pdf.issue), issued_json.json).content.decode()
    assert "Intact, but another report" in page
    assert url(issued_json.issue) in page


def test_a_file_without_an_id(client, issued_json) -> None:
    address = reverse("reports:verify_any")
    assert client.get(address).status_code == 200
    assert "This file is the report that was issued" in drop(client, address, issued_json.json).content.decode()
    assert client.post(address).status_code == 422


def test_a_file_signed_with_our_key_that_was_never_issued(client, db) -> None:
    forged = seals.seal_json({"schema": "deepfake-report/2", "report": {"id": "rpt_" + "0a" * 16}}, signing.signer())
    page = drop(client, reverse("reports:verify_any"), forged).content.decode()
    assert "Signed here, but not on record" in page


def test_a_file_signed_with_our_key_in_the_name_of_a_recorded_report(client, issued_json) -> None:
    document = json.loads(issued_json.json)
    del document["signature"]
    document["verdict"]["label"] = "real"
    page = drop(client, url(issued_json.issue), seals.seal_json(document, signing.signer())).content.decode()
    assert "not the recorded file" in page


def test_a_dropped_file_is_kept_nowhere(client, issued_pdf, data_dir: Path) -> None:
    before = {path for path in data_dir.rglob("*") if path.is_file()}
    drop(client, url(issued_pdf.issue), issued_pdf.pdf + bytes(4_000_000))
    assert {path for path in data_dir.rglob("*") if path.is_file()} == before


def test_a_file_that_is_too_large_is_not_read(client, issued_json, monkeypatch) -> None:
    monkeypatch.setattr(limits, "MAX_FILE_BYTES", 1000)
    assert "too large" in drop(client, url(issued_json.issue), bytes(2000)).content.decode()


def test_json_that_would_take_long_is_not_parsed(client, issued_json, monkeypatch) -> None:
    monkeypatch.setattr(limits, "MAX_JSON_BYTES", 1000)
    monkeypatch.setattr(seals, "check", lambda *anything: pytest.fail("It was parsed."))
    assert "too large" in drop(client, url(issued_json.issue), b'{"a":' + b"1" * 2000).content.decode()


def test_a_report_that_was_taken_back(client, issued_json) -> None:
    services.revoke(issue=issued_json.issue, reason="The wrong file was examined.")
    page = client.get(url(issued_json.issue)).content.decode()
    assert "This report was taken back" in page
    assert "The wrong file was examined." in page
    assert "Unchanged, but taken back" in drop(client, url(issued_json.issue), issued_json.json).content.decode()


def test_a_later_decision_overtakes_a_report(client, finished, issued_json) -> None:
    finished.review_state, finished.review_label, finished.reviewed_at = ReviewState.DECIDED, "real", timezone.now()
    finished.save()
    page = client.get(url(issued_json.issue)).content.decode()
    assert "A later decision says something else" in page
    assert "Overtaken by a later decision" in page


def test_a_decision_that_agrees_overtakes_nothing(client, finished, issued_json) -> None:
    finished.review_state, finished.review_label, finished.reviewed_at = ReviewState.DECIDED, "fake", timezone.now()
    finished.save()
    assert "A later decision" not in client.get(url(issued_json.issue)).content.decode()


def test_a_decision_that_the_report_states_and_that_was_undone(client, finished, alice) -> None:
    finished.review_state, finished.review_label, finished.reviewed_at = ReviewState.DECIDED, "real", timezone.now()
    finished.save()
    issue = services.issue(job=finished, wanted="json", actor=alice).issue
    finished.review_state, finished.review_label, finished.reviewed_at = ReviewState.OPEN, "", None
    finished.save()
    assert "was taken back" in client.get(url(issue)).content.decode()


def test_a_report_outlives_its_analysis(client, finished, issued_json, alice) -> None:
    delete_analysis(job=finished, actor=alice)
    issue = ReportIssue.objects.get()
    assert issue.job is None
    assert "has been deleted since" in client.get(url(issue)).content.decode()
    assert "This file is the report that was issued" in drop(client, url(issue), issued_json.json).content.decode()


def test_a_key_that_is_no_longer_vouched_for(client, issued_json) -> None:
    (signing.public_folder() / f"{issued_json.issue.key_id}.pem").unlink()
    assert "no longer vouches" in client.get(url(issued_json.issue)).content.decode()


def test_strangers_are_held_back(client, issued_json, monkeypatch) -> None:
    monkeypatch.setattr(limits, "VIEWS", 2)
    monkeypatch.setattr(limits, "CHECKS", 1)
    codes = [client.get(url(issued_json.issue)).status_code for _ in range(3)]
    assert codes == [200, 200, 429]
    answers = [drop(client, url(issued_json.issue), b"{") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [422, 429]
    assert int(answers[1].headers["Retry-After"]) > 0


def test_wrong_method(client, issued_json) -> None:
    assert client.put(url(issued_json.issue)).status_code == 405


def test_the_page_keeps_the_strict_policy(client, issued_json) -> None:
    page = client.get(url(issued_json.issue)).content.decode()
    assert " style=" not in page
    assert "<style" not in page
    assert "onclick" not in page


def test_a_bundle_is_no_broken_report(client, issued_pdf) -> None:
    page = drop(client, url(issued_pdf.issue), b"PK\x03\x04rest", "evidence.zip").content.decode()
    assert "A bundle is not checked here" in page
    assert "Do not rely on" not in page
