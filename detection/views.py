"""Pages: one analysis, and the files it shows. The list of analyses: list_views.py."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from asgiref.sync import sync_to_async
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_GET, require_http_methods, require_POST, require_safe

from accounts import audit
from accounts.authentication import organization_of
from accounts.models import User
from accounts.permissions import Permission, check, public, requires
from deepfake.errors import DomainError
from deepfake.reader_zone import in_readers_zone
from detection import artifacts as signed
from detection import history, holds, listing, ranges, related, services, words
from detection.forms import AnalysisFilter
from detection.models import ExplanationArtifact, Job, Media
from detection.presentation import analysis_page

MAX_FROM = 2000  # characters of a list's address

# One analysis ---------------------------------------------------------------------------------------------------------


@require_GET
@requires(Permission.VIEW)
@in_readers_zone
def job(request: HttpRequest, pk: UUID) -> HttpResponse:
    context = _job_context(request, pk)
    return render(request, "detection/job.html", context | {"way": _way(request, context["job"])})


def _query_of_list(request: HttpRequest) -> str | None:
    """The query of the list, when that is the page which led here."""
    try:
        came_from = urlsplit(request.headers.get("Referer", ""))
    except ValueError:
        return None
    is_list = came_from.netloc == request.get_host() and came_from.path == reverse("detection:analyses")
    return came_from.query if is_list else None


def _way(request: HttpRequest, job: Job) -> dict[str, Any] | None:
    """The list that the reader comes from, and what stands before and after `job` in it; None for no list.

    The address names it (`from`), else the page that led here does; what is no filter of the list is left out.
    """
    asked = request.GET.get("from")
    if asked is None:
        asked = _query_of_list(request)
    if asked is None or len(asked) > MAX_FROM:
        return None
    filters = AnalysisFilter(QueryDict(asked), organization=organization_of(request))
    query = filters.query or "sort=newest"
    rows = filters.rows()
    before, after = (listing.neighbour(rows, job, filters.order, is_backwards=way) for way in (True, False))
    return {"query": query, "kept": urlencode({"from": query}), "previous": before, "next": after}


@require_GET
@requires(Permission.VIEW)
@in_readers_zone
def job_panel(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The body of the page alone, for live refresh."""
    return render(request, "detection/_panel.html", _job_context(request, pk))


def _job_context(request: HttpRequest, pk: UUID) -> dict[str, Any]:
    job = _visible_job(request, pk)
    result = getattr(job, "result", None)
    media = job.media
    found = related.related_to(media)
    can_write = _member(request).can_submit
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
        "may_audit": request.user.may(Permission.AUDIT),  # type: ignore[union-attr]
        "profiles": list(services.profiles_for(job)) if can_write and job.is_final else [],
        "request_for_original": words.ASK_FOR_ORIGINAL.format(name=media, sha256=media.sha256 or "(unknown)"),
        "can_write": can_write,
        "can_delete": _member(request).can_delete,
        "holds": holds.on_job(job),
        "may_hold": _member(request).may(Permission.PRIVACY),
    }


@require_GET
@requires(Permission.VIEW)
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


def _member(request: HttpRequest) -> User:
    """The signed-in person; `requires` has let nobody else in."""
    assert isinstance(request.user, User)
    return request.user


def _visible_job(request: HttpRequest, pk: UUID) -> Job:
    jobs = Job.objects.visible_to(request.user).select_related(
        "media", "result__model_version", "threshold_profile", "created_by", "api_key"
    )
    return get_object_or_404(jobs, pk=pk)


@require_POST
@requires(Permission.SUBMIT)
def cancel(request: HttpRequest, pk: UUID) -> HttpResponse:
    job = _visible_job(request, pk)
    services.cancel_job(job=job, actor=_member(request))
    return redirect(job)


@require_POST
@requires(Permission.SUBMIT)
def rerun(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Run again: as before, or with the threshold profile and the stability test that the form names."""
    job = _visible_job(request, pk)
    again = services.rerun_job(
        job=job,
        actor=_member(request),
        threshold_profile=request.POST.get("threshold_profile"),
        stability=request.POST.get("stability", ""),
    )
    return redirect(again)


@require_http_methods(["GET", "POST"])
@requires(Permission.DELETE)
@in_readers_zone
def delete(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Ask first: what is deleted cannot be brought back, its encryption key is destroyed."""
    job = _visible_job(request, pk)
    member = _member(request)
    holds.check_free(job)
    if request.method == "GET":
        is_last = not job.media.jobs.exclude(pk=job.pk).exists()
        return render(request, "detection/confirm_delete.html", {"job": job, "media": job.media, "is_last": is_last})
    name = str(job.media)
    services.delete_analysis(job=job, actor=member)
    messages.success(request, f"The analysis of {name} was deleted.")
    return redirect("detection:analyses")


# Files ----------------------------------------------------------------------------------------------------------------


@require_safe
@requires(Permission.VIEW)
async def media_file(request: HttpRequest, pk: UUID) -> HttpResponseBase:
    """The item as a browser can play it; `?original=1` downloads the bytes that were sent."""
    is_download = bool(request.GET.get("original"))
    media = await sync_to_async(_read_media)(request, pk, "media.downloaded" if is_download else "media.read")
    if is_download:
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
@requires(Permission.VIEW)
async def thumbnail(request: HttpRequest, pk: UUID) -> HttpResponseBase:
    media = await sync_to_async(_seen_media)(request, pk)
    return await ranges.respond(request, media.thumbnail_name, content_type="image/jpeg")


def _read_media(request: HttpRequest, pk: UUID, action: str) -> Media:
    """The item, once it is written down who reads it."""
    media = _visible_media(request, pk)
    if request.method == "GET":
        audit.record_hourly(action=action, organization=media.organization, actor=request.user, target=media)
    return media


def _seen_media(request: HttpRequest, pk: UUID) -> Media:
    """The item whose small picture a list shows. A list has fifty of them: that they were seen is one row an hour."""
    media = _visible_media(request, pk)
    if not media.thumbnail_name:
        raise Http404
    if request.method == "GET":
        audit.record_hourly(
            action="media.thumbnails_seen",
            organization=media.organization,
            actor=request.user,
            details={"first": media.public_id},
        )
    return media


def _visible_media(request: HttpRequest, pk: UUID) -> Media:
    media = get_object_or_404(Media.objects.visible_to(request.user).select_related("organization"), pk=pk)
    if not media.storage_name:
        raise Http404
    return media


@require_safe
@public("the signature in the link, which expires, is what opens it; a signed-in stranger finds nothing all the same")
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
        ExplanationArtifact.objects.filter(result__job__deleted_at=None).select_related("result__job__organization"),
        pk=pk,
    )
    member = request.user
    if member.is_authenticated:
        if member.organization_id != found.result.job.organization_id:
            raise Http404
        check(member, Permission.VIEW)
    if request.method == "GET":
        job = found.result.job
        audit.record_hourly(action="artifacts.read", organization=job.organization, actor=member, target=job)
    return found
