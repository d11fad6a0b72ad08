"""Fit the fusion: non-negative stacked logistic regressions on branch scores of sources that no net was trained on.

Every source counts alike within its class, so that a large corpus does not decide; members are refits on resampled
sources; the open-set limit comes from the same rows. A one-sided domain, whose sources are too few to weigh its
branches by, counts them alike (docs/decisions/0006-face-checks-in-clips.md). `fit_domain` and `choose_thresholds` are
pure functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from detection.engine.fusion import MAX_ABS_LOGIT
from detection.engine.types import Channel
from detection.training import metrics

Floats = NDArray[np.float64]
Names = NDArray[np.str_]
Fit = Callable[[Floats, NDArray[np.int64], Names, Floats], tuple[float, Floats]]
RIDGE = 0.02
PLATT_RIDGE = 1e-4  # shrinking here would leave every score too close to an even chance
MEMBERS = 40
FOLDS = 5
MANY_SOURCES = 6
EVEN_SLOPE = 0.5  # log-odds that one spread of a branch is worth where weights are not fitted
OOD_QUANTILE = 0.995
OOD_MARGIN = 1.5


@dataclass(frozen=True)
class Row:
    """One held-out item: what each branch said of it, in log-odds of its score."""

    path: str
    label: int  # 1 = fake
    source: str  # repository or corpus, weighed as one
    unit: str  # subject or scene within it; rows of one unit are not independent
    domain: str  # image_face, image_scene, video_face, video_scene, voice
    channel: Channel
    logits: Mapping[str, float]


def fit_domain(
    rows: Sequence[Row],
    branches: Sequence[str],
    *,
    seed: int = 0,
    members: int = MEMBERS,
    is_one_sided: bool = False,
) -> dict[str, Any]:
    """Return the fusion.json entry of one domain, with metrics of predictions for left-out sources.

    Weights are non-negative: more suspicion from a branch may never lower the verdict. Needs both classes.
    is_one_sided: a branch below its centre says nothing, and all branches count alike (`fit_even`).
    """
    raw, y = _design(rows, branches)
    sources, units = np.array([r.source for r in rows]), np.array([r.unit for r in rows])
    centres = _centres(raw, y)
    fit = fit_even if is_one_sided else _fit_weights
    sample = balance(y, sources)
    intercept, weights = fit(raw, y, sources, centres)
    out_of_fold = _cross_predict(fit, raw, y, sources, units, seed, is_one_sided=is_one_sided)
    slope, offset = (1.0, 0.0) if is_one_sided else _platt(out_of_fold, y, sample)
    rng = np.random.default_rng(seed)
    refits = [_refit(fit, raw, y, sources, units, centres, rng) for _ in range(members)]
    return {
        "channel": rows[0].channel,
        "weights": dict(zip(branches, (weights * slope).tolist(), strict=True)),
        "centres": dict(zip(branches, centres.tolist(), strict=True)),
        "intercept": intercept * slope + offset,
        "members": [[(b * slope) + offset, *(w * slope).tolist()] for b, w in refits],
        "is_one_sided": is_one_sided,
        "ood": _open_set(rows, branches),
        "metrics": measure(y, _sigmoid(out_of_fold * slope + offset), units, rounds=500 if members else 100)
        | {"sources": len(set(sources)), "branches_alone": _alone(rows, branches)},
    }


def _alone(rows: Sequence[Row], branches: Sequence[str]) -> dict[str, float]:
    """Return each branch's AUROC by itself, over the rows where it spoke."""
    found = {b: [(r.label, r.logits[b]) for r in rows if b in r.logits] for b in branches}
    return {b: metrics.auroc(*zip(*pairs, strict=True)) for b, pairs in found.items()}


def fit_logistic(x: Floats, y: NDArray[np.int64], sample: Floats, ridge: float | None = None) -> tuple[float, Floats]:
    """Return (intercept, weights >= 0) of a ridge logistic regression.

    x: (n, b); y: (n,) of 0 and 1; sample: (n,) weights that sum to 1.
    """

    penalty = RIDGE if ridge is None else ridge

    def loss(theta: Floats) -> tuple[float, Floats]:
        z = theta[0] + x @ theta[1:]
        p = _sigmoid(z)
        value = float(sample @ (np.logaddexp(0, z) - y * z)) + penalty / 2 * float(theta[1:] @ theta[1:])
        error = sample * (p - y)
        return value, np.concatenate([[error.sum()], error @ x + penalty * theta[1:]])

    start = np.concatenate([[0.0], np.full(x.shape[1], 0.5)])
    bounds = [(None, None)] + [(0, None)] * x.shape[1]
    theta = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return float(theta[0]), np.asarray(theta[1:], float)


def measure(
    y: NDArray[np.int64], scores: Floats, groups: Sequence[str] | Names, *, rounds: int = 500
) -> dict[str, Any]:
    """Return AUROC with a 95 % interval over sources, EER and ECE."""
    low, high = metrics.bootstrap_ci(y, scores, groups=list(groups), rounds=rounds)
    return {
        "n": len(y),
        "n_fake": int(y.sum()),
        "auroc": metrics.auroc(y, scores),
        "auroc_ci": [low, high],
        "eer": metrics.eer(y, scores),
        "ece": metrics.ece(y, scores),
    }


def choose_thresholds(y: NDArray[np.int64], scores: Floats, *, max_fpr: float, max_fnr: float) -> dict[str, float]:
    """Return {"fake", "real"} such that few genuine items reach "fake" and few fakes pass as "real".

    Never a "fake" below an even chance, never a "real" above it.
    """
    reals, fakes = np.sort(scores[y == 0]), np.sort(scores[y == 1])
    fake_at = float(np.quantile(reals, 1 - max_fpr)) if len(reals) else 0.9
    real_below = float(np.quantile(fakes, max_fnr)) if len(fakes) else 0.1
    return {"fake": round(min(max(fake_at, 0.5), 0.95), 3), "real": round(max(min(real_below, 0.5), 0.05), 3)}


