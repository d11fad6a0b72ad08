"""Pairs whose fake half was enlarged as generators enlarge: same content, same detail, another lattice."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from detection.engine.patches import encode_jpeg
from detection.training import upsampling
from detection.training.reconstruction import read_pair
from tests.training.test_synthesis import photo

WAYS = [upsampling.transposed, upsampling.nearest_and_convolution]


def lattice(image: np.ndarray) -> float:
    """How far the strongest of the three two-pixel frequencies stands out of its surroundings, as a ratio."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(float)
    power = np.abs(np.fft.fft2(grey - grey.mean())) ** 2
    half = grey.shape[0] // 2
    places = [(0, half), (half, 0), (half, half)]
    around = [power[max(y - 6, 0) : y + 7, max(x - 6, 0) : x + 7].mean() for y, x in places]
    return max(power[place] / mean for place, mean in zip(places, around, strict=True))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", range(3))
def test_halves_show_the_same_picture(way, seed: int) -> None:
    real, fake = way(photo(seed), np.random.default_rng(seed))
    assert real.shape == fake.shape == (192, 192, 3)
    assert cv2.PSNR(real, fake) > 28
    assert abs(float(real.mean()) - float(fake.mean())) < 1.5


def test_zero_insertion_leaves_a_lattice_that_interpolation_does_not() -> None:
    pairs = [upsampling.transposed(photo(seed), np.random.default_rng(seed)) for seed in range(5)]
    assert np.median([lattice(fake) for _, fake in pairs]) > 5 * np.median([lattice(real) for real, _ in pairs])


def test_pairs_are_written_once_and_found(tmp_path: Path) -> None:
    paths = []
    for seed in range(2):
        paths.append(tmp_path / f"{seed}.jpg")
        paths[-1].write_bytes(encode_jpeg(photo(seed), 95))
    upsampling.write_pairs(paths, WAYS, tmp_path / "pairs", seed=1)
    first = {path: path.stat().st_mtime_ns for path in (tmp_path / "pairs").iterdir()}
    assert len(first) == 4
    assert read_pair(tmp_path / "pairs", paths[1]) is not None
    upsampling.write_pairs(paths, WAYS, tmp_path / "pairs", seed=1)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "pairs").iterdir()} == first


def test_an_enlarging_net_gives_the_fake_half_only() -> None:
    real, fake = upsampling.by_net(lambda small: np.kron(small, np.ones((2, 2, 1), np.uint8)))(
        photo(1), np.random.default_rng(0)
    )
    np.testing.assert_array_equal(fake[::2, ::2], fake[1::2, 1::2])
    assert not np.array_equal(real[::2, ::2], real[1::2, 1::2])
