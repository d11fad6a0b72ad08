"""What pictures and frames go through on their way to a detector: saving, shrinking, messengers, screens, video.

Both classes go the same ways, drawn by the same dice, so that no step can become the cue.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from detection.engine import stability
from detection.engine.patches import Image, encode_jpeg
from detection.training.clip_coding import Coding, coded

Rng = np.random.Generator
INTERPOLATIONS = (cv2.INTER_AREA, cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_LANCZOS4)
FRAMES = 3  # a run long enough for a frame that is predicted from others


def delivered(image: Image, rng: Rng) -> Image:
    """Return a picture, (h, w, 3) uint8 RGB, as it may arrive: 0.4 to 1 of its size; in half the cases mirrored."""
    if rng.random() < 0.5:
        image = np.ascontiguousarray(image[:, ::-1])
    return STILL_WAYS[int(rng.integers(len(STILL_WAYS)))](image, rng)


def filmed(image: Image, rng: Rng) -> Image:
    """Return a picture as a frame of a clip: shrunk in half the cases, moved a little, through H.264."""
    if rng.random() < 0.5:
        image = np.ascontiguousarray(image[:, ::-1])
    if rng.random() < 0.5:
        image = shrunk(image, float(rng.uniform(0.55, 1.0)), rng)
    room = FRAMES - 1
    height, width = ((side - room) // 2 * 2 for side in image.shape[:2])
    steps = rng.integers(0, 2, (FRAMES, 2)).cumsum(axis=0) - 1
    y, x = steps.clip(0, room).T
    frames = np.stack([image[y[n] : y[n] + height, x[n] : x[n] + width] for n in range(FRAMES)])
    shown = coded(frames, Coding(int(rng.integers(20, 35)), 1.0))
    return np.asarray(shown[int(rng.integers(FRAMES))], np.uint8)


def shrunk(image: Image, scale: float, rng: Rng) -> Image:
    """Return the picture made smaller by one of the usual interpolations."""
    size = (max(round(image.shape[1] * scale), 16), max(round(image.shape[0] * scale), 16))
    return np.asarray(cv2.resize(image, size, interpolation=int(rng.choice(INTERPOLATIONS))), np.uint8)


def _jpeg(image: Image, rng: Rng, low: int = 40, high: int = 92) -> Image:
    data = encode_jpeg(image, int(rng.integers(low, high)), subsampled=bool(rng.random() < 0.7))
    return _read(np.frombuffer(data, np.uint8))


def _webp(image: Image, rng: Rng) -> Image:
    flags = [cv2.IMWRITE_WEBP_QUALITY, int(rng.integers(45, 92))]
    return _read(cv2.imencode(".webp", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), flags)[1])


def _smaller(image: Image, rng: Rng) -> Image:
    """Half or three quarters of the size, or about that; often saved as a good JPEG."""
    middle = 0.5 if rng.random() < 0.6 else 0.75
    small = shrunk(image, middle * float(rng.uniform(0.88, 1.12)), rng)
    return _jpeg(small, rng, 80, 97) if rng.random() < 0.6 else small


def _messenger(image: Image, rng: Rng) -> Image:
    for _ in range(1 + int(rng.random() < 0.3)):
        image = _jpeg(shrunk(image, float(rng.uniform(0.65, 1.0)), rng), rng, 60, 85)
    return image


def _screen(image: Image, rng: Rng) -> Image:
    """Shown smaller or as it is, in slightly other tones and sharpness, grabbed, saved."""
    small = shrunk(image, float(rng.uniform(0.6, 1.0)), rng)
    toned = (small.astype(np.float32) / 255) ** rng.uniform(0.85, 1.15)
    sharp = toned + rng.uniform(0, 0.5) * (toned - cv2.GaussianBlur(toned, (0, 0), 1.0))
    grabbed = np.asarray((np.clip(sharp, 0, 1) * 255).round(), np.uint8)
    return stability.save_as_jpeg(grabbed, int(rng.integers(65, 95)))


def _read(data: np.ndarray) -> Image:
    pixels = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError("the picture could not be passed through a codec")
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)


STILL_WAYS: tuple[Callable[[Image, Rng], Image], ...] = (_jpeg, _webp, _smaller, _smaller, _messenger, _screen)
