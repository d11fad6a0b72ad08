"""Writing down what the engine found: the rows of a verdict and its encrypted artifacts, exactly once."""

from __future__ import annotations

import logging
import mimetypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.db import DatabaseError, transaction
from django.utils import timezone

from accounts import audit
from deepfake import storage
from detection import likeness, prints, webhooks
from detection.engine import registry
from detection.engine.fingerprints import Prints
from detection.models import (
    BranchScore,
    ExplanationArtifact,
    InferenceResult,
    Job,
    JobStatus,
    Media,
    MediaKind,
    ModelVersion,
    Retention,
)
from detection.signals import verdict_recorded

logger = logging.getLogger(__name__)

DETAILS = (
    "channels",
    "curve",
    "fake_intervals",
    "faces",
    "tracks",
    "pieces",
    "speech",
    "waveform",
    "stability",
    "provenance",
    "seconds",
    "warnings",
)
BRANCH_COLUMNS = (
    "branch",
    "channel",
    "state",
    "score",
    "confidence",
    "quality",
    "weight",
    "contribution",
    "sentence",
    "reason",
    "version",
    "sha256",
    "data",
)


def record_verdict(job: Job, analysis: Any, artifact_dir: Path) -> bool:
    """Complete `job` with `analysis` (an engine Analysis or its dict); False when the job is no longer ours.

    The completing UPDATE asks for the claim token, so that of two workers that ran the same job one wins, and a job
    that was cancelled or deleted meanwhile takes nothing.
    """
    found = _clean(analysis if isinstance(analysis, Mapping) else analysis.to_dict())
    leaves_nothing = job.media.retention == Retention.NONE
    items = [] if leaves_nothing else found["artifacts"]
    stored = [(item, _store_artifact(job, artifact_dir, item)) for item in items]
    prints_found = Prints() if leaves_nothing else getattr(analysis, "prints", Prints())
    try:
        with transaction.atomic():
            recorded = _complete(job) and _write(job, found, stored, prints_found)
    except BaseException:
        _discard(stored)
        raise
    if not recorded:
        _discard(stored)
    elif not leaves_nothing:
        _link(job)
    return recorded


def artifact_hint(job: Job) -> str:
    """What the names of a job's artifacts begin with; deletion finds even those of a worker that died."""
    return f"job{job.id.hex}"


def _complete(job: Job) -> bool:
    now = timezone.now()
    return bool(
        Job.objects.filter(
            pk=job.pk, status=JobStatus.RUNNING, worker=job.worker, cancel_requested_at__isnull=True
        ).update(status=JobStatus.COMPLETED, stage="", percent=100, finished_at=now, heartbeat_at=now, worker="")
    )


def _write(
    job: Job, found: Mapping[str, Any], stored: list[tuple[Mapping[str, Any], str]], found_again_by: Prints
) -> bool:
    low, high = found["confidence_interval"] or (None, None)
    result = InferenceResult.objects.create(
        job=job,
        model_version=_model_version(found),
        label=found["label"],
        score=found["score"],
        interval_low=low,
        interval_high=high,
        abstain_reason=found["abstain_reason"] or "",
        rationale=found["rationale"],
        threshold_fake=found["thresholds"]["fake"],
        threshold_real=found["thresholds"]["real"],
        details={name: found.get(name) for name in DETAILS},
    )
    BranchScore.objects.bulk_create(
        BranchScore(result=result, **_branch_columns(branch)) for branch in found["per_branch"]
    )
    ExplanationArtifact.objects.bulk_create(_artifact(result, item, name) for item, name in stored)
    if not job.media.is_sandbox:
        prints.keep(job.media, found_again_by)
    store_facts(job.media, {**found["media"], "kind": _kind(job, found["media"]["kind"])})
    job.refresh_from_db()
    webhooks.queue_delivery(job)
    if job.media.retention != Retention.NONE:  # nobody could review what nobody can look at
        _tell(job, result)
    audit.record(
        action="job.completed",
        organization=job.organization,
        target=job,
        details={"label": result.label, "score": result.score, "model_version": result.model_version.name},
    )
    return True


