"""The page of one analysis, in every state and for every kind of media."""

from __future__ import annotations

import json
import re

import pytest
from django.urls import reverse

from accounts import audit
from detection import charts, words
from detection.engine import registry, stability
from detection.models import BranchScore, InferenceResult, Job, JobStatus
from tests import factories
from tests.pages.finished import make_finished

pytestmark = pytest.mark.services


def page_of(client, job) -> str:
    response = client.get(job.get_absolute_url())
    assert response.status_code == 200
    return response.content.decode()


def test_the_verdict_comes_with_its_reasons(client, alice, organization):
    job = make_finished(organization, alice)
    client.force_login(alice)
    page = page_of(client, job)
    assert "Fake</h2>" in page
    assert "img/icons.svg#fake" in page  # told by shape as well
    assert "The face region shows blending traces." in page
    assert "Real below 30\N{NO-BREAK SPACE}%, fake from 70\N{NO-BREAK SPACE}%" in page
    assert "What to do next" in page
    assert "The skin texture around the jaw" in page


def test_branches_without_weight_and_those_left_out_are_marked(client, alice, organization):
    job = make_finished(organization, alice)
    client.force_login(alice)
    page = page_of(client, job)
    assert "100 % of the weight" in page
    assert "Does not count towards the score" in page
    assert "Left out: no sound" in page
    assert "Failed: left out" in page


@pytest.mark.parametrize(
    ("kind", "there", "not_there"),
    [
        ("video", ["<video", "lane-plot", "data-timeline", "Stretches that score above the threshold"], ["<audio"]),
        (
            "audio",
            ["<audio", "lane-plot is-sound"],
            ["<video", "data-overlay", "Where the checks looked", "Who is seen"],
        ),
        (
            "image",
            ["<img src=", "data-overlay", "Where the checks looked", "data-zoom-in", "Side by side"],
            ["<video", "<audio", "data-timeline", "data-step"],
        ),
    ],
)
def test_each_kind_has_its_own_layout(client, alice, organization, kind, there, not_there):
    job = make_finished(organization, alice, kind=kind)
    client.force_login(alice)
    page = page_of(client, job)
    for piece in there:
        assert piece in page, piece
    for piece in not_there:
        assert piece not in page, piece


def test_the_player_knows_faces_and_heatmaps(client, alice, organization):
    job = make_finished(organization, alice)
    client.force_login(alice)
    found = re.search(r'<script id="player-data" type="application/json">(.*?)</script>', page_of(client, job))
    data = json.loads(found.group(1))
    assert data["faces"] == [[0.0, 0, 8, 8, 20, 24, 0.9]]
    assert data["overlays"][0]["time"] == 1.2
    assert client.get(data["overlays"][0]["url"]).status_code == 200


def test_nothing_scored(client, alice, organization):
    job = make_finished(
        organization,
        alice,
        kind="image",
        label="inconclusive",
        score=None,
        interval_low=None,
        interval_high=None,
        abstain_reason="too_little_evidence",
    )
    client.force_login(alice)
    page = page_of(client, job)
    assert "No score" in page
    assert "Too little could be examined to decide." in page


def test_old_results_without_details_still_open(client, alice, organization):
    job = make_finished(organization, alice, details={})
    client.force_login(alice)
    assert "Fake</h2>" in page_of(client, job)


def test_running_shows_progress_and_refreshes_itself(client, alice, organization):
    job = factories.make_job(organization=organization, status=JobStatus.RUNNING)
    client.force_login(alice)
    page = page_of(client, job)
    assert 'data-live-active="true"' in page
    assert "Examining: face picture" in page
    assert 'value="40"' in page
    assert "Cancel" in page


def test_failed_says_what_happened_and_what_to_do(client, alice, organization):
    job = factories.make_job(organization=organization, status=JobStatus.FAILED)
    client.force_login(alice)
    page = page_of(client, job)
    assert "This file is not a picture we can read." in page
    assert "save it again as JPEG or PNG" in page
    assert "plays there" not in page
    assert "Run again" not in page  # the same file fails in the same way
    assert "Run it again, otherwise" not in page
    assert 'data-live-active="false"' in page


