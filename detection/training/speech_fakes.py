"""Synthetic speech made from genuine speech: the same words, voice and channel in both classes.

Every maker takes (n,) float32 mono samples at 16 kHz and returns (n,) of the same length and loudness.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_toeplitz
from scipy.signal import butter, istft, lfilter, sosfiltfilt, stft

from detection.engine.branches.audio_net import slaney_filters
from detection.training import audio_augment

RATE_HZ = 16_000
FFT = 512
HOP = 128
ORDER = 18  # poles: one per kHz and two for the glottis
Floats = NDArray[np.float32]
Maker = Callable[[Floats, np.random.Generator], Floats]


def griffin_lim(samples: Floats, rng: np.random.Generator, rounds: int = 32) -> Floats:
    """Keep the magnitudes of the spectrum and invent phases that fit them (Griffin & Lim 1984)."""
    return _like(_invent_phase(np.abs(_spectrum(samples)), len(samples), rng, rounds), samples)


def mel_inversion(samples: Floats, rng: np.random.Generator, mels: int = 80, rounds: int = 16) -> Floats:
    """Pass through a mel spectrogram and back, as every mel vocoder must; phases by fast Griffin-Lim."""
    filters = slaney_filters(mels, FFT, RATE_HZ)
    mel = filters @ np.abs(_spectrum(samples)) ** 2
    power = np.maximum(np.linalg.pinv(filters) @ mel, 0)
    return _like(_invent_phase(np.sqrt(power), len(samples), rng, rounds), samples)


def phase_randomised(samples: Floats, rng: np.random.Generator, share: float = 0.5) -> Floats:
    """Turn the phases above a random frequency by up to `share` of a half circle: a smeared fine structure."""
    spectrum = _spectrum(samples)
    above = int(rng.uniform(1000, 4000) / RATE_HZ * FFT)
    turn = rng.uniform(-np.pi * share, np.pi * share, spectrum[above:].shape)
    spectrum[above:] *= np.exp(1j * turn)
    return _like(_waveform(spectrum, len(samples)), samples)


def lpc_resynthesis(samples: Floats, rng: np.random.Generator) -> Floats:
    """A channel vocoder: all-pole filters of 25 ms driven by pulses where the voice is pitched, by noise elsewhere."""
    frame, hop = RATE_HZ // 40, RATE_HZ // 100
    hann = np.hanning(frame)
    out = np.zeros(len(samples) + frame)
    phase = float(rng.uniform())
    for start in range(0, max(len(samples) - frame, 1), hop):
        piece = samples[start : start + frame]
        piece = np.pad(piece, (0, frame - len(piece)))
        pitch_hz, voiced = _pitch(piece)
        cycles = phase + np.arange(frame) * pitch_hz / RATE_HZ
        pulses = np.diff(np.floor(cycles), prepend=np.floor(cycles[0])) * np.sqrt(RATE_HZ / max(pitch_hz, 1.0))
        source = voiced * pulses + (1 - voiced) * rng.standard_normal(frame)
        poles, gain = _all_pole(piece * hann)
        out[start : start + frame] += hann * lfilter([gain], poles, source)
        phase = (phase + hop * pitch_hz / RATE_HZ) % 1.0
    return _like(out[: len(samples)], samples)


def spliced(samples: Floats, other: Floats, rng: np.random.Generator) -> Floats:
    """Replace a third to a half by the same stretch of another recording, at equal loudness, 5 ms cross-fade."""
    n = len(samples)
    length = int(n * rng.uniform(1 / 3, 1 / 2))
    start = int(rng.integers(0, n - length + 1))
    mask = np.zeros(n)
    mask[start : start + length] = 1
    ramp = np.hanning(RATE_HZ // 100)
    mask = np.convolve(mask, ramp / ramp.sum(), mode="same")
    return _like(samples * (1 - mask) + _like(np.resize(other, n), samples) * mask, samples)


def replayed(samples: Floats, rng: np.random.Generator) -> Floats:
    """Played by a small loudspeaker in a room and recorded again: band limits, soft clipping, echo, noise."""
    low, high = rng.uniform(120, 350), rng.uniform(4500, 7500)
    played = sosfiltfilt(butter(2, (low, high), "bandpass", fs=RATE_HZ, output="sos"), samples)
    drive = float(rng.uniform(1, 3)) / (np.abs(played).max() + 1e-9)
    bent = np.tanh(played * drive) / drive
    decay_s, wet = float(rng.uniform(0.1, 0.4)), float(rng.uniform(0.3, 0.9))
    heard = audio_augment.in_room(bent.astype(np.float32), decay_s, wet, rng)
    return _like(audio_augment.noisy(heard, float(rng.uniform(20, 40)), float(rng.uniform(0.3, 1.2)), rng), samples)


COPY_SYNTHESIS: dict[str, Maker] = {
    "griffin_lim": griffin_lim,
    "mel_inversion": mel_inversion,
    "phase_randomised": phase_randomised,
    "lpc_resynthesis": lpc_resynthesis,
}


def _spectrum(samples: Floats) -> NDArray[np.complex128]:
    return np.asarray(stft(samples, RATE_HZ, nperseg=FFT, noverlap=FFT - HOP)[2], np.complex128)


def _waveform(spectrum: NDArray[np.complex128], n: int) -> NDArray[np.float64]:
    found = istft(spectrum, RATE_HZ, nperseg=FFT, noverlap=FFT - HOP)[1]
    return np.pad(found[:n], (0, max(0, n - len(found))))


def _invent_phase(
    magnitude: NDArray[np.floating], n: int, rng: np.random.Generator, rounds: int, momentum: float = 0.9
) -> NDArray[np.float64]:
    """Fast Griffin-Lim (Perraudin et al. 2013)."""
    spectrum = magnitude * np.exp(2j * np.pi * rng.random(magnitude.shape))
    previous = np.zeros_like(spectrum)
    for _ in range(rounds):
        rebuilt = _spectrum(_waveform(spectrum, n).astype(np.float32))[:, : magnitude.shape[1]]
        ahead = rebuilt + momentum * (rebuilt - previous)
        previous = rebuilt
        spectrum = magnitude * np.exp(1j * np.angle(ahead))
    return _waveform(spectrum, n)


def _pitch(piece: Floats) -> tuple[float, float]:
    """Return (Hz, share of voicing 0..1) by the highest normalised autocorrelation between 60 and 400 Hz."""
    centred = piece - piece.mean()
    size = 2 * len(centred)
    correlation = np.fft.irfft(np.abs(np.fft.rfft(centred, size)) ** 2)[: len(centred)]
    first, last = RATE_HZ // 400, min(RATE_HZ // 60, len(centred) - 1)
    lag = first + int(np.argmax(correlation[first:last]))
    strength = correlation[lag] / (correlation[0] + 1e-9)
    return RATE_HZ / lag, float(np.clip((strength - 0.25) / 0.35, 0, 1))


def _all_pole(piece: NDArray[np.floating]) -> tuple[NDArray[np.float64], float]:
    """Return (ORDER + 1 denominator coefficients, gain) by the autocorrelation method."""
    correlation = np.correlate(piece, piece, "full")[len(piece) - 1 :][: ORDER + 1].astype(np.float64)
    correlation[0] = correlation[0] * (1 + 1e-5) + 1e-9
    predictor = solve_toeplitz(correlation[:ORDER], correlation[1:])
    error = max(float(correlation[0] - predictor @ correlation[1:]), 1e-12)
    return np.concatenate([[1.0], -predictor]), float(np.sqrt(error / len(piece)))


def _like(made: NDArray[np.floating], genuine: Floats) -> Floats:
    """Same length and loudness as the recording that it was made from."""
    made = made[: len(genuine)]
    level = np.sqrt(np.mean(genuine**2) / (np.mean(made**2) + 1e-12))
    return np.asarray(made * min(level, 1e3), np.float32)
