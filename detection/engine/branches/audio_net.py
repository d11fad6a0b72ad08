"""The layers of the speech branch: raw samples in, logit out; imported only where torch is (training, CUDA).

Loudness, log-mel front end, the lower blocks of two Whisper encoders, pooled statistics and the gated linear heads are
all inside the graph, so that what serves cannot preprocess differently from what was trained.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

RATE_HZ = 16_000
WINDOW_SAMPLES = 32_000  # 2 s
MELS = 80
FFT = 400
HOP = 160
FRAMES = WINDOW_SAMPLES // HOP // 2
LOUDNESS_RMS = 0.05
EMBEDDING = 32


@dataclass(frozen=True)
class Size:
    """A Whisper encoder, cut: the upper blocks know words, the lower ones sound."""

    width: int
    heads: int
    blocks: int

    @property
    def features(self) -> int:
        return 3 * self.width * (self.blocks + 1)


TINY = Size(384, 6, 3)
BASE = Size(512, 8, 2)
WIDTH = TINY.width
GATED = 8 * MELS  # the features that tell the channel: the log-mel statistics, which come first
FEATURES = GATED + TINY.features + BASE.features
CHANNELS = 3  # heads: one for untouched speech, the others for a channel each


def slaney_filters(mels: int = MELS, fft: int = FFT, rate_hz: int = RATE_HZ) -> NDArray[np.float32]:
    """Return (mels, fft // 2 + 1) triangular filters of equal area on Slaney's mel scale, as Whisper's front end."""

    def hz_of(mel: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * math.log(6.4) / 27))

    top = 15 + math.log(rate_hz / 2 / 1000) * 27 / math.log(6.4)
    edges = hz_of(np.linspace(0, top, mels + 2))
    bins = np.linspace(0, rate_hz / 2, fft // 2 + 1)
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    filters = np.maximum(0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))[:, None]
    filters[:, 0] = 0  # a DC offset tells the sound card, not the speaker
    return filters.astype(np.float32)


