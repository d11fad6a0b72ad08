"""Analyses for the command palette: by id, by the start of a digest, by file name or address; the newest without."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib.auth.decorators import login_required
from django.db.models import Q
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from detection.models import Job
from detection.querysets import JobQuerySet
from detection.words import readable

SHOWN = 8
NAMES_SEARCHED = 5_000  # newest analyses whose names are looked at: the palette answers while one types
MIN_DIGEST = 8
COLUMNS = ("id", "status", "created_at", "media__filename", "media__source_url", "media__kind", "result__label")


@require_GET
@login_required
@never_cache
def jump(request: HttpRequest) -> JsonResponse:
    jobs = Job.objects.visible_to(request.user)
    return JsonResponse({"results": [_entry(job) for job in find(jobs, request.GET.get("q", "")[:200].strip())]})


def find(jobs: JobQuerySet, q: str) -> list[Job]:
    """The analyses that `q` means, newest first, at most SHOWN."""
    rows = jobs.select_related("media", "result").only(*COLUMNS, "result__job").order_by("-created_at", "-id")
    if not q:
        return list(rows[:SHOWN])
    if identity := _identity(q):
        return list(rows.filter(Q(pk=identity) | Q(media_id=identity))[:SHOWN])
    if len(q) >= MIN_DIGEST and (same := list(rows.filter(media__sha256__startswith=q.lower())[:SHOWN])):
        return same
    newest = jobs.order_by("-created_at", "-id").values("pk")[:NAMES_SEARCHED]
    named = Q(media__filename__icontains=q) | Q(media__source_url__icontains=q)
    return list(rows.filter(named, pk__in=newest)[:SHOWN])


def _identity(q: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(q.removeprefix("job_").removeprefix("med_"))
    except ValueError:
        return None


def _entry(job: Job) -> dict[str, Any]:
    result = getattr(job, "result", None)
    hint = result.get_label_display() if result is not None else readable(job.status)
    return {"title": str(job.media), "hint": hint, "url": job.get_absolute_url()}
