"""What the walk through every page needs: the review site, plus threshold profiles and a proposal in each state."""

from __future__ import annotations

import contextlib
import io
import json
import sys

from accounts.models import Organization, User
from detection import threshold_services
from detection.models import Job, JobStatus
from tests import factories
from tests.pages.finished import make_finished
from tests.review.seed_site import seed as seed_review

RULE = {"kind": "image", "platform": "", "host": "example.org", "codec": ""}


def seed() -> None:
    """Write the rows and print ids and addresses as JSON."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        seed_review()
    organization = Organization.objects.get(slug="example")
    alice, bob, ada = (User.objects.get(username=name) for name in ("alice", "bob", "ada"))
    wish = {"organization": organization, "actor": bob, "why": "Agency pictures are re-encoded."}
    made = threshold_services.propose(
        **wish, action="create", name="agency", after={**RULE, "fake_at": 0.9, "real_below": 0.2}
    )
    profile = threshold_services.approve(proposal=made, actor=ada)
    changed = threshold_services.propose(
        **wish, action="change", profile=profile, after={**RULE, "fake_at": 0.8, "real_below": 0.1}
    )
    voice = make_finished(organization, alice, kind="audio", label="inconclusive", score=0.5)
    failed = factories.make_job(organization=organization, status=JobStatus.FAILED, created_by=alice)
    more = {
        "profile": str(profile.pk),
        "shipped": str(_shipped()),
        "proposal": str(changed.pk),
        "approved": str(made.pk),
        "voice_job": str(voice.pk),
        "failed_job": str(failed.pk),
        "picture_job": str(Job.objects.filter(media__kind="image", status="completed").first().pk),  # type: ignore[union-attr]
    }
    json.dump(json.loads(printed.getvalue()) | more, sys.stdout)


def _shipped() -> str:
    from detection.models import ThresholdProfile

    return str(ThresholdProfile.objects.get(organization=None, name="default_image").pk)
