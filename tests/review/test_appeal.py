"""Appeals: the link, what the public page tells and keeps to itself, the answer under the same link."""

from __future__ import annotations

from datetime import timedelta
from smtplib import SMTPServerDisconnected

import pytest
from django.core import mail
from django.urls import reverse
from django.utils import timezone
from django_q.models import OrmQ

from accounts.models import AuditLog
from deepfake import mails
from deepfake.errors import TryLater
from detection.models import Job
from reports import reviewed
from review import appeals, jobs, limits, services
from review.models import Appeal, AppealLink, Priority, ReviewCase
from tests import factories
from tests.pages.finished import make_finished
from tests.review.conftest import opinion

pytestmark = [pytest.mark.services, pytest.mark.django_db]


@pytest.fixture
def finished(organization, alice, review_settings):
    return make_finished(organization, alice)


@pytest.fixture
def link(finished, alice):
    return appeals.make_link(job=finished, actor=alice, days=30)


def object_(client, link, text="I filmed this myself.", email=""):
    return client.post(appeals.path(link), {"text": text, "email": email})


def test_an_analyst_makes_a_link(client, alice, vera, charlie, finished, settings):
    url = reverse("review:make_appeal_link", args=[finished.pk])
    assert client.post(url).status_code == 302
    assert not AppealLink.objects.exists()
    client.force_login(charlie)
    assert client.post(url).status_code == 404
    client.force_login(vera)
    assert client.post(url).status_code == 403
    client.force_login(alice)
    assert client.get(url).status_code == 405
    page = client.post(url, follow=True).content.decode()
    link = AppealLink.objects.get()
    assert f"{settings.PUBLIC_URL}{appeals.path(link)}" in page
    assert round((link.expires_at - link.created_at) / timedelta(days=1)) == 30
    assert AuditLog.objects.filter(action="review.appeal_link_made", actor=alice).count() == 1


def test_there_is_no_link_without_a_verdict(alice, organization):
    with pytest.raises(services.DomainError, match="no verdict yet"):
        appeals.make_link(job=factories.make_job(organization=organization), actor=alice, days=3)


def test_the_page_is_open_to_whoever_has_the_link(client, link):
    response = client.get(appeals.path(link))
    assert response.status_code == 200
    assert "no-store" in response.headers["Cache-Control"]
    assert response.headers["X-Robots-Tag"] == "noindex, nofollow"
    page = response.content.decode()
    assert "A video that may show you was checked for Example Newsroom" in page
    assert "The check found signs that it was manipulated." in page


def test_the_page_tells_nothing_of_others(client, bob, link):
    object_(client, link)
    services.decide(case=ReviewCase.objects.get(), actor=bob, opinion=opinion(answer="It is real."))
    page = client.get(appeals.path(link)).content.decode()
    for secret in ("speech.mp4", "alice", "bob", "ExampleCam", "<video", "/media/", "/review/", "The face region"):
        assert secret not in page


@pytest.mark.parametrize("spoil", [lambda t: t[:-1], lambda t: "0" * 32 + t[32:], lambda t: "x", lambda t: t + "é"])
def test_a_forged_link_opens_nothing(client, link, spoil):
    response = client.get(reverse("review:appeal", args=[spoil(appeals.token(link))]))
    assert response.status_code == 404
    assert "not valid any more" in response.content.decode()


def test_a_link_runs_out_and_is_revoked(client, alice, link):
    AppealLink.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert client.get(appeals.path(link)).status_code == 404
    assert object_(client, link).status_code == 404
    AppealLink.objects.update(expires_at=timezone.now() + timedelta(days=1))
    assert client.get(appeals.path(link)).status_code == 200
    client.force_login(alice)
    client.post(reverse("review:revoke_appeal_link", args=[link.job_id, link.pk]))
    assert client.get(appeals.path(link)).status_code == 404
    assert not Appeal.objects.exists()


def test_wrong_method(client, link):
    assert client.put(appeals.path(link)).status_code == 405


def test_an_appeal_comes_first_in_the_queue(client, link, finished):
    response = object_(client, link)
    assert response.headers["Location"] == appeals.path(link)
    case = ReviewCase.objects.get()
    assert (case.job_id, case.reason, case.priority) == (finished.pk, "appeal", Priority.URGENT)
    assert (case.due_at - case.opened_at) == timedelta(hours=4)
    assert "Your appeal has arrived" in client.get(appeals.path(link)).content.decode()


