"""Lips and sound: geometry, lags, reasons for silence, and the shipped weights on a made-up talker."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detection.engine import registry, runtime
from detection.engine.branches import av_sync
from detection.engine.registry import BranchSpec
from detection.engine.types import CurvePoint, Face, Scene, Span, Track
from tests.engine import scenes

SPEC = BranchSpec("av_sync", "synchrony", "1", {}, 0, (0.0,), (1.0,), 0.5, "", "", "", temperature=1.0, bias=1.0)
RATE_HZ = 12.5
GOLDEN = [-1.331, -3.862, -4.049, 0.193, -1.247]


def mesh(openings: np.ndarray, size: float = 100.0) -> np.ndarray:
    """(t, 468, 3) points of a still face, eyes `size` apart, whose lips stand `openings` eye distances apart."""
    points = np.random.default_rng(0).uniform(0, 2 * size, (1, 468, 3)).repeat(len(openings), axis=0)
    points[:, 33], points[:, 263] = (20, 40, 0), (20 + size, 40, 0)
    for upper, lower in av_sync.DISTANCES[: av_sync.OPENINGS]:
        points[:, upper] = (20 + size / 2, 120, 0)
        points[:, lower] = np.stack([np.full_like(openings, 20 + size / 2), 120 + size * openings, 0 * openings], 1)
    return points.astype(np.float32)


def talker(seconds: float = 4.0, *, number: int = 0, moves: float = 0.1, width: float = 120.0) -> Track:
    times = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    meshes = mesh(moves * (1 + np.sin(2 * np.pi * 3 * times)))
    return Track(
        number,
        tuple(
            Face(2 * i, float(t), (10.0, 10.0, width, 150.0), 0.9, landmarks=m, track=number)
            for i, (t, m) in enumerate(zip(times, meshes, strict=True))
        ),
    )


def talk(*tracks: Track, seconds: float = 4.0) -> Scene:
    scene = scenes.clip(count=round(seconds * RATE_HZ), size=240)
    sound = np.random.default_rng(1).normal(0, 0.1, round(seconds * 16_000)).astype(np.float32)
    media = replace(scene.media, audio=sound)
    return replace(scene, media=media, tracks=tracks or (talker(seconds),), speech=(Span(0.0, seconds),))


class Lagging:
    """A stand-in net that finds every window's sound `lag` steps late."""

    def __init__(self, lag: int, height: float = 6.0) -> None:
        self.spec, self.lag, self.height = SPEC, lag, height
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        self.shapes.append(batch.shape)
        logits = np.zeros((len(batch), av_sync.LAGS), np.float32)
        logits[:, av_sync.IN_STEP + self.lag] = self.height
        return {"logit": logits}


@pytest.mark.parametrize(("lag", "ms"), [(0, 0), (3, 120), (-5, -200)])
def test_the_best_lag_becomes_an_offset(lag, ms):
    net = Lagging(lag)
    evidence = av_sync.examine(talk(), net)
    assert (evidence.state, evidence.channel) == ("scored", "synchrony")
    assert evidence.data["offset_ms"] == ms
    assert 0.85 < evidence.confidence <= av_sync.MAX_CONFIDENCE
    assert net.shapes[0][1] == 32_000 + av_sync.LIP_STEPS * av_sync.FEATURES


def test_out_of_step_scores_higher_and_is_marked():
    good, bad = (av_sync.examine(talk(), Lagging(lag)) for lag in (0, 8))
    assert good.score < 0.5 < bad.score
    assert good.data["desync"] == []
    assert bad.data["desync"] == [{"start_s": 0.0, "end_s": pytest.approx(3.92, abs=0.1)}]
    assert "320 ms late" in bad.sentence
    assert "in step" in good.sentence


def test_a_flat_answer_claims_nothing():
    evidence = av_sync.examine(talk(), Lagging(5, height=0.0))
    assert evidence.data["offset_confidence"] < 0.5
    assert "could not be told" in evidence.sentence


def test_every_reason_for_silence():
    scene, net = talk(), Lagging(0)
    still = scenes.still(box=(10, 10, 50, 50))
    mute = replace(scene, media=replace(scene.media, audio=None))
    unspoken = replace(scene, speech=())
    faceless = replace(scene, tracks=())
    resting = replace(scene, tracks=(talker(moves=0.0),))
    tiny = replace(scene, tracks=(talker(width=20.0),))
    crowd = replace(scene, tracks=(talker(), talker(number=1)))
    elsewhere = replace(scene, speech=(Span(3.9, 4.0),))
    found = [av_sync.examine(s, net) for s in (still, mute, unspoken, faceless, resting, tiny, crowd, elsewhere)]
    assert [e.reason for e in found] == [
        "not_a_video", "no_sound", "no_speech", "no_mouth", "no_mouth", "no_mouth", "several_faces", "too_short",
    ]  # fmt: skip
    assert all(e.state == "skipped" and e.score is None and e.sentence for e in found)


