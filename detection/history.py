"""Who did what to an analysis and its item, out of the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q

from accounts import audit_words
from accounts.models import AuditLog
from detection.models import Job
from detection.words import readable

SHOWN = 30
ACTIONS: dict[str, str] = {
    "media.submitted": "Sent the item",
    "job.started": "Started this analysis",
    "job.completed": "Reached a verdict",
    "job.failed": "Ended without a result",
    "job.cancelled": "Cancelled it",
    "job.feedback": "Gave a label",
    "job.deleted": "Deleted an analysis of this item",
}


@dataclass(frozen=True)
class Event:
    moment: datetime
    who: str
    what: str
    detail: str


def history_of(job: Job) -> tuple[Event, ...]:
    """Return the newest events about the job and its item, newest first; one query. Reads are on the audit page."""
    about = Q(target_type="job", target_id=str(job.pk)) | Q(target_type="media", target_id=str(job.media_id))
    rows = AuditLog.objects.filter(about, organization=job.organization_id).exclude(action__in=audit_words.READS)
    rows = rows.select_related("actor").order_by("-id")
    return tuple(_event(row) for row in rows[:SHOWN])


def _event(row: AuditLog) -> Event:
    return Event(
        row.created_at, _who(row), ACTIONS.get(row.action) or audit_words.sentence(row.action), _detail(row.details)
    )


def _who(row: AuditLog) -> str:
    if row.actor is not None:
        return row.actor.get_full_name() or row.actor.get_username()
    return f"API key {row.api_key_prefix}" if row.api_key_prefix else "The system"


def _detail(details: dict[str, Any]) -> str:
    said = []
    if details.get("label"):
        said.append(str(details["label"]))
    if isinstance(details.get("score"), int | float):
        said.append(f"{min(max(round(100 * details['score']), 1), 99)} %")
    if details.get("threshold_profile"):
        said.append(f"thresholds {details['threshold_profile']}")
    if details.get("stability") == "full":
        said.append("full re-saving test")
    if moved := audit_words.dated_words(details):
        said.append(moved)
    if details.get("code"):
        said.append(readable(str(details["code"])).lower())
    return ", ".join(said)
