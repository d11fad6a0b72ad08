"""The page of one case: evidence, who has it, marks, thresholds, trail, and who may do what."""

from __future__ import annotations

import pytest
from django.urls import reverse

from accounts.models import AuditLog
from review import marks, services
from review.models import Annotation, CaseThresholds, Mention, Note, Priority, ReviewCase, ReviewPreference
from tests import factories
from tests.review.conftest import opinion

pytestmark = [pytest.mark.services, pytest.mark.django_db]


def page_of(client, case) -> str:
    response = client.get(case.get_absolute_url())
    assert response.status_code == 200
    return response.content.decode()


def test_the_evidence_and_the_form_are_on_one_page(client, bob, case):
    services.claim(case=case, actor=bob)
    client.force_login(bob)
    page = page_of(client, case)
    assert "<video" in page
    assert "The skin texture around the jaw" in page
    assert "The score lies close to a threshold." in page
    assert "You have this case" in page
    assert "Confirm: fake" in page
    assert "Override: it is real" in page
    assert "Override: it is fake" not in page  # it is what the verdict says
    assert "Decide and take next" in page


def test_until_it_is_taken_there_is_nothing_to_decide(client, bob, rita, case):
    client.force_login(bob)
    assert "Take this case" in page_of(client, case)
    assert "Decide and take next" not in page_of(client, case)
    client.post(reverse("review:claim", args=[case.pk]))
    assert "Decide and take next" in page_of(client, case)
    client.force_login(rita)
    page = page_of(client, case)
    assert "bob has this case" in page
    assert "Decide and take next" not in page
    refused = client.post(reverse("review:claim", args=[case.pk]), follow=True).content.decode()
    assert "bob has had this case since" in refused


def test_the_bar_alone_for_live_refresh(client, bob, case):
    client.force_login(bob)
    bar = client.get(reverse("review:claim_bar", args=[case.pk])).content.decode()
    assert "<html" not in bar
    assert "Take this case" in bar


def test_an_analyst_reads_but_does_not_judge(client, alice, case):
    client.force_login(alice)
    page = page_of(client, case)
    assert "Waits for a reviewer." in page
    assert "Take this case" not in page
    assert "Mark a place" not in page


@pytest.mark.parametrize("kind", ["image", "audio"])
def test_other_kinds(client, bob, open_case, kind):
    case = open_case(kind=kind)
    client.force_login(bob)
    page = page_of(client, case)
    assert ("<audio" in page) is (kind == "audio")
    assert ("veil-blur" in page) is (kind == "image")


def test_queries(client, bob, case, django_assert_num_queries):
    services.claim(case=case, actor=bob)
    client.force_login(bob)
    client.get(case.get_absolute_url())
    # session, user, organisation, case, preferences, rules, own last decision, branches, artifacts, header's count;
    # of the case: thresholds, appeals, marks, opinions, notes, trail
    with django_assert_num_queries(16):
        client.get(case.get_absolute_url())


POSTS = ["claim", "release", "decide", "note", "annotate", "thresholds", "harsh"]


@pytest.mark.parametrize("name", POSTS)
def test_access_to_actions(client, charlie, vera, alice, case, name, other_organization):
    url = reverse(f"review:{name}", args=[case.pk])
    assert client.post(url).headers["Location"].startswith(reverse("account_login"))
    client.force_login(charlie)
    assert client.post(url).status_code == 404
    client.force_login(factories.make_user(other_organization, "otto", "reviewer"))
    assert client.post(url).status_code == 404
    client.force_login(vera)
    assert client.post(url).status_code == 403
    client.force_login(alice)
    assert client.get(url).status_code == 405


@pytest.mark.parametrize("name", ["claim", "release", "decide", "annotate", "thresholds"])
def test_analysts_may_not_judge(client, alice, case, name):
    client.force_login(alice)
    sent = {"outcome": "confirm", "text": "Look", "start_s": "1", "fake_at": "80", "real_below": "20", "reason": "why"}
    assert client.post(reverse(f"review:{name}", args=[case.pk]), sent).status_code == 403


@pytest.mark.parametrize("name", ["case", "claim_bar", "next", "previous"])
def test_access_to_pages(client, charlie, vera, bob, case, name):
    url = reverse(f"review:{name}", args=[case.pk])
    assert client.get(url).status_code == 302
    client.force_login(charlie)
    assert client.get(url).status_code == 404
    client.force_login(vera)
    assert client.get(url).status_code == 403
    client.force_login(bob)
    assert client.post(url).status_code == 405


