"""Training fakes with a real picture's content: the picture made small and enlarged again as generators enlarge.

Every generator ends in up-sampling layers: transposed convolutions (GANs), or interpolation and convolution (latent
diffusion). The real half of a pair goes down and up as well, by classical interpolation, so that lost detail cannot
become the cue. Source: checkerboards, Odena et al. 2016, doi:10.23915/distill.00003; enlarging nets by path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.engine.patches import STORED_JPEG_QUALITY, Image, encode_jpeg
from detection.training.pictures import read_rgb

PIECE_PX = 224
WAYS = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)
Pair = tuple[Image, Image]


def transposed(image: Image, rng: np.random.Generator) -> Pair:
    """Return (real, fake): enlarged by interpolation, and by zero insertion with a random kernel.

    image: (h, w, 3) uint8 RGB, even sides. The kernel's four phases have unlike sums, as trained transposed
    convolutions do, which leaves a lattice of two pixels; both halves have the size of `image`.
    """
    small = half(image)
    height, width = image.shape[:2]
    stuffed = np.zeros((height, width, 3), np.float32)
    stuffed[::2, ::2] = small
    tent = np.array([1, 3, 3, 1]) if rng.random() < 0.5 else np.array([0, 1, 2, 1])
    kernel = np.outer(tent, tent) / (tent.sum() / 2) ** 2
    kernel = kernel * (1 + rng.uniform(0.004, 0.03) * rng.standard_normal(kernel.shape))
    fake = cv2.filter2D(stuffed, -1, kernel * 4 / kernel.sum(), borderType=cv2.BORDER_REFLECT_101)
    return enlarged(small, (width, height), rng), _pixels(fake)


def nearest_and_convolution(image: Image, rng: np.random.Generator) -> Pair:
    """Return (real, fake): enlarged by interpolation, and by doubling pixels with a random convolution after it."""
    small = half(image)
    height, width = image.shape[:2]
    doubled = cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST).astype(np.float32)
    kernel = cv2.getGaussianKernel(3, float(rng.uniform(0.4, 0.9)))
    kernel = kernel @ kernel.T + rng.normal(0, 0.015, (3, 3))
    fake = cv2.filter2D(doubled, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT_101)
    return enlarged(small, (width, height), rng), _pixels(fake)


class EnlargingNet:
    """A published net that doubles pictures, run by ncnn on the CPU: `<stem>.param` and `<stem>.bin`.

    margin: pixels that the net's unpadded convolutions eat on each side of its input.
    """

    def __init__(self, stem: Path, margin: int) -> None:
        import ncnn  # type: ignore[import-untyped,import-not-found,unused-ignore]

        self._ncnn, self.margin = ncnn, margin
        self.net: Any = ncnn.Net()
        self.net.opt.use_vulkan_compute = False
        self.net.opt.num_threads = 1
        self.net.load_param(str(stem.with_suffix(".param")))
        self.net.load_model(str(stem.with_suffix(".bin")))
        self.input, self.output = self.net.input_names()[0], self.net.output_names()[0]

    def __call__(self, image: Image) -> Image:
        """image: (h, w, 3) uint8 RGB. Returns it twice as large."""
        m = self.margin
        padded = np.pad(image, ((m, m), (m, m), (0, 0)), mode="symmetric").astype(np.float32) / 255
        extractor = self.net.create_extractor()
        extractor.input(self.input, self._ncnn.Mat(np.ascontiguousarray(padded.transpose(2, 0, 1))).clone())
        _, found = extractor.extract(self.output)
        return _pixels(np.array(found).transpose(1, 2, 0) * 255)


def by_net(net: Callable[[Image], Image]) -> Callable[[Image, np.random.Generator], Pair]:
    """Return the way that enlarges the fake half with `net` and the real half by interpolation."""

    def pair(image: Image, rng: np.random.Generator) -> Pair:
        small = half(image)
        return enlarged(small, (image.shape[1], image.shape[0]), rng), net(small)

    return pair


def half(image: Image) -> Image:
    """Return the picture at half its size, averaged."""
    size = (image.shape[1] // 2, image.shape[0] // 2)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def enlarged(image: Image, size: tuple[int, int], rng: np.random.Generator) -> Image:
    """Return the picture at `size` (width, height) by one of the classical interpolations."""
    return np.asarray(cv2.resize(image, size, interpolation=int(rng.choice(WAYS))), dtype=np.uint8)


def write_pairs(
    paths: Iterable[Path], ways: Sequence[Callable[[Image, np.random.Generator], Pair]], cache: Path, seed: int
) -> None:
    """Write `<stem>.real.jpg` and `<stem>.fake.jpg` into cache, the ways in turn; those there already are kept.

    Both halves go through the same JPEG on the same grid, as reconstruction pairs do (reconstruction.read_pair).
    """
    cache.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(paths):
        target = cache / f"{path.stem}.fake.jpg"
        image = read_rgb(path)[:PIECE_PX, :PIECE_PX]
        if target.exists() or min(image.shape[:2]) < 160:
            continue
        image = np.ascontiguousarray(image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2])
        real, fake = ways[number % len(ways)](image, np.random.default_rng([seed, number]))
        (cache / f"{path.stem}.real.jpg").write_bytes(encode_jpeg(real, STORED_JPEG_QUALITY))
        temporary = target.with_suffix(".part")
        temporary.write_bytes(encode_jpeg(fake, STORED_JPEG_QUALITY))
        temporary.replace(target)


def _pixels(values: NDArray[Any]) -> Image:
    return np.asarray(np.clip(np.round(values), 0, 255), dtype=np.uint8)
