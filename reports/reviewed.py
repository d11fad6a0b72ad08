"""What people said about a verdict, as far as a report may tell it."""

from __future__ import annotations

from typing import Any

from detection.models import Job
from reports.models import ReportSettings
from reports.moments import moment
from review import services as review
from review.models import CaseThresholds, Decision, Note, ReviewCase
from review.words import reason_words


def review_of(job: Job) -> dict[str, Any] | None:
    """Return state and opinions, JSON-ready; None when no person ever looked.

    Opinions are told only once the case is decided: until then a first one is secret from the second reviewer. Names
    stand beside roles only where the organisation's settings say so; what notes say is never printed.
    """
    if not job.review_state:
        return None
    closed = ReviewCase.objects.filter(job=job).finished().order_by("-closed_at").first()
    case = closed or ReviewCase.objects.filter(job=job).order_by("-opened_at").first()
    found: dict[str, Any] = {
        "state": job.review_state,
        "state_words": job.get_review_state_display(),
        "decision": job.review_decision or None,
        "label": job.review_label or None,
        "decided_at": moment(job.reviewed_at),
        "opinions": _opinions(closed, _prints_names(job), job.media.kind) if closed else [],
        "notes_count": Note.objects.filter(case__job=job, decision__undone_at=None).count(),
        "case_id": case.public_id if case else None,
        "thresholds_of_case": _own_thresholds(case, job),
    }
    return found


def _prints_names(job: Job) -> bool:
    own = ReportSettings.objects.filter(organization=job.organization_id).first()
    return own is not None and own.names_reviewers


def _opinions(case: ReviewCase, names: bool, kind: str) -> list[dict[str, Any]]:
    decisions = case.decisions.filter(undone_at=None).select_related("reviewer__custom_role").order_by("created_at")
    return [_opinion(decision, names, kind) for decision in decisions]


def _opinion(decision: Decision, names: bool, kind: str) -> dict[str, Any]:
    reviewer = decision.reviewer
    return {
        "round": decision.round,
        "round_words": decision.get_round_display(),
        "outcome": decision.outcome,
        "outcome_words": decision.get_outcome_display(),
        "label": decision.label or None,
        "reasons": [{"code": code, "words": reason_words(code, kind)} for code in decision.reasons],
        "role": reviewer.role_name,
        "name": (reviewer.get_full_name() or reviewer.get_username()) if names else None,
        "at": moment(decision.created_at),
    }


def _own_thresholds(case: ReviewCase | None, job: Job) -> dict[str, Any] | None:
    own = CaseThresholds.objects.filter(case=case, withdrawn_at=None).first() if case else None
    if own is None:
        return None
    read = review.reading_under(job.result, own)
    return {"fake": own.fake_at, "real": own.real_below, "reading": read.label, "reading_words": read.words}
