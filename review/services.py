"""What can be done with a case: open, take, give back, decide, undo. Marks on a case: marks.py; appeals: appeals.py."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import audit
from accounts.models import Organization, User
from accounts.permissions import Permission, check
from deepfake.errors import DomainError
from detection.models import InferenceResult, Job, JobStatus, Label, ReviewOutcome, ReviewState
from detection.services import tell_pages
from review import appeals, marks, rules, words
from review.models import CaseThresholds, Decision, Priority, Reason, ReviewCase, ReviewPreference, ReviewSettings
from review.querysets import CaseQuerySet

MAX_BULK = 100
TAKE_CANDIDATES = 10


def settings_of(organization: Organization) -> ReviewSettings:
    """The organisation's rules; the shipped ones until it has its own."""
    found = ReviewSettings.objects.filter(organization=organization).first()
    return found or ReviewSettings(organization=organization)


def save_settings(*, settings: ReviewSettings, actor: User) -> ReviewSettings:
    """Keep an organisation's rules. The form has checked them; the trail holds each as it was set."""
    with transaction.atomic():
        settings.save()
        fields = [field.name for field in ReviewSettings._meta.fields if field.name != "organization"]
        audit.record(
            action="review.settings_saved",
            organization=settings.organization,
            actor=actor,
            target=settings,
            details={name: getattr(settings, name) for name in fields},
        )
    return settings


def save_preferences(preference: ReviewPreference) -> None:
    """Keep how a member wants review material shown. The form has checked it."""
    with transaction.atomic():
        preference.save()
        shown = [field.name for field in ReviewPreference._meta.fields if not field.is_relation]
        audit.record(
            action="review.preferences_saved",
            organization=preference.user.organization,
            actor=preference.user,
            target=preference,
            details={name: getattr(preference, name) for name in shown if name != "id"},
        )


# Opening --------------------------------------------------------------------------------------------------------------


def route(job: Job, result: InferenceResult) -> ReviewCase | None:
    """Put a completed job before people if a rule says so. Doing it twice does nothing more."""
    if ReviewCase.objects.filter(job=job).exists():
        return None
    found = rules.grounds(result, result.branch_scores.all(), settings_of(job.organization), job.id)
    return open_case(job=job, grounds=found) if found else None


def open_case(*, job: Job, grounds: Sequence[rules.Ground], actor: User | None = None) -> ReviewCase:
    """Open a case, or add the grounds to the one that is open; of two callers at once, one opens it."""
    if job.is_sandbox:
        raise DomainError(
            "This analysis was started with a sandbox key, and those are not reviewed. Analyse the item with a live "
            "key or on the page first.",
            "sandbox_job",
            409,
        )
    own = settings_of(job.organization)
    with transaction.atomic():
        case = _locked_open(job)
        if case is not None:
            return _raise(case, grounds, own, actor)
        try:
            with transaction.atomic():
                case = _create(job, grounds, own, actor)
        except IntegrityError:  # somebody was faster
            case = _locked_open(job)
            if case is None:
                raise
            return _raise(case, grounds, own, actor)
        mirror(job)
        _audit("review.opened", case, actor, {"reason": case.reason, "grounds": case.grounds})
    _tell(job)
    return case


def send_to_review(*, job: Job, actor: User, priority: int = Priority.HIGH, note: str = "") -> ReviewCase:
    """Open a case by hand. Raises DomainError when there is no verdict to judge."""
    check(actor, Permission.REVIEW_READ)
    if job.status != JobStatus.COMPLETED:
        raise DomainError("Only a completed analysis can be reviewed.", "job_not_completed", 409)
    name = actor.get_full_name() or actor.get_username()
    with transaction.atomic():
        ground = rules.Ground(Reason.MANUAL, Priority(priority), f"Sent to review by {name}.")
        case = open_case(job=job, grounds=[ground], actor=actor)
        if note.strip():
            marks.add_note(case=case, actor=actor, text=note)
    return case


def _locked_open(job: Job) -> ReviewCase | None:
    return ReviewCase.objects.select_for_update().filter(job=job, closed_at=None).first()


