"""How detectors are measured: AUROC, EER, ECE, F1, DET, with bootstrap intervals over groups.

Everywhere `labels` is (n,) with 1 = fake and `scores` is (n,) p_fake (any monotone score for AUROC, EER and DET).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def auroc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve by the rank statistic, ties counted half; nan when one class is missing."""
    y, s = _arrays(labels, scores)
    positives = int(y.sum())
    negatives = len(y) - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    from scipy.stats import rankdata

    ranks = rankdata(s)
    return float((ranks[y == 1].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def det_curve(labels: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Return (thresholds, false positive rate, false negative rate); "fake" is said at score >= threshold."""
    y, s = _arrays(labels, scores)
    thresholds = np.concatenate([np.unique(s), [np.inf]])
    fakes, reals = np.sort(s[y == 1]), np.sort(s[y == 0])
    fnr = np.searchsorted(fakes, thresholds, side="left") / max(len(fakes), 1)
    fpr = 1 - np.searchsorted(reals, thresholds, side="left") / max(len(reals), 1)
    return thresholds, fpr, fnr


def eer(labels: ArrayLike, scores: ArrayLike) -> float:
    """Equal error rate, interpolated between the two thresholds where the rates cross; nan when a class is missing."""
    y, _ = _arrays(labels, scores)
    if y.min(initial=1) == y.max(initial=0) or len(y) == 0:
        return float("nan")
    _, fpr, fnr = det_curve(labels, scores)
    difference = fnr - fpr  # rises with the threshold
    after = int(np.argmax(difference >= 0))
    if after == 0:
        return float((fpr[0] + fnr[0]) / 2)
    low, high = difference[after - 1], difference[after]
    share = 0.0 if high == low else -low / (high - low)
    return float(fpr[after - 1] + share * (fpr[after] - fpr[after - 1]))


def ece(labels: ArrayLike, probabilities: ArrayLike, bins: int = 10) -> float:
    """Expected calibration error over `bins` equal-width bins (Guo et al. 2017, arXiv:1706.04599)."""
    y, p = _arrays(labels, probabilities)
    if len(y) == 0:
        return float("nan")
    index = np.minimum((p * bins).astype(int), bins - 1)
    total = 0.0
    for number in range(bins):
        inside = index == number
        if inside.any():
            total += inside.mean() * abs(p[inside].mean() - y[inside].mean())
    return float(total)


def at_threshold(labels: ArrayLike, scores: ArrayLike, threshold: float) -> dict[str, float]:
    """Return precision, recall, f1, accuracy and fpr when "fake" is said at score >= threshold."""
    y, s = _arrays(labels, scores)
    said = s >= threshold
    true_positives = float((said & (y == 1)).sum())
    precision = true_positives / said.sum() if said.any() else 0.0
    recall = true_positives / (y == 1).sum() if (y == 1).any() else float("nan")
    f1 = 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0
    fpr = float((said & (y == 0)).sum() / (y == 0).sum()) if (y == 0).any() else float("nan")
    accuracy = float((said == (y == 1)).mean()) if len(y) else float("nan")
    return {"precision": float(precision), "recall": float(recall), "f1": float(f1), "accuracy": accuracy, "fpr": fpr}


def bootstrap_ci(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    metric: Callable[[ArrayLike, ArrayLike], float] = auroc,
    groups: Sequence[object] | None = None,
    rounds: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the 95 % percentile interval of `metric`.

    groups: what belongs together (subject, source); whole groups are drawn, because items of one group are not
    independent. Draws that miss a class are left out. (nan, nan) when no draw has both.
    """
    y, s = _arrays(labels, scores)
    names = np.asarray([str(g) for g in groups]) if groups is not None else np.arange(len(y)).astype(str)
    members = [np.flatnonzero(names == name) for name in np.unique(names)]
    if not members:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(rounds):
        rows = np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])
        value = metric(y[rows], s[rows])
        if np.isfinite(value):
            values.append(value)
    if not values:
        return float("nan"), float("nan")
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def _arrays(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.int64], Floats]:
    y, s = np.asarray(labels, dtype=np.int64), np.asarray(scores, dtype=np.float64)
    if y.shape != s.shape or y.ndim != 1:
        raise ValueError(f"labels {y.shape} and scores {s.shape} must be two lists of the same length")
    return y, s
