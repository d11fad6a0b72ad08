"""Forged pictures of documents: a text changed or removed, a part copied, another portrait, a stamp or signature."""

from __future__ import annotations

import math
import string

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.engine import faces
from detection.training.forgeries import colours, text_fields
from detection.training.forgeries.forged import Box, Floats, Forged, Image, Mask, NotForgeable, box_mask, forged, u8

PORTRAIT_ROOM = 1.5  # side of a portrait's rectangle over the face box
INKS = ((28, 42, 120), (20, 20, 30), (150, 30, 40), (40, 90, 60))
TRIES = 40
MIN_COPIED_STD = 10.0  # grey levels: copying empty paper onto empty paper is no forgery


def retype(image: Image, rng: np.random.Generator) -> Forged:
    """Erase a line of print and write another one in like letters. Raises NotForgeable without a text field."""
    box = _draw_field(image, rng)
    patch = image[box.slices]
    ink = text_fields.measure_ink(patch)
    fonts = text_fields.system_fonts()
    font = str(rng.choice(fonts)) if fonts else None
    text = _draw_text(ink, font, box.width - 2 * ink.left_px, rng)
    changed = image.copy()
    changed[box.slices] = text_fields.write_print(text_fields.erase_print(patch), text, ink, font, rng)
    return forged(image, changed, box_mask(image.shape, box), (_named(box, "retyped"),))


def _draw_text(ink: text_fields.Ink, font: str | None, room_px: float, rng: np.random.Generator) -> str:
    """Draw a date, a number or a name that fills the room about as the old text did."""
    date = f"{rng.integers(1, 29):02d}.{rng.integers(1, 13):02d}.{rng.integers(1950, 2035)}"
    if 0.6 * room_px < text_fields.text_width(date, ink, font) <= 1.1 * room_px:
        return date
    alphabet = string.digits if rng.random() < 0.5 else string.ascii_uppercase
    text = str(rng.choice(list(alphabet)))
    while text_fields.text_width(text, ink, font) < 0.85 * room_px and len(text) < 60:
        is_pause = len(text) > 2 and text[-1] != " " and rng.random() < 0.12
        text += " " if is_pause else str(rng.choice(list(alphabet)))
    return text.strip()


def erase(image: Image, rng: np.random.Generator) -> Forged:
    """Remove a line of print: filled from its surroundings, or covered with paper from beside it."""
    box = _draw_field(image, rng)
    changed = image.copy()
    if rng.random() < 0.5:
        changed[box.slices] = text_fields.erase_print(image[box.slices], int(rng.integers(2, 6)))
    else:
        changed[box.slices] = _paper_like(image, box)
    return forged(image, changed, box_mask(image.shape, box), (_named(box, "erased"),))


def _paper_like(image: Image, box: Box) -> Image:
    """Return a patch of the box's size whose colours run from its upper to its lower edge, with paper noise."""
    above, below = image[max(0, box.y - 1)], image[min(image.shape[0] - 1, box.y + box.height)]
    columns = slice(box.x, box.x + box.width)
    blurred = [cv2.GaussianBlur(row[None, columns].astype(np.float32), (0, 0), 3)[0] for row in (above, below)]
    share = np.linspace(0, 1, box.height, dtype=np.float32)[:, None, None]
    return u8(blurred[0][None] * (1 - share) + blurred[1][None] * share)


