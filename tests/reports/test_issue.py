"""What is recorded when a report leaves the house, and what it says of people."""

from __future__ import annotations

import hashlib
import io
import json

import pytest
from django.urls import reverse
from django.utils import timezone
from pypdf import PdfReader

from accounts import audit
from accounts.models import AuditLog
from deepfake import storage
from deepfake.errors import DomainError
from detection.engine import pipeline, registry
from detection.models import ReviewOutcome, ReviewState
from reports import document, render, services
from reports.models import ReportIssue, ReportSettings
from review.models import Decision, Note, Reason, ReviewCase, Round
from tests import factories

pytestmark = pytest.mark.services


def words_of(pdf: bytes) -> str:
    return " ".join(" ".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages).split())


def decide(job, reviewer, *, label: str = "real") -> Decision:
    now = timezone.now()
    case = ReviewCase.objects.create(
        organization=job.organization,
        job=job,
        reason=Reason.MANUAL,
        due_at=now,
        state=ReviewState.DECIDED,
        closed_at=now,
        outcome=ReviewOutcome.OVERRIDE,
        label=label,
    )
    decision = Decision.objects.create(
        case=case,
        organization=job.organization,
        reviewer=reviewer,
        round=Round.FIRST,
        outcome=ReviewOutcome.OVERRIDE,
        label=label,
        machine_label="fake",
        reasons=["original_found"],
    )
    Note.objects.create(case=case, author=reviewer, text="Seen at the press agency.")
    job.review_state, job.review_decision = ReviewState.DECIDED, ReviewOutcome.OVERRIDE
    job.review_label, job.reviewed_at = label, now
    job.save()
    return decision


@pytest.mark.parametrize("wanted", ["json", "pdf"])
def test_a_download_is_recorded_and_audited(client, alice, finished, wanted) -> None:
    client.force_login(alice)
    response = client.get(reverse("reports:report", args=[finished.id]) + f"?format={wanted}")
    issue = ReportIssue.objects.get()
    assert response.headers["X-Report-Id"] == issue.public_id
    assert issue.sha256 == hashlib.sha256(response.content).hexdigest()
    assert (issue.job, issue.issued_by, issue.format) == (finished, alice, wanted)
    assert (issue.label, issue.score, issue.media_sha256) == ("fake", 0.91, finished.media.sha256)
    row = AuditLog.objects.get(action="report.issued")
    assert (row.actor, row.target_id, row.hash) == (alice, str(finished.pk), issue.audit_hash)
    assert row.details["sha256"] == issue.sha256
    assert audit.verify() is None


def test_the_audit_head_in_the_report_is_that_before_it(client, bearer, finished, api_key) -> None:
    before = audit.head()
    found = client.get(f"/v1/reports/{finished.public_id}", headers=bearer).json()
    assert found["report"]["audit_chain_head"] == before
    assert AuditLog.objects.get(action="report.issued").previous_hash == before
    assert ReportIssue.objects.get().api_key == api_key


def test_the_report_names_all_that_it_rests_on(issued_json) -> None:
    found = json.loads(issued_json.json)
    assert found["schema"] == "deepfake-report/2"
    assert found["report"]["verify_url"].endswith(f"/verify/{issued_json.issue.public_id}/")
    assert found["summary"]["does_not_say"]
    assert found["model"]["fusion"]
    assert found["rerun"]["thresholds"] == {"fake": 0.7, "real": 0.3}
    assert found["rerun"]["packages"]["numpy"]
    assert found["report"]["issued_at"].endswith("Z")
    assert all(len(file["sha256"]) == 64 for file in found["explanations"])


def test_figures_are_printed_only_of_the_weights_that_judged(finished, monkeypatch) -> None:
    assert document.build(finished)["quality"] is None  # "ensemble-test" is not installed
    version = finished.result.model_version
    version.name = pipeline.model_version()
    version.save()
    audio = finished.result.branch_scores.get(branch="spatial")
    audio.sha256 = pipeline.digest_of(registry.BRANCHES["spatial"])
    audio.save()
    found = document.build(services.for_report(type(finished).objects.all()).get(pk=finished.pk))
    assert found["quality"]["items"] > 100
    assert 0 < found["quality"]["auroc"] < 1
    [spatial] = [row for row in found["branches"] if row["branch"] == "spatial"]
    figure = spatial["measured_on_unseen_sources"][0]
    low, high = figure["auroc_ci"]
    assert 0 < low <= figure["auroc"] <= high <= 1
    assert 0 < figure["eer"] < 1
    assert found["rerun"]["weights"]["audio/audio.bin"] == registry.BRANCHES["audio"].files["openvino"][1][1]


