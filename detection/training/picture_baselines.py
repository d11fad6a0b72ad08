"""What a picture net must beat to be worth its place: file facts, the radial spectrum, a probe on a frozen backbone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from detection.engine import patches
from detection.engine.branches.synthesis_net import CHANNELS, MIXTURES, PER_CHANNEL, SynthesisNet
from detection.training import picture_folds
from detection.training.imagenet import MEAN, STD, load_pretrained
from detection.training.pictures import Picture, read_rgb, source_weights, thinned

Features = NDArray[np.float32]
RADIAL_BINS = 48
PROBE_PX = 224


def file_facts(items: Sequence[Picture]) -> Features:
    """Return (n, 4): width, height, bytes and bytes per pixel of the very files that the nets see."""
    rows = []
    for item in items:
        height, width = read_rgb(item.path).shape[:2]
        size = item.path.stat().st_size
        rows.append([np.log(width), np.log(height), np.log(size), np.log(size / (width * height))])
    return np.array(rows, np.float32)


def original_facts(items: Sequence[Picture]) -> Features:
    """Return (n, 8): format and size before everything was stored alike; an audit of the material, no fair rival."""
    formats = ("JPEG", "PNG", "WEBP", "BMP")
    rows = []
    for item in items:
        name, width, height = item.original
        logs = [np.log(max(width, 1)), np.log(max(height, 1)), float(width == height), float(width % 64 == 0)]
        rows.append([float(name == one) for one in formats] + logs)
    return np.array(rows, np.float32)


def radial_spectrum(items: Sequence[Picture]) -> Features:
    """Return (n, 48) log power of the middle 192 px, averaged over circles of equal frequency."""
    size = 192
    y, x = np.indices((size, size)) - size // 2
    ring = np.minimum((np.hypot(x, y) / (size / 2) * RADIAL_BINS).astype(int), RADIAL_BINS)
    count = np.bincount(ring.ravel(), minlength=RADIAL_BINS + 1)
    window = np.outer(np.hanning(size), np.hanning(size))
    rows = []
    for item in items:
        grey = cv2.cvtColor(patches.grid(read_rgb(item.path), size)[-1].image, cv2.COLOR_RGB2GRAY) / 255.0
        power = np.abs(np.fft.fftshift(np.fft.fft2((grey - grey.mean()) * window))) ** 2
        rows.append(np.log(np.bincount(ring.ravel(), power.ravel()) / count + 1e-8)[:RADIAL_BINS])
    return np.array(rows, np.float32)


def frozen_backbone() -> Callable[[Sequence[Picture]], Features]:
    """Return the function that gives (n, 608): mean and spread of stem and stages of EfficientNet-Lite0."""
    net = SynthesisNet().eval()
    load_pretrained(net)

    @torch.inference_mode()
    def features(items: Sequence[Picture]) -> Features:
        rows = []
        for item in items:
            crop = patches.grid(read_rgb(item.path), PROBE_PX)[-1].image
            batch = torch.from_numpy(patches.to_batch([crop], (MEAN,) * 3, (STD,) * 3))
            rows.append(net.statistics(batch)[0][0].numpy())
        return means_and_spreads(np.array(rows, np.float32))

    return features


def means_and_spreads(statistics: Features) -> Features:
    """Return the columns that a plain probe of the backbone has, out of all texture statistics."""
    columns: list[int] = []
    start = 0
    for channels in CHANNELS:
        columns += range(start, start + 2 * channels)
        start += PER_CHANNEL * channels + MIXTURES
    return statistics[:, columns]


def cross_validated(
    items: Sequence[Picture], statistics: Features, folds: int, partition: int
) -> dict[str, NDArray[np.float64]]:
    """Return the held-out scores of every baseline on `items`, over the folds that the branch itself is judged on.

    statistics: (n, FEATURES) of the items as they are stored, for the probe of the frozen backbone.
    """
    ways = {
        "file format and size": file_facts(items),
        "radial spectrum": radial_spectrum(items),
        "frozen backbone probe": means_and_spreads(statistics),
    }
    fold_of = picture_folds.divide(items, folds, partition)
    scores = {name: np.zeros(len(items)) for name in ways}
    for fold in sorted(set(fold_of.tolist())):
        learn, judge = picture_folds.sides(items, fold_of, fold)
        for name, features in ways.items():
            model = probe([items[row] for row in learn], features[learn])
            scores[name][judge] = model.decision_function(features[judge])
    return scores


def probe(items: Sequence[Picture], features: Features, strength: float = 0.01) -> Pipeline:
    """Fit a logistic regression; every source weighs by the root of its count, both classes alike."""
    labels = np.array([item.is_fake for item in items])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=500))
    return model.fit(features, labels, logisticregression__sample_weight=source_weights(items))


def compare(learn: Sequence[Picture], judge: Sequence[Picture]) -> dict[str, NDArray[np.float64]]:
    """Fit every baseline on `learn` and return its scores on `judge`."""
    learn = thinned(learn)
    ways: dict[str, Callable[[Sequence[Picture]], Features]] = {
        "file format and size": file_facts,
        "radial spectrum": radial_spectrum,
        "frozen backbone probe": frozen_backbone(),
    }
    return {name: probe(learn, way(learn)).decision_function(way(judge)) for name, way in ways.items()}
