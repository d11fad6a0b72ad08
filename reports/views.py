"""The report behind an analysis, as a download or a page."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET

from accounts import audit
from detection.models import Job
from reports import render


@require_GET
@login_required
def report(request: HttpRequest, pk: UUID) -> HttpResponse:
    job = get_object_or_404(for_report(Job.objects.visible_to(request.user)), pk=pk)
    wanted = request.GET.get("format", "html")
    response = render.response(job, wanted)
    audit.record(
        action="report.read", organization=job.organization, actor=request.user, target=job, details={"format": wanted}
    )
    return response


def for_report(jobs: QuerySet[Job]) -> QuerySet[Job]:
    """With all that a report reads: one query, and one each for branches and artifacts."""
    return jobs.select_related(
        "organization", "media", "result__model_version", "created_by", "api_key"
    ).prefetch_related("result__branch_scores", "result__artifacts")
