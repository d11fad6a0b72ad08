"""Pages: how long things are kept, and legal holds."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from accounts.authentication import organization_of
from accounts.models import User
from accounts.permissions import Permission, requires
from deepfake.errors import DomainError
from deepfake.reader_zone import in_readers_zone
from detection import holds, retention
from detection.models import Job, LegalHold
from detection.privacy_forms import HoldForm, ReasonForm, RetentionForm

HOLDS_SHOWN = 200


@require_http_methods(["GET", "POST"])
@requires(Permission.PRIVACY)
@in_readers_zone
def privacy(request: HttpRequest) -> HttpResponse:
    organization, member = organization_of(request), _member(request)
    form = RetentionForm(
        request.POST or None, rules=retention.rules_of(organization), own=retention.settings_of(organization)
    )
    error = ""
    if request.method == "POST":
        try:
            if not form.is_valid():
                raise DomainError(form.first_error(), "retention_invalid")
            retention.save_rules(organization=organization, actor=member, rules=form.rules(), own=form.own())
            messages.success(request, "The rules are kept. They are carried out once an hour.")
            return redirect("detection:privacy")
        except DomainError as refused:
            error = refused.message
    standing = holds.standing().filter(organization=organization).select_related("media", "job__media", "set_by")
    context = {
        "organization": organization,
        "form": form,
        "error": error,
        "preview": retention.preview(organization),
        "holds": _with_jobs(list(standing[:HOLDS_SHOWN])),
    }
    return render(request, "detection/privacy.html", context, status=400 if error else 200)


def _with_jobs(rows: list[LegalHold]) -> list[tuple[LegalHold, Job | None]]:
    """Each hold with an analysis that its page can be opened by."""
    wanted = {hold.media_id for hold in rows if hold.job_id is None}
    newest = {job.media_id: job for job in Job.objects.filter(media__in=wanted, deleted_at=None).order_by("created_at")}
    return [(hold, hold.job or newest.get(hold.media_id)) for hold in rows]


@require_http_methods(["GET", "POST"])
@requires(Permission.PRIVACY)
@in_readers_zone
def hold(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Set a legal hold on an analysis or on its item."""
    job = get_object_or_404(Job.objects.visible_to(request.user).select_related("media", "organization"), pk=pk)
    form, error = HoldForm(request.POST or None), ""
    if request.method == "POST":
        try:
            form.is_valid()
            holds.set_hold(
                job=job,
                actor=_member(request),
                reason=request.POST.get("reason", ""),
                is_whole_item=request.POST.get("scope") != "job",
            )
            messages.success(request, "The hold is set: nothing of it can be deleted until it is released.")
            return redirect(job)
        except DomainError as refused:
            error = refused.message
    context = {"job": job, "media": job.media, "form": form, "error": error}
    return render(request, "detection/hold.html", context, status=400 if error else 200)


@require_http_methods(["GET", "POST"])
@requires(Permission.PRIVACY)
@in_readers_zone
def release(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Release a hold, with the reason."""
    rows = LegalHold.objects.filter(organization=organization_of(request)).select_related("media", "job", "set_by")
    found = get_object_or_404(rows, pk=pk)
    form, error = ReasonForm(request.POST or None), ""
    if request.method == "POST":
        try:
            holds.release(hold=found, actor=_member(request), reason=request.POST.get("reason", ""))
            messages.success(request, "The hold is released. The rules of retention apply again.")
            return redirect("detection:privacy")
        except DomainError as refused:
            error = refused.message
    context: dict[str, Any] = {"hold": found, "form": form, "error": error}
    return render(request, "detection/hold_release.html", context, status=400 if error else 200)


def _member(request: HttpRequest) -> User:
    assert isinstance(request.user, User)  # requires() lets nobody else in
    return request.user