def test_pdf_says_what_a_reader_has_to_know(issued_pdf) -> None:
    text = words_of(issued_pdf.pdf)
    for piece in (
        "What was found",
        "How sure that is",
        "What was looked at",
        "What it does not say",
        "Is this report genuine?",
        issued_pdf.issue.public_id,
        "Page 1 of",
        "Audit chain before this report",
        "How good the checks are on material they never saw",
        "(fusion)",
        "Does it survive re-saving?",
        "Content Credentials",
        "UTC",
    ):
        assert piece in text, piece


def test_pages_are_a4_and_numbered(issued_pdf) -> None:
    pages = PdfReader(io.BytesIO(issued_pdf.pdf)).pages
    assert {(round(page.mediabox.width), round(page.mediabox.height)) for page in pages} == {(595, 842)}
    for number, page in enumerate(pages, 1):
        assert f"Page {number} of {len(pages)}" in page.extract_text()


def test_a_reader_can_hear_the_report(issued_pdf) -> None:
    root = PdfReader(io.BytesIO(issued_pdf.pdf)).trailer["/Root"]
    assert root["/MarkInfo"]["/Marked"]
    assert root["/Lang"] == "en"
    assert "/StructTreeRoot" in root


def test_frame_and_heatmap_stand_side_by_side(finished) -> None:
    heat = finished.result.artifacts.get(kind="saliency_map")
    red = factories.png_bytes(colour=(250, 10, 10))
    heat.storage_name = storage.save_encrypted("artifact", red, organization_id=finished.organization_id)
    heat.save()
    [pair, spectrum] = render._pictures(finished)
    assert pair.original.startswith("data:image/jpeg")
    assert pair.original != pair.src
    assert spectrum.original == ""


def test_a_container_that_claims_absurd_numbers_gets_its_report(finished, alice) -> None:
    finished.media.info = {"fps": 25.0, "frame_count": 2**63, "metadata": {"Title": "\uffff<b>"}}
    finished.media.save()
    found = json.loads(services.issue(job=finished, wanted="json", actor=alice).json)
    assert found["item"]["facts"]["frame_count"] == str(2**63)


def test_a_report_is_not_lost_with_a_picture(finished, alice) -> None:
    for file in finished.result.artifacts.all():
        storage.destroy(file.storage_name)
    found = services.issue(job=finished, wanted="pdf", actor=alice)
    assert {file["sha256"] for file in json.loads(found.json)["explanations"]} == {None}


def test_reviewers_are_named_by_role_alone_unless_the_organisation_says_otherwise(finished, bob, alice) -> None:
    decide(finished, bob)
    text = words_of(services.issue(job=finished, wanted="pdf", actor=alice).pdf)
    assert "Checked by people: real" in text
    assert "Original or first publication found" in text
    assert "Reviewer" in text
    assert "bob" not in text
    assert "Seen at the press agency" not in text
    ReportSettings.objects.create(organization=finished.organization, names_reviewers=True)
    found = json.loads(services.issue(job=finished, wanted="json", actor=alice).json)
    assert found["review"]["opinions"][0]["name"] == "bob"
    assert (found["review"]["label"], found["review"]["notes_count"]) == ("real", 1)


def test_a_first_opinion_stays_secret_while_the_case_is_open(finished, bob, alice) -> None:
    decision = decide(finished, bob)
    ReviewCase.objects.update(closed_at=None, state=ReviewState.SECOND_OPINION, label="")
    finished.review_state, finished.review_label = ReviewState.SECOND_OPINION, ""
    finished.save()
    found = json.loads(services.issue(job=finished, wanted="json", actor=alice).json)
    assert found["review"]["opinions"] == []
    assert decision.label not in json.dumps(found["review"])


def test_a_report_is_taken_back_once_and_with_a_reason(issued_json, alice) -> None:
    with pytest.raises(DomainError, match="Say why"):
        services.revoke(issue=issued_json.issue, reason=" ", actor=alice)
    services.revoke(issue=issued_json.issue, reason="Wrong item.", actor=alice)
    services.revoke(issue=issued_json.issue, reason="Another reason.", actor=alice)
    issued_json.issue.refresh_from_db()
    assert issued_json.issue.revoked_reason == "Wrong item."
    assert AuditLog.objects.filter(action="report.revoked").count() == 1


def test_scan_code_holds_the_address() -> None:
    """Drawn and read again: what is printed leads to the page."""
    cv2 = pytest.importorskip("cv2")
    import re

    import numpy as np

    address = "https://detect.example.org/verify/rpt_" + "0a" * 16 + "/"
    code = render.scan_code(address)
    picture = np.full((code.size, code.size), 255, np.uint8)
    for x, y, width in re.findall(r"M(\d+) (\d+)h(\d+)v1", code.path):
        picture[int(y), int(x) : int(x) + int(width)] = 0
    large = np.kron(picture, np.ones((8, 8), np.uint8))
    assert cv2.QRCodeDetector().detectAndDecode(large)[0] == address
