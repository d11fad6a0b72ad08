"""Analyses for the command palette: by id, by the start of a digest, by file name or address; the newest without."""

from __future__ import annotations

import re
import uuid
from typing import Any

from django.contrib.auth.decorators import login_required
from django.db.models import Q
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from detection.models import Job, Media
from detection.querysets import JobQuerySet
from detection.words import readable

SHOWN = 8
NAMES_SEARCHED = 2_000  # newest analyses whose names are looked at: the palette answers while one types
_DIGEST = re.compile(r"[0-9a-fA-F]{8,64}")
COLUMNS = ("id", "status", "created_at", "media__filename", "media__source_url", "media__kind", "result__label")


@require_GET
@login_required
@never_cache
def jump(request: HttpRequest) -> JsonResponse:
    return JsonResponse(
        {"results": [_entry(job) for job in find(request.user, request.GET.get("q", "")[:200].strip())]}
    )


def find(viewer: Any, q: str) -> list[Job]:
    """The analyses that `q` means, newest first, at most SHOWN. Every way to them follows an index or is bounded."""
    jobs = Job.objects.visible_to(viewer)
    if not q:
        return _newest(jobs)
    if identity := _identity(q):
        return _newest(jobs.filter(pk=identity)) or _of_items(viewer, pk=identity)
    # A range, which the index answers, where LIKE would read every row.
    if _DIGEST.fullmatch(q) and (same := _of_items(viewer, sha256__gte=q.lower(), sha256__lt=f"{q.lower()}g")):
        return same
    last = jobs.order_by("-created_at", "-id").values("pk")[:NAMES_SEARCHED]
    named = Q(media__filename__icontains=q) | Q(media__source_url__icontains=q)
    return _newest(jobs.filter(named, pk__in=last))


def _newest(jobs: JobQuerySet) -> list[Job]:
    rows = jobs.select_related("media", "result").only(*COLUMNS, "result__job")
    return list(rows.order_by("-created_at", "-id")[:SHOWN])


def _of_items(viewer: Any, **which: Any) -> list[Job]:
    """Analyses of the viewer's items. The items are scoped already: asking again would lead past their index."""
    items = list(Media.objects.visible_to(viewer).filter(**which).values_list("pk", flat=True)[:SHOWN])
    return _newest(Job.objects.filter(media_id__in=items, deleted_at=None)) if items else []


def _identity(q: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(q.removeprefix("job_").removeprefix("med_"))
    except ValueError:
        return None


def _entry(job: Job) -> dict[str, Any]:
    result = getattr(job, "result", None)
    hint = result.get_label_display() if result is not None else readable(job.status)
    return {"title": str(job.media), "hint": hint, "url": job.get_absolute_url()}
