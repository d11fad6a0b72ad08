"""The layers of the synthesis net; imports torch, so only training and CUDA servers load it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import detection.engine.torch_compat  # noqa: F401  # before timm, which imports torchvision

import timm  # isort: skip

BODY = "tf_efficientnet_lite0"
CHANNELS = (32, 16, 24, 40, 80, 112)  # of the stem, then of the first five stages
HEADS = ("picture", "face")  # whole pictures, and crops around one face
MIXTURES = 64
PER_CHANNEL = 5  # mean, spread, mean step across and down, skewness
FEATURES = PER_CHANNEL * sum(CHANNELS) + MIXTURES * len(CHANNELS)
REACH = 6.0  # a standardised statistic beyond this says no more than one that reaches it


class SynthesisNet(nn.Module):
    """EfficientNet-Lite0 cut after its fifth stage, with linear heads on the texture statistics of stem and stages.

    The body stays as ImageNet left it: trained through and through it learns the sources of its fakes instead
    (docs/experiments/pictures.md). Generators betray themselves in the texture of the middle stages rather than in
    what the picture shows. Source of the body: Tan & Le 2019, arXiv:1905.11946.
    """

    mean: Tensor
    spread: Tensor

    def __init__(self) -> None:
        super().__init__()
        backbone: Any = timm.create_model(BODY, pretrained=False, num_classes=0)
        self.stem = nn.Sequential(backbone.conv_stem, backbone.bn1)
        self.stages = nn.ModuleList(backbone.blocks[: len(CHANNELS) - 1])
        dice = torch.Generator().manual_seed(0)
        for number, channels in enumerate(CHANNELS):
            mixture = functional.normalize(torch.randn(MIXTURES, channels, 1, 1, generator=dice), dim=1)
            self.register_buffer(f"mixture{number}", mixture)
            step = torch.tensor([-1.0, 1.0]).expand(channels, 1, 1, 2)
            self.register_buffer(f"step{number}", step.clone(), persistent=False)
        self.register_buffer("mean", torch.zeros(FEATURES))
        self.register_buffer("spread", torch.ones(FEATURES))
        self.head = nn.Linear(FEATURES, len(HEADS))

    def statistics(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return ((n, FEATURES) texture statistics of stem and stages, (n, 112, h/16, w/16) last map)."""
        x = self.stem(batch)
        found = [self._texture(x, 0)]
        for number, stage in enumerate(self.stages, start=1):
            x = stage(x)
            found.append(self._texture(x, number))
        return torch.cat(found, dim=1), x

    def _texture(self, x: Tensor, number: int) -> Tensor:
        return texture(x, self.get_buffer(f"mixture{number}"), self.get_buffer(f"step{number}"))

    def forward(self, batch: Tensor) -> dict[str, Tensor]:
        """batch: (n, 3, h, w), (RGB - 127) / 128.

        Returns logit (n,), which is for pieces of pictures; face_logit (n,), which is for crops around a face; cam
        (n, h/16, w/16), >= 0.
        """
        statistics, last = self.statistics(batch)
        logits = self.head(((statistics - self.mean) / self.spread).clamp(-REACH, REACH))
        return {"logit": logits[:, 0], "face_logit": logits[:, 1], "cam": self._cam(last)}

    def _cam(self, last: Tensor) -> Tensor:
        """Where the last stage pushes towards "generated": the share of its means in the head, place by place."""
        start = FEATURES - MIXTURES - PER_CHANNEL * CHANNELS[-1]
        part = slice(start, start + CHANNELS[-1])
        weights = self.head.weight[0, part] / self.spread[part]
        return torch.relu(((last - self.mean[part][:, None, None]) * weights[:, None, None]).sum(1))


def texture(x: Tensor, mixture: Tensor, step: Tensor) -> Tensor:
    """Return (n, 5 c + m) of (n, c, h, w): per channel mean, spread, mean step across and down, and skewness; then
    the spread of m fixed random mixtures of the standardised channels, which tells how channels vary together.

    mixture: (m, c, 1, 1). step: (c, 1, 1, 2), -1 and 1 per channel."""
    mean = x.mean((2, 3))
    centred = x - mean[:, :, None, None]
    spread = (centred.square().mean((2, 3)) + 1e-5).sqrt()
    standard = centred / spread[:, :, None, None]
    skewness = (standard * standard * standard).mean((2, 3))
    # by convolution rather than by shifted slices, which OpenVINO would copy: a tenth of the net's time
    across = functional.conv2d(x, step, groups=len(step)).abs().mean((2, 3))
    down = functional.conv2d(x, step.transpose(2, 3), groups=len(step)).abs().mean((2, 3))
    mixed = (functional.conv2d(standard, mixture).square().mean((2, 3)) + 1e-5).sqrt()
    return torch.cat([mean, spread, across, down, skewness, mixed], dim=1)
