"""Blended faces: what must change, what must not, and that both classes wear alike."""

from dataclasses import replace

import numpy as np
import pytest

from detection.training import augment, blending
from tests.training.faces_made import draw_face


def changes(count: int = 24) -> list[blending.Change]:
    rng = np.random.default_rng(3)
    return [blending.draw_change(rng) for _ in range(count)]


@pytest.mark.parametrize("region", ["face", "inner", "lower", "mouth"])
def test_the_mask_lies_on_the_face(region):
    image, points = draw_face(1)
    mask = blending.soft_mask(image.shape[:2], points, replace(changes(1)[0], region=region))
    assert mask.shape == image.shape[:2]
    assert mask.max() == pytest.approx(1.0)
    assert mask[:, :20].max() < 0.05
    assert mask[:12].max() < 0.05


def test_a_blend_changes_the_face_and_nothing_else():
    image, points = draw_face(2)
    strong = replace(changes(1)[0], region="face", alpha=1.0, on_inner=True, offset=np.full(3, 30, np.float32))
    real, fake, mask = blending.self_blend(image, points, strong)
    difference = np.abs(fake.astype(int) - real).max(axis=2)
    assert real.shape == fake.shape == image.shape
    assert np.array_equal(real, image)
    assert difference[mask > 0.9].mean() > 10
    assert difference[mask == 0].max() <= 1


def test_every_kind_of_change_gives_a_fake_that_differs():
    image, points = draw_face(4)
    for change in changes():
        real, fake, mask = blending.self_blend(image, points, change)
        assert fake.dtype == np.uint8
        assert mask.max() > 0
        assert np.abs(fake.astype(int) - real)[mask > 0.5].mean() > 0


def test_a_change_can_be_repeated():
    image, points = draw_face(5)
    change = changes(1)[0]
    assert np.array_equal(blending.self_blend(image, points, change)[1], blending.self_blend(image, points, change)[1])


def test_a_grey_face_stays_grey():
    image, points = draw_face(6)
    grey = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    tinted = replace(
        changes(1)[0], colour=np.ones(3, np.float32), offset=np.zeros(3, np.float32), saturation=1.3, noise=0
    )
    _, fake, _ = blending.self_blend(grey, points, tinted)
    assert np.ptp(fake.astype(int), axis=2).max() <= 1


def test_a_swap_brings_the_other_face_in_our_colours():
    (image, points), (donor, donor_points) = draw_face(7), draw_face(8)
    plain = replace(changes(1)[0], region="face", on_inner=False)
    fake, mask = blending.swap_blend(image, points, donor, donor_points, plain)
    inside = mask > 0.9
    assert np.abs(fake.astype(int) - image)[inside].mean() > 1
    assert np.allclose(fake[inside].mean(axis=0), image[inside].mean(axis=0), atol=12)
    assert np.array_equal(fake[mask == 0], image[mask == 0])


def test_faces_turned_alike_are_near():
    _, points = draw_face(9)
    turned = points * np.array([0.5, 1.0], np.float32)
    assert blending.shape_distance(points, points * 2 + 30) == pytest.approx(0, abs=1e-4)
    assert blending.shape_distance(points, turned) > 0.2


def test_wear_is_the_same_for_both_of_a_pair():
    image, _ = draw_face(10)
    for seed in range(12):
        wear = augment.draw_wear(np.random.default_rng(seed))
        once, again = augment.apply(image, wear), augment.apply(image.copy(), wear)
        assert once.shape == image.shape
        assert np.array_equal(once, again)
