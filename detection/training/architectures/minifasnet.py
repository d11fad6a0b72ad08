"""MiniFASNetV2 and V1SE: presentation-attack nets of Silent-Face-Anti-Spoofing, in their published layout.

Source: github.com/minivision-ai/Silent-Face-Anti-Spoofing (Apache-2.0), MobileFaceNet blocks, arXiv:1804.07573.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

SIZE = 80
CLASSES = 3
LIVE = 1  # the class that means a living face; 0 and 2 are attacks

# Channels inside the bottlenecks of the three residual stages, the only thing pruning left different.
HIDDEN_V1 = ((13, 26, 13, 52), (154, 52, 26, 52, 26, 26), (26, 26))
HIDDEN_V2 = ((13, 13, 13, 13), (231, 52, 26, 77, 26, 26), (26, 26))


class MiniFasNet(nn.Module):
    """Face with its surroundings -> whether it was presented on paper or a screen.

    forward: (n, 3, 80, 80) float32 BGR in 0..255, cut 2.7 (V2) or 4.0 (V1SE) times the face box. Returns `logit` (n,),
    the log-odds of an attack, and `scores` (n, 3) before the softmax; class 1 is a living face.
    """

    def __init__(self, hidden: Sequence[Sequence[int]], *, squeeze: bool, dropout: float) -> None:
        super().__init__()
        self.conv1 = _Conv(3, 32, 3, stride=2)
        self.conv2_dw = _Conv(32, 32, 3, groups=32)
        self.conv_23 = _Bottleneck(32, 103, 64, stride=2)
        self.conv_3 = _Stage(64, hidden[0], squeeze=squeeze)
        self.conv_34 = _Bottleneck(64, 231, 128, stride=2)
        self.conv_4 = _Stage(128, hidden[1], squeeze=squeeze)
        self.conv_45 = _Bottleneck(128, 308, 128, stride=2)
        self.conv_5 = _Stage(128, hidden[2], squeeze=squeeze)
        self.conv_6_sep = _Conv(128, 512, 1)
        self.conv_6_dw = _Conv(512, 512, 5, groups=512, padding=0, activation=False)
        self.linear = nn.Linear(512, 128, bias=False)
        self.bn = nn.BatchNorm1d(128)
        self.drop = nn.Dropout(dropout)
        self.prob = nn.Linear(128, CLASSES, bias=False)

    def forward(self, faces: Tensor) -> dict[str, Tensor]:
        maps = self.conv_23(self.conv2_dw(self.conv1(faces)))
        maps = self.conv_45(self.conv_4(self.conv_34(self.conv_3(maps))))
        maps = self.conv_6_dw(self.conv_6_sep(self.conv_5(maps)))
        embedding = self.bn(self.linear(maps.flatten(1)))
        scores = self.prob(self.drop(embedding))
        attacks = torch.cat([scores[:, :LIVE], scores[:, LIVE + 1 :]], dim=1)
        return {"logit": attacks.logsumexp(dim=1) - scores[:, LIVE], "scores": scores, "embedding": embedding}


class _Conv(nn.Module):
    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        padding: int | None = None,
        activation: bool = True,
    ) -> None:
        super().__init__()
        padding = kernel // 2 if padding is None else padding
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.prelu = nn.PReLU(outputs) if activation else None

    def forward(self, maps: Tensor) -> Tensor:
        normed: Tensor = self.bn(self.conv(maps))
        return normed if self.prelu is None else cast(Tensor, self.prelu(normed))


class _Bottleneck(nn.Module):
    """Widen, look around channel by channel, narrow; with stride 1 the result is added to what came in."""

    def __init__(self, inputs: int, hidden: int, outputs: int, *, stride: int, squeeze: bool = False) -> None:
        super().__init__()
        self.is_residual = stride == 1
        self.conv = _Conv(inputs, hidden, 1)
        self.conv_dw = _Conv(hidden, hidden, 3, stride=stride, groups=hidden)
        self.project = _Conv(hidden, outputs, 1, activation=False)
        self.se_module = _Squeeze(outputs) if squeeze else None

    def forward(self, maps: Tensor) -> Tensor:
        changed: Tensor = self.project(self.conv_dw(self.conv(maps)))
        if self.se_module is not None:
            changed = cast(Tensor, self.se_module(changed))
        return maps + changed if self.is_residual else changed


class _Stage(nn.Module):
    """Residual bottlenecks; of V1SE the last one weighs its channels."""

    def __init__(self, width: int, hidden: Sequence[int], *, squeeze: bool) -> None:
        super().__init__()
        last = len(hidden) - 1
        self.model = nn.Sequential(
            *(_Bottleneck(width, h, width, stride=1, squeeze=squeeze and i == last) for i, h in enumerate(hidden))
        )

    def forward(self, maps: Tensor) -> Tensor:
        changed: Tensor = self.model(maps)
        return changed


class _Squeeze(nn.Module):
    def __init__(self, width: int, reduction: int = 4) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(width, width // reduction, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width // reduction)
        self.fc2 = nn.Conv2d(width // reduction, width, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, maps: Tensor) -> Tensor:
        weights = functional.relu(self.bn1(self.fc1(maps.mean(dim=(2, 3), keepdim=True))))
        return maps * torch.sigmoid(self.bn2(self.fc2(weights)))


def build_v2(dropout: float = 0.2) -> MiniFasNet:
    return MiniFasNet(HIDDEN_V2, squeeze=False, dropout=dropout)


def build_v1se(dropout: float = 0.75) -> MiniFasNet:
    return MiniFasNet(HIDDEN_V1, squeeze=True, dropout=dropout)
