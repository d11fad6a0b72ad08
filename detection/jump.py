"""What the command palette finds beside what the open page knows: pages and saved views by name, and analyses.

Analyses are found by id, by the start of a digest, by file name or address; without a word, the newest.
"""

from __future__ import annotations

import re
import uuid
from typing import Any

from django.db.models import Q
from django.http import HttpRequest, JsonResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from accounts import settings_nav
from accounts.permissions import Permission, requires
from detection.models import Job, Media, SavedView
from detection.querysets import JobQuerySet
from detection.words import readable

SHOWN = 8
NAMES_SEARCHED = 2_000  # newest analyses whose names are looked at: the palette answers while one types
_DIGEST = re.compile(r"[0-9a-fA-F]{8,64}")
COLUMNS = (
    "id",
    "status",
    "created_at",
    "media__filename",
    "media__source_url",
    "media__kind",
    "result__label",
    "review_label",
    "final_label",
)


@require_GET
@requires(Permission.VIEW)
@never_cache
def jump(request: HttpRequest) -> JsonResponse:
    q = request.GET.get("q", "")[:200].strip()
    return JsonResponse({"results": [*_places(request.user, q), *(_entry(job) for job in find(request.user, q))]})


def _places(viewer: Any, q: str) -> list[dict[str, Any]]:
    if not q:
        return []
    pages = [
        {"group": "Page", "title": entry.words, "hint": entry.about, "url": url}
        for entry, url in settings_nav.called(viewer, q)
    ]
    named = SavedView.objects.visible_to(viewer).filter(name__icontains=q).order_by("name", "pk")
    views = [
        {
            "group": "View",
            "title": view.name,
            "hint": "saved list",
            "url": f"{reverse('detection:analyses')}?{view.query}",
        }
        for view in named[:SHOWN]
    ]
    return [*pages[:SHOWN], *views]


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
    hint = job.get_final_label_display() if result is not None else readable(job.status)
    if result is not None and job.review_label and job.review_label != result.label:
        hint += f", decided; the machine read {readable(result.label)}"
    return {"group": "Analysis", "title": str(job.media), "hint": hint, "url": job.get_absolute_url()}