def test_next_and_previous_follow_the_list(client, bob, open_case):
    urgent, sound = open_case(priority=Priority.URGENT), open_case(kind="audio", priority=Priority.HIGH)
    normal = open_case()
    client.force_login(bob)

    def move(case, direction, query=""):
        return client.get(reverse(f"review:{direction}", args=[case.pk]) + query).headers["Location"]

    assert move(urgent, "next") == sound.get_absolute_url()
    assert move(urgent, "next", "?kind=video") == f"{normal.get_absolute_url()}?kind=video"
    assert move(normal, "previous") == sound.get_absolute_url()
    assert move(normal, "next") == reverse("review:queue")
    assert move(urgent, "previous", "?kind=video") == f"{reverse('review:queue')}?kind=video"


# Marks ----------------------------------------------------------------------------------------------------------------


def test_a_note_calls_the_members_it_names(client, alice, bob, rita, vera, charlie, case):
    client.force_login(bob)
    text = "Look at the lips, @Rita and @alice. Not you @charlie, @vera, nor mail@rita.example <b>"
    client.post(reverse("review:note", args=[case.pk]), {"text": text})
    assert set(Mention.objects.values_list("user__username", flat=True)) == {"rita", "alice"}
    page = page_of(client, case)
    assert "<strong>@Rita</strong>" in page
    assert "mail@rita.example" in page
    assert "&lt;b&gt;" in page
    client.force_login(rita)
    assert 'Mentioned you <span class="count">1</span>' in client.get("/review/").content.decode()
    listed = client.get("/review/mentions/").content.decode()
    assert "speech.mp4" in listed
    assert "Look at the lips" in listed
    assert Mention.objects.unseen_by(rita).count() == 0
    assert 'class="count">1' not in client.get("/review/mentions/").content.decode()


def test_an_empty_note_is_refused(client, bob, case):
    client.force_login(bob)
    page = client.post(reverse("review:note", args=[case.pk]), {"text": " "}, follow=True).content.decode()
    assert "Write something first." in page
    assert not Note.objects.exists()


@pytest.mark.parametrize(
    ("place", "kept"),
    [
        ({"start_s": "1.2"}, (1.2, None, None)),
        ({"start_s": "1", "end_s": "2.5"}, (1, 2.5, None)),
        ({"x": "8", "y": "8", "width": "20", "height": "24"}, (None, None, [8, 8, 20, 24])),
        ({"start_s": "1", "x": "0", "y": "0", "width": "64", "height": "48"}, (1, None, [0, 0, 64, 48])),
    ],
)
def test_places_are_marked(client, bob, case, place, kept):
    client.force_login(bob)
    client.post(reverse("review:annotate", args=[case.pk]), {"text": "A seam at the jaw"} | place)
    mark = Annotation.objects.get()
    assert (mark.start_s, mark.end_s, mark.box) == kept
    assert "A seam at the jaw" in page_of(client, case)
    assert AuditLog.objects.filter(action="review.annotated", actor=bob).count() == 1


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ({}, "Mark a region, a moment or a stretch of time."),
        ({"start_s": "9"}, "The item is 4.0 s long."),
        ({"start_s": "2", "end_s": "1"}, "The stretch ends before it begins."),
        ({"end_s": "1"}, "Say where the stretch begins, too."),
        ({"x": "1", "y": "1", "width": "5"}, "A region needs all four numbers"),
        ({"x": "60", "y": "1", "width": "5", "height": "5"}, "64 × 48 pixels"),
        ({"x": "1", "y": "1", "width": "0", "height": "5"}, "64 × 48 pixels"),
        ({"start_s": "nan"}, "Enter a number."),
        ({"text": "", "start_s": "1"}, "Say what is to be seen there."),
    ],
)
def test_places_that_are_none(client, bob, case, place, sentence):
    client.force_login(bob)
    response = client.post(reverse("review:annotate", args=[case.pk]), {"text": "A seam"} | place, follow=True)
    assert sentence in response.content.decode()
    assert not Annotation.objects.exists()


def test_only_ones_own_mark_is_removed(client, bob, rita, case):
    mark = marks.annotate(case=case, actor=bob, text="A seam", start_s=1)
    url = reverse("review:remove_annotation", args=[case.pk, mark.pk])
    client.force_login(rita)
    assert client.post(url).status_code == 403
    client.force_login(bob)
    client.post(url)
    assert not Annotation.objects.exists()


def test_thresholds_of_one_case(client, bob, rita, case):
    client.force_login(bob)
    url = reverse("review:thresholds", args=[case.pk])
    client.post(url, {"real_below": "30", "fake_at": "95", "reason": "A filter of this platform"})
    page = page_of(client, case)
    assert "Under the thresholds of this case it reads" in page
    assert "A filter of this platform" in page
    services.claim(case=case, actor=bob)
    assert "Follow the thresholds of this case: inconclusive" in page_of(client, case)
    decision = services.decide(case=ReviewCase.objects.get(), actor=bob, opinion=opinion("confirm"))
    assert (decision.outcome, decision.label, decision.reasons) == ("override", "inconclusive", ["thresholds"])


