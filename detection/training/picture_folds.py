"""Folds of pictures by whole sources; a judged generator is not learnt from, whoever shows its pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from detection.training.pictures import Picture

Rows = NDArray[np.int64]

# Labels name one generator in many ways; the first pattern of a family that is found decides.
FAMILIES = {
    "FLUX": r"flux",
    "DALL-E 3": r"dall-e 3",
    "SDXL": r"sdxl|stable-diffusion-xl|pony|segmind|ssd-1b|segmoe",
    "Stable Cascade": r"cascade",
    "GPT image": r"gpt-?4o|gpt-image|doubao",
    "Midjourney": r"midjourney",
    "DALL-E mini": r"craiyon|dall-?e[ -]mini",
    "GLIDE": r"glide|glid-3",
    "Stable Diffusion 3": r"stable[ -]diffusion[ -]3|sd3",
    "Stable Diffusion 1, 2": (
        r"stable[ -]diffusion(?![ -]?(3|xl))|stabai|sd1|tiny-sd|juggernaut|dreamshaper|lcm \(sd1\.5"
    ),
    "StyleGAN": r"stylegan",
    "Kolors": r"kolors",
    "HunyuanDiT": r"hunyuan",
    "latent diffusion": r"latent-diffusion",
    "DiT": r"dit-xl",
    "guided pixels": r"disco|majesty",
    "VQGAN": r"pixray|vqgan",
    "Z-Image": r"z-image|zimage|zit-sdnq",
    "Sana": r"sana",
    "Wan": r"wan-ai|wan2",
    "Qwen": r"qwen",
    "Lens": r"microsoft/lens",
    "Cosmos": r"cosmos",
}


def families(generator: str) -> frozenset[str]:
    """Return the generator families that a label names; the label itself when it names none that is known."""
    label = generator.lower()
    return frozenset(name for name, pattern in FAMILIES.items() if re.search(pattern, label)) or frozenset([label])


def divide(items: Sequence[Picture], folds: int, seed: int) -> Rows:
    """Return (n,) fold numbers: whole sources, the largest dealt first, so that kinds and classes spread evenly."""
    rng = np.random.default_rng(seed)
    totals: dict[str, NDArray[np.float64]] = {}
    for item in items:
        column = 2 * (item.kind != "picture") + item.is_fake
        totals.setdefault(item.source, np.zeros(4))[column] += 1
    jitter = {source: rng.uniform(0, 60) for source in sorted(totals)}
    filled = np.zeros((folds, 4))
    fold_of = {}
    for source in sorted(totals, key=lambda name: jitter[name] - totals[name].sum()):
        costs = [np.square(filled + np.eye(folds)[fold][:, None] * totals[source]).sum() for fold in range(folds)]
        fold_of[source] = int(np.argmin(costs))
        filled[fold_of[source]] += totals[source]
    return np.array([fold_of[item.source] for item in items])


def sides(items: Sequence[Picture], fold_of: Rows, fold: int) -> tuple[Rows, Rows]:
    """Return (rows to learn from, rows to judge): no source, generator family or named person is on both sides.

    Raises ValueError when a class is missing from what is left to learn from.
    """
    judged = [item for item, number in zip(items, fold_of, strict=True) if number == fold]
    generators = frozenset().union(*(families(item.generator) for item in judged if item.is_fake))
    people = {person(item) for item in judged} - {""}
    learn = [
        row
        for row, item in enumerate(items)
        if fold_of[row] != fold
        and item.kind != "swap"
        and not (item.is_fake and families(item.generator) & generators)
        and person(item) not in people
    ]
    if len({items[row].is_fake for row in learn}) < 2:
        raise ValueError("Too few sources: without those of one fold, photos or generated pictures are missing.")
    return np.array(learn), np.flatnonzero(fold_of == fold)


def person(item: Picture) -> str:
    """Return the person that a group names across sources, or ""."""
    group = item.group.partition(f"{item.source}/")[2]
    return group if group.startswith("person:") else ""


def source_weights(items: Sequence[Picture], power: float) -> NDArray[np.float64]:
    """Return (n,) weights with mean 1: each source, class and kind by its count to 1 - power, the classes alike."""
    keys = [(item.source, item.is_fake, item.kind) for item in items]
    counts = {key: keys.count(key) for key in set(keys)}
    weights = np.array([float(counts[key]) ** -power for key in keys])
    fakes = np.array([item.is_fake for item in items])
    for side in (fakes, ~fakes):
        weights[side] /= max(weights[side].sum(), 1e-12)
    return weights * len(items) / 2