class LogMel(nn.Module):
    """(n, samples) -> (n, 80, samples / 160); the Fourier transform is a convolution, which every backend has."""

    kernels: Tensor
    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        angle = 2 * np.pi * np.outer(np.arange(FFT // 2 + 1), np.arange(FFT)) / FFT
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FFT) / FFT)
        kernels = np.concatenate([np.cos(angle), np.sin(angle)]) * hann
        # Rounded as the shipped fp16 weights are, so that training sees what serves.
        self.register_buffer("kernels", torch.from_numpy(kernels).half().float()[:, None])
        self.register_buffer("filters", torch.from_numpy(slaney_filters()).half().float()[..., None])

    def forward(self, samples: Tensor) -> Tensor:
        centred = samples - samples.mean(1, keepdim=True)
        loud = centred * (LOUDNESS_RMS / (centred.square().mean(1, keepdim=True).sqrt() + 1e-5))
        padded = nn.functional.pad(loud[:, None], (FFT // 2, FFT // 2), mode="reflect")
        parts = nn.functional.conv1d(padded, self.kernels, stride=HOP)[..., :-1]
        half = FFT // 2 + 1
        power = parts[:, :half].square() + parts[:, half:].square()
        mel = nn.functional.conv1d(power, self.filters).clamp_min(1e-10).log10()
        floor = mel.amax((1, 2), keepdim=True) - 8
        return (torch.maximum(mel, floor) + 4) / 4


class Block(nn.Module):
    """A pre-norm transformer block (Radford et al. 2022, arXiv:2212.04356)."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size
        self.norm_1 = nn.LayerNorm(size.width)
        self.qkv = nn.Linear(size.width, 3 * size.width)
        self.out = nn.Linear(size.width, size.width)
        self.norm_2 = nn.LayerNorm(size.width)
        self.up = nn.Linear(size.width, 4 * size.width)
        self.down = nn.Linear(4 * size.width, size.width)

    def forward(self, x: Tensor) -> Tensor:
        width, heads = self.size.width, self.size.heads
        q, k, v = self.qkv(self.norm_1(x)).reshape(-1, FRAMES, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        attention = torch.softmax(q @ k.transpose(2, 3) * (width // heads) ** -0.5, -1)
        x = x + self.out((attention @ v).transpose(1, 2).reshape(-1, FRAMES, width))
        return x + self.down(nn.functional.gelu(self.up(self.norm_2(x))))


class Trunk(nn.Module):
    """(n, 80, 200) log-mel -> (n, 3 * width * levels): statistics of the convolutions' and of every block's output."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.conv_1 = nn.Conv1d(MELS, size.width, 3, padding=1)
        self.conv_2 = nn.Conv1d(size.width, size.width, 3, stride=2, padding=1)
        self.positions = nn.Parameter(torch.zeros(FRAMES, size.width))
        self.blocks = nn.ModuleList(Block(size) for _ in range(size.blocks))

    def forward(self, mel: Tensor) -> Tensor:
        x = nn.functional.gelu(self.conv_1(mel))
        x = nn.functional.gelu(self.conv_2(x)).transpose(1, 2) + self.positions
        pooled = [pool(x)]
        for block in self.blocks:
            x = block(x)
            pooled.append(pool(x))
        return torch.cat(pooled, 1)


class Encoder(Trunk):
    """The smaller trunk by itself, with its front end: (n, 32000) samples -> (n, 8 * MELS + TINY.features)."""

    def __init__(self) -> None:
        super().__init__(TINY)
        self.log_mel = LogMel()

    def forward(self, samples: Tensor) -> Tensor:
        mel = self.log_mel(samples)
        return torch.cat([pool_mel(mel), super().forward(mel)], 1)


class PairEncoder(nn.Module):
    """(n, 32000) samples at 16 kHz -> (n, FEATURES): statistics of the log-mel and of every level of both trunks."""

    def __init__(self) -> None:
        super().__init__()
        self.log_mel = LogMel()
        self.tiny = Trunk(TINY)
        self.base = Trunk(BASE)

    def forward(self, samples: Tensor) -> Tensor:
        mel = self.log_mel(samples)
        return torch.cat([pool_mel(mel), self.tiny(mel), self.base(mel)], 1)


class SpeechNet(nn.Module):
    """(n, 32000) samples -> `logit` (n,) and `embedding` (n, 32): longer than 1 = unlike the training speech.

    Each head has learnt from speech through one channel; the gate hears which channel it was, and shares the say out.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.encoder = PairEncoder()
        self.register_buffer("mean", torch.zeros(FEATURES))
        self.register_buffer("scale", torch.ones(FEATURES))
        self.heads = nn.Linear(FEATURES, CHANNELS)
        self.gate = nn.Linear(GATED, CHANNELS)
        self.whitening = nn.Linear(FEATURES, EMBEDDING)

    def forward(self, samples: Tensor) -> dict[str, Tensor]:
        features = (self.encoder(samples) - self.mean) * self.scale
        share = torch.softmax(self.gate(features[:, :GATED]), 1)
        return {"logit": (share * self.heads(features)).sum(1), "embedding": self.whitening(features)}


def pool(level: Tensor) -> Tensor:
    """(n, frames, width) -> (n, 3 * width): mean, standard deviation and mean absolute step over time."""
    mean = level.mean(1)
    deviation = _spread(level - mean[:, None])
    step = (level[:, 1:] - level[:, :-1]).abs().mean(1)
    return torch.cat([mean, deviation, step], 1)


def pool_mel(mel: Tensor) -> Tensor:
    """(n, 80, frames) -> (n, 640): level, spread, skew and how steps run over time and frequency, per mel band."""
    x = mel.transpose(1, 2)
    mean = x.mean(1)
    centred = x - mean[:, None]
    step = x[:, 1:] - x[:, :-1]
    bend = step[:, 1:] - step[:, :-1]
    across = nn.functional.pad(x[:, :, 1:] - x[:, :, :-1], (0, 1))
    return torch.cat(
        [
            mean,
            _spread(centred),
            step.abs().mean(1),
            bend.abs().mean(1),
            _spread(step - step.mean(1, keepdim=True)),
            across.abs().mean(1),
            _spread(across - across.mean(1, keepdim=True)),
            (centred * centred * centred).mean(1),
        ],
        1,
    )


def _spread(centred: Tensor) -> Tensor:
    return centred.square().mean(1).clamp_min(1e-8).sqrt()
