"""A week of work in the demo organisation: when things arrived, and what its members then did with them.

Analyses and decisions go through the same services as everybody's; only their dates are moved into the week
afterwards. The audit log keeps the true times, because what it chains is the clock of the server that writes the row:
a row with another time would be a lie that the chain then vouches for. So each move is a row of its own, which says to
what moment the thing was dated.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.files.base import ContentFile
from django.db.models import F, Max, Model
from django.utils import timezone

from accounts import audit
from accounts.models import Organization, Role, User
from accounts.services import create_user
from deepfake.demo_media import Variant
from detection import saved, services, threshold_services
from detection.models import (
    InferenceResult,
    Job,
    JobStatus,
    Label,
    Media,
    SavedView,
    ThresholdProfile,
    ThresholdProposal,
)
from detection.threshold_models import ProposalState
from review import appeals, marks, planting
from review import services as review_services
from review.models import Appeal, Decision, KnownItem, Note, ReviewCase
from review.services import Opinion

# How much arrives in which hour of a working day, and on which day of the week.
HOURS = {8: 3, 9: 7, 10: 10, 11: 9, 12: 4, 13: 6, 14: 9, 15: 9, 16: 7, 17: 4, 18: 2, 20: 1, 22: 1}
WEEKDAYS = (1.0, 1.1, 1.0, 0.9, 1.2, 0.25, 0.15)
HOSTS = ("media.example.org", "media.example.org", "social.example.net", "press.example.com")
SECOND_REVIEWER = "reviewer-2"
NOTES = {
    "image": (
        "Compared with the version from the archive.",
        "The background is sharp, the face is not. @analyst do we know who sent it?",
        "Light and shadow fit; nothing that speaks against it.",
        "Re-saved several times by the look of it.",
    ),
    "video": (
        "Compared with the version from the archive.",
        "The background is sharp, the face is not. @analyst do we know who sent it?",
        "Sound and picture fit; nothing that speaks against it.",
        "Re-saved several times by the look of it.",
    ),
    "audio": (
        "Compared with an earlier interview of the same speaker.",
        "No breath between the sentences. @analyst do we know who sent it?",
        "Room and voice fit; nothing that speaks against it.",
        "Sent on several times by the sound of it.",
    ),
}
APPEALS = {
    "image": "I took this picture myself. The original is still on my camera.",
    "video": "I filmed this clip myself. The original is still on my telephone.",
    "audio": "This is my own voice. I recorded it myself, and the original is still on my telephone.",
}


def moments(count: int, days: int, now: datetime, rng: random.Random) -> list[datetime]:
    """`count` moments within the last `days` days up to `now`, in the rhythm of working hours, in order."""
    today = timezone.localtime(now).replace(minute=0, second=0, microsecond=0)
    places, weights = [], []
    for back in range(days):
        for hour, weight in HOURS.items():
            start = today.replace(hour=hour) - timedelta(days=back)
            if start + timedelta(hours=1) < now:
                places.append(start)
                weights.append(weight * WEEKDAYS[start.weekday()])
    places = places or [now - timedelta(hours=2)]
    drawn = rng.choices(places, weights or [1.0], k=count)
    return sorted(start + timedelta(seconds=rng.randrange(3600)) for start in drawn)


@dataclass
class Cast:
    analyst: User
    reviewer: User
    second: User
    admin: User


def cast_of(organization: Organization) -> Cast:
    """The demo members by role; a second reviewer is made, whose password nobody knows until it is reset."""
    members = {user.role: user for user in organization.users.order_by("-id")}
    second = organization.users.filter(username=SECOND_REVIEWER).first() or create_user(
        organization=organization,
        username=SECOND_REVIEWER,
        password=secrets.token_urlsafe(16),
        role=Role.REVIEWER,
        email=f"{SECOND_REVIEWER}@demo.invalid",
    )
    reviewer = organization.users.filter(role=Role.REVIEWER).exclude(pk=second.pk).order_by("id").first()
    return Cast(members[Role.ANALYST], reviewer or second, second, members[Role.ADMIN])


# Analyses -------------------------------------------------------------------------------------------------------------


def submit(organization: Organization, cast: Cast, variant: Variant, rng: random.Random) -> Job:
    """Put a file in as a member would; one that is there already keeps its job."""
    known = Job.objects.filter(organization=organization, media__filename=variant.name).first()
    if known is not None:
        return known
    sender = rng.choices([cast.analyst, cast.reviewer, cast.second, cast.admin], [8, 3, 2, 1])[0]
    file = ContentFile(variant.make())
    job = services.submit_and_start(organization=organization, actor=sender, file=file, filename=variant.name)
    if rng.random() < 0.35:
        url = f"https://{rng.choice(HOSTS)}/{variant.name}"
        Media.objects.filter(pk=job.media_id).update(source_url=url)
    return job


def move(job: Job, moment: datetime) -> None:
    """Date a finished analysis, and the case that it opened, as if it had arrived at `moment`."""
    by = moment - job.created_at
    Job.objects.filter(pk=job.pk).update(
        **{name: F(name) + by for name in ("created_at", "started_at", "finished_at") if getattr(job, name)}
    )
    Media.objects.filter(pk=job.media_id).update(created_at=moment)
    InferenceResult.objects.filter(job=job).update(created_at=F("created_at") + by)
    cases = ReviewCase.objects.filter(job=job, decisions=None)
    cases.update(opened_at=F("opened_at") + by, due_at=F("due_at") + by)
    _say_dated(job.organization, job, moment)


def _say_dated(organization: Organization, target: Model, moment: datetime) -> None:
    audit.record(
        action="demo.dated",
        organization=organization,
        target=target,
        details={"dated": moment.isoformat("T", "minutes")},
    )


# What people did ------------------------------------------------------------------------------------------------------


def work(organization: Organization, cast: Cast, truths: dict[str, str], seed: int) -> dict[str, int]:
    """Decide most cases, appeal one verdict, plant known items, propose thresholds. Doing it twice adds nothing."""
    done = {"known items": _plant(organization, cast, truths)}
    before = Decision.objects.filter(organization=organization).count()
    _decide(organization, cast, truths, seed)
    done["decisions"] = Decision.objects.filter(organization=organization).count() - before
    done["appeals"] = _appeal(organization, cast)
    done["proposals"] = _propose(organization, cast)
    done["views"] = _keep_views(organization, cast)
    return done


def _keep_views(organization: Organization, cast: Cast) -> int:
    if SavedView.objects.filter(organization=organization).exists():
        return 0
    wishes = (
        (cast.admin, "Not settled this week", "label=inconclusive&within=7&sort=uncertain", True),
        (cast.admin, "Waiting for review", "review=waiting", True),
        (cast.analyst, "Voices that may be fake", "kind=audio&score_from=50&sort=score_high", False),
    )
    for member, name, query, is_shared in wishes:
        saved.save_view(member=member, name=name, query=query, is_shared=is_shared)
    return len(wishes)


def _finished(organization: Organization, truths: Iterable[str]) -> list[Job]:
    jobs = Job.objects.filter(organization=organization, status=JobStatus.COMPLETED, media__filename__in=truths)
    return list(jobs.select_related("media", "result", "organization").order_by("created_at"))


def _plant(organization: Organization, cast: Cast, truths: dict[str, str]) -> int:
    if KnownItem.objects.filter(organization=organization).exists():
        return 0
    free = [job for job in _finished(organization, truths) if not job.review_cases.exists()]
    chosen = (free or _finished(organization, truths))[:3]
    for job in chosen:
        planting.plant(job=job, actor=cast.admin, truth=truths[job.media.filename], source="samples/README.md")
        ReviewCase.objects.filter(job=job).update(
            opened_at=job.finished_at, due_at=(job.finished_at or timezone.now()) + timedelta(hours=72)
        )
    return len(chosen)


def _decide(organization: Organization, cast: Cast, truths: dict[str, str], seed: int) -> None:
    """What becomes of a case hangs on its file's name, so that one that was left to wait is left again."""
    # An appeal's case is of today and no part of the week: counted in, it would move the week's end the second time.
    whole = ReviewCase.objects.filter(organization=organization, job__media__filename__in=truths, appeals=None)
    last = whole.aggregate(last=Max("opened_at"))["last"]
    fresh = whole.filter(closed_at=None, decisions=None)
    for case in fresh.select_related("job__media").order_by("opened_at"):
        name = case.job.media.filename
        rng, truth = random.Random(f"{seed}/{name}/review"), truths[name]
        if rng.random() < (0.55 if last - case.opened_at < timedelta(hours=20) else 0.06):
            continue
        first, second = rng.sample([cast.reviewer, cast.second], 2)
        at = case.opened_at + timedelta(minutes=rng.choice([4, 9, 17, 35, 80, 190]))
        opinion = _opinion(case, truth, rng)
        _give(case, first, opinion, at, rng)
        case.refresh_from_db()
        if case.state == "second_opinion":
            _give(case, second, _opinion(case, truth, rng, is_last=True), at + timedelta(minutes=25), rng)
            case.refresh_from_db()
        if case.state == "escalated" and rng.random() < 0.6:
            _give(case, cast.admin, _opinion(case, truth, rng, is_last=True), at + timedelta(hours=2), rng)


