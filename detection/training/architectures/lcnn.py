"""LCNN: light convolutions whose activation is a contest of two feature maps (Lavrentyeva et al. 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from detection.training.architectures.speech_fronts import Lfcc


class Lcnn(nn.Module):
    """Speech -> how synthetic it sounds.

    forward: (n, samples) float32, 16 kHz. Returns `logit` (n,) and `embedding` (n, 64). Any length of at least half a
    second; the last stage is averaged and spread over time. Source: arXiv:1904.05576, after arXiv:1511.02683.
    """

    def __init__(self, width: int = 32, dropout: float = 0.5, cepstra: int = 20) -> None:
        super().__init__()
        self.front = Lfcc(cepstra)
        w, wider = width, width * 3 // 2
        self.layers = nn.Sequential(
            _Contest(1, w, 5), nn.MaxPool2d(2),
            _Contest(w, w, 1), nn.BatchNorm2d(w), _Contest(w, wider, 3), nn.MaxPool2d(2), nn.BatchNorm2d(wider),
            _Contest(wider, wider, 1), nn.BatchNorm2d(wider), _Contest(wider, 2 * w, 3), nn.MaxPool2d(2),
            _Contest(2 * w, 2 * w, 1), nn.BatchNorm2d(2 * w), _Contest(2 * w, w, 3), nn.BatchNorm2d(w),
            _Contest(w, w, 1), nn.BatchNorm2d(w), _Contest(w, w, 3), nn.MaxPool2d(2),
        )  # fmt: skip
        rows = 3 * cepstra // 16
        self.hidden = nn.Linear(2 * w * rows, 64)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(64, 1)

    def forward(self, speech: Tensor) -> dict[str, Tensor]:
        maps = self.layers(self.front(speech)[:, None]).flatten(1, 2)  # (n, channels * rows, frames)
        embedding = torch.relu(self.hidden(mean_and_spread(maps)))
        return {"logit": self.head(self.dropout(embedding))[:, 0], "embedding": embedding}


def mean_and_spread(course: Tensor) -> Tensor:
    """(n, d, frames) -> (n, 2 d)."""
    mean = course.mean(dim=2)
    spread = (course - mean[..., None]).square().mean(dim=2).clamp_min(1e-8).sqrt()
    return torch.cat([mean, spread], dim=1)


class _Contest(nn.Module):
    """A convolution of twice the channels; of each two maps the larger value goes on."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, 2 * outputs, kernel, padding=kernel // 2)

    def forward(self, maps: Tensor) -> Tensor:
        left, right = self.conv(maps).chunk(2, dim=1)
        return torch.maximum(left, right)


def build(width: int = 32, dropout: float = 0.5, cepstra: int = 20) -> Lcnn:
    return Lcnn(width, dropout, cepstra)
