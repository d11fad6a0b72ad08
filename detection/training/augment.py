"""Wear and tear for face crops: the same chain of loss, drawn once, for the real and the fake of a pair."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Wear:
    """What happens to a picture between camera and detector."""

    flip: bool
    grey: bool
    gain: tuple[float, float, float]
    brightness: float
    contrast: float
    shrink: float  # 1 = none; the picture goes through 1/shrink of its size
    shrink_filter: int
    blur: float
    noise: float
    seed: int
    qualities: tuple[int, ...]  # JPEG, one after the other


def draw_wear(rng: np.random.Generator) -> Wear:
    """Draw a chain; about one in five pictures stays nearly untouched."""
    filters = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)
    qualities = tuple(int(q) for q in rng.integers(45, 99, size=int(rng.choice([0, 1, 2], p=[0.3, 0.6, 0.1]))))
    colour = rng.random() < 0.5
    return Wear(
        flip=bool(rng.random() < 0.5),
        grey=bool(rng.random() < 0.08),
        gain=tuple(1 + rng.uniform(-0.1, 0.1, 3) * colour),
        brightness=float(rng.uniform(-25, 25) * colour),
        contrast=float(1 + rng.uniform(-0.2, 0.2) * colour),
        shrink=float(rng.uniform(1.1, 2.0) if rng.random() < 0.25 else 1.0),
        shrink_filter=int(rng.choice(filters)),
        blur=float(rng.uniform(0.3, 1.0) if rng.random() < 0.12 else 0.0),
        noise=float(rng.uniform(1, 6) if rng.random() < 0.12 else 0.0),
        seed=int(rng.integers(2**31)),
        qualities=qualities,
    )


def apply(image: Image, wear: Wear) -> Image:
    """Return the worn picture, same size. image: (h, w, 3) RGB uint8."""
    out = image
    if wear.flip:
        out = np.ascontiguousarray(out[:, ::-1])
    if wear.gain != (1.0, 1.0, 1.0) or wear.brightness or wear.contrast != 1:
        changed = (out.astype(np.float32) - 128) * (wear.contrast * np.array(wear.gain, np.float32)) + 128
        out = _u8(changed + wear.brightness)
    if wear.shrink > 1:
        height, width = out.shape[:2]
        small = (round(width / wear.shrink), round(height / wear.shrink))
        down = cv2.resize(out, small, interpolation=cv2.INTER_AREA)
        out = np.asarray(cv2.resize(down, (width, height), interpolation=wear.shrink_filter), np.uint8)
    if wear.blur:
        out = np.asarray(cv2.GaussianBlur(out, (0, 0), wear.blur), np.uint8)
    if wear.noise:
        out = _u8(out + np.random.default_rng(wear.seed).normal(0, wear.noise, out.shape))
    if wear.grey:
        out = np.asarray(cv2.cvtColor(cv2.cvtColor(out, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)
    for quality in wear.qualities:
        out = jpeg(out, quality)
    return out


def jpeg(image: Image, quality: int) -> Image:
    """Save and reload as JPEG."""
    _, data = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))[:, :, ::-1], np.uint8)


def _u8(image: NDArray[np.floating]) -> Image:
    return np.asarray(np.clip(image + 0.5, 0, 255), np.uint8)
