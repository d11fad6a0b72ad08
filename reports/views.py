"""The report behind an analysis, as a page or as a signed download; and the list of analyses as a file."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET

from accounts.authentication import member_of, organization_of
from accounts.permissions import Permission, requires
from deepfake.reader_zone import in_readers_zone
from detection.models import Job
from reports import downloads, exports, services


@require_GET
@requires(Permission.VIEW)
def report(request: HttpRequest, pk: UUID) -> HttpResponseBase:
    job = get_object_or_404(services.for_report(Job.objects.visible_to(request.user)), pk=pk)
    wanted = request.GET.get("format", services.PAGE_FORMAT)
    services.check_format(wanted)
    if wanted == services.PAGE_FORMAT:
        return HttpResponse(services.page(job=job, actor=member_of(request)))
    return downloads.response(job=job, wanted=wanted, actor=member_of(request))


@require_GET
@requires(Permission.VIEW)
@in_readers_zone  # type: ignore[arg-type]  # a stream; it is only passed on
def export(request: HttpRequest) -> StreamingHttpResponse:
    """The list of analyses, narrowed as on its page, as a file."""
    return exports.response(
        request.GET,
        organization=organization_of(request),
        actor=member_of(request),
        wanted=request.GET.get("format", "csv"),
    )