def test_thresholds_are_withdrawn(client, bob, case):
    marks.set_thresholds(case=case, actor=bob, fake_at=0.95, real_below=0.3, reason="why")
    client.force_login(bob)
    client.post(reverse("review:thresholds", args=[case.pk]), {"withdraw": "1"})
    assert CaseThresholds.objects.filter(withdrawn_at=None).count() == 0
    assert marks.reading_for(case, case.job.result, bob) == "fake"
    actions = AuditLog.objects.filter(target_id=str(case.pk)).order_by("id").values_list("action", flat=True)
    assert list(actions) == ["review.opened", "review.thresholds_set", "review.thresholds_withdrawn"]


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        ({"real_below": "80", "fake_at": "70", "reason": "why"}, "must not lie above"),
        ({"real_below": "30", "fake_at": "70"}, "Say why"),
        ({"real_below": "30", "fake_at": "170", "reason": "why"}, "less than or equal to 100"),
    ],
)
def test_thresholds_that_make_no_sense(client, bob, case, sent, sentence):
    client.force_login(bob)
    response = client.post(reverse("review:thresholds", args=[case.pk]), sent, follow=True)
    assert sentence in response.content.decode()
    assert not CaseThresholds.objects.exists()


# Harsh material -------------------------------------------------------------------------------------------------------


def test_material_is_covered_until_one_says_otherwise(client, bob, case):
    client.force_login(bob)
    page = page_of(client, case)
    assert "case-main is-blurred is-greyed" in page
    assert "<video controls playsinline muted" in page
    sent = {"veil": "harsh", "blurs": "on", "mutes": "on"}
    client.post("/review/preferences/", sent)
    page = page_of(client, case)
    assert "is-blurred" not in page
    assert "playsinline muted" not in page
    client.post(reverse("review:harsh", args=[case.pk]), {"is_harsh": "1"})
    page = page_of(client, case)
    assert 'class="case-main is-blurred"' in page  # grey was switched off
    assert "playsinline muted" in page
    client.post("/review/preferences/", sent | {"veil": "off"})
    assert "is-blurred" in page_of(client, case)  # a colleague's warning counts more
    assert ReviewPreference.objects.get().user == bob


def test_the_page_of_an_analysis_stays_as_it_is(client, bob, case):
    client.force_login(bob)
    page = client.get(case.job.get_absolute_url()).content.decode()
    assert "playsinline muted" not in page
    assert "is-blurred" not in page


def test_single_keys_are_optional(client, bob, case):
    client.force_login(bob)
    assert "data-review-keys" in page_of(client, case)
    client.post("/review/preferences/", {"veil": "all"})
    assert "data-review-keys" not in page_of(client, case)


# The trail ------------------------------------------------------------------------------------------------------------


def test_the_trail_tells_everything_that_was_written(client, alice, bob, case):
    services.claim(case=case, actor=bob)
    services.decide(case=ReviewCase.objects.get(), actor=bob, opinion=opinion("override"))
    client.force_login(alice)
    page = page_of(client, case)
    for words in ("Case opened", "Taken", "Opinion given", "Overridden; Real; Compression or re-saving misled"):
        assert words in page
    last = AuditLog.objects.filter(action="review.decided").get()
    assert last.hash[:12] in page


# From the page of an analysis -----------------------------------------------------------------------------------------


def test_an_analyst_sends_an_analysis_to_review(client, alice, vera, charlie, bob, organization, review_settings):
    from tests.pages.finished import make_finished

    job = make_finished(organization, alice)
    url = reverse("review:open", args=[job.pk])
    client.force_login(charlie)
    assert client.post(url).status_code == 404
    client.force_login(vera)
    assert client.post(url).status_code == 403
    client.force_login(alice)
    assert "Send to review" in client.get(job.get_absolute_url()).content.decode()
    response = client.post(url, {"note": "@bob please", "priority": "3"})
    case = ReviewCase.objects.get()
    assert response.headers["Location"] == case.get_absolute_url()
    assert (case.reason, case.priority, case.opened_by) == ("manual", Priority.URGENT, alice)
    assert Mention.objects.get().user == bob
    page = client.get(job.get_absolute_url()).content.decode()
    assert "Open the case" in page
    assert "Send to review" not in page
    assert client.get(reverse("review:for_job", args=[job.pk])).headers["Location"] == case.get_absolute_url()
    services.decide(case=case, actor=bob, opinion=opinion("override"))
    page = client.get(job.get_absolute_url()).content.decode()
    assert "overridden" in page
    assert "Review again" in page
    listed = client.get("/").content.decode()
    assert "Review: " in listed


def test_only_a_finished_analysis_is_reviewed(client, alice, organization):
    job = factories.make_job(organization=organization)
    client.force_login(alice)
    assert client.post(reverse("review:open", args=[job.pk])).status_code == 409
    assert client.get(reverse("review:for_job", args=[job.pk])).status_code == 404
