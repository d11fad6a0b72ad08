"""All that a report says of one finished analysis, JSON-ready: what is signed, and what the PDF is drawn from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from deepfake import storage
from deepfake.errors import DomainError
from detection.models import BranchScore, ExplanationArtifact, InferenceResult, Job, JobStatus, Media
from reports import quality, rerun, reviewed, summary
from reports.canonical import MAX_SAFE_INTEGER
from reports.moments import moment

SCHEMA = "deepfake-report/2"
METHOD = (
    "The file was decoded, people were located and followed from frame to frame, and speech was located in the sound.",
    "Independent detectors each looked for one kind of trace. A detector that could not work on this item was left "
    "out; it did not count as half a vote.",
    "Their results were joined per channel (picture, voice, lips and speech), then into one calibrated probability "
    "with an interval: nine in ten of the values that re-drawn training material, a poor input and differences along "
    "the item would give lie in it.",
    "The item was saved again in ways that platforms use. A verdict that turns into its opposite by this is given as "
    "inconclusive; one that only loses certainty stands, and the band of scores is told.",
    "The verdict follows from the two thresholds printed in this report.",
)
LIMITS = (
    "The score is a probability of manipulation as estimated by trained models. It is evidence, not proof, and it says "
    "nothing about whether a caption or a claim about the item is true.",
    "Methods that did not exist when the models were trained may go unnoticed. Heavy compression, screenshots, filters "
    "and small faces weaken every detector.",
    "A heatmap shows where a detector looked, not a line around what was changed.",
    "Missing Content Credentials mean nothing: most genuine files have none.",
)
SIGNED_LIMIT = (
    "The signature shows that this report was issued by the installation that holds the key and was not changed since. "
    "It does not show that the verdict is right, nor who made the item."
)
UNSIGNED_LIMIT = (
    "This page is not signed. The PDF and the JSON report of the same analysis are: use those wherever it matters that "
    "nothing was changed."
)
BRANCH_FIELDS = (
    "branch", "channel", "state", "score", "confidence", "quality", "weight", "contribution", "sentence", "version",
    "sha256", "data",
)  # fmt: skip
ARTIFACT_FIELDS = ("kind", "mime_type", "caption", "frame_index", "time_s", "track", "score", "box")


@dataclass(frozen=True)
class Issue:
    """What a report says about itself."""

    id: UUID
    issued_at: datetime
    format: str
    key_id: str
    verify_url: str
    audit_head: str

    @property
    def public_id(self) -> str:
        return f"rpt_{self.id.hex}"


def build(job: Job, issue: Issue | None = None) -> dict[str, Any]:
    """Return all that the report says. Raises DomainError when there is no result."""
    result = result_of(job)
    details = result.details
    worth = quality.of_verdict(job.media.kind, result.model_version.name)
    limits = [*LIMITS, SIGNED_LIMIT if issue else UNSIGNED_LIMIT]
    content = {
        "schema": SCHEMA,
        "report": _issue(issue),
        "summary": summary.summary_of(job, result, worth),
        "analysis": _analysis(job),
        "item": _item(job.media, details.get("warnings") or []),
        "verdict": _verdict(job, result),
        "review": reviewed.review_of(job),
        "branches": [_branch(score) for score in result.branch_scores.all()],
        **{name: details.get(name) or [] for name in ("fake_intervals", "curve", "speech", "tracks")},
        "stability": details.get("stability"),
        "provenance": details.get("provenance"),
        "model": _model(result),
        "quality": worth,
        "rerun": rerun.settings_of(job, result),
        "explanations": [_explanation(file) for file in result.artifacts.all()],
        "method": list(METHOD),
        "limits": limits,
    }
    return {name: _exact(value) for name, value in content.items()}


def result_of(job: Job) -> InferenceResult:
    if job.status != JobStatus.COMPLETED:
        state = job.get_status_display().lower()
        raise DomainError(
            f"There is no report: this analysis ended without a verdict ({state})."
            if job.is_final
            else f"There is no report yet: this analysis is {state}.",
            "report_not_ready",
            status=409,
        )
    return job.result


def _exact(value: Any) -> Any:
    """What can be signed: a whole number that not every reader holds exactly becomes text.

    A hostile container may claim 2**63 frames; its report is issued all the same.
    """
    if isinstance(value, dict):
        return {str(name): _exact(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_exact(inner) for inner in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_SAFE_INTEGER:
        return str(value)
    return value


def _issue(issue: Issue | None) -> dict[str, Any] | None:
    if issue is None:
        return None
    return {
        "id": issue.public_id,
        "issued_at": moment(issue.issued_at),
        "format": issue.format,
        "key_id": issue.key_id,
        "verify_url": issue.verify_url,
        "audit_chain_head": issue.audit_head,
    }


def _analysis(job: Job) -> dict[str, Any]:
    return {
        "job_id": job.public_id,
        "organization": job.organization.name,
        "mode": job.mode,
        "received_at": moment(job.created_at),
        "started_at": moment(job.started_at),
        "finished_at": moment(job.finished_at),
        "seconds": job.result.details.get("seconds") or {},
    }


def _item(media: Media, warnings: list[str]) -> dict[str, Any]:
    return {
        "media_id": media.public_id,
        "filename": media.filename,
        "source_url": media.source_url or None,
        "kind": media.kind,
        "mime_type": media.mime_type,
        "container": media.info.get("container"),
        "size_bytes": media.size_bytes,
        "sha256": media.sha256,
        "phash": media.phash or None,
        "width": media.width,
        "height": media.height,
        "duration_s": media.duration_s,
        "warnings": warnings,
        "facts": {name: value for name, value in media.info.items() if name != "metadata"},
        "metadata": media.info.get("metadata") or {},
    }


def _verdict(job: Job, result: InferenceResult) -> dict[str, Any]:
    profile = job.threshold_profile
    return {
        "label": result.label,
        "score": result.score,
        "confidence_interval": None if result.interval_low is None else [result.interval_low, result.interval_high],
        "abstain_reason": result.abstain_reason or None,
        "rationale": result.rationale,
        "thresholds": {"fake": result.threshold_fake, "real": result.threshold_real},
        "threshold_profile": profile.name if profile else None,
        "channels": result.details.get("channels") or [],
    }


def _branch(score: BranchScore) -> dict[str, Any]:
    measured = quality.of_branch(score.branch, score.sha256)
    return {name: getattr(score, name) for name in BRANCH_FIELDS} | {
        "reason": score.reason or None,
        "measured_on_unseen_sources": measured,
    }


def _model(result: InferenceResult) -> dict[str, Any]:
    return {
        "version": result.model_version.name,
        "fusion": rerun.fusion_of(result.model_version.name),
        "branches": result.model_version.branches,
    }


def _explanation(file: ExplanationArtifact) -> dict[str, Any]:
    return {
        "id": str(file.id),
        "sha256": artifact_digest(file),
        **{name: getattr(file, name) for name in ARTIFACT_FIELDS},
    }


def artifact_digest(file: ExplanationArtifact) -> str | None:
    """SHA-256 of a picture as stored; None when the file is gone (a report is not lost with a picture)."""
    try:
        with storage.open_decrypted(file.storage_name) as content:
            return hashlib.sha256(content.read()).hexdigest()
    except storage.ObjectMissing:
        return None
