"""Decode one still picture with Pillow; runs in the sandbox child only."""

from __future__ import annotations

import io
import warnings as python_warnings
from typing import Any

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, ImageOps

from detection.engine.errors import MediaUnreadable
from detection.engine.sink import Sink

FORMATS = {
    "jpeg": ("JPEG", "MPO"),
    "png": ("PNG",),
    "webp": ("WEBP",),
    "heic": ("HEIF",),
    "avif": ("AVIF",),
    "gif": ("GIF",),
    "bmp": ("BMP",),
    "tiff": ("TIFF",),
}
PLAYABLE = ("jpeg", "png", "webp", "avif", "gif", "bmp")
MAX_SIDE = 32_000
MAX_TAGS, MAX_TAG_CHARS = 64, 300
RESEND = "Send the original file again, or save it anew as JPEG or PNG."


def preload() -> None:
    """Load every plug-in and codec table now: the child may not open files."""
    pillow_heif.register_heif_opener()
    Image.init()
    # The caller bounds the pixels by its own limit; a second one would only blur the message.
    Image.MAX_IMAGE_PIXELS = None
    for name in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"):
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8)).save(buffer, name)
        with Image.open(buffer) as image:
            image.load()
            image.getexif()
    phash(np.zeros((8, 8, 3), np.uint8))


def probe(file: Any, arguments: dict[str, Any], sink: Sink, output: int | None) -> dict[str, Any]:
    """Answer the facts of the header without decoding the pixels."""
    with _open(file, arguments) as image:
        return {"info": _facts(image, arguments), "warnings": []}


def decode(file: Any, arguments: dict[str, Any], sink: Sink, output: int | None) -> dict[str, Any]:
    """Answer facts, warnings and one array: (h, w, 3) uint8 RGB, upright."""
    image, facts, warnings = load(file, arguments)
    picture = np.asarray(image)
    sink.add(picture)
    return {"info": facts, "frames": [[0, 0.0]], "warnings": warnings, "phash": phash(picture)}


def load(file: Any, arguments: dict[str, Any]) -> tuple[Image.Image, dict[str, Any], list[str]]:
    """Return an upright RGB picture, no larger than asked, with its facts and warnings."""
    warnings: list[str] = []
    with _open(file, arguments) as image:
        facts = _facts(image, arguments)
        long_side = int(arguments["still_long_side"])
        if image.format in ("JPEG", "MPO") and max(image.size) >= 2 * long_side:
            image.draft("RGB", (long_side, long_side))
        if _is_animated(image):
            warnings.append("The picture is animated; only its first frame was analysed.")
        try:
            image.load()
        except MemoryError:
            raise
        except Exception:  # plug-ins raise a dozen kinds on damaged data
            whole = _load_what_is_there(file, arguments)
            warnings.append("The picture is truncated or damaged; what could be decoded of it was analysed.")
        else:
            whole = image
        ImageOps.exif_transpose(whole, in_place=True)
        picture = _as_rgb(whole)
    if max(picture.size) > long_side:
        picture.thumbnail((long_side, long_side), Image.Resampling.LANCZOS, reducing_gap=2.0)
        warnings.append(f"The picture is very large and was analysed at {picture.width} × {picture.height} pixels.")
    return picture, facts, warnings


def _is_animated(image: Image.Image) -> bool:
    try:
        return image.format != "MPO" and getattr(image, "n_frames", 1) > 1
    except MemoryError:
        raise
    except Exception:  # counting walks the whole file, which may be damaged; its first frame may be well
        return False


def phash(picture: NDArray[np.uint8]) -> str:
    """Return the 64-bit perceptual hash in hex, equal to imagehash.phash. Source: Zauner 2010, pHash.org."""
    grey = Image.fromarray(picture).convert("L").resize((32, 32), Image.Resampling.LANCZOS)
    k = np.arange(32)
    cosines = 2 * np.cos(np.pi * np.outer(k, 2 * k + 1) / 64)
    low = (cosines @ np.asarray(grey, np.float64) @ cosines.T)[:8, :8]
    bits = (low > np.median(low)).ravel()
    return f"{int(''.join('1' if bit else '0' for bit in bits), 2):016x}"


