"""Blended faces: fakes made from real faces alone, so that only the traces of blending tell the classes apart.

Self-blended images after Shiohara & Yamasaki, CVPR 2022 (arXiv:2204.08376): a face is pasted onto itself through a soft
landmark mask after slight changes of colour, sharpness and place. Beside whole faces this module blends mouths
(lip-sync tools replace only these) and faces of other people (nearest by landmarks, as Face X-ray, arXiv:1912.13458).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]

# FaceMesh point numbers.
LOWER_FACE = [234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361, 323, 454]
NOSE_LINE = [50, 101, 100, 98, 97, 2, 326, 327, 329, 330, 280]
MOUTH = [61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146, 164, 18, 200]
BROWS_UP = [10, 338, 297, 332, 284, 251, 389, 356, 454, 127, 162, 21, 54, 103, 67, 109]

REGIONS = ("face", "inner", "lower", "mouth", "box")  # "box": the upright rectangle that lip-sync tools paste back


@dataclass(frozen=True)
class Change:
    """How the inner layer differs from the outer one. Drawn once per clip, so that frames agree."""

    region: str  # one of REGIONS
    alpha: float
    mask_blur: float  # share of the face's width
    scale: float
    shift: tuple[float, float]  # share of the face's width
    elastic: float
    seed: int
    colour: Floats  # (3,) factor
    offset: Floats  # (3,) added, 0..255
    contrast: float
    saturation: float
    softness: float  # >1: inner layer went through a smaller size; <0: sharpened
    on_inner: bool  # whether the change of look hits the inner or the outer layer
    noise: float


@dataclass(frozen=True)
class Ranges:
    """What `draw_change` draws from. The defaults follow the paper, with stronger loss of detail for mouths."""

    regions: Sequence[float] = (0.5, 0.25, 0.15, 0.1, 0.0)  # shares, in the order of REGIONS
    alphas: Sequence[float] = (0.05, 0.1, 0.2, 0.65)  # shares of 1/4, 1/2, 3/4 and all of the inner layer
    mask_blur: tuple[float, float] = (0.01, 0.12)  # this and the next four: share of the face's width
    scale: float = 0.05
    shift_x: float = 0.03
    shift_y: float = 0.015
    elastic: float = 0.05
    colour_share: float = 0.7  # of the blends that differ in colour at all
    colour: float = 0.12
    offset: float = 14.0
    contrast: float = 0.12
    saturation: float = 0.25
    soft_share: float = 0.5
    sharp_share: float = 0.2
    softness: tuple[float, float] = (1.3, 3.0)
    sharpening: tuple[float, float] = (0.3, 1.2)
    inner_share: float = 0.5  # whole faces whose inner layer takes the change; else the outer one does
    noise_share: float = 0.15

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Ranges:
        """Return the ranges of a configuration's `blend` table; a name that is no range is an error."""
        given: dict[str, Any] = dict(config.get("blend", {}))
        return cls(**given)


def draw_change(rng: np.random.Generator, ranges: Ranges | None = None) -> Change:
    """Draw what a blend does."""
    r = ranges or Ranges()
    region = str(rng.choice(REGIONS, p=r.regions))
    is_part = region not in ("face", "inner")
    plain = 1 - r.soft_share - r.sharp_share
    looks = [1.0, rng.uniform(*r.softness), -rng.uniform(*r.sharpening)]
    softness = float(rng.choice(looks, p=[plain, r.soft_share, r.sharp_share]))
    has_colour = rng.random() < r.colour_share
    return Change(
        region=region,
        alpha=float(rng.choice([0.25, 0.5, 0.75, 1.0], p=r.alphas)),
        mask_blur=float(rng.uniform(*r.mask_blur)),
        scale=float(rng.uniform(1 - r.scale, 1 + r.scale)),
        shift=(float(rng.uniform(-r.shift_x, r.shift_x)), float(rng.uniform(-r.shift_y, r.shift_y))),
        elastic=float(rng.uniform(0.0, r.elastic)),
        seed=int(rng.integers(2**31)),
        colour=(1 + rng.uniform(-r.colour, r.colour, 3) * has_colour).astype(np.float32),
        offset=(rng.uniform(-r.offset, r.offset, 3) * has_colour).astype(np.float32),
        contrast=float(1 + rng.uniform(-r.contrast, r.contrast) * has_colour),
        saturation=float(1 + rng.uniform(-r.saturation, r.saturation) * has_colour),
        softness=abs(softness) * float(rng.uniform(1.0, 1.5)) if is_part else softness,
        on_inner=bool(rng.random() < (0.9 if is_part else r.inner_share)),
        noise=float(rng.uniform(0.5, 3.0) * (rng.random() < r.noise_share)),
    )


