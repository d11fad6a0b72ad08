"""The speech head: weighted ridge-penalised logistic regression, judged on sources and systems left out together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detection.training.audio_features import Clip

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Head:
    """logit = ((features - mean) * scale) @ weight + bias."""

    mean: Floats
    scale: Floats
    weight: Floats
    bias: float

    def __call__(self, features: Floats) -> Floats:
        return np.asarray((features - self.mean) * self.scale @ self.weight + self.bias, np.float32)


def fit(features: Floats, labels: NDArray[np.int64], weights: NDArray[np.float64], c: float) -> Head:
    """features: (n, d); labels: (n,) with 1 = fake; weights: (n,) of mean 1. c: inverse penalty."""
    from sklearn.linear_model import LogisticRegression

    mean = features.mean(0)
    scale = 1 / (features.std(0) + 1e-3)
    model = LogisticRegression(C=c, max_iter=150, tol=1e-3)
    model.fit((features - mean) * scale, labels, sample_weight=weights)
    return Head(mean, scale, model.coef_[0].astype(np.float32), float(model.intercept_[0]))


def source_weights(
    clips: Sequence[Clip], power: float, kind_weight: Mapping[str, float], system_power: float = 0.0
) -> NDArray[np.float64]:
    """Return (n,) weights of mean 1: each source counts n ** (1 - power) within its class, both classes alike.

    Among the fakes a synthesizer of n clips counts n ** (1 - system_power) besides, wherever it was published.
    """
    keys = [(c.source, c.is_fake) for c in clips]
    sizes, systems = Counter(keys), Counter(c.system for c in clips if c.is_fake)
    weights = np.array([sizes[k] ** -power * kind_weight.get(c.kind, 1.0) for k, c in zip(keys, clips, strict=True)])
    weights *= [systems[c.system] ** -system_power if c.is_fake else 1.0 for c in clips]
    fake = np.array([c.is_fake for c in clips])
    for side in (fake, ~fake):
        weights[side] /= weights[side].sum()
    return np.asarray(weights * len(clips) / 2)


def divide(clips: Sequence[Clip], folds: int, seed: int) -> Rows:
    """Return (n,) fold numbers: whole sources, dealt largest first so that both classes spread evenly."""
    rng = np.random.default_rng(seed)
    totals: dict[str, NDArray[np.float64]] = {}
    for clip in clips:
        totals.setdefault(clip.source, np.zeros(2))[int(clip.is_fake)] += 1
    jitter = {source: rng.uniform(0, 30) for source in sorted(totals)}
    filled = np.zeros((folds, 2))
    fold_of = {}
    for source in sorted(totals, key=lambda s: jitter[s] - totals[s].sum()):
        costs = [np.square(filled + np.eye(folds)[i][:, None] * totals[source]).sum() for i in range(folds)]
        fold_of[source] = int(np.argmin(costs))
        filled[fold_of[source]] += totals[source]
    return np.array([fold_of[clip.source] for clip in clips])


def sides(clips: Sequence[Clip], fold_of: Rows, fold: int, learn_only: Container[str] = ()) -> tuple[Rows, Rows]:
    """Return (rows to learn from, rows to judge); a judged system is not learnt from, whoever published it.

    Clips of a kind in learn_only are never judged, and learnt from unless their source is.
    """
    counted = np.array([c.kind not in learn_only for c in clips])
    inside = fold_of == fold
    judged = {c.system for c, is_judged in zip(clips, inside & counted, strict=True) if is_judged and c.is_fake}
    learn = [i for i, c in enumerate(clips) if not inside[i] and not (c.is_fake and c.system in judged)]
    if len({clips[i].is_fake for i in learn}) < 2:
        raise ValueError("too few sources: without those of one fold, genuine or fake speech is missing")
    return np.array(learn), np.flatnonzero(inside & counted)


def whitening(features: Floats, head: Head, size: int) -> tuple[Floats, Floats]:
    """Return (size, d) and (size,): a map of standardised features to whitened principal coordinates.

    Scaled so that a vector of length 1 lies half as far again as all but 0.5 % of these features.
    """
    standard = (features - head.mean) * head.scale
    centre = standard.mean(0)
    _, singular, axes = np.linalg.svd(standard - centre, full_matrices=False)
    size = min(size, len(singular))
    matrix = axes[:size] / (singular[:size, None] / np.sqrt(len(features)) + 1e-6)
    reach = 1.5 * np.percentile(np.linalg.norm((standard - centre) @ matrix.T, axis=1), 99.5)
    return (matrix / reach).astype(np.float32), (-matrix @ centre / reach).astype(np.float32)


def calibration(logits: Floats, labels: NDArray[np.int64], weights: NDArray[np.float64]) -> tuple[float, float]:
    """Return (temperature, bias) so that sigmoid(logit / temperature + bias) is the rate of fakes (Platt scaling)."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1e3).fit(logits[:, None], labels, sample_weight=weights)
    return float(1 / max(model.coef_[0, 0], 1e-3)), float(model.intercept_[0])
