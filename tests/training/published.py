"""Checkpoints in published layouts, filled with numbers that anyone can make again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor


def made_up(shapes: Mapping[str, tuple[int, ...]], seed: int = 7, variance: float = 1.0) -> dict[str, Tensor]:
    """Plausible weights: matrices by fan-in, variances positive, everything else small. Order of keys: sorted."""
    rng = np.random.RandomState(seed)
    state = {}
    for key in sorted(shapes):
        shape = shapes[key]
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(1)
            continue
        values = rng.standard_normal(shape)
        if key.endswith("running_var"):
            values = variance * (0.5 + np.abs(values))
        elif len(shape) > 1:
            values = values / np.sqrt(np.prod(shape[1:]))
        else:
            values = values * 0.1 + (1.0 if key.endswith("weight") else 0.0)
        state[key] = torch.tensor(values, dtype=torch.float32)
    return state


def shapes_of(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in state.items()}


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """A short digest of the names and shapes of a checkpoint."""
    lines = sorted(f"{key} {tuple(value.shape)}" for key, value in state.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


# Layers of the published MesoNet files: Keras name -> shape of its kernel (height, width, in, out) or width of a norm.
MESO4 = {
    "conv2d_5": (3, 3, 3, 8), "batch_normalization_5": 8, "conv2d_6": (5, 5, 8, 8), "batch_normalization_6": 8,
    "conv2d_7": (5, 5, 8, 16), "batch_normalization_7": 16, "conv2d_8": (5, 5, 16, 16), "batch_normalization_8": 16,
    "dense_3": (1024, 16), "dense_4": (16, 1),
}  # fmt: skip
MESOINCEPTION4 = {
    "conv2d_1": (1, 1, 3, 1), "conv2d_2": (1, 1, 3, 4), "conv2d_3": (3, 3, 4, 4), "conv2d_4": (1, 1, 3, 4),
    "conv2d_5": (3, 3, 4, 4), "conv2d_6": (1, 1, 3, 2), "conv2d_7": (3, 3, 2, 2), "batch_normalization_1": 11,
    "conv2d_8": (1, 1, 11, 2), "conv2d_9": (1, 1, 11, 4), "conv2d_10": (3, 3, 4, 4), "conv2d_11": (1, 1, 11, 4),
    "conv2d_12": (3, 3, 4, 4), "conv2d_13": (1, 1, 11, 2), "conv2d_14": (3, 3, 2, 2), "batch_normalization_2": 12,
    "conv2d_15": (5, 5, 12, 16), "batch_normalization_3": 16, "conv2d_16": (5, 5, 16, 16),
    "batch_normalization_4": 16, "dense_1": (1024, 16), "dense_2": (16, 1),
}  # fmt: skip


def keras_arrays(layers: Mapping[str, int | tuple[int, ...]], seed: int = 3) -> dict[str, np.ndarray]:
    """Return {"layer/layer/kind:0": array} as Keras 2 saves it."""
    rng = np.random.RandomState(seed)
    arrays = {}
    for name, shape in layers.items():
        if isinstance(shape, int):
            for kind in ("gamma", "beta", "moving_mean", "moving_variance"):
                arrays[f"{name}/{name}/{kind}:0"] = np.abs(rng.standard_normal(shape)).astype(np.float32) + 0.1
        else:
            scale = np.sqrt(np.prod(shape[:-1]))
            arrays[f"{name}/{name}/kernel:0"] = (rng.standard_normal(shape) / scale).astype(np.float32)
            arrays[f"{name}/{name}/bias:0"] = (rng.standard_normal(shape[-1]) * 0.1).astype(np.float32)
    return arrays


def write_h5(path: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    h5py = pytest.importorskip("h5py", reason="requirements-train.txt")
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return path
