"""The page of one case: evidence, who has it, marks, thresholds, trail, and who may do what."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from django.urls import reverse

from accounts.models import AuditLog
from deepfake.errors import DomainError
from review import marks, rules, services
from review.models import Annotation, CaseThresholds, Mention, Note, Priority, Reason, ReviewCase, ReviewPreference
from tests import factories
from tests.review.conftest import opinion

pytestmark = [pytest.mark.services, pytest.mark.django_db]
IN_PLACE = {"HX-Request": "true"}


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


def test_the_clock_of_a_refusal_is_the_readers(client, bob, rita, case):
    services.claim(case=case, actor=rita)
    ReviewCase.objects.filter(pk=case.pk).update(claimed_at=datetime(2026, 11, 27, 22, 30, tzinfo=UTC))
    client.force_login(bob)
    client.cookies["timezone"] = "Asia/Tokyo"
    assert "since 07:30 JST" in client.post(reverse("review:claim", args=[case.pk]), follow=True).text


def test_after_asking_for_a_second_opinion_a_colleague_is_awaited(client, bob, rita, case):
    services.decide(case=case, actor=bob, opinion=opinion(asks_second=True))
    for who, words in ((bob, "A colleague will give the second opinion."), (rita, "Take this case")):
        client.force_login(who)
        bar = client.get(reverse("review:claim_bar", args=[case.pk])).content.decode()
        assert words in bar
        assert ("Take this case" in bar) is (who is rita)


def test_whoever_has_a_case_in_hand_is_led_to_it(client, bob, open_case):
    second, third = [open_case() for _ in range(3)][1:]
    client.force_login(bob)
    client.post(reverse("review:claim", args=[second.pk]))
    response = client.post(reverse("review:take"))
    assert response.headers["Location"] == second.get_absolute_url()
    assert "You have this case in hand" in client.get(second.get_absolute_url()).content.decode()
    client.post(reverse("review:claim", args=[third.pk]))  # by hand, a second one can be taken
    assert set(ReviewCase.objects.held_by(bob)) == {second, third}


def test_the_bar_alone_for_live_refresh(client, bob, case):
    client.force_login(bob)
    bar = client.get(reverse("review:claim_bar", args=[case.pk])).content.decode()
    assert "<html" not in bar
    assert "Take this case" in bar


def test_an_escalated_case_says_that_it_waits(client, bob, administrator, case):
    services.decide(case=case, actor=bob, opinion=opinion("escalate"))
    for who, words in (
        (bob, "A colleague or an administrator will end this case."),
        (administrator, "nobody has it yet"),
    ):
        client.force_login(who)
        bar = client.get(reverse("review:claim_bar", args=[case.pk])).text
        assert words in bar
        assert ("Take this case" in bar) is (who is administrator)


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
    # of the case: thresholds, appeals, marks, opinions, notes, trail; whom a note can call: roles, members
    with django_assert_num_queries(18):
        client.get(case.get_absolute_url())


POSTS = ["claim", "release", "decide", "note", "annotate", "thresholds", "harsh"]


@pytest.mark.parametrize("name", POSTS)
def test_access_to_actions(client, charlie, vera, alice, case, name, other_organization):
    url = reverse(f"review:{name}", args=[case.pk])
    assert client.post(url).headers["Location"].startswith(reverse("account_login"))
    client.force_login(charlie)  # an analyst elsewhere: what the role lacks is told first, and says nothing of the case
    assert client.post(url).status_code == (404 if name in ("note", "harsh") else 403)
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
    client.force_login(alice)  # who judges no cases, but may be called to them
    assert '<span class="mention-number">1</span>' in client.get("/review/").text
    client.force_login(rita)
    assert 'Mentioned you <span class="count">1</span>' in client.get("/review/").content.decode()
    listed = client.get("/review/mentions/").content.decode()
    assert "speech.mp4" in listed
    assert "Look at the lips" in listed
    assert Mention.objects.unseen_by(rita).count() == 0
    assert 'class="count">1' not in client.get("/review/mentions/").content.decode()


def test_only_members_are_set_apart_and_a_note_comes_back_alone(client, alice, bob, case):
    client.force_login(alice)
    url = reverse("review:note", args=[case.pk])
    sent = {"text": "@bob. and @nobody <b>"}
    part = client.post(url, sent, headers=IN_PLACE).text
    assert "<html" not in part
    assert "<strong>@bob.</strong> and @nobody &lt;b&gt;" in part
    part = client.post(url, {"text": " "}, headers=IN_PLACE).text
    assert "Write something first." in part
    part = client.post(url, {"text": "a" * 5001}, headers=IN_PLACE).text
    assert 'role="alert"' in part
    assert "a" * 5001 in part  # what was refused is there to be mended
    assert Note.objects.count() == 1
    assert '{"name": "bob", "full": ""}' in page_of(client, case)


def test_mentions_cost_no_query_each(client, bob, rita, open_case, django_assert_max_num_queries):
    for _ in range(4):
        case = open_case(opinions_wanted=2)
        services.decide(case=case, actor=bob, opinion=opinion())
        marks.add_note(case=case, actor=bob, text="@rita what do you see?")
    client.force_login(rita)
    with django_assert_max_num_queries(9):
        page = client.get("/review/mentions/").text
    assert "what do you see?" not in page  # until she has given an opinion of her own


def test_harsh_material_is_covered_wherever_it_is_shown(client, bob, rita, case, open_case):
    case.job.media.thumbnail_name = "thumbnail"
    case.job.media.save()
    client.force_login(rita)
    addresses = ("/", case.job.get_absolute_url())
    assert not any("is-covered" in client.get(url).text or "is-blurred" in client.get(url).text for url in addresses)
    marks.mark_harsh(case=case, actor=bob, is_harsh=True)
    row, page = (client.get(url).text for url in addresses)
    assert 'class="thumb is-covered"' in row
    assert "marked as harsh" in row
    assert "coverable is-blurred is-greyed" in page
    assert "playsinline muted" in page
    assert 'id="veil-blur" checked' in page  # and can be uncovered
    again = factories.make_job(media=case.job.media, organization=case.organization)
    assert services.open_case(job=again, grounds=[rules.Ground(Reason.AUDIT, Priority.LOW, "Drawn.")]).is_harsh
    marks.mark_harsh(case=case, actor=rita, is_harsh=False)
    assert not ReviewCase.objects.filter(is_harsh=True).exists()
    assert "is-covered" not in client.get("/").text


def test_nothing_is_marked_once_a_case_is_decided(bob, rita, case):
    seen = ReviewCase.objects.get(pk=case.pk)
    mark = marks.annotate(case=case, actor=rita, text="A seam", start_s=1)
    services.claim(case=case, actor=bob)
    services.decide(case=case, actor=bob, opinion=opinion())
    acts = (
        lambda: marks.annotate(case=seen, actor=rita, text="Too late", start_s=1),
        lambda: marks.set_thresholds(case=seen, actor=rita, fake_at=0.9, real_below=0.1, reason="Too late"),
        lambda: marks.withdraw_thresholds(case=seen, actor=rita),
        lambda: marks.remove_annotation(annotation=Annotation.objects.select_related("case").get(), actor=rita),
    )
    for act in acts:
        with pytest.raises(DomainError, match="has been decided"):
            act()
    assert list(Annotation.objects.all()) == [mark]


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


def test_a_place_is_marked_and_removed_in_place(client, bob, case):
    client.force_login(bob)
    url = reverse("review:annotate", args=[case.pk])
    kept = client.post(url, {"text": "A seam at the jaw", "start_s": "1"}, headers=IN_PLACE)
    mark = Annotation.objects.get()
    part = kept.content.decode()
    assert (kept.status_code, "<html" in part, "A seam at the jaw" in part) == (200, False, True)
    assert f'data-place="{mark.pk}"' in part
    assert 'id="trail"' in part
    assert "Place marked" in part  # the trail beside it tells of it at once
    refused = client.post(url, {"text": "Later", "start_s": "9"}, headers=IN_PLACE).content.decode()
    assert 'role="alert"' in refused
    assert "The item is 4.0 s long." in refused
    removed = client.post(reverse("review:remove_annotation", args=[case.pk, mark.pk]), headers=IN_PLACE)
    assert "Nobody has pointed at anything yet." in removed.content.decode()
    assert not Annotation.objects.exists()


def test_a_part_of_a_page_keeps_the_first_opinion_secret(client, bob, rita, case):
    marks.annotate(case=case, actor=bob, text="Seen by the first alone", start_s=1)
    services.claim(case=case, actor=bob)
    services.decide(case=case, actor=bob, opinion=opinion("confirm", asks_second=True))
    client.force_login(rita)
    url = reverse("review:annotate", args=[case.pk])
    part = client.post(url, {"text": "Seen by the second", "start_s": "2"}, headers=IN_PLACE).content.decode()
    assert "Seen by the second" in part
    assert "Seen by the first alone" not in part


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
    assert marks.label_under(marks.thresholds_for(case, bob), case.job.result) == "fake"
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
    assert "case-main coverable is-blurred is-greyed" in page
    assert "<video controls playsinline muted" in page
    sent = {"veil": "harsh", "blurs": "on", "mutes": "on"}
    client.post("/review/preferences/", sent)
    page = page_of(client, case)
    assert "is-blurred" not in page
    assert "playsinline muted" not in page
    client.post(reverse("review:harsh", args=[case.pk]), {"is_harsh": "1"})
    page = page_of(client, case)
    assert 'class="case-main coverable is-blurred"' in page  # grey was switched off
    assert "playsinline muted" in page
    url = reverse("review:harsh", args=[case.pk])
    for is_harsh, button, covers in (("0", "Mark as harsh", set()), ("1", "Not harsh after all", {"blur", "mute"})):
        part = client.post(url, {"is_harsh": is_harsh}, headers=IN_PLACE).text
        assert "<html" not in part
        assert button in part
        assert set(re.findall(r'name="veil" value="(\w+)" form="decision-form" checked', part)) == covers
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
    assert "Decided, the machine read: " in listed


def test_only_a_finished_analysis_is_reviewed(client, alice, organization):
    job = factories.make_job(organization=organization)
    client.force_login(alice)
    assert client.post(reverse("review:open", args=[job.pk])).status_code == 409
    assert client.get(reverse("review:for_job", args=[job.pk])).status_code == 404
