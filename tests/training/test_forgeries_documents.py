"""Forged pages: each forgery stays within its mask, says what it did, and does what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from detection.training.forgeries import documents, recapture, text_fields
from detection.training.forgeries.forged import Box, Forged, NotForgeable
from tests.engine.scenes import astronaut

LINES = {
    "NAME OF HOLDER": (60, 60),
    "18.03.1977": (60, 130),
    "NUMBER 4409 7713": (300, 220),
    "VALID UNTIL 2031": (60, 300),
}


@pytest.fixture(scope="module")
def page() -> np.ndarray:
    """A grey sheet with four lines of print and a little paper noise."""
    sheet = Pillow.new("RGB", (640, 400), (226, 222, 214))
    draw = ImageDraw.Draw(sheet)
    for text, place in LINES.items():
        draw.text(place, text, fill=(35, 38, 60), font=ImageFont.load_default(26))
    noise = np.random.default_rng(0).normal(0, 2, (400, 640, 3))
    return np.clip(np.asarray(sheet, np.float32) + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def blank() -> np.ndarray:
    return np.full((200, 300, 3), 220, np.uint8)


FORGERIES = [documents.retype, documents.erase, documents.copy_move, documents.stamp, documents.signature]


@pytest.mark.parametrize("forge", FORGERIES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_nothing_outside_the_mask_changes(
    page: np.ndarray, forge: Callable[[np.ndarray, np.random.Generator], Forged], seed: int
) -> None:
    before = page.copy()
    forgery = forge(page, np.random.default_rng(seed))
    differs = (forgery.image != page).any(axis=2)
    assert np.array_equal(page, before)  # the original is left alone
    assert forgery.image.shape == page.shape
    assert not differs[forgery.mask == 0].any()
    assert differs[forgery.mask > 0].mean() > 0.2
    touched = forgery.boxes[0]
    assert (forgery.mask[touched.slices] > 0).sum() == (forgery.mask > 0).sum()


@pytest.mark.parametrize("forge", FORGERIES)
def test_the_seed_says_it_all(page: np.ndarray, forge: Callable[[np.ndarray, np.random.Generator], Forged]) -> None:
    first, again, other = (forge(page, np.random.default_rng(seed)) for seed in (7, 7, 8))
    assert np.array_equal(first.image, again.image)
    assert first.boxes == again.boxes
    assert not np.array_equal(first.image, other.image)


def test_every_line_of_print_is_found_and_nothing_else(page: np.ndarray) -> None:
    fields = text_fields.find_fields(page)
    for text, (x, y) in LINES.items():
        wide, high = (int(value) for value in ImageFont.load_default(26).getbbox(text)[2:])
        line = Box("line", x, y, wide, high)
        covered = np.zeros(page.shape[:2], bool)
        for field in fields:
            covered[field.slices] = True
        assert covered[line.slices].mean() > 0.7, text
    assert all(any(f.overlaps(Box("line", x, y, 330, 34)) for x, y in LINES.values()) for f in fields)


def test_a_blank_page_and_a_face_hold_no_print(blank: np.ndarray) -> None:
    assert text_fields.find_fields(blank) == []
    for forge in (documents.retype, documents.erase):
        with pytest.raises(NotForgeable, match="no line of print"):
            forge(blank, np.random.default_rng(0))
    with pytest.raises(NotForgeable, match="copy would show"):
        documents.copy_move(blank, np.random.default_rng(0))


def test_ink_is_measured_as_it_was_printed(page: np.ndarray) -> None:
    ink = text_fields.measure_ink(page[125:170, 55:240])
    assert ink.is_dark
    assert np.abs(np.array(ink.colour) - (35, 38, 60)).max() < 15
    assert 15 <= ink.height_px <= 24
    assert 1 < ink.noise < 4


def test_white_print_on_dark_is_measured_too(page: np.ndarray) -> None:
    ink = text_fields.measure_ink(255 - page[125:170, 55:240])
    assert not ink.is_dark
    assert np.abs(np.array(ink.colour) - (220, 217, 195)).max() < 15


def test_erased_print_is_gone(page: np.ndarray) -> None:
    patch = page[125:170, 55:240]
    erased = text_fields.erase_print(patch)
    assert patch.min() < 60
    assert erased.min() > 180


def test_retyped_print_is_other_print_of_like_looks(page: np.ndarray) -> None:
    forgery = documents.retype(page, np.random.default_rng(3))
    where = forgery.boxes[0].slices
    old, new = text_fields.measure_ink(page[where]), text_fields.measure_ink(forgery.image[where])
    assert forgery.boxes[0].kind == "retyped"
    assert np.abs(np.array(old.colour) - new.colour).max() < 20
    assert abs(old.height_px - new.height_px) <= 0.25 * old.height_px
    letters = [text_fields.ink_mask(picture[where])[0] > 0 for picture in (page, forgery.image)]
    assert (letters[0] != letters[1]).sum() > 0.3 * letters[0].sum()


def test_a_copy_is_a_copy(page: np.ndarray) -> None:
    for seed in range(4):
        forgery = documents.copy_move(page, np.random.default_rng(seed))
        to, source = forgery.boxes
        assert (to.kind, source.kind) == ("copied_to", "copied_from")
        assert not to.overlaps(source)
        inner = np.s_[to.height // 4 : -to.height // 4, to.width // 8 : -to.width // 8]
        assert np.array_equal(forgery.image[to.slices][inner], page[source.slices][inner])


def test_ink_only_darkens(page: np.ndarray) -> None:
    for forge in (documents.stamp, documents.signature):
        assert (forge(page, np.random.default_rng(1)).image <= page).all()


def test_a_portrait_swap_replaces_the_face_and_its_surroundings() -> None:
    image = astronaut()
    donor = np.ascontiguousarray(image[:, ::-1])
    donor = cv2.convertScaleAbs(donor, alpha=0.8, beta=30)
    forgery = documents.portrait_swap(image, donor, np.random.default_rng(0))
    differs = (forgery.image != image).any(axis=2)
    box = forgery.boxes[0]
    assert box.kind == "portrait"
    assert not differs[forgery.mask == 0].any()
    assert differs[forgery.mask > 0].mean() > 0.8
    assert box.x < 200 < 250 < box.x + box.width  # the face lies at x 179 to 272, y 69 to 176
    assert box.y < 100 < 150 < box.y + box.height


def test_a_portrait_needs_a_face_in_both(page: np.ndarray) -> None:
    with pytest.raises(NotForgeable, match="in the picture"):
        documents.portrait_swap(page, astronaut(), np.random.default_rng(0))
    with pytest.raises(NotForgeable, match="donor"):
        documents.portrait_swap(astronaut(), page, np.random.default_rng(0))


@pytest.mark.parametrize("medium", recapture.MEDIUMS)
def test_a_recapture_is_the_same_scene_seen_again(page: np.ndarray, medium: str) -> None:
    forgery = recapture.as_forgery(page, recapture.draw_recipe(np.random.default_rng(4), medium))
    assert forgery.image.shape == page.shape
    assert (forgery.mask == 255).all()
    assert forgery.boxes == (Box(medium, 0, 0, 640, 400),)
    assert forgery.genuine is not None
    assert 1 < np.abs(forgery.image.astype(int) - forgery.genuine).mean() < 40
    # Seen straight on, the same print lies at the same place.
    level = replace(recapture.draw_recipe(np.random.default_rng(4), medium), corner_shift=0.0)
    print_then, print_now = (
        text_fields.ink_mask(one[125:170, 55:240])[0] > 0 for one in (page, recapture.recapture(page, level))
    )
    assert (print_then & print_now).sum() > 0.7 * print_then.sum()
    assert print_now.mean() < 2 * print_then.mean()


def test_a_screen_beats_where_paper_does_not(blank: np.ndarray) -> None:
    """Moiré is a peak in the spectrum of an even area; a scan has none as strong."""

    def peak(medium: str) -> float:
        seen = recapture.recapture(blank, recapture.draw_recipe(np.random.default_rng(1), medium))[:, :, 1].astype(
            float
        )
        spectrum = np.abs(np.fft.rfft2(seen - cv2.GaussianBlur(seen, (0, 0), 12)))
        return float(spectrum.max() / np.median(spectrum))

    assert peak("screen_photo") > 3 * peak("print_scan")


def test_a_recapture_is_repeatable(page: np.ndarray) -> None:
    recipe = recapture.draw_recipe(np.random.default_rng(9))
    assert np.array_equal(recapture.recapture(page, recipe), recapture.recapture(page, recipe))


def test_light_and_softness_of_a_recapture_are_those_of_the_genuine_beside_it() -> None:
    """Else a detector of recapture would be one of soft and dark pictures."""
    page = astronaut()
    rng = np.random.default_rng(0)
    darker, softer = 0, 0
    for _ in range(30):
        pair = recapture.as_forgery(page, recapture.draw_recipe(rng))
        assert pair.genuine is not None
        fake, real = (cv2.cvtColor(one, cv2.COLOR_RGB2GRAY) for one in (pair.image, pair.genuine))
        assert abs(float(fake.mean()) - float(real.mean())) < 12
        darker += float(fake.mean()) < float(real.mean())
        softer += cv2.Laplacian(fake, cv2.CV_32F).var() < cv2.Laplacian(real, cv2.CV_32F).var()
    assert 3 < softer < 27
    assert darker < 29
