"""Pairs of a real picture and a fake with its content, as statistics: what keeps the subject from being the cue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from detection.training import reconstruction, upsampling
from detection.training.picture_features import Cache, Change, Floats, copied, untouched
from detection.training.pictures import Picture, evenly

WAYS = ("transposed", "reconstruction")
LATTICE_SEED, PAIR_SEED = 1, 7  # the two of a pair go through the very same random chain


@dataclass(frozen=True, eq=False)
class Pairs:
    """Statistics of pairs of one way: (n pairs, 2: real and fake, 2: as stored and disturbed, d), and their sources."""

    statistics: Floats
    sources: tuple[str, ...]


def make(items: Sequence[Picture], cache: Cache, config: Mapping[str, Any]) -> dict[str, Pairs]:
    """Return the pairs of each way, writing the pictures below config["pair_cache"] that are not there.

    "reconstruction" needs config["reconstruction_weights"] (a folder), or its pairs in the cache.
    """
    reals = evenly([item for item in items if not item.is_fake], config["pairs_per_source"])
    paths, folder = [item.path for item in reals], Path(config["pair_cache"])
    upsampling.write_pairs(paths, [upsampling.transposed], folder / "transposed", LATTICE_SEED)
    if config.get("reconstruction_weights"):
        reconstruction.write_pairs(paths, Path(config["reconstruction_weights"]), folder / "reconstruction")
    found = {way: _statistics(reals, folder / way, way, cache, config["crop_px"]) for way in WAYS}
    return {way: pairs for way, pairs in found.items() if pairs.sources}


def _statistics(reals: Sequence[Picture], folder: Path, way: str, cache: Cache, crop_px: int) -> Pairs:
    found = [(item, pair) for item in reals if (pair := reconstruction.read_pair(folder, item.path))]
    if not found:
        return Pairs(np.empty((0, 2, 2, 0), np.float32), ())
    names = [item.name for item, _ in found]
    changes: dict[str, Change] = {
        "stored": untouched(crop_px),
        "disturbed": copied("disturbed", PAIR_SEED, crop_px),
        "delivered": copied("delivered", PAIR_SEED, crop_px),
    }
    sides = [
        [
            cache.of_paths(f"{way}-{label}-{change}", [pair[side] for _, pair in found], names, how)
            for change, how in changes.items()
        ]
        for side, label in enumerate(("real", "fake"))
    ]
    return Pairs(np.array(sides, np.float32).transpose(2, 0, 1, 3), tuple(item.source for item, _ in found))
