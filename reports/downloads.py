"""A report as an answer to a request, in the form that was asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from asgiref.sync import sync_to_async
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header
from django.utils.text import slugify

from accounts.models import ApiKey, User
from detection.models import Job
from reports import bundles, services
from reports.models import ReportFormat

CONTENT_TYPES = {
    ReportFormat.JSON: "application/json",
    ReportFormat.PDF: "application/pdf",
    ReportFormat.BUNDLE: "application/zip",
}
MOST_OF_A_NAME = 60
SUFFIXES = {ReportFormat.JSON: "json", ReportFormat.PDF: "pdf", ReportFormat.BUNDLE: "zip"}


def response(*, job: Job, wanted: str, actor: User | None = None, api_key: ApiKey | None = None) -> HttpResponseBase:
    """Issue a report and answer with it. Raises DomainError."""
    services.check_format(wanted)
    if wanted == ReportFormat.BUNDLE:
        bundles.check_whole(job)
    issued = services.issue(job=job, wanted=wanted, actor=actor, api_key=api_key)
    kind = ReportFormat(wanted)
    answer: HttpResponseBase
    if kind == ReportFormat.BUNDLE:
        pieces = bundles.write(job, issued)
        answer = StreamingHttpResponse(off_the_loop(pieces), content_type=CONTENT_TYPES[kind])
    else:
        answer = HttpResponse(issued.pdf or issued.json, content_type=CONTENT_TYPES[kind])
    answer["Content-Disposition"] = content_disposition_header(as_attachment=True, filename=file_name(job, kind))
    answer["X-Report-Id"] = issued.issue.public_id
    answer["Cache-Control"] = "private, no-store"
    return answer


def file_name(job: Job, kind: ReportFormat) -> str:
    """What people tell two hundred reports a day apart by: the item's name, where it has one, and the analysis's id."""
    name = "evidence" if kind == ReportFormat.BUNDLE else "report"
    item = slugify(Path(job.media.filename).stem, allow_unicode=True)[:MOST_OF_A_NAME].strip("-_")
    return "-".join(part for part in (name, item, f"{job.public_id}.{SUFFIXES[kind]}") if part)


async def off_the_loop(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield what a blocking iterator makes, each piece in the request's own thread, which holds its connection.

    Handed over as it is, Django would collect the iterator whole in memory first.
    """
    following = sync_to_async(_following)
    while (piece := await following(pieces)) is not None:
        if piece:
            yield piece


def _following(pieces: Iterator[bytes]) -> bytes | None:
    """The next piece; None at the end, because StopIteration cannot cross into a coroutine."""
    return next(pieces, None)