def test_an_appeal_raises_the_case_that_is_open(client, open_case, alice):
    case = open_case()
    object_(client, appeals.make_link(job=case.job, actor=alice, days=1))
    case.refresh_from_db()
    assert (case.reason, case.priority) == ("appeal", Priority.URGENT)
    assert ReviewCase.objects.count() == 1


def test_one_open_appeal_per_analysis(client, alice, link):
    object_(client, link)
    again = object_(client, link)
    assert again.status_code == 409
    other = appeals.make_link(job=link.job, actor=alice, days=1)
    assert "Somebody has appealed against this result already." in client.get(appeals.path(other)).content.decode()
    assert object_(client, other).status_code == 409
    assert Appeal.objects.count() == 1


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        ({"text": " "}, "Write what is wrong"),
        ({"text": "x", "email": "nobody"}, "Enter a valid email address."),
        ({"text": "x" * 4001}, "at most 4000"),
    ],
)
def test_incomplete_appeals(client, link, sent, sentence):
    response = object_(client, link, **sent)
    assert response.status_code == 400
    assert sentence in response.content.decode()
    assert not Appeal.objects.exists()


def test_tries_are_limited(client, link, monkeypatch):
    monkeypatch.setattr(limits, "APPEALS_PER_HOUR", 2)
    statuses = [object_(client, link).status_code for _ in range(4)]
    assert statuses[:2] == [302, 409]
    assert statuses[2:] == [429, 429]
    response = object_(client, link)
    assert 0 < int(response.headers["Retry-After"]) <= 3600
    monkeypatch.setattr(limits, "VIEWS_PER_HOUR", 1)
    assert [client.get(appeals.path(link)).status_code for _ in range(2)] == [200, 429]


def test_what_they_write_is_never_markup(client, bob, link):
    object_(client, link, text="<script>alert(1)</script>")
    assert "<script>alert" not in client.get(appeals.path(link)).content.decode()
    client.force_login(bob)
    page = client.get(ReviewCase.objects.get().get_absolute_url()).content.decode()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


# The answer -----------------------------------------------------------------------------------------------------------


def test_an_appeal_wants_an_answer(client, bob, link):
    object_(client, link)
    with pytest.raises(services.DomainError, match="Somebody appealed"):
        services.decide(case=ReviewCase.objects.get(), actor=bob, opinion=opinion())
    batch = services.decide_many(cases=ReviewCase.objects.all(), actor=bob, opinion=opinion())
    assert [sentence for _, sentence in batch.refused] == [
        "Somebody appealed: write the answer that they will read."
    ]  # fmt: skip
    services.claim(case=ReviewCase.objects.get(), actor=bob)
    client.force_login(bob)
    assert (
        "Answer to the person who appealed" in client.get(ReviewCase.objects.get().get_absolute_url()).content.decode()
    )


def test_all_that_a_decision_lacks_is_told_at_once_each_beside_its_field(client, bob, link):
    object_(client, link)
    case = ReviewCase.objects.get()
    with pytest.raises(services.DomainError) as refused:
        services.decide(case=case, actor=bob, opinion=services.Opinion("override", label="real"))
    assert (refused.value.code, list(refused.value.fields)) == ("reason_required", ["reasons", "answer"])
    client.force_login(bob)
    page = client.post(f"{case.get_absolute_url()}decide/", {"outcome": "override_real", "reasons": "other"})
    assert page.status_code == 400
    form = page.content.decode().partition('id="decision-form"')[2].partition("</form>")[0]
    note, answer = (
        form.partition(f'<label for="decision-{name}">')[2].partition("<textarea")[0] for name in ("note", "answer")
    )
    assert "Say in the note what the other reason is." in note
    assert "Somebody appealed: write the answer that they will read." in answer
    assert form.count(" autofocus>") == 1
    assert " autofocus>" in note


def test_the_answer_is_under_the_same_link(client, bob, link):
    object_(client, link)
    services.decide(
        case=ReviewCase.objects.get(), actor=bob, opinion=opinion("override", answer="The original was found.")
    )
    page = client.get(appeals.path(link)).content.decode()
    assert "find no sign that this item was manipulated" in page
    assert "The original was found." in page
    assert "Send the appeal" in page  # they may object again
    assert AuditLog.objects.filter(action="review.appeal_answered", actor=bob).count() == 1


