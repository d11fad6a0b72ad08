"""Stability: the same item saved in other ways, looked at again."""

from __future__ import annotations

import numpy as np
import pytest

from detection.engine import stability
from detection.engine.fusion import Thresholds, fuse
from detection.engine.types import CurvePoint, Evidence, Scene, Verdict
from tests.engine import scenes
from tests.engine.test_fusion import STACK, said

LIMITS = Thresholds(fake=0.6, real=0.4)


def sharpness(scene: Scene) -> float:
    """A stand-in detector that believes in fine noise, the first thing that re-encoding removes."""
    return float(np.mean([np.abs(np.diff(f.image.astype(float), axis=1)).mean() for f in scene.media.frames]))


def noisy_scene(box: tuple[float, float, float, float] | None = None) -> Scene:
    noise = np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8)
    return scenes.still(noise, box)


def verdict_on(scene: Scene, evidence: list[Evidence]) -> Verdict:
    return fuse(scene.media.info.kind, evidence, stack=STACK, thresholds=LIMITS)


def by_sharpness(name: str, scene: Scene) -> Evidence:
    return said(name, 0.95 if sharpness(scene) > 60 else 0.05)


def test_a_verdict_that_rests_on_fine_noise_flips() -> None:
    scene = noisy_scene()
    verdict = verdict_on(scene, [by_sharpness("synthesis", scene)])
    found = stability.check(scene, verdict, stack=STACK, thresholds=LIMITS, examine=by_sharpness)
    assert verdict.label == "fake"
    assert found is not None
    assert found.flips
    assert [name for name, _ in found.variants] == ["jpeg_50", "half_size"]
    assert found.band[0] < 0.1
    assert found.band[1] == pytest.approx(verdict.score)


def test_a_verdict_that_survives_does_not_flip() -> None:
    scene = noisy_scene()
    verdict = verdict_on(scene, [said("synthesis", 0.9)])
    found = stability.check(
        scene, verdict, stack=STACK, thresholds=LIMITS, examine=lambda name, _: said(name, 0.85), full=True
    )
    assert found is not None
    assert not found.flips
    assert found.full
    assert {n for n, _ in found.variants} == {"jpeg_50", "jpeg_30", "half_size", "crop", "screenshot"}


def test_cheap_looks_only_at_the_branch_that_carries_the_verdict() -> None:
    scene = noisy_scene((20.0, 20.0, 40.0, 40.0))
    verdict = verdict_on(scene, [said("spatial", 0.97), said("synthesis", 0.5)])
    asked = set()

    def examine(name: str, _: Scene) -> Evidence:
        asked.add(name)
        return said(name, 0.9)

    stability.check(scene, verdict, stack=STACK, thresholds=LIMITS, examine=examine)
    assert asked == {"spatial"}


def test_a_branch_without_weight_is_not_run_again() -> None:
    scene = noisy_scene()
    verdict = verdict_on(scene, [said("frequency", 0.9)])
    never = pytest.fail
    assert stability.check(scene, verdict, stack=STACK, thresholds=LIMITS, examine=lambda *_: never("ran")) is None


def test_a_clip_is_tested_on_its_most_suspicious_window() -> None:
    scene = scenes.clip(48)
    curve = tuple(
        CurvePoint(w.span.start_s, w.span.end_s, p, track=0)
        for w, p in zip(scene.windows, (0.1, 0.9, 0.2), strict=True)
    )
    verdict = verdict_on(scene, [said("spatial", 0.7, curve=curve)])
    part = stability.picture_excerpt(scene, verdict)
    assert [f.index for f in part.media.frames] == [f.frame_index for f in scene.windows[1].faces]


def test_faces_move_with_the_picture() -> None:
    face = scenes.still(box=(100.0, 50.0, 40.0, 60.0)).tracks[0].faces[0]
    moved = stability.move_face(face, 0.5, 10, 5)
    assert moved.box == (40.0, 20.0, 20.0, 30.0)


def test_the_telephone_removes_what_it_cannot_carry() -> None:
    t = np.arange(16000) / 16000
    low = np.sin(2 * np.pi * 1000 * t).astype(np.float32) * 0.5
    high = np.sin(2 * np.pi * 6000 * t).astype(np.float32) * 0.5
    assert np.std(stability.over_the_telephone(low)) == pytest.approx(np.std(low), rel=0.05)
    assert np.std(stability.over_the_telephone(high)) < 0.02


def test_low_bitrate_keeps_length_and_voice() -> None:
    sound = scenes.recording(1.0).media.audio
    assert sound is not None
    coded = stability.as_low_bitrate(sound)
    assert coded.shape == sound.shape
    assert np.std(coded) == pytest.approx(np.std(sound), rel=0.25)
    assert not np.array_equal(coded, sound)


def test_a_long_recording_is_tested_on_its_most_suspicious_seconds() -> None:
    scene = scenes.recording(30.0)
    curve = (CurvePoint(0.0, 1.0, 0.2), CurvePoint(20.0, 21.0, 0.95))
    verdict = verdict_on(scene, [said("audio", 0.7, "voice", curve=curve)])
    part = stability.sound_excerpt(scene, verdict)
    assert part.media.audio is not None
    assert len(part.media.audio) == stability.EXCERPT_S * 16000
    assert np.abs(part.media.audio[:16000]).max() > 0.25  # from the loud middle, not from the quiet start


@pytest.mark.parametrize(
    ("score", "others", "flips"),
    [(0.9, [0.5], False), (0.9, [0.3], True), (0.1, [0.7], True), (0.5, [0.1, 0.9], False)],
)
def test_only_the_opposite_label_is_a_flip(score: float, others: list[float], flips: bool) -> None:
    assert stability.flips(score, others, LIMITS) is flips