def self_blend(image: Image, points: Floats, change: Change) -> tuple[Image, Image, Floats]:
    """Return (real, fake, mask) of equal size, made from one face.

    image: (h, w, 3) uint8. points: (468, 2) pixels. mask: (h, w) in [0, 1], where the fake holds the inner layer.
    A change of look on the outer layer makes a new real picture too: both classes see it.
    """
    inner, outer = image, image
    if change.on_inner:
        inner = _relook(image, change)
    else:
        outer = _relook(image, change)
    if change.region == "box":
        inner = _blur_mouth(inner, points, change)
    width = _width(points)
    mask = soft_mask(image.shape[:2], points, change)
    inner, mask = _move(inner, mask, points, change, width)
    return outer, _paste(inner, outer, mask * change.alpha), mask


def whole_look(image: Image, change: Change) -> Image:
    """Return the picture with the change of look all over it: as soft and as tinted as a blend, and yet genuine."""
    return _relook(image, change)


def swap_blend(
    image: Image, points: Floats, donor: Image, donor_points: Floats, change: Change
) -> tuple[Image, Floats]:
    """Return (fake, mask): the donor's face, turned and coloured to fit, on the person of `image`."""
    to_image, _ = cv2.estimateAffine2D(donor_points[::4].copy(), points[::4].copy(), method=cv2.LMEDS)
    height, width = image.shape[:2]
    warped = cv2.warpAffine(donor, to_image, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    mask = soft_mask((height, width), points, change)
    inside = mask > 0.5
    if inside.sum() < 16:
        return image, np.zeros((height, width), np.float32)
    theirs, ours = warped[inside].astype(np.float32), image[inside].astype(np.float32)
    spread = (ours.std(axis=0) + 1) / (theirs.std(axis=0) + 1)
    matched = (warped.astype(np.float32) - theirs.mean(axis=0)) * spread.clip(0.5, 2) + ours.mean(axis=0)
    if _is_grey(image):
        matched = np.repeat(matched.mean(axis=2, keepdims=True), 3, axis=2)
    inner = _relook(_u8(matched), change) if change.on_inner else _u8(matched)
    return _paste(inner, image, mask), mask


def shape_distance(a: Floats, b: Floats) -> float:
    """How differently two faces are turned and shaped: mean distance of landmarks, place and size aside."""

    def plain(points: Floats) -> Floats:
        centred = points - points.mean(axis=0)
        return np.asarray(centred / (np.abs(centred).mean() + 1e-6), np.float32)

    return float(np.linalg.norm(plain(a) - plain(b), axis=1).mean())


def soft_mask(shape: tuple[int, int], points: Floats, change: Change) -> Floats:
    """Return (h, w) in [0, 1]: the hull of a region of the face, deformed and softened."""
    rng = np.random.default_rng(change.seed)
    width = _width(points)
    if change.region == "box":
        return _box_mask(shape, points, change, rng)
    region = _region_points(points, change.region)
    centre = region.mean(axis=0)
    grow = 1.0 + rng.uniform(-0.08, 0.06)
    hull = cv2.convexHull(((region - centre) * grow + centre).astype(np.float32)).reshape(-1, 2)
    mask = np.zeros(shape, np.float32)
    cv2.fillConvexPoly(mask, np.round(hull).astype(np.int32), 1.0, lineType=cv2.LINE_AA)
    if change.elastic > 0:
        mask = _wobble(mask, rng, change.elastic * width)
    sigma = max(0.6, change.mask_blur * width * (0.5 if change.region == "mouth" else 1.0))
    # Pull the edge inwards first: blurred outwards, the mask would leave the face.
    inset = cv2.erode(mask, np.ones((3, 3), np.uint8), iterations=max(1, round(sigma * 0.7)))
    blurred = cv2.GaussianBlur(inset if inset.max() > 0 else mask, (0, 0), sigma)
    return np.asarray(np.clip(blurred / max(float(blurred.max()), 1e-6), 0, 1), np.float32)


def _box_mask(shape: tuple[int, int], points: Floats, change: Change, rng: np.random.Generator) -> Floats:
    """Return an upright rectangle from the brows or the forehead to below the chin, with next to no soft edge."""
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    width, height = right - left, bottom - top
    left, right = left - rng.uniform(-0.02, 0.08) * width, right + rng.uniform(-0.02, 0.08) * width
    top, bottom = top + rng.uniform(-0.02, 0.3) * height, bottom + rng.uniform(-0.02, 0.08) * height
    mask = np.zeros(shape, np.float32)
    cv2.rectangle(mask, (round(float(left)), round(float(top))), (round(float(right)), round(float(bottom))), 1.0, -1)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), 0.4 + change.mask_blur * width * 0.1), np.float32)