def _opinion(case: ReviewCase, truth: str, rng: random.Random, *, is_last: bool = False) -> Opinion:
    """What a careful person says, most often rightly."""
    machine = InferenceResult.objects.only("label").get(job=case.job_id).label
    note = rng.choice(NOTES[case.job.media.kind]) if rng.random() < 0.35 else ""
    helpfulness = rng.choice([None, 2, 3, 4, 4, 5])
    chance = rng.random()
    if chance < 0.06 and not is_last:
        return Opinion("escalate", note="Needs somebody who knows the source.")
    if chance < 0.25:
        return Opinion("cannot_tell", note=note, helpfulness=helpfulness)
    asks_second = not is_last and rng.random() < 0.12
    if machine == truth:
        return Opinion("confirm", note=note, helpfulness=helpfulness, asks_second=asks_second)
    reason = "original_found" if truth == Label.REAL else "visible_traces"
    return Opinion(
        "override", label=truth, reasons=(reason,), note=note, helpfulness=helpfulness, asks_second=asks_second
    )


def _give(case: ReviewCase, actor: User, opinion: Opinion, at: datetime, rng: random.Random) -> None:
    at = min(at, timezone.now() - timedelta(minutes=12))
    review_services.claim(case=case, actor=actor)
    decision = review_services.decide(case=ReviewCase.objects.get(pk=case.pk), actor=actor, opinion=opinion)
    seconds = round(rng.lognormvariate(4.4, 0.6), 1)
    Decision.objects.filter(pk=decision.pk).update(created_at=at, seconds=seconds)
    Note.objects.filter(decision=decision).update(created_at=at)
    if ReviewCase.objects.filter(pk=case.pk, closed_at__isnull=False).update(closed_at=at):
        Job.objects.filter(pk=case.job_id).update(reviewed_at=at)
    _say_dated(case.organization, case, at)


