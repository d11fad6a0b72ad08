"""Pairs that the face nets learn from: a real face and a fake made of it, cut and worn alike."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from detection.engine.branches.spatial_net import FaceNet
from detection.training import augment, blending, clip_coding
from detection.training.datasets import Patches, serving_crop
from detection.training.imagenet import backbone_state

DONORS = 6  # faces drawn for a swap; the one turned and shaped most alike gives the face
CODED_FRAMES = 3  # encoded together, so that most of what the net sees was predicted from another frame
JPEG_AFTER_CODING = 0.25

Config = dict[str, Any]
Image = NDArray[np.uint8]
Images = NDArray[np.uint8]
Floats = NDArray[np.float32]


def build_net(config: Config) -> FaceNet:
    """Return the net of a configuration with its pretrained backbone."""
    net = FaceNet(config["arch"], int(config["input_size"]))
    source = config.get("pretrained", "none")
    if source == "package":
        net.backbone.load_state_dict(backbone_state(net.backbone, config["arch"]), strict=True)
    elif source == "timm":
        import timm

        whole = timm.create_model(config["arch"], pretrained=True, num_classes=0, global_pool="")
        net.backbone.load_state_dict(whole.state_dict(), strict=True)
    elif source != "none":
        saved = torch.load(source, map_location="cpu", weights_only=True)
        net.load_state_dict(saved.get("ema", saved), strict=True)
    return net


class PairStream(torch.utils.data.IterableDataset):  # type: ignore[type-arg]
    """Endless batches of (2 * pairs, size, size, 3) uint8: the real faces first, then a fake of each, in order."""

    def __init__(self, sets: Sequence[Patches], config: Config, seed: int) -> None:
        self.sets, self.config, self.seed = sets, config, seed
        self.stills = _pool(sets, is_clip=False)
        self.clips = _pool(sets, is_clip=True)
        self.ranges = blending.Ranges.of(config)
        self.seen = _seen_fakes(sets, config.get("seen_manipulations", []))
        if not self.stills and not self.clips:
            raise ValueError("the manifests hold no real face of a training source with landmarks")

    def __iter__(self) -> Iterator[torch.Tensor]:
        cv2.setNumThreads(1)
        rng = np.random.default_rng(self.seed)
        while True:
            pairs = [self.pair(rng) for _ in range(int(self.config["pairs"]))]
            yield torch.from_numpy(np.stack([real for real, _ in pairs] + [fake for _, fake in pairs]))

    def pair(self, rng: np.random.Generator) -> tuple[Image, Image]:
        """One real face and one fake, cut and worn alike."""
        wear = augment.draw_wear(rng)
        if self.seen and rng.random() < self.config.get("seen_fake_share", 0.0):
            real, fake = self._seen_pair(rng)
        else:
            frames = CODED_FRAMES if rng.random() < self.config.get("coded_share", 0.0) else 1
            reals, fakes = self._blended_run(rng, frames)
            if frames > 1:
                coding, shown = clip_coding.draw_coding(rng), int(rng.integers(frames))
                reals, fakes = clip_coding.coded(reals, coding), clip_coding.coded(fakes, coding)
                real, fake = reals[shown], fakes[shown]
                # A frame of a clip is rarely saved as JPEG on top.
                wear = wear if rng.random() < JPEG_AFTER_CODING else replace(wear, qualities=())
            else:
                real, fake = reals[0], fakes[0]
        scale = float(rng.uniform(0.9, 1.12))
        shift = (float(rng.uniform(-0.04, 0.04)), float(rng.uniform(-0.04, 0.04)))
        size = int(self.config["input_size"])
        cuts = [serving_crop(patch, size, scale=scale, shift=shift) for patch in (real, fake)]
        return augment.apply(cuts[0], wear), augment.apply(cuts[1], wear)

    def _blended_run(self, rng: np.random.Generator, frames: int) -> tuple[Images, Images]:
        """(frames, h, w, 3) of one real face and of a fake made of it, blended alike in every frame."""
        from_clips = bool(self.clips) and (not self.stills or rng.random() < self.config["clip_share"])
        pool = self.clips if from_clips else self.stills
        patches, row = _draw(pool, rng)
        images, points = _run_of(patches, row, frames, rng)
        change = blending.draw_change(rng, self.ranges)
        donors = [_draw(pool, rng) for _ in range(DONORS)] if rng.random() < self.config["swap_share"] else []
        donors = [(p, r) for p, r in donors if p is not patches or p.owner[r] != p.owner[row]]  # nobody gets his own
        if donors:
            others, other = min(donors, key=lambda d: blending.shape_distance(d[0].points[d[1]], points[0]))
            donor, theirs = np.asarray(others.images[other]), others.points[other]
            pasted = [
                blending.swap_blend(image, mesh, donor, theirs, change)[0]
                for image, mesh in zip(images, points, strict=True)
            ]
            return images, np.stack(pasted)
        pairs = [blending.self_blend(image, mesh, change) for image, mesh in zip(images, points, strict=True)]
        reals = [real for real, _, _ in pairs]
        if rng.random() < self.config.get("whole_share", 0.0):
            reals = [blending.whole_look(image, change) for image in images]
        return np.stack(reals), np.stack([fake for _, fake, _ in pairs])

    def _seen_pair(self, rng: np.random.Generator) -> tuple[Image, Image]:
        patches, reals, fakes = self.seen[int(rng.integers(len(self.seen)))]
        return np.asarray(patches.images[rng.choice(reals)]), np.asarray(patches.images[rng.choice(fakes)])


def _run_of(patches: Patches, row: int, frames: int, rng: np.random.Generator) -> tuple[Images, Floats]:
    """`frames` neighbouring faces of a clip, or a still that drifts a little, with their landmarks."""
    if frames > 1 and patches.items[patches.owner[row]].is_clip:
        last = len(patches.owner) - 1
        rows = [min(last, max(0, row - i)) for i in range(frames)][::-1]
        if all(patches.owner[r] == patches.owner[row] and patches.has_points[r] for r in rows):
            return np.asarray(patches.images[rows[0] : rows[-1] + 1]), patches.points[rows]
    image, points = np.asarray(patches.images[row]), patches.points[row]
    step = rng.normal(0, 0.7, 2).astype(np.float32)
    images, meshes = [], []
    for number in range(frames):
        move = step * number
        to = np.array([[1, 0, move[0]], [0, 1, move[1]]], np.float32)
        size = (image.shape[1], image.shape[0])
        images.append(cv2.warpAffine(image, to, size, borderMode=cv2.BORDER_REPLICATE) if number else image)
        meshes.append(points + move)
    return np.asarray(np.stack(images), np.uint8), np.stack(meshes).astype(np.float32)


Pool = list[tuple[Patches, NDArray[np.int64], float]]


def _pool(sets: Sequence[Patches], *, is_clip: bool) -> Pool:
    """Real training faces by source, with the share of draws each source gets: the square root of its size."""
    by_source: dict[tuple[int, str], list[int]] = {}
    for number, patches in enumerate(sets):
        usable = patches.has_points
        for row, owner in enumerate(patches.owner):
            item = patches.items[owner]
            if usable[row] and not item.is_fake and item.split == "train" and item.is_clip == is_clip:
                by_source.setdefault((number, item.source), []).append(row)
    total = sum(math.sqrt(len(rows)) for rows in by_source.values())
    return [(sets[n], np.asarray(rows), math.sqrt(len(rows)) / total) for (n, _), rows in sorted(by_source.items())]


def _draw(pool: Pool, rng: np.random.Generator) -> tuple[Patches, int]:
    patches, rows, _ = pool[int(rng.choice(len(pool), p=[share for _, _, share in pool]))]
    return patches, int(rng.choice(rows))


def _seen_fakes(
    sets: Sequence[Patches], manipulations: Sequence[str]
) -> list[tuple[Patches, NDArray[np.int64], NDArray[np.int64]]]:
    """Training sources that hold both classes: (patches, rows of reals, rows of fakes)."""
    found = []
    for patches in sets:
        for source in sorted({item.source for item in patches.items if item.split == "train"}):
            mine = [patches.items[o].source == source and patches.items[o].split == "train" for o in patches.owner]
            fake = [patches.items[o].is_fake and patches.items[o].manipulation in manipulations for o in patches.owner]
            real = [not patches.items[o].is_fake for o in patches.owner]
            reals, fakes = np.flatnonzero(np.array(mine) & real), np.flatnonzero(np.array(mine) & fake)
            if len(reals) and len(fakes):
                found.append((patches, reals, fakes))
    return found


def normalise(batch: torch.Tensor, config: Config) -> torch.Tensor:
    """(n, h, w, 3) uint8 -> (n, 3, h, w) float32 as the weights ask, channels last in memory."""
    mean, std = torch.tensor(config["mean"]), torch.tensor(config["std"])
    faces = ((batch.float() - mean) / std).permute(0, 3, 1, 2)
    return faces.contiguous(memory_format=torch.channels_last)
