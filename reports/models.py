"""What was issued: one row per signed file, and what an organisation lets its reports say about people."""

from __future__ import annotations

import uuid
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.utils import timezone

from accounts.models import ApiKey, Organization
from detection.models import Job, Label


class IssueQuerySet(models.QuerySet["ReportIssue"]):
    def visible_to(self, viewer: Any) -> Self:
        organization = viewer if isinstance(viewer, Organization) else getattr(viewer, "organization", None)
        return self.none() if organization is None else self.filter(organization=organization)

    def matching(self, q: str) -> Self:
        """By the report's or the analysis's id, the start of a digest, or a part of the item's name."""
        q = q.strip()
        if not q:
            return self
        found = models.Q(job__media__filename__icontains=q)
        if len(q) >= 8:
            low = q.lower()
            for digest in ("sha256", "json_sha256", "media_sha256"):
                found |= models.Q(**{f"{digest}__startswith": low})
        try:
            identity = uuid.UUID(q.removeprefix("rpt_").removeprefix("job_"))
        except ValueError:
            return self.filter(found)
        return self.filter(found | models.Q(id=identity) | models.Q(job_id=identity))


class ReportFormat(models.TextChoices):
    PDF = "pdf", "PDF"
    JSON = "json", "JSON"
    BUNDLE = "bundle", "Evidence bundle"


class ReportSettings(models.Model):
    """An organisation's own rules for what it hands out."""

    organization = models.OneToOneField(
        Organization, on_delete=models.CASCADE, primary_key=True, related_name="report_settings"
    )
    names_reviewers = models.BooleanField(
        default=False, help_text="Print the names of reviewers beside their role, instead of the role alone."
    )

    class Meta:
        verbose_name_plural = "report settings"

    def __str__(self) -> str:
        return f"Report settings of {self.organization_id}"


class ReportIssue(models.Model):
    """One signed report that left the house. It outlives its analysis, so that whoever holds the file gets an answer.

    What the verify page tells to strangers is kept here and nothing more: no file name, no sender, no reviewer.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="report_issues")
    job = models.ForeignKey(Job, on_delete=models.SET_NULL, null=True, related_name="report_issues")
    format = models.CharField(max_length=6, choices=ReportFormat)
    sha256 = models.CharField(max_length=64)  # of the PDF or JSON as it was handed out; of a bundle, its PDF
    json_sha256 = models.CharField(max_length=64)  # of the signed JSON that the file is or carries
    key_id = models.CharField(max_length=32)
    media_sha256 = models.CharField(max_length=64)
    label = models.CharField(max_length=12, choices=Label)  # the machine's
    score = models.FloatField(null=True)
    review_label = models.CharField(max_length=12, choices=Label, blank=True)  # what people had said by then
    model_version = models.CharField(max_length=80)
    issued_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    api_key = models.ForeignKey(ApiKey, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    issued_at = models.DateTimeField(default=timezone.now, editable=False)
    audit_head = models.CharField(max_length=64)  # of the chain before this report, as printed in it
    audit_hash = models.CharField(max_length=64)  # the row of the chain that holds this report's digests
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_reason = models.CharField(max_length=300, blank=True)  # shown to whoever verifies the report

    objects = IssueQuerySet.as_manager()

    class Meta:
        ordering = ["-issued_at", "-id"]
        indexes = [models.Index(fields=["organization", "-issued_at"], name="report_issue_newest")]

    def __str__(self) -> str:
        return self.public_id

    @property
    def public_id(self) -> str:
        return f"rpt_{self.id.hex}"

    @property
    def stated_label(self) -> str:
        """What the report gave as the last word: the people's, where they had spoken, else the machine's."""
        return self.review_label or self.label

    def matches(self, sha256: str) -> bool:
        """Whether a file of this digest is what was issued under this id."""
        return sha256 in (self.sha256, self.json_sha256)

    def superseded_by(self) -> dict[str, Any] | None:
        """Return what people have found since, where it differs from what this report states; else None."""
        job = self.job
        if (
            job is None
            or job.review_label == self.review_label
            or (job.review_label or self.label) == self.stated_label
        ):
            return None
        return {"label": job.review_label or self.label, "at": job.reviewed_at, "is_taken_back": not job.review_label}
