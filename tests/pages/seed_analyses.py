"""What the served site of the browser tests of the Analysis page holds: one analysis in each of its layouts."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path

from django.utils import timezone

from accounts.models import Organization, Role
from detection.models import BranchScore, InferenceResult, Job, JobStatus, Media, ThresholdProfile
from tests import factories
from tests.pages.finished import make_finished
from tests.pages.seed_site import _replace_content, clip_bytes

ASTRONAUT = Path(__file__).resolve().parents[1] / "media" / "astronaut.jpg"
FACE = [170, 60, 110, 140]  # where the face lies in the 512 px picture


def seed() -> None:
    """Write the rows and print the ids of the analyses as JSON."""
    organization = Organization.objects.create(name="Example Newsroom", slug="example")
    alice = factories.make_user(organization, "alice", Role.ANALYST)
    ThresholdProfile.objects.create(organization=organization, name="strict", fake_at=0.9, real_below=0.1)
    made = {"clip": make_finished(organization, alice), "silent": make_finished(organization, alice)}
    for job in made.values():
        _replace_content(job, clip_bytes())
    _with_two_people(made["clip"].result)
    _silenced(made["silent"].result)
    made["face"] = make_finished(organization, alice, kind="image", label="inconclusive", score=0.5)
    _as_portrait(made["face"])
    made["plain"] = make_finished(organization, alice, kind="image", label="real", score=0.06)
    _change(made["plain"].result, faces=[], tracks=[], provenance=SIGNED)
    made["audio"] = make_finished(organization, alice, kind="audio", label="inconclusive", score=0.5)
    made["failed"] = factories.make_job(organization=organization, status=JobStatus.FAILED, created_by=alice)
    # Its heart beats on past the end of the tests, so that no worker takes it for abandoned.
    running = factories.make_job(organization=organization, status=JobStatus.RUNNING, created_by=alice)
    Job.objects.filter(pk=running.pk).update(heartbeat_at=timezone.now() + timedelta(days=1))
    made["running"] = running
    json.dump({name: str(job.id) for name, job in made.items()}, sys.stdout)


SIGNED = {
    "state": "valid_trusted",
    "sentence": "The file's Content Credentials hold.",
    "issuer": "Test Newsroom",
    "generator": "Test Studio 1",
    "signed_at": "2026-11-01T10:00:00+00:00",
    "actions": [{"action": "c2pa.created", "source": "digitalCapture", "of": "this file"}],
    "ingredients": [{"title": "harbour.jpg", "relationship": "parentOf", "is_signed": True}],
    "problems": [],
}


def _change(result: InferenceResult, **details: object) -> None:
    result.details = result.details | details
    result.save()


def _with_two_people(result: InferenceResult) -> None:
    faces = [
        {"frame_index": 5 * n, "time_s": 0.2 * n, "track": track, "box": [8 + 30 * track, 8, 20, 24], "score": score}
        for n in range(20)
        for track, score in ((0, 0.9), (1, 0.1))
    ]
    tracks = [{"track": n, "frames": 20, "first_s": 0.0, "last_s": 3.8, "score": s} for n, s in ((0, 0.9), (1, 0.1))]
    curve = [*result.details["curve"], *({**point, "track": 1, "score": 0.1} for point in result.details["curve"])]
    lips = [{**point, "branch": "av_sync", "channel": "synchrony", "track": 0} for point in result.details["curve"]]
    wave = result.details["waveform"] | {"desync": [{"start_s": 1.0, "end_s": 2.0}]}
    _change(result, faces=faces, tracks=tracks, curve=[*curve, *lips], waveform=wave)
    BranchScore.objects.create(
        result=result, branch="av_sync", channel="synchrony", state="scored", score=0.6, sentence="They part.",
        data={"offset_ms": 120.0, "offset_confidence": 0.9},
    )  # fmt: skip


def _silenced(result: InferenceResult) -> None:
    _change(result, waveform=None, speech=[])


def _as_portrait(job: Job) -> None:
    _replace_content(job, ASTRONAUT.read_bytes())
    info = {"metadata": {"Make": "ExampleCam", "DateTimeOriginal": "2026:11:01 10:00:00", "GPSLatitude": "52.5"}}
    Media.objects.filter(pk=job.media_id).update(
        width=512, height=512, mime_type="image/jpeg", filename="portrait.jpg",
        info=Media._meta.get_field("info").sealed_for(job.media_id, info),
    )  # fmt: skip
    pieces = [
        {"branch": "synthesis", "frame_index": 0, "time_s": 0.0, "box": [x, y, 192, 192], "score": score}
        for x, y, score in ((0, 0, 0.2), (320, 0, 0.5), (0, 320, 0.9))
    ]
    face = {"frame_index": 0, "time_s": 0.0, "track": 0, "box": FACE, "score": 0.9}
    _change(job.result, faces=[face], pieces=pieces)
    job.result.artifacts.filter(kind__in=["saliency_map", "frequency_map"]).update(
        box=[0, 0, 512, 512], time_s=0, frame_index=0
    )
