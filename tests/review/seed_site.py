"""What the served site of the review browser tests holds: reviewers, cases that wait, and a week of decisions."""

from __future__ import annotations

import json
import sys
from datetime import timedelta

from django.utils import timezone

from accounts.models import Organization, Role, User
from detection.models import Job
from review import appeals, marks, planting, rules, services
from review.models import Decision, Priority, Reason, ReviewCase, ReviewSettings
from review.services import Opinion
from tests import factories
from tests.pages.finished import make_finished
from tests.pages.seed_site import _replace_content, clip_bytes

UNCERTAIN = rules.Ground(Reason.UNCERTAIN, Priority.NORMAL, "The analysis reached no verdict.")
CONTRADICTION = rules.Ground(
    Reason.DISAGREEMENT, Priority.HIGH, "Checks contradict each other: spatial at 95 %, synthesis at 8 %."
)
KINDS = {"fake": 0.93, "real": 0.08, "inconclusive": 0.52}


def seed() -> None:
    """Write the rows and print ids and addresses as JSON."""
    organization = Organization.objects.create(name="Example Newsroom", slug="example")
    alice = factories.make_user(organization, "alice", Role.ANALYST)
    bob, rita = (factories.make_user(organization, name, Role.REVIEWER) for name in ("bob", "rita"))
    ada = factories.make_user(organization, "ada", Role.ADMIN)
    ReviewSettings.objects.create(organization=organization, audit_rate=0, second_opinion_rate=0)
    _decided(organization, alice, bob, rita, ada)
    waiting = _waiting(organization, alice)
    marks.annotate(case=waiting["clip"], actor=rita, text="Seam along the jaw", start_s=1, end_s=3, box=(8, 8, 20, 24))
    marks.add_note(case=waiting["clip"], actor=rita, text="@bob have you seen this one before?")
    link = appeals.make_link(job=waiting["appealed"].job, actor=alice, days=30)
    appeals.appeal(link=link, text="I recorded this myself on 3 November, in my kitchen. The original is on my phone.")
    answered = Decision.objects.filter(outcome="override").first()
    made = {name: str(case.id) for name, case in waiting.items()}
    json.dump({**made, "appeal": appeals.path(link), "job": str(waiting["clip"].job_id),
               "decided": str(answered.case_id if answered else "")}, sys.stdout)  # fmt: skip


def _waiting(organization: Organization, alice: User) -> dict[str, ReviewCase]:
    found = {}
    for name, kind, label, ground in (
        ("clip", "video", "fake", CONTRADICTION),
        ("picture", "image", "inconclusive", UNCERTAIN),
        ("voice", "audio", "inconclusive", UNCERTAIN),
        ("appealed", "image", "fake", UNCERTAIN),
        ("spare", "image", "real", rules.audit_ground()),
        ("race", "image", "inconclusive", UNCERTAIN),
        ("last", "video", "real", rules.audit_ground()),
    ):
        ending = {"video": "mp4", "image": "png", "audio": "wav"}[kind]
        job = _job(organization, alice, f"{name}-interview-statement.{ending}", kind, label)
        if kind == "video":
            _replace_content(job, clip_bytes())
        found[name] = services.open_case(job=job, grounds=[ground])
    ReviewCase.objects.filter(pk=found["voice"].pk).update(due_at=timezone.now() - timedelta(hours=2))
    return found


def _job(organization: Organization, alice: User, filename: str, kind: str, label: str) -> Job:
    job = make_finished(organization, alice, kind=kind, label=label, score=KINDS[label])
    job.media.filename = filename
    job.media.save()
    return job


def _decided(organization: Organization, alice: User, bob: User, rita: User, ada: User) -> None:
    """Two weeks in which two people judged the same items and did not always agree."""
    override = Opinion("override", label="real", reasons=("compression",), helpfulness=2)
    confirm = Opinion("confirm", helpfulness=4)
    for number in range(14):
        job = _job(organization, alice, f"earlier-{number}.png", "image", "fake")
        if number % 5 == 0:
            planting.plant(job=job, actor=ada, truth="fake")
        case = services.open_case(job=job, grounds=[UNCERTAIN])
        ReviewCase.objects.filter(pk=case.pk).update(opinions_wanted=2)
        first = override if number % 4 == 0 else confirm
        second = override if number % 4 == 0 or number == 5 else confirm
        for user, opinion in ((bob, first), (rita, second), (ada, confirm)):
            case = ReviewCase.objects.get(pk=case.pk)
            if not case.is_closed:
                services.claim(case=case, actor=user)
                services.decide(case=ReviewCase.objects.get(pk=case.pk), actor=user, opinion=opinion)
        Decision.objects.filter(case=case).update(
            created_at=timezone.now() - timedelta(days=number // 2, hours=1), seconds=20 + 7 * number
        )
