"""Media, the job that analyses it, and what came out."""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import models
from django.urls import reverse
from django.utils import timezone

from accounts.models import ApiKey, Organization
from deepfake.sealed_fields import SealedJSONField, SealedTextField
from detection.querysets import JobQuerySet, MediaQuerySet, SavedViewQuerySet

HOST_LENGTH = 100  # of a longer host, the list's filter knows the beginning


class MediaKind(models.TextChoices):
    IMAGE = "image", "Image"
    VIDEO = "video", "Video"
    AUDIO = "audio", "Audio"


class Retention(models.TextChoices):
    NONE = "none", "Destroyed as soon as the verdict is there"


class ErasedReason(models.TextChoices):
    RETENTION = "retention", "its time to be kept was over"
    NONE = "none", "it was sent to be kept no longer than its analysis took"


class Media(models.Model):
    """One stored item. `kind` and the facts are what the decoder found, blank until its first job has probed it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="media")
    uploaded_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True)
    api_key = models.ForeignKey(ApiKey, on_delete=models.SET_NULL, null=True, blank=True)
    kind = models.CharField(max_length=8, choices=MediaKind, blank=True)
    filename = models.CharField(max_length=255, blank=True)  # as sent, for people to read; never a path, never trusted
    source_url = models.URLField(max_length=2000, blank=True)
    storage_name = models.CharField(max_length=200, blank=True)  # encrypted object in storage; blank until fetched
    rendition_name = models.CharField(
        max_length=200, blank=True
    )  # playable copy where a browser cannot play the original
    rendition_mime_type = models.CharField(max_length=80, blank=True)
    thumbnail_name = models.CharField(max_length=200, blank=True)
    mime_type = models.CharField(max_length=80, blank=True)
    size_bytes = models.PositiveBigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True)
    phash = models.CharField(max_length=16, blank=True)
    width = models.PositiveIntegerField(null=True, blank=True)
    height = models.PositiveIntegerField(null=True, blank=True)
    duration_s = models.FloatField(null=True, blank=True)
    has_audio = models.BooleanField(default=False)
    info: Any = SealedJSONField(context="media.info", default=dict, blank=True)  # engine MediaInfo, for people to read
    # The first item of the organisation with the same bytes or the same look; its own id when it is the first.
    look = models.UUIDField(null=True, blank=True)
    is_sandbox = models.BooleanField(default=False)  # sent with a sandbox key: stands beside nothing else
    is_harsh = models.BooleanField(default=False)  # somebody said so: its pictures are covered until one uncovers them
    deleted_at = models.DateTimeField(null=True, blank=True)  # with its last analysis; see Job.deleted_at
    # How long it is kept, where the request said so itself, and what has become of it (see retention.py).
    retention = models.CharField(max_length=4, choices=Retention, blank=True)
    keep_until = models.DateTimeField(null=True, blank=True)
    erased_at = models.DateTimeField(null=True, blank=True)  # its bytes are gone, the verdict stays
    erased_reason = models.CharField(max_length=12, choices=ErasedReason, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = MediaQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "media"
        indexes = [
            models.Index(fields=["organization", "sha256"], name="media_org_sha256"),
            models.Index(fields=["organization", "phash"], name="media_org_phash"),
            models.Index(fields=["organization", "look"], name="media_org_look"),
            models.Index(
                fields=["organization", "-created_at", "-id"],
                name="media_org_newest",
                condition=models.Q(deleted_at__isnull=True),
            ),
            models.Index(
                fields=["organization", "created_at"], name="media_kept", condition=models.Q(erased_at__isnull=True)
            ),
            models.Index(
                fields=["keep_until"],
                name="media_keep_until",
                condition=models.Q(erased_at__isnull=True, keep_until__isnull=False),
            ),
            models.Index(
                fields=["created_at"],
                name="media_keep_nothing",
                condition=models.Q(erased_at__isnull=True, retention="none"),
            ),
        ]

    def __str__(self) -> str:
        return self.filename or self.source_url or str(self.id)

    def save(self, *args: Any, **kwargs: Any) -> None:
        is_new = self._state.adding
        super().save(*args, **kwargs)
        if is_new:
            MediaText.objects.create(media=self, organization_id=self.organization_id, text=self.search_text())

    def search_text(self) -> str:
        """What a search looks through: lower case, because the index of PostgreSQL tells cases apart."""
        return f"{self.filename}\n{self.source_url}".lower()

    @property
    def is_erased(self) -> bool:
        return self.erased_at is not None

    def source_host(self) -> str:
        """Where it was fetched from, as people name it: example.org, not www.example.org:443."""
        host = urlsplit(self.source_url).hostname or "" if self.source_url else ""
        return host.lower().removeprefix("www.")[:HOST_LENGTH]

    @property
    def public_id(self) -> str:
        return f"med_{self.id.hex}"


class MediaText(models.Model):
    """The words an item is found by, in a row with a number, which full-text indexes need (see search.py)."""

    media = models.OneToOneField(Media, on_delete=models.CASCADE, related_name="text")
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    text = models.TextField()

    def __str__(self) -> str:
        return self.text


class JobStatus(models.TextChoices):
    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    COMPLETED = "completed", "Completed"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


class ReviewState(models.TextChoices):
    OPEN = "open", "In review"
    SECOND_OPINION = "second_opinion", "Second opinion"
    ESCALATED = "escalated", "Escalated"
    DECIDED = "decided", "Decided"


class ReviewOutcome(models.TextChoices):
    CONFIRM = "confirm", "Confirmed"
    OVERRIDE = "override", "Overridden"
    CANNOT_TELL = "cannot_tell", "Cannot tell"
    ESCALATE = "escalate", "Escalated"


class Label(models.TextChoices):
    REAL = "real", "Real"
    FAKE = "fake", "Fake"
    INCONCLUSIVE = "inconclusive", "Inconclusive"


class StabilityTest(models.TextChoices):
    CHEAP = "cheap", "Two ways of saving it again, by the check that carries the verdict"
    FULL = "full", "Every way of saving it again, by every check that counts"


# The columns that the list filters by stand in every index that it is sorted by: any filter in any order is then
# answered from one index, which is walked in order and not read row by row. (`deleted_at`, which the condition of
# these indexes settles, stands in them because SQLite would look it up in the row all the same.)
LISTED_BY = (
    "final_label",
    "kind",
    "status",
    "review_state",
    "review_decision",
    "reviewer",
    "created_by",
    "api_key",
    "source_host",
    "is_sandbox",
    "deleted_at",
)

FINAL_STATUSES = (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)
_SHOWN = models.Q(deleted_at__isnull=True)


class Job(models.Model):
    """One analysis of one Media. The row is the truth; the queue only rings a bell."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="jobs")
    media = models.ForeignKey(Media, on_delete=models.CASCADE, related_name="jobs")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True)
    api_key = models.ForeignKey(ApiKey, on_delete=models.SET_NULL, null=True, blank=True)
    mode = models.CharField(max_length=8, default="auto")  # auto | image | video | audio
    threshold_profile = models.ForeignKey("ThresholdProfile", on_delete=models.PROTECT, null=True, blank=True)
    stability = models.CharField(max_length=5, choices=StabilityTest, default=StabilityTest.CHEAP)
    priority = models.SmallIntegerField(default=0)  # higher first
    # Started with a sandbox key: opens no review case, raises no alert, counts in no figure.
    is_sandbox = models.BooleanField(default=False)
    callback_url = models.URLField(max_length=2000, blank=True)
    status = models.CharField(max_length=10, choices=JobStatus, default=JobStatus.QUEUED)
    stage = models.CharField(max_length=40, blank=True)  # "fetching", "decoding", "faces", "spatial", ..., "explaining"
    percent = models.PositiveSmallIntegerField(default=0)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(default=timezone.now)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    worker = models.CharField(max_length=80, blank=True)  # claim token of the worker that runs it
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    failure_code = models.CharField(max_length=60, blank=True)
    failure_message = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    # What people said about the verdict, written by the review room; lists and the API read it without a join.
    review_state = models.CharField(max_length=14, choices=ReviewState, blank=True)  # blank: never in review
    review_decision = models.CharField(max_length=12, choices=ReviewOutcome, blank=True)
    review_label = models.CharField(max_length=12, choices=Label, blank=True)  # the final label
    reviewed_at = models.DateTimeField(null=True, blank=True)
    reviewer = models.ForeignKey(  # who holds or has last decided its case
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", db_index=False
    )
    # What the list filters and sorts by, copied here by whatever writes the item, the verdict or the review.
    kind = models.CharField(max_length=8, choices=MediaKind, blank=True)
    source_host = models.CharField(max_length=HOST_LENGTH, blank=True)
    final_label = models.CharField(max_length=12, choices=Label, blank=True)  # people's label, else the verdict's
    score = models.FloatField(null=True, blank=True)
    margin = models.FloatField(null=True, blank=True)  # distance of the score to the middle between the thresholds
    # Deletion waits a moment, so that it can be undone: until it is carried out the row is there, and invisible.
    deleted_at = models.DateTimeField(null=True, blank=True)
    deleted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+", db_index=False
    )
    deletion = models.UUIDField(null=True, blank=True)  # what was deleted together is brought back together

    objects = JobQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            # The organisation stands in it so that what waits can be counted for each without reading rows.
            models.Index(fields=["status", "-priority", "next_attempt_at", "organization"], name="job_due"),
            models.Index(
                fields=["organization", "created_at", "id", *LISTED_BY, "score"],
                name="job_by_created",
                condition=_SHOWN,
            ),
            models.Index(
                fields=["organization", "score", "id", *LISTED_BY, "created_at"], name="job_by_score", condition=_SHOWN
            ),
            models.Index(
                fields=["organization", "margin", "id", *LISTED_BY, "score", "created_at"],
                name="job_by_margin",
                condition=_SHOWN,
            ),
            models.Index(
                fields=["organization", "finished_at", "id", *LISTED_BY, "score", "created_at"],
                name="job_by_finished",
                condition=_SHOWN,
            ),
            models.Index(fields=["deleted_at"], name="job_deleted", condition=models.Q(deleted_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.public_id} {self.status}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self._state.adding:
            self.kind, self.source_host = self.media.kind, self.media.source_host()
        super().save(*args, **kwargs)

    def get_absolute_url(self) -> str:
        return reverse("detection:job", args=[self.id])

    @property
    def public_id(self) -> str:
        return f"job_{self.id.hex}"

    @property
    def is_final(self) -> bool:
        return self.status in FINAL_STATUSES


class ThresholdProfile(models.Model):
    """Where "fake" begins and "real" ends, for a kind of media or a domain. organization null = shipped default."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, null=True, blank=True)
    name = models.SlugField(max_length=60)  # default_video, default_audio, ...
    domain = models.CharField(max_length=60, blank=True)
    # Which items get it by themselves (profile_matching.py); all blank: only those that ask for it by name.
    kind = models.CharField(max_length=8, choices=MediaKind, blank=True)
    platform = models.CharField(max_length=20, blank=True)
    host = models.CharField(max_length=253, blank=True)  # of the address that it was fetched from, subdomains included
    codec = models.CharField(max_length=30, blank=True)  # codec or container
    fake_at = models.FloatField()
    real_below = models.FloatField()
    version = models.PositiveIntegerField(default=1)
    retired_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "name"], name="profile_name_per_org", nulls_distinct=False),
            models.CheckConstraint(
                condition=models.Q(real_below__gte=0, real_below__lte=models.F("fake_at"), fake_at__lte=1),
                name="profile_thresholds_ordered",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class ModelVersion(models.Model):
    """The set of nets and fusion weights that gave a verdict; one row per distinct set of digests."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=80, unique=True)  # "ensemble-2026.11.21-ab12cd34"
    branches = models.JSONField(default=dict)  # name -> {version, sha256, threshold, licence}
    metrics = models.JSONField(default=dict)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return self.name


class InferenceResult(models.Model):
    job = models.OneToOneField(Job, on_delete=models.CASCADE, related_name="result")
    model_version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT)
    label = models.CharField(max_length=12, choices=Label)
    score = models.FloatField(null=True)  # overall p_fake; null when nothing could be scored
    interval_low = models.FloatField(null=True)
    interval_high = models.FloatField(null=True)
    abstain_reason = models.CharField(max_length=40, blank=True)
    rationale = models.TextField()
    threshold_fake = models.FloatField()
    threshold_real = models.FloatField()
    details: Any = models.JSONField(
        default=dict
    )  # channels, curve, fake_intervals, faces, speech, waveform, stability, provenance, seconds
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self) -> str:
        return f"{self.label} {self.score}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """A verdict writes its headline on its job, where the list reads it."""
        super().save(*args, **kwargs)
        columns = {"final_label": self.job.review_label or self.label, "score": self.score, "margin": self.margin()}
        Job.objects.filter(pk=self.job_id).update(**columns)
        for name, value in columns.items():
            setattr(self.job, name, value)

    @property
    def crosses_threshold(self) -> bool:
        """Whether the label stands although its interval reaches back across the threshold that the score passed."""
        return self.reaches_across(self.label, fake_at=self.threshold_fake, real_below=self.threshold_real)

    def reaches_across(self, label: str, *, fake_at: float, real_below: float) -> bool:
        """The same for a label that other thresholds give it."""
        if self.interval_low is None or self.interval_high is None:
            return False
        if label == Label.FAKE:
            return self.interval_low < fake_at
        return label == Label.REAL and self.interval_high >= real_below

    def margin(self) -> float | None:
        """How far the score lies from the middle between the thresholds: the smaller, the less is settled."""
        return None if self.score is None else abs(self.score - (self.threshold_fake + self.threshold_real) / 2)


class FacePrint(models.Model):
    """The picture of a face, by its low frequencies: finds the same picture again, not the same person."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE)
    media = models.ForeignKey(Media, on_delete=models.CASCADE, related_name="face_prints")
    track = models.PositiveSmallIntegerField()
    time_s = models.FloatField(default=0)
    bits = models.CharField(max_length=64)  # hex

    class Meta:
        indexes = [models.Index(fields=["organization", "-id"], name="face_print_org_newest")]

    def __str__(self) -> str:
        return f"{self.media_id} {self.track} {self.bits[:8]}"


