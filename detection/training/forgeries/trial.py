"""Do classical swaps and warped expressions teach more than self-blending? A linear probe on a frozen backbone says.

    python -m detection.training.forgeries.trial --faces DATA/faces/manifest.csv --clips DATA/clips/manifest.csv \
        --cache var/cache --out trial.json

Trained on stills of photo sources alone; judged on swaps, reenactments and lip-sync of other sources.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from detection.training import augment, blending, metrics
from detection.training.datasets import Item, Patches, load_patches, serving_crop
from detection.training.face_baselines import frozen_probe, logistic
from detection.training.face_pairs import build_net
from detection.training.forgeries import clip_chains, expressions, swaps
from detection.training.forgeries.forged import Image, NotForgeable

Floats = NDArray[np.float64]

SIZE = 160
FRAMES_PER_CLIP = 4
DONORS = 8
SETS = {
    "self_blend": ("self_blend",),
    "face_swap": ("face_swap",),
    "expression": ("expression",),
    "self_blend + face_swap": ("self_blend", "face_swap"),
    "self_blend + expression": ("self_blend", "expression"),
    "all three": ("self_blend", "face_swap", "expression"),
}
JUDGED = ("faceswap", "reenactment", "lipsync")


def fakes_of(patches: Patches, row: int, pool: NDArray[np.int64], rng: np.random.Generator) -> dict[str, Image]:
    """Return one fake of each kind, made from the same real face."""
    image, points = np.asarray(patches.images[row]), patches.points[row]
    donors = rng.choice(pool, DONORS)
    donors = donors[[patches.items[patches.owner[d]].group != patches.items[patches.owner[row]].group for d in donors]]
    donor = min(donors, key=lambda other: blending.shape_distance(patches.points[other], points))
    _, blended, _ = blending.self_blend(image, points, blending.draw_change(rng))
    recipe = swaps.draw_recipe(rng)
    swapped = swaps.face_swap(image, points, np.asarray(patches.images[donor]), patches.points[donor], recipe)
    expressed = expressions.express(image, points, expressions.draw_recipe(rng))
    return {"self_blend": blended, "face_swap": swapped.image, "expression": expressed.image}


def training_crops(patches: Patches, count: int, seed: int) -> dict[str, NDArray[np.uint8]]:
    """Return crops of `count` real stills and of the fakes made of them, cut, coded and worn alike."""
    rng = np.random.default_rng(seed)
    rows = np.array([r for r in np.flatnonzero(patches.has_points) if _is_photo(patches, int(r))])
    sources = np.array([patches.items[patches.owner[r]].source for r in rows])
    names, sizes = np.unique(sources, return_counts=True)
    share = dict(zip(names, 1 / np.sqrt(sizes), strict=True))
    odds = np.array([share[s] for s in sources])
    crops: dict[str, list[Image]] = {"real": [], "self_blend": [], "face_swap": [], "expression": []}
    for row in rng.choice(rows, count, replace=False, p=odds / odds.sum()):
        same = rows[sources == patches.items[patches.owner[row]].source]
        try:
            made = {"real": np.asarray(patches.images[row]), **fakes_of(patches, int(row), same, rng)}
        except (NotForgeable, ValueError):
            continue
        wear = augment.draw_wear(rng)
        coding = clip_chains.draw(rng, ("h264",)) if rng.random() < 0.5 else None
        for name, image in made.items():
            coded = clip_chains.recode(image[None], 25, coding)[0][0] if coding else image
            crops[name].append(augment.apply(serving_crop(coded, SIZE), wear))
    return {name: np.stack(images) for name, images in crops.items()}


def _is_photo(patches: Patches, row: int) -> bool:
    item = patches.items[patches.owner[row]]
    return not item.is_fake and "DeepFaceLive" not in item.source and item.source not in HELD_OUT_STILLS


HELD_OUT_STILLS = {
    "somanchiu/ReSwapper", "neuralchen/SimSwap", "ai-forever/ghost", "KwaiVGI/LivePortrait",
    "liveportrait/liveportrait.github.io",
}  # fmt: skip


def judged_items(patches: Patches) -> list[tuple[int, NDArray[np.int64]]]:
    """Return (item, up to four rows of it, spread over its time) for everything that is judged."""
    found = []
    for number, item in enumerate(patches.items):
        rows = patches.of(number)
        if len(rows) and (not item.is_fake or item.manipulation in JUDGED):
            found.append((number, rows[np.linspace(0, len(rows) - 1, min(len(rows), FRAMES_PER_CLIP)).astype(int)]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=Path, required=True)
    parser.add_argument("--clips", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=500, help="real faces to train on")
    parser.add_argument("--strength", type=float, default=0.01, help="inverse of the probe's regularisation")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    stills, clips = (load_patches([manifest], given.cache) for manifest in (given.faces, given.clips))
    config = {"arch": "tf_efficientnet_lite0", "input_size": SIZE, "pretrained": "package", "mean": 127.0, "std": 128.0}
    describe = frozen_probe(build_net(config).backbone.eval(), config)
    crops = training_crops(stills, given.count, given.seed)
    train = {name: _described(describe, images) for name, images in crops.items()}
    judged = judged_items(clips)
    views = []
    for _, rows in judged:
        cuts = np.stack([serving_crop(np.asarray(clips.images[r]), SIZE) for r in rows])
        views.append(describe(cuts).mean(axis=0))
    items = [clips.items[number] for number, _ in judged]
    logits = {name: _logits(train, kinds, np.stack(views), given.strength) for name, kinds in SETS.items()}
    result = {name: compared(items, scores, logits["self_blend"]) for name, scores in logits.items()}
    settings = {"faces": len(crops["real"]), "seed": given.seed, "strength": given.strength}
    given.out.write_text(json.dumps(settings | {"sets": result}, indent=1) + "\n")


def _described(describe: Any, images: NDArray[np.uint8]) -> Floats:
    return np.concatenate([describe(images[i : i + 32]) for i in range(0, len(images), 32)])


def _logits(train: dict[str, Floats], kinds: tuple[str, ...], views: Floats, strength: float) -> Floats:
    reals, fakes = train["real"], np.concatenate([train[kind] for kind in kinds])
    labels = [False] * len(reals) + [True] * len(fakes)
    return logistic(np.concatenate([reals, fakes]), labels, views, strength)


def compared(items: Sequence[Item], scores: Floats, reference: Floats) -> dict[str, Any]:
    """Return, per manipulation, AUROC against all reals and against reals of the same sources, and what it gained.

    Only the second is free of what tells the sources apart. Intervals: bootstrap over subjects; the gain over
    `reference` is drawn in pairs.
    """
    found = {}
    for wanted in JUDGED:
        homes = {item.source for item in items if item.manipulation == wanted and item.is_fake}
        for name, sources in (("all reals", None), ("same sources", homes)):
            rows = np.array([i for i, item in enumerate(items) if _counts(item, wanted, sources)])
            found[f"{wanted}, {name}"] = _compared_rows([items[i] for i in rows], scores[rows], reference[rows])
    return found


def _counts(item: Item, wanted: str, homes: set[str] | None) -> bool:
    return item.manipulation == wanted if item.is_fake else homes is None or item.source in homes


def _compared_rows(items: Sequence[Item], scores: Floats, reference: Floats) -> dict[str, Any]:
    labels, groups = [item.is_fake for item in items], [item.group for item in items]

    def gain(y: ArrayLike, drawn: ArrayLike) -> float:
        rows = np.asarray(drawn, int)
        return metrics.auroc(y, scores[rows]) - metrics.auroc(y, reference[rows])

    def rounded(values: Iterable[float]) -> list[float]:
        return [round(value, 3) for value in values]

    numbers = np.arange(len(items))
    return {
        "fakes": int(sum(labels)),
        "reals": len(labels) - int(sum(labels)),
        "auroc": round(metrics.auroc(labels, scores), 3),
        "ci": rounded(metrics.bootstrap_ci(labels, scores, groups=groups)),
        "gain": round(gain(labels, numbers), 3),
        "gain_ci": rounded(metrics.bootstrap_ci(labels, numbers, metric=gain, groups=groups)),
    }


if __name__ == "__main__":
    main()
