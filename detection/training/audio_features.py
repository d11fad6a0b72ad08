"""Speech clips from manifests, prepared as windows, and their frozen Whisper statistics."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from scipy.signal import resample_poly

from detection.engine.branches.audio import repeated
from detection.engine.branches.audio_net import RATE_HZ, WINDOW_SAMPLES, PairEncoder

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Clip:
    path: Path
    name: str  # path as the manifest has it
    is_fake: bool
    source: str  # repository or recording series
    system: str
    kind: str
    language: str
    folder: str = ""  # the data folder that the manifest lies in


def read_manifests(paths: Sequence[Path]) -> list[Clip]:
    """Return the clips of manifests, or of folders with a manifest.csv; columns `path` and `label` must be there."""
    clips = []
    for path in paths:
        manifest = path / "manifest.csv" if path.is_dir() else path
        with manifest.open(newline="") as file:
            clips += [_clip(row, manifest.parent) for row in csv.DictReader(file)]
    return clips


def _clip(row: dict[str, str], folder: Path) -> Clip:
    if row["label"] not in {"real", "fake"}:
        raise ValueError(f"{row['path']}: the label is {row['label']!r}, expected real or fake")
    return Clip(
        path=folder / row["path"],
        name=row["path"],
        is_fake=row["label"] == "fake",
        source=row.get("source_repo") or row.get("group") or row["path"],
        system=row.get("system") or row.get("method") or row["label"],
        kind=row.get("kind") or "",
        language=row.get("language") or "und",
        folder=folder.resolve().name,
    )


def load(path: Path) -> Floats:
    """Return (n,) mono samples at 16 kHz, without DC offset and outer silence."""
    mono = read_mono(path)
    return trimmed(mono - mono.mean())


def read_mono(path: Path) -> Floats:
    """Return (n,) float32 samples at 16 kHz, otherwise as recorded."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono: Floats = samples.mean(1)
    if rate == RATE_HZ:
        return mono
    divisor = int(np.gcd(rate, RATE_HZ))
    return np.asarray(resample_poly(mono, RATE_HZ // divisor, rate // divisor), np.float32)


def trimmed(samples: Floats, below_peak_db: float = 35.0) -> Floats:
    """Cut leading and trailing silence: its length tells the corpus, not the speaker."""
    step = RATE_HZ // 50
    count = len(samples) // step
    if count < 2:
        return samples
    power = np.square(samples[: count * step]).reshape(count, step).mean(1)
    loud = np.flatnonzero(power > power.max() * 10 ** (-below_peak_db / 10))
    return samples[loud[0] * step : (loud[-1] + 1) * step]


def window(samples: Floats) -> Floats:
    """Return (32000,) samples: the middle of longer speech, shorter speech repeated with a soft seam."""
    n = WINDOW_SAMPLES
    if len(samples) >= n:
        start = (len(samples) - n) // 2
        return samples[start : start + n]
    return repeated(samples, n)


def features(encoder: PairEncoder, windows: Iterable[Floats], batch: int = 16) -> Floats:
    """Return (n, FEATURES) statistics of the frozen encoder."""
    with torch.inference_mode():
        parts = [encoder(torch.from_numpy(np.stack(group))).numpy() for group in _batches(windows, batch)]
    return np.concatenate(parts)


def _batches(items: Iterable[Floats], size: int) -> Iterator[list[Floats]]:
    group: list[Floats] = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