def _create(job: Job, grounds: Sequence[rules.Ground], own: ReviewSettings, actor: User | None) -> ReviewCase:
    first = max(grounds, key=lambda ground: ground.priority)
    now = timezone.now()
    return ReviewCase.objects.create(
        organization=job.organization,
        job=job,
        reason=first.reason,
        grounds=[ground.sentence for ground in grounds],
        priority=first.priority,
        opinions_wanted=rules.opinions_wanted(job.id, own),
        opened_by=actor,
        opened_at=now,
        due_at=now + own.time_allowed(first.priority),
        is_harsh=job.media.is_harsh,
    )


def _raise(case: ReviewCase, grounds: Sequence[rules.Ground], own: ReviewSettings, actor: User | None) -> ReviewCase:
    """Add what is new; the case moves up when a new ground is more urgent, never down."""
    new = [ground for ground in grounds if ground.sentence not in case.grounds]
    if not new:
        return case
    first = max(new, key=lambda ground: ground.priority)
    case.grounds = [*case.grounds, *(ground.sentence for ground in new)]
    if first.priority > case.priority:
        case.priority, case.reason = first.priority, first.reason
        case.due_at = min(case.due_at, timezone.now() + own.time_allowed(first.priority))
    case.save(update_fields=["grounds", "priority", "reason", "due_at"])
    _audit("review.raised", case, actor, {"reason": first.reason, "grounds": [ground.sentence for ground in new]})
    return case


def mirror(job: Job) -> None:
    """Write on the job where its review stands; lists and the API read it there."""
    cases = list(ReviewCase.objects.filter(job=job).order_by("-opened_at"))
    unfinished = next((case for case in cases if case.closed_at is None), None)
    decided = [case for case in cases if case.closed_at is not None]
    last = max(decided, key=lambda case: (case.closed_at, case.opened_at), default=None)
    state = unfinished.state if unfinished else ReviewState.DECIDED if last else ""
    verdict = InferenceResult.objects.filter(job=job).values_list("label", flat=True).first()
    at_work = unfinished.claimed_by_id if unfinished else None
    columns = {
        "reviewer_id": at_work or _last_reviewer(job),
        "final_label": (last.label if last else "") or verdict or "",
        "review_state": state,
        "review_decision": last.outcome if last else "",
        "review_label": last.label if last else "",
        "reviewed_at": last.closed_at if last else None,
    }
    Job.objects.filter(pk=job.pk).update(**columns)
    for name, value in columns.items():
        setattr(job, name, value)


def _last_reviewer(job: Job) -> int | None:
    given = Decision.objects.standing().filter(case__job=job).order_by("-created_at")
    return given.values_list("reviewer_id", flat=True).first()


# Taking and giving back -----------------------------------------------------------------------------------------------


def claim(*, case: ReviewCase, actor: User) -> ReviewCase:
    """Take a case for `claim_minutes`: of two people at once one gets it, the other is told who. Raises DomainError."""
    check_may_work(case, actor)
    own = settings_of(case.organization)
    with transaction.atomic():
        mine = ReviewCase.objects.held_by(actor).filter(pk=case.pk, closed_at=None)
        now = timezone.now()
        until = now + timedelta(minutes=own.claim_minutes)
        if not mine.update(claimed_until=until):
            _take(case, actor, now, until)
            mirror(case.job)
            _audit("review.claimed", case, actor, {})
    case.refresh_from_db()
    _tell(case.job)
    return case


def _take(case: ReviewCase, actor: User, now: Any, until: Any) -> None:
    free = ReviewCase.objects.unfinished().free_for(actor).filter(pk=case.pk, state=case.state)
    if free.update(claimed_by=actor, claimed_at=now, claimed_until=until):
        return
    case.refresh_from_db()
    holder = case.holder()
    if holder is not None and holder != actor:
        raise _taken(case)
    if case.is_closed:
        raise DomainError("A colleague has decided this case meanwhile.", "case_closed", 409)
    raise DomainError("This case has changed meanwhile. Look at it again.", "case_changed", 409)


def _taken(case: ReviewCase) -> DomainError:
    who = case.claimed_by.get_full_name() or case.claimed_by.get_username() if case.claimed_by else "A colleague"
    since = timezone.localtime(case.claimed_at).strftime("%H:%M %Z") if case.claimed_at else "just now"
    return DomainError(f"{who} has had this case since {since}.", "case_claimed", 409)


