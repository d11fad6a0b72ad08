"""Whole-picture synthesis: did a generator make this picture, or a face in it?"""

from __future__ import annotations

from typing import Any


def build() -> Any:
    """Return the untrained net: EfficientNet-Lite0 cut after its fifth stage, with a head on all stages.

    forward(batch (n, 3, h, w)) -> {"logit": (n,), "cam": (n, h/16, w/16)}.
    Source: Tan & Le 2019, arXiv:1905.11946 (backbone); texture statistics of all stages instead of the last one,
    because generators betray themselves in middle-stage texture rather than in what the picture shows.
    """
    import detection.engine.torch_compat  # noqa: F401, I001  # before timm, which imports torchvision
    import timm
    import torch
    from torch import Tensor, nn

    channels = (16, 24, 40, 80, 112)

    class SynthesisNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            backbone: Any = timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0)
            self.stem = nn.Sequential(backbone.conv_stem, backbone.bn1)
            self.stages = nn.ModuleList(backbone.blocks[: len(channels)])
            self.norm = nn.BatchNorm1d(2 * sum(channels), affine=False)
            self.dropout = nn.Dropout(0.3)
            self.head = nn.Linear(2 * sum(channels), 1)

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
            statistics, last = self.statistics(batch)
            logit = self.head(self.dropout(self.norm(statistics)))[:, 0]
            return {"logit": logit, "cam": self._cam(last)}

        def _cam(self, last: Tensor) -> Tensor:
            """Where the last stage pushes towards "generated": its share of the head, place by place."""
            start = sum(channels) - channels[-1]
            part = slice(start, start + channels[-1])
            scale = (self.norm.running_var[part] + self.norm.eps).sqrt()
            weights = self.head.weight[0, part] / scale
            return torch.relu(((last - self.norm.running_mean[part][:, None, None]) * weights[:, None, None]).sum(1))

    return SynthesisNet()
