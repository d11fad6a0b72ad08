"""How long things are kept: rules of the organisation, wishes of a request, and carrying them out in small batches.

An item whose time is over loses its bytes (keys first), its pictures and all it could be found again by; its row and
the verdict stay. An analysis whose time is over goes altogether. Holds and open reviews keep everything.
"""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from accounts import audit
from accounts.models import Organization, User
from accounts.permissions import Permission, check
from deepfake import storage
from deepfake.errors import DomainError
from detection import holds
from detection.models import (
    FINAL_STATUSES,
    BranchScore,
    ErasedReason,
    ExplanationArtifact,
    InferenceResult,
    Job,
    Media,
    MediaKind,
    MediaLink,
    MediaText,
    Retention,
    RetentionRule,
    RetentionSettings,
    ReviewState,
)
from detection.privacy_models import MOST_DAYS
from detection.verdicts import artifact_hint

IN_REVIEW = (ReviewState.OPEN, ReviewState.SECOND_OPINION, ReviewState.ESCALATED)
BATCH = 100
TIME_FOR_IT_S = 30.0
# An item that is to be kept for its analysis only, and whose analysis was never asked for.
NEVER_ANALYSED_AFTER = timedelta(days=1)
# What stays of a verdict's details when nothing else of the item may.
VERDICT_DETAILS = ("channels", "fake_intervals", "curve", "stability", "seconds", "warnings")
FIELDS = ("media_days", "artifact_days", "result_days")


@dataclass
class Destroyed:
    """What one run took away from one organisation."""

    media: int = 0
    pictures: int = 0
    analyses: int = 0
    objects: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.media or self.pictures or self.analyses)


# Rules ----------------------------------------------------------------------------------------------------------------


def settings_of(organization: Organization) -> RetentionSettings:
    """The organisation's own, or what holds without."""
    found = RetentionSettings.objects.filter(organization=organization).first()
    return found or RetentionSettings(organization=organization)


def rules_of(organization: Organization) -> dict[str, RetentionRule]:
    """By kind of media; "" is the rule for every kind that has none of its own."""
    return {rule.kind: rule for rule in RetentionRule.objects.filter(organization=organization)}


def save_rules(
    *, organization: Organization, actor: User, rules: dict[str, dict[str, int | None]], own: dict[str, Any]
) -> None:
    """Put these rules (by kind: days of each sort, None for "until somebody deletes them") in the place of all."""
    check(actor, Permission.PRIVACY)
    _check_rules(rules, own)
    kept = {kind: days for kind, days in rules.items() if any(days.values())}
    with transaction.atomic():
        before = {kind: {name: getattr(rule, name) for name in FIELDS} for kind, rule in rules_of(organization).items()}
        RetentionRule.objects.filter(organization=organization).exclude(kind__in=list(kept)).delete()
        for kind, days in kept.items():
            RetentionRule.objects.update_or_create(organization=organization, kind=kind, defaults=days)
        RetentionSettings.objects.update_or_create(organization=organization, defaults=own)
        details = {"before": before, "after": kept, "settings": own}
        audit.record(action="privacy.retention_changed", organization=organization, actor=actor, details=details)


def _check_rules(rules: dict[str, dict[str, int | None]], own: dict[str, Any]) -> None:
    if not set(rules) <= {"", *MediaKind.values} or not all(set(days) <= set(FIELDS) for days in rules.values()):
        raise DomainError("There is no such rule of retention.", "retention_invalid")
    every = [days for row in rules.values() for days in row.values() if days is not None]
    every += [own["request_days_from"], own["request_days_to"]]
    if not all(1 <= days <= MOST_DAYS for days in every):
        raise DomainError(f"Days are whole numbers from 1 to {MOST_DAYS:,}.", "retention_invalid")
    if own["request_days_from"] > own["request_days_to"]:
        raise DomainError("The longest time that a request may ask for is below the shortest.", "retention_invalid")


def _days(rules: dict[str, RetentionRule], kind: str, name: str) -> int | None:
    """The days for things of a kind; a rule for the kind alone stands before the general one, field by field."""
    for rule in (rules.get(kind), rules.get("")):
        days = getattr(rule, name) if rule is not None else None
        if days is not None:
            return int(days)
    return None


# What one request asks for --------------------------------------------------------------------------------------------


