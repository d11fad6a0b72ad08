"""Cases, the opinions that people give on them, and what an organisation and a reviewer prefer."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import models
from django.urls import reverse
from django.utils import timezone

from accounts.models import Organization
from deepfake.sealed_fields import SealedTextField
from detection.models import Job, Label, ReviewOutcome, ReviewState
from review.querysets import AppealQuerySet, CaseQuerySet, DecisionQuerySet, MentionQuerySet


class Reason(models.TextChoices):
    """Why a case was opened. A planted item has none of its own: it looks like any other of the audit sample."""

    APPEAL = "appeal", "Appeal"
    DISAGREEMENT = "disagreement", "Checks disagree"
    UNCERTAIN = "uncertain", "Uncertain verdict"
    CLOSE = "close", "Close to a threshold"
    MANUAL = "manual", "Sent by a colleague"
    AUDIT = "audit", "Random audit"


class Priority(models.IntegerChoices):
    LOW = 0, "Low"
    NORMAL = 1, "Normal"
    HIGH = 2, "High"
    URGENT = 3, "Urgent"


class ReviewSettings(models.Model):
    """An organisation's own rules for its queue."""

    organization = models.OneToOneField(
        Organization, on_delete=models.CASCADE, primary_key=True, related_name="review_settings"
    )
    opens_uncertain = models.BooleanField(default=True)
    # An inconclusive verdict below it comes only by the sample: while checks abstain often, most of a queue would be
    # items that nothing speaks against.
    uncertain_from = models.FloatField(default=0.35)
    uncertain_margin = models.FloatField(default=0.05)  # how near to a threshold a score is uncertain, too
    opens_disagreement = models.BooleanField(default=True)
    disagreement_gap = models.FloatField(default=0.6)  # between the highest and the lowest score that count
    audit_rate = models.FloatField(default=0.02)  # share of all other analyses
    second_opinion_rate = models.FloatField(default=0.1)  # share of cases that two people judge
    sla_urgent_h = models.PositiveSmallIntegerField(default=4)
    sla_high_h = models.PositiveSmallIntegerField(default=8)
    sla_normal_h = models.PositiveSmallIntegerField(default=24)
    sla_low_h = models.PositiveSmallIntegerField(default=72)
    claim_minutes = models.PositiveSmallIntegerField(default=30)
    undo_minutes = models.PositiveSmallIntegerField(default=10)
    appeal_days = models.PositiveSmallIntegerField(default=30)

    class Meta:
        verbose_name_plural = "review settings"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(
                    audit_rate__range=(0, 1),
                    second_opinion_rate__range=(0, 1),
                    uncertain_margin__range=(0, 0.5),
                    disagreement_gap__range=(0, 1),
                ),
                name="review_rates_are_shares",
            ),
            models.CheckConstraint(
                condition=models.Q(uncertain_from__range=(0, 1)), name="review_uncertain_from_is_a_share"
            ),
        ]

    def __str__(self) -> str:
        return f"Review settings of {self.organization_id}"

    def time_allowed(self, priority: int) -> timedelta:
        hours = {
            Priority.URGENT: self.sla_urgent_h,
            Priority.HIGH: self.sla_high_h,
            Priority.NORMAL: self.sla_normal_h,
            Priority.LOW: self.sla_low_h,
        }
        return timedelta(hours=hours[Priority(priority)])


class Veil(models.TextChoices):
    ALL = "all", "All material"
    HARSH = "harsh", "Only material marked as harsh"  # that is covered for everybody