def copy_move(image: Image, rng: np.random.Generator) -> Forged:
    """Copy a part of the picture to another place in it: a line of print where there is one, else what has texture."""
    source = _draw_source(image, rng)
    patch = image[source.slices]
    height, width = image.shape[:2]
    fields = text_fields.find_fields(image)
    for _ in range(TRIES):
        x, y = int(rng.integers(0, width - source.width + 1)), int(rng.integers(0, height - source.height + 1))
        if fields and rng.random() < 0.5:  # onto another line of print, as who changes a date does
            other = fields[int(rng.integers(len(fields)))]
            x, y = min(other.x, width - source.width), min(other.y, height - source.height)
        place = Box("copied_to", x, y, source.width, source.height)
        shows = np.abs(image[place.slices].astype(np.int16) - patch).max(axis=2).mean() > 4
        if not place.overlaps(source) and shows:
            break
    else:
        raise NotForgeable("there is no room to copy a part of this picture to")
    feather_px = int(rng.integers(0, max(1, min(source.width, source.height) // 10) + 1))
    weight = _feathered((source.height, source.width), feather_px)[:, :, None]
    changed = image.copy()
    changed[place.slices] = u8(patch * weight + image[place.slices] * (1 - weight))
    return forged(image, changed, box_mask(image.shape, place), (place, _named(source, "copied_from")))


def _draw_source(image: Image, rng: np.random.Generator) -> Box:
    fields = text_fields.find_fields(image)
    if fields and rng.random() < 0.7:
        return fields[int(rng.integers(min(len(fields), 12)))]
    height, width = image.shape[:2]
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    for _ in range(TRIES):
        wide, high = (max(8, int(side * rng.uniform(0.08, 0.3))) for side in (width, height))
        if wide > width // 2 or high > height // 2:
            break
        x, y = int(rng.integers(0, width - wide + 1)), int(rng.integers(0, height - high + 1))
        if float(grey[y : y + high, x : x + wide].std()) > MIN_COPIED_STD:
            return Box("copied_from", x, y, wide, high)
    raise NotForgeable("there is nothing in this picture whose copy would show")


def portrait_swap(image: Image, donor: Image, rng: np.random.Generator) -> Forged:
    """Put another person's portrait, with its backdrop, over the one in the picture.

    Raises NotForgeable when no face with landmarks is found in one of the two.
    """
    (ours, (x, y, width, height)), (theirs, _) = (
        _portrait(image, "the picture"),
        _portrait(donor, "the donor's picture"),
    )
    room = PORTRAIT_ROOM * float(rng.uniform(0.9, 1.1))
    centre_x, centre_y = x + width / 2, y + 0.45 * height
    half_w, half_h = width * room / 2, height * room / 2
    left, top = max(0, round(centre_x - half_w)), max(0, round(centre_y - half_h))
    right = min(image.shape[1], round(centre_x + half_w))
    bottom = min(image.shape[0], round(centre_y + half_h))
    box = Box("portrait", left, top, right - left, bottom - top)
    matrix, _ = cv2.estimateAffinePartial2D(theirs, ours)
    if matrix is None:
        raise NotForgeable("the two portraits cannot be laid over each other")
    size = (image.shape[1], image.shape[0])
    laid = np.asarray(cv2.warpAffine(donor, matrix, size, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REFLECT))
    inside = box_mask(image.shape, box) > 0
    if rng.random() < 0.7:
        laid = colours.reinhard(laid.astype(np.uint8), image, inside, inside)
    changed = image.copy()
    weight = _feathered((box.height, box.width), int(rng.integers(0, 4)))[:, :, None]
    changed[box.slices] = u8(laid[box.slices] * weight + image[box.slices] * (1 - weight))
    return forged(image, changed, box_mask(image.shape, box), (box,))


def _portrait(image: Image, name: str) -> tuple[Floats, tuple[float, float, float, float]]:
    """Return the five points and the box of the largest face."""
    for face in faces.find_faces(image):
        if face.five_points is not None:
            return np.asarray(face.five_points, np.float32), face.box
    raise NotForgeable(f"no face was found in {name}")


def stamp(image: Image, rng: np.random.Generator) -> Forged:
    """Press a round stamp onto the picture: two rings and a word, in worn ink."""
    side = max(32, round(min(image.shape[:2]) * float(rng.uniform(0.15, 0.3))))
    canvas = np.zeros((side, side), np.uint8)
    middle, line = (side // 2, side // 2), max(1, side // 50)
    cv2.circle(canvas, middle, side // 2 - 2 * line, 255, line, cv2.LINE_AA)
    cv2.circle(canvas, middle, round(side * 0.34), 255, line, cv2.LINE_AA)
    word = "".join(rng.choice(list(string.ascii_uppercase), size=4))
    (wide, high), _ = cv2.getTextSize(word, cv2.FONT_HERSHEY_DUPLEX, 1.0, 1)
    scale = 0.5 * side / wide
    place = (round((side - wide * scale) / 2), round((side + high * scale) / 2))
    cv2.putText(canvas, word, place, cv2.FONT_HERSHEY_DUPLEX, scale, 255, line, cv2.LINE_AA)
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), float(rng.uniform(-40, 40)), 1.0)
    cover = np.asarray(cv2.warpAffine(canvas, turn, (side, side)), np.float32) / 255
    worn = cv2.GaussianBlur(rng.random((side, side)).astype(np.float32), (0, 0), max(1.0, side / 60))
    cover *= np.clip((worn - worn.min()) / (np.ptp(worn) + 1e-6) * 1.6, 0.25, 1)
    return _inked(image, cover.astype(np.float32), "stamp", rng)


def signature(image: Image, rng: np.random.Generator) -> Forged:
    """Write a scrawl with a pen whose pressure varies."""
    width = max(48, round(image.shape[1] * float(rng.uniform(0.15, 0.35))))
    height = max(20, round(width * float(rng.uniform(0.25, 0.4))))
    height = min(height, image.shape[0] - 1)
    canvas = np.zeros((height, width), np.uint8)
    steps = np.linspace(0, 1, 400)
    waves = [(rng.uniform(0.1, 1.0) / k, rng.uniform(0, 2 * math.pi), k) for k in range(1, 9)]
    swing = np.asarray(sum(a * np.sin(2 * math.pi * 1.7 * k * steps + p) for a, p, k in waves))
    swing = (swing - swing.min()) / (np.ptp(swing) + 1e-6)
    back = 0.06 * np.sin(2 * math.pi * 6 * steps + rng.uniform(0, 6))
    across = (0.08 + 0.84 * steps + back).clip(0.02, 0.98) * (width - 1)
    down = (0.12 + 0.76 * swing) * (height - 1)
    pressure = 1 + np.sin(2 * math.pi * 3 * steps + rng.uniform(0, 6)) * 0.6
    thick = max(1.0, height / 40)
    for i in range(len(steps) - 1):
        ends = [(round(float(across[j])), round(float(down[j]))) for j in (i, i + 1)]
        cv2.line(canvas, ends[0], ends[1], 255, max(1, round(thick * float(pressure[i]))), cv2.LINE_AA)
    return _inked(image, canvas.astype(np.float32) / 255, "signature", rng)


def _inked(image: Image, cover: Floats, kind: str, rng: np.random.Generator) -> Forged:
    """Multiply ink onto the paper at a place drawn in the lower half. cover: (h, w) in [0, 1]."""
    high, wide = cover.shape
    height, width = image.shape[:2]
    if high >= height or wide >= width:
        raise NotForgeable("the picture is too small for ink")
    x, y = int(rng.integers(0, width - wide)), int(rng.integers((height - high) // 3, height - high + 1))
    box = Box(kind, x, y, wide, high)
    ink = np.array(INKS[int(rng.integers(len(INKS)))], np.float32) / 255
    share = (cover * float(rng.uniform(0.75, 1.0)))[:, :, None]
    changed = image.copy()
    changed[box.slices] = u8(image[box.slices] * (1 - share * (1 - ink)))
    mask: Mask = np.zeros((height, width), np.uint8)
    mask[box.slices] = np.where(cover > 0, 255, 0)
    return forged(image, changed, mask, (box,))


def _draw_field(image: Image, rng: np.random.Generator) -> Box:
    fields = text_fields.find_fields(image)
    if not fields:
        raise NotForgeable("no line of print was found in this picture")
    return fields[int(rng.integers(min(len(fields), 12)))]


def _feathered(shape: tuple[int, int], feather_px: int) -> NDArray[np.float32]:
    """Return (h, w) in (0, 1]: 1 inside, falling off linearly over `feather_px` at the edge."""
    if feather_px <= 0:
        return np.ones(shape, np.float32)
    rows, columns = (np.minimum(np.arange(n), np.arange(n)[::-1]) + 1 for n in shape)
    return np.asarray(np.minimum(1.0, np.minimum.outer(rows, columns) / (feather_px + 1)), np.float32)


def _named(box: Box, kind: str) -> Box:
    return Box(kind, box.x, box.y, box.width, box.height)