def test_the_same_file_is_linked(client, alice, organization):
    first = make_finished(organization, alice)
    second = make_finished(organization, alice)
    client.force_login(alice)
    page = page_of(client, second)
    assert first.get_absolute_url() in page
    assert "same file" in page


def test_what_users_send_is_never_markup(client, alice, organization):
    job = make_finished(organization, alice)
    job.media.filename = "<script>alert(1)</script>.mp4"
    job.media.info["metadata"] = {"Artist": "</script><img src=x onerror=alert(1)>"}
    job.media.save()
    client.force_login(alice)
    page = page_of(client, job)
    assert "<script>alert" not in page
    assert "<img src=x" not in page


@pytest.mark.parametrize("kind", ["video", "image"])
def test_queries(client, alice, organization, django_assert_num_queries, kind):
    job = make_finished(organization, alice, kind=kind)
    for _ in range(3):
        make_finished(organization, alice, kind=kind)
    client.force_login(alice)
    # session, user, organisation, job, branches, artifacts, same bytes, hashes of the others, links, sightings,
    # other runs, history, profiles, holds
    with django_assert_num_queries(15):
        client.get(job.get_absolute_url())


def test_panel_is_the_same_fragment(client, alice, organization):
    job = make_finished(organization, alice)
    client.force_login(alice)
    panel = client.get(reverse("detection:job_panel", args=[job.id])).content.decode()
    assert "<html" not in panel
    assert "The face region shows blending traces." in panel


def test_the_sound_comes_before_its_controls(client, alice, organization):
    client.force_login(alice)
    page = page_of(client, make_finished(organization, alice, kind="audio"))
    assert page.index("lane-plot is-sound") < page.index("<audio")


def test_without_a_face_the_page_says_so(client, alice, organization):
    job = make_finished(organization, alice, kind="image")
    job.result.details |= {"faces": [], "tracks": []}
    job.result.save()
    client.force_login(alice)
    page = page_of(client, job)
    assert "No face was found" in page
    assert "Who is seen" not in page


def test_people_have_letters_scores_and_times(client, alice, organization):
    client.force_login(alice)
    page = page_of(client, make_finished(organization, alice))
    assert "<strong>Person A</strong>" in page
    assert "Face picture, over all frames 90" in page
    assert "0:00.0 – 0:03.9, looked at in 12 frames" in page
    assert "Picture, Person A" in page  # of the fake interval


def test_the_player_knows_windows_detail_maps_and_parts(client, alice, organization):
    client.force_login(alice)
    found = re.search(
        r'<script id="player-data" type="application/json">(.*?)</script>',
        page_of(client, make_finished(organization, alice)),
    )
    data = json.loads(found.group(1))
    assert data["windows"] == [0.0, 1.0, 2.0, 3.0]
    assert (data["details"][0]["time"], data["details"][0]["frame"]) == (2.0, 50)
    assert data["pieces"] == [[1.2, 0, 0, 32, 24, 0.2], [1.2, 32, 24, 32, 24, 0.8]]
    assert data["frames"] == 100


def test_parts_and_curves_can_be_read_as_tables(client, alice, organization):
    client.force_login(alice)
    page = page_of(client, make_finished(organization, alice))
    assert "<td>lower right</td>" in page
    assert "<td>upper left</td>" in page
    assert "Highest score of each check in each stretch of time" in page
    assert 'Peaks: <a href="#player" data-seek="1.5">Face picture 0:01.5, 90' in page


def test_a_check_without_weight_says_why(client, alice, organization):
    client.force_login(alice)
    page = page_of(client, make_finished(organization, alice))
    assert "Why it does not count." in page
    assert words.signal_of("frequency").weightless in page


@pytest.mark.parametrize("branch", [*registry.BRANCHES, "physiology", "provenance"])
def test_every_check_is_explained(branch):
    signal = words.SIGNALS[branch]
    assert all((signal.title, signal.what, signal.fails, signal.weightless))


