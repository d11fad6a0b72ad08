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

from accounts.permissions import public
from deepfake import signing
from deepfake.reader_zone import in_readers_zone
from reports import limits, seals, services
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
@public("whoever holds a report may check it; nothing is told that the report itself does not say")
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
PDF_MARK, PDF_MARK_WITHIN = b"%PDF-", 1024  # where readers of PDF look for it
HASH_IT_YOURSELF = (
    "Compute its SHA-256 on your own machine (`sha256sum FILE`, on Windows `certutil -hashfile FILE SHA256`) and "
    "compare it with the one of the examined file."
)


def _examined(request: HttpRequest, issue: ReportIssue | None) -> FileCheck:
    """Check the file that was sent; it is read from the request and kept nowhere."""
    advice = "Reports are far smaller. Choose the PDF or JSON itself."
    if issue is not None:
        advice += f" If it is the examined item that you hold: {HASH_IT_YOURSELF[0].lower()}{HASH_IT_YOURSELF[1:]}"
    too_large = FileCheck("error", "This file is too large", advice)
    announced = request.META.get("CONTENT_LENGTH") or ""
    if announced.isdigit() and int(announced) > limits.MAX_FILE_BYTES + SLACK_BYTES:
        return too_large
    file: UploadedFile[bytes] | None = request.FILES.get("file")
    if file is None:
        return FileCheck("error", "No file was chosen", "Choose the file that you were given.")
    if (file.size or 0) > limits.MAX_FILE_BYTES:
        return too_large
    data = file.read()
    # The address of the report tells its holder this digest anyway. Nowhere else is it looked up: a stranger is not
    # told of a file whether somebody had it examined.
    if issue is not None and hashlib.sha256(data).hexdigest() == issue.media_sha256:
        return _the_item(issue)
    if data.startswith(ZIP_MARK):
        return FileCheck(
            "warning",
            "A bundle is not checked here",
            "Unpack it and choose the report.pdf or report.json in it. The whole zip is checked by "
            "`manage.py verify_report`, and `manage.py reproduce` runs it again.",
        )
    is_pdf = PDF_MARK in data[:PDF_MARK_WITHIN]
    if not is_pdf and not _may_be_json(data):
        return _neither(issue)
    if len(data) > limits.MAX_JSON_BYTES and not is_pdf:
        return too_large
    try:
        checked = seals.check(data, signing.keyring())
    except seals.SealBroken as broken:
        return FileCheck("error", "Do not rely on this file", broken.message)
    return _compared(data, checked, issue)


def _may_be_json(data: bytes) -> bool:
    return data[:64].removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")


def _the_item(issue: ReportIssue) -> FileCheck:
    """What is said of the very file that the report speaks of. It is no statement about the paper somebody holds."""
    if issue.revoked_at is not None:
        return FileCheck(
            "warning",
            "This is the file that was examined, but the report was taken back",
            f"Its SHA-256 is that of the item which the report {issue.public_id} speaks of. The report was taken back: "
            "do not rely on what it says about this file.",
        )
    return FileCheck(
        "success",
        "This is the file that was examined",
        f"Its SHA-256 is that of the item which the report {issue.public_id} speaks of: not one byte differs, so what "
        "the report says, it says of this file. To check the report that you hold, drop its PDF or JSON here as well.",
    )


def _neither(issue: ReportIssue | None) -> FileCheck:
    """What is said of a file that does not even look like a report."""
    if issue is None:
        return FileCheck(
            "warning",
            "This file is no report",
            "Reports that can be checked are PDF or JSON files; a page saved from a browser, a scan or a photograph of "
            "a report carries no signature. To find out whether this is the item that a report speaks of, open the "
            "address that is printed on the report and check it there.",
        )
    return FileCheck(
        "warning",
        "Neither this report nor the file that was examined",
        "Its SHA-256 is not that of the examined item, and it is no PDF or JSON that could be the report. That says "
        "nothing against it: saving again, cutting or sending through a messenger changes every file, and so does a "
        "page saved from a browser. But the report does not speak of this file. Ask for the original or for the report "
        "as it was issued, or have this copy examined by itself.",
    )


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
    return response


def _refuse(request: HttpRequest, wait: int) -> HttpResponse:
    minutes = max(1, round(wait / 60))
    response = _page(request, {"minutes": minutes}, template="reports/verify_slow.html", status=429)
    response["Retry-After"] = str(wait)
    return response