def _link(job: Job) -> None:
    """Join the item with those that share its prints. The verdict stands without it; another run repairs it."""
    try:
        prints.link(job.media)
    except DatabaseError:
        logger.exception("What belongs together with %s could not be written", job.media.public_id)


def _tell(job: Job, result: InferenceResult) -> None:
    """Let the rooms above write their rows with the verdict; the savepoint takes back what a failing one wrote.

    They hear nothing of sandbox jobs: no case, no alert and no figure may come of one.
    """
    if job.is_sandbox:
        return
    try:
        with transaction.atomic():
            verdict_recorded.send(sender=Job, job=job, result=result)
    except Exception:
        logger.exception("What follows from the verdict of %s could not be written", job.public_id)


def _kind(job: Job, found: str) -> str:
    """A video of which only the sound was asked for stays a video."""
    return job.media.kind if job.mode == "audio" and job.media.kind == MediaKind.VIDEO else found


def store_facts(media: Media, info: Mapping[str, Any]) -> None:
    """What the decoder found replaces what the first bytes promised."""
    info = _clean(info)
    facts = {
        "kind": info["kind"],
        "mime_type": info["mime_type"],
        "phash": info.get("phash") or "",
        "width": info.get("width"),
        "height": info.get("height"),
        "duration_s": info.get("duration_s"),
        "has_audio": bool(info.get("has_audio")),
        "info": dict(info),
    }
    column: Any = Media._meta.get_field("info")
    Media.objects.filter(pk=media.pk).update(**facts | {"info": column.sealed_for(media.pk, facts["info"])})
    for name, value in facts.items():
        setattr(media, name, value)
    Job.objects.filter(media=media).update(kind=media.kind)
    likeness.note_look(media)


def _branch_columns(branch: Mapping[str, Any]) -> dict[str, Any]:
    columns = {name: branch.get(name) for name in BRANCH_COLUMNS}
    columns |= {name: columns[name] or 0.0 for name in ("weight", "contribution")}
    columns |= {name: columns[name] or "" for name in ("sentence", "reason", "version", "sha256")}
    columns["data"] = columns["data"] or {}
    return columns


def _model_version(found: Mapping[str, Any]) -> ModelVersion:
    used = {
        branch["branch"]: {
            "version": branch["version"],
            "sha256": branch["sha256"],
            "threshold": _registered(branch["branch"], "threshold"),
            "licence": _registered(branch["branch"], "licence"),
        }
        for branch in found["per_branch"]
        if branch["version"]
    }
    return ModelVersion.objects.get_or_create(name=found["model_version"], defaults={"branches": used})[0]


def _registered(branch: str, field: str) -> Any:
    spec = registry.BRANCHES.get(branch)
    return getattr(spec, field) if spec is not None else None


def _store_artifact(job: Job, folder: Path, item: Mapping[str, Any]) -> str:
    with (folder / item["path"]).open("rb") as file:
        return storage.save_encrypted(artifact_hint(job), file, organization_id=job.organization_id)


def _discard(stored: list[tuple[Mapping[str, Any], str]]) -> None:
    for _, name in stored:
        storage.destroy(name)


def _artifact(result: InferenceResult, item: Mapping[str, Any], name: str) -> ExplanationArtifact:
    return ExplanationArtifact(
        result=result,
        kind=item["kind"],
        storage_name=name,
        mime_type=mimetypes.guess_type(item["path"])[0] or "application/octet-stream",
        caption=item["caption"][:300],
        frame_index=item.get("frame_index"),
        time_s=item.get("time_s"),
        track=item.get("track"),
        score=item.get("score"),
        box=list(item["box"]) if item.get("box") else None,
    )


def _clean(value: Any) -> Any:
    """What every database takes: PostgreSQL refuses NUL and lone surrogates, which hostile metadata holds."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {_clean(str(name)): _clean(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(inner) for inner in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