def ask(*, media: Media, retention: str = "", days: int | None = None) -> None:
    """Let a new item be kept for its analysis only, or for `days`; in the transaction that takes it."""
    if not retention and days is None:
        return
    own = settings_of(media.organization)
    if retention and days is not None:
        raise DomainError("Send retention or retention_days, not both.", "retention_conflict")
    if retention and retention not in Retention.values:
        raise DomainError('retention must be "none" or left out.', "retention_invalid")
    if retention and not own.allows_zero_retention:
        raise DomainError(
            "Your organisation does not allow analyses that keep nothing. Ask who manages its privacy settings.",
            "retention_not_allowed",
            403,
        )
    if days is not None and not own.request_days_from <= days <= own.request_days_to:
        raise DomainError(
            f"retention_days must be between {own.request_days_from} and {own.request_days_to}, as your organisation "
            "has set it.",
            "retention_invalid",
        )
    if media.jobs.exists():
        raise DomainError(
            "This item was analysed before and is kept by the rules of then. Send the file itself instead of its id.",
            "item_kept",
            409,
        )
    media.retention = retention
    media.keep_until = timezone.now() + timedelta(days=days) if days is not None else None
    Media.objects.filter(pk=media.pk).update(retention=media.retention, keep_until=media.keep_until)


def check_there(media: Media) -> None:
    """Raise DomainError when the bytes of an item are destroyed."""
    if media.erased_at is not None:
        reason = ErasedReason(media.erased_reason).label
        raise DomainError(
            f"The item was destroyed on {media.erased_at:%d %B %Y}: {reason}. Its verdict stays; to analyse it again, "
            "send it again.",
            "media_erased",
            409,
        )


# What is due ----------------------------------------------------------------------------------------------------------


def due_media(organization: Organization, now: datetime) -> QuerySet[Media]:
    """Items whose bytes are to be destroyed."""
    rules, over = rules_of(organization), Q(keep_until__lte=now)
    for kind in MediaKind.values:
        days = _days(rules, kind, "media_days")
        if days is not None:
            over |= Q(kind=kind, keep_until=None, created_at__lte=now - timedelta(days=days))
    kept = Media.objects.filter(over, organization=organization, erased_at=None, deleted_at=None)
    return holds.free_media(_at_rest(kept, organization, now))


def due_pictures(organization: Organization, now: datetime) -> QuerySet[Job]:
    """Analyses whose pictures have a time of their own that is over."""
    jobs = _over(organization, now, "artifact_days").filter(
        Exists(ExplanationArtifact.objects.filter(result__job=OuterRef("pk")))
    )
    return _free_jobs(jobs, organization, now)


def due_analyses(organization: Organization, now: datetime) -> QuerySet[Job]:
    """Analyses that are to go altogether."""
    return _free_jobs(_over(organization, now, "result_days"), organization, now)


def preview(organization: Organization, now: datetime | None = None) -> dict[str, int]:
    """What would be destroyed by this time tomorrow."""
    until = (now or timezone.now()) + timedelta(days=1)
    return {
        "media": due_media(organization, until).count(),
        "pictures": due_pictures(organization, until).count(),
        "analyses": due_analyses(organization, until).count(),
    }


def _over(organization: Organization, now: datetime, name: str) -> QuerySet[Job]:
    rules, over = rules_of(organization), Q(pk__in=[])
    for kind in ("", *MediaKind.values):
        days = _days(rules, kind, name)
        if days is not None:
            over |= Q(kind=kind, created_at__lte=now - timedelta(days=days))
    return Job.objects.filter(over, organization=organization, deleted_at=None, status__in=FINAL_STATUSES).order_by()


def _free_jobs(jobs: QuerySet[Job], organization: Organization, now: datetime) -> QuerySet[Job]:
    held = holds.standing().filter(media=OuterRef("media_id"))
    return jobs.exclude(Exists(held)).exclude(_in_review(organization, now))


def _at_rest(media: QuerySet[Media], organization: Organization, now: datetime) -> QuerySet[Media]:
    """Those that no analysis still needs, and no review."""
    jobs = Job.objects.filter(media=OuterRef("pk"))
    return media.exclude(Exists(jobs.exclude(status__in=FINAL_STATUSES))).exclude(
        Exists(jobs.filter(_in_review(organization, now)))
    )


def _in_review(organization: Organization, now: datetime) -> Q:
    """Under review or appeal, or decided so lately that it may be looked at again."""
    extra = timedelta(days=settings_of(organization).review_extra_days)
    return Q(review_state__in=IN_REVIEW) | Q(reviewed_at__gt=now - extra)


# Destroying -----------------------------------------------------------------------------------------------------------


def erase(media: Media, reason: ErasedReason) -> list[str] | None:
    """Destroy an item's bytes and all it could be found again by; its verdicts stay. None when it is held or gone.

    Everything happens under the lock of its row, keys first: broken off, it is still due and is done from the start.
    """
    with transaction.atomic():
        found = Media.objects.select_for_update().filter(pk=media.pk, erased_at=None).first()
        if found is None or holds.standing().filter(media=media.pk).exists():
            return None
        names = [name for name in (found.storage_name, found.rendition_name, found.thumbnail_name) if name]
        for name in names:
            storage.destroy(name)
        if reason == ErasedReason.NONE or not _days(rules_of(found.organization), found.kind, "artifact_days"):
            for job in found.jobs.all():
                names += _erase_pictures(job)
        found.face_prints.all().delete()
        found.sound_marks.all().delete()
        MediaLink.objects.filter(Q(media=found) | Q(other=found)).delete()
        changed: dict[str, Any] = {
            **dict.fromkeys(("storage_name", "rendition_name", "thumbnail_name", "phash"), ""),
            "info": {},
            "look": None,
            "erased_at": timezone.now(),
            "erased_reason": reason,
        }
        if reason == ErasedReason.NONE:
            changed |= {"filename": "", "source_url": ""}
            MediaText.objects.filter(media=found).update(text="")
            found.jobs.update(source_host="")
            _keep_verdict_only(found)
        Media.objects.filter(pk=found.pk).update(**changed)
    return names


