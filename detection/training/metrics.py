"""How detectors are measured: AUROC, PR-AUC, EER, ECE, F1, DET, with bootstrap intervals over groups.

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


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the precision-recall curve as its step sum (PR-AUC); nan without a fake.

    Ties are taken together: all items of one score come at once.
    """
    y, s = _arrays(labels, scores)
    if y.sum() == 0:
        return float("nan")
    order = np.argsort(-s, kind="stable")
    hits = np.cumsum(y[order])
    last = np.flatnonzero(np.append(np.diff(s[order]) != 0, True))  # the end of each run of ties
    precision = hits[last] / (last + 1)
    gained = np.diff(np.concatenate([[0], hits[last]])) / y.sum()
    return float((precision * gained).sum())


def youden(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the threshold at which true minus false positive rate is greatest (Youden's J)."""
    thresholds, fpr, fnr = det_curve(labels, scores)
    return float(thresholds[int(np.argmax(1 - fnr - fpr))])


def at_fpr(labels: ArrayLike, scores: ArrayLike, max_fpr: float) -> float:
    """Return the lowest threshold whose false positive rate does not exceed `max_fpr`; inf when only that will do."""
    thresholds, fpr, _ = det_curve(labels, scores)
    return float(thresholds[int(np.argmax(fpr <= max_fpr + 1e-12))])


def ece(labels: ArrayLike, probabilities: ArrayLike, bins: int = 10, *, weights: ArrayLike | None = None) -> float:
    """Expected calibration error over `bins` equal-width bins (Guo et al. 2017, arXiv:1706.04599)."""
    found = reliability(labels, probabilities, bins, weights=weights)
    return float(sum(b["share"] * abs(b["said"] - b["found"]) for b in found)) if found else float("nan")


def reliability(
    labels: ArrayLike, probabilities: ArrayLike, bins: int = 10, *, weights: ArrayLike | None = None
) -> list[dict[str, float]]:
    """Return, per equal-width bin that holds items, its share of all, the mean score and the share of fakes."""
    y, p = _arrays(labels, probabilities)
    w = np.ones(len(y)) if weights is None else np.asarray(weights, float)
    index = np.minimum((p * bins).astype(int), bins - 1)
    result = []
    for number in np.unique(index):
        inside = index == number
        mass = w[inside].sum()
        if mass > 0:
            said, found = (w[inside] @ p[inside]) / mass, (w[inside] @ y[inside]) / mass
            share = mass / w.sum()
            result.append({"share": float(share), "said": float(said), "found": float(found), "n": int(inside.sum())})
    return result


def even(labels: ArrayLike) -> Floats:
    """Return (n,) weights by which both classes count alike: scores here are meant for an even chance beforehand."""
    y = np.asarray(labels, dtype=np.int64)
    counts = np.bincount(y, minlength=2)
    return np.array([0.5 / counts[label] for label in y])


def proportion_ci(hits: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return the exact (Clopper-Pearson) interval of a share; (nan, nan) of nothing."""
    if n == 0:
        return float("nan"), float("nan")
    from scipy.stats import beta

    tail = (1 - level) / 2
    low = float(beta.ppf(tail, hits, n - hits + 1)) if hits else 0.0
    high = float(beta.ppf(1 - tail, hits + 1, n - hits)) if hits < n else 1.0
    return low, high


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
