"""Texture statistics of pictures by the frozen body: as they are, through random chains, through fixed codecs."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from detection.engine import patches, stability
from detection.engine.branches.synthesis_net import SynthesisNet
from detection.training.clip_coding import Coding, coded
from detection.training.imagenet import MEAN, STD, load_pretrained
from detection.training.picture_deliveries import delivered, filmed
from detection.training.pictures import Picture, crop, disturb, read_rgb

log = logging.getLogger(__name__)

Floats = NDArray[np.float32]
Image = patches.Image
Change = Callable[[Image, int], Image]  # (picture, its number in the list) -> piece that is looked at

WHOLE_PX = 256  # the size at which the pictures are stored


class Extractor:
    """The frozen body, run by OpenVINO on one thread: piece -> statistics."""

    def __init__(self) -> None:
        net = SynthesisNet().eval()
        load_pretrained(net)
        self._net, self._compiled = _Statistics(net), dict[int, Any]()

    def __call__(self, piece: Image) -> Floats:
        """piece: (size, size, 3) uint8 RGB. Returns (FEATURES,)."""
        size = piece.shape[0]
        if size not in self._compiled:
            self._compiled[size] = self._compile(size)
        batch = patches.to_batch([piece], (MEAN,) * 3, (STD,) * 3)
        return np.array(self._compiled[size](batch)[0][0], np.float32)

    def _compile(self, size: int) -> Any:
        import openvino as ov

        model = ov.convert_model(self._net, example_input=torch.zeros(1, 3, size, size))
        model.reshape([1, 3, size, size])
        settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
        return ov.Core().compile_model(model, "CPU", settings)


class _Statistics(torch.nn.Module):
    def __init__(self, net: SynthesisNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self.net.statistics(batch)[0]


class Cache:
    """Statistics of lists of pictures, computed once per folder and change."""

    def __init__(self, folder: Path, extract: Callable[[Image], Floats]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.extract = folder, extract

    def rows(self, name: str, items: Sequence[Picture], change: Change) -> Floats:
        """Return (n, FEATURES) of the items. `name` must tell all that `change` depends on but the item's number."""
        return self.of_paths(name, [item.path for item in items], [item.name for item in items], change)

    def of_paths(self, name: str, paths: Sequence[Path], names: Sequence[str], change: Change) -> Floats:
        """Return (n, FEATURES) of picture files; `names` identify them in the cache."""
        target = self.folder / f"{name}-{_digest(names)}.npy"
        if not target.exists():
            log.info("looking at %d pictures: %s", len(paths), name)
            found = [self.extract(change(read_rgb(path), number)) for number, path in enumerate(paths)]
            np.save(target, np.array(found, np.float32).reshape(len(paths), -1))
        loaded: Floats = np.load(target)
        return loaded

    def pieces(
        self, name: str, items: Sequence[Picture], steps: Callable[[Image], Image], size: int
    ) -> tuple[Floats, NDArray[np.int64]]:
        """Return (all pieces, FEATURES) and (n,) how many each item has: the pieces that the branch would judge."""
        names = [item.name for item in items]
        target = self.folder / f"pieces-{name}-{_digest(names)}.npz"
        if not target.exists():
            log.info("looking at the pieces of %d pictures: %s", len(items), name)
            found = [patches.choose(steps(read_rgb(item.path)), size) for item in items]
            rows = [self.extract(patches.as_stored(piece.image)) for pieces in found for piece in pieces]
            np.savez(target, rows=np.array(rows, np.float32), counts=np.array([len(pieces) for pieces in found]))
        with np.load(target) as saved:
            return saved["rows"], saved["counts"]


def _digest(names: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:12]


def mean_of_pieces(values: Floats, counts: NDArray[np.int64]) -> Floats:
    """Return (n, d): the mean of each picture's pieces. values: (all pieces, d), picture after picture."""
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return np.asarray(np.add.reduceat(values, starts, axis=0) / counts[:, None], np.float32)


def whole() -> Change:
    """Return the change that does nothing but cut or mirror a picture to the size at which all are stored."""
    return lambda image, _: crop(image, WHOLE_PX)


def untouched(size: int) -> Change:
    """Return the change that does nothing but cut the middle piece, as served."""
    return lambda image, _: patches.as_stored(crop(image, size))


# The random chains that copies go through, the same for both classes.
CHAINS: dict[str, Callable[[Image, np.random.Generator], Image]] = {
    "disturbed": disturb,
    "delivered": delivered,
    "filmed": filmed,
}


def copied(way: str, number_of_copy: int, size: int) -> Change:
    """Return the change that sends a picture through a random chain of its own and cuts a random piece as served."""
    chain, dice = CHAINS[way], [number_of_copy, list(CHAINS).index(way)]

    def change(image: Image, number: int) -> Image:
        rng = np.random.default_rng([*dice, number])
        return patches.as_stored(crop(chain(image, rng), size, rng))

    return change


def _jpeg(image: Image, quality: int, *, subsampled: bool = True) -> Image:
    data = np.frombuffer(patches.encode_jpeg(image, quality, subsampled=subsampled), np.uint8)
    return _decoded(data)


def _webp(image: Image, quality: int) -> Image:
    flags = [cv2.IMWRITE_WEBP_QUALITY, quality]
    return _decoded(cv2.imencode(".webp", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), flags)[1])


def _decoded(data: NDArray[np.uint8]) -> Image:
    pixels = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError("the picture could not be passed through a codec")
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _scaled(image: Image, factor: float) -> Image:
    size = (round(image.shape[1] * factor), round(image.shape[0] * factor))
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=way), dtype=np.uint8)


def _social(image: Image) -> Image:
    return _jpeg(_scaled(_jpeg(image, 80), 0.8), 70)


def _frame(image: Image) -> Image:
    """Return the third frame of a clip that shows the picture for as long."""
    height, width = (side // 2 * 2 for side in image.shape[:2])
    shown = coded(np.repeat(image[None, :height, :width], 3, axis=0), Coding(28, 1.0))
    return np.asarray(shown[-1], np.uint8)


# What the robustness table is measured on.
CODECS: dict[str, Callable[[Image], Image]] = {
    "JPEG 90": lambda image: _jpeg(image, 90),
    "JPEG 75": lambda image: _jpeg(image, 75),
    "JPEG 50": lambda image: _jpeg(image, 50),
    "WebP 60": lambda image: _webp(image, 60),
    "shrunk to 0.75": lambda image: _jpeg(_scaled(image, 0.75), 87, subsampled=False),
    "shrunk to 0.5": lambda image: _jpeg(_scaled(image, 0.5), 87, subsampled=False),
    "enlarged to 1.5": lambda image: _jpeg(_scaled(image, 1.5), 87, subsampled=False),
    "blurred": lambda image: np.asarray(cv2.GaussianBlur(image, (0, 0), 0.7), dtype=np.uint8),
    "JPEG 80, shrunk to 0.8, JPEG 70": _social,
    "screenshot": stability.like_a_screenshot,
    "H.264 crf 28": _frame,
}
