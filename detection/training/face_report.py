"""What the face nets are worth on sources left out of training, beside the baselines they must beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from detection.training import metrics
from detection.training.datasets import Item, Patches, serving_crop

Floats = NDArray[np.float64]

BLENDED = ("faceswap", "lipsync")  # what a detector of blends is meant for


def judge(net: Any, sets: Sequence[Patches], config: dict[str, Any], split: str) -> dict[str, Any]:
    """AUROC of one split by manipulation, stills and clips apart; `selection` is what early stopping goes by."""
    items, logits = score_items(net, sets, config, split, frames=int(config["eval_frames"]), blended_only=True)
    figures: dict[str, Any] = {}
    parts = []
    for is_clip, name, weight in ((True, "clips", 0.7), (False, "stills", 0.3)):
        chosen = [i for i, item in enumerate(items) if item.is_clip == is_clip]
        value = metrics.auroc([items[i].is_fake for i in chosen], logits[chosen])
        figures[name] = round(value, 4)
        if np.isfinite(value):
            parts.append((value, weight))
    total = sum(weight for _, weight in parts)
    figures["selection"] = sum(value * weight for value, weight in parts) / total if parts else float("nan")
    return figures


def score_items(
    net: Any,
    sets: Sequence[Patches],
    config: dict[str, Any],
    split: str,
    *,
    frames: int,
    blended_only: bool = False,
) -> tuple[list[Item], Floats]:
    """Return the items of a split that have a face, and the mean logit over up to `frames` faces of each."""
    items: list[Item] = []
    logits: list[float] = []
    for patches in sets:
        for number, item in enumerate(patches.items):
            if item.split != split or (blended_only and item.is_fake and item.manipulation not in BLENDED):
                continue
            rows = patches.of(number)
            if len(rows):
                items.append(item)
                logits.append(float(outputs_of(net, patches, spread(rows, frames), config)["logit"].mean()))
    return items, np.asarray(logits)


def spread(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Up to `count` rows, evenly over time."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int))]


@torch.inference_mode()
def outputs_of(net: Any, patches: Patches, rows: NDArray[np.int64], config: dict[str, Any]) -> dict[str, Floats]:
    """Run the net on the serving crops of some patches."""
    from detection.training.spatial import normalise

    size = int(config["input_size"])
    batch = np.stack([serving_crop(np.asarray(patches.images[row]), size) for row in rows])
    outputs = net(normalise(torch.from_numpy(batch), config))
    return {name: value.double().numpy() for name, value in outputs.items()}