class ReviewPreference(models.Model):
    """How one person wants to meet the material."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="review_preference"
    )
    veil = models.CharField(max_length=6, choices=Veil, default=Veil.ALL)
    blurs = models.BooleanField(default=True)
    greys = models.BooleanField(default=True)
    mutes = models.BooleanField(default=True)
    has_shortcuts = models.BooleanField(default=True)  # single keys; WCAG 2.1.4 wants them to be optional

    def __str__(self) -> str:
        return f"Review preferences of {self.user_id}"


class ReviewCase(models.Model):
    """One question put to people: is the verdict on this job right?"""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="review_cases")
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="review_cases")
    state = models.CharField(max_length=14, choices=ReviewState, default=ReviewState.OPEN)
    reason = models.CharField(max_length=12, choices=Reason)  # the weightiest of its grounds
    grounds: Any = models.JSONField(default=list)  # sentences: why it was opened
    priority = models.SmallIntegerField(choices=Priority, default=Priority.NORMAL)
    opinions_wanted = models.PositiveSmallIntegerField(default=1)
    is_harsh = models.BooleanField(default=False)
    opened_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    opened_at = models.DateTimeField(default=timezone.now, editable=False)
    due_at = models.DateTimeField()
    claimed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="claimed_cases"
    )
    claimed_at = models.DateTimeField(null=True, blank=True)
    claimed_until = models.DateTimeField(null=True, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)
    outcome = models.CharField(max_length=12, choices=ReviewOutcome, blank=True)
    label = models.CharField(max_length=12, choices=Label, blank=True)

    objects = CaseQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["job"], condition=models.Q(closed_at=None), name="one_open_case_per_job"),
            models.CheckConstraint(
                condition=models.Q(closed_at=None, label="") | models.Q(closed_at__isnull=False, state="decided"),
                name="case_closed_when_decided",
            ),
        ]
        indexes = [
            models.Index(
                fields=["organization", "-priority", "due_at", "id"],
                condition=models.Q(closed_at=None),
                name="case_queue",
            ),
            models.Index(
                fields=["organization", "-closed_at", "-id"],
                condition=models.Q(closed_at__isnull=False),
                name="case_decided",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.public_id} {self.state}"

    def get_absolute_url(self) -> str:
        return reverse("review:case", args=[self.id])

    @property
    def public_id(self) -> str:
        return f"case_{self.id.hex}"

    @property
    def is_closed(self) -> bool:
        return self.closed_at is not None

    def holder(self, now: datetime | None = None) -> Any:
        """Who works on it now; a claim that has run out holds nobody off."""
        is_held = self.claimed_until is not None and self.claimed_until > (now or timezone.now())
        return self.claimed_by if is_held else None


class Round(models.TextChoices):
    FIRST = "first", "First opinion"
    SECOND = "second", "Second opinion"
    FINAL = "final", "After escalation"


class Decision(models.Model):
    """One person's opinion on a case. Never changed: undoing it is written beside it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    case = models.ForeignKey(ReviewCase, on_delete=models.CASCADE, related_name="decisions")
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    reviewer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="decisions")
    round = models.CharField(max_length=6, choices=Round)
    outcome = models.CharField(max_length=12, choices=ReviewOutcome)
    label = models.CharField(max_length=12, choices=Label, blank=True)  # blank: escalated
    machine_label = models.CharField(max_length=12, choices=Label)
    reasons: Any = models.JSONField(default=list)  # codes, see words.py
    helpfulness = models.PositiveSmallIntegerField(null=True, blank=True)  # 1 to 5: did the explanation help?
    asks_second = models.BooleanField(default=False)
    answer: Any = SealedTextField(context="decision.answer", blank=True)  # to the person who appealed
    seconds = models.FloatField(null=True, blank=True)  # from the claim to the decision; null in bulk
    batch = models.UUIDField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    undone_at = models.DateTimeField(null=True, blank=True)
    undone_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )

    objects = DecisionQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["case", "round"], condition=models.Q(undone_at=None), name="one_opinion_per_round"
            ),
            models.CheckConstraint(
                condition=models.Q(helpfulness=None) | models.Q(helpfulness__range=(1, 5)), name="helpfulness_1_to_5"
            ),
        ]
        indexes = [
            models.Index(fields=["organization", "-created_at"], name="decision_org_newest"),
            models.Index(fields=["reviewer", "-created_at"], name="decision_by_newest"),
            models.Index(fields=["case", "reviewer"], name="decision_case_reviewer"),  # asked of each case to take
            models.Index(fields=["batch"], condition=models.Q(batch__isnull=False), name="decision_batch"),
        ]

    def __str__(self) -> str:
        return f"{self.outcome} {self.label}"


