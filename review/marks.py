"""What people leave on a case: notes with mentions, marked places, thresholds of its own, the mark "harsh"."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from accounts import audit
from accounts.models import Organization, User
from accounts.permissions import Permission, check
from deepfake.errors import DomainError
from detection.models import InferenceResult, Media, ReviewState
from review import rules
from review.models import Annotation, CaseThresholds, Decision, Mention, Note, ReviewCase

MAX_NOTE = 5000
MAX_ANNOTATIONS = 100
MENTION = re.compile(r"(?<![\w@.+-])@([\w.+-]+)")


# Notes ----------------------------------------------------------------------------------------------------------------


def add_note(*, case: ReviewCase, actor: User, text: str, decision: Decision | None = None) -> Note:
    """Keep a note and tell the members whom it names. Raises DomainError."""
    check_reader(actor)
    text = text.strip()
    if not text:
        raise DomainError("Write something first.", "nothing_sent")
    if len(text) > MAX_NOTE:
        raise DomainError(f"A note has at most {MAX_NOTE} characters.", "note_too_long")
    with transaction.atomic():
        note = Note.objects.create(case=case, author=actor, text=text, decision=decision)
        called = mentioned(text, case)
        Mention.objects.bulk_create(Mention(note=note, user=user) for user in called if user != actor)
        if decision is None:
            _audit("review.noted", case, actor, {"mentions": [user.get_username() for user in called]})
    return note


def mentioned(text: str, case: ReviewCase) -> list[User]:
    """The members of the case's organisation whom a text names with @, in any spelling of upper and lower case."""
    names = {named(name) for name in MENTION.findall(text)}
    if not names:
        return []
    return [user for user in callable_members(case.organization) if user.get_username().lower() in names]


def named(name: str) -> str:
    """What stands behind an @, as it is compared: without the full stop of its sentence, in lower case."""
    return name.rstrip(".-+").lower()


def callable_members(organization: Organization) -> list[User]:
    """Who may open a case can be called to it."""
    return list(organization.members_who_may(Permission.REVIEW_READ).order_by("username"))


# Places ---------------------------------------------------------------------------------------------------------------


def annotate(
    *,
    case: ReviewCase,
    actor: User,
    text: str,
    start_s: float | None = None,
    end_s: float | None = None,
    box: tuple[float, float, float, float] | None = None,
) -> Annotation:
    """Mark a moment, a stretch or a region. Raises DomainError when it lies outside the item."""
    _check_reviewer(actor)
    with _open_case(case):
        _check_time(case, start_s, end_s)
        _check_box(case, box)
        if start_s is None and box is None:
            raise DomainError("Mark a region, a moment or a stretch of time.", "nothing_marked")
        if case.annotations.count() >= MAX_ANNOTATIONS:
            raise DomainError(f"A case has at most {MAX_ANNOTATIONS} marks.", "too_many")
        mark = Annotation.objects.create(
            case=case,
            author=actor,
            text=text.strip()[:500],
            start_s=start_s,
            end_s=end_s,
            box=[round(side, 1) for side in box] if box else None,
        )
        _audit("review.annotated", case, actor, {"start_s": start_s, "end_s": end_s, "box": mark.box})
    return mark


def remove_annotation(*, annotation: Annotation, actor: User) -> None:
    if annotation.author_id != actor.pk and not actor.may(Permission.REVIEW_OVERSEE):
        raise DomainError("Only the person who made a mark can remove it.", "not_yours", 403)
    case = annotation.case
    with _open_case(case):
        _audit("review.annotation_removed", case, actor, {"box": annotation.box})
        annotation.delete()


def _check_time(case: ReviewCase, start_s: float | None, end_s: float | None) -> None:
    duration_s = case.job.media.duration_s
    if start_s is None and end_s is not None:
        raise DomainError("Say where the stretch begins, too.", "time_invalid")
    if start_s is not None and not duration_s:
        raise DomainError("A picture has no moments: leave the times empty.", "time_invalid")
    if end_s is not None and start_s is not None and end_s < start_s:
        raise DomainError("The stretch ends before it begins.", "time_invalid")
    for moment in (start_s, end_s):
        if moment is not None and not 0 <= moment <= (duration_s or 0) + 0.5:
            raise DomainError(f"The item is {duration_s:.1f} s long.", "time_invalid")


def _check_box(case: ReviewCase, box: tuple[float, float, float, float] | None) -> None:
    if box is None:
        return
    media = case.job.media
    if not media.width or not media.height:
        raise DomainError("A recording has no regions: leave them empty.", "region_invalid")
    x, y, width, height = box
    if min(x, y) < 0 or min(width, height) <= 0 or x + width > media.width + 0.5 or y + height > media.height + 0.5:
        raise DomainError(
            f"The region must lie inside the picture, which is {media.width} × {media.height} pixels.",
            "region_invalid",
        )


