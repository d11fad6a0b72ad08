"""The frequency branch: evidence, and the weights that ship."""

from __future__ import annotations

import numpy as np
import pytest

from detection.engine import patches, registry, runtime
from detection.engine.branches import frequency
from detection.engine.types import Face, Track
from tests.engine.test_synthesis import picture, scene_of

GOLDEN_LOGITS = [5.461, -0.345]
TOLERANCE = 0.05


class SharpNet:
    """A net that finds sharp pieces generated; counts the pieces that it is shown."""

    def __init__(self) -> None:
        self.spec = registry.BRANCHES["frequency"]
        self.shown = 0

    def __call__(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        self.shown = len(batch)
        detail = np.abs(np.diff(batch, axis=3)).mean(axis=(1, 2, 3))
        return {"logit": detail * 40 - 1, "cam": np.abs(batch[:, 0, ::8, ::8])}


def test_sound_without_picture_and_tiny_picture_are_skipped() -> None:
    assert frequency.examine(scene_of(kind="audio"), None).reason == "no_picture"
    tiny = frequency.examine(scene_of(picture(63, 200)), SharpNet())
    assert (tiny.state, tiny.reason, tiny.score) == ("skipped", "too_small", None)


def test_sharp_picture_scores_above_flat_one() -> None:
    flat = frequency.examine(scene_of(np.full((200, 200, 3), 90, np.uint8)), SharpNet())
    sharp = frequency.examine(scene_of(picture(200, 200)), SharpNet())
    assert flat.score is not None
    assert sharp.score is not None
    assert sharp.score > flat.score
    assert sharp.heatmaps[0].kind == "frequency_heatmap"
    assert sharp.heatmaps[0].box is None


def test_face_region_is_looked_at_in_native_pixels() -> None:
    net = SharpNet()
    frequency.examine(scene_of(picture(600, 800)), net)
    without = net.shown
    face = Face(0, 0.0, (300.0, 200.0, 200.0, 200.0), 0.9)
    frequency.examine(scene_of(picture(600, 800), tracks=(Track(0, (face,)),)), net)
    assert net.shown == without + 4


def test_face_at_the_edge_of_the_picture_does_no_harm() -> None:
    face = Face(0, 0.0, (-40.0, -30.0, 60.0, 60.0), 0.9)
    found = frequency.examine(scene_of(picture(300, 300), tracks=(Track(0, (face,)),)), SharpNet())
    assert found.state == "scored"


def test_unfused_weights_say_that_they_do_not_count() -> None:
    net = SharpNet()
    for fused in (True, False):
        net.spec = net.spec.__class__(**{**vars(net.spec), "fused": fused})
        words = frequency.examine(scene_of(picture(200, 200)), net).sentence
        assert ("does not count" in words) is not fused


def test_shipped_weights_give_the_golden_logits() -> None:
    net = runtime.load("frequency")
    size = net.spec.input_size
    crops = [picture(size, size), np.kron(picture(size // 4, size // 4, 1), np.ones((4, 4, 1), np.uint8))]
    outputs = net(patches.to_batch(crops, net.spec.mean, net.spec.std))
    np.testing.assert_allclose(outputs["logit"], GOLDEN_LOGITS, atol=TOLERANCE)
    assert outputs["cam"].min() >= 0


def test_flat_pieces_say_the_same_at_any_brightness() -> None:
    """The net sees residuals only: brightness and colour must not move it."""
    net = runtime.load("frequency")
    size = net.spec.input_size
    flat = [np.full((size, size, 3), value, np.uint8) for value in (0, 60, 130, 255)]
    logits = net(patches.to_batch(flat, net.spec.mean, net.spec.std))["logit"]
    assert np.ptp(logits) == pytest.approx(0, abs=1e-3)
