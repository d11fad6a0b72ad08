"""Pictures for the synthesis and frequency nets: items, the same disturbances for both classes, balanced batches."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.engine.patches import Image, encode_jpeg, pad_to
from detection.training import splits

KEPT_CATEGORIES = ("photo", "ai", "face")
SWAP = "faceswap"


@dataclass(frozen=True)
class Picture:
    """One labelled picture. `source` is what a split leaves out as a whole, `group` what shares a subject."""

    path: Path
    is_fake: bool
    kind: str  # "picture" (a whole photo or generated picture), "face" (a crop around one face) or "swap" (such a fake)
    source: str
    generator: str
    group: str
    original: tuple[str, int, int] = ("", 0, 0)  # format and size before re-encoding: for the audit, never for a net
    name: str = ""  # <data folder>/<path in the manifest>
    split: str = ""


def read_items(manifests: Sequence[Path]) -> dict[str, list[Picture]]:
    """Return the pictures of each split ("train", "calibration", "test"); paths count from the manifest's folder.

    Known are the columns path, label and, where there are any, category, source_repo, group or subject_group,
    generator_or_camera or method, manipulation. Face swaps are left out: their picture is no generator's work.
    Raises ValueError when a split lacks reals or fakes: nothing could be fitted or measured on it.
    """
    items: dict[str, list[Picture]] = {name: [] for name in splits.SPLITS}
    for item in read_all(manifests):
        if item.kind != "swap":
            items[item.split].append(item)
    for split, found in items.items():
        if len({item.is_fake for item in found}) < 2:
            raise ValueError(
                f"The {split} split needs real and fake pictures of its own sources. Add sources, or a column `split`."
            )
    return items


def read_all(manifests: Sequence[Path]) -> list[Picture]:
    """Return every labelled picture of the manifests in their order, face swaps (kind "swap") among them."""
    items = []
    for manifest in manifests:
        with manifest.open(newline="") as file:
            items += [_picture(row, manifest.parent) for row in csv.DictReader(file) if _is_wanted(row)]
    return items


def _is_wanted(row: dict[str, str]) -> bool:
    is_picture = Path(row["path"]).suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"}
    if not is_picture or row["label"] not in {"real", "fake"} or row.get("category", "ai") not in KEPT_CATEGORIES:
        return False
    return row.get("manipulation", "none") in {"none", "", "diffusion", "gan", SWAP}


def _picture(row: dict[str, str], root: Path) -> Picture:
    kind = "face" if "face_px" in row else "picture"
    return Picture(
        path=root / row["path"],
        is_fake=row["label"] == "fake",
        kind="swap" if row.get("manipulation") == SWAP else kind,
        source=row.get("source_repo", ""),
        generator=row.get("generator_or_camera") or row.get("method", ""),
        group=splits.bootstrap_group(row),
        original=(
            row.get("orig_format", ""),
            int(row.get("orig_width") or 0),
            int(row.get("orig_height") or 0),
        ),
        name=f"{root.name}/{row['path']}",
        split=splits.split_of(row),
    )


def read_rgb(path: Path) -> Image:
    """Return (h, w, 3) uint8 RGB. Raises ValueError when the file is no picture."""
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError(f"{path} cannot be read as a picture")
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def disturb(image: Image, rng: np.random.Generator) -> Image:
    """Send a picture through the random chain that platforms put pictures through; both classes go the same way.

    image: (h, w, 3) uint8 RGB. Returns the same type, 0.65 to 1.5 times as large.
    """
    if rng.random() < 0.5:
        image = np.ascontiguousarray(image[:, ::-1])
    steps = [_resize, _blur_or_sharpen, _noise, _encode]
    chances = [0.5, 0.15, 0.15, 0.7]
    for step, chance in zip(steps, chances, strict=True):
        if rng.random() < chance:
            image = step(image, rng)
    if rng.random() < 0.15:
        image = _encode(image, rng)
    return _tone(image, rng)


def _resize(image: Image, rng: np.random.Generator) -> Image:
    scale = float(np.exp(rng.uniform(np.log(0.65), np.log(1.5))))
    ways = [cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4] + ([cv2.INTER_AREA] if scale < 1 else [])
    size = (max(round(image.shape[1] * scale), 16), max(round(image.shape[0] * scale), 16))
    return np.asarray(cv2.resize(image, size, interpolation=int(rng.choice(ways))), dtype=np.uint8)


def _blur_or_sharpen(image: Image, rng: np.random.Generator) -> Image:
    soft = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.3, 1.2)))
    if rng.random() < 0.3:
        soft = cv2.addWeighted(image, 1.5, soft, -0.5, 0)
    return np.asarray(soft, dtype=np.uint8)


def _noise(image: Image, rng: np.random.Generator) -> Image:
    noisy = image + rng.normal(0, rng.uniform(1, 6), image.shape)
    return np.asarray(noisy.clip(0, 255).round(), dtype=np.uint8)


def _encode(image: Image, rng: np.random.Generator) -> Image:
    quality = int(rng.integers(40, 101))
    if rng.random() < 0.15:
        webp = [cv2.IMWRITE_WEBP_QUALITY, quality]
        data = bytes(cv2.imencode(".webp", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), webp)[1])
    else:
        data = encode_jpeg(image, quality, subsampled=bool(rng.random() < 0.5))
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError("the picture could not be passed through JPEG or WebP")
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _tone(image: Image, rng: np.random.Generator) -> Image:
    if rng.random() < 0.08:
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        image = np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), dtype=np.uint8)
    if rng.random() < 0.3:
        changed = (image.astype(np.float32) - 128) * rng.uniform(0.8, 1.2) + 128 + rng.uniform(-20, 20)
        image = np.asarray(changed.clip(0, 255), dtype=np.uint8)
    return image


def crop(image: Image, size: int, rng: np.random.Generator | None = None) -> Image:
    """Return a (size, size, 3) piece at native resolution: random, or the middle one; small pictures are mirrored."""
    image = pad_to(image, size)
    room_y, room_x = image.shape[0] - size, image.shape[1] - size
    y, x = (room_y // 2, room_x // 2) if rng is None else (int(rng.integers(room_y + 1)), int(rng.integers(room_x + 1)))
    return np.ascontiguousarray(image[y : y + size, x : x + size])


class BalancedDraw:
    """Draws pictures so that no source or generator rules: each weighs by the root of its count."""

    def __init__(self, pictures: Sequence[Picture]) -> None:
        tree: dict[str, dict[str, list[Picture]]] = {}
        for picture in pictures:
            tree.setdefault(picture.source, {}).setdefault(picture.generator, []).append(picture)
        self._leaves = [leaf for source in tree.values() for leaf in source.values()]
        weights = []
        for source in tree.values():
            roots = np.sqrt([len(leaf) for leaf in source.values()])
            total = sum(len(leaf) for leaf in source.values())
            weights.extend(np.sqrt(total) * roots / roots.sum())
        self._chances = np.array(weights) / np.sum(weights)

    def one(self, rng: np.random.Generator) -> Picture:
        leaf = self._leaves[rng.choice(len(self._leaves), p=self._chances)]
        return leaf[rng.integers(len(leaf))]


@dataclass(frozen=True)
class Recipe:
    """How many items of each kind go into a batch; every kind brings as many fakes as reals."""

    crop_px: int
    pictures: int = 18
    faces: int = 8
    reconstructions: int = 6


def batches(
    items: Sequence[Picture], pairs: Sequence[tuple[Path, Path]], recipe: Recipe, seed: int
) -> Iterator[tuple[Image, NDArray[np.float32]]]:
    """Yield ((n, size, size, 3) uint8, (n,) labels) without end.

    items: the training pictures. pairs: (real, reconstruction); the two of a pair stand in one batch and go through
    the very same disturbance, so that only the decoder's traces differ. A kind that lacks a class is left out.
    """
    rng = np.random.default_rng(seed)
    counts = {"picture": recipe.pictures, "face": recipe.faces}
    draws = {kind: _both_classes(items, kind) for kind in counts}
    while True:
        crops: list[Image] = []
        labels: list[float] = []
        for kind, count in counts.items():
            for number in range(count if draws[kind] else 0):
                picture = draws[kind][number % 2].one(rng)
                crops.append(crop(disturb(read_rgb(picture.path), rng), recipe.crop_px, rng))
                labels.append(float(picture.is_fake))
        for _ in range(recipe.reconstructions // 2 if pairs else 0):
            seed_of_pair = int(rng.integers(2**31))
            for label, path in enumerate(pairs[int(rng.integers(len(pairs)))]):
                twin = np.random.default_rng(seed_of_pair)
                crops.append(crop(disturb(read_rgb(path), twin), recipe.crop_px, twin))
                labels.append(float(label))
        yield np.stack(crops), np.array(labels, dtype=np.float32)


def _both_classes(items: Sequence[Picture], kind: str) -> list[BalancedDraw]:
    """Return the draws of reals and of fakes of a kind, or nothing when one class is missing."""
    sides = [[item for item in items if item.kind == kind and item.is_fake == is_fake] for is_fake in (False, True)]
    return [BalancedDraw(side) for side in sides] if all(sides) else []


def source_weights(items: Sequence[Picture]) -> NDArray[np.float64]:
    """Return (n,) weights with mean 1: root of the count per source and class, and as much for fakes as for reals."""
    keys = [(item.source, item.is_fake) for item in items]
    counts = {key: keys.count(key) for key in set(keys)}
    weights = np.array([counts[key] ** -0.5 for key in keys])
    fakes = np.array([item.is_fake for item in items])
    for side in (fakes, ~fakes):
        weights[side] /= max(weights[side].sum(), 1e-12)
    return weights * len(items) / 2


def thinned(items: Sequence[Picture], most_per_source: int = 250) -> list[Picture]:
    """Return at most so many items per source and class, evenly taken: a linear model needs no more."""
    kept: list[Picture] = []
    for key in sorted({(item.source, item.is_fake) for item in items}):
        mine = [item for item in items if (item.source, item.is_fake) == key]
        places = np.linspace(0, len(mine) - 1, min(len(mine), most_per_source)).round().astype(int)
        kept += [mine[place] for place in places]
    return kept


def evenly(items: Sequence[Picture], most_per_source: int, *, fakes_too: bool = False) -> list[Picture]:
    """Return at most so many reals (and, if asked, fakes) of each source and kind, evenly taken, source by source."""
    groups: dict[tuple[str, str, bool], list[Picture]] = {}
    for item in items:
        groups.setdefault((item.source, item.kind, item.is_fake), []).append(item)
    kept: list[Picture] = []
    for (_, _, is_fake), mine in groups.items():
        if (fakes_too or not is_fake) and len(mine) > most_per_source:
            mine = [mine[place] for place in np.linspace(0, len(mine) - 1, most_per_source).round().astype(int)]
        kept += mine
    return kept
