"""What the served site of the list's browser tests holds: a few analyses to act on, and enough for a second page."""

from __future__ import annotations

import json
import sys

from accounts.models import Organization, Role
from detection import likeness
from detection.models import JobStatus
from tests import factories
from tests.pages.finished import make_finished


def seed() -> None:
    organization = Organization.objects.create(name="Example Newsroom", slug="example")
    alice = factories.make_user(organization, "alice", Role.ANALYST)
    filler = factories.make_media(organization, filename="filler.png", phash="", sha256="77" * 32)
    for _ in range(60):
        factories.make_result(factories.make_job(organization=organization, media=filler, status=JobStatus.COMPLETED))
    for number in range(8):
        label, score = [("fake", 0.9), ("real", 0.1), ("inconclusive", 0.5)][number % 3]
        job = make_finished(organization, alice, kind="image", label=label, score=score)
        job.media.filename, job.media.sha256 = f"spare-{number}.png", f"{number % 4:064x}"
        job.media.save()
        job.media.text.text = job.media.search_text()
        job.media.text.save()
        likeness.note_look(job.media)
    json.dump({}, sys.stdout)
