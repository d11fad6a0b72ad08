"""Fits the synthesis net: a strongly regularised head on the texture statistics of a frozen ImageNet body."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from detection.engine import patches
from detection.engine.branches.synthesis_net import SynthesisNet
from detection.training import picture_runs
from detection.training.imagenet import MEAN, STD, load_pretrained
from detection.training.pictures import Picture, crop, disturb, read_items, read_rgb, source_weights, thinned

log = logging.getLogger(__name__)

DISTURBED_COPIES = 2
Floats = NDArray[np.float32]


def train(config: Mapping[str, Any], data: list[Path], out: Path) -> dict[str, Any]:
    """Fit, calibrate and measure; write net.pt into out. Returns the run record."""
    torch.set_num_threads(config.get("threads", 1))
    items = read_items(data)
    net = SynthesisNet().eval()
    load_pretrained(net)
    pairs = picture_runs.reconstruction_pairs(items["train"], config)
    log.info("%d pictures and %d reconstruction pairs to learn from", len(items["train"]), len(pairs))
    features = picture_features(net, thinned(items["train"]), config)
    set_head(net, *joined(features, pair_features(net, pairs, config), config["pair_share"]), config["strength"])
    torch.save(net.state_dict(), out / "net.pt")
    scores = {
        split: picture_runs.score(net, items[split], config["crop_px"], MEAN, STD) for split in ("calibration", "test")
    }
    record = {"config": dict(config), "learnt_from": len(features[0]), "pairs": len(pairs)}
    return record | picture_runs.assess(items, scores["calibration"], scores["test"])


def picture_features(
    net: SynthesisNet, items: Sequence[Picture], config: Mapping[str, Any]
) -> tuple[Floats, NDArray[np.bool_], NDArray[np.float64]]:
    """Return features, labels and weights of every picture as it is and disturbed; balanced over the sources."""
    rng = np.random.default_rng(config["seed"])
    rows = [statistics(net, _copies(read_rgb(item.path), rng, config["crop_px"])) for item in items]
    copies = 1 + DISTURBED_COPIES
    labels = np.repeat([item.is_fake for item in items], copies)
    return np.concatenate(rows), labels, np.repeat(source_weights(items), copies)


def pair_features(
    net: SynthesisNet, pairs: Sequence[tuple[Path, Path]], config: Mapping[str, Any]
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return features and labels of reconstruction pairs; the two of a pair are disturbed alike."""
    rng = np.random.default_rng(config["seed"] + 1)
    rows, labels = [np.empty((0, net.head.in_features), np.float32)], []
    for pair in pairs:
        seed = int(rng.integers(2**31))
        for is_fake, path in enumerate(pair):
            rows.append(statistics(net, _copies(read_rgb(path), np.random.default_rng(seed), config["crop_px"])))
            labels += [bool(is_fake)] * len(rows[-1])
    return np.concatenate(rows), np.array(labels, dtype=bool)


def joined(
    pictures: tuple[Floats, NDArray[np.bool_], NDArray[np.float64]],
    pairs: tuple[Floats, NDArray[np.bool_]],
    pair_share: float,
) -> tuple[Floats, NDArray[np.bool_], NDArray[np.float64]]:
    """Put pictures and pairs together; all pairs weigh `pair_share` times as much as all pictures."""
    each = pair_share * pictures[2].sum() / max(len(pairs[1]), 1)
    return (
        np.concatenate([pictures[0], pairs[0]]),
        np.concatenate([pictures[1], pairs[1]]),
        np.concatenate([pictures[2], np.full(len(pairs[1]), each)]),
    )


def set_head(
    net: SynthesisNet, features: Floats, labels: NDArray[np.bool_], weights: NDArray[np.float64], strength: float
) -> None:
    """Put a logistic regression on standardised features into the net's norm and head."""
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
    model = LogisticRegression(C=strength, max_iter=500)
    model.fit((features - mean) / spread, labels, sample_weight=weights / weights.mean())
    norm = dict(net.norm.named_buffers())
    norm["running_mean"].copy_(torch.from_numpy(mean))
    norm["running_var"].copy_(torch.from_numpy(spread**2 - net.norm.eps).clamp(min=0))
    with torch.no_grad():
        net.head.weight.copy_(torch.from_numpy(model.coef_).float())
        net.head.bias.copy_(torch.from_numpy(model.intercept_).float())


@torch.inference_mode()
def statistics(net: SynthesisNet, crops: Sequence[patches.Image]) -> Floats:
    """Return (n, features) of n crops."""
    batch = torch.from_numpy(patches.to_batch(crops, (MEAN,) * 3, (STD,) * 3))
    return np.asarray(net.statistics(batch)[0].numpy())


def export(run: Path, weights_dir: Path) -> dict[str, Any]:
    """Write the weights of a finished run in the shapes that serve. Returns files with digests and the parity."""
    crop_px = int(json.loads((run / "run.json").read_text())["config"]["crop_px"])
    return picture_runs.export(SynthesisNet(), run / "net.pt", weights_dir, "synthesis", crop_px, MEAN, STD)


def _copies(image: patches.Image, rng: np.random.Generator, size: int) -> list[patches.Image]:
    return [crop(image, size), *(crop(disturb(image, rng), size, rng) for _ in range(DISTURBED_COPIES))]
