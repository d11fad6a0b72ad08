"""Make one picture's colours fit another's: Reinhard's statistics in Lab, and histogram matching."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.training.forgeries.forged import Image, u8

Where = NDArray[np.bool_]
SPREAD = (0.4, 2.5)  # a flat patch must not be stretched into noise


def reinhard(image: Image, reference: Image, here: Where, there: Where) -> Image:
    """Give `image` the mean and spread that `reference` has in Lab (Reinhard et al. 2001).

    here, there: (h, w) bool, the pixels of image and reference that are compared.
    """
    ours, theirs = _lab(image), _lab(reference)
    mine, wanted = ours[here], theirs[there]
    spread = ((wanted.std(axis=0) + 1e-3) / (mine.std(axis=0) + 1e-3)).clip(*SPREAD)
    changed = (ours - mine.mean(axis=0)) * spread + wanted.mean(axis=0)
    return u8(cv2.cvtColor(changed.astype(np.float32), cv2.COLOR_Lab2RGB).clip(0, 1) * 255)


def match_histogram(image: Image, reference: Image, here: Where, there: Where) -> Image:
    """Give each channel of `image` the distribution that `reference` has, by its cumulative histogram."""
    channels = []
    for channel in range(3):
        mine = np.bincount(image[here, channel], minlength=256).cumsum()
        wanted = np.bincount(reference[there, channel], minlength=256).cumsum()
        table = np.searchsorted(wanted / max(wanted[-1], 1), mine / max(mine[-1], 1)).clip(0, 255).astype(np.uint8)
        channels.append(table[image[:, :, channel]])
    return np.stack(channels, axis=2)


def _lab(image: Image) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)
