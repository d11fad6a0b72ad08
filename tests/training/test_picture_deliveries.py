"""Copies as media arrive: smaller or as large, the same chain for both classes, a frame of a clip among them."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from detection.engine import patches
from detection.training import picture_deliveries, picture_features


def photo(side: int = 256) -> np.ndarray:
    y, x = np.indices((side, side))
    waves = np.stack([128 + 90 * np.sin((x * (c + 1) + y * 2) / 23) for c in range(3)], axis=-1)
    return (waves + np.random.default_rng(0).integers(-12, 13, waves.shape)).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("chain", [picture_deliveries.delivered, picture_deliveries.filmed])
def test_the_same_dice_give_the_same_copy_and_others_another(chain) -> None:
    image = photo()
    first, again, other = (chain(image, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)


def test_every_way_of_delivery_changes_the_picture_and_none_enlarges_it() -> None:
    image = photo()
    for way in picture_deliveries.STILL_WAYS:
        copies = [way(image, np.random.default_rng(seed)) for seed in range(4)]
        assert all(0.4 * 256 <= min(copy.shape[:2]) <= max(copy.shape[:2]) <= 256 for copy in copies)
        assert not any(np.array_equal(copy, image) for copy in copies)


@pytest.mark.parametrize("side", [131, 256])
def test_a_filmed_picture_is_a_frame_of_nearly_its_size_with_less_detail(side: int) -> None:
    shown = [picture_deliveries.filmed(photo(side), np.random.default_rng(seed)) for seed in range(6)]
    assert all(side * 0.5 <= min(frame.shape[:2]) <= side - 2 for frame in shown)
    assert all(size % 2 == 0 for frame in shown for size in frame.shape[:2])


@pytest.mark.parametrize("way", sorted(picture_features.CHAINS))
def test_a_copy_is_a_piece_as_served(way: str) -> None:
    """A small copy is mirrored to a piece's size, and every piece passes through JPEG 87 as it does when served."""
    change = picture_features.copied(way, 1, 192)
    piece = change(photo(), 3)
    assert piece.shape == (192, 192, 3)
    np.testing.assert_array_equal(piece, change(photo(), 3))
    assert not np.array_equal(piece, change(photo(), 4))
    again = patches.as_stored(piece).astype(int)
    assert np.abs(again - piece).mean() < 1.0  # a second pass changes little: the first has been


@pytest.mark.parametrize("name", sorted(picture_features.CODECS))
def test_every_change_of_the_robustness_table_yields_a_picture(name: str) -> None:
    image = photo()
    shown = picture_features.CODECS[name](image)
    assert shown.dtype == np.uint8
    assert 128 <= min(shown.shape[:2]) <= 384
    assert not np.array_equal(shown, image)
