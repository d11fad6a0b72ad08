"""What the page of a case shows to one person, put into the order in which it is read; no markup here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q
from django.utils import timezone

from accounts import audit_words
from accounts.models import AuditLog, User
from deepfake.errors import DomainError
from detection.models import InferenceResult, Label, ReviewOutcome, ReviewState
from review import marks, rules, services, words
from review.models import (
    Annotation,
    Appeal,
    CaseThresholds,
    Decision,
    Note,
    ReviewCase,
    ReviewPreference,
    ReviewSettings,
    Veil,
)

TRAIL_LENGTH = 200


@dataclass(frozen=True)
class Choice:
    """One answer to "is the verdict right?", with the key that picks it."""

    name: str
    title: str
    help: str
    key: int


@dataclass(frozen=True)
class Event:
    at: datetime
    who: str
    what: str
    details: str
    hash: str


@dataclass(frozen=True)
class VeilState:
    """What covers the material at first."""

    blurs: bool
    greys: bool
    mutes: bool

    @property
    def is_on(self) -> bool:
        return self.blurs or self.greys


@dataclass(frozen=True)
class CasePage:
    holder: User | None
    is_mine: bool
    why_not: str  # why this person may not judge, blank when they may
    is_blind: bool
    reading: str
    reading_words: str  # what the interval makes of it
    clear_margin: float
    choices: tuple[Choice, ...]
    decisions: tuple[Decision, ...]
    notes: tuple[Note, ...]
    members: list[dict[str, str]]  # who can be called with @
    annotations: tuple[Annotation, ...]
    annotation_data: list[dict[str, Any]]
    thresholds: CaseThresholds | None
    appeals: tuple[Appeal, ...]
    needs_answer: bool
    trail: tuple[Event, ...]
    reasons_real: dict[str, str]
    reasons_fake: dict[str, str]
    reasons_open: dict[str, str]
    reasons_any: dict[str, str]

    @property
    def names(self) -> frozenset[str]:
        """Of the members, as `marks.named` writes them."""
        return frozenset(marks.named(member["name"]) for member in self.members)


def case_page(case: ReviewCase, result: InferenceResult, viewer: User) -> CasePage:
    """Arrange one case for one person; of a first opinion that is still secret, nothing gets in here."""
    holder, kind = case.holder(), case.job.media.kind
    hidden = marks.hidden_authors(case, viewer)
    own = marks.thresholds_for(case, viewer)
    changed = None if own is None else rules.reading(result, own.fake_at, own.real_below)
    reading = result.label if changed is None else changed.label
    callable_ = marks.callable_members(case.organization)
    members = [{"name": user.get_username(), "full": user.get_full_name()} for user in callable_]
    appeals = tuple(case.appeals.order_by("created_at"))
    annotations = tuple(
        case.annotations.exclude(author_id__in=hidden).select_related("author").order_by("start_s", "created_at")
    )
    return CasePage(
        holder=holder,
        is_mine=holder == viewer,
        why_not=why_not(case, viewer),
        is_blind=bool(hidden),
        reading=reading,
        reading_words=changed.words if changed else "",
        clear_margin=min(rules.clear_margin(), 1.0),
        choices=_choices(case, result, reading),
        decisions=tuple(
            case.decisions.exclude(reviewer_id__in=hidden).select_related("reviewer", "note").order_by("created_at")
        ),
        notes=tuple(
            case.notes.exclude(author_id__in=hidden)
            .filter(decision=None)
            .select_related("author")
            .order_by("created_at")
        ),
        members=members,
        annotations=annotations,
        annotation_data=[
            {
                "id": str(mark.pk),
                "number": number,
                "box": mark.box,
                "start": mark.start_s,
                "end": mark.end_s,
                "text": mark.text,
            }
            for number, mark in enumerate(annotations, 1)
        ],
        thresholds=own,
        appeals=appeals,
        needs_answer=any(found.answered_at is None for found in appeals),
        trail=_trail(case, hidden),
        reasons_real=words.reasons_for(words.REASONS_REAL, kind),
        reasons_fake=words.reasons_for(words.REASONS_FAKE, kind),
        reasons_open=words.reasons_for(words.REASONS_OPEN, kind),
        reasons_any=words.reasons_for(words.REASONS_ANY, kind),
    )


def why_not(case: ReviewCase, viewer: User) -> str:
    """Why this person may not judge the case; blank when they may."""
    try:
        services.check_may_work(case, viewer)
    except DomainError as error:
        return error.message
    return ""


def _choices(case: ReviewCase, result: InferenceResult, reading: str) -> tuple[Choice, ...]:
    confirm_title = f"Confirm: {Label(reading).label.lower()}"
    if reading != result.label:
        confirm_title = f"Follow the thresholds of this case: {Label(reading).label.lower()}"
    found = [("confirm", confirm_title, "The verdict is right.")]
    if reading != Label.REAL:
        found.append(("override_real", "Override: it is real", "The verdict is wrong; say why."))
    if reading != Label.FAKE:
        found.append(("override_fake", "Override: it is fake", "The verdict is wrong; say why."))
    found.append(("cannot_tell", "Cannot tell", "A person cannot decide it either."))
    if case.state != ReviewState.ESCALATED:
        found.append(("escalate", "Escalate", "Somebody else has to decide; say what to look at."))
    return tuple(Choice(name, title, text, key) for key, (name, title, text) in enumerate(found, 1))


def veil_for(case: ReviewCase, preference: ReviewPreference) -> VeilState:
    is_on = preference.veil == Veil.ALL or case.is_harsh
    return VeilState(is_on and preference.blurs, is_on and preference.greys, is_on and preference.mutes)


# The trail ------------------------------------------------------------------------------------------------------------


def _trail(case: ReviewCase, hidden: frozenset[int]) -> tuple[Event, ...]:
    """What the audit log knows of the case and of its analysis, oldest first, with the hash that proves each row."""
    own = Q(target_type="reviewcase", target_id=str(case.pk)) | Q(target_type="job", target_id=str(case.job_id))
    rows = AuditLog.objects.filter(own).exclude(actor_id__in=hidden) if hidden else AuditLog.objects.filter(own)
    rows = rows.select_related("actor").order_by("-id")[:TRAIL_LENGTH]
    return tuple(
        Event(
            at=row.created_at,
            who=row.actor.get_full_name() or row.actor.get_username() if row.actor else row.api_key_prefix or "–",
            what=words.event_words(row.action),
            details=_details(row.details, case.job.media.kind),
            hash=row.hash[:12],
        )
        for row in reversed(rows)
    )


def _details(details: dict[str, Any], kind: str) -> str:
    parts = []
    if moved := audit_words.dated_words(details):
        parts.append(moved)
    if outcome := details.get("outcome"):
        parts.append(ReviewOutcome(outcome).label if outcome in ReviewOutcome.values else str(outcome))
    if label := details.get("label"):
        parts.append(Label(label).label if label in Label.values else str(label))
    parts += [words.reason_words(code, kind) for code in details.get("reasons") or []]
    parts += [str(sentence) for sentence in details.get("grounds") or []]
    parts += [str(details[name]) for name in ("text", "reason") if details.get(name) and "grounds" not in details]
    if "fake_at" in details:
        parts.append(f"real below {100 * details['real_below']:g} %, fake from {100 * details['fake_at']:g} %")
    return "; ".join(parts)


# The clock ------------------------------------------------------------------------------------------------------------


def due_words(due_at: datetime, now: datetime | None = None) -> str:
    """`3 h 20 min left` or `2 days overdue`."""
    seconds = (due_at - (now or timezone.now())).total_seconds()
    return f"{_span(abs(seconds))} {'left' if seconds >= 0 else 'overdue'}"


def _span(seconds: float) -> str:
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if hours < 10 and minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    noun = "day" if days == 1 else "days"
    return f"{days} {noun} {hours} h" if days < 3 and hours else f"{days} {noun}"


def latest_undoable(viewer: User, own: ReviewSettings) -> Decision | None:
    """The last opinion of this person while it can be taken back."""
    if not viewer.can_review:
        return None
    own_ones = Decision.objects.filter(reviewer=viewer).select_related("case__job__media", "case__organization")
    last = own_ones.order_by("-created_at").first()
    if last is None or last.undone_at is not None or services.undo_until(last, own) < timezone.now():
        return None
    together = own_ones.filter(batch=last.batch, undone_at=None) if last.batch else [last]
    return last if any(services.may_undo(one, viewer) for one in together) else None
