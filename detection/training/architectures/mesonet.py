"""Meso4 and MesoInception4: two compact face nets (Afchar et al. 2018), in the layout of their published weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SIZE = 256
KERAS_EPSILON = 1e-3


class MesoNet(nn.Module):
    """Face crop -> how fake it looks.

    forward: (n, 3, 256, 256) float32 RGB in [0, 1]. Returns `logit` (n,), the log-odds of a fake (the published
    output is the probability that the face is real), and `embedding` (n, 16). Source: arXiv:1809.00888.
    """

    def __init__(self, stages: list[nn.Module], widths: tuple[int, ...], dropout: float = 0.5) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width, eps=KERAS_EPSILON) for width in widths)
        self.dropout = nn.Dropout(dropout)
        self.hidden = nn.Linear(widths[-1] * 64, 16)
        self.real = nn.Linear(16, 1)

    def forward(self, faces: Tensor) -> dict[str, Tensor]:
        maps = faces
        for number, (stage, norm) in enumerate(zip(self.stages, self.norms, strict=True)):
            pool = 4 if number == len(self.stages) - 1 else 2
            maps = functional.max_pool2d(norm(functional.relu(stage(maps))), pool)
        hidden = functional.leaky_relu(self.hidden(self.dropout(maps.flatten(1))), 0.1)
        return {"logit": -self.real(self.dropout(hidden))[:, 0], "embedding": hidden}


class _Inception(nn.Module):
    """Four views of the same place side by side: 1x1, 3x3 and two dilated 3x3."""

    def __init__(self, inputs: int, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.point = nn.Conv2d(inputs, widths[0], 1)
        self.narrow = nn.ModuleList(nn.Conv2d(inputs, width, 1) for width in widths[1:])
        self.wide = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=step, dilation=step) for step, width in enumerate(widths[1:], start=1)
        )

    def forward(self, maps: Tensor) -> Tensor:
        views = [self.point(maps)]
        for narrow, wide in zip(self.narrow, self.wide, strict=True):
            views.append(wide(functional.relu(narrow(maps))))
        return torch.cat(views, dim=1)


def build_meso4(dropout: float = 0.5) -> MesoNet:
    stages: list[nn.Module] = [
        nn.Conv2d(3, 8, 3, padding=1),
        nn.Conv2d(8, 8, 5, padding=2),
        nn.Conv2d(8, 16, 5, padding=2),
        nn.Conv2d(16, 16, 5, padding=2),
    ]
    return MesoNet(stages, (8, 8, 16, 16), dropout)


def build_mesoinception4(dropout: float = 0.5) -> MesoNet:
    stages: list[nn.Module] = [
        _Inception(3, (1, 4, 4, 2)),
        _Inception(11, (2, 4, 4, 2)),
        nn.Conv2d(12, 16, 5, padding=2),
        nn.Conv2d(16, 16, 5, padding=2),
    ]
    return MesoNet(stages, (11, 12, 16, 16), dropout)
