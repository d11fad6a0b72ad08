"""The speech head: ridge-penalised logistic regressions, one a channel, and a gate that hears which channel it was.

A single head must give up what a telephone or a low bit rate removes, or rely on what is no longer there. Judged on
sources and systems left out together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.special import softmax

from detection.training.audio_features import Clip

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Head:
    """logit = sum over channels of share * head, where shares = softmax(gate); all of standardised features.

    weight: (channels, d); gate: (channels, g) of the first g features.
    """

    mean: Floats
    scale: Floats
    weight: Floats
    bias: Floats
    gate: Floats
    gate_bias: Floats

    def __call__(self, features: Floats) -> Floats:
        standard = (features - self.mean) * self.scale
        share = softmax(standard[:, : self.gate.shape[1]] @ self.gate.T + self.gate_bias, axis=1)
        return np.asarray((share * (standard @ self.weight.T + self.bias)).sum(1), np.float32)


@dataclass(frozen=True)
class Penalties:
    """How strongly heads and gate are regularised, and how sure the gate may be."""

    c: float  # inverse ridge penalty of the heads
    gate_c: float = 0.001  # and of the gate
    gate_softness: float = 1.0  # temperature of the gate
    gated: int = 640  # first features that the gate hears: the log-mel statistics
    components: int = 600  # principal directions of the clean features in which the heads are fitted


def fit(views: Sequence[Floats], labels: NDArray[np.int64], weights: NDArray[np.float64], penalties: Penalties) -> Head:
    """views: (n, d) of the same clips, untouched first, then through one channel each; labels: (n,) with 1 = fake.

    weights: (n,) of mean 1. The gate never sees a label, and hears every clip through every channel.
    """
    from sklearn.linear_model import LogisticRegression

    mean = views[0].mean(0)
    scale = 1 / (views[0].std(0) + 1e-3)
    basis = _directions((views[0] - mean) * scale, penalties.components)
    weight, bias = [], []
    for view in views:
        model = LogisticRegression(C=penalties.c, max_iter=300)
        model.fit((view - mean) * scale @ basis, labels, sample_weight=weights)
        weight.append(basis @ model.coef_[0])
        bias.append(model.intercept_[0])
    heard = [((view - mean) * scale)[:, : penalties.gated] for view in views]
    gate, gate_bias = _gate(heard, weights, penalties)
    arrays = (np.array(weight), np.array(bias), gate, gate_bias)
    return Head(mean, scale, *(np.asarray(a, np.float32) for a in arrays))


def _directions(standard: Floats, count: int) -> Floats:
    """Return (d, count): the principal directions. Ridge hardly moves along others, and they cost most of the time."""
    n = len(standard)
    values, vectors = eigh(standard @ standard.T, subset_by_index=(max(0, n - count), n - 1))
    kept = values >= 1e-5 * values[-1]
    return np.asarray(standard.T @ (vectors[:, kept] / np.sqrt(np.maximum(values[kept], 1e-9))), np.float32)


def _gate(
    heard: Sequence[Floats], weights: NDArray[np.float64], penalties: Penalties
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (channels, g) and (channels,): which channel a clip went through, whatever its label."""
    from sklearn.linear_model import LogisticRegression

    count = len(heard)
    if count == 1:
        return np.zeros((1, heard[0].shape[1])), np.zeros(1)
    names = np.repeat(np.arange(count), len(heard[0]))
    model = LogisticRegression(C=penalties.gate_c, max_iter=300)
    model.fit(np.concatenate(heard), names, sample_weight=np.tile(weights, count))
    coefficients, intercepts = model.coef_, model.intercept_
    if count == 2:  # one row then stands for the second against the first
        coefficients, intercepts = (np.concatenate([0 * a, a]) for a in (coefficients, intercepts))
    return coefficients / penalties.gate_softness, intercepts / penalties.gate_softness


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
