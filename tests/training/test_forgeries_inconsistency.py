"""The local maps answer to what they are named after, and stay even where nothing is odd."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from detection.training import metrics
from detection.training.augment import jpeg
from detection.training.forgeries import inconsistency

ODD = np.s_[64:144, 96:208]


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    """Soft shapes under even noise: one camera, one history."""
    rng = np.random.default_rng(0)
    shapes = cv2.resize(rng.uniform(60, 200, (12, 16, 3)), (320, 240), interpolation=cv2.INTER_CUBIC)
    return np.clip(shapes + rng.normal(0, 5, shapes.shape), 0, 255).astype(np.uint8)


def inside() -> np.ndarray:
    mask = np.zeros((15, 20), bool)
    mask[4:9, 6:13] = True
    return mask


def test_a_denoised_part_is_odd_in_noise_and_sharpness(scene: np.ndarray) -> None:
    forged = scene.copy()
    forged[ODD] = cv2.GaussianBlur(scene[ODD], (0, 0), 1.0)
    odd = inconsistency.odd_blocks(forged)
    for name in ("noise", "sharpness"):
        assert odd[name].shape == (15, 20)
        assert metrics.auroc(inside().ravel(), odd[name].ravel()) > 0.9
        assert inconsistency.scores(forged)[name] > 3 * inconsistency.scores(scene)[name]


def test_a_part_saved_before_at_another_quality_is_odd_in_its_ghost(scene: np.ndarray) -> None:
    forged = jpeg(scene, 60)
    forged[ODD] = jpeg(np.roll(scene, 5, axis=1), 95)[ODD]
    odd = inconsistency.odd_blocks(jpeg(forged, 95))
    assert metrics.auroc(inside().ravel(), odd["ghost"].ravel()) > 0.9


def test_a_made_splice_differs_inside_its_mask_only(scene: np.ndarray) -> None:
    spliced, mask = inconsistency.splice(scene, scene[::-1], np.random.default_rng(0))
    differs = (spliced != jpeg(scene, 60)).any(axis=2)
    assert not differs[mask == 0].any()
    assert differs[mask > 0].mean() > 0.9
