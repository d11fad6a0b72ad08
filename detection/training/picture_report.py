"""What a picture net is worth on sources left out of training: calibration, metrics per generator, rivals, the card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from detection.training import metrics
from detection.training.pictures import Picture, source_weights

Scores = NDArray[np.float64]
TRIVIAL = ("file format and size", "radial spectrum")
PROBE = "frozen backbone probe"


def calibrate(items: Sequence[Picture], logits: Scores) -> tuple[float, float]:
    """Return (temperature, bias) with p_fake = sigmoid(logit / temperature + bias), by Platt scaling.

    Sources weigh alike within their class and the classes alike: the prior is even.
    """
    labels = np.array([item.is_fake for item in items])
    model = LogisticRegression(C=1e3).fit(logits[:, None], labels, sample_weight=source_weights(items))
    slope = max(float(model.coef_[0, 0]), 0.05)  # a net that is wrong on these sources must not be turned round
    return 1 / slope, float(model.intercept_[0])


def measure(items: Sequence[Picture], scores: Scores, *, rounds: int = 1000) -> dict[str, Any]:
    """Return AUROC with a grouped interval for all, per kind, and per generator against the reals of its kind."""
    figures = {"all": _figures(items, scores, rounds)}
    for kind in sorted({item.kind for item in items}):
        rows = np.array([item.kind == kind for item in items])
        figures[kind] = _figures(_pick(items, rows), scores[rows], rounds)
    figures["by_generator"] = _by_generator(items, scores)
    return figures


def earns_its_place(items: Sequence[Picture], net: Scores, rivals: Mapping[str, Scores]) -> dict[str, Any]:
    """Return whether the lower bound beats the trivial rivals and the estimate beats the probe, with the figures."""
    labels = [int(item.is_fake) for item in items]
    low, high = metrics.bootstrap_ci(labels, net, groups=[item.group for item in items])
    own = metrics.auroc(labels, net)
    others = {name: metrics.auroc(labels, scores) for name, scores in rivals.items()}
    return {
        "auroc": own,
        "interval": (low, high),
        "rivals": others,
        "fused": bool(low > max(others[name] for name in TRIVIAL) and own > others[PROBE]),
    }


def _figures(items: Sequence[Picture], scores: Scores, rounds: int) -> dict[str, Any]:
    labels = [int(item.is_fake) for item in items]
    low, high = metrics.bootstrap_ci(labels, scores, groups=[item.group for item in items], rounds=rounds)
    return {
        "n_real": labels.count(0),
        "n_fake": labels.count(1),
        "auroc": metrics.auroc(labels, scores),
        "interval": (low, high),
        "eer": metrics.eer(labels, scores),
    }


def _by_generator(items: Sequence[Picture], scores: Scores) -> dict[str, Any]:
    """Return AUROC and count of each generator with at least five pictures; `generator (kind)` names it."""
    found = {}
    for kind, generator in sorted({(item.kind, item.generator) for item in items if item.is_fake}):
        fakes = np.array([item.is_fake and item.kind == kind and item.generator == generator for item in items])
        reals = np.array([not item.is_fake and item.kind == kind for item in items])
        if fakes.sum() < 5 or not reals.any():
            continue
        rows = fakes | reals
        value = metrics.auroc(fakes[rows].astype(int), scores[rows])
        found[f"{generator} ({kind})"] = {"n": int(fakes.sum()), "auroc": value}
    return found


def _pick(items: Sequence[Picture], rows: NDArray[np.bool_]) -> list[Picture]:
    return [item for item, kept in zip(items, rows, strict=True) if kept]
