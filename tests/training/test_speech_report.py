"""Figures of the speech branch: what is debatable is counted apart, and windows are judged as recordings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from detection.training import speech_recordings, speech_report
from detection.training.audio_features import Clip


def clips(kind: str = "tts") -> list[Clip]:
    """Four sources with six genuine and six fake clips each."""
    made = []
    for source in "abcd":
        made += [Clip(Path("x"), "x", False, source, "real", "human", "en") for _ in range(6)]
        made += [Clip(Path("x"), "x", True, source, f"tts-{source}", kind, "en") for _ in range(6)]
    return made


def logits(gap: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.standard_normal(48) + gap * np.tile([0] * 6 + [1] * 6, 4)).astype(np.float32)


def test_what_is_debatable_is_left_out_of_the_second_figure():
    mixed = clips()
    mixed = [
        c if c.source != "d" or not c.is_fake else Clip(c.path, c.name, True, "d", "Codec", "codec", "en")
        for c in mixed
    ]
    scores = logits(4.0)
    scores[42:] = -9.0  # the codec is never found
    found = speech_report.figures(mixed, [{"clean": scores}], 1.0, 0.0)
    assert found["auroc_tts_vc"] > 0.97
    assert found["auroc"] < 0.8
    assert found["kinds"]["codec"]["auroc"] == 0.0
    assert found["kinds"]["tts"]["n_fake"] == 18
    low, high = found["auroc_tts_vc_ci"]
    assert low <= found["auroc_tts_vc"] <= high


def test_false_alarms_are_told_by_source_with_an_interval():
    scores = logits(4.0) - 2
    scores[:6] = 5.0  # every genuine clip of source a looks fake
    found = speech_report.figures(clips(), [{"clean": scores}], 1.0, 0.0)["false_alarms"]
    assert found["a"]["share"] == 1.0
    assert found["b"]["share"] < 0.5
    assert found["a"]["ci"][0] < 1.0 == found["a"]["ci"][1]


def test_a_language_with_one_class_has_no_figure():
    one = [Clip(c.path, c.name, c.is_fake, c.source, c.system, c.kind, "ms" if c.is_fake else "sw") for c in clips()]
    found = speech_report.figures(one, [{"clean": logits(1.0)}], 1.0, 0.0)["languages"]
    assert np.isnan(found["ms"]["auroc"])
    assert found["ms"]["n_real"] == 0


def test_several_windows_tell_more_than_one_and_a_cloned_part_shows_in_the_top():
    found = speech_recordings.compare(clips(), logits(1.5), seed=0)
    assert found["mean"]["wholly"] > 0.9
    assert found["shipped"]["partly"] >= found["median"]["partly"]
    assert set(found) == set(speech_recordings.RULES)


def test_the_rules_are_what_their_names_say():
    windows = np.array([0.0, 0.0, 1.0, 1.0, 10.0], np.float32)
    assert speech_recordings.trimmed_mean(windows) == pytest.approx(2 / 3)
    assert speech_recordings.top_quarter(windows) == 10.0


def test_without_genuine_speech_there_is_no_comparison():
    fakes = [c for c in clips() if c.is_fake]
    found = speech_recordings.compare(fakes, np.ones(24, np.float32), seed=0)
    assert np.isnan(found["mean"]["wholly"])