class SoundMark(models.Model):
    """A pair of peaks of an item's sound: finds the same recording again, not the same voice."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE)
    media = models.ForeignKey(Media, on_delete=models.CASCADE, related_name="sound_marks")
    value = models.PositiveIntegerField()
    step = models.PositiveIntegerField()  # when, in hops of 16 ms

    class Meta:
        indexes = [models.Index(fields=["organization", "value"], name="sound_mark_org_value")]

    def __str__(self) -> str:
        return f"{self.media_id} {self.value} {self.step}"


class MediaLink(models.Model):
    """Two items that share a print; kept in both directions, so that a page reads them with one query."""

    media = models.ForeignKey(Media, on_delete=models.CASCADE, related_name="links")
    other = models.ForeignKey(Media, on_delete=models.CASCADE, related_name="+")
    reason = models.CharField(max_length=12)  # same_face | same_sound

    class Meta:
        constraints = [models.UniqueConstraint(fields=["media", "other", "reason"], name="media_link_once")]

    def __str__(self) -> str:
        return f"{self.media_id} {self.reason} {self.other_id}"


class BranchScore(models.Model):
    result = models.ForeignKey(InferenceResult, on_delete=models.CASCADE, related_name="branch_scores")
    branch = models.CharField(max_length=30)
    channel = models.CharField(max_length=12)
    state = models.CharField(max_length=8)  # scored | skipped | failed
    score = models.FloatField(null=True)
    confidence = models.FloatField(null=True)
    quality = models.FloatField(null=True)
    weight = models.FloatField(default=0)
    contribution = models.FloatField(default=0)  # signed log-odds
    sentence = models.TextField()
    reason = models.CharField(max_length=40, blank=True)
    version = models.CharField(max_length=40, blank=True)
    sha256 = models.CharField(max_length=64, blank=True)
    data: Any = models.JSONField(default=dict)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["result", "branch"], name="branch_once_per_result")]

    def __str__(self) -> str:
        return f"{self.branch} {self.score}"


class ExplanationArtifact(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    result = models.ForeignKey(InferenceResult, on_delete=models.CASCADE, related_name="artifacts")
    kind = models.CharField(max_length=30)
    storage_name = models.CharField(max_length=200)
    mime_type = models.CharField(max_length=60)
    caption = models.CharField(max_length=300)
    frame_index = models.PositiveIntegerField(null=True)
    time_s = models.FloatField(null=True)
    track = models.PositiveIntegerField(null=True)
    score = models.FloatField(null=True)
    box: Any = models.JSONField(null=True)  # [x, y, w, h] in pixels of the frame

    def __str__(self) -> str:
        return f"{self.kind} {self.caption}"


class IdempotencyKey(models.Model):
    """The answer to a POST that carried Idempotency-Key, so that a repeat gets it again."""

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE)
    owner = models.CharField(max_length=80)  # "key:<api key id>" or "user:<id>"
    key = models.CharField(max_length=200)
    request_hash = models.CharField(max_length=64)
    response_status = models.PositiveSmallIntegerField(null=True)  # null while the first request still runs
    response_body: Any = models.JSONField(null=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["owner", "key"], name="idempotency_once")]

    def __str__(self) -> str:
        return self.key


class Feedback(models.Model):
    """A human label for a job (POST /v1/feedback)."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="feedback")
    label = models.CharField(max_length=12, choices=Label)
    notes: Any = SealedTextField(context="feedback.notes", blank=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True)
    api_key = models.ForeignKey(ApiKey, on_delete=models.SET_NULL, null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name_plural = "feedback"

    def __str__(self) -> str:
        return f"{self.label} for {self.job_id}"


class SavedView(models.Model):
    """A list of analyses with its filters and order, kept under a name; its address is just its query."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="saved_views")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="saved_views")
    name = models.CharField(max_length=60)
    query = models.CharField(max_length=2000, blank=True)
    is_shared = models.BooleanField(default=False)  # everybody in the organisation sees it
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = SavedViewQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["owner", "name"], name="view_name_per_owner")]

    def __str__(self) -> str:
        return self.name


class DefaultView(models.Model):
    """The view that a member's list opens with."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="default_view")
    view = models.ForeignKey(SavedView, on_delete=models.CASCADE, related_name="+")

    def __str__(self) -> str:
        return f"{self.user} opens {self.view}"


# Threshold changes, webhooks, batches and uploads live in files of their own.
from detection.batch_models import Batch as Batch  # noqa: E402
from detection.batch_models import BatchItem as BatchItem  # noqa: E402
from detection.batch_models import BatchStatus as BatchStatus  # noqa: E402
from detection.batch_models import ItemState as ItemState  # noqa: E402
from detection.privacy_models import LegalHold as LegalHold  # noqa: E402
from detection.privacy_models import RetentionRule as RetentionRule  # noqa: E402
from detection.privacy_models import RetentionSettings as RetentionSettings  # noqa: E402
from detection.threshold_models import ThresholdProposal as ThresholdProposal  # noqa: E402
from detection.threshold_models import ThresholdVersion as ThresholdVersion  # noqa: E402
from detection.upload_models import Upload as Upload  # noqa: E402
from detection.upload_models import UploadPart as UploadPart  # noqa: E402
from detection.upload_models import UploadState as UploadState  # noqa: E402
from detection.webhook_models import WebhookAttempt as WebhookAttempt  # noqa: E402
from detection.webhook_models import WebhookDelivery as WebhookDelivery  # noqa: E402
from detection.webhook_models import WebhookEndpoint as WebhookEndpoint  # noqa: E402
