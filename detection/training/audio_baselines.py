"""What a speech detector has to beat: file facts, silence at the end, thirty simple features of the signal."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE_HZ = 16_000
Floats = NDArray[np.float32]


def file_facts(path: Path) -> list[float]:
    """Size, length, rate, channels and bits per second of the file as it lies there."""
    info = soundfile.info(path)
    size = path.stat().st_size
    return [np.log(size), info.duration, info.samplerate, info.channels, np.log(size / max(info.duration, 0.01))]


def outer_silence(samples: Floats, below_peak_db: float = 35.0) -> list[float]:
    """Seconds of silence at the start and at the end."""
    power = _power(samples, RATE_HZ // 100)
    loud = np.flatnonzero(power > power.max() * 10 ** (-below_peak_db / 10))
    return [loud[0] / 100, (len(power) - 1 - loud[-1]) / 100] if len(loud) else [0.0, 0.0]


def simple_features(samples: Floats) -> list[float]:
    """Thirty numbers: level, DC, crossings, and spectral shape with its spread over time."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, 512)[::160] * np.hanning(512)
    spectrum = np.abs(np.fft.rfft(frames)) ** 2 + 1e-10
    hertz = np.fft.rfftfreq(512, 1 / RATE_HZ)
    share = spectrum / spectrum.sum(1, keepdims=True)
    centroid = share @ hertz
    width = np.sqrt(np.maximum(share @ hertz**2 - centroid**2, 0))
    rolloff = hertz[np.argmax(np.cumsum(share, 1) > 0.85, 1)]
    flatness = np.log(spectrum).mean(1) - np.log(spectrum.mean(1))
    flux = np.square(np.diff(np.sqrt(share), axis=0)).sum(1)
    crossings = (np.diff(np.signbit(frames), axis=1)).mean(1)
    level = np.log10(_power(samples, 160) + 1e-10)
    series = (centroid, width, rolloff, flatness, flux, crossings, level)
    edges = (0, 100, 300, 1000, 2000, 3000, 4000, 5000, 6000, 7000, 8001)
    bands = [np.log10(share[:, (hertz >= a) & (hertz < b)].sum(1).mean() + 1e-10) for a, b in itertools.pairwise(edges)]
    rms = float(np.sqrt(np.mean(samples**2)) + 1e-9)
    whole = [
        samples.mean(),
        rms,
        np.abs(samples).max() / rms,
        *np.percentile(level, [5, 95]),
        np.abs(np.diff(samples)).mean() / rms,
    ]
    return [float(v) for v in [*(f(s) for s in series for f in (np.mean, np.std)), *bands, *whole]]


def _power(samples: Floats, step: int) -> NDArray[np.float64]:
    count = max(len(samples) // step, 1)
    steps: NDArray[np.float64] = np.square(np.resize(samples, count * step).astype(np.float64)).reshape(count, step)
    return np.asarray(steps.mean(1))