def test_no_answer_before_the_second_opinion_agrees(client, bob, rita, link):
    object_(client, link)
    ReviewCase.objects.update(opinions_wanted=2)
    services.decide(case=ReviewCase.objects.get(), actor=bob, opinion=opinion(answer="First words."))
    assert Appeal.objects.unanswered().count() == 1
    services.decide(case=ReviewCase.objects.get(), actor=rita, opinion=opinion(answer="Last words."))
    assert Appeal.objects.get().answer == "Last words."


def test_undo_takes_the_answer_back(client, bob, link):
    object_(client, link, email="subject@example.org")
    decision = services.decide(case=ReviewCase.objects.get(), actor=bob, opinion=opinion(answer="Sorry."))
    services.undo(decision=decision, actor=bob)
    found = Appeal.objects.get()
    assert (found.answered_at, found.answer, found.label) == (None, "", "")
    jobs.tell_appellant(str(found.pk))
    assert mail.outbox == []


def test_who_left_an_address_is_told_once(client, bob, link, settings):
    settings.PUBLIC_URL = "https://detect.example.org"
    object_(client, link, email="subject@example.org")
    waiting = OrmQ.objects.count()
    services.decide(case=ReviewCase.objects.get(), actor=bob, opinion=opinion(answer="Sorry."))
    assert OrmQ.objects.count() == waiting + 1
    jobs.tell_appellant(str(Appeal.objects.get().pk))
    jobs.tell_appellant(str(Appeal.objects.get().pk))
    assert [message.to for message in mail.outbox] == [["subject@example.org"]]
    assert f"https://detect.example.org{appeals.path(link)}" in mail.outbox[0].body
    assert "Sorry." not in mail.outbox[0].body


def test_a_mail_server_that_was_away_costs_nobody_the_news(client, bob, link, monkeypatch):
    def away(*arguments, **options):
        raise SMTPServerDisconnected

    object_(client, link, email="subject@example.org")
    services.decide(case=ReviewCase.objects.get(), actor=bob, opinion=opinion(answer="Sorry."))
    pk = str(Appeal.objects.get().pk)
    with monkeypatch.context() as patched:
        patched.setattr(mails, "send_mail", away)
        with pytest.raises(TryLater):
            jobs.tell_appellant(pk)
    jobs.tell_appellant(pk)
    assert [message.to for message in mail.outbox] == [["subject@example.org"]]


def test_nobody_is_led_to_a_page_that_is_gone(client, bob, link):
    object_(client, link, email="subject@example.org")
    services.decide(case=ReviewCase.objects.get(), actor=bob, opinion=opinion(answer="Sorry."))
    appeals.revoke_link(link=link, actor=bob)
    jobs.tell_appellant(str(Appeal.objects.get().pk))
    assert mail.outbox == []


def test_who_left_none_is_not(client, bob, link):
    object_(client, link)
    waiting = OrmQ.objects.count()
    services.decide(case=ReviewCase.objects.get(), actor=bob, opinion=opinion(answer="Sorry."))
    assert OrmQ.objects.count() == waiting


def test_the_page_says_what_people_decided(client, link, finished):
    Job.objects.filter(pk=finished.pk).update(review_label="real")
    page = client.get(appeals.path(link)).content.decode()
    assert "who find no sign that it was manipulated" in page
    assert "The check found signs" not in page


def test_a_recording_has_a_speaker_and_shows_nobody(client, bob, link):
    link.job.media.kind = "audio"
    link.job.media.save()
    public = client.get(appeals.path(link)).content.decode()
    assert "A recording in which you may be heard was checked for Example Newsroom" in public
    object_(client, link)
    case = ReviewCase.objects.get()
    assert case.grounds == ["The speaker, or somebody for them, objects to the verdict."]
    services.claim(case=case, actor=bob)
    client.force_login(bob)
    page = client.get(case.get_absolute_url()).content.decode()
    assert "The speaker confirms it" in page
    links = client.get(reverse("review:job_appeals", args=[link.job_id])).content.decode()
    assert "Link for the speaker" in links
    given = opinion("override", reasons=("confirmed_by_subject",), answer="It is yours.")
    services.decide(case=ReviewCase.objects.get(), actor=bob, opinion=given)
    job = Job.objects.get(pk=link.job_id)
    [said] = reviewed.review_of(job)["opinions"]
    assert said["reasons"] == [{"code": "confirmed_by_subject", "words": "The speaker confirms it"}]
    decided = client.get(case.get_absolute_url()).content.decode()
    for text in (page, links, decided):
        assert "erson shown" not in text