def test_the_page_counts_the_ways_of_saving_as_the_engine_does():
    assert set(words.PICTURE_VARIANTS) == {variant.name for variant in stability.PICTURE_VARIANTS}
    assert set(words.SOUND_VARIANTS) == {variant.name for variant in stability.SOUND_VARIANTS}


def test_credentials_in_words(client, alice, organization):
    job = make_finished(organization, alice, kind="image")
    job.result.details["provenance"] = {
        "state": "invalid",
        "altered": True,
        "sentence": "The file was changed after Test Newsroom signed it.",
        "issuer": "Test Newsroom",
        "signed_at": "2026-11-01T10:00:00+00:00",
        "actions": [{"action": "c2pa.created", "source": "digitalCapture", "of": "an earlier version"}],
        "ingredients": [{"title": "harbour.jpg", "relationship": "parentOf", "is_signed": True}],
        "problems": ["assertion.dataHash.mismatch", "signingCredential.untrusted"],
    }
    job.result.save()
    client.force_login(alice)
    page = page_of(client, job)
    assert '<time datetime="2026-11-01T10:00:00+00:00" data-moment="long">1 Nov 2026, 10:00:00 UTC</time>' in page
    assert "Created: taken with a digital camera or recorder" in page
    assert "harbour.jpg" in page
    assert "the file that this was made from, with credentials of its own" in page
    assert "<strong>Why it is invalid:</strong> The content differs from what was signed." in page
    assert "no such claim" in page
    assert "−2 points" in page  # of 9 % that the detectors left


def test_absent_credentials_change_nothing(client, alice, organization):
    client.force_login(alice)
    page = page_of(client, make_finished(organization, alice, kind="image"))
    assert "None in this file. Most genuine files carry none, so this changes nothing." in page
    assert "no change" in page


def test_lips_and_sound_in_words(client, alice, organization):
    job = make_finished(organization, alice)
    BranchScore.objects.create(
        result=job.result, branch="av_sync", channel="synchrony", state="scored", score=0.6, sentence="They part.",
        data={"offset_ms": 120.0, "offset_confidence": 0.9},
    )  # fmt: skip
    client.force_login(alice)
    assert "The sound comes 120 ms after the lips." in page_of(client, job)


def test_a_place_in_the_file_is_named_and_folded_away(client, alice, organization):
    job = make_finished(organization, alice, kind="image")
    tags = {"GPSLatitude": "(52.0, 31.0, 12.0)", "DateTimeOriginal": "2026:11:01 10:00:00", "Make": "ExampleCam"}
    job.media.info = {"metadata": tags}
    job.media.save(update_fields=["info"])
    client.force_login(alice)
    page = page_of(client, job)
    summary, rest = page.split("A place is recorded in the file</summary>")
    assert "52.0" not in summary
    assert "(52.0, 31.0, 12.0)" in rest
    assert "<h3>Device</h3>" in page
    assert "<dt>Date time original</dt><dd>1 Nov 2026, 10:00:00</dd>" in page


def test_who_did_what_comes_from_the_audit_log(client, alice, bob, charlie, organization, other_organization):
    job = make_finished(organization, alice)
    audit.record(
        action="job.started", organization=organization, actor=alice, target=job, details={"stability": "full"}
    )
    audit.record(action="report.read", organization=organization, actor=alice, target=job)
    audit.record(action="job.feedback", organization=organization, actor=bob, target=job, ip_address="192.0.2.7")
    audit.record(action="job.feedback", organization=other_organization, actor=charlie, target=job)
    client.force_login(alice)
    page = page_of(client, job)
    history = page[page.index("Who did what") :]
    assert "Started this analysis: full re-saving test" in history
    assert history.index("Gave a label") < history.index("Started this analysis")  # newest first
    assert "report" not in history[: history.index("</ol>")]  # reads are in the audit log, for those who may see it
    assert "bob" in history
    assert "charlie" not in history
    assert "192.0.2.7" not in page


