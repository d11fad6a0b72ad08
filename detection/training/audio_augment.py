"""Random recording channels for speech, drawn alike for both classes: telephone, music codecs, rooms, noise, cuts."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import cast

import av
import numpy as np
from av.audio.stream import AudioStream
from numpy.typing import NDArray
from scipy.signal import butter, fftconvolve, resample_poly, sosfiltfilt

RATE_HZ = 16_000
Floats = NDArray[np.float32]
CHANNELS = ("g711", "mp3", "aac", "opus", "band", "noise", "room")
_BIT_RATES = {"libmp3lame": (24_000, 128_000), "aac": (24_000, 128_000), "libopus": (8_000, 64_000)}
CODECS = {"mp3": "libmp3lame", "aac": "aac", "opus": "libopus"}


def random_channel(samples: Floats, rng: np.random.Generator) -> tuple[Floats, str]:
    """Return the samples after one or two random channels, and their names."""
    names = [str(n) for n in rng.choice(CHANNELS, size=int(rng.integers(1, 3)), replace=False)]
    names.sort(key=lambda name: name in {"g711", *CODECS})  # rooms and noise come before what transmits them
    for name in names:
        samples = apply(name, samples, rng)
    return samples, "+".join(names)


def apply(name: str, samples: Floats, rng: np.random.Generator) -> Floats:
    """Return (n,) float32 samples at 16 kHz after the channel `name`; same length."""
    if name == "g711":
        return g711(samples)
    if name in CODECS:
        codec = CODECS[name]
        low, high = _BIT_RATES[codec]
        return coded(samples, codec, int(np.exp(rng.uniform(np.log(low), np.log(high)))))
    if name == "band":
        return band_limited(samples, float(rng.uniform(3400, 7600)))
    if name == "noise":
        return noisy(samples, float(rng.uniform(12, 35)), float(rng.uniform(0, 1.2)), rng)
    if name == "room":
        return in_room(samples, float(rng.uniform(0.1, 0.5)), float(rng.uniform(0.2, 0.8)), rng)
    raise ValueError(f"no channel is called {name!r}; there are {', '.join(CHANNELS)}")


def g711(samples: Floats) -> Floats:
    """Telephone: 8 kHz, mu-law in 8 bits."""
    narrow = np.clip(resample_poly(samples, 1, 2), -1, 1)
    coded_ = np.round(np.sign(narrow) * np.log1p(255 * np.abs(narrow)) / np.log(256) * 127) / 127
    restored = np.sign(coded_) * (256 ** np.abs(coded_) - 1) / 255
    return _fit(resample_poly(restored, 2, 1), len(samples))


def coded(samples: Floats, codec: str, bit_rate: int) -> Floats:
    """Encode and decode with an FFmpeg codec; the codec's delay is removed."""
    rate = 48_000 if codec == "libopus" else RATE_HZ
    wide = resample_poly(samples, rate // RATE_HZ, 1) if rate != RATE_HZ else samples
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        stream = cast(AudioStream, container.add_stream(codec, rate=rate))
        stream.bit_rate = bit_rate
        context = stream.codec_context
        context.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wide, np.float32)[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        frame.time_base = Fraction(1, rate)
        resampler = av.AudioResampler(
            format=context.format,
            layout="mono",
            rate=rate,
            frame_size=context.frame_size or 0,
        )
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    buffer.seek(0)
    return _aligned(_decoded(buffer), samples)


def _decoded(buffer: io.BytesIO) -> Floats:
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE_HZ)
    parts = []
    with av.open(buffer, "r") as container:
        for frame in container.decode(audio=0):
            parts += [part.to_ndarray()[0] for part in resampler.resample(frame)]
        parts += [part.to_ndarray()[0] for part in resampler.resample(None)]
    return np.concatenate(parts).astype(np.float32)


def _aligned(decoded: Floats, original: Floats) -> Floats:
    """Shift by the lag of best correlation, so that the delay and its silence are no trace of the codec."""
    correlation = fftconvolve(decoded, original[::-1])
    lag = int(np.argmax(correlation)) - len(original) + 1
    return _fit(decoded[max(lag, 0) :], len(original)) if abs(lag) < 8000 else _fit(decoded, len(original))


def band_limited(samples: Floats, cutoff_hz: float) -> Floats:
    sections = butter(8, cutoff_hz, fs=RATE_HZ, output="sos")
    return np.asarray(sosfiltfilt(sections, samples), np.float32)


def noisy(samples: Floats, snr_db: float, slope: float, rng: np.random.Generator) -> Floats:
    """Add noise whose amplitude falls as 1 / frequency ** slope (0 white, 0.5 pink, 1 brown)."""
    spectrum = np.fft.rfft(rng.standard_normal(len(samples)))
    spectrum /= np.maximum(np.arange(len(spectrum)), 20) ** slope
    noise = np.fft.irfft(spectrum, len(samples))
    gain = np.sqrt(np.mean(samples**2) / (np.mean(noise**2) + 1e-12)) * 10 ** (-snr_db / 20)
    return np.asarray(samples + gain * noise, np.float32)


def in_room(samples: Floats, decay_s: float, wet: float, rng: np.random.Generator) -> Floats:
    """Convolve with exponentially decaying noise: -60 dB after decay_s."""
    n = int(decay_s * RATE_HZ)
    tail = rng.standard_normal(n) * 10 ** (-3 * np.arange(n) / n)
    tail /= np.sqrt(np.sum(tail**2))
    wet_signal = fftconvolve(samples, tail)[: len(samples)]
    return np.asarray(samples + wet * wet_signal, np.float32)


def _fit(samples: NDArray[np.floating], n: int) -> Floats:
    return np.asarray(np.pad(samples[:n], (0, max(0, n - len(samples)))), np.float32)