def _open(file: Any, arguments: dict[str, Any]) -> Image.Image:
    python_warnings.simplefilter("ignore")  # Pillow warns of odd metadata; the file is judged by its pixels
    container = arguments["container"]
    file.seek(0)
    try:
        image = Image.open(file, formats=FORMATS[container])
    except MemoryError:
        raise
    except Exception as error:  # plug-ins raise a dozen kinds on a broken header
        raise MediaUnreadable(
            f"This {container.upper()} picture cannot be read: its header is damaged. {RESEND}"
        ) from error
    width, height = image.size
    if width < 1 or height < 1:
        raise MediaUnreadable(f"This {container.upper()} picture has no pixels. {RESEND}")
    if width * height > int(arguments["max_pixels"]) or max(width, height) > MAX_SIDE:
        limit = int(arguments["max_pixels"]) // 1_000_000
        raise MediaUnreadable(
            f"This picture claims {width} × {height} pixels; more than {limit} megapixels are not analysed. "
            "Scale it down and send it again."
        )
    return image


def _load_what_is_there(file: Any, arguments: dict[str, Any]) -> Image.Image:
    """Decode a truncated picture as far as it goes. Raises MediaUnreadable when nothing of it is there."""
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    sentence = f"This picture is damaged and nothing of it can be decoded. {RESEND}"
    try:
        image = _open(file, arguments)
        image.load()
    except (MediaUnreadable, MemoryError):
        raise
    except Exception as error:
        raise MediaUnreadable(sentence) from error
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False
    if not _has_content(image):
        raise MediaUnreadable(sentence)
    return image


def _has_content(image: Image.Image) -> bool:
    """Whether at least a few rows hold a picture: what a decoder fills in for missing data is flat."""
    rows = np.asarray(image.convert("L").resize((64, 64), Image.Resampling.BOX), np.int16)
    return int((np.ptp(rows, axis=1) > 3).sum()) >= 3


def _as_rgb(image: Image.Image) -> Image.Image:
    """Bring every mode to RGB: 16 bit is scaled, transparency is laid on white."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, np.float64)
        low, high = (0.0, 65535.0) if image.mode != "F" else (float(np.nanmin(values)), float(np.nanmax(values)))
        if values.max(initial=0) > high or values.min(initial=0) < low:
            low, high = float(values.min()), float(values.max())
        scaled = np.nan_to_num((values - low) / max(high - low, 1e-9) * 255)
        return Image.fromarray(np.clip(scaled, 0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layered = image.convert("RGBA")
        white = Image.new("RGBA", layered.size, "white")
        return Image.alpha_composite(white, layered).convert("RGB")
    return image.convert("RGB") if image.mode != "RGB" else image


def _facts(image: Image.Image, arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        exif = image.getexif()
    except Exception:  # a broken EXIF block says nothing about the pixels
        exif = Image.Exif()
    width, height = image.size
    if exif.get(ExifTags.Base.Orientation) in (5, 6, 7, 8):
        width, height = height, width
    return {
        "kind": "image",
        "width": width,
        "height": height,
        "is_browser_playable": arguments["container"] in PLAYABLE,
        "metadata": _metadata(image, exif),
    }


def _metadata(image: Image.Image, exif: Image.Exif) -> dict[str, str]:
    """EXIF and text chunks as bounded text; binary values are left out."""
    found: dict[str, Any] = {}
    try:
        found.update({ExifTags.TAGS.get(tag, f"tag {tag}"): value for tag, value in exif.items()})
        for ifd, names in ((ExifTags.IFD.Exif, ExifTags.TAGS), (ExifTags.IFD.GPSInfo, ExifTags.GPSTAGS)):
            found.update({names.get(tag, f"tag {tag}"): value for tag, value in exif.get_ifd(ifd).items()})
    except Exception:  # offsets in hostile EXIF point anywhere; what was read so far is kept
        found["EXIF"] = "damaged"
    texts = {str(key): value for key, value in image.info.items() if isinstance(value, str)}
    return bounded_text({**texts, **found})


def bounded_text(found: dict[str, Any]) -> dict[str, str]:
    """Keep at most MAX_TAGS printable entries of at most MAX_TAG_CHARS characters."""
    kept: dict[str, str] = {}
    for name, value in found.items():
        if isinstance(value, (bytes, dict)) or len(kept) >= MAX_TAGS:
            continue
        text = "".join(c for c in str(value)[: MAX_TAG_CHARS * 2] if c.isprintable()).strip()[:MAX_TAG_CHARS]
        if text:
            kept["".join(c for c in str(name) if c.isprintable())[:60]] = text
    return kept
