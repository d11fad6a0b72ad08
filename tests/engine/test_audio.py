"""The speech branch: where it listens, what it says, and the shipped weights."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from detection.engine import registry, runtime
from detection.engine.branches import audio
from detection.engine.types import Decoded, MediaInfo, Scene, Span
from detection.training import held_out

RATE_HZ = 16_000
GOLDEN = [3.898, -4.016]  # a hum in syllables, white noise
INFO = MediaInfo("audio", "wav", "audio/wav", 1, "0" * 64)


class StubNet:
    """Says +2 of loud windows, -2 of quiet ones."""

    spec = registry.BRANCHES["audio"]

    def __call__(self, batch):
        loud = np.sqrt((batch**2).mean(1)) > 0.2
        return {"logit": np.where(loud, 2.0, -2.0).astype(np.float32), "embedding": np.full((len(batch), 32), 0.05)}


def scene(sound: np.ndarray | None, *speech: tuple[float, float]) -> Scene:
    return Scene(Decoded(INFO, audio=sound), speech=tuple(Span(*s) for s in speech))


def hum(seconds: float, level: float = 0.1) -> np.ndarray:
    t = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    return (level * np.sin(2 * np.pi * 150 * t) * (1 + np.sin(2 * np.pi * 4 * t))).astype(np.float32)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (scene(None), "no_sound"),
        (scene(np.empty(0, np.float32)), "no_sound"),
        (scene(hum(3)), "no_speech"),
        (scene(hum(3), (1.0, 1.4)), "too_short"),
    ],
)
def test_what_is_not_speech_is_never_scored(given, reason):
    evidence = audio.examine(given, StubNet())
    assert (evidence.state, evidence.reason) == ("skipped", reason)
    assert evidence.score is None
    assert evidence.sentence.endswith(".")


def test_windows_lie_over_speech_alone():
    windows = audio.speech_windows([Span(1, 2.2), Span(2.4, 6), Span(9, 9.3), Span(12, 13)], end_s=14)
    assert windows[0] == Span(1, 3)
    assert windows[-2] == Span(4, 6)
    assert windows[-1] == Span(12, 13)
    assert all(w.end_s <= 6 or w.start_s >= 12 for w in windows)


def test_ten_minutes_of_speech_stay_affordable():
    windows = audio.speech_windows([Span(0, 600)], end_s=600)
    assert len(windows) == audio.MAX_WINDOWS
    assert windows[0].start_s == 0
    assert windows[-1].end_s == 600


def test_a_cloned_stretch_in_a_genuine_recording_shows_in_curve_and_score():
    sound = np.concatenate([hum(6), hum(4, 0.5), hum(6)])
    clean = audio.examine(scene(hum(16), (0, 16)), StubNet())
    mixed = audio.examine(scene(sound, (0, 16)), StubNet())
    assert mixed.score > clean.score
    worst = max(mixed.curve, key=lambda point: point.score)
    assert 5 <= worst.start_s <= 9
    assert mixed.data["suspicious_windows"] >= 3
    assert "stretches of speech" in mixed.sentence


def test_poor_sound_lowers_quality():
    good = audio.condition(np.concatenate([hum(4), np.zeros(RATE_HZ, np.float32)]), [Span(0, 4)])
    noise = np.random.default_rng(0).standard_normal(5 * RATE_HZ).astype(np.float32) * 0.1
    bad = audio.condition(np.clip(noise * 20, -1, 1), [Span(0, 4)])
    assert bad.clipped > 0.3
    assert bad.quality < good.quality


def test_shipped_weights_give_the_golden_logits():
    net = runtime.load("audio")
    noise = np.random.default_rng(0).standard_normal(32_000).astype(np.float32) * 0.05
    outputs = net(np.stack([audio.cut(hum(2), Span(0, 2)), noise, hum(2) * 0.2 + 0.3]))
    assert outputs["embedding"].shape == (3, 32)
    np.testing.assert_allclose(outputs["logit"][:2], GOLDEN, atol=0.05)
    # Neither loudness nor a DC offset may matter: both tell the recording chain, not the speaker.
    assert outputs["logit"][2] == pytest.approx(outputs["logit"][0], abs=0.05)


def test_loudness_and_repeats_do_not_change_a_real_analysis():
    net = runtime.load("audio")
    loud = audio.examine(scene(hum(5, 0.4), (0, 5)), net)
    soft = audio.examine(scene(hum(5, 0.04), (0, 5)), net)
    assert loud.score == pytest.approx(soft.score, abs=0.02)
    assert loud.version == registry.BRANCHES["audio"].version


def test_the_fusion_is_fitted_to_held_out_speech_scores():
    with (registry.WEIGHTS_DIR / "audio" / "oof.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["path"].split("/")[0] for row in rows} == {"audio"}
    assert len({row["path"] for row in rows}) == len(rows)
    row, spec = rows[0], registry.BRANCHES["audio"]
    entry = held_out.entry_of("audio", row["path"], label=int(row["label"] == "fake"), source=row["source"])
    assert entry is not None
    assert held_out.log_odds("audio", entry) == pytest.approx(float(row["logit"]) / spec.temperature + spec.bias)
    assert held_out.entry_of("audio", "audio/of_a_user.wav", label=1, source="") is None


@pytest.mark.parametrize(
    ("scores", "score", "words"),
    [
        ([0.9, 0.95], 0.92, "2 of 2 stretches of speech sound like a speech synthesizer"),
        (
            [0.6, 0.7],
            0.65,
            "2 of 2 stretches of speech lean towards a speech synthesizer or voice converter, not clearly",
        ),
        ([0.6], 0.6, "leans towards a speech synthesizer or voice converter, but not clearly"),
        ([0.9, 0.2], 0.4, "1 of 2 stretches of speech lean towards synthetic speech, most of all at 0:00"),
        ([0.1, 0.2], 0.15, "no clear trace"),
    ],
)
def test_the_sentence_is_no_surer_than_the_score(scores, score, words):
    spans = [Span(float(i), i + 2.0) for i in range(len(scores))]
    assert words in audio._sentence(spans, scores, score, audio.Condition(8.0, 30.0, 8000.0, 0.0))
