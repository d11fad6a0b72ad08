"""Another expression on the same face, by moving landmarks: what reenactment does, without a net."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from detection.training.forgeries import warps
from detection.training.forgeries.forged import Floats, Forged, Image, Mask, NotForgeable, box_of, forged

EXPRESSIONS = ("smile", "frown", "open_mouth", "blink", "raise_brows", "turn")
MIN_FACE_PX = 32

# FaceMesh point numbers; left and right as seen in the picture.
OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150,
    136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
LEFT_CORNER, RIGHT_CORNER = (61, 78, 76, 62), (291, 308, 306, 292)
UPPER_LIP = (37, 0, 267, 39, 269, 82, 13, 312, 81, 311, 38, 12, 268)
LOWER_LIP = (84, 17, 314, 91, 321, 181, 405, 87, 14, 317, 178, 402, 86, 15, 316)
INNER_LIPS = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
CHIN = (152, 148, 377, 176, 400, 149, 378, 175, 199, 200, 18, 171, 396)
UPPER_LIDS = ((159, 158, 160, 157, 161, 173, 246), (386, 385, 387, 384, 388, 398, 466))
LOWER_LIDS = ((145, 153, 144, 154, 163, 155, 7), (374, 380, 373, 381, 390, 382, 249))
CREASES = ((27, 28, 29, 30, 56, 190, 247), (257, 258, 259, 260, 286, 414, 467))
BROWS = (70, 63, 105, 66, 107, 46, 53, 52, 65, 55, 300, 293, 334, 296, 336, 276, 283, 282, 295, 285)


@dataclass(frozen=True)
class ExpressionRecipe:
    """What the face shall do. strength: 1 is plain to see; negative turns "turn" the other way."""

    kind: str
    strength: float = 1.0


def draw_recipe(rng: np.random.Generator) -> ExpressionRecipe:
    """Draw an expression of a strength between hardly visible and plain."""
    kind = str(rng.choice(EXPRESSIONS))
    strength = float(rng.uniform(0.4, 1.3))
    return ExpressionRecipe(kind, -strength if kind == "turn" and rng.random() < 0.5 else strength)


def moved_landmarks(points: Floats, recipe: ExpressionRecipe) -> Floats:
    """Return (468, 2): where the expression takes the landmarks. points: (468, 2) pixels."""
    moved = points.copy()
    right, down, width = _axes(points)
    if recipe.kind == "blink":
        for upper, lower, crease in zip(UPPER_LIDS, LOWER_LIDS, CREASES, strict=True):
            fall = (points[list(lower)] - points[list(upper)]) * min(1.0, recipe.strength) * 0.92
            moved[list(upper)] += fall
            moved[list(crease)] += 0.4 * fall.mean(axis=0)
        return moved
    step = recipe.strength * width
    for numbers, push, spread in _pushes(recipe.kind, right, down):
        centre_weight = _falloff(points, points[list(numbers)], spread * width)
        moved += centre_weight[:, None] * push * step
    return moved.astype(np.float32)


def _pushes(kind: str, right: Floats, down: Floats) -> list[tuple[tuple[int, ...], Floats, float]]:
    """Return (points that move, by how much of the face's width, how far it pulls the skin along)."""
    if kind == "smile":
        return [(LEFT_CORNER, -0.045 * right - 0.04 * down, 0.09), (RIGHT_CORNER, 0.045 * right - 0.04 * down, 0.09)]
    if kind == "frown":
        return [(LEFT_CORNER, 0.05 * down, 0.08), (RIGHT_CORNER, 0.05 * down, 0.08)]
    if kind == "open_mouth":
        return [(LOWER_LIP, 0.1 * down, 0.03), (CHIN, 0.05 * down, 0.05), (UPPER_LIP, -0.012 * down, 0.02)]
    if kind == "raise_brows":
        return [(BROWS, -0.045 * down, 0.07)]
    if kind == "turn":  # nose and mouth run ahead of the outline, as when a head turns a little
        return [((1, 4, 5, 195), 0.05 * right, 0.16)]
    raise ValueError(f"there is no expression called {kind!r}; there are {', '.join(EXPRESSIONS)}")


def express(image: Image, points: Floats, recipe: ExpressionRecipe) -> Forged:
    """Return the picture with another expression. image: (h, w, 3) RGB uint8; points: (468, 2) pixels.

    Lids and jaw are warped over triangles, the rest as a thin plate; an opened mouth is filled with dark.
    Raises NotForgeable for a face that is too small.
    """
    width = float(np.ptp(points[:, 0]))
    if width < MIN_FACE_PX:
        raise NotForgeable(f"the face is {width:.0f} px wide, below {MIN_FACE_PX}")
    target = moved_landmarks(points, recipe)
    ring = _ring(points)
    source, wanted = np.concatenate([points, ring]), np.concatenate([target, ring])
    if recipe.kind in ("blink", "open_mouth"):
        changed = warps.piecewise(image, source, wanted, image)
    else:
        driven = np.argsort(-np.linalg.norm(target - points, axis=1))[:40]
        chosen = np.unique(np.concatenate([driven, np.array(OVAL)]))
        changed = warps.thin_plate(
            image, np.concatenate([points[chosen], ring]), np.concatenate([target[chosen], ring])
        )
    reach = warps.hull_mask(ring, image.shape)
    if recipe.kind == "open_mouth":
        changed = _open(image, changed, points, target)
    mask = _changed(image, changed, reach, width)
    if not mask.any():
        raise NotForgeable("the expression changes nothing on this face")
    return forged(image, changed, mask, (box_of(mask, "expression"),))


def _axes(points: Floats) -> tuple[Floats, Floats, float]:
    """Return the face's own right and down (unit vectors) and its width."""
    across = points[454] - points[234]
    width = float(np.linalg.norm(across)) or 1.0
    right = across / width
    return right.astype(np.float32), np.array([-right[1], right[0]], np.float32), width


def _falloff(points: Floats, centres: Floats, spread: float) -> Floats:
    """Return (n,) in [0, 1]: 1 at the centres, falling off as a bell."""
    away = np.linalg.norm(points[:, None] - centres[None], axis=2).min(axis=1)
    return np.asarray(np.exp(-0.5 * (away / max(spread, 1e-3)) ** 2), np.float32)


def _ring(points: Floats) -> Floats:
    """Return points around the face that stay where they are."""
    centre = points.mean(axis=0)
    return np.asarray((points[list(OVAL)] - centre) * 1.22 + centre, np.float32)


def _open(image: Image, warped: Image, before: Floats, after: Floats) -> Image:
    """Leave the teeth where they were, and paint dark where the lips newly parted."""
    old, new = _filled(image.shape, before[list(INNER_LIPS)]), _filled(image.shape, after[list(INNER_LIPS)])
    parted = np.asarray(new & ~old, np.uint8)
    if not parted.any():
        return warped
    dark = np.percentile(image[parted > 0], 10, axis=0) * np.array([0.45, 0.32, 0.32])
    soft_px = max(0.6, 0.05 * float(np.ptp(after[list(INNER_LIPS), 1])))
    kept, painted = (
        np.asarray(cv2.GaussianBlur(mask, (0, 0), soft_px), np.float32)[:, :, None] / 255
        for mask in (old & new, parted)
    )
    teeth = warped * (1 - kept) + image * kept
    return np.asarray(teeth * (1 - painted) + dark * painted, np.uint8)


def _filled(shape: tuple[int, ...], outline: Floats) -> Mask:
    mask = np.zeros(shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round(outline).astype(np.int32)], 255)
    return mask


def _changed(image: Image, changed: Image, reach: Mask, width: float) -> Mask:
    """Where the warp moved anything, with small holes closed, within `reach`."""
    differs = (np.abs(image.astype(np.int16) - changed).max(axis=2) > 2).astype(np.uint8) * 255
    side = max(3, round(0.04 * width)) | 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    closed = np.asarray(cv2.morphologyEx(differs & reach, cv2.MORPH_CLOSE, kernel), np.uint8)
    return closed & reach
