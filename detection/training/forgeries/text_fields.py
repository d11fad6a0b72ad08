"""Find what looks like lines of print in a picture, and write other print in its place."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from detection.training.forgeries.forged import Box, Floats, Image, Mask, u8

SEARCH_PX = 1000  # longer side that the search works on
MIN_HEIGHT_PX = 6
FONT_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "/System/Library/Fonts", "C:/Windows/Fonts")
MAX_FONTS = 60
SUPERSAMPLING = 4

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def find_fields(image: Image) -> list[Box]:
    """Return boxes that look like words or lines of print, the widest first. image: (h, w, 3) RGB uint8.

    Strokes are thin, dense and side by side: their gradient, closed along the line, makes long flat blobs.
    """
    longest = max(image.shape[:2])
    shrink = min(1.0, SEARCH_PX / longest)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    resized = cv2.resize(grey, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA) if shrink < 1 else grey
    small = np.asarray(resized, np.uint8)
    strokes = cv2.morphologyEx(small, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    _, binary = cv2.threshold(strokes, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    lines = cv2.morphologyEx(binary, cv2.MORPH_CLOSE, np.ones((1, max(7, round(0.014 * max(small.shape)))), np.uint8))
    lines = cv2.morphologyEx(lines, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    outlines, _ = cv2.findContours(lines, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    found = []
    for outline in outlines:
        x, y, width, height = cv2.boundingRect(outline)
        is_flat = width >= 2.2 * height and MIN_HEIGHT_PX <= height <= 0.1 * small.shape[0] + MIN_HEIGHT_PX
        is_filled = cv2.contourArea(outline) >= 0.45 * width * height
        if is_flat and is_filled and width < 0.9 * small.shape[1] and _has_print(small[y : y + height, x : x + width]):
            found.append(_enlarged((x, y, width, height), shrink, image.shape))
    return sorted(found, key=lambda box: (-box.width, box.y, box.x))


def _has_print(patch: NDArray[np.uint8]) -> bool:
    """Print has two shades, ink the rarer one, and many strokes along the line."""
    _, ink = cv2.threshold(patch, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    share = min(float(ink.mean()), 1 - float(ink.mean()))
    bright, dark = patch[ink > 0], patch[ink == 0]
    if not len(bright) or not len(dark) or float(bright.mean()) - float(dark.mean()) < 25:
        return False
    crossings = np.abs(np.diff(ink.astype(np.int8), axis=1)).sum(axis=1)
    return 0.08 < share < 0.5 and float(np.percentile(crossings, 75)) >= 1.2 * patch.shape[1] / patch.shape[0]


def _enlarged(found: tuple[int, int, int, int], shrink: float, shape: tuple[int, ...]) -> Box:
    x, y, width, height = (value / shrink for value in found)
    pad = max(1.0, 0.12 * height)
    left, top = max(0, round(x - pad)), max(0, round(y - pad))
    right, bottom = min(shape[1], round(x + width + pad)), min(shape[0], round(y + height + pad))
    return Box("field", left, top, right - left, bottom - top)


@dataclass(frozen=True)
class Ink:
    """How the print of a field looks."""

    colour: tuple[float, float, float]
    stroke_blur: float  # sigma in px
    noise: float  # standard deviation of the paper
    is_dark: bool
    height_px: int  # of the letters
    top_px: int  # of the letters within the field
    left_px: int


def ink_mask(patch: Image) -> tuple[Mask, bool]:
    """Return (h, w) 255 where the patch carries print, and whether the print is darker than the paper."""
    grey = cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY)
    _, light = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    is_dark = float((light > 0).mean()) >= 0.5  # the paper is the commoner shade
    return np.asarray(255 - light if is_dark else light, np.uint8), is_dark


def measure_ink(patch: Image) -> Ink:
    """Measure colour, size, sharpness and noise of a field's print. patch: (h, w, 3) uint8."""
    mask, is_dark = ink_mask(patch)
    rows = np.flatnonzero((mask > 0).any(axis=1))
    columns = np.flatnonzero((mask > 0).any(axis=0))
    top, bottom = (int(rows[0]), int(rows[-1])) if len(rows) else (0, patch.shape[0] - 1)
    grey = cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY).astype(np.float32)
    strokes, paper = grey[mask > 0], cv2.erode(255 - mask, np.ones((3, 3), np.uint8)) > 0
    level = np.percentile(strokes, 25 if is_dark else 75) if len(strokes) else 0.0
    core = (grey <= level if is_dark else grey >= level) & (mask > 0)
    colour = np.median(patch[core], axis=0) if core.any() else np.array([20, 20, 20])
    rest = grey - cv2.GaussianBlur(grey, (0, 0), 1.5)
    # By the median: strokes bleed into the paper around them.
    noise = 1.48 * float(np.median(np.abs(rest[paper]))) if paper.sum() > 16 else 0.0
    slope = np.abs(np.diff(grey, axis=1)).max(initial=1.0)
    contrast = abs(float(np.median(grey[paper])) - float(level)) if paper.any() else 100.0
    red, green, blue = (float(value) for value in colour)
    return Ink(
        colour=(red, green, blue),
        stroke_blur=float(
            np.clip(0.4 * contrast / max(slope, 1.0), 0.3, 2.5)
        ),  # a step blurred by s rises 0.4 / s a px
        noise=min(noise, 12.0),
        is_dark=is_dark,
        height_px=max(4, bottom - top + 1),
        top_px=top,
        left_px=int(columns[0]) if len(columns) else 0,
    )


