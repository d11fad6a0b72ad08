"""A linear head on frozen texture statistics: weighted ridge regression, solved from its moments."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve
from scipy.linalg.blas import ssyrk

from detection.engine.branches.synthesis_net import REACH

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scale:
    """Where statistics lie: what the net subtracts and divides by before its head."""

    mean: Floats
    spread: Floats

    @classmethod
    def of(cls, features: Floats) -> Scale:
        return cls(features.mean(0), features.std(0) + np.float32(1e-4))

    def __call__(self, features: Floats) -> Floats:
        return np.asarray(np.clip((features - self.mean) / self.spread, -REACH, REACH), np.float32)


@dataclass(frozen=True, eq=False)
class Head:
    """A linear head on scaled statistics."""

    weight: Floats  # (d,)
    bias: float

    def __call__(self, scaled: Floats) -> Floats:
        return np.asarray(scaled @ self.weight + self.bias, dtype=np.float32)


class Moments:
    """The weighted moments of rows, all that a ridge regression needs of them; (features, labels, weights) at a time.

    A linear fit to -1 and 1 ranks as a logistic one does here and takes a second instead of minutes.
    """

    def __init__(self, parts: Iterable[tuple[Floats, NDArray[np.bool_], Doubles]]) -> None:
        self.square: Doubles | float = 0.0  # its upper triangle: the other half would be the same, at twice the work
        self.product: Doubles | float = 0.0
        for features, labels, weights in parts:
            roots = np.sqrt(weights)[:, None].astype(np.float32)
            rows = np.hstack([features, np.ones((len(features), 1), np.float32)]) * roots
            self.square = self.square + ssyrk(1.0, rows, trans=1).astype(np.float64)
            self.product = self.product + (rows.T @ np.where(labels, roots[:, 0], -roots[:, 0])).astype(np.float64)

    def solve(self, strength: float) -> Head:
        """Return the head; `strength` (lambda) pulls all weights but the bias towards nought."""
        square = np.asarray(self.square)
        pull = np.full(len(square), strength)
        pull[-1] = 1e-3
        found = solve(square + np.diag(pull), np.asarray(self.product), assume_a="pos", lower=False)
        return Head(found[:-1].astype(np.float32), float(found[-1]))
