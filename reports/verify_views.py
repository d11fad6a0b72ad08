"""The public page behind the code on a report: what was issued, and whether a file is just that."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from deepfake.reader_zone import in_readers_zone
from reports import limits, seals, services, signing
from reports.models import ReportIssue

SLACK_BYTES = 100_000  # what a multipart body has around its file


@dataclass(frozen=True)
class FileCheck:
    """What is told about a file that somebody dropped: a level for the eye, sentences for the reader."""

    level: str  # "success" | "warning" | "error"
    title: str
    text: str
    other: ReportIssue | None = None  # the report that it really is


# Nothing is changed by this form and nobody is signed in for it; and the token would have the whole body read before
# the limit on its size can be enforced.
@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@in_readers_zone
def verify(request: HttpRequest, report_id: str = "") -> HttpResponse:
    is_check = request.method == "POST"
    allowed = ("check", limits.CHECKS) if is_check else ("view", limits.VIEWS)
    if wait := limits.wait_s(allowed[0], request, allowed[1]):
        return _refuse(request, wait)
    issue = services.find_issue(report_id) if report_id else None
    if report_id and issue is None:
        return _page(request, {"report_id": report_id}, template="reports/verify_unknown.html", status=404)
    if not is_check:
        return _page(request, _told(issue))
    found = _examined(request, issue)
    return _page(request, _told(issue) | {"check": found}, status=200 if found.level != "error" else 422)


def _told(issue: ReportIssue | None) -> dict[str, Any]:
    """What a stranger may know: no file name, no sender, no reviewer."""
    if issue is None:
        return {}
    return {
        "issue": issue,
        "superseded": issue.superseded_by(),
        "is_deleted": issue.job is None,
        "is_known_key": issue.key_id in signing.keyring(),
    }


ZIP_MARK = b"PK\x03\x04"


def _examined(request: HttpRequest, issue: ReportIssue | None) -> FileCheck:
    """Check the file that was sent; it is read from the request and kept nowhere."""
    too_large = FileCheck("error", "This file is too large", "Reports are far smaller. Choose the PDF or JSON itself.")
    announced = request.META.get("CONTENT_LENGTH") or ""
    if announced.isdigit() and int(announced) > limits.MAX_FILE_BYTES + SLACK_BYTES:
        return too_large
    file: UploadedFile[bytes] | None = request.FILES.get("file")
    if file is None:
        return FileCheck("error", "No file was chosen", "Choose the PDF or JSON report that you were given.")
    if (file.size or 0) > limits.MAX_FILE_BYTES:
        return too_large
    data = file.read()
    if data.startswith(ZIP_MARK):
        return FileCheck(
            "warning",
            "A bundle is not checked here",
            "Unpack it and choose the report.pdf or report.json in it. The whole zip is checked by "
            "`manage.py verify_report`, and `manage.py reproduce` runs it again.",
        )
    if len(data) > limits.MAX_JSON_BYTES and not data.startswith(b"%PDF-"):
        return too_large
    try:
        checked = seals.check(data, signing.keyring())
    except seals.SealBroken as broken:
        return FileCheck("error", "Do not rely on this file", broken.message)
    return _compared(data, checked, issue)


def _compared(data: bytes, checked: seals.Checked, issue: ReportIssue | None) -> FileCheck:
    """Hold an intact file against what was recorded when it was issued."""
    own = issue if issue is not None and issue.public_id == checked.report_id else None
    recorded = own or services.find_issue(checked.report_id)
    if recorded is None:
        return FileCheck(
            "warning",
            "Signed here, but not on record",
            f"The signature is intact and made with a key of this server, yet the report {checked.report_id} is not in "
            "its records. Ask the organisation that gave it to you.",
        )
    if not recorded.matches(hashlib.sha256(data).hexdigest()):
        return FileCheck(
            "warning",
            "Signed here, but not the recorded file",
            "The signature is intact, but the SHA-256 differs from that of the file that was recorded when this report "
            "was issued.",
            recorded,
        )
    if issue is not None and own is None:
        return FileCheck(
            "warning",
            "Intact, but another report",
            "The file is genuine and unchanged. It is not the report of this page.",
            recorded,
        )
    if recorded.revoked_at is not None:
        return FileCheck(
            "warning", "Unchanged, but taken back", "The report was taken back after it was issued.", recorded
        )
    return FileCheck(
        "success",
        "This file is the report that was issued",
        "Not one byte of it has changed: its signature and its SHA-256 are those on record.",
        recorded,
    )


def _page(
    request: HttpRequest, context: dict[str, Any], *, template: str = "reports/verify.html", status: int = 200
) -> HttpResponse:
    response = render(request, template, context, status=status)
    response["X-Robots-Tag"] = "noindex, nofollow"
    response["Referrer-Policy"] = "no-referrer"
    return response


def _refuse(request: HttpRequest, wait: int) -> HttpResponse:
    minutes = max(1, round(wait / 60))
    response = _page(request, {"minutes": minutes}, template="reports/verify_slow.html", status=429)
    response["Retry-After"] = str(wait)
    return response
