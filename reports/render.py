"""One finished analysis as a report: a JSON-ready dict, a web page, a PDF."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.http import HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.utils import timezone
from PIL import Image

from deepfake import storage
from deepfake.errors import DomainError
from detection.models import ExplanationArtifact, Job, JobStatus

FORMATS = ("pdf", "json", "html")
SCHEMA = "deepfake-report/1"
STYLESHEET = settings.BASE_DIR / "static" / "css" / "report.css"
MAX_PICTURES = 6
PICTURE_PX = 560  # longest side of a picture on paper
METHOD = (
    "The file was decoded, people were located and followed from frame to frame, and speech was located in the sound.",
    "Independent detectors each looked for one kind of trace. A detector that could not work on this item was left "
    "out; it did not count as half a vote.",
    "Their results were joined per channel (picture, voice, lips and speech), then into one calibrated probability "
    "with an interval.",
    "The item was saved again in ways that platforms use. A verdict that changes by this is given as inconclusive.",
    "The verdict follows from the two thresholds printed in this report.",
)
LIMITS = (
    "The score is a probability of manipulation as estimated by trained models. It is evidence, not proof, and it says "
    "nothing about whether a caption or a claim about the item is true.",
    "Methods that did not exist when the models were trained may go unnoticed. Heavy compression, screenshots, filters "
    "and small faces weaken every detector.",
    "A heatmap shows where a detector looked, not a line around what was changed.",
    "Missing Content Credentials mean nothing: most genuine files have none.",
    "This report is not digitally signed. Compare the SHA-256 of the file with the one printed here to make sure that "
    "both speak of the same item.",
)


@dataclass(frozen=True)
class Picture:
    src: str  # data: address, so that a report stands alone
    caption: str
    kind: str


def report(job: Job) -> dict[str, Any]:
    """Return all that the report says, JSON-ready. Raises DomainError when there is no result."""
    result = _result_of(job)
    media = job.media
    details = result.details
    return {
        "schema": SCHEMA,
        "created_at": _moment(timezone.now()),
        "analysis": {
            "job_id": job.public_id,
            "organization": job.organization.name,
            "mode": job.mode,
            "received_at": _moment(job.created_at),
            "started_at": _moment(job.started_at),
            "finished_at": _moment(job.finished_at),
            "seconds": details.get("seconds") or {},
        },
        "item": {
            "media_id": media.public_id,
            "filename": media.filename,
            "source_url": media.source_url or None,
            "kind": media.kind,
            "mime_type": media.mime_type,
            "size_bytes": media.size_bytes,
            "sha256": media.sha256,
            "phash": media.phash or None,
            "width": media.width,
            "height": media.height,
            "duration_s": media.duration_s,
            "warnings": details.get("warnings") or [],
            "facts": {name: value for name, value in media.info.items() if name != "metadata"},
            "metadata": media.info.get("metadata") or {},
        },
        "verdict": {
            "label": result.label,
            "score": result.score,
            "confidence_interval": None if result.interval_low is None else [result.interval_low, result.interval_high],
            "abstain_reason": result.abstain_reason or None,
            "rationale": result.rationale,
            "thresholds": {"fake": result.threshold_fake, "real": result.threshold_real},
            "channels": details.get("channels") or [],
        },
        "branches": [_branch(score) for score in result.branch_scores.all()],
        **{name: details.get(name) or [] for name in ("fake_intervals", "curve", "speech", "tracks")},
        "stability": details.get("stability"),
        "provenance": details.get("provenance"),
        "model": {
            "version": result.model_version.name,
            "branches": result.model_version.branches,
        },
        "explanations": [_explanation(file) for file in result.artifacts.all()],
        "method": list(METHOD),
        "limits": list(LIMITS),
    }


def html(job: Job, *, is_page: bool = True) -> str:
    """Return the report as a document of its own; with `is_page` it links its stylesheet, for browsers."""
    result = _result_of(job)
    context = {
        "job": job,
        "media": job.media,
        "result": result,
        "pictures": _pictures(job),
        "created_at": timezone.now(),
        "method": METHOD,
        "limits": LIMITS,
        "is_page": is_page,
    }
    return render_to_string("reports/report.html", context)


def pdf(job: Job) -> bytes:
    # Imported here: pango and its fonts cost memory that a process which prints nothing need not spend.
    import weasyprint

    fetcher = weasyprint.URLFetcher(allowed_protocols=("data",), allow_redirects=False)
    document = weasyprint.HTML(string=html(job, is_page=False), url_fetcher=fetcher)
    style = weasyprint.CSS(string=STYLESHEET.read_text(), url_fetcher=fetcher)
    return bytes(document.write_pdf(stylesheets=[style]))


def response(job: Job, wanted: str) -> HttpResponse:
    """Return the report in one of FORMATS. Raises DomainError."""
    if wanted not in FORMATS:
        raise DomainError(f"format must be one of {', '.join(FORMATS)}.", "format_unknown")
    if wanted == "html":
        return HttpResponse(html(job))
    if wanted == "json":
        answer: HttpResponse = JsonResponse(report(job), json_dumps_params={"indent": 2})
    else:
        answer = HttpResponse(pdf(job), content_type="application/pdf")
    answer["Content-Disposition"] = f'attachment; filename="report-{job.public_id}.{wanted}"'
    return answer


def _result_of(job: Job) -> Any:
    if job.status != JobStatus.COMPLETED:
        raise DomainError(
            f"There is no report yet: this analysis is {job.get_status_display().lower()}.",
            "report_not_ready",
            status=409,
        )
    return job.result


def _branch(score: Any) -> dict[str, Any]:
    names = (
        "branch", "channel", "state", "score", "confidence", "quality", "weight", "contribution", "sentence", "version",
        "sha256", "data",
    )  # fmt: skip
    return {name: getattr(score, name) for name in names} | {"reason": score.reason or None}


def _explanation(file: ExplanationArtifact) -> dict[str, Any]:
    names = ("kind", "caption", "frame_index", "time_s", "track", "score", "box")
    return {"id": str(file.id)} | {name: getattr(file, name) for name in names}


def _moment(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()


# Pictures -------------------------------------------------------------------------------------------------------------


def _pictures(job: Job) -> list[Picture]:
    """Key frames with their heatmaps laid over, strongest first, then the frequency map."""
    files = list(job.result.artifacts.all())
    frames = {file.frame_index: file for file in files if file.kind == "key_frame"}
    maps = sorted((file for file in files if file.kind == "saliency_map"), key=lambda file: -(file.score or 0))
    found = [_overlaid(job, file, frames.get(file.frame_index)) for file in maps[:MAX_PICTURES]]
    spectra = [file for file in files if file.kind == "frequency_heatmap"][:1]
    found += [Picture(_jpeg_address(_opened(file.storage_name)), file.caption, file.kind) for file in spectra]
    return found


def _overlaid(job: Job, overlay: ExplanationArtifact, frame: ExplanationArtifact | None) -> Picture:
    # Only files that we wrote ourselves are opened here: what was sent is decoded in the engine's child process.
    heat = _opened(overlay.storage_name).convert("RGBA")
    base_name = frame.storage_name if frame is not None else job.media.thumbnail_name
    width, height = job.media.width or heat.width, job.media.height or heat.height
    base = _opened(base_name).convert("RGB") if base_name else Image.new("RGB", (width, height), "black")
    scale = min(1.0, PICTURE_PX / max(width, height))
    canvas = base.resize((max(1, round(width * scale)), max(1, round(height * scale))))
    x, y, w, h = (round(side * scale) for side in (overlay.box or (0, 0, width, height)))
    heat = heat.resize((max(w, 1), max(h, 1)))
    canvas.paste(heat, (x, y), heat)
    return Picture(_jpeg_address(canvas), overlay.caption, overlay.kind)


def _opened(name: str) -> Image.Image:
    with storage.open_decrypted(name) as file:
        return Image.open(io.BytesIO(file.read()))


def _jpeg_address(image: Image.Image) -> str:
    target = io.BytesIO()
    image.convert("RGB").save(target, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(target.getvalue()).decode()