class Note(models.Model):
    """What somebody wrote on a case, with a decision or by itself."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    case = models.ForeignKey(ReviewCase, on_delete=models.CASCADE, related_name="notes")
    decision = models.OneToOneField(Decision, on_delete=models.CASCADE, null=True, blank=True, related_name="note")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    text: Any = SealedTextField(context="note.text")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return str(self.text)[:60]


class Mention(models.Model):
    """@name in a note: that member is told."""

    note = models.ForeignKey(Note, on_delete=models.CASCADE, related_name="mentions")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="mentions")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    seen_at = models.DateTimeField(null=True, blank=True)

    objects = MentionQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["note", "user"], name="mentioned_once_per_note")]
        indexes = [models.Index(fields=["user", "-created_at"], name="mention_newest")]

    def __str__(self) -> str:
        return f"{self.user_id} in {self.note_id}"


class Annotation(models.Model):
    """A place that somebody pointed at: a moment or a stretch, a region of the picture, or both."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    case = models.ForeignKey(ReviewCase, on_delete=models.CASCADE, related_name="annotations")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    text: Any = SealedTextField(context="annotation.text", blank=True)
    start_s = models.FloatField(null=True, blank=True)
    end_s = models.FloatField(null=True, blank=True)  # null: one moment
    box: Any = models.JSONField(null=True, blank=True)  # [x, y, w, h] in pixels of the frame
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return str(self.text)[:60]


class CaseThresholds(models.Model):
    """Thresholds that hold for one case alone, with the reason why."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    case = models.ForeignKey(ReviewCase, on_delete=models.CASCADE, related_name="thresholds")
    author = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    fake_at = models.FloatField()
    real_below = models.FloatField()
    reason = models.TextField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["case"], condition=models.Q(withdrawn_at=None), name="one_threshold_override_per_case"
            ),
            models.CheckConstraint(
                condition=models.Q(real_below__gte=0, real_below__lte=models.F("fake_at"), fake_at__lte=1),
                name="case_thresholds_ordered",
            ),
        ]

    def __str__(self) -> str:
        return f"real below {self.real_below}, fake from {self.fake_at}"


class KnownItem(models.Model):
    """A job whose truth is known, planted among the others to see how well people judge."""

    job = models.OneToOneField(Job, on_delete=models.CASCADE, primary_key=True, related_name="known_item")
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    truth = models.CharField(max_length=12, choices=[("real", "Real"), ("fake", "Fake")])
    source = models.CharField(max_length=300, blank=True)  # how it is known
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return f"{self.job_id} is {self.truth}"


class AppealLink(models.Model):
    """An address that lets the person shown in an item object to its verdict, without signing in."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="appeal_links")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"appeal link for {self.job_id}"

    @property
    def is_live(self) -> bool:
        return self.revoked_at is None and self.expires_at > timezone.now()


class Appeal(models.Model):
    """What the person shown says against a verdict, and what they were answered."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    link = models.ForeignKey(AppealLink, on_delete=models.CASCADE, related_name="appeals")
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="appeals")
    case = models.ForeignKey(ReviewCase, on_delete=models.CASCADE, related_name="appeals")
    text: Any = SealedTextField(context="appeal.text")
    email: Any = SealedTextField(context="appeal.email", blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    answered_at = models.DateTimeField(null=True, blank=True)
    answer: Any = SealedTextField(context="appeal.answer", blank=True)
    label = models.CharField(max_length=12, choices=Label, blank=True)
    told_at = models.DateTimeField(null=True, blank=True)  # when the e-mail went out

    objects = AppealQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["job"], condition=models.Q(answered_at=None), name="one_open_appeal_per_job"
            )
        ]

    def __str__(self) -> str:
        return f"appeal on {self.job_id}"
