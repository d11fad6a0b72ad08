"""Speech is found where it is, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from detection.engine import voice
from tests.engine.clips import tone


def voiced(seconds: float, pitch_hz: float = 130.0) -> np.ndarray:
    """A sung vowel-like sound: glottal pulses through moving formants, with syllables."""
    rate = voice.RATE_HZ
    time_s = np.arange(int(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(pitch_hz * (1 + 0.1 * np.sin(2 * np.pi * 2.3 * time_s))) / rate
    first = 550 + 250 * np.sin(2 * np.pi * 3.1 * time_s)
    second = 1500 + 500 * np.sin(2 * np.pi * 2.2 * time_s + 1)
    sound = np.zeros_like(time_s)
    for harmonic in range(1, 30):
        frequency = harmonic * pitch_hz
        gain = np.exp(-(((frequency - first) / 160) ** 2)) + 0.6 * np.exp(-(((frequency - second) / 220) ** 2))
        sound += (gain + 0.02) * np.sin(harmonic * phase)
    syllables = 0.15 + np.clip(np.sin(2 * np.pi * 3.7 * time_s), 0, 1)
    sound *= syllables
    return (0.4 * sound / np.abs(sound).max()).astype(np.float32)


def test_speech_like_sound_is_found_between_silences():
    quiet = np.zeros(voice.RATE_HZ, np.float32)
    spans = voice.speech_spans(np.concatenate([quiet, voiced(2.0), quiet]))
    assert spans
    assert spans[0].start_s == pytest.approx(1.0, abs=0.4)
    assert spans[-1].end_s == pytest.approx(3.0, abs=0.4)


def test_no_speech_in_silence_noise_or_a_tone():
    assert voice.speech_spans(np.zeros(48_000, np.float32)) == ()
    noise = np.random.default_rng(0).normal(0, 0.05, 48_000).astype(np.float32)
    assert voice.speech_spans(noise) == ()
    assert voice.speech_spans(tone(3.0)) == ()


@pytest.mark.parametrize("audio", [None, np.zeros(0, np.float32), np.zeros(100, np.float32)])
def test_no_sound_no_speech(audio):
    assert voice.speech_spans(audio) == ()


def test_long_recordings_are_read_in_blocks_with_the_same_outcome(monkeypatch):
    audio = np.tile(np.concatenate([voiced(1.5), np.zeros(8000, np.float32)]), 3)
    whole = voice.speech_probabilities(audio)
    monkeypatch.setattr(voice, "BLOCK", 7)
    np.testing.assert_allclose(voice.speech_probabilities(audio), whole, atol=1e-4)
    assert whole.shape == (-(-audio.size // voice.STEP),)


def test_hysteresis_bridges_a_short_dip_and_ends_at_a_long_pause():
    probabilities = np.array([0, 0.9, 0.2, 0.9, 0.4, 0.9, 0.1, 0.1, 0.1, 0.1, 0.9, 0.2], np.float32)
    assert voice._runs(probabilities) == [(1, 6), (10, 11)]
