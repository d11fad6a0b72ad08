"""What anybody can do without a trained net: baselines that a face branch must beat on the same left-out items."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from detection.training.datasets import Item, Patches, serving_crop
from detection.training.face_pairs import normalise

Floats = NDArray[np.float64]
Image = NDArray[np.uint8]
Describe = Callable[[NDArray[np.uint8]], Floats]  # (n, h, w, 3) -> (n, d)

RINGS = 24


def file_facts(item: Item) -> Floats:
    """Format and size: bytes, original width and height, their product and ratio."""
    width, height = (max(1, side) for side in item.original)
    return np.array([np.log(item.size_bytes), np.log(width), np.log(height), np.log(width * height), width / height])


def radial_spectrum(crops: NDArray[np.uint8]) -> Floats:
    """Log power of the grey crop's spectrum in rings about its middle: (n, RINGS)."""
    return np.stack([_rings(crop) for crop in crops])


def _rings(crop: Image) -> Floats:
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float64)
    window = np.hanning(grey.shape[0])
    power = np.abs(np.fft.fftshift(np.fft.fft2((grey - grey.mean()) * np.outer(window, window)))) ** 2
    half = grey.shape[0] / 2
    y, x = np.indices(power.shape)
    ring = np.minimum((np.hypot(x - half, y - half) / half * RINGS).astype(int), RINGS - 1)
    total = np.bincount(ring.ravel(), power.ravel(), RINGS) / np.bincount(ring.ravel(), minlength=RINGS)
    return np.log(total + 1e-6)


def frozen_probe(backbone: Any, config: dict[str, Any]) -> Describe:
    """Mean and spread of every stage of the pretrained backbone before any training here."""

    @torch.inference_mode()
    def describe(crops: NDArray[np.uint8]) -> Floats:
        x = normalise(torch.from_numpy(crops), config)
        x = backbone.bn1(backbone.conv_stem(x))
        parts = []
        for stage in backbone.blocks:
            x = stage(x)
            parts += [x.mean(dim=(2, 3)), x.std(dim=(2, 3))]
        return torch.cat(parts, dim=1).double().numpy()

    return describe


def describe_items(describe: Describe, chosen: Sequence[tuple[Patches, int, NDArray[np.int64]]], size: int) -> Floats:
    """Mean description over the faces of each item. chosen: (patches, item number, rows)."""
    rows = []
    for patches, _, mine in chosen:
        crops = np.stack([serving_crop(np.asarray(patches.images[row]), size) for row in mine])
        rows.append(describe(crops).mean(axis=0))
    return np.stack(rows)


def logistic(features: Floats, labels: Sequence[bool], held_out: Floats, strength: float = 0.01) -> Floats:
    """Fit a regularised logistic regression, return its logits on the held-out rows."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(features)
    model = LogisticRegression(C=strength, max_iter=2000, class_weight="balanced")
    model.fit(scaler.transform(features), np.asarray(labels, int))
    return np.asarray(model.decision_function(scaler.transform(held_out)))
