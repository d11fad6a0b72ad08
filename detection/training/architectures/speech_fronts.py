"""What speech nets look at: log-mel energies or linear cepstra, inside the graph, so that serving cannot differ."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

RATE_HZ = 16_000
FFT = 512
HOP = 160
LOUDNESS_RMS = 0.05


class LogBands(nn.Module):
    """(n, samples) at 16 kHz -> (n, bands, frames) log energies, at mean 0 over the excerpt.

    DC offset and loudness are taken out first: they tell the sound card, not the speaker. The Fourier transform is a
    convolution, which every exporter knows.
    """

    kernels: Tensor
    filters: Tensor

    def __init__(self, filters: NDArray[np.float64]) -> None:
        super().__init__()
        angle = 2 * np.pi * np.outer(np.arange(FFT // 2 + 1), np.arange(FFT)) / FFT
        waves = np.concatenate([np.cos(angle), np.sin(angle)]) * np.hamming(FFT)
        self.register_buffer("kernels", torch.from_numpy(waves.astype(np.float32))[:, None], persistent=False)
        self.register_buffer("filters", torch.from_numpy(filters.astype(np.float32))[..., None], persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        centred = samples - samples.mean(1, keepdim=True)
        loud = centred * (LOUDNESS_RMS / (centred.square().mean(1, keepdim=True).sqrt() + 1e-5))
        padded = functional.pad(loud[:, None], (FFT // 2, FFT // 2), mode="reflect")
        parts = functional.conv1d(padded, self.kernels, stride=HOP)
        half = FFT // 2 + 1
        power = parts[:, :half].square() + parts[:, half:].square()
        logs = functional.conv1d(power, self.filters).clamp_min(1e-8).log()
        return (logs - logs.mean(dim=(1, 2), keepdim=True)) / 4


class Lfcc(nn.Module):
    """(n, samples) -> (n, 3 * count, frames): linear-frequency cepstra, their slopes and the slopes of those.

    Source: Todisco et al. 2019, the LFCC front end of the ASVspoof 2019 baselines.
    """

    transform: Tensor

    def __init__(self, count: int = 20) -> None:
        super().__init__()
        self.bands = LogBands(linear_filters(count))
        angle = math.pi / count * np.outer(np.arange(count), np.arange(count) + 0.5)
        scale = np.where(np.arange(count) == 0, math.sqrt(1 / count), math.sqrt(2 / count))
        cosines = (np.cos(angle) * scale[:, None]).astype(np.float32)
        self.register_buffer("transform", torch.from_numpy(cosines)[..., None], persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        cepstra = functional.conv1d(self.bands(samples), self.transform)
        slope = _slope(cepstra)
        return torch.cat([cepstra, slope, _slope(slope)], dim=1)


def _slope(course: Tensor) -> Tensor:
    padded = functional.pad(course, (1, 1), mode="replicate")
    return (padded[..., 2:] - padded[..., :-2]) / 2


def linear_filters(count: int) -> NDArray[np.float64]:
    """Return (count, FFT // 2 + 1) triangles of equal width from 0 Hz to half the rate."""
    return _triangles(np.linspace(0, RATE_HZ / 2, count + 2))


def mel_filters(count: int) -> NDArray[np.float64]:
    """Return (count, FFT // 2 + 1) triangles between neighbours on the HTK mel scale."""
    top = 2595 * math.log10(1 + RATE_HZ / 2 / 700)
    return _triangles(700 * (10 ** (np.linspace(0, top, count + 2) / 2595) - 1))


def _triangles(edges: NDArray[np.float64]) -> NDArray[np.float64]:
    bins = np.linspace(0, RATE_HZ / 2, FFT // 2 + 1)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    filters: NDArray[np.float64] = np.maximum(0, np.minimum(rising, falling))
    filters[:, 0] = 0
    empty = filters.sum(axis=1) == 0  # bands narrower than a bin take the nearest one
    nearest = np.abs(bins - edges[1:-1, None]).argmin(axis=1)
    filters[empty, nearest[empty]] = 1.0
    return filters
