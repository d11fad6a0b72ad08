"""A classical face swap: another person's face, warped over landmarks, coloured to fit and blended in."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from detection.training.forgeries import colours, seams, warps
from detection.training.forgeries.forged import Floats, Forged, Image, Mask, NotForgeable, box_of, forged

COLOURS = ("reinhard", "histogram", "none")
FITS = ("mesh", "affine")  # "mesh": the donor takes the target's features' places; "affine": keeps its own shape
MIN_FACE_PX = 24


@dataclass(frozen=True)
class SwapRecipe:
    """How a swap is done. Drawn once per clip, so that frames agree."""

    fit: str = "mesh"
    colour: str = "reinhard"
    seam: str = "poisson"
    inset: float = 0.04  # of the face's width that the mask keeps inside the face
    softness: float = 0.03  # of the face's width
    shrink: float = 1.0  # the donor goes through 1/shrink of its size, as through a net's output
    alpha: float = 1.0


def draw_recipe(rng: np.random.Generator) -> SwapRecipe:
    """Draw one of the ways of swapping."""
    return SwapRecipe(
        fit=str(rng.choice(FITS)),
        colour=str(rng.choice(COLOURS, p=[0.5, 0.3, 0.2])),
        seam=str(rng.choice(seams.SEAMS)),
        inset=float(rng.uniform(0.0, 0.08)),
        softness=float(rng.uniform(0.005, 0.07)),
        shrink=float(rng.choice([1.0, rng.uniform(1.1, 2.5)])),
        alpha=float(rng.choice([1.0, rng.uniform(0.7, 1.0)], p=[0.8, 0.2])),
    )


def face_swap(image: Image, points: Floats, donor: Image, donor_points: Floats, recipe: SwapRecipe) -> Forged:
    """Return `image` with the donor's face.

    image, donor: (h, w, 3) RGB uint8, each of its own size. points, donor_points: (468, 2) FaceMesh points in pixels.
    Raises NotForgeable for a face that is too small or lies outside the picture.
    """
    width = float(np.ptp(points[:, 0]))
    if width < MIN_FACE_PX:
        raise NotForgeable(f"the face is {width:.0f} px wide, below {MIN_FACE_PX}")
    warped = _warped(_softened(donor, recipe.shrink), points, donor_points, image, recipe.fit)
    reach, mask = _masks(points, image.shape, recipe, width)
    here = mask > 0
    if here.sum() < MIN_FACE_PX**2 // 2:
        raise NotForgeable("the face lies outside the picture")
    if recipe.colour == "reinhard":
        warped = colours.reinhard(warped, image, here, here)
    elif recipe.colour == "histogram":
        warped = colours.match_histogram(warped, image, here, here)
    # What lies beyond the donor's face may not reach a wide blend.
    inner = np.where(reach[:, :, None] > 0, warped, image)
    mixed = seams.blend(inner, image, mask, recipe.seam, recipe.softness * width)
    if recipe.alpha < 1:
        mixed = seams.feather(mixed, image, np.full(image.shape[:2], recipe.alpha, np.float32))
    # Inside the hull of the face only, so that the mask tells all that was touched.
    return forged(image, mixed, reach, (box_of(reach, "face"),))


def _softened(image: Image, shrink: float) -> Image:
    if shrink <= 1:
        return image
    height, width = image.shape[:2]
    small = cv2.resize(
        image, (max(8, round(width / shrink)), max(8, round(height / shrink))), interpolation=cv2.INTER_AREA
    )
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _warped(donor: Image, points: Floats, donor_points: Floats, image: Image, fit: str) -> Image:
    if fit == "mesh":
        return warps.piecewise(donor, donor_points, points, image)
    matrix, _ = cv2.estimateAffine2D(donor_points[::4].copy(), points[::4].copy(), method=cv2.LMEDS)
    if matrix is None:
        raise NotForgeable("the two faces cannot be laid over each other")
    size = (image.shape[1], image.shape[0])
    return np.asarray(cv2.warpAffine(donor, matrix, size, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _masks(points: Floats, shape: tuple[int, ...], recipe: SwapRecipe, width: float) -> tuple[Mask, Mask]:
    """Return where anything may change, and the core that takes the donor wholly."""
    reach = warps.hull_mask(points, shape)
    inset = max(1, round((recipe.inset + recipe.softness) * width))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * inset + 1, 2 * inset + 1))
    core = np.asarray(cv2.erode(reach, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0), np.uint8)
    return reach, core if core.any() else reach
