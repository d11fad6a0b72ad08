"""SlowFast, compact: one path sees few frames richly, another all frames thinly (Feichtenhofer et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class SlowFast(nn.Module):
    """Clip -> how fake it looks.

    forward: (n, frames, 3, h, w) float32, normalised; frames a multiple of `ratio`. Returns `logit` (n,) and
    `embedding`. Basic blocks, three stages; in the slow path only the last two look along time, as published.
    Source: arXiv:1812.03982.
    """

    def __init__(self, width: int = 32, ratio: int = 4, thin: int = 8, depth: Sequence[int] = (1, 1, 1)) -> None:
        super().__init__()
        self.ratio = ratio
        slow, fast = width, max(width // thin, 4)
        self.slow_stem, self.fast_stem = _stem(slow, 1), _stem(fast, 5)
        self.bridges, self.slow_stages, self.fast_stages = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for number, blocks in enumerate(depth):
            self.bridges.append(_bridge(fast, ratio))
            stride, slow_time = (1 if number == 0 else 2), (1 if number == 0 else 3)
            grown = slow if number == 0 else slow * 2
            grown_fast = fast if number == 0 else fast * 2
            self.slow_stages.append(_stage(slow + 2 * fast, grown, blocks, stride, slow_time))
            self.fast_stages.append(_stage(fast, grown_fast, blocks, stride, 3))
            slow, fast = grown, grown_fast
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(slow + fast, 1)

    def forward(self, clips: Tensor) -> dict[str, Tensor]:
        frames = clips.transpose(1, 2)  # (n, 3, frames, h, w)
        slow, fast = self.slow_stem(frames[:, :, :: self.ratio]), self.fast_stem(frames)
        for bridge, slow_stage, fast_stage in zip(self.bridges, self.slow_stages, self.fast_stages, strict=True):
            slow = slow_stage(torch.cat([slow, bridge(fast)], dim=1))
            fast = fast_stage(fast)
        embedding = torch.cat([slow.mean(dim=(2, 3, 4)), fast.mean(dim=(2, 3, 4))], dim=1)
        return {"logit": self.head(self.dropout(embedding))[:, 0], "embedding": embedding}


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, time: int) -> None:
        super().__init__()
        step = (1, stride, stride)
        self.change = nn.Sequential(
            nn.Conv3d(inputs, outputs, (time, 3, 3), step, (time // 2, 1, 1), bias=False),
            nn.BatchNorm3d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv3d(outputs, outputs, (1, 3, 3), padding=(0, 1, 1), bias=False),
            nn.BatchNorm3d(outputs),
        )
        self.pass_by = nn.Sequential(nn.Conv3d(inputs, outputs, 1, step, bias=False), nn.BatchNorm3d(outputs))

    def forward(self, maps: Tensor) -> Tensor:
        return torch.relu(self.change(maps) + self.pass_by(maps))


def _stem(width: int, time: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(3, width, (time, 5, 5), (1, 2, 2), (time // 2, 2, 2), bias=False),
        nn.BatchNorm3d(width),
        nn.ReLU(inplace=True),
        nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
    )


def _bridge(fast: int, ratio: int) -> nn.Sequential:
    """Strided in time, so that both paths have the same number of frames where they meet."""
    return nn.Sequential(
        nn.Conv3d(fast, 2 * fast, (5, 1, 1), (ratio, 1, 1), (2, 0, 0), bias=False),
        nn.BatchNorm3d(2 * fast),
        nn.ReLU(inplace=True),
    )


def _stage(inputs: int, outputs: int, blocks: int, stride: int, time: int) -> nn.Sequential:
    first = _Block(inputs, outputs, stride, time)
    return nn.Sequential(first, *(_Block(outputs, outputs, 1, time) for _ in range(blocks - 1)))


def build(width: int = 32, ratio: int = 4, thin: int = 8, depth: Sequence[int] = (1, 1, 1)) -> SlowFast:
    return SlowFast(width, ratio, thin, depth)
