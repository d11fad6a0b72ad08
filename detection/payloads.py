"""What the API and the webhooks say about a job, in the shape integrators were promised."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse

from detection import artifacts
from detection.models import BranchScore, ExplanationArtifact, InferenceResult, Job, JobStatus, Media

LINKED_KINDS = ("saliency_map", "frequency_heatmap", "temporal_attention")
# What a caller may ask for by name; the rest of a job is always there.
PARTS = ("media", "result", "branches", "artifacts", "details")
WHOLE = frozenset(PARTS)
BRIEF = WHOLE - {"details"}


def job_payload(
    job: Job,
    request: HttpRequest | None = None,
    *,
    lifetime: timedelta = artifacts.API_LIFETIME,
    brief: bool = False,
    parts: frozenset[str] | None = None,
) -> dict[str, Any]:
    """Return the job as JSON-ready dict; links are absolute, below the caller's host or PUBLIC_URL.

    brief: without the frame by frame details. parts: only these of PARTS; parts of the result bring its headline along.
    """
    shown = parts if parts is not None else BRIEF if brief else WHOLE
    payload: dict[str, Any] = {
        "job_id": job.public_id,
        "media_id": f"med_{job.media_id.hex}",
        "status": job.status,
        "stage": job.stage,
        "percent": job.percent,
        "mode": job.mode,
        "stability": job.stability,
        "priority": job.priority,
        "attempts": job.attempts,
        "sandbox": job.is_sandbox,
        "created_at": moment(job.created_at),
        "started_at": moment(job.started_at),
        "finished_at": moment(job.finished_at),
        "review": _review(job),
    }
    if "media" in shown:
        payload["media"] = media_payload(job.media, request)
    if job.status == JobStatus.FAILED:
        payload["error"] = {"code": job.failure_code, "message": job.failure_message}
    if job.status == JobStatus.COMPLETED and shown - {"media"}:
        payload["result"] = _result(job, job.result, base_url(request), lifetime, shown)
    return payload


def media_payload(media: Media, request: HttpRequest | None = None) -> dict[str, Any]:
    return {
        "media_id": media.public_id,
        "uri": base_url(request) + reverse("api_media_file", args=[media.public_id]),
        "kind": media.kind or None,
        "filename": media.filename,
        "source_url": media.source_url or None,
        "mime_type": media.mime_type or None,
        "size_bytes": media.size_bytes or None,
        "sha256": media.sha256 or None,
        "phash": media.phash or None,
        "width": media.width,
        "height": media.height,
        "duration_s": media.duration_s,
        "has_audio": media.has_audio,
        "created_at": moment(media.created_at),
        "keep_until": moment(media.keep_until),
        "erased_at": moment(media.erased_at),
    }


def base_url(request: HttpRequest | None) -> str:
    return settings.PUBLIC_URL if request is None else request.build_absolute_uri("/").rstrip("/")


def _result(job: Job, result: InferenceResult, base: str, lifetime: timedelta, shown: frozenset[str]) -> dict[str, Any]:
    interval = None if result.interval_low is None else [result.interval_low, result.interval_high]
    found: dict[str, Any] = {
        "label": result.label,
        "score": result.score,
        "confidence_interval": interval,
        "interval_crosses_threshold": result.crosses_threshold,
        "abstain_reason": result.abstain_reason or None,
        "rationale": result.rationale,
        "thresholds": {"fake": result.threshold_fake, "real": result.threshold_real},
        "threshold_profile": job.threshold_profile.name if job.threshold_profile else None,
        "model_version": result.model_version.name,
    }
    if "branches" in shown:
        found["per_branch"] = [_branch(row) for row in sorted(result.branch_scores.all(), key=lambda row: row.pk)]
    if "artifacts" in shown:
        items = sorted(result.artifacts.all(), key=_by_importance)
        found["explanations"] = _explanations(items, base, lifetime)
        found["artifacts"] = [_artifact(item, base, lifetime) for item in items]
    if "details" in shown:
        found["details"] = result.details
    return found


def _review(job: Job) -> dict[str, Any] | None:
    """What people said about the verdict; `label` is final when the state is decided."""
    if not job.review_state:
        return None
    return {
        "state": job.review_state,
        "decision": job.review_decision or None,
        "label": job.review_label or None,
        "decided_at": moment(job.reviewed_at),
    }


def _by_importance(item: ExplanationArtifact) -> tuple[bool, float, float, str]:
    """The picture that shows most first; those without a score last."""
    return item.score is None, -(item.score or 0.0), item.time_s or 0.0, str(item.id)


def _explanations(items: list[ExplanationArtifact], base: str, lifetime: timedelta) -> dict[str, str | None]:
    links: dict[str, str | None] = {}
    for kind in LINKED_KINDS:
        first = next((item for item in items if item.kind == kind), None)
        links[kind] = artifacts.signed_url(first, base, lifetime=lifetime) if first else None
    return links


def _branch(row: BranchScore) -> dict[str, Any]:
    return {
        "branch": row.branch,
        "channel": row.channel,
        "state": row.state,
        "score": row.score,
        "confidence": row.confidence,
        "quality": row.quality,
        "weight": row.weight,
        "contribution": row.contribution,
        "sentence": row.sentence,
        "reason": row.reason or None,
        "version": row.version,
        "sha256": row.sha256,
        "data": row.data,
    }


def _artifact(item: ExplanationArtifact, base: str, lifetime: timedelta) -> dict[str, Any]:
    return {
        "kind": item.kind,
        "url": artifacts.signed_url(item, base, lifetime=lifetime),
        "mime_type": item.mime_type,
        "caption": item.caption,
        "frame_index": item.frame_index,
        "time_s": item.time_s,
        "track": item.track,
        "score": item.score,
        "box": item.box,
    }


def moment(value: Any) -> str | None:
    return value.isoformat().replace("+00:00", "Z") if value else None
