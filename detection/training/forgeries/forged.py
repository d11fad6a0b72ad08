"""What every forgery returns: the picture, where it was changed, and what was done there."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Mask = NDArray[np.uint8]
Floats = NDArray[np.floating]


class NotForgeable(ValueError):
    """The picture lacks what the method works on (a face, a text field, room); the message says what."""


@dataclass(frozen=True)
class Box:
    """A changed area in pixels, and what happened to it ("retyped", "copied_to", "portrait" ...)."""

    kind: str
    x: int
    y: int
    width: int
    height: int

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)

    def overlaps(self, other: Box) -> bool:
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.y + other.height
            and other.y < self.y + self.height
        )


@dataclass(frozen=True, eq=False)
class Forged:
    """A forged picture. Outside `mask` it equals the picture it was made of, bit for bit.

    image: (h, w, 3) RGB uint8. mask: (h, w) uint8, 255 where the forgery reached. genuine: what stands beside it as
    real where that is not the picture it was made of.
    """

    image: Image
    mask: Mask
    boxes: tuple[Box, ...]
    genuine: Image | None = None


def forged(original: Image, changed: Image, mask: Mask, boxes: tuple[Box, ...]) -> Forged:
    """Return the forgery with everything outside the mask put back to the original."""
    inside = mask > 0
    return Forged(np.where(inside[:, :, None], changed, original), np.where(inside, 255, 0).astype(np.uint8), boxes)


def box_of(mask: Mask, kind: str) -> Box:
    """Return the upright box around a mask."""
    x, y, width, height = cv2.boundingRect(mask)
    return Box(kind, int(x), int(y), int(width), int(height))


def box_mask(shape: tuple[int, ...], box: Box) -> Mask:
    mask = np.zeros(shape[:2], np.uint8)
    mask[box.slices] = 255
    return mask


def u8(image: NDArray[np.floating]) -> Image:
    """Round and clip to bytes."""
    return np.asarray(np.clip(image + 0.5, 0, 255), np.uint8)