def release(*, case: ReviewCase, actor: User) -> None:
    """Give a case back to the queue; an administrator may take it off somebody."""
    check(actor, Permission.REVIEW)
    with transaction.atomic():
        held = ReviewCase.objects.unfinished().filter(pk=case.pk).exclude(claimed_by=None)
        if not actor.may(Permission.REVIEW_OVERSEE):
            held = held.filter(claimed_by=actor)
        if held.update(claimed_by=None, claimed_at=None, claimed_until=None):
            mirror(case.job)
            _audit("review.released", case, actor, {})
    case.refresh_from_db()
    _tell(case.job)


def take_next(*, queue: CaseQuerySet, actor: User) -> ReviewCase | None:
    """Take the best free case of `queue` that this person may judge; None when there is none."""
    check(actor, Permission.REVIEW)
    free = queue.workable_by(actor).free_for(actor).exclude(pk__in=queue.held_by(actor).values("pk"))
    for case in free.in_queue_order().select_related("job", "organization")[:TAKE_CANDIDATES]:
        try:
            return claim(case=case, actor=actor)
        except DomainError:  # somebody was faster: the next one
            continue
    return None


def check_may_work(case: ReviewCase, actor: User) -> None:
    """Raises DomainError when this person may not judge this case."""
    check(actor, Permission.REVIEW)
    if case.is_closed:
        raise DomainError("This case has been decided.", "case_closed", 409)
    took_part = case.decisions.standing().filter(reviewer=actor).exists() if case.state != ReviewState.OPEN else False
    if took_part and case.state == ReviewState.SECOND_OPINION:
        raise DomainError(
            "You gave the first opinion on this case; the second comes from a colleague.", "own_opinion", 409
        )
    if took_part and case.state == ReviewState.ESCALATED and not actor.may(Permission.REVIEW_OVERSEE):
        raise DomainError("You took part in this case; a colleague or an administrator ends it.", "own_opinion", 409)


# Deciding -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Opinion:
    """What a reviewer says about a verdict."""

    outcome: str
    label: str = ""  # of an override
    reasons: tuple[str, ...] = ()
    note: str = ""
    helpfulness: int | None = None
    asks_second: bool = False
    answer: str = ""  # to the person who appealed


def decide(
    *, case: ReviewCase, actor: User, opinion: Opinion, batch: uuid.UUID | None = None, seen_state: str = ""
) -> Decision:
    """Give an opinion on a case that this person holds or nobody does; the case then stands where that brings it.

    seen_state: the state of the case when the person looked at it, where that may be older than `case`.
    Raises DomainError when somebody else holds the case, when it has moved on, or when the opinion is incomplete.
    """
    seen_state = seen_state or case.state
    with transaction.atomic():
        case = _locked(case.pk)
        holder = case.holder()
        if holder is not None and holder != actor:
            raise _taken(case)
        if not case.is_closed and case.state != seen_state:
            raise DomainError("This case has changed meanwhile. Look at it again.", "case_changed", 409)
        check_may_work(case, actor)
        result = InferenceResult.objects.get(job=case.job_id)
        outcome, label, reasons = _weighed(case, actor, opinion, result)
        _check(case, outcome, label, reasons, opinion, result)
        now = timezone.now()
        decision = Decision.objects.create(
            case=case,
            organization=case.organization,
            reviewer=actor,
            round=rules.ROUND_IN[case.state],
            outcome=outcome,
            label=label,
            machine_label=result.label,
            reasons=list(reasons),
            helpfulness=opinion.helpfulness,
            asks_second=opinion.asks_second,
            answer=opinion.answer.strip(),
            seconds=_seconds(case, actor, now) if batch is None else None,
            batch=batch,
            created_at=now,
        )
        if opinion.note.strip():
            marks.add_note(case=case, actor=actor, text=opinion.note, decision=decision)
        _settle(case)
        details = {"round": decision.round, "outcome": outcome, "label": label, "reasons": list(reasons)}
        _audit("review.decided", case, actor, details | ({"batch": str(batch)} if batch else {}))
    _tell(case.job)
    return decision