def _appeal(organization: Organization, cast: Cast) -> int:
    if Appeal.objects.filter(job__organization=organization).exists():
        return 0
    decided = Job.objects.filter(organization=organization, status=JobStatus.COMPLETED).exclude(review_label="")
    job = decided.filter(review_label=Label.FAKE).order_by("-created_at").first() or decided.first()
    if job is None:
        return 0
    link = appeals.make_link(job=job, actor=cast.analyst, days=30)
    made = appeals.appeal(link=link, text=APPEALS[job.media.kind])
    marks.add_note(case=made.case, actor=cast.analyst, text="@reviewer the sender objects; see the appeal.")
    return 1


def _propose(organization: Organization, cast: Cast) -> int:
    if ThresholdProposal.objects.filter(organization=organization).exists():
        return 0
    shipped = ThresholdProfile.objects.get(organization=None, name="default_image")
    limits = {"fake_at": shipped.fake_at, "real_below": shipped.real_below}
    blank = {"kind": "image", "platform": "", "host": "", "codec": ""}
    wishes: Sequence[tuple[str, dict[str, Any], str, Callable[[ThresholdProposal], Any] | None]] = (
        (
            "agency_pictures",
            {**blank, "host": "media.example.org", "fake_at": min(limits["fake_at"] + 0.05, 1.0),
             "real_below": limits["real_below"]},
            "Pictures of this agency are re-encoded twice; one more false alarm there costs us a day.",
            lambda made: threshold_services.approve(proposal=made, actor=cast.admin, answer="Agreed for this host."),
        ),
        (
            "social_clips",
            {**blank, "kind": "video", "host": "social.example.net", "fake_at": 0.5, "real_below": 0.3},
            "Clips from there are nearly always inconclusive.",
            lambda made: threshold_services.reject(
                proposal=made, actor=cast.admin, answer="Lower thresholds do not make thin evidence any thicker."
            ),
        ),
        (
            "default_image",
            {**blank, "fake_at": limits["fake_at"],
             "real_below": round(0.8 * limits["real_below"], 3)},
            "Before the election we would rather leave a picture open than clear a wrong one: real from further below.",
            None,
        ),
    )  # fmt: skip
    for days_ago, (name, after, why, decide) in zip((5, 3, 1), wishes, strict=True):
        made = threshold_services.propose(
            organization=organization, actor=cast.reviewer, action="create", name=name, after=after, why=why
        )
        if decide is not None:
            decide(made)
        at = timezone.now() - timedelta(days=days_ago)
        rows = ThresholdProposal.objects.filter(pk=made.pk)
        rows.update(created_at=at)
        rows.exclude(state=ProposalState.OPEN).update(decided_at=at + timedelta(hours=3))
        _say_dated(organization, made, at)
    return len(wishes)
