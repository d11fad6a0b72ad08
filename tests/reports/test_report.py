"""The report: what is in it, in which format, for whom, and how fast."""

from __future__ import annotations

import io
import json
from urllib.parse import urlsplit

import pytest
from django.urls import reverse
from pypdf import PdfReader

from accounts.models import AuditLog
from detection.models import JobStatus
from reports import document, render
from reports.services import for_report
from tests import factories
from tests.pages.finished import make_finished

pytestmark = pytest.mark.services


def page_url(job, wanted: str = "") -> str:
    return reverse("reports:report", args=[job.id]) + (f"?format={wanted}" if wanted else "")


def api_url(job, wanted: str = "") -> str:
    return f"/v1/reports/{job.public_id}" + (f"?format={wanted}" if wanted else "")


def words_of(pdf: bytes) -> str:
    return " ".join(" ".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages).split())


def test_json_says_all_that_the_verdict_rests_on(client, alice, finished):
    client.force_login(alice)
    found = json.loads(client.get(page_url(finished, "json")).content)
    assert found["item"]["sha256"] == finished.media.sha256
    assert found["verdict"]["label"] == "fake"
    assert found["verdict"]["confidence_interval"] == [0.84, 0.96]
    assert found["verdict"]["thresholds"] == {"fake": 0.7, "real": 0.3}
    assert {branch["branch"] for branch in found["branches"]} == {"spatial", "frequency", "audio", "temporal"}
    assert found["branches"][0]["sha256"] == "cd" * 32
    assert found["model"]["version"] == "ensemble-test"
    assert found["provenance"]["state"] == "absent"
    assert found["limits"]


def test_pdf_can_be_read(client, alice, finished):
    client.force_login(alice)
    response = client.get(page_url(finished, "pdf"))
    assert response.headers["Content-Type"] == "application/pdf"
    assert finished.public_id in response.headers["Content-Disposition"]
    text = words_of(response.content)
    for piece in (
        "Fake",
        "speech.mp4",
        finished.media.sha256[:8],
        "The skin texture around the jaw",
        "real below 30",
        "Limits",
        "cdcdcdcd",
    ):
        assert piece in text, piece


def test_pdf_shows_the_heatmap_over_its_frame(finished):
    pages = PdfReader(io.BytesIO(render.pdf(finished, document.build(finished)))).pages
    assert sum(len(page.images) for page in pages) >= 2


@pytest.mark.parametrize("kind", ["image", "audio"])
def test_pdf_of_other_kinds(organization, alice, kind):
    job = make_finished(organization, alice, kind=kind)
    assert render.pdf(job, document.build(job)).startswith(b"%PDF")


def test_pdf_reaches_for_nothing(finished, monkeypatch):
    asked = []
    monkeypatch.setattr(
        render,
        "html",
        lambda job, content, is_page: '<img src="http://169.254.169.254/x"><img src="file:///etc/passwd">',
    )
    import weasyprint

    original = weasyprint.URLFetcher.open
    monkeypatch.setattr(
        weasyprint.URLFetcher,
        "open",
        lambda self, request, *a, **k: asked.append(request) or original(self, request, *a, **k),
    )
    assert render.pdf(finished, {}).startswith(b"%PDF")
    assert asked == []


def test_html_stands_alone_under_the_strict_policy(client, alice, finished):
    client.force_login(alice)
    page = client.get(page_url(finished)).content.decode()
    assert "Where the checks looked" in page
    assert "data:image/jpeg;base64," in page
    assert "<style" not in page
    assert " style=" not in page


def test_a_damaged_file_is_said_to_be_damaged(client, alice, finished):
    finished.result.details["warnings"] = ["The picture is truncated."]
    finished.result.save()
    client.force_login(alice)
    assert "The picture is truncated." in client.get(page_url(finished)).content.decode()
    assert "The picture is truncated." in client.get(finished.get_absolute_url()).content.decode()
    assert document.build(finished)["item"]["warnings"] == ["The picture is truncated."]


def test_hostile_names_stay_text(client, alice, finished):
    finished.media.filename = "<img src=x onerror=alert(1)>.mp4"
    finished.media.save()
    client.force_login(alice)
    assert "<img src=x" not in client.get(page_url(finished)).content.decode()


@pytest.mark.parametrize("wanted", ["exe", "../pdf"])
def test_unknown_format(client, alice, finished, bearer, wanted):
    client.force_login(alice)
    assert client.get(page_url(finished, wanted)).status_code == 400
    answer = client.get(api_url(finished, wanted), headers=bearer)
    assert (answer.status_code, answer.json()["code"]) == (400, "format_unknown")


def test_unfinished_has_no_report(client, alice, organization, bearer):
    job = factories.make_job(organization=organization, status=JobStatus.RUNNING)
    client.force_login(alice)
    assert client.get(page_url(job, "pdf")).status_code == 409
    assert client.get(api_url(job), headers=bearer).json()["code"] == "report_not_ready"


def test_access_to_the_page(client, vera, charlie, finished):
    url = page_url(finished, "json")
    assert urlsplit(client.get(url).headers["Location"]).path == reverse("account_login")
    client.force_login(charlie)
    assert client.get(url).status_code == 404
    client.force_login(vera)
    assert client.get(url).status_code == 200
    assert client.post(url).status_code == 405


def test_access_to_the_api(client, finished, bearer, outsider_bearer):
    assert client.get(api_url(finished)).status_code == 401
    assert client.get(api_url(finished), headers=outsider_bearer).status_code == 404
    assert client.get(api_url(finished), headers=bearer).json()["verdict"]["score"] == 0.91
    assert client.get(api_url(finished, "pdf"), headers=bearer).content.startswith(b"%PDF")
    assert client.get("/v1/reports/job_nonsense", headers=bearer).status_code == 404
    assert client.post(api_url(finished), headers=bearer).status_code == 405


def test_a_key_without_the_scope(client, organization, finished):
    from accounts.services import create_api_key

    _, text = create_api_key(organization=organization, scopes=["kyc:read"])
    answer = client.get(api_url(finished), headers={"Authorization": f"Bearer {text}"})
    assert answer.status_code == 403


def test_reading_leaves_a_trace(client, alice, finished):
    client.force_login(alice)
    client.get(page_url(finished))
    row = AuditLog.objects.get(action="report.read")
    assert (row.actor, row.details) == (alice, {"format": "html"})


def test_queries_do_not_grow_with_the_evidence(finished, django_assert_num_queries):
    for number in range(8):
        factories.make_artifact(finished.result, kind="face", track=number)
    from detection.models import Job

    with django_assert_num_queries(3):  # job, branches, artifacts
        document.build(for_report(Job.objects.all()).get(pk=finished.pk))
