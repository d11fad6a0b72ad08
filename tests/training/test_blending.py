"""Blended faces: what must change, what must not, and that both classes wear alike."""

from dataclasses import replace

import numpy as np
import pytest

from detection.training import augment, blending
from tests.training.faces_made import draw_face


def changes(count: int = 24) -> list[blending.Change]:
    rng = np.random.default_rng(3)
    return [blending.draw_change(rng) for _ in range(count)]


@pytest.mark.parametrize("region", blending.REGIONS)
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


def test_ranges_come_from_the_configuration():
    calm = {
        "regions": [0, 0, 0, 0, 1],
        "colour_share": 0.0,
        "soft_share": 1.0,
        "sharp_share": 0.0,
        "softness": [2.0, 2.5],
    }
    ranges = blending.Ranges.of({"blend": calm})
    drawn = [blending.draw_change(np.random.default_rng(seed), ranges) for seed in range(12)]
    assert {change.region for change in drawn} == {"box"}
    assert all((change.colour == 1).all() and change.contrast == 1 for change in drawn)
    assert all(2.0 <= change.softness <= 3.75 for change in drawn)
    with pytest.raises(TypeError, match="colours"):
        blending.Ranges.of({"blend": {"colours": 0.1}})


def test_a_box_has_straight_edges_and_a_blurred_mouth():
    image, points = draw_face(11)
    box = replace(
        changes(1)[0], region="box", softness=1.0, alpha=1.0, elastic=0, mask_blur=0.01, noise=0, scale=1.0,
        shift=(0.0, 0.0), colour=np.ones(3, np.float32), offset=np.zeros(3, np.float32), contrast=1.0, saturation=1.0,
    )  # fmt: skip
    real, fake, mask = blending.self_blend(image, points, box)
    rows, columns = np.flatnonzero(mask.max(axis=1) > 0.5), np.flatnonzero(mask.max(axis=0) > 0.5)
    assert mask[rows[3] : rows[-3], columns[3] : columns[-3]].min() > 0.9
    change = np.abs(fake.astype(int) - real).mean(axis=2)
    (x, y), (left, top) = points[blending.MOUTH].mean(axis=0).astype(int), points.min(axis=0).astype(int)
    assert change[y - 5 : y + 5, x - 5 : x + 5].mean() > 2
    assert change[top : top + 20, left : left + 20].mean() < 1


def test_a_genuine_face_can_take_the_same_look_all_over():
    image, points = draw_face(12)
    soft = replace(changes(1)[0], region="face", alpha=1.0, on_inner=True, softness=2.5, scale=1.0, shift=(0.0, 0.0))
    _, fake, mask = blending.self_blend(image, points, soft)
    whole = blending.whole_look(image, soft)
    assert np.array_equal(whole[mask == 1], fake[mask == 1])
    assert np.abs(whole.astype(int) - image)[mask == 0].mean() > 1
