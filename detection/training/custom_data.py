"""Files of a manifest as batches for the generic trainer: loaded, worn, drawn evenly over sources."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from detection.training import audio_augment, audio_features, augment, splits
from detection.training.architectures import Architecture

ENDINGS = {
    "image": {".jpg", ".jpeg", ".png", ".webp", ".bmp"},
    "video": {".mp4", ".mov", ".webm", ".mkv", ".avi"},
    "audio": {".wav", ".flac", ".mp3", ".ogg", ".m4a", ".opus"},
}

Array = NDArray[Any]


@dataclass(frozen=True)
class Item:
    """One labelled file."""

    path: Path
    is_fake: bool
    split: str
    source: str
    method: str
    group: str


def read_items(manifests: Sequence[Path], task: str) -> list[Item]:
    """Return the files of a task. Raises ValueError when the training rows lack a class."""
    items = []
    for manifest in manifests:
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
        for row, split in zip(rows, splits.assign(rows), strict=True):
            path = manifest.parent / row["path"]
            if row["label"] in ("real", "fake") and path.suffix.lower() in ENDINGS[task]:
                source, method = row.get("source_repo", ""), row.get("method") or row.get("system") or ""
                items.append(Item(path, row["label"] == "fake", split, source, method, splits.bootstrap_group(row)))
    if len({item.is_fake for item in items if item.split == "train"}) < 2:
        raise ValueError(f"The manifests hold no real and fake {task} files of training sources.")
    return items


class Loader:
    """Loads an item as a net wants it. wear: how often a training item is worn, both classes alike."""

    def __init__(self, architecture: Architecture, *, frame_step: int = 2) -> None:
        self.net, self.frame_step = architecture, frame_step

    def __call__(self, item: Item, rng: np.random.Generator | None = None, wear: float = 0.0) -> Array:
        """Return a picture (size, size, 3) uint8, a clip (frames, size, size, 3) uint8 or speech (size,) float32.

        rng: draws the excerpt and the wear; None takes the middle, untouched.
        """
        if self.net.task == "audio":
            return self._speech(item.path, rng, wear)
        frames = [_picture(item.path)] if self.net.task == "image" else self._frames(item.path, rng)
        return self._worn(frames, rng, wear)

    def batch(self, loaded: Sequence[Array]) -> Tensor:
        """Return loaded items as the net's float batch."""
        stacked = torch.from_numpy(np.stack(loaded))
        if self.net.task == "audio":
            return stacked
        pixels = stacked.movedim(-1, -3).float()
        pixels = pixels.flip(-3) if self.net.is_bgr else pixels
        mean, std = (torch.tensor(v).reshape(3, 1, 1) for v in (self.net.mean, self.net.std))
        return (pixels - mean) / std

    def _worn(self, frames: Sequence[Array], rng: np.random.Generator | None, wear: float) -> Array:
        size = self.net.size
        images = [
            np.asarray(cv2.resize(_square(f), (size, size), interpolation=cv2.INTER_AREA), np.uint8) for f in frames
        ]
        if rng is not None and rng.random() < wear:
            drawn = augment.draw_wear(rng)
            images = [augment.apply(image, drawn) for image in images]
        return np.stack(images) if self.net.task == "video" else images[0]

    def _frames(self, path: Path, rng: np.random.Generator | None) -> list[Array]:
        import av

        with av.open(str(path)) as container:
            frames = [f.to_ndarray(format="rgb24") for f in container.decode(container.streams.video[0])]
        if not frames:
            raise ValueError(f"{path} has no frames")
        wanted = self.net.frames * self.frame_step
        room = max(0, len(frames) - wanted)
        start = int(rng.integers(room + 1)) if rng is not None else room // 2
        chosen = np.minimum(start + np.arange(0, wanted, self.frame_step), len(frames) - 1)
        return [frames[i] for i in chosen]

    def _speech(self, path: Path, rng: np.random.Generator | None, wear: float) -> Array:
        samples = audio_features.load(path)
        if len(samples) == 0:
            raise ValueError(f"{path} has no sound")
        room = max(0, len(samples) - self.net.size)
        start = int(rng.integers(room + 1)) if rng is not None else room // 2
        cut = np.resize(samples[start : start + self.net.size], self.net.size).astype(np.float32)
        if rng is not None and rng.random() < wear:
            cut = audio_augment.random_channel(cut, rng)[0].astype(np.float32)
        return cut


def _picture(path: Path) -> Array:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{path} cannot be read as a picture")
    return np.ascontiguousarray(image[..., ::-1])


def _square(image: Array) -> Array:
    """The largest square in the middle: shapes are not evidence."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return np.ascontiguousarray(image[top : top + side, left : left + side])


class Draw:
    """Which items come next: half real, half fake; within a class a source of n files weighs n ** (1 - power).

    hardness: items that were judged wrongly come more often, by up to this factor more (0: never).
    """

    def __init__(self, items: Sequence[Item], power: float, hardness: float = 0.0) -> None:
        self.items, self.hardness = items, hardness
        counts = Counter((item.source, item.is_fake) for item in items)
        self.weight = np.array([counts[item.source, item.is_fake] ** -power for item in items])
        self.loss = np.full(len(items), np.nan)

    def indices(self, count: int, rng: np.random.Generator) -> list[int]:
        fakes = np.array([item.is_fake for item in self.items])
        chosen: list[int] = []
        for is_fake in (False, True):
            members = np.flatnonzero(fakes == is_fake)
            share = self.weight[members] * (1 + self.hardness * self._wrongness(members))
            chosen += list(rng.choice(members, count // 2, p=share / share.sum()))
        return [int(i) for i in rng.permutation(chosen)]

    def learnt(self, indices: Sequence[int], losses: Sequence[float]) -> None:
        for index, loss in zip(indices, losses, strict=True):
            before = self.loss[index]
            self.loss[index] = loss if np.isnan(before) else 0.7 * before + 0.3 * loss

    def _wrongness(self, members: NDArray[np.int64]) -> NDArray[np.float64]:
        """0 for what is known, towards 1 for what is judged wrongly; not met yet counts as half."""
        losses = self.loss[members]
        return np.where(np.isnan(losses), 0.5, np.tanh(np.nan_to_num(losses)))


def counts(items: Sequence[Item]) -> Mapping[str, int]:
    """Return how many real and fake items each split has."""
    found = Counter(f"{item.split}/{'fake' if item.is_fake else 'real'}" for item in items)
    return dict(sorted(found.items()))
