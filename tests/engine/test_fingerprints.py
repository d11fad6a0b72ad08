"""Prints: the same picture of a face and the same recording are found again, others are not."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from detection.engine import faces, fingerprints, stability
from detection.engine.types import Decoded, Scene, Track
from tests.engine import scenes


def of_picture(image: np.ndarray) -> str:
    found = max(faces.find_faces(image), key=lambda face: face.box[2] * face.box[3])
    scene = scenes.still(image)
    scene = replace(scene, tracks=(Track(0, (found,)),))
    return fingerprints.of_scene(scene).faces[0].bits


@pytest.mark.parametrize(
    "change",
    [
        lambda image: stability.save_as_jpeg(image, 30),
        lambda image: stability.shrink(image, 0.6),
        lambda image: stability.cut_edges(image, 0.06),
        stability.like_a_screenshot,
        lambda image: np.clip(image * 1.2 + 8.0, 0, 255).astype(np.uint8),
    ],
    ids=["jpeg", "smaller", "cropped", "screenshot", "brighter"],
)
def test_the_same_picture_of_a_face_is_found_again(change) -> None:
    original = scenes.astronaut()
    changed = np.ascontiguousarray(change(original))
    distance = scenes.different_bits(of_picture(original), of_picture(changed))
    assert distance <= fingerprints.SAME_FACE_BITS


def test_a_mirrored_face_is_another_picture() -> None:
    original = scenes.astronaut()
    other = np.ascontiguousarray(original[:, ::-1])
    assert scenes.different_bits(of_picture(original), of_picture(other)) > 2 * fingerprints.SAME_FACE_BITS


def test_small_faces_give_no_print() -> None:
    assert fingerprints.of_scene(scenes.still(box=(10.0, 10.0, 40.0, 44.0))).faces == ()


def test_a_person_gives_a_few_prints_spread_in_time() -> None:
    scene = scenes.clip(32, size=128)
    large = tuple(replace(face, box=(20.0, 20.0, 80.0, 80.0)) for face in scene.tracks[0].faces)
    found = fingerprints.of_scene(replace(scene, tracks=(Track(3, large),))).faces
    assert [print_.track for print_ in found] == [3, 3, 3]
    assert found[0].time_s < found[1].time_s < found[2].time_s


def melody(seed: int, seconds: float = 8.0) -> np.ndarray:
    """Syllable-like bursts of partials at changing pitch: what a voice's spectrum looks like, by a fixed seed."""
    rng = np.random.default_rng(seed)
    rate, parts = 16000, []
    while sum(map(len, parts)) < seconds * rate:
        t = np.arange(int(rng.uniform(0.09, 0.24) * rate)) / rate
        pitch, envelope = rng.uniform(90, 260), np.sin(np.pi * t / t[-1])
        partials = sum(rng.uniform(0, 1) * np.sin(2 * np.pi * pitch * k * t) for k in range(1, 13))
        parts += [0.05 * envelope * partials, np.zeros(int(rng.uniform(0.01, 0.08) * rate))]
    return np.concatenate(parts)[: int(seconds * rate)].astype(np.float32)


@pytest.mark.parametrize(
    "change",
    [
        stability.over_the_telephone,
        stability.as_low_bitrate,
        lambda sound: sound[37_123:101_000],
        lambda sound: sound + np.random.default_rng(1).normal(0, 0.1 * sound.std(), len(sound)).astype(np.float32),
        lambda sound: np.concatenate([melody(9, 5.0), sound]),
    ],
    ids=["telephone", "low bit rate", "cut out", "noise", "behind another"],
)
def test_the_same_recording_is_found_again(change) -> None:
    sound = melody(1)
    shared = fingerprints.aligned(fingerprints.sound_marks(sound), fingerprints.sound_marks(change(sound)))
    assert shared >= 2 * fingerprints.SAME_SOUND_MARKS


def test_another_recording_is_not() -> None:
    one, other = (fingerprints.sound_marks(melody(seed)) for seed in (1, 2))
    assert fingerprints.aligned(one, other) < fingerprints.SAME_SOUND_MARKS


def test_silence_and_very_short_sound_have_no_marks() -> None:
    assert fingerprints.sound_marks(np.zeros(32000, np.float32)) == ()
    assert fingerprints.sound_marks(melody(1)[:900]) == ()


def test_marks_are_bounded_and_fit_their_column() -> None:
    marks = fingerprints.sound_marks(np.tile(melody(3, 10.0), 30))
    assert len(marks) == fingerprints.MAX_MARKS
    assert all(0 <= mark.value < 2**31 for mark in marks)


def test_an_item_without_face_and_sound_has_no_prints() -> None:
    scene = Scene(Decoded(scenes.info("image"), scenes.still().media.frames))
    assert fingerprints.of_scene(scene) == fingerprints.Prints()


def test_flat_pictures_do_not_break_the_hash() -> None:
    assert len(fingerprints.face_bits(cv2.merge([np.full((64, 64), 90, np.uint8)] * 3))) == 64