def _weighed(
    case: ReviewCase, actor: User, opinion: Opinion, result: InferenceResult
) -> tuple[str, str, tuple[str, ...]]:
    """Return outcome, label and reasons; to confirm a reading that differs from the machine's is to override it."""
    if opinion.outcome == ReviewOutcome.ESCALATE:
        return opinion.outcome, "", opinion.reasons
    if opinion.outcome == ReviewOutcome.CANNOT_TELL:
        return opinion.outcome, Label.INCONCLUSIVE, opinion.reasons
    if opinion.outcome == ReviewOutcome.OVERRIDE:
        return opinion.outcome, opinion.label, opinion.reasons
    label = marks.label_under(marks.thresholds_for(case, actor), result)
    if label != result.label:
        return ReviewOutcome.OVERRIDE, label, (words.THRESHOLD_REASON,)
    return opinion.outcome, label, opinion.reasons


def _check(
    case: ReviewCase,
    outcome: str,
    label: str,
    reasons: tuple[str, ...],
    opinion: Opinion,
    result: InferenceResult,
) -> None:
    unknown = [code for code in reasons if code not in words.REASONS]
    if outcome not in ReviewOutcome.values or unknown:
        raise DomainError("This decision is not one that can be made here.", "decision_unknown")
    if outcome == ReviewOutcome.OVERRIDE and (label not in Label.values or label == result.label):
        raise DomainError("Say which label the item should have instead.", "label_unknown")
    if outcome == ReviewOutcome.ESCALATE and case.state == ReviewState.ESCALATED:
        raise DomainError("This case is escalated already: somebody has to end it.", "already_escalated", 409)
    if missing := _missing(case, outcome, reasons, opinion):
        fields: dict[str, list[str]] = {}
        for name, _, sentence in missing:
            fields.setdefault(name, []).append(sentence)
        raise DomainError(" ".join(sentence for _, _, sentence in missing), missing[0][1], fields=fields)


def _missing(case: ReviewCase, outcome: str, reasons: tuple[str, ...], opinion: Opinion) -> list[tuple[str, str, str]]:
    """All that the opinion lacks, as field, code and sentence: whoever decides mends it at once."""
    found = []
    if outcome == ReviewOutcome.OVERRIDE and not reasons:
        found.append(("reasons", "reason_required", "Choose at least one reason for overriding the verdict."))
    if "other" in reasons and not opinion.note.strip():
        found.append(("note", "note_required", "Say in the note what the other reason is."))
    if outcome == ReviewOutcome.ESCALATE and not opinion.note.strip():
        found.append(("note", "note_required", "Say in the note what the next person should look at."))
    if outcome != ReviewOutcome.ESCALATE and not opinion.answer.strip() and case.appeals.unanswered().exists():
        found.append(("answer", "answer_required", "Somebody appealed: write the answer that they will read."))
    return found


def _seconds(case: ReviewCase, actor: User, now: Any) -> float | None:
    if case.claimed_by_id != actor.pk or case.claimed_at is None:
        return None
    return max((now - case.claimed_at).total_seconds(), 0.0)


def _settle(case: ReviewCase) -> None:
    """Bring the case to where its standing opinions put it, and tell the job and whoever appealed."""
    decisions = list(case.decisions.standing().order_by("created_at"))
    found = rules.standing(decisions, case.opinions_wanted)
    case.state, case.outcome, case.label = found.state, found.outcome, found.label
    case.closed_at = decisions[-1].created_at if found.is_final else None
    case.claimed_by = case.claimed_at = case.claimed_until = None
    case.save(update_fields=["state", "outcome", "label", "closed_at", "claimed_by", "claimed_at", "claimed_until"])
    mirror(case.job)
    if found.is_final:
        appeals.answer(case, decisions[-1])


# In bulk, and back ----------------------------------------------------------------------------------------------------


@dataclass
class Batch:
    """What a bulk decision did: how many it took, and why it left out the others."""

    id: uuid.UUID
    decisions: list[Decision] = field(default_factory=list)
    refused: list[tuple[ReviewCase, str]] = field(default_factory=list)