@pytest.mark.parametrize(
    ("label", "offered", "not_offered"),
    [
        ("fake", ["Take the report", "Ask a reviewer"], ["Ask for the original"]),
        ("real", ["Take the report", "Ask for the original"], ["Ask a reviewer"]),
        ("inconclusive", ["Ask for the original", "Ask a reviewer", "Test it fully against re-saving"], ["Take the"]),
    ],
)
def test_what_to_do_next_fits_the_verdict(client, alice, organization, label, offered, not_offered):
    job = make_finished(organization, alice, label=label)
    client.force_login(alice)
    page = page_of(client, job)
    assert all(words in page for words in offered)
    assert not any(words in page for words in not_offered)


def test_the_words_to_ask_with_name_the_file_and_its_digest(client, alice, organization):
    job = make_finished(organization, alice, label="real")
    client.force_login(alice)
    assert f"SHA-256 {job.media.sha256}" in page_of(client, job)


def test_peaks_keep_apart_and_leave_out_what_speaks_for_no_fake():
    curve = [{"start_s": s, "end_s": s + 1.0, "score": p} for s, p in enumerate((0.9, 0.95, 0.2, 0.7, 0.49, 0.6))]
    found = charts.peaks(curve, 40.0)
    assert [(peak.time_s, peak.score) for peak in found] == [(1.5, 0.95), (3.5, 0.7), (5.5, 0.6)]


@pytest.mark.parametrize("name", ["job", "job_panel", "delete", "related"])
def test_access(client, alice, charlie, organization, name):
    job = make_finished(organization, alice)
    url = reverse(f"detection:{name}", args=[job.id])
    assert client.get(url).status_code == 302
    client.force_login(charlie)
    assert client.get(url).status_code == 404
    client.force_login(alice)
    assert client.put(url).status_code == 405


def test_what_people_decided_leads_the_advice(client, alice, organization):
    job = make_finished(organization, alice)
    Job.objects.filter(pk=job.pk).update(
        review_state="decided", review_label="real", final_label="real", review_decision="override"
    )
    client.force_login(alice)
    page = client.get(job.get_absolute_url()).content.decode()
    headline = page.partition('id="verdict-word"')[2].partition("</h2>")[0]
    assert headline.endswith("</svg>Real")
    assert 'class="hero is-real"' in page
    assert "<strong>The machine read: fake, 91\N{NO-BREAK SPACE}%</strong>" in page
    assert "Do not share or act on this item" not in page


def test_a_check_that_added_nothing_is_told_from_one_that_never_counts(client, alice, organization):
    job = make_finished(organization, alice)
    BranchScore.objects.filter(result__job=job, branch__in=("spatial", "temporal")).update(
        state="scored", score=0.2, weight=0, contribution=0
    )
    client.force_login(alice)
    page = client.get(job.get_absolute_url()).content.decode()
    assert page.count("Counts, but added nothing to this score: it can only add suspicion") == 1
    assert "Why it added nothing." in page
    assert "So it cannot outvote a check that found more" in page
    assert "Does not count towards the score" in page
    assert "No check of faces adds to this score" in page
    assert '"facesCheck": ""' in page
    assert "over all frames" not in page


def test_thresholds_have_their_decimal_and_no_score_is_rounded_onto_one(client, alice, organization):
    job = make_finished(
        organization, alice, label="inconclusive", score=0.6996, threshold_real=0.401, threshold_fake=0.7
    )
    client.force_login(alice)
    page = page_of(client, job)
    space = "\N{NO-BREAK SPACE}"
    assert f'<span class="figure">69.9{space}%</span>' in page
    assert f"Real below 40.1{space}%, fake from 70{space}%." in page
    assert f"Lines: real below 40.1{space}%, fake from 70{space}%." in page


def test_the_page_says_how_the_checks_become_the_verdict(client, alice, organization):
    client.force_login(alice)
    page = page_of(client, make_finished(organization, alice))
    part = page[page.index("Where the score comes from") :]
    assert "(here: picture 91\N{NO-BREAK SPACE}%, voice 12\N{NO-BREAK SPACE}%)" in part
    assert page.index("Where the score comes from") < page.index("Where the checks looked")


