"""Physiology: formulas checked on faces and colours whose answer is known."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from detection.engine import registry
from detection.engine.branches import physiology
from detection.engine.errors import WeightsInvalid
from detection.engine.types import Scene, Track
from tests.engine import scenes

RATE_HZ = 12.5


def times(seconds: float, rate_hz: float = RATE_HZ) -> np.ndarray:
    return np.arange(round(seconds * rate_hz)) / rate_hz


def mesh(opening: np.ndarray) -> np.ndarray:
    """(t, 468, 3) points of a still face whose eyes are `opening` high, 30 wide."""
    rng = np.random.default_rng(0)
    points = np.repeat(rng.uniform(0, 100, (1, 468, 3)), len(opening), axis=0)
    for eye, x in ((physiology.LEFT_EYE, 20.0), (physiology.RIGHT_EYE, 80.0)):
        outer, top1, top2, inner, low2, low1 = eye
        points[:, outer], points[:, inner] = (x, 50, 0), (x + 30, 50, 0)
        for top, low, dx in ((top1, low1, 10), (top2, low2, 20)):
            points[:, top, :2] = np.stack([np.full_like(opening, x + dx), 50 - opening / 2], axis=1)
            points[:, low, :2] = np.stack([np.full_like(opening, x + dx), 50 + opening / 2], axis=1)
    return points


def test_eye_opening_is_height_over_width() -> None:
    assert physiology.eye_opening(mesh(np.full(3, 9.0))) == pytest.approx(np.full(3, 0.3))


def test_blinks_are_counted_per_minute() -> None:
    t = times(6)
    opening = np.full(len(t), 9.0)
    for start in (20, 50):
        opening[start : start + 2] = 2.0
    numbers = physiology.blinks(t, mesh(opening))
    assert numbers["blinks"] == 2
    assert numbers["blinks_per_min"] == pytest.approx(20, rel=0.05)


def test_eyes_shut_to_the_end_are_no_blink() -> None:
    opening = np.full(50, 9.0)
    opening[45:] = 1.0
    assert physiology.blinks(times(4), mesh(opening))["blinks"] == 0


def test_slow_sampling_cannot_count_blinks() -> None:
    t = times(10, rate_hz=4)
    assert physiology.blinks(t, mesh(np.full(len(t), 9.0)))["blinks_per_min"] is None


def test_a_gap_between_runs_is_neither_watched_nor_a_jump() -> None:
    t = np.concatenate([times(2), 10 + times(2)])
    opening = np.full(len(t), 9.0)
    opening[10:12] = 1.0
    numbers = physiology.blinks(t, mesh(opening))
    assert numbers["blinks_per_min"] == pytest.approx(15, rel=0.1)  # one in four watched seconds, not in twelve
    moved = mesh(opening)
    moved[25:] += 500
    assert physiology.geometry(t, moved)["landmark_jitter"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("yaw_deg", [0.0, 20.0, 40.0])
def test_head_pose_is_recovered(yaw_deg: float) -> None:
    angles = np.radians(np.linspace(0, yaw_deg, 40))
    points = np.zeros((40, 468, 3))
    for i, a in enumerate(angles):
        turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
        turned = physiology.POSE_MODEL @ turn.T + [0, 0, 600]
        points[i, list(physiology.POSE_POINTS), :2] = turned[:, :2] / turned[:, 2:] * 640 + [320, 240]
    numbers = physiology.head_pose(times(40 / RATE_HZ), points, (480, 640, 3))
    assert numbers["yaw_range"] == pytest.approx(0.9 * yaw_deg, abs=2)
    assert numbers["pitch_range"] == pytest.approx(0, abs=2)


def test_geometry_notices_a_melting_face() -> None:
    rng = np.random.default_rng(1)
    firm = mesh(np.full(40, 9.0))
    melting = firm + rng.normal(0, 2, firm.shape)
    t = times(40 / RATE_HZ)
    assert physiology.geometry(t, firm)["geometry_jitter"] == pytest.approx(0, abs=1e-9)
    assert physiology.geometry(t, melting)["geometry_jitter"] > 0.01


@pytest.mark.parametrize("bpm", [54, 72, 120])
def test_pulse_is_found_in_the_skin(bpm: int) -> None:
    t = times(8)
    rng = np.random.default_rng(2)
    beat = np.sin(2 * np.pi * bpm / 60 * t)
    colours = np.array([180.0, 120.0, 100.0]) * (1 + beat[:, None] * np.array([0.002, 0.006, 0.003]))
    numbers = physiology.pulse(t, colours + rng.normal(0, 0.05, colours.shape))
    assert numbers["pulse_bpm"] == pytest.approx(bpm, abs=6)
    assert numbers["pulse_snr_db"] > 3


def test_noise_has_no_pulse() -> None:
    t = times(8)
    colours = np.array([180.0, 120.0, 100.0]) + np.random.default_rng(3).normal(0, 0.5, (len(t), 3))
    assert physiology.pulse(t, colours)["pulse_snr_db"] < 1


def test_too_short_a_clip_has_no_pulse_at_all() -> None:
    t = times(2)
    assert physiology.pulse(t, np.ones((len(t), 3)) * 100)["pulse_snr_db"] is None


def test_flow_sees_a_face_that_moves_alone() -> None:
    scene = scenes.clip(24, size=128)
    base = np.random.default_rng(4).integers(60, 200, (128, 128, 3), dtype=np.uint8)
    frames = []
    for i, f in enumerate(scene.media.frames):
        image = base.copy()
        image[16:48, 16:48] = np.roll(base, i, axis=1)[16:48, 16:48]
        frames.append(replace(f, image=image))
    moving = replace(scene, media=replace(scene.media, frames=tuple(frames)))
    faces = scene.tracks[0].faces
    steady = np.ones(len(faces) - 1, bool)
    assert physiology.motion(moving, faces, steady)["flow_excess"] > 1


def test_a_still_and_a_faceless_clip_are_skipped_with_words() -> None:
    still = physiology.examine(scenes.still())
    assert (still.state, still.reason, still.score) == ("skipped", "not_a_video", None)
    empty = replace(scenes.clip(8), tracks=(), windows=())
    assert physiology.examine(empty).reason == "no_face"
    short = scenes.clip(4)
    assert physiology.examine(short).reason == "too_short"


def test_a_clip_is_measured_and_says_whether_it_counts() -> None:
    scene = scenes.clip(32)
    opening = np.full(32, 9.0)
    points = mesh(opening).astype(np.float32) / 100 * 32 + np.array([16, 16, 0], np.float32)
    faces = tuple(replace(f, landmarks=points[i]) for i, f in enumerate(scene.tracks[0].faces))
    evidence = physiology.examine(Scene(scene.media, None, (Track(0, faces),)))
    assert evidence.state == "scored"
    assert 0 < evidence.score < 1
    assert evidence.data["measurements"]["eye_opening"] == pytest.approx(0.3, abs=0.01)
    assert ("do not count" in evidence.sentence) is not physiology.load().is_fused


def test_a_missing_measurement_adds_nothing() -> None:
    features = {n: [1.0, 0.0, 1.0] for n in physiology.FEATURES}
    model = physiology.Regression({"version": "1", "fused": False, "intercept": 0.5, "features": features})
    numbers = dict.fromkeys(physiology.FEATURES) | {"flicker": 2.0}
    logit, known = model.logit(numbers)
    assert logit == pytest.approx(2.5)
    assert known == pytest.approx(1 / len(physiology.FEATURES))


def test_altered_weights_are_refused_by_name(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "physiology").mkdir()
    (tmp_path / registry.PHYSIOLOGY[0]).write_text(json.dumps({"fused": True}))
    monkeypatch.setattr(registry, "WEIGHTS_DIR", tmp_path)
    physiology.load.cache_clear()
    with pytest.raises(WeightsInvalid, match=r"physiology\.json was altered"):
        physiology.load()
    physiology.load.cache_clear()
