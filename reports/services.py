"""What can be done with reports: issue a signed one, take one back, read one without a signature."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone

from accounts import audit
from accounts.models import ApiKey, User
from deepfake import signing
from deepfake.errors import DomainError
from detection.models import Job
from reports import document, render, seals
from reports.models import ReportFormat, ReportIssue

PAGE_FORMAT = "html"
FORMATS = (*ReportFormat.values, PAGE_FORMAT)
# What the job of a report is loaded with: one query, and one each for branches and artifacts.
RELATED = ("organization", "media", "threshold_profile", "result__model_version", "created_by", "api_key")


@dataclass(frozen=True)
class Issued:
    """A signed report and the row that remembers it. `pdf` is empty where only JSON was asked for."""

    issue: ReportIssue
    json: bytes
    pdf: bytes
    signer: signing.Signer  # for what goes out with it: a bundle's manifest is signed with the same key


def audit_heads() -> Iterator[str]:
    """Hashes of the audit chain that issued reports carry and were recorded under, the newest first."""
    newest = ReportIssue.objects.order_by("-issued_at", "-id").values_list("audit_hash", "audit_head")
    for pair in newest.iterator(chunk_size=500):
        yield from pair


def for_report(jobs: QuerySet[Job]) -> QuerySet[Job]:
    """With all that a report reads of them."""
    return jobs.select_related(*RELATED).prefetch_related("result__branch_scores", "result__artifacts")


def check_format(wanted: str) -> None:
    if wanted not in FORMATS:
        raise DomainError(f"format must be one of {', '.join(FORMATS)}.", "format_unknown")


def issue(*, job: Job, wanted: str, actor: User | None = None, api_key: ApiKey | None = None) -> Issued:
    """Write, sign and record a report. Raises DomainError.

    It is drawn before the transaction begins, because recording holds the audit chain: the head that it prints is that
    of the chain when the drawing began, and the row of the chain that holds its digests comes after that head.
    """
    signer = signing.signer()
    report_id = uuid.uuid4()
    about = document.Issue(
        id=report_id,
        issued_at=timezone.now(),
        format=wanted,
        key_id=signer.key_id,
        verify_url=settings.PUBLIC_URL + reverse("reports:verify", args=[f"rpt_{report_id.hex}"]),
        audit_head=audit.head(),
    )
    content = document.build(job, about)
    signed_json = seals.seal_json(content, signer)
    signed_pdf = b""
    if wanted != ReportFormat.JSON:
        signed_pdf = seals.seal_pdf(render.pdf(job, content, signed_json), about.public_id, signer)
    row = _record(job, about, signed_json, signed_pdf, actor, api_key)
    return Issued(row, signed_json, signed_pdf, signer)


def page(*, job: Job, actor: User | None = None, api_key: ApiKey | None = None) -> str:
    """Return the report as a web page, which is not signed. Raises DomainError."""
    text = render.html(job, document.build(job))
    audit.record(
        action="report.read",
        organization=job.organization,
        actor=actor,
        api_key=api_key,
        target=job,
        details={"format": PAGE_FORMAT},
    )
    return text


def revoke(*, issue: ReportIssue, reason: str, actor: User | None = None) -> ReportIssue:
    """Take a report back: whoever verifies it is told so, with the reason. One that already is stays as it was."""
    reason = reason.strip()
    if not reason:
        raise DomainError("Say why the report is taken back: whoever verifies it will read it.", "reason_missing")
    with transaction.atomic():
        waiting = ReportIssue.objects.filter(pk=issue.pk, revoked_at=None)
        if waiting.update(revoked_at=timezone.now(), revoked_reason=reason[:300]):
            audit.record(
                action="report.revoked",
                organization=issue.organization,
                actor=actor,
                target=issue,
                details={"report": issue.public_id, "reason": reason[:300]},
            )
    issue.refresh_from_db()
    return issue


def find_issue(public_id: str) -> ReportIssue | None:
    """Return what was issued under `rpt_…`, or None."""
    try:
        key = uuid.UUID(hex=public_id.removeprefix("rpt_"))
    except ValueError:
        return None
    return ReportIssue.objects.select_related("organization", "job").filter(pk=key).first()


def _record(
    job: Job, about: document.Issue, signed_json: bytes, pdf: bytes, actor: User | None, api_key: ApiKey | None
) -> ReportIssue:
    """Write the row of the audit chain with the report's digests, then the row that points at it."""
    json_sha256 = hashlib.sha256(signed_json).hexdigest()
    sha256 = hashlib.sha256(pdf).hexdigest() if pdf else json_sha256
    result = job.result
    with transaction.atomic():
        row = audit.record(
            action="report.issued",
            organization=job.organization,
            actor=actor,
            api_key=api_key,
            target=job,
            details={
                "format": about.format,
                "report": about.public_id,
                "sha256": sha256,
                "json_sha256": json_sha256,
                "key_id": about.key_id,
            },
        )
        return ReportIssue.objects.create(
            id=about.id,
            organization=job.organization,
            job=job,
            format=about.format,
            sha256=sha256,
            json_sha256=json_sha256,
            key_id=about.key_id,
            media_sha256=job.media.sha256,
            label=result.label,
            score=result.score,
            review_label=job.review_label,
            model_version=result.model_version.name,
            issued_by=actor,
            api_key=api_key,
            issued_at=about.issued_at,
            audit_head=about.audit_head,
            audit_hash=row.hash,
        )
