"""A report as a web page and as a PDF; pictures and the code to scan are drawn in, so that both stand alone."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import qrcode
from django.conf import settings
from django.template.loader import render_to_string
from PIL import Image

from deepfake import storage
from detection.models import ExplanationArtifact, Job

if TYPE_CHECKING:
    import weasyprint

STYLESHEET = settings.BASE_DIR / "static" / "css" / "report.css"
MAX_PICTURES = 4
PICTURE_PX = 480  # longest side of a picture on paper
SCRAP = 0.4  # a last page that ends above this share of its height is one
CLOSE = "@page { margin: 14mm 17mm 18mm; } html { font-size: 9.1pt; line-height: 1.4; } h2 { margin-top: 14pt; }"
TURNED = ".checkable { break-before: page; }"
ATTACHED_NAME = "report.json"


@dataclass(frozen=True)
class Picture:
    src: str  # data: address, so that a report stands alone
    original: str  # the same frame as it is in the file; blank where there is none
    caption: str
    kind: str


@dataclass(frozen=True)
class ScanCode:
    """A QR code as one path of a drawing, `size` modules wide, margin included."""

    path: str
    size: int


def html(job: Job, content: dict[str, Any], *, is_page: bool = True) -> str:
    """Return the report as a document of its own; with `is_page` it links its stylesheet, for browsers."""
    issue = content["report"]
    context = {
        "job": job,
        "media": job.media,
        "result": job.result,
        "content": content,
        "issue": issue,
        "code": scan_code(issue["verify_url"]) if issue else None,
        "pictures": _pictures(job),
        "is_page": is_page,
    }
    return render_to_string("reports/report.html", context)


def pdf(job: Job, content: dict[str, Any], signed_json: bytes = b"") -> bytes:
    """Return the PDF, with the signed JSON of the same report as an attachment; itself not signed yet."""
    # Imported here: pango and its fonts cost memory that a process which prints nothing need not spend.
    import weasyprint

    fetcher = weasyprint.URLFetcher(allowed_protocols=("data",), allow_redirects=False)
    page = weasyprint.HTML(string=html(job, content, is_page=False), url_fetcher=fetcher)
    attached = []
    if signed_json:
        attached = [weasyprint.Attachment(string=signed_json, name=ATTACHED_NAME, description="This report, signed")]
    options = weasyprint.DEFAULT_OPTIONS | {"attachments": attached, "pdf_tags": True}
    return bytes(laid_out(page, fetcher).write_pdf(**options))


def laid_out(page: weasyprint.HTML, fetcher: weasyprint.URLFetcher) -> weasyprint.Document:
    """Lay the report out so that its last page is no scrap.

    It is set a little closer where that saves the page; else its last chapter is not torn apart.
    """
    import weasyprint

    style = STYLESHEET.read_text()
    images: dict[str, Any] = {}  # read once for all attempts

    def lay_out(extra: str = "") -> weasyprint.Document:
        sheet = weasyprint.CSS(string=style + extra, url_fetcher=fetcher)
        return page.render(stylesheets=[sheet], cache=images, pdf_tags=True)

    usual = lay_out()
    if filled(usual) >= SCRAP:
        return usual
    close = lay_out(CLOSE)
    if len(close.pages) < len(usual.pages):
        return close
    turned = lay_out(TURNED)
    return turned if len(turned.pages) == len(usual.pages) else usual


def filled(document: weasyprint.Document) -> float:
    """How much of the last page's height is written on, in [0, 1]."""
    last = document.pages[-1]
    place = last.anchors.get("end")  # x, y, width, height
    return float(place[1] / last.height) if place else 1.0


def scan_code(text: str) -> ScanCode:
    code = qrcode.QRCode(border=2, error_correction=qrcode.ERROR_CORRECT_M)
    code.add_data(text)
    rows = code.get_matrix()
    path = "".join(f"M{x} {y}h{width}v1h-{width}z" for y, row in enumerate(rows) for x, width in _runs(row))
    return ScanCode(path, len(rows))


def _runs(row: list[bool]) -> list[tuple[int, int]]:
    """Where the dark stretches of a row begin, and how long they are."""
    found: list[tuple[int, int]] = []
    for x, is_dark in enumerate(row):
        if is_dark and found and sum(found[-1]) == x:
            found[-1] = (found[-1][0], found[-1][1] + 1)
        elif is_dark:
            found.append((x, 1))
    return found


# Pictures -------------------------------------------------------------------------------------------------------------


def _pictures(job: Job) -> list[Picture]:
    """Key frames beside themselves with the heatmap laid over, strongest first, then the frequency map."""
    files = list(job.result.artifacts.all())
    frames = {file.frame_index: file for file in files if file.kind == "key_frame"}
    maps = sorted((file for file in files if file.kind == "saliency_map"), key=lambda file: -(file.score or 0))
    found = [_overlaid(job, file, frames.get(file.frame_index)) for file in maps[:MAX_PICTURES]]
    for file in [file for file in files if file.kind == "frequency_heatmap"][:1]:
        found.append(_shown(file))
    return [picture for picture in found if picture is not None]


def _overlaid(job: Job, overlay: ExplanationArtifact, frame: ExplanationArtifact | None) -> Picture | None:
    # Only files that we wrote ourselves are opened here: what was sent is decoded in the engine's child process.
    heat = _opened(overlay.storage_name)
    if heat is None:
        return None
    base = _opened(frame.storage_name if frame is not None else job.media.thumbnail_name)
    width, height = job.media.width or heat.width, job.media.height or heat.height
    scale = min(1.0, PICTURE_PX / max(width, height))
    canvas = (base or Image.new("RGB", (width, height), "black")).convert("RGB")
    canvas = canvas.resize((max(1, round(width * scale)), max(1, round(height * scale))))
    original = _jpeg_address(canvas) if base is not None else ""
    x, y, w, h = (round(side * scale) for side in (overlay.box or (0, 0, width, height)))
    heat = heat.convert("RGBA").resize((max(w, 1), max(h, 1)))
    canvas.paste(heat, (x, y), heat)
    return Picture(_jpeg_address(canvas), original, overlay.caption, overlay.kind)


def _shown(file: ExplanationArtifact) -> Picture | None:
    image = _opened(file.storage_name)
    return None if image is None else Picture(_jpeg_address(image), "", file.caption, file.kind)


def _opened(name: str) -> Image.Image | None:
    """The picture as stored; None when it is gone: a report is not lost with a picture."""
    if not name:
        return None
    try:
        with storage.open_decrypted(name) as file:
            return Image.open(io.BytesIO(file.read()))
    except storage.ObjectMissing:
        return None


def _jpeg_address(image: Image.Image) -> str:
    target = io.BytesIO()
    image.convert("RGB").save(target, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(target.getvalue()).decode()
