"""`manage.py seed_analyses --rows 200000`: a throw-away organisation with that many analyses, to measure lists with."""

from __future__ import annotations

import random
import uuid
from argparse import ArgumentParser
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from accounts.api_keys import create_api_key
from accounts.models import ApiKey, Organization, Role, User
from detection.models import (
    InferenceResult,
    Job,
    JobStatus,
    Label,
    Media,
    MediaKind,
    MediaText,
    ModelVersion,
    ReviewOutcome,
    ReviewState,
)

BLOCK = 1000
SLUG = "measuring"
HOSTS = [f"site{number}.example.org" for number in range(40)]
WORDS = ("interview", "press", "statement", "holiday", "call", "portrait", "street", "evening", "budget", "voice")
ENDINGS = {MediaKind.IMAGE: "jpg", MediaKind.VIDEO: "mp4", MediaKind.AUDIO: "wav"}


class Command(BaseCommand):
    help = "Fill a throw-away organisation with analyses that nothing stands behind, to measure lists with."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--rows", type=int, default=200_000)
        parser.add_argument("--organization", default=SLUG, help="slug; made when there is none")
        parser.add_argument("--seed", type=int, default=1)
        parser.add_argument("--yes", action="store_true", help="also into a database or organisation that holds work")

    def handle(self, *args: Any, **options: Any) -> None:
        slug = options["organization"]
        if not options["yes"]:
            _check_it_is_empty(slug)
        organization, _ = Organization.objects.get_or_create(slug=slug, defaults={"name": "Measuring"})
        maker = Maker(organization, random.Random(options["seed"]))
        left = options["rows"]
        while left > 0:
            maker.make(min(left, BLOCK))
            left -= BLOCK
        self.stdout.write(f"{options['rows']:,} analyses in {organization.name} ({slug}).")


def _check_it_is_empty(slug: str) -> None:
    """What lies among real work cannot be told from it afterwards."""
    if Job.objects.filter(organization__slug=slug).exists():
        raise CommandError(f"{slug} holds analyses already. Add --yes to put more into it.")
    if Job.objects.exists():
        raise CommandError("This database holds analyses. Use an empty DATA_DIR, or add --yes.")


class Maker:
    """Rows with the spread of a busy newsroom: most completed, a few rare values that filters must find quickly."""

    def __init__(self, organization: Organization, chance: random.Random) -> None:
        self.organization, self.chance = organization, chance
        self.version = ModelVersion.objects.get_or_create(name="measuring")[0]
        self.people = [self._person(number) for number in range(8)]
        self.keys = [self._key(number) for number in range(3)]
        self.now = timezone.now()
        self.made = 0
        self.firsts: list[Media] = []

    def _person(self, number: int) -> User:
        role = Role.REVIEWER if number < 3 else Role.ANALYST
        name = f"{self.organization.slug}-{number}"
        found, is_new = User.objects.get_or_create(
            username=name, defaults={"organization": self.organization, "role": role}
        )
        if is_new:
            found.set_unusable_password()
            found.save()
        return found

    def _key(self, number: int) -> ApiKey:
        name = f"Measuring {number}"
        found = ApiKey.objects.filter(organization=self.organization, name=name).first()
        return found or create_api_key(organization=self.organization, name=name, scopes=["detect:read"])[0]

    def make(self, number: int) -> None:
        media = [self._media() for _ in range(number)]
        jobs = [self._job(item) for item in media]
        with transaction.atomic():
            Media.objects.bulk_create(media)
            MediaText.objects.bulk_create(
                MediaText(media=item, organization=self.organization, text=item.search_text()) for item in media
            )
            Job.objects.bulk_create(jobs)
            InferenceResult.objects.bulk_create(self._result(job) for job in jobs if job.status == JobStatus.COMPLETED)

    def _media(self) -> Media:
        self.made += 1
        chance = self.chance
        kind = chance.choices(list(ENDINGS), weights=(70, 25, 5))[0]
        item = Media(
            id=self._id(),
            organization=self.organization,
            uploaded_by=chance.choice(self.people),
            kind=kind,
            filename=f"{chance.choice(WORDS)}-{chance.choice(WORDS)}-{self.made:06}.{ENDINGS[kind]}",
            source_url=f"https://{chance.choice(HOSTS)}/media/{self.made}" if chance.random() < 0.3 else "",
            sha256=f"{chance.getrandbits(256):064x}",
            phash=f"{chance.getrandbits(64):016x}",
            mime_type="image/jpeg",
            width=1280,
            height=720,
            # Two a minute, newest last, and now and then several in the same instant.
            created_at=self.now - timedelta(days=100) + timedelta(seconds=30 * (self.made // 2)),
        )
        is_seen_before = self.firsts and chance.random() < 0.05
        item.look = chance.choice(self.firsts).pk if is_seen_before else item.pk
        if not is_seen_before and len(self.firsts) < 5000:
            self.firsts.append(item)
        return item

    def _id(self) -> uuid.UUID:
        return uuid.UUID(int=self.chance.getrandbits(128), version=4)

    def _job(self, media: Media) -> Job:
        chance = self.chance
        status = chance.choices(list(JobStatus), weights=(1, 1, 9500, 300, 5))[0]
        score = chance.betavariate(0.6, 0.6) if chance.random() < 0.97 else None
        label = _label(score)
        is_done = status == JobStatus.COMPLETED
        is_by_person = chance.random() < 0.9
        job = Job(
            id=self._id(),
            organization=self.organization,
            media=media,
            created_by=media.uploaded_by if is_by_person else None,
            api_key=None if is_by_person else chance.choices(self.keys, weights=(90, 9, 1))[0],
            status=status,
            kind=media.kind,
            source_host=media.source_host(),
            created_at=media.created_at,
            finished_at=_later(media.created_at, chance) if status in ("completed", "failed", "cancelled") else None,
            # Far in the future, so that no worker takes up what has no file.
            next_attempt_at=self.now + timedelta(days=3650),
            percent=100 if is_done else 0,
            failure_message="This file is not a picture we can read." if status == JobStatus.FAILED else "",
            final_label=label if is_done else "",
            score=score if is_done else None,
            margin=abs(score - 0.5) if is_done and score is not None else None,
        )
        if status == JobStatus.RUNNING:
            job.heartbeat_at = job.next_attempt_at
        if is_done and chance.random() < 0.1:
            job.reviewer = chance.choice(self.people[:3])
            job.review_state = chance.choice([ReviewState.OPEN, ReviewState.DECIDED, ReviewState.DECIDED])
            if job.review_state == ReviewState.DECIDED:
                is_changed = chance.random() < 0.02
                job.review_decision = ReviewOutcome.OVERRIDE if is_changed else ReviewOutcome.CONFIRM
                job.review_label = job.final_label = Label.REAL if is_changed else label
        return job

    def _result(self, job: Job) -> InferenceResult:
        return InferenceResult(
            job=job,
            model_version=self.version,
            label=_label(job.score),
            score=job.score,
            interval_low=None if job.score is None else max(0.0, job.score - 0.06),
            interval_high=None if job.score is None else min(1.0, job.score + 0.06),
            rationale="Made to measure lists with; nothing was analysed.",
            threshold_fake=0.7,
            threshold_real=0.3,
            details={},
        )


def _label(score: float | None) -> Label:
    if score is None or 0.3 <= score < 0.7:
        return Label.INCONCLUSIVE
    return Label.FAKE if score >= 0.7 else Label.REAL


def _later(moment: datetime, chance: random.Random) -> datetime:
    return moment + timedelta(seconds=chance.uniform(0.5, 90))
