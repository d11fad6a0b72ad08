"""What the served site of the browser tests holds: members, and one analysis in each state."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import av
import numpy as np

from accounts.models import Organization, Role
from deepfake import storage
from detection.models import Job, JobStatus
from tests import factories
from tests.pages.finished import make_finished


def seed() -> None:
    """Write the rows and print the ids of the analyses as JSON."""
    organization = Organization.objects.create(name="Example Newsroom", slug="example")
    alice = factories.make_user(organization, "alice", Role.ANALYST)
    factories.make_user(organization, "vera", Role.VIEWER)
    clip = make_finished(organization, alice)
    _replace_content(clip, clip_bytes())
    made = {
        "video": clip,
        "image": make_finished(organization, alice, kind="image", label="real", score=0.06),
        "audio": make_finished(
            organization, alice, kind="audio", label="inconclusive", score=0.5, abstain_reason="uncertain_band"
        ),
        "failed": factories.make_job(organization=organization, status=JobStatus.FAILED, created_by=alice),
        "cancelled": factories.make_job(organization=organization, status=JobStatus.CANCELLED, created_by=alice),
    }
    json.dump({name: str(job.id) for name, job in made.items()}, sys.stdout)


def _replace_content(job: Job, content: bytes) -> None:
    media = job.media
    media.storage_name = storage.save_encrypted("media", content, organization_id=job.organization_id)
    media.save()


def clip_bytes(seconds: int = 4, fps: int = 25) -> bytes:
    """A small H.264 clip in which a square moves."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=fps)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for number in range(seconds * fps):
                image = np.full((48, 64, 3), 90, np.uint8)
                image[16:32, number % 48 : number % 48 + 16] = 220
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode())
        return path.read_bytes()
