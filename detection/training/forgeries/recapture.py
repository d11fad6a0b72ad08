"""A picture taken of a picture: printed and scanned, printed and photographed, or photographed from a screen."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from detection.training.augment import jpeg
from detection.training.forgeries.forged import Box, Floats, Forged, Image, u8

MEDIUMS = ("print_scan", "print_photo", "screen_photo")


@dataclass(frozen=True)
class RecaptureRecipe:
    """The way through paper or screen and a second camera."""

    medium: str
    corner_shift: float  # of the size: how far the corners move in perspective
    light_slope: float  # difference of light across the picture, share
    vignette: float
    gamma: float
    cast: tuple[float, float, float]
    pitch_px: float  # of print dots or screen cells, in pixels of the picture
    texture: float  # strength of dots or cells
    blur: float
    noise: float
    qualities: tuple[int, int]
    seed: int


def draw_recipe(rng: np.random.Generator, medium: str | None = None) -> RecaptureRecipe:
    """Draw a recapture; a scan is flat and evenly lit, a photo is neither."""
    chosen = medium or str(rng.choice(MEDIUMS))
    is_photo = chosen != "print_scan"
    return RecaptureRecipe(
        medium=chosen,
        corner_shift=float(rng.uniform(0.005, 0.04)) if is_photo else float(rng.uniform(0, 0.003)),
        light_slope=float(rng.uniform(-0.35, 0.35)) if is_photo else float(rng.uniform(-0.03, 0.03)),
        vignette=float(rng.uniform(0.0, 0.3)) if is_photo else 0.0,
        gamma=float(rng.uniform(0.8, 1.25)),
        cast=tuple(float(x) for x in rng.uniform(0.9, 1.08, 3)),  # type: ignore[arg-type]
        pitch_px=float(rng.uniform(1.6, 3.4)),
        texture=float(rng.uniform(0.03, 0.16)),
        blur=float(rng.uniform(0.4, 1.1)),
        noise=float(rng.uniform(0.5, 4.0)),
        qualities=(int(rng.integers(60, 96)), int(rng.integers(70, 96))),
        seed=int(rng.integers(2**31)),
    )


def recapture(image: Image, recipe: RecaptureRecipe) -> Image:
    """Return the picture of the picture, same size. image: (h, w, 3) RGB uint8."""
    rng = np.random.default_rng(recipe.seed)
    first = jpeg(image, recipe.qualities[0]).astype(np.float32) / 255
    shown = _on_screen(first, recipe) if recipe.medium == "screen_photo" else _on_paper(first, recipe, rng)
    return _captured(shown, recipe)


def captured_once(image: Image, recipe: RecaptureRecipe) -> Image:
    """Return the thing itself before the same camera, in the same light, saved as often: no paper or screen between."""
    return _captured(jpeg(image, recipe.qualities[0]).astype(np.float32) / 255, recipe)


def as_forgery(image: Image, recipe: RecaptureRecipe) -> Forged:
    """Return the recapture as a forgery: all of the picture is second hand.

    Beside it stands the original, captured once: else soft and dark would mean fake.
    """
    height, width = image.shape[:2]
    whole = np.full((height, width), 255, np.uint8)
    boxes = (Box(recipe.medium, 0, 0, width, height),)
    return Forged(recapture(image, recipe), whole, boxes, genuine=captured_once(image, recipe))


def _captured(shown: Floats, recipe: RecaptureRecipe) -> Image:
    """Photograph or scan what is shown; (h, w, 3) in [0, 1]."""
    rng = np.random.default_rng(recipe.seed + 1)
    seen = _photographed(shown, recipe, rng)
    lit = (seen * np.array(recipe.cast, np.float32)).clip(0, 1) ** recipe.gamma * _light(shown.shape, recipe, rng)
    soft = np.asarray(cv2.GaussianBlur(lit, (0, 0), recipe.blur), np.float32) * 255
    # Shot noise grows with light; reading noise does not.
    noise = rng.normal(0, 1, soft.shape) * recipe.noise * (0.5 + 0.5 * np.sqrt(soft.clip(0, 255) / 255))
    return jpeg(u8(soft + noise), recipe.qualities[1])


def _on_paper(image: Floats, recipe: RecaptureRecipe, rng: np.random.Generator) -> Floats:
    """Print: fewer shades and colours, dots at 45 degrees, and the grain of paper."""
    height, width = image.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    wave = 2 * np.pi / (recipe.pitch_px * 1.41)
    dots = np.cos(wave * (x + y)) * np.cos(wave * (x - y))
    grain = cv2.GaussianBlur(rng.normal(0, 1, (height, width)).astype(np.float32), (0, 0), 0.9) * 0.03
    middle = (1 - np.abs(2 * image - 1)) * recipe.texture  # neither white paper nor full ink shows dots
    printed = 0.06 + 0.88 * image + middle * dots[:, :, None] + grain[:, :, None]
    return np.asarray(printed.clip(0, 1), np.float32)


def _on_screen(image: Floats, recipe: RecaptureRecipe) -> Floats:
    """Screen: cells of red, green and blue beside each other, rows between them; sampled again they beat as moiré."""
    height, width = image.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    turn = 0.02 + recipe.corner_shift  # the camera is never quite level
    u, v = x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
    wave = 2 * np.pi / recipe.pitch_px
    cells = np.stack([np.cos(wave * u + phase) for phase in (0.0, 2.094, 4.189)], axis=2)
    rows = np.cos(wave * v * 1.02)[:, :, None]
    beat = np.cos(wave * u * 0.97 / 6.0 + 0.4 * v / recipe.pitch_px)[:, :, None]
    factor = 1 + recipe.texture * (0.6 * cells + 0.3 * rows + 0.5 * beat)
    return np.asarray((0.03 + 0.97 * image * factor).clip(0, 1), np.float32)


def _photographed(image: Floats, recipe: RecaptureRecipe, rng: np.random.Generator) -> Floats:
    """See the sheet or screen from a little aside."""
    height, width = image.shape[:2]
    corners = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], np.float32)
    shift = rng.uniform(-recipe.corner_shift, recipe.corner_shift, (4, 2)) * [width, height]
    matrix = cv2.getPerspectiveTransform(corners, (corners + shift).astype(np.float32))
    seen = cv2.warpPerspective(image, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(seen, np.float32).clip(0, 1)


def _light(shape: tuple[int, ...], recipe: RecaptureRecipe, rng: np.random.Generator) -> Floats:
    """Return (h, w, 1): light that falls from one side, and falls off towards the corners."""
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    slope = 1 + recipe.light_slope * 0.5 * (x * np.cos(angle) + y * np.sin(angle))
    fall = 1 - recipe.vignette * 0.5 * (x**2 + y**2)
    return np.asarray(slope * fall, np.float32)[:, :, None]