def erase_print(patch: Image, radius: int = 3) -> Image:
    """Fill the print from its surroundings (Telea 2004) and give the filling the paper's noise."""
    mask, _ = ink_mask(patch)
    # Blurred edges and compression noise of strokes reach further than the strokes.
    wide = cv2.dilate(mask, np.ones((5, 5), np.uint8))
    return np.asarray(cv2.inpaint(patch, wide, radius, cv2.INPAINT_TELEA), np.uint8)


def write_print(patch: Image, text: str, ink: Ink, font_path: str | None, rng: np.random.Generator) -> Image:
    """Write `text` onto the patch where its old print began, in the ink's colour, size, sharpness and noise."""
    cover = _rendered(text, ink, font_path, patch.shape)
    cover = np.asarray(cv2.GaussianBlur(cover, (0, 0), ink.stroke_blur), np.float32)[:, :, None]
    colour = np.array(ink.colour, np.float32)
    grain = rng.normal(0, ink.noise * 0.7, patch.shape[:2])[:, :, None] if ink.noise else 0.0
    return u8(patch * (1 - cover) + colour * cover + grain)


def _rendered(text: str, ink: Ink, font_path: str | None, shape: tuple[int, ...]) -> Floats:
    """Return (h, w) in [0, 1]: how far the letters cover the paper."""
    scale = SUPERSAMPLING
    font = load_font(font_path, ink.height_px * scale)
    _, top, _, bottom = font.getbbox(text)
    # Fonts state the size of the em: make the letters as high as the old ones.
    font = load_font(font_path, max(4, round(ink.height_px * scale * ink.height_px * scale / max(bottom - top, 1))))
    left, top = font.getbbox(text)[:2]
    canvas = Pillow.new("L", (shape[1] * scale, shape[0] * scale), 0)
    ImageDraw.Draw(canvas).text((ink.left_px * scale - left, ink.top_px * scale - top), text, fill=255, font=font)
    small = cv2.resize(np.asarray(canvas, np.uint8), (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32) / 255


def text_width(text: str, ink: Ink, font_path: str | None) -> float:
    """Return how many pixels wide the text will be."""
    left, top, right, bottom = load_font(font_path, 100).getbbox(text)
    return float((right - left) / max(bottom - top, 1) * ink.height_px)


@functools.lru_cache(maxsize=1)
def system_fonts() -> tuple[str, ...]:
    """Return paths of plain fonts on this machine, sorted; empty where there are none (Pillow's own is used then)."""
    found: list[str] = []
    for folder in FONT_FOLDERS:
        if Path(folder).is_dir():
            found += sorted(str(path) for path in Path(folder).rglob("*.ttf") if _has_letters(str(path)))
    return tuple(found[:MAX_FONTS])


def _has_letters(path: str) -> bool:
    """Symbol and emoji fonts draw the same box for every letter."""
    try:
        font = ImageFont.truetype(path, 20)
        return bytes(font.getmask("A1")) != bytes(font.getmask("B7")) and font.getbbox("A")[2] > 0
    except OSError:
        return False


@functools.lru_cache(maxsize=256)
def load_font(path: str | None, size: int) -> Font:
    """Return the font at `size` pixels; Pillow's own without a path."""
    return ImageFont.load_default(size) if path is None else ImageFont.truetype(path, size)