# Thresholds of one case -----------------------------------------------------------------------------------------------


def set_thresholds(*, case: ReviewCase, actor: User, fake_at: float, real_below: float, reason: str) -> CaseThresholds:
    """Let other thresholds hold for this case alone. Raises DomainError."""
    _check_reviewer(actor)
    if not 0 <= real_below <= fake_at <= 1:
        raise DomainError(
            "The threshold for real must not lie above the one for fake, and both between 0 and 100 %.",
            "thresholds_invalid",
        )
    if not reason.strip():
        raise DomainError("Say why other thresholds should hold for this case.", "reason_required")
    with _open_case(case):
        case.thresholds.filter(withdrawn_at=None).update(withdrawn_at=timezone.now())
        own = CaseThresholds.objects.create(
            case=case, author=actor, fake_at=fake_at, real_below=real_below, reason=reason.strip()
        )
        details = {"fake_at": fake_at, "real_below": real_below, "reason": own.reason}
        _audit("review.thresholds_set", case, actor, details)
    return own


def withdraw_thresholds(*, case: ReviewCase, actor: User) -> None:
    _check_reviewer(actor)
    with _open_case(case):
        if case.thresholds.filter(withdrawn_at=None).update(withdrawn_at=timezone.now()):
            _audit("review.thresholds_withdrawn", case, actor, {})


def thresholds_for(case: ReviewCase, viewer: User) -> CaseThresholds | None:
    """The case's own thresholds, unless this person may not see yet what another opinion rests on."""
    standing = case.thresholds.filter(withdrawn_at=None).select_related("author")
    return standing.exclude(author_id__in=hidden_authors(case, viewer)).first()


def label_under(own: CaseThresholds | None, result: InferenceResult) -> str:
    """How the machine's score reads: by the case's own thresholds where there are some."""
    return result.label if own is None else rules.reading(result, own.fake_at, own.real_below).label


# Blindness ------------------------------------------------------------------------------------------------------------


def hidden_authors(case: ReviewCase, viewer: User) -> frozenset[int]:
    """Whose marks stay unseen: while a second opinion is awaited, those of whoever gave the first."""
    return hidden_authors_of([case], viewer).get(case.pk, frozenset())


def hidden_authors_of(cases: Iterable[ReviewCase], viewer: User) -> dict[UUID, frozenset[int]]:
    """The same for several cases in one query, by case; those where nobody is hidden are left out."""
    blind = {case.pk for case in cases if case.state == ReviewState.SECOND_OPINION}
    if not blind:
        return {}
    found: dict[UUID, frozenset[int]] = {}
    opinions = Decision.objects.filter(case__in=blind).standing().exclude(reviewer=viewer)
    for case_id, reviewer_id in opinions.values_list("case_id", "reviewer_id"):
        found[case_id] = found.get(case_id, frozenset()) | {reviewer_id}
    return found


# Harsh material -------------------------------------------------------------------------------------------------------


def mark_harsh(*, case: ReviewCase, actor: User, is_harsh: bool) -> None:
    """Say of the item, whatever analysis and case it is met in, that its pictures are to be covered, or not."""
    check_reader(actor)
    with transaction.atomic():
        if Media.objects.filter(pk=case.job.media_id).exclude(is_harsh=is_harsh).update(is_harsh=is_harsh):
            ReviewCase.objects.filter(job__media=case.job.media_id).update(is_harsh=is_harsh)
            _audit("review.harsh_marked" if is_harsh else "review.harsh_unmarked", case, actor, {})
    case.is_harsh = case.job.media.is_harsh = is_harsh


# Shared ---------------------------------------------------------------------------------------------------------------


def check_reader(actor: User) -> None:
    """Raises DomainError when the role keeps this person out of cases."""
    check(actor, Permission.REVIEW_READ)


def _check_reviewer(actor: User) -> None:
    check(actor, Permission.REVIEW)


@contextmanager
def _open_case(case: ReviewCase) -> Iterator[None]:
    """A transaction that nobody decides or marks the case beside. Raises DomainError when it has been decided."""
    with transaction.atomic():
        if ReviewCase.objects.select_for_update().get(pk=case.pk).is_closed:
            raise DomainError("This case has been decided.", "case_closed", 409)
        yield


def _audit(action: str, case: ReviewCase, actor: User, details: dict[str, Any]) -> None:
    audit.record(action=action, organization=case.organization, actor=actor, target=case, details=details)
