"""The report: what is in it, in which format, for whom, and how fast."""

from __future__ import annotations

import io
import json
from urllib.parse import urlsplit

import pytest
import weasyprint
from django.urls import reverse
from pypdf import PdfReader

from accounts.models import AuditLog
from detection import words
from detection.models import JobStatus
from reports import document, downloads, render
from reports.models import ReportFormat
from reports.services import for_report
from review import marks
from review import services as review
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


def test_other_thresholds_of_a_case_are_printed_with_what_they_mean(client, alice, bob, finished):
    case = review.send_to_review(job=finished, actor=alice)
    marks.set_thresholds(case=case, actor=bob, fake_at=0.9, real_below=0.3, reason="A filter of this platform")
    client.force_login(alice)
    found = json.loads(client.get(page_url(finished, "json")).content)["review"]["thresholds_of_case"]
    assert (found["fake"], found["real"], found["reading"]) == (0.9, 0.3, "fake")
    assert "weak verdict" in found["reading_words"]  # .91, but between .84 and .96
    assert "Under them the score reads fake." in client.get(page_url(finished)).content.decode()


FETCHER = weasyprint.URLFetcher(allowed_protocols=("data",), allow_redirects=False)


def test_the_last_page_is_no_scrap(finished):
    """However long a report is: laid out as it comes, some of these end with a few lines on a page of their own."""
    whole = render.html(finished, document.build(finished), is_page=False)
    sheet = weasyprint.CSS(string=render.STYLESHEET.read_text())
    mark = '<section class="checkable">'
    as_they_come, ends = [], []
    for lines in range(0, 48, 6):
        text = whole.replace(mark, "<p>One more line.</p>" * lines + mark)
        page = weasyprint.HTML(string=text, url_fetcher=FETCHER)
        as_they_come.append(render.filled(page.render(stylesheets=[sheet])))
        ends.append(render.filled(render.laid_out(page, FETCHER)))
    assert min(as_they_come) < render.SCRAP
    assert min(ends) >= render.SCRAP


def test_no_row_of_a_report_is_torn_apart():
    rows = "".join(f"<div><dt>A name that is long and needs two lines n{n}</dt><dd>v{n}</dd></div>" for n in range(90))
    page = weasyprint.HTML(string=f'<h2>Rows</h2><dl>{rows}</dl><div id="end"></div>', url_fetcher=FETCHER)
    pages = PdfReader(io.BytesIO(render.laid_out(page, FETCHER).write_pdf(**weasyprint.DEFAULT_OPTIONS))).pages
    texts = [page.extract_text().split() for page in pages]
    assert len(texts) > 1
    for n in range(90):
        assert [f"n{n}" in words for words in texts] == [f"v{n}" in words for words in texts], n


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
    job.status = JobStatus.FAILED
    job.save()
    said = client.get(api_url(job), headers=bearer).json()
    assert (said["code"], said["detail"]) == (
        "report_not_ready",
        "There is no report: this analysis ended without a verdict (failed).",
    )


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
    from accounts.api_keys import create_api_key

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


def test_the_report_is_of_one_mind_about_a_check_that_added_nothing(finished):
    """It may have leant towards a fake, only not beyond what it must to count: that is not finding nothing."""
    finished.result.branch_scores.filter(branch="spatial").update(weight=0, contribution=0, state="scored", score=0.2)
    page = render.html(finished, document.build(finished))
    said = "Checks that count, but added nothing to this score (they can only add suspicion): face picture."
    assert said in page
    assert "Counts, but added nothing to this score: it can only add suspicion" in page
    assert "found nothing" not in page
    shown = page[page.index("Checks that are shown but do not count") :].split("</li>")[0]
    assert "face picture" not in shown


def test_the_report_tells_thresholds_as_they_are(finished):
    finished.result.threshold_real, finished.result.threshold_fake, finished.result.score = 0.401, 0.705, 0.705
    finished.result.save()
    page = render.html(finished, document.build(finished)).replace("\N{NO-BREAK SPACE}", " ")
    assert "A score from 70.5 % on is called fake, one below 40.1 % real" in page
    assert "<strong>70.5 %</strong> probability of manipulation" in page  # a whole number would lie below its threshold
    assert "70 %" not in page


def test_a_newsroom_reads_words_and_an_expert_finds_the_figures(finished):
    rows = finished.result.branch_scores
    rows.filter(branch="spatial").update(weight=0.8, contribution=2.1)
    rows.filter(branch="frequency").update(weight=0.2, contribution=-0.4)
    page = render.html(finished, document.build(finished)).replace("\N{NO-BREAK SPACE}", " ")
    start, methods = page.index("Where the score comes from"), page.index("How this result can be checked")
    assert "fake, strongly" in page[start:methods]
    assert "real, slightly" in page[start:methods]
    jargon = ("log-odds", "logit", "fusion", "auroc", "eer ")
    assert [word for word in jargon if word in page[: page.index("How good the checks are")].lower()] == []
    assert (
        "Face picture +2.10, Fine pixel pattern −0.40 (log-odds: above zero for a fake, below zero for real)"
        in page[methods:]
    )


