"""Pages: one analysis, and the files it shows. The list of analyses: list_views.py."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST, require_safe

from deepfake.errors import DomainError
from deepfake.reader_zone import in_readers_zone
from detection import artifacts as signed
from detection import history, ranges, related, services, words
from detection.access import writer as _writer
from detection.models import ExplanationArtifact, Job, Media
from detection.presentation import analysis_page

# One analysis ---------------------------------------------------------------------------------------------------------


@require_GET
@login_required
@in_readers_zone
def job(request: HttpRequest, pk: UUID) -> HttpResponse:
    return render(request, "detection/job.html", _job_context(request, pk))


@require_GET
@login_required
@in_readers_zone
def job_panel(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The body of the page alone, for live refresh."""
    return render(request, "detection/_panel.html", _job_context(request, pk))


def _job_context(request: HttpRequest, pk: UUID) -> dict[str, Any]:
    job = _visible_job(request, pk)
    result = getattr(job, "result", None)
    media = job.media
    found = related.related_to(media)
    can_write = request.user.can_submit  # type: ignore[union-attr]
    return {
        "job": job,
        "media": media,
        "result": result,
        "page": analysis_page(job, result, media) if result is not None else None,
        "related": found,
        "sightings": related.relatives(media, found.of("same_file", "looks_alike"), limit=6),
        "runs": list(
            media.jobs.filter(deleted_at=None).exclude(pk=job.pk).select_related("result").defer("result__details")[:6]
        ),
        "history": history.history_of(job),
        "profiles": list(services.profiles_for(job)) if can_write and job.is_final else [],
        "request_for_original": words.ASK_FOR_ORIGINAL.format(name=media, sha256=media.sha256 or "(unknown)"),
        "can_write": can_write,
        "can_delete": request.user.can_delete,  # type: ignore[union-attr]
    }


@require_GET
@login_required
@in_readers_zone
def related_items(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The organisation's items that belong together with this one, and why."""
    job = _visible_job(request, pk)
    found = related.related_to(job.media)
    others, from_sender = related.from_same_sender(job.media, found)
    context = {
        "job": job,
        "media": job.media,
        "related": found,
        "relatives": related.relatives(job.media, found),
        "host": related.host_of(job.media),
        "sent_count": others,
        "sent": from_sender,
    }
    return render(request, "detection/related.html", context)


def _visible_job(request: HttpRequest, pk: UUID) -> Job:
    jobs = Job.objects.visible_to(request.user).select_related(
        "media", "result__model_version", "threshold_profile", "created_by", "api_key"
    )
    return get_object_or_404(jobs, pk=pk)


@require_POST
@login_required
def cancel(request: HttpRequest, pk: UUID) -> HttpResponse:
    job = _visible_job(request, pk)
    services.cancel_job(job=job, actor=_writer(request, "cancel them"))
    return redirect(job)


@require_POST
@login_required
def rerun(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Run again: as before, or with the threshold profile and the stability test that the form names."""
    job = _visible_job(request, pk)
    again = services.rerun_job(
        job=job,
        actor=_writer(request, "run them again"),
        threshold_profile=request.POST.get("threshold_profile"),
        stability=request.POST.get("stability", ""),
    )
    return redirect(again)


@require_http_methods(["GET", "POST"])
@login_required
@in_readers_zone
def delete(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Ask first: what is deleted cannot be brought back, its encryption key is destroyed."""
    job = _visible_job(request, pk)
    member = _writer(request, "delete them")
    if request.method == "GET":
        is_last = not job.media.jobs.exclude(pk=job.pk).exists()
        return render(request, "detection/confirm_delete.html", {"job": job, "media": job.media, "is_last": is_last})
    name = str(job.media)
    services.delete_analysis(job=job, actor=member)
    messages.success(request, f"The analysis of {name} was deleted.")
    return redirect("detection:analyses")


# Files ----------------------------------------------------------------------------------------------------------------


@require_safe
@login_required
async def media_file(request: HttpRequest, pk: UUID) -> HttpResponseBase:
    """The item as a browser can play it; `?original=1` downloads the bytes that were sent."""
    media = await sync_to_async(_visible_media)(request, pk)
    if request.GET.get("original"):
        return await ranges.respond(
            request,
            media.storage_name,
            content_type=media.mime_type or "application/octet-stream",
            filename=media.filename or media.public_id,
            as_download=True,
        )
    if media.rendition_name:
        return await ranges.respond(request, media.rendition_name, content_type=media.rendition_mime_type)
    return await ranges.respond(request, media.storage_name, content_type=media.mime_type or "application/octet-stream")


@require_safe
@login_required
async def thumbnail(request: HttpRequest, pk: UUID) -> HttpResponseBase:
    media = await sync_to_async(_visible_media)(request, pk)
    if not media.thumbnail_name:
        raise Http404
    return await ranges.respond(request, media.thumbnail_name, content_type="image/jpeg")


def _visible_media(request: HttpRequest, pk: UUID) -> Media:
    media = get_object_or_404(Media.objects.visible_to(request.user), pk=pk)
    if not media.storage_name:
        raise Http404
    return media


@require_safe
async def artifact(request: HttpRequest, pk: UUID) -> HttpResponseBase:
    """A picture that explains a verdict. The signature opens it; a signed-in stranger gets nothing all the same."""
    if not signed.verify(pk, request.GET.get("expires", ""), request.GET.get("signature", "")):
        raise DomainError(
            "This link has expired or is not complete. Open the analysis again.", "link_expired", status=403
        )
    found = await sync_to_async(_artifact_for)(request, pk)
    return await ranges.respond(request, found.storage_name, content_type=found.mime_type)


def _artifact_for(request: HttpRequest, pk: UUID) -> ExplanationArtifact:
    found = get_object_or_404(
        ExplanationArtifact.objects.filter(result__job__deleted_at=None).select_related("result__job"), pk=pk
    )
    member = request.user
    if member.is_authenticated and member.organization_id != found.result.job.organization_id:
        raise Http404
    return found