def fit_even(raw: Floats, y: NDArray[np.int64], sources: Names, centres: Floats) -> tuple[float, Floats]:
    """Return (intercept, weights) of a one-sided domain that no fit has chosen: few sources choose badly.

    Every branch weighs alike in units of its spread, and the mean item, both classes alike, has an even chance. Fitted
    weights and intercepts lean against the sources left out (docs/experiments/faces.md). Source: Dawes 1979, The robust
    beauty of improper linear models in decision making.
    """
    spread = np.nanstd(raw, axis=0)
    weights = np.divide(EVEN_SLOPE, spread, out=np.zeros_like(spread), where=spread > 0)
    return -float(balance(y, sources) @ _offsets(raw, centres, is_one_sided=True) @ weights), weights


def _fit_weights(raw: Floats, y: NDArray[np.int64], sources: Names, centres: Floats) -> tuple[float, Floats]:
    return fit_logistic(_offsets(raw, centres, is_one_sided=False), y, balance(y, sources))


def _offsets(raw: Floats, centres: Floats, *, is_one_sided: bool) -> Floats:
    """Return (n, b) distances from the centres as the engine takes them, missing branches at zero."""
    x = np.nan_to_num(raw - centres, nan=0.0)
    return np.maximum(x, 0.0) if is_one_sided else x


def _design(rows: Sequence[Row], branches: Sequence[str]) -> tuple[Floats, NDArray[np.int64]]:
    """Return (n, b) bounded log-odds, nan where a branch did not run, and labels."""
    y = np.array([r.label for r in rows])
    if y.min() == y.max():
        raise ValueError("stacking needs real and fake rows")
    raw = np.array([[r.logits.get(b, np.nan) for b in branches] for r in rows], float)
    return np.clip(raw, -MAX_ABS_LOGIT, MAX_ABS_LOGIT), y


def _centres(raw: Floats, y: NDArray[np.int64]) -> Floats:
    """Return (b,) means of the branches, both classes counted alike."""
    return np.array([np.mean([np.nanmean(column[y == c]) for c in (0, 1)]) for column in raw.T])


def balance(y: NDArray[np.int64], groups: Names) -> Floats:
    """Return sample weights: both classes half, and within a class a source of n items counts sqrt(n)."""
    weights = np.zeros(len(y))
    g = np.asarray(groups)
    for label in (0, 1):
        for group in set(g[y == label]):
            inside = (y == label) & (g == group)
            weights[inside] = 1 / np.sqrt(inside.sum())
        weights[y == label] *= 0.5 / weights[y == label].sum()
    return weights


def _cross_predict(
    fit: Fit, raw: Floats, y: NDArray[np.int64], sources: Names, units: Names, seed: int, *, is_one_sided: bool
) -> Floats:
    """Return (n,) log-odds of each row by a fit that never saw its source (its subject, where sources are few)."""
    centres = _centres(raw, y)
    keys = sources if len(set(sources)) >= MANY_SOURCES else units
    names = np.random.default_rng(seed).permutation(sorted(set(keys)))
    out = np.zeros(len(y))
    for fold in range(FOLDS):
        held = np.isin(keys, names[fold::FOLDS])
        rest = ~held if len(set(y[~held])) == 2 else np.ones(len(y), bool)
        intercept, weights = fit(raw[rest], y[rest], sources[rest], centres)
        out[held] = intercept + _offsets(raw[held], centres, is_one_sided=is_one_sided) @ weights
    return out


def _platt(logits: Floats, y: NDArray[np.int64], sample: Floats) -> tuple[float, float]:
    """Return (slope, offset) that calibrate out-of-fold log-odds; the slope is kept between 0.3 and 2."""
    offset, slope = fit_logistic(logits[:, None], y, sample, ridge=PLATT_RIDGE)
    return float(np.clip(slope[0], 0.3, 2.0)), float(np.clip(offset, -2, 2))


def _refit(
    fit: Fit,
    raw: Floats,
    y: NDArray[np.int64],
    sources: Names,
    units: Names,
    centres: Floats,
    rng: np.random.Generator,
) -> tuple[float, Floats]:
    names = sorted(set(units))
    rows_of = {name: np.flatnonzero(units == name) for name in names}
    while True:
        index = np.concatenate([rows_of[name] for name in rng.choice(names, len(names))])
        if len(set(y[index])) == 2:
            return fit(raw[index], y[index], sources[index], centres)


def _open_set(rows: Sequence[Row], branches: Sequence[str]) -> dict[str, Any] | None:
    """Return mean, precision and limit of the Mahalanobis distance over rows where every branch spoke."""
    full = np.array([[r.logits[b] for b in branches] for r in rows if all(b in r.logits for b in branches)], float)
    if len(full) < 20 * len(branches) or len(branches) < 2:
        return None
    mean = full.mean(axis=0)
    precision = np.linalg.inv(np.cov(full.T) + 0.1 * np.eye(len(branches)))
    gap = full - mean
    distance = np.einsum("ni,ij,nj->n", gap, precision, gap)
    return {
        "mean": mean.tolist(),
        "precision": precision.tolist(),
        "limit": float(np.quantile(distance, OOD_QUANTILE) * OOD_MARGIN),
    }


def _sigmoid(z: Floats) -> Floats:
    return 1 / (1 + np.exp(-np.clip(z, -50, 50)))
