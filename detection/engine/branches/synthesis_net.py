"""The layers of the synthesis net; imports torch, so only training and CUDA servers load it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import detection.engine.torch_compat  # noqa: F401  # before timm, which imports torchvision

import timm  # isort: skip

CHANNELS = (16, 24, 40, 80, 112)
FEATURES = 2 * sum(CHANNELS)


class SynthesisNet(nn.Module):
    """EfficientNet-Lite0 cut after its fifth stage, with a linear head on the texture statistics of all stages.

    The body stays as ImageNet left it: trained through and through it learns the sources of its fakes instead (the
    card has the figures). Generators betray themselves in the texture of the middle stages rather than in what the
    picture shows, hence mean and spread of every stage instead of the last one's mean.
    Source of the body: Tan & Le 2019, arXiv:1905.11946.
    """

    def __init__(self) -> None:
        super().__init__()
        backbone: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0)
        self.stem = nn.Sequential(backbone.conv_stem, backbone.bn1)
        self.stages = nn.ModuleList(backbone.blocks[: len(CHANNELS)])
        self.norm = nn.BatchNorm1d(FEATURES, affine=False)
        self.head = nn.Linear(FEATURES, 1)

    def statistics(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return ((n, 544) mean and spread of every stage, (n, 112, h/16, w/16) last map)."""
        x = self.stem(batch)
        means, spreads = [], []
        for stage in self.stages:
            x = stage(x)
            mean = x.mean(dim=(2, 3))
            variance = (x - mean[:, :, None, None]).square().mean(dim=(2, 3))
            means.append(mean)
            spreads.append((variance + 1e-5).sqrt())
        return torch.cat([*means, *spreads], dim=1), x

    def forward(self, batch: Tensor) -> dict[str, Tensor]:
        """batch: (n, 3, h, w), (RGB - 127) / 128. Returns logit (n,) and cam (n, h/16, w/16), >= 0."""
        statistics, last = self.statistics(batch)
        return {"logit": self.head(self.norm(statistics))[:, 0], "cam": self._cam(last)}

    def _cam(self, last: Tensor) -> Tensor:
        """Where the last stage pushes towards "generated": its share of the head, place by place."""
        end = sum(CHANNELS)
        part = slice(end - CHANNELS[-1], end)
        buffers = dict(self.norm.named_buffers())
        scale = (buffers["running_var"][part] + self.norm.eps).sqrt()
        weights = self.head.weight[0, part] / scale
        return torch.relu(((last - buffers["running_mean"][part][:, None, None]) * weights[:, None, None]).sum(1))
