"""What the organisation has issued: the list, and taking a report back."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from accounts.authentication import member_of, organization_of
from accounts.permissions import Permission, requires
from deepfake.reader_zone import in_readers_zone
from reports import services
from reports.models import ReportIssue

PAGE_SIZE = 50


@require_GET
@requires(Permission.VIEW)
@in_readers_zone
def issues(request: HttpRequest) -> HttpResponse:
    q = request.GET.get("q", "")[:200]
    found = ReportIssue.objects.visible_to(organization_of(request)).matching(q)
    found = found.select_related("job__media", "issued_by", "api_key")
    page = Paginator(found, PAGE_SIZE).get_page(request.GET.get("page"))
    member = member_of(request)
    context = {"page": page, "q": q, "may_revoke": member is not None and member.may(Permission.REPORTS_REVOKE)}
    return render(request, "reports/issues.html", context)


@require_POST
@requires(Permission.REPORTS_REVOKE)
def revoke(request: HttpRequest, pk: UUID) -> HttpResponse:
    issue = get_object_or_404(ReportIssue.objects.visible_to(organization_of(request)), pk=pk)
    member = member_of(request)
    services.revoke(issue=issue, reason=request.POST.get("reason", ""), actor=member)
    messages.success(request, "The report was taken back. Whoever verifies it is told so, with your reason.")
    return redirect("reports:issues")
