"""Rows with fixed values for tests; nothing here goes through services."""

from __future__ import annotations

import io
from typing import Any

from django.utils import timezone
from PIL import Image

from accounts.models import Organization, Role, User
from deepfake import storage
from detection.models import (
    BranchScore,
    ExplanationArtifact,
    InferenceResult,
    Job,
    JobStatus,
    Label,
    Media,
    MediaKind,
    ModelVersion,
)

PASSWORD = "correct horse battery staple"


def make_user(organization: Organization, username: str, role: Role = Role.ANALYST, **fields: Any) -> User:
    user = User(username=username, email=f"{username}@example.org", organization=organization, role=role, **fields)
    user.set_password(PASSWORD)
    user.save()
    return user


def png_bytes(width: int = 64, height: int = 48, colour: tuple[int, int, int] = (90, 120, 160)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, "PNG")
    return file.getvalue()


def make_media(organization: Organization, *, content: bytes | None = None, **fields: Any) -> Media:
    content = png_bytes() if content is None else content
    values: dict[str, Any] = {
        "kind": MediaKind.IMAGE,
        "filename": "portrait.png",
        "mime_type": "image/png",
        "size_bytes": len(content),
        "sha256": "ab" * 32,
        "phash": "0f" * 8,
        "width": 64,
        "height": 48,
        "storage_name": storage.save_encrypted("media", content, organization_id=organization.id),
    }
    return Media.objects.create(organization=organization, **(values | fields))


def make_job(
    *, organization: Organization, status: str = JobStatus.QUEUED, media: Media | None = None, **fields: Any
) -> Job:
    values: dict[str, Any] = {"media": media or make_media(organization), "status": status}
    now = timezone.now()
    if status == JobStatus.RUNNING:
        values |= {
            "started_at": now,
            "heartbeat_at": now,
            "worker": "test:1:worker-1",
            "attempts": 1,
            "stage": "spatial",
        }
        values |= {"percent": 40}
    if status in (JobStatus.COMPLETED, JobStatus.FAILED):
        values |= {"started_at": now, "finished_at": now, "attempts": 1, "percent": 100}
    if status == JobStatus.FAILED:
        values |= {"failure_code": "media_unreadable", "failure_message": "This file is not a picture we can read."}
    return Job.objects.create(organization=organization, **(values | fields))


def make_model_version(name: str = "ensemble-test") -> ModelVersion:
    return ModelVersion.objects.get_or_create(name=name, defaults={"branches": {"spatial": {"version": "1"}}})[0]


def make_result(job: Job, *, label: str = Label.FAKE, score: float | None = 0.91, **fields: Any) -> InferenceResult:
    values: dict[str, Any] = {
        "model_version": make_model_version(),
        "label": label,
        "score": score,
        "interval_low": 0.84,
        "interval_high": 0.96,
        "rationale": "The face region shows blending traces.",
        "threshold_fake": 0.7,
        "threshold_real": 0.3,
        "details": {"channels": [{"channel": "picture", "score": score, "label": label}]},
    }
    result = InferenceResult.objects.create(job=job, **(values | fields))
    BranchScore.objects.create(
        result=result,
        branch="spatial",
        channel="picture",
        state="scored",
        score=score,
        confidence=0.8,
        quality=0.9,
        weight=1.0,
        contribution=2.3,
        sentence="The skin texture around the jaw does not match the rest of the face.",
        version="1",
        sha256="cd" * 32,
    )
    return result


def make_artifact(result: InferenceResult, **fields: Any) -> ExplanationArtifact:
    organization_id = result.job.organization_id
    values: dict[str, Any] = {
        "kind": "heatmap",
        "storage_name": storage.save_encrypted("artifact", png_bytes(), organization_id=organization_id),
        "mime_type": "image/png",
        "caption": "Where the picture looks altered",
        "frame_index": 0,
        "time_s": 0.0,
    }
    return ExplanationArtifact.objects.create(result=result, **(values | fields))