@pytest.mark.parametrize("size", [0.05, 0.3, 1.0, 2.5])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_push_has_a_direction_and_a_force(size, sign):
    force = {0.05: "hardly", 0.3: "slightly", 1.0: "clearly", 2.5: "strongly"}[size]
    assert words.push_words(sign * size) == f"{'fake' if sign > 0 else 'real'}, {force}"


def test_a_stretch_above_the_threshold_is_no_verdict_on_the_whole(finished):
    page = render.html(finished, document.build(finished))
    assert "Stretches that score above the threshold of “fake”</caption>" in page
    finished.result.label = "inconclusive"
    page = render.html(finished, document.build(finished))
    assert "threshold of “fake”, which are no verdict on the whole</caption>" in page


@pytest.mark.parametrize(
    ("state", "label", "said"),
    [
        ("", "", "No person has checked this result."),
        ("open", "", "People are looking at it; they have not decided yet."),
        ("escalated", "", "People are looking at it; they have not decided yet."),
        ("decided", "", "People who looked at it left it without a label of their own."),
        ("decided", "real", "People who looked at it found: real, against the machine's verdict."),
    ],
)
def test_the_first_page_says_whether_people_checked_it(finished, state, label, said):
    finished.review_state, finished.review_label = state, label
    assert document.build(finished)["summary"]["found"][-1] == said


def test_a_recording_has_no_small_faces(organization, alice):
    said = document.build(make_finished(organization, alice, kind="audio"))["summary"]["does_not_say"]
    assert "noise and telephone lines can hide every trace" in said[2]
    assert "face" not in " ".join(said)


def test_checks_that_failed_are_told_from_those_without_work(finished):
    finished.result.branch_scores.filter(branch="temporal").update(state="failed", weight=0, contribution=0)
    looked_at = document.build(finished)["summary"]["looked_at"]
    assert "Checks that failed and were left out: movement over time." in looked_at


@pytest.mark.parametrize(
    ("label", "score", "copy", "reason", "said"),
    [
        ("fake", 0.839, 0.707, "", "71 % after “JPEG, quality 50”. Such a copy would get no verdict."),
        ("real", 0.2, 0.5, "", "50 % after “JPEG, quality 50”. Such a copy would get no verdict."),
        ("inconclusive", 0.839, 0.2, "unstable", "20 % after “JPEG, quality 50”. That is why no verdict is given."),
        ("inconclusive", 0.5, 0.9, "uncertain_band", "“JPEG, quality 50”. Such a copy might be judged otherwise."),
        ("fake", 0.839, 0.81, "", ""),
    ],
)
def test_how_sure_says_that_a_copy_would_be_judged_otherwise(finished, label, score, copy, reason, said):
    result = finished.result
    result.label, result.score, result.abstain_reason = label, score, reason
    result.threshold_real, result.threshold_fake = 0.222, 0.807
    result.details["stability"]["variants"] = [{"name": "jpeg_50", "score": copy}]
    result.save()
    content = document.build(finished)
    page = render.html(finished, content).replace("\N{NO-BREAK SPACE}", " ")
    first = page[page.index("How sure that is") : page.index("What was looked at")]
    told = [sentence for sentence in content["summary"]["how_sure"] if "depends on the copy" in sentence]
    assert len(told) == ("depends on the copy" in first) == bool(said)
    assert said in first
    assert said in "".join(told)


def test_a_curve_is_red_above_the_threshold_alone(finished):
    red = 'stroke="#ad1f17"'
    assert red in render.html(finished, document.build(finished))
    for point in finished.result.details["curve"]:
        point["score"] = min(point["score"], 0.5)
    finished.result.save()
    assert red not in render.html(finished, document.build(finished))


@pytest.mark.parametrize(
    ("filename", "named"),
    [
        ("speech.mp4", "report-speech-{}.pdf"),
        ('../a "b"\r\nX: 1.png', "report-a-b-x-1-{}.pdf"),
        ("", "report-{}.pdf"),
        ("x" * 200 + ".png", "report-" + "x" * 60 + "-{}.pdf"),
        ("Zürich 東京.jpg", "report-zürich-東京-{}.pdf"),
    ],
)
def test_a_download_is_named_after_its_item(finished, filename, named):
    finished.media.filename = filename
    assert downloads.file_name(finished, ReportFormat.PDF) == named.format(finished.public_id)