def _blur_mouth(image: Image, points: Floats, change: Change) -> Image:
    """Blur mouth and chin, which lip-sync nets make by regression, more than the rest of the face."""
    rng = np.random.default_rng(change.seed)
    width, mouth = _width(points), points[MOUTH]
    centre = mouth.mean(axis=0)
    axes = (round(0.3 * width), round(0.24 * width))
    disc = np.zeros(image.shape[:2], np.float32)
    cv2.ellipse(disc, (round(float(centre[0])), round(float(centre[1]))), axes, 0, 0, 360, 1.0, -1)
    weight = cv2.GaussianBlur(disc, (0, 0), max(1.0, 0.06 * width))
    blurred = cv2.GaussianBlur(image, (0, 0), max(0.4, float(rng.uniform(0.003, 0.02)) * width))
    return _paste(np.asarray(blurred, np.uint8), image, np.asarray(weight, np.float32))


def _region_points(points: Floats, region: str) -> Floats:
    if region == "inner":  # brows to chin, without cheeks' edge
        centre = points.mean(axis=0)
        return np.asarray((points - centre) * 0.8 + centre, np.float32)
    if region == "lower":
        return points[LOWER_FACE + NOSE_LINE]
    if region == "mouth":
        centre = points[MOUTH].mean(axis=0)
        return np.asarray((points[MOUTH] - centre) * 1.35 + centre, np.float32)
    return points


def _width(points: Floats) -> float:
    return float(np.ptp(points[:, 0]))


def _wobble(mask: Floats, rng: np.random.Generator, strength: float) -> Floats:
    height, width = mask.shape
    coarse = rng.uniform(-1, 1, (2, 5, 5)).astype(np.float32) * strength
    grid_y, grid_x = np.mgrid[0:height, 0:width].astype(np.float32)
    move_x = cv2.resize(coarse[0], (width, height), interpolation=cv2.INTER_CUBIC)
    move_y = cv2.resize(coarse[1], (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.remap(mask, grid_x + move_x, grid_y + move_y, cv2.INTER_LINEAR), np.float32)


def _relook(image: Image, change: Change) -> Image:
    """Change colour, contrast and sharpness of one layer."""
    out = image.astype(np.float32) * change.colour + change.offset
    mean = out.mean()
    out = (out - mean) * change.contrast + mean
    grey = out.mean(axis=2, keepdims=True)
    # A grey picture stays grey: a tinted face in it would give the blend away at once.
    out = grey + (out - grey) * (0.0 if _is_grey(image) else change.saturation)
    if change.softness > 1.05:
        height, width = image.shape[:2]
        small = (max(8, round(width / change.softness)), max(8, round(height / change.softness)))
        how = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_AREA)[change.seed % 3]
        out = cv2.resize(cv2.resize(out, small, interpolation=cv2.INTER_AREA), (width, height), interpolation=how)
    elif change.softness < 0:
        out = out + (out - cv2.GaussianBlur(out, (0, 0), 1.2)) * -change.softness
    if change.noise > 0:
        out = out + np.random.default_rng(change.seed).normal(0, change.noise, out.shape)
    return _u8(out)


def _is_grey(image: Image) -> bool:
    sample = image[::8, ::8].astype(np.int16)
    return int(np.ptp(sample, axis=2).max()) <= 8


def _move(inner: Image, mask: Floats, points: Floats, change: Change, width: float) -> tuple[Image, Floats]:
    """Shift and scale the inner layer and its mask together about the face's middle."""
    centre = points.mean(axis=0)
    shift = np.array(change.shift) * width
    matrix = np.array(
        [
            [change.scale, 0, centre[0] * (1 - change.scale) + shift[0]],
            [0, change.scale, centre[1] * (1 - change.scale) + shift[1]],
        ],
        np.float32,
    )
    size = (inner.shape[1], inner.shape[0])
    moved = cv2.warpAffine(inner, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8), np.asarray(
        cv2.warpAffine(mask, matrix, size, flags=cv2.INTER_LINEAR), np.float32
    )


def _paste(inner: Image, outer: Image, mask: Floats) -> Image:
    weight = mask[:, :, None]
    return _u8(inner * weight + outer * (1 - weight))


def _u8(image: NDArray[np.floating]) -> Image:
    return np.asarray(np.clip(image + 0.5, 0, 255), np.uint8)
