"""Does one part of a picture differ from the rest in noise, sharpness or JPEG history? A measurement, not a branch.

python -m detection.training.forgeries.inconsistency --manifest DATA/images/manifest.csv --out splices.json
"""

from __future__ import annotations

import argparse
import csv
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.training import metrics
from detection.training.augment import jpeg
from detection.training.forgeries.forged import Floats, Image

BLOCK_PX = 16
GHOST_QUALITIES = tuple(range(50, 100, 5))
PEAK = 97.0  # percentile of the map that stands for a picture: a splice fills a few per cent at least


def noise_map(image: Image) -> Floats:
    """Return (rows, columns): log noise level per block, by the median of the finest diagonal detail."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    detail = np.abs(cv2.filter2D(grey, -1, np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32))) / 6
    return np.asarray(np.log(np.median(_blocks(detail), axis=2) + 0.05))


def sharpness_map(image: Image) -> Floats:
    """Return (rows, columns): log energy of the finest detail over that of detail twice as coarse."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    once, twice = cv2.GaussianBlur(grey, (0, 0), 1.0), cv2.GaussianBlur(grey, (0, 0), 2.0)
    fine, coarse = (_blocks(np.asarray(band) ** 2).mean(axis=2) for band in (grey - once, once - twice))
    return np.asarray(np.log(fine + 0.5) - np.log(coarse + 0.5))


def ghost_map(image: Image) -> Floats:
    """Return (rows, columns): the quality at which a block was saved before, by the dip of its loss (Farid 2009)."""
    losses = []
    for quality in GHOST_QUALITIES:
        loss = ((image.astype(np.float32) - jpeg(image, quality)) ** 2).mean(axis=2)
        losses.append(_blocks(loss).mean(axis=2))
    loss = np.log(np.stack(losses, axis=2) + 0.1)
    # Each block against what the whole picture loses at that quality.
    relative = loss - loss.mean(axis=2, keepdims=True)
    dissent = relative - np.median(relative, axis=(0, 1))
    return np.asarray(np.sqrt((dissent**2).mean(axis=2)))