def decide_many(*, cases: Iterable[ReviewCase], actor: User, opinion: Opinion) -> Batch:
    """Give the same opinion on many cases; each that cannot be decided so is left as it was, with the reason."""
    chosen = list(cases)
    check(actor, Permission.REVIEW)
    if not chosen:
        raise DomainError("Choose at least one case.", "nothing_chosen")
    if len(chosen) > MAX_BULK:
        raise DomainError(f"At most {MAX_BULK} cases can be decided at once.", "too_many")
    batch = Batch(uuid.uuid4())
    for case in chosen:
        try:
            batch.decisions.append(decide(case=case, actor=actor, opinion=opinion, batch=batch.id))
        except DomainError as error:
            batch.refused.append((case, error.message))
    return batch


def undo(*, decision: Decision, actor: User, is_kept: bool = True) -> ReviewCase:
    """Take an opinion back while that is possible; the case stands again where it stood. Raises DomainError.

    is_kept: whoever takes an opinion back has the case in hand again, to give another one.
    """
    with transaction.atomic():
        case = _locked(decision.case_id)
        decision = Decision.objects.get(pk=decision.pk)
        _check_undo(case, decision, actor)
        decision.undone_at, decision.undone_by = timezone.now(), actor
        decision.save(update_fields=["undone_at", "undone_by"])
        if case.is_closed:
            appeals.take_back(case, decision)
        _settle(case)
        if is_kept:
            now = timezone.now()
            _take(case, actor, now, now + timedelta(minutes=settings_of(case.organization).claim_minutes))
            case.refresh_from_db()
            mirror(case.job)
        _audit("review.undone", case, actor, {"outcome": decision.outcome, "label": decision.label})
    _tell(case.job)
    return case


def undo_batch(*, batch: uuid.UUID, actor: User) -> Batch:
    """Take back what stands of a bulk decision."""
    done = Batch(batch)
    standing = Decision.objects.standing().filter(batch=batch, reviewer=actor).select_related("case__job__media")
    for decision in standing:
        try:
            undo(decision=decision, actor=actor, is_kept=False)
            done.decisions.append(decision)
        except DomainError as error:
            done.refused.append((decision.case, error.message))
    return done


def undo_until(decision: Decision, own: ReviewSettings) -> Any:
    return decision.created_at + timedelta(minutes=own.undo_minutes)


def may_undo(decision: Decision, actor: User) -> bool:
    try:
        _check_undo(decision.case, decision, actor)
    except DomainError:
        return False
    return True


def _check_undo(case: ReviewCase, decision: Decision, actor: User) -> None:
    own = settings_of(case.organization)
    if decision.reviewer_id != actor.pk:
        raise DomainError("Only the person who gave an opinion can take it back.", "not_yours", 403)
    if decision.undone_at is not None:
        raise DomainError("This opinion has been taken back already.", "already_undone", 409)
    if timezone.now() > undo_until(decision, own):
        raise DomainError(
            f"An opinion can be taken back for {own.undo_minutes} minutes. Send the analysis to review again instead.",
            "too_late",
            409,
        )
    if case.decisions.standing().filter(created_at__gt=decision.created_at).exists():
        raise DomainError("A colleague has given an opinion since.", "case_moved_on", 409)
    holder = case.holder()
    if holder is not None and holder != actor:
        raise _taken(case)
    if case.is_closed and ReviewCase.objects.filter(job=case.job_id, closed_at=None).exists():
        raise DomainError("This analysis is in review again already.", "case_moved_on", 409)


# Shared ---------------------------------------------------------------------------------------------------------------


def reading_under(result: InferenceResult, own: CaseThresholds) -> rules.Reading:
    """How the machine's score reads under the thresholds of a case."""
    return rules.reading(result, own.fake_at, own.real_below)


def _locked(pk: uuid.UUID) -> ReviewCase:
    """The case as nobody else can change it until the transaction ends; its job and organisation stay free."""
    rows = ReviewCase.objects.select_for_update(of=("self",))
    return rows.select_related("job__organization", "organization").get(pk=pk)


def _tell(job: Job) -> None:
    transaction.on_commit(functools.partial(tell_pages, job))


def _audit(action: str, case: ReviewCase, actor: User | None, details: dict[str, Any]) -> None:
    audit.record(action=action, organization=case.organization, actor=actor, target=case, details=details)
