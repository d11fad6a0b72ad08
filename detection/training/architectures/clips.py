"""Clip nets made of parts that exist: torchvision's 3-D nets, and a transformer over the features of single frames."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from detection.engine import torch_compat  # noqa: F401  # before torchvision
from detection.engine.branches.spatial_net import FaceNet
from detection.engine.branches.temporal_net import WindowNet


class VideoNet(nn.Module):
    """Clip -> how fake it looks, by a 3-D net of torchvision.

    forward: (n, frames, 3, h, w) float32, normalised. Returns `logit` (n,). Source of r2plus1d_18: arXiv:1711.11248.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, clips: Tensor) -> dict[str, Tensor]:
        return {"logit": self.net(clips.transpose(1, 2))[:, 0]}


class FrameTransformer(nn.Module):
    """Clip -> how fake it looks, by the serving temporal transformer over a picture net's view of each frame.

    forward: (n, 16, 3, size, size) float32, normalised. Returns `logit` (n,) and `attention` (n, 16).
    """

    def __init__(self, frame_net: FaceNet, window: WindowNet) -> None:
        super().__init__()
        self.frame_net, self.window = frame_net, window

    def forward(self, clips: Tensor) -> dict[str, Tensor]:
        looks = self.frame_net(clips.flatten(0, 1))["embedding"].unflatten(0, clips.shape[:2])
        outputs: dict[str, Tensor] = self.window(looks)
        return outputs


def build_torchvision(name: str, pretrained: bool = False) -> VideoNet:
    """Return a 3-D net with one output. pretrained: Kinetics-400 weights, which need a connection. Raises OSError."""
    import torchvision

    try:
        net: Any = torchvision.models.get_model(name, weights="DEFAULT" if pretrained else None)
    except OSError as error:
        raise OSError(
            f"The weights of {name} could not be fetched ({error}). Without a connection, train without pretrained."
        ) from error
    net.fc = nn.Linear(net.fc.in_features, 1)
    return VideoNet(net)


def build_frame_transformer(
    name: str = "tf_efficientnet_lite0", size: int = 160, width: int = 32, layers: int = 2, dropout: float = 0.3
) -> FrameTransformer:
    frame_net = FaceNet(name, size)
    inputs = frame_net.head.in_features
    return FrameTransformer(frame_net, WindowNet(inputs, width, layers, dropout=dropout))
