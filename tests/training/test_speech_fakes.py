"""Fakes made from genuine speech keep length, loudness and words, and lose what each maker cannot carry."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from detection.training import speech_fakes
from detection.training.speech_fakes import COPY_SYNTHESIS, RATE_HZ


def vowel(seconds: float = 0.8, pitch_hz: float = 120.0) -> np.ndarray:
    """A buzz with formants at 700 and 1200 Hz, in syllables."""
    t = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    harmonics = [k * pitch_hz for k in range(1, 30)]
    loud = [np.exp(-(((f - 700) / 200) ** 2)) + 0.5 * np.exp(-(((f - 1200) / 250) ** 2)) + 0.02 for f in harmonics]
    tone = sum(a * np.sin(2 * np.pi * f * t + k) for k, (f, a) in enumerate(zip(harmonics, loud, strict=True)))
    return (0.1 * tone * (1.2 + np.sin(2 * np.pi * 4 * t))).astype(np.float32)


def envelope(samples: np.ndarray) -> np.ndarray:
    """Long-term spectrum in bands of 250 Hz, as a distribution."""
    power = np.abs(np.fft.rfft(samples)) ** 2
    bands = np.array([chunk.sum() for chunk in np.array_split(power, 32)])
    return bands / bands.sum()


@pytest.mark.parametrize("name", COPY_SYNTHESIS)
def test_a_copy_says_the_same_as_loud_and_as_long_but_is_not_the_same(name):
    genuine = vowel()
    copy = COPY_SYNTHESIS[name](genuine, np.random.default_rng(0))
    assert copy.shape == genuine.shape
    assert copy.dtype == np.float32
    assert np.sqrt(np.mean(copy**2)) == pytest.approx(np.sqrt(np.mean(genuine**2)), rel=1e-3)
    assert np.abs(envelope(copy) - envelope(genuine)).sum() < 0.5  # 2 would be entirely different
    assert np.abs(copy - genuine).max() > 0.02


@pytest.mark.parametrize("name", COPY_SYNTHESIS)
def test_the_same_seed_makes_the_same_copy(name):
    genuine = vowel(0.3)
    first, second = (COPY_SYNTHESIS[name](genuine, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", COPY_SYNTHESIS)
def test_silence_and_scraps_do_not_break_a_maker(name):
    for samples in (np.zeros(4000, np.float32), vowel(0.05)):
        copy = COPY_SYNTHESIS[name](samples, np.random.default_rng(0))
        assert copy.shape == samples.shape
        assert np.isfinite(copy).all()


def test_griffin_lim_keeps_magnitudes_and_loses_phases():
    genuine = vowel()
    copy = speech_fakes.griffin_lim(genuine, np.random.default_rng(0))
    before, after = (np.abs(speech_fakes._spectrum(x)) for x in (genuine, copy))
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.95
    assert abs(np.corrcoef(genuine, copy)[0, 1]) < 0.9


def test_phases_below_the_limit_stay():
    genuine = vowel()
    copy = speech_fakes.phase_randomised(genuine, np.random.default_rng(0), share=1.0)
    low = slice(0, int(800 / RATE_HZ * len(genuine)))
    before, after = (np.fft.rfft(x)[low] for x in (genuine, copy))
    assert np.abs(before - after).sum() / np.abs(before).sum() < 0.2


@pytest.mark.parametrize("pitch_hz", [90.0, 120.0, 210.0])
def test_pitch_is_found(pitch_hz):
    found, voiced = speech_fakes._pitch(vowel(0.5, pitch_hz)[3000:3640])
    assert found == pytest.approx(pitch_hz, rel=0.05)
    assert voiced > 0.5


def test_noise_has_no_voice():
    noise = np.random.default_rng(0).standard_normal(640).astype(np.float32)
    assert speech_fakes._pitch(noise)[1] < 0.5


def test_a_splice_takes_a_third_to_a_half_from_the_other_at_equal_loudness():
    genuine, other = vowel(1.0, 100), vowel(1.0, 180) * 0.01
    mixed = speech_fakes.spliced(genuine, other, np.random.default_rng(1))
    steps = np.abs(mixed - genuine).reshape(-1, 160).max(1) > 0.01
    assert 0.25 < steps.mean() < 0.6
    inside, outside = mixed.reshape(-1, 160)[steps], mixed.reshape(-1, 160)[~steps]
    assert np.sqrt(np.mean(inside**2)) == pytest.approx(np.sqrt(np.mean(outside**2)), rel=0.6)


def test_a_loudspeaker_has_no_deep_bass():
    genuine = vowel() + 0.2 * np.sin(2 * np.pi * 50 * np.arange(int(0.8 * RATE_HZ)) / RATE_HZ).astype(np.float32)
    heard = speech_fakes.replayed(genuine.astype(np.float32), np.random.default_rng(0))
    bass = slice(30, 50)  # 37 to 63 Hz
    assert np.abs(np.fft.rfft(heard))[bass].max() < 0.3 * np.abs(np.fft.rfft(genuine))[bass].max()
