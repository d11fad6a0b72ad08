"""Filters of the list: each alone, together, in chips, and what makes no sense."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from accounts.api_keys import create_api_key, revoke_api_key
from detection import search
from detection.models import Job, JobStatus, MediaText, SavedView
from review import services as review
from review.models import ReviewSettings
from review.services import Opinion
from tests import factories

pytestmark = pytest.mark.services

URL = "/"


def names(response) -> set[str]:
    return {job.media.filename for job in response.context["page"].jobs}


@pytest.fixture
def items(organization, alice, bob) -> dict[str, Job]:
    def job(name, *, status=JobStatus.COMPLETED, label="", score=None, person=alice, job_fields=None, **fields):
        fields = {"sha256": name.encode().hex().ljust(64, "0"), "phash": ""} | fields
        media = factories.make_media(organization, filename=name, **fields)
        found = factories.make_job(
            organization=organization, status=status, media=media, created_by=person, **(job_fields or {})
        )
        if label:
            factories.make_result(found, label=label, score=score)
        return found

    found = {
        "fake": job("fake.png", label="fake", score=0.9),
        "real": job("real.png", label="real", score=0.05, person=bob),
        "unclear": job("unclear.mp4", label="inconclusive", score=0.5, kind="video"),
        "failed": job("failed.png", status=JobStatus.FAILED),
        "voice": job("voice.wav", status=JobStatus.QUEUED, kind="audio", person=None),
        "running": job("running.png", status=JobStatus.RUNNING),
        "cancelled": job("cancelled.png", status=JobStatus.CANCELLED),
        "fetched": job(
            "fetched.png", label="fake", score=0.8, source_url="https://www.Example.org:8443/a/fetched.png?x=1"
        ),
    }
    Job.objects.filter(pk=found["failed"].pk).update(created_at=timezone.now() - timedelta(days=3))
    return found


EVERYTHING = {
    "fake.png", "real.png", "unclear.mp4", "failed.png", "voice.wav", "running.png", "cancelled.png", "fetched.png",
}  # fmt: skip


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", EVERYTHING),
        ("label=fake", {"fake.png", "fetched.png"}),
        ("label=real", {"real.png"}),
        ("label=inconclusive", {"unclear.mp4"}),
        ("status=failed", {"failed.png"}),
        ("status=queued", {"voice.wav"}),
        ("status=running", {"running.png"}),
        ("status=cancelled", {"cancelled.png"}),
        ("status=completed", {"fake.png", "real.png", "unclear.mp4", "fetched.png"}),
        ("kind=audio", {"voice.wav"}),
        ("kind=video", {"unclear.mp4"}),
        ("q=REAL", {"real.png"}),
        ("q=ake", {"fake.png"}),
        ("q=example.org", {"fetched.png"}),
        ("q=fetched+png", {"fetched.png"}),
        ("q=png+fe", {"fetched.png"}),
        ("q=" + b"real.png".hex()[:9], {"real.png"}),
        ("q=%22%25_*", set()),
        ("domain=example.org", {"fetched.png"}),
        ("domain=https%3A%2F%2Fwww.example.org%2Fa", {"fetched.png"}),
        ("domain=ample.org", set()),
        ("uploader=api", {"voice.wav"}),
        ("score_from=80", {"fake.png", "fetched.png"}),
        ("score_to=20", {"real.png"}),
        ("score_from=10&score_to=85", {"unclear.mp4", "fetched.png"}),
        ("until=2020-01-01", set()),
        ("since=2020-01-01&label=fake", {"fake.png", "fetched.png"}),
        ("within=1&status=failed", set()),
        ("within=7&status=failed", {"failed.png"}),
        ("review=never&label=real", {"real.png"}),
        ("review=waiting", set()),
        ("label=fake&kind=image&domain=example.org&score_from=70&sort=score_high&q=fetched", {"fetched.png"}),
    ],
)
def test_filters(client, alice, items, query, found):
    client.force_login(alice)
    assert names(client.get(f"{URL}?{query}")) == found
    assert names(client.get(f"/analyses/rows/?{query}")) == found


def test_by_id_of_job_and_item(client, alice, items):
    client.force_login(alice)
    job = items["unclear"]
    for text in (job.public_id, job.public_id[:16], job.media.public_id, str(job.pk), str(job.pk)[:13], job.pk.hex[:8]):
        assert names(client.get(URL, {"q": text})) == {"unclear.mp4"}, text
    assert names(client.get(URL, {"q": job.media.public_id.replace("med_", "job_")})) == set()


def test_by_uploader(client, alice, bob, items):
    client.force_login(alice)
    assert names(client.get(f"{URL}?uploader={bob.pk}")) == {"real.png"}


def test_by_api_key(client, alice, organization, items):
    scanner, _ = create_api_key(organization=organization, name="Scanner", scopes=["detect:write"])
    trial, _ = create_api_key(organization=organization, name="Trial", scopes=["detect:write"], is_sandbox=True)
    Job.objects.filter(pk=items["voice"].pk).update(api_key=scanner)
    Job.objects.filter(pk=items["running"].pk).update(api_key=trial, is_sandbox=True)
    client.force_login(alice)
    response = client.get(f"{URL}?key={scanner.pk}&kind=audio")
    assert names(response) == {"voice.wav"}
    chips = {chip.text: chip.query for chip in response.context["filters"].chips()}
    assert chips[f"API key Scanner ({scanner.prefix}…)"] == "kind=audio"
    assert names(client.get(f"{URL}?key={trial.pk}")) == {"running.png"}  # nobody has to ask for its world, too
    revoke_api_key(api_key=scanner, actor=alice)
    assert f"Scanner ({scanner.prefix}…), revoked" in client.get(f"{URL}?key={scanner.pk}").content.decode()
    client.post(reverse("detection:save_view"), {"name": "The scanner", "query": f"key={scanner.pk}"})
    (view,) = SavedView.objects.all()
    assert view.query == f"key={scanner.pk}"


def test_keys_of_others_are_no_choice(client, alice, other_organization, items):
    foreign, _ = create_api_key(organization=other_organization, name="Elsewhere", scopes=["detect:write"])
    client.force_login(alice)
    response = client.get(f"{URL}?key={foreign.pk}")
    assert names(response) == EVERYTHING
    assert "Elsewhere" not in response.content.decode()
    assert response.context["filters"].chips() == []


def test_by_reviewer_and_what_became_of_it(client, alice, bob, items):
    """Written by the review room: who holds a case, who decided it, and the label that stands in the end."""
    ReviewSettings.objects.create(organization=alice.organization, audit_rate=0, second_opinion_rate=0)
    for name in ("fake", "real", "unclear"):
        review.send_to_review(job=items[name], actor=alice)
    for name, opinion in (
        ("fake", Opinion("override", label="real", reasons=("original_found",))),
        ("real", Opinion("confirm")),
    ):
        case = items[name].review_cases.get()
        review.claim(case=case, actor=bob)
        case.refresh_from_db()
        review.decide(case=case, actor=bob, opinion=opinion)
    client.force_login(alice)

    def found(query):
        return names(client.get(f"{URL}?{query}"))

    assert found(f"reviewer={bob.pk}") == {"fake.png", "real.png"}
    review.claim(case=items["unclear"].review_cases.get(), actor=bob)
    assert found(f"reviewer={bob.pk}") == {"fake.png", "real.png", "unclear.mp4"}
    assert found("review=waiting") == {"unclear.mp4"}
    assert found("review=decided") == {"fake.png", "real.png"}
    assert found("review=overridden") == {"fake.png"}
    assert found("review=confirmed") == {"real.png"}
    assert found("label=real") == {"fake.png", "real.png"}
    assert found("label=fake") == {"fetched.png"}
    review.undo(decision=items["fake"].review_cases.get().decisions.get(), actor=bob)
    assert found("label=fake") == {"fake.png", "fetched.png"}
    assert found(f"reviewer={bob.pk}") == {"fake.png", "real.png", "unclear.mp4"}  # undone, and his again
    for name in ("unclear", "fake"):
        review.release(case=items[name].review_cases.get(), actor=bob)
    assert found(f"reviewer={bob.pk}") == {"real.png"}


def test_people_of_others_are_no_choice(client, alice, charlie, items):
    client.force_login(alice)
    response = client.get(f"{URL}?uploader={charlie.pk}&reviewer={charlie.pk}")
    assert names(response) == EVERYTHING
    assert "charlie" not in response.content.decode()


def test_filters_that_make_no_sense_are_told_and_left_out(client, alice, items):
    client.force_login(alice)
    response = client.get(f"{URL}?score_from=90&score_to=10&label=nonsense&since=yesterday&same_as=x&sort=sideways")
    page = response.content.decode()
    assert "The second score must not be lower than the first." in page
    assert "Enter a valid date." in page
    assert [chip.text for chip in response.context["filters"].chips()] == ["Score from 90\N{NO-BREAK SPACE}%"]


def test_a_search_that_is_too_short_says_so(client, alice, items):
    client.force_login(alice)
    response = client.get(f"{URL}?q=fa")
    assert names(response) == set()
    assert "Type at least three characters" in response.content.decode()


def test_a_search_that_finds_too_much_says_so(client, alice, items, monkeypatch):
    monkeypatch.setattr(search, "MOST", 2)
    client.force_login(alice)
    response = client.get(f"{URL}?q=png")
    assert names(response) == {"cancelled.png", "fetched.png"}
    assert "add a word to find older ones" in response.content.decode()


def test_the_text_index_follows_the_rows(client, alice, items):
    client.force_login(alice)
    MediaText.objects.filter(media=items["fake"].media).update(text="something else")
    assert names(client.get(f"{URL}?q=fake")) == set()
    assert names(client.get(f"{URL}?q=something")) == {"fake.png"}
    items["fake"].media.delete()
    assert names(client.get(f"{URL}?q=something")) == set()


def test_chips_take_one_filter_off_and_keep_the_rest(client, alice, items):
    client.force_login(alice)
    response = client.get(f"{URL}?label=fake&kind=image&sort=score_high&after=1_x")
    chips = {chip.text: chip.query for chip in response.context["filters"].chips()}
    assert chips == {"Fake": "kind=image&sort=score_high", "Image": "label=fake&sort=score_high"}
    page = response.content.decode()
    assert 'href="/?kind=image&amp;sort=score_high" data-chip' in page
    assert "Clear all" in page


def test_dates_are_read_in_the_readers_zone(client, alice, organization):
    job = factories.make_job(organization=organization)
    Job.objects.filter(pk=job.pk).update(created_at="2026-03-01T23:30:00Z")
    client.force_login(alice)
    client.cookies["timezone"] = "Asia/Tokyo"
    response = client.get(f"{URL}?since=2026-03-02&until=2026-03-02")
    assert len(names(response)) == 1
    assert "2 Mar 2026, 08:30 JST" in response.content.decode()
    client.cookies["timezone"] = "../../etc/passwd"
    assert "1 Mar 2026, 23:30 UTC" in client.get(URL).content.decode()
    assert names(client.get(f"{URL}?since=2026-03-02")) == set()