@pytest.mark.parametrize(
    ("after", "words"), [(0.88, "<strong>Yes.</strong>"), (0.72, "<strong>The label holds, the score moves.</strong>")]
)
def test_a_far_fall_after_re_saving_is_no_plain_yes(client, alice, organization, after, words):
    job = make_finished(organization, alice, score=0.93)
    job.result.details["stability"]["variants"] = [{"name": "jpeg_50", "score": 0.92}, {"name": "crop", "score": after}]
    job.result.save()
    client.force_login(alice)
    page = page_of(client, job)
    assert words in page
    assert "“Cropped”" in page
    assert f"{round(100 * (0.93 - after))} points" in page


@pytest.mark.parametrize(("copy", "is_told"), [(0.6, True), (0.9, False)])
def test_beside_the_score_it_says_that_a_copy_would_be_judged_otherwise(client, alice, organization, copy, is_told):
    job = make_finished(organization, alice, score=0.93)
    job.result.details["stability"]["variants"] = [{"name": "jpeg_50", "score": copy}]
    job.result.save()
    client.force_login(alice)
    page = page_of(client, job)
    figures = page[page.index("hero-figures") : page.index("</section>", page.index("hero-figures"))]
    assert ("It depends on the copy." in figures) == is_told
    assert ("Such a copy would get no verdict." in figures) == is_told


def test_previous_and_next_follow_the_list_one_came_from(client, alice, organization):
    first, voice, last = (make_finished(organization, alice, kind=kind) for kind in ("video", "audio", "video"))
    client.force_login(alice)
    page = page_of(client, last)
    assert "Analyses of the list" not in page
    page = client.get(
        last.get_absolute_url(), headers={"referer": "http://testserver/?kind=video&sort=newest&nonsense=1"}
    ).content.decode()
    assert f'href="{first.get_absolute_url()}?from=kind%3Dvideo" data-single-key="n"' in page
    assert 'data-single-key="p"' not in page
    assert 'href="/?kind=video">Analyses</a>' in page
    page = client.get(voice.get_absolute_url(), {"from": "sort=oldest"}).content.decode()
    assert f'href="{last.get_absolute_url()}?from=sort%3Doldest" data-single-key="n"' in page
    assert f'href="{first.get_absolute_url()}?from=sort%3Doldest" data-single-key="p"' in page
    page = client.get(voice.get_absolute_url(), {"from": "//evil.example?kind=nothing"}).content.decode()
    assert "evil.example" not in page


def test_a_label_whose_interval_crosses_its_threshold_is_told_as_weak(client, alice, organization):
    job = make_finished(organization, alice)
    url, read = job.get_absolute_url(), f"/v1/jobs/{job.public_id}?include=result"
    client.force_login(alice)
    for low, is_weak in ((0.75, False), (0.6, True)):
        InferenceResult.objects.filter(job=job).update(interval_low=low)
        assert ("“fake” stands, as a weak verdict" in client.get(url).content.decode()) is is_weak
        assert ("Weak: interval across the threshold" in client.get("/").content.decode()) is is_weak
        assert client.get(read).json()["result"]["interval_crosses_threshold"] is is_weak
        report = client.get(reverse("reports:report", args=[job.pk]), {"format": "json"}).json()
        assert any("as a weak verdict" in sentence for sentence in report["summary"]["how_sure"]) is is_weak


def test_a_score_past_a_threshold_is_not_said_to_lie_between_the_two(client, alice, organization):
    job = make_finished(organization, alice)
    InferenceResult.objects.filter(job=job).update(label="inconclusive", abstain_reason="uncertain_band")
    client.force_login(alice)
    page = client.get(job.get_absolute_url()).content.decode()
    assert "The score is past a threshold, but too unsure to count" in page
    assert "The score lies between the two thresholds" not in page