def texture_map(image: Image) -> Floats:
    """Return (rows, columns): log of the local contrast, which the other maps must not merely repeat."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.asarray(np.log(_blocks(grey).std(axis=2) + 1))


MAPS = {"noise": noise_map, "sharpness": sharpness_map, "ghost": ghost_map}


def odd_blocks(image: Image) -> dict[str, Floats]:
    """Return, per map, how many robust deviations a block's neighbourhood lies from what its texture lets expect.

    image: (h, w, 3) RGB uint8. Each map is (h // 16, w // 16) float.
    """
    texture = texture_map(image)
    light = _blocks(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)).mean(axis=2) / 255
    terms = np.stack([np.ones_like(texture), texture, texture**2, light, light**2], axis=2).reshape(-1, 5)
    found = {}
    for name, measure in MAPS.items():
        values = measure(image)
        explained = terms @ np.linalg.lstsq(terms, values.ravel(), rcond=None)[0]
        rest = values - explained.reshape(values.shape)
        spread = 1.48 * np.median(np.abs(rest - np.median(rest))) + 1e-3
        smooth = cv2.blur(((rest - np.median(rest)) / spread).astype(np.float32), (3, 3))
        found[name] = np.abs(np.asarray(smooth, np.float64))
    return found


def scores(image: Image) -> dict[str, float]:
    """Return one number per map, the peak of the odd blocks, and their mean."""
    peaks = {name: float(np.percentile(odd, PEAK)) for name, odd in odd_blocks(image).items()}
    return peaks | {"mean of the three": float(np.mean(list(peaks.values())))}


def _blocks(values: NDArray[Any]) -> NDArray[Any]:
    """(h, w) -> (h // 16, w // 16, 256)."""
    rows, columns = (side // BLOCK_PX for side in values.shape)
    cut = values[: rows * BLOCK_PX, : columns * BLOCK_PX].reshape(rows, BLOCK_PX, columns, BLOCK_PX)
    return cut.transpose(0, 2, 1, 3).reshape(rows, columns, -1)


def measure(rows: Sequence[Mapping[str, str]], root: Path) -> dict[str, Any]:
    """Return AUROC with its interval over pairs for each map, and for the size of the picture as a baseline."""
    labels, groups, found = [], [], []
    for row in rows:
        image = _read(root / row["path"])
        facts = {"baseline: pixels": float(image.size), "baseline: texture": float(np.mean(texture_map(image)))}
        found.append(scores(image) | facts)
        labels.append(row["label"] == "fake")
        pair = re.search(r"pair id (\w+)", row.get("note", ""))
        groups.append(pair.group(1) if pair else row["path"])
    result: dict[str, Any] = {"fakes": int(sum(labels)), "reals": len(labels) - int(sum(labels))}
    for name in found[0]:
        values = [one[name] for one in found]
        low, high = metrics.bootstrap_ci(labels, values, groups=groups)
        result[name] = {"auroc": round(metrics.auroc(labels, values), 3), "ci": [round(low, 3), round(high, 3)]}
    return result


def splice(image: Image, donor: Image, rng: np.random.Generator) -> tuple[Image, NDArray[np.uint8]]:
    """Return a splice whose parts have unlike histories (saved at 60 and 95, the second softened), and its mask."""
    ours, theirs = jpeg(image, 60), jpeg(np.asarray(cv2.GaussianBlur(donor, (0, 0), 0.6), np.uint8), 95)
    height, width = (min(a, b) // 3 for a, b in zip(image.shape[:2], donor.shape[:2], strict=True))
    y, x = int(rng.integers(0, image.shape[0] - height)), int(rng.integers(0, image.shape[1] - width))
    mask = np.zeros(image.shape[:2], np.uint8)
    ours[y : y + height, x : x + width] = theirs[height : 2 * height, width : 2 * width]
    mask[y : y + height, x : x + width] = 255
    return ours, mask


def measure_made(rows: Sequence[Mapping[str, str]], root: Path, saved_quality: int) -> dict[str, Any]:
    """Return how well each map finds splices made of the rows' real pictures, by place and by picture.

    by place: mean over pictures of the AUROC of blocks inside against outside. by picture: AUROC of spliced against
    unspliced copies of the same pictures. All are saved at `saved_quality` in the end.
    """
    reals = [_read(root / row["path"]) for row in rows if row["label"] == "real"]
    half = len(reals) // 2
    by_place: dict[str, list[float]] = {name: [] for name in MAPS}
    peaks: dict[str, list[float]] = {name: [] for name in MAPS}
    for number in range(half):
        spliced, mask = splice(reals[number], reals[number + half], np.random.default_rng(number))
        inside = _blocks(mask).mean(axis=2) > 127
        for image, is_fake in ((spliced, True), (jpeg(reals[number], 60), False)):
            for name, odd in odd_blocks(jpeg(image, saved_quality)).items():
                peaks[name].append(float(np.percentile(odd, PEAK)))
                if is_fake:
                    by_place[name].append(metrics.auroc(inside.ravel(), odd.ravel()))
    labels = [True, False] * half
    return {
        name: {
            "by place": round(float(np.mean(by_place[name])), 3),
            "by picture": round(metrics.auroc(labels, peaks[name]), 3),
            "ci": [
                round(v, 3) for v in metrics.bootstrap_ci(labels, peaks[name], groups=[i // 2 for i in range(2 * half)])
            ],
        }
        for name in MAPS
    }


def _read(path: Path) -> Image:
    read = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if read is None:
        raise ValueError(f"{path} cannot be read")
    return np.asarray(cv2.cvtColor(read, cv2.COLOR_BGR2RGB), np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    with given.manifest.open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if r.get("category") == "splice" and r["label"] in ("real", "fake")]
    root = given.manifest.parent
    result = {"of the manifest": measure(rows, root)}
    for quality in (95, 86, 75):
        result[f"made, saved at {quality}"] = measure_made(rows, root, quality)
    given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