def test_the_one_who_talks_is_chosen_beside_a_listener():
    chosen = av_sync.talking((talker(moves=0.01), talker(number=1, moves=0.1)))
    assert [t.number for t in chosen] == [1]


def test_distances_know_no_scale():
    openings = np.linspace(0, 0.2, 9)
    small, large = (av_sync.lip_distances(mesh(openings, size)) for size in (50.0, 200.0))
    assert small[:, 0] == pytest.approx(openings, abs=1e-5)
    assert large[:, 0] == pytest.approx(openings, abs=1e-5)


def test_slow_changes_are_taken_out_and_quick_ones_kept():
    times = np.arange(50) / RATE_HZ
    slow, quick = times * 0.1, 0.05 * np.sin(2 * np.pi * 3 * times)
    looks = np.ones((50, av_sync.LOOK_PX**2), np.float32)
    start_s, features = av_sync.lip_features(times, mesh(0.3 + slow + quick), looks)
    assert (start_s, features.shape) == (0.0, (99, av_sync.FEATURES))
    middle = features[20:80, 0] * av_sync.SPREAD
    wanted = 0.05 * np.sin(2 * np.pi * 3 * (np.arange(20, 80) * av_sync.STEP_S))
    assert np.corrcoef(middle, wanted)[0, 1] > 0.95
    assert abs(middle.mean()) < 0.01


def test_a_mouth_at_the_edge_of_the_frame_still_has_a_look():
    image = np.full((120, 120, 3), 80, np.uint8)
    points = mesh(np.array([0.1]))[0]
    assert av_sync.look(image, points) == pytest.approx(np.full(144, 80 / 81), abs=0.01)
    assert av_sync.look(image, points + 500) == pytest.approx(np.ones(144))


def test_the_mouth_is_turned_upright():
    image = np.zeros((240, 240, 3), np.uint8)
    image[:, 120:] = 200
    points = mesh(np.array([0.1]))[0]
    points[list(av_sync.MOUTH_POINTS), :2] = 120
    points[10, :2], points[152, :2] = (120, 60), (120, 180)
    level = av_sync.look(image, points).reshape(12, 12)
    points[33, :2], points[263, :2] = (70, 40), (70, 140)  # the head lies on its side
    lying = av_sync.look(image, points).reshape(12, 12)
    assert level[:, 9:].mean() > 10 * level[:, :3].mean()
    assert lying[:3].mean() > 10 * lying[9:].mean()


def test_sound_before_the_start_is_silence():
    audio = np.arange(1, 48_001, dtype=np.float32)
    cut = av_sync.sound_at(audio, -0.5)
    assert len(cut) == 32_000
    assert not cut[:8000].any()
    assert cut[8000] == 1
    assert av_sync.sound_at(audio, 2.0)[-16_000:].any() == False  # noqa: E712


def test_a_single_doubtful_second_is_no_desync():
    def points(*scores: float) -> list[CurvePoint]:
        return [CurvePoint(0.5 * i, 0.5 * i + 1, s, 0) for i, s in enumerate(scores)]

    assert av_sync.parted(points(0.1, 0.9, 0.1)) == []
    assert av_sync.parted(points(0.1, 0.9, 0.8, 0.1, 0.7)) == [Span(0.5, 2.0)]


def test_long_clips_cost_no_more_than_their_windows():
    scene = talk(talker(40.0), seconds=40.0)
    assert len(list(av_sync.lip_windows(scene, scene.tracks[0]))) == av_sync.MAX_WINDOWS


def test_shipped_weights_give_what_was_measured():
    """Golden output: a tone that swells three times a second, and lips that open with it."""
    times = np.arange(32_000) / 16_000
    sound = (0.3 * np.sin(2 * np.pi * 220 * times) * (1 + np.sin(2 * np.pi * 3 * times)) / 2).astype(np.float32)
    lips = np.zeros((av_sync.LIP_STEPS, av_sync.FEATURES), np.float32)
    lips[:, : av_sync.OPENINGS] = np.sin(2 * np.pi * 3 * (0.48 + np.arange(25) * av_sync.STEP_S))[:, None]
    net = runtime.load("av_sync")
    found = net(np.concatenate([sound, lips.ravel()])[None])["logit"]
    assert found.shape == (1, av_sync.LAGS)
    assert found[0, ::6].tolist() == pytest.approx(GOLDEN, abs=0.02)


def test_shipped_weights_show_but_do_not_count():
    spec = registry.BRANCHES["av_sync"]
    assert (spec.channel, spec.fused) == ("synchrony", False)
    assert "does not count" in av_sync.sentence(av_sync.Match(200, 0.9, -3.0), 0.9, spec.fused)
