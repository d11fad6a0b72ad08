"""Pages: what people asked of their data, a new request, and the download of an export."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_safe

from accounts import audit
from accounts import data_requests as services
from accounts.models import DataRequest, User
from accounts.permissions import Permission, requires
from accounts.privacy_forms import MemberRequestForm, PersonRequestForm
from deepfake import storage
from deepfake.errors import DomainError
from deepfake.reader_zone import in_readers_zone

SHOWN = 100


@require_http_methods(["GET", "POST"])
@requires(Permission.PRIVACY)
@in_readers_zone
def data_requests(request: HttpRequest) -> HttpResponse:
    member = _member(request)
    assert member.organization is not None
    about_member = request.POST.get("about") == DataRequest.About.MEMBER
    for_member = MemberRequestForm(request.POST if about_member else None, organization=member.organization)
    for_person = PersonRequestForm(request.POST if request.method == "POST" and not about_member else None)
    error = ""
    if request.method == "POST":
        form: Any = for_member if about_member else for_person
        try:
            if not form.is_valid():
                raise DomainError(
                    " ".join(str(e) for errors in form.errors.values() for e in errors), "request_invalid"
                )
            made = services.ask(organization=member.organization, actor=member, **form.wish())
            messages.success(request, "The request is being carried out.")
            return redirect(made)
        except DomainError as refused:
            error = refused.message
    rows = DataRequest.objects.filter(organization=member.organization).select_related("member", "requested_by")
    context = {
        "requests": list(rows[:SHOWN]),
        "for_member": for_member,
        "for_person": for_person,
        "error": error,
        "error_is_of_member": about_member,
        "kept_days": services.KEPT_FOR.days,
    }
    return render(request, "accounts/data_requests.html", context, status=400 if error else 200)


@require_GET
@requires(Permission.PRIVACY)
@in_readers_zone
def data_request(request: HttpRequest, pk: UUID) -> HttpResponse:
    found = _found(request, pk)
    is_erased = found.kind == DataRequest.Kind.ERASE and found.status in ("done", "partly")
    context = {
        "one": found,
        "counts": [(name.replace("_", " "), number) for name, number in found.counts.items() if "/" not in name],
        "objects": len(found.proof.get("objects", [])),
        "proof": services.proof_details(found) if is_erased else None,
    }
    is_part = request.headers.get("X-Requested-With") == "fetch"  # an open page asks how far it is
    return render(request, "accounts/_data_request.html" if is_part else "accounts/data_request.html", context)


@require_safe
@requires(Permission.PRIVACY)
def archive(request: HttpRequest, pk: UUID) -> Any:
    """The zip, while its time is not over."""
    found = _found(request, pk)
    if not found.has_archive or not storage.exists(found.archive_name):
        raise DomainError("This export is no longer to be had. Ask for a new one.", "export_expired", 410)
    audit.record(
        action="privacy.export_downloaded",
        organization=found.organization,
        actor=_member(request),
        target=found,
    )
    response = StreamingHttpResponse(_blocks(found), content_type="application/zip")
    response["Content-Length"] = str(found.archive_bytes)
    response["Content-Disposition"] = f'attachment; filename="{found.public_id}.zip"'
    response["Cache-Control"] = "private, no-store"
    return response


def _blocks(found: DataRequest) -> Iterator[bytes]:
    return storage.iter_range(found.archive_name, 0, found.archive_bytes)


def _found(request: HttpRequest, pk: UUID) -> DataRequest:
    rows = DataRequest.objects.filter(organization=_member(request).organization)
    return get_object_or_404(rows.select_related("member", "requested_by", "organization"), pk=pk)


def _member(request: HttpRequest) -> User:
    assert isinstance(request.user, User)  # requires() lets nobody else in
    return request.user
