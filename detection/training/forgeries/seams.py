"""Hide a seam: feathering, multi-band blending and Poisson cloning."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.training.forgeries.forged import Floats, Image, Mask, u8

SEAMS = ("feather", "multiband", "poisson")


def blend(inner: Image, outer: Image, mask: Mask, seam: str, softness_px: float) -> Image:
    """Return `outer` with `inner` inside the mask. mask: (h, w) uint8, 255 inside. seam: one of SEAMS."""
    if seam == "poisson":
        return poisson(inner, outer, mask)
    soft = np.asarray(cv2.GaussianBlur(mask, (0, 0), max(0.5, softness_px)), np.float32) / 255
    return multiband(inner, outer, soft) if seam == "multiband" else feather(inner, outer, soft)


def feather(inner: Image, outer: Image, weight: Floats) -> Image:
    """Mix two pictures. weight: (h, w) in [0, 1], the share of `inner`."""
    share = weight[:, :, None]
    return u8(inner * share + outer * (1 - share))


def multiband(inner: Image, outer: Image, weight: Floats, bands: int = 4) -> Image:
    """Mix each band of a Laplacian pyramid over a width of its own scale (Burt & Adelson 1983)."""
    bands = min(bands, int(np.log2(max(2, min(outer.shape[:2])))) - 2)
    ours, theirs, share = inner.astype(np.float32), outer.astype(np.float32), weight.astype(np.float32)
    details = []
    for _ in range(max(0, bands)):
        (our_detail, ours), (their_detail, theirs) = _split(ours), _split(theirs)
        details.append(our_detail * share[:, :, None] + their_detail * (1 - share[:, :, None]))
        share = np.asarray(cv2.pyrDown(share), np.float32)
    mixed = ours * share[:, :, None] + theirs * (1 - share[:, :, None])
    for detail in reversed(details):
        mixed = np.asarray(cv2.pyrUp(mixed, dstsize=(detail.shape[1], detail.shape[0])), np.float32) + detail
    return u8(mixed)


def poisson(inner: Image, outer: Image, mask: Mask) -> Image:
    """Keep the gradients of `inner` and the border of `outer` (Pérez et al. 2003). The mask stays off the edge."""
    inside = mask.copy()
    inside[:2], inside[-2:], inside[:, :2], inside[:, -2:] = 0, 0, 0, 0
    if not inside.any():
        return outer
    x, y, width, height = cv2.boundingRect(inside)
    middle = (x + width // 2, y + height // 2)
    return np.asarray(cv2.seamlessClone(inner, outer, inside, middle, cv2.NORMAL_CLONE), np.uint8)


def _split(image: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    small = np.asarray(cv2.pyrDown(image), np.float32)
    return image - cv2.pyrUp(small, dstsize=(image.shape[1], image.shape[0])), small