def _erase_pictures(job: Job) -> list[str]:
    rows = ExplanationArtifact.objects.filter(result__job=job)
    names = {
        *rows.values_list("storage_name", flat=True),
        *storage.names_of(artifact_hint(job), organization_id=job.organization_id),
    }
    for name in names:
        storage.destroy(name)
    rows.delete()
    return sorted(names)


def _keep_verdict_only(media: Media) -> None:
    """Places of faces, the envelope of a voice and what a file says of its makers go; labels and scores stay."""
    for result in InferenceResult.objects.filter(job__media=media):
        details = {name: result.details[name] for name in VERDICT_DETAILS if name in result.details}
        InferenceResult.objects.filter(pk=result.pk).update(details=details)
    BranchScore.objects.filter(result__job__media=media).update(data={})


def forget_at_once(media: Media) -> None:
    """Called at the end of an analysis that is to leave nothing but its verdict; the sweep does what was broken off."""
    if media.retention == Retention.NONE:
        _forget(Media.objects.filter(pk=media.pk))


def forget_left_over() -> int:
    """Items that should have been forgotten when their analysis ended, and of a process that was killed then."""
    return _forget(Media.objects.all())


def _forget(media: QuerySet[Media]) -> int:
    jobs = Job.objects.filter(media=OuterRef("pk"))
    due = media.filter(retention=Retention.NONE, erased_at=None).exclude(
        Exists(jobs.exclude(status__in=FINAL_STATUSES))
    )
    due = due.filter(Exists(jobs) | Q(created_at__lt=timezone.now() - NEVER_ANALYSED_AFTER))
    done: dict[Organization, Destroyed] = defaultdict(Destroyed)
    for item in list(due.select_related("organization").order_by("created_at")[:BATCH]):
        names = erase(item, ErasedReason.NONE)
        if names is not None:
            done[item.organization].media += 1
            done[item.organization].objects += names
    for organization, destroyed in done.items():
        _record(organization, destroyed, "zero_retention")
    return sum(destroyed.media for destroyed in done.values())


def apply(*, time_s: float = TIME_FOR_IT_S, now: datetime | None = None) -> int:
    """Carry out all organisations' rules, batch by batch while there is time. Returns how many things went."""
    end, now, total = time.monotonic() + time_s, now or timezone.now(), 0
    forget_left_over()
    wishes = Media.objects.filter(erased_at=None, keep_until__lte=now).values("organization")
    rules = RetentionRule.objects.values("organization")
    for organization in Organization.objects.filter(Q(pk__in=rules) | Q(pk__in=wishes)):
        while time.monotonic() < end:
            destroyed = _apply_batch(organization, now)
            if not destroyed:
                break
            _record(organization, destroyed, "retention")
            total += destroyed.media + destroyed.pictures + destroyed.analyses
    return total


def _apply_batch(organization: Organization, now: datetime) -> Destroyed:
    from detection import services  # services asks us about new items: the two know each other

    done = Destroyed()
    for media in list(due_media(organization, now).order_by("created_at")[:BATCH]):
        names = erase(media, ErasedReason.RETENTION)
        if names is not None:
            done.media += 1
            done.objects += names
    for job in list(due_pictures(organization, now).order_by("created_at")[:BATCH]):
        with transaction.atomic():
            done.objects += _erase_pictures(job)
        done.pictures += 1
    analyses = due_analyses(organization, now).select_related("media", "organization")
    for job in list(analyses.order_by("created_at")[:BATCH]):
        try:
            done.objects += services.delete_analysis(job=job, is_audited=False)
        except DomainError:  # held since we looked
            continue
        done.analyses += 1
    return done


def _record(organization: Organization, done: Destroyed, why: str) -> None:
    """One row for many things: what went, and a digest over the names of the objects that are no more."""
    details = {
        "why": why,
        "media": done.media,
        "pictures": done.pictures,
        "analyses": done.analyses,
        "objects": len(done.objects),
        "objects_sha256": digest_of(done.objects),
    }
    audit.record(action="privacy.destroyed", organization=organization, details=details)


def digest_of(names: Iterable[str]) -> str:
    """One digest over the names of destroyed objects, in order."""
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()
