"""Face swaps and expressions: what they change, what they leave, and that a seed says it all."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from detection.training.forgeries import colours, expressions, seams, swaps, warps
from detection.training.forgeries.forged import Forged, NotForgeable
from tests.training.faces_made import draw_face

Drawn = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def ours() -> Drawn:
    return draw_face(1)


@pytest.fixture(scope="module")
def theirs() -> Drawn:
    return draw_face(2)


def assert_changed_within_the_mask(original: np.ndarray, forgery: Forged, least: float) -> None:
    """Nothing outside the mask differs; within it at least a share of the pixels does; the boxes hold the mask."""
    differs = (forgery.image != original).any(axis=2)
    assert forgery.image.shape == original.shape
    assert forgery.image.dtype == np.uint8
    assert set(np.unique(forgery.mask)) <= {0, 255}
    assert not differs[forgery.mask == 0].any()
    assert differs[forgery.mask > 0].mean() > least
    rows, columns = np.nonzero(forgery.mask)
    box = forgery.boxes[0]
    assert box.y <= rows.min()
    assert rows.max() < box.y + box.height
    assert box.x <= columns.min()
    assert columns.max() < box.x + box.width


@pytest.mark.parametrize("seam", seams.SEAMS)
@pytest.mark.parametrize("fit", swaps.FITS)
def test_a_swap_changes_the_face_and_nothing_else(ours: Drawn, theirs: Drawn, seam: str, fit: str) -> None:
    forgery = swaps.face_swap(*ours, *theirs, swaps.SwapRecipe(fit=fit, seam=seam, colour="none"))
    assert_changed_within_the_mask(ours[0], forgery, 0.6)
    assert forgery.boxes[0].kind == "face"


def test_a_swap_without_colour_transfer_shows_the_donors_skin(ours: Drawn, theirs: Drawn) -> None:
    plain = swaps.face_swap(*ours, *theirs, swaps.SwapRecipe(seam="feather", colour="none")).image
    fitted = swaps.face_swap(*ours, *theirs, swaps.SwapRecipe(seam="feather", colour="reinhard")).image
    middle = np.s_[90:118, 90:118]
    to_donor, to_target = (
        np.abs(plain[middle].mean(axis=(0, 1)) - one[middle].mean(axis=(0, 1))).max() for one in (theirs[0], ours[0])
    )
    assert to_donor < 5 < to_target
    assert np.abs(fitted[middle].mean(axis=(0, 1)) - ours[0][middle].mean(axis=(0, 1))).max() < 5


def test_a_face_swapped_with_itself_stays_nearly_as_it_was(ours: Drawn) -> None:
    for seam in seams.SEAMS:
        forgery = swaps.face_swap(*ours, *ours, swaps.SwapRecipe(seam=seam, colour="none"))
        assert np.abs(forgery.image.astype(int) - ours[0]).mean() < 1.0


def test_a_donor_of_another_size_is_fitted(ours: Drawn) -> None:
    donor, points = draw_face(3, side=96)
    assert_changed_within_the_mask(ours[0], swaps.face_swap(*ours, donor, points, swaps.SwapRecipe()), 0.6)


def test_too_small_a_face_is_refused(ours: Drawn, theirs: Drawn) -> None:
    with pytest.raises(NotForgeable, match="px wide"):
        swaps.face_swap(ours[0], ours[1] * 0.1, *theirs, swaps.SwapRecipe())
    with pytest.raises(NotForgeable, match="px wide"):
        expressions.express(ours[0], ours[1] * 0.1, expressions.ExpressionRecipe("smile"))


def test_a_face_outside_the_picture_is_refused(ours: Drawn, theirs: Drawn) -> None:
    with pytest.raises(NotForgeable, match="outside"):
        swaps.face_swap(ours[0], ours[1] + 500, *theirs, swaps.SwapRecipe(seam="feather"))


def test_recipes_follow_the_seed() -> None:
    for draw in (swaps.draw_recipe, expressions.draw_recipe):
        drawn = [draw(np.random.default_rng(seed)) for seed in (5, 5, 6)]
        assert drawn[0] == drawn[1] != drawn[2]


def test_every_way_of_swapping_is_drawn() -> None:
    rng = np.random.default_rng(0)
    drawn = [swaps.draw_recipe(rng) for _ in range(200)]
    assert {r.fit for r in drawn} == set(swaps.FITS)
    assert {r.seam for r in drawn} == set(seams.SEAMS)
    assert {r.colour for r in drawn} == set(swaps.COLOURS)


@pytest.fixture(scope="module")
def portrait() -> Drawn:
    """A real face with real landmarks: expressions need to know which point is a lip."""
    from detection.engine import faces
    from tests.engine.scenes import astronaut

    image = astronaut()
    landmarks = faces.find_faces(image)[0].landmarks
    assert landmarks is not None
    return image, landmarks[:468, :2].astype(np.float32)


@pytest.mark.parametrize("kind", expressions.EXPRESSIONS)
def test_an_expression_moves_a_part_of_the_face(portrait: Drawn, kind: str) -> None:
    forgery = expressions.express(*portrait, expressions.ExpressionRecipe(kind, 1.0))
    assert_changed_within_the_mask(portrait[0], forgery, 0.5)
    face = warps.hull_mask(portrait[1], portrait[0].shape) > 0
    touched = (forgery.mask > 0).sum() / face.sum()
    assert 0.01 < touched < 1.4


def test_a_smile_lifts_the_corners_and_opened_lips_part(portrait: Drawn) -> None:
    points = portrait[1]
    smile = expressions.moved_landmarks(points, expressions.ExpressionRecipe("smile"))
    assert smile[61, 1] < points[61, 1] - 1
    assert smile[61, 0] < points[61, 0] - 1 < points[291, 0] + 1 < smile[291, 0]
    parted = expressions.moved_landmarks(points, expressions.ExpressionRecipe("open_mouth"))
    assert parted[14, 1] - parted[13, 1] > points[14, 1] - points[13, 1] + 3
    shut = expressions.moved_landmarks(points, expressions.ExpressionRecipe("blink"))
    assert shut[145, 1] - shut[159, 1] < 0.2 * (points[145, 1] - points[159, 1])


def test_expressions_of_two_persons_are_the_same_twice(portrait: Drawn) -> None:
    first, second = (expressions.express(*portrait, expressions.ExpressionRecipe("frown")) for _ in range(2))
    assert np.array_equal(first.image, second.image)


def test_an_unknown_expression_is_an_error(portrait: Drawn) -> None:
    with pytest.raises(ValueError, match="smile"):
        expressions.express(*portrait, expressions.ExpressionRecipe("sneer"))


def test_warps_carry_a_mark_to_its_new_place() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[30:33, 30:33] = 255
    source = np.array([[2, 2], [61, 2], [61, 61], [2, 61], [31, 31]], np.float32)
    target = source.copy()
    target[4] = [39, 25]
    for warped in (warps.piecewise(image, source, target, image), warps.thin_plate(image, source, target)):
        y, x = np.nonzero(warped[:, :, 0] > 128)
        assert abs(x.mean() - 39) < 1
        assert abs(y.mean() - 25) < 1


def test_a_piecewise_warp_leaves_what_lies_outside_its_points() -> None:
    rng = np.random.default_rng(0)
    image, onto = (rng.integers(0, 256, (48, 48, 3), dtype=np.uint8) for _ in range(2))
    points = np.array([[10, 10], [30, 10], [30, 30], [10, 30]], np.float32)
    warped = warps.piecewise(image, points, points, onto)
    assert np.array_equal(warped[11:30, 11:30], image[11:30, 11:30])
    assert np.array_equal(warped[:, 32:], onto[:, 32:])


def test_colour_transfer_takes_over_the_statistics() -> None:
    rng = np.random.default_rng(0)
    image = np.clip(rng.normal((90, 110, 130), 12, (64, 64, 3)), 0, 255).astype(np.uint8)
    reference = np.clip(rng.normal((160, 120, 100), 20, (64, 64, 3)), 0, 255).astype(np.uint8)
    everywhere = np.ones((64, 64), bool)
    moved = colours.reinhard(image, reference, everywhere, everywhere)
    matched = colours.match_histogram(image, reference, everywhere, everywhere)
    lab = [cv2.cvtColor(one, cv2.COLOR_RGB2LAB).reshape(-1, 3).astype(float) for one in (moved, reference)]
    assert np.abs(lab[0].mean(axis=0) - lab[1].mean(axis=0)).max() < 2
    assert np.abs(lab[0].std(axis=0) - lab[1].std(axis=0)).max() < 2
    assert np.abs(matched.mean(axis=(0, 1)) - reference.mean(axis=(0, 1))).max() < 2
    assert np.abs(matched.std(axis=(0, 1)) - reference.std(axis=(0, 1))).max() < 2


def test_multiband_of_a_picture_with_itself_is_that_picture() -> None:
    image = np.random.default_rng(0).integers(0, 256, (61, 83, 3), dtype=np.uint8)
    mask = np.zeros((61, 83), np.float32)
    mask[20:40, 20:60] = 1
    assert np.abs(seams.multiband(image, image, mask).astype(int) - image).max() <= 1


def test_poisson_blending_takes_gradients_from_within_and_colour_from_around() -> None:
    outer = np.full((64, 64, 3), 120, np.uint8)
    inner = np.full((64, 64, 3), 30, np.uint8)
    inner[30:34, 30:34] = 90
    mask = np.zeros((64, 64), np.uint8)
    mask[16:48, 16:48] = 255
    result = seams.poisson(inner, outer, mask).astype(int)
    assert abs(result[20, 20, 0] - 120) < 12
    assert result[32, 32, 0] > result[20, 20, 0] + 40


def test_poisson_keeps_a_picture_in_place() -> None:
    """The clone is laid by the middle of its mask: a shift by one pixel would show here."""
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for width in (31, 32):
        mask = np.zeros((64, 64), np.uint8)
        mask[10 : 10 + width, 12 : 12 + width] = 255
        assert np.abs(seams.poisson(image, image, mask).astype(int) - image).max() <= 3
