"""EfficientNet-B4 as the package efficientnet_pytorch computes it, for the checkpoints that were trained with it.

timm pads each strided convolution for the size that comes in; efficientnet_pytorch pads for 380 pixels, whatever
comes in, and DeepfakeBench replaced the first convolution by one without padding. At other sizes than 380 the two
differ by up to a pixel of shift a stage, which trained weights notice.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from detection.engine import torch_compat  # noqa: F401  # before timm, which imports torchvision

NOMINAL_PX = 380
FAKE = 1


class EfficientNetB4(nn.Module):
    """Face crop -> how fake it looks.

    forward: (n, 3, h, w) float32 RGB, normalised as the weights ask. Returns `logit` (n,), `scores` (n, 2) whose
    second column is fake, and `embedding` (n, 1792). Source: arXiv:1905.11946.
    """

    def __init__(self, *, padded_stem: bool = True) -> None:
        super().__init__()
        import timm

        self.net: Any = timm.create_model("tf_efficientnet_b4", pretrained=False, num_classes=2)
        _pad_for(self.net, NOMINAL_PX)
        if not padded_stem:
            cast(_FixedPadding, self.net.conv_stem).padding_of_size = (0, 0, 0, 0)

    def forward(self, faces: Tensor) -> dict[str, Tensor]:
        embedding = self.net.forward_features(faces).mean(dim=(2, 3))
        scores = self.net.classifier(embedding)
        return {"logit": scores[:, FAKE] - scores[:, 1 - FAKE], "scores": scores, "embedding": embedding}


class _FixedPadding(nn.Conv2d):
    """A convolution padded for a nominal input size instead of the one that comes in. padding_of_size: l, r, t, b."""

    padding_of_size: tuple[int, int, int, int] = (0, 0, 0, 0)

    def forward(self, maps: Tensor) -> Tensor:
        maps = functional.pad(maps, self.padding_of_size)
        return functional.conv2d(maps, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def _pad_for(net: nn.Module, size_px: int) -> None:
    """Turn the padding of every strided convolution into that of a size_px picture, in the order they are met."""
    size = size_px
    for module in list(net.modules()):
        if isinstance(module, nn.Conv2d) and module.stride[0] == 2:
            kernel = module.kernel_size[0]
            out = -(-size // 2)
            total = max((out - 1) * 2 + kernel - size, 0)
            module.__class__ = _FixedPadding
            cast(_FixedPadding, module).padding_of_size = (total // 2, total - total // 2) * 2
            size = out


def build(*, padded_stem: bool = True) -> EfficientNetB4:
    return EfficientNetB4(padded_stem=padded_stem)


def translate(key: str, blocks: dict[int, tuple[int, int]]) -> str:
    """Return timm's name of a key of efficientnet_pytorch. blocks: running number -> (stage, number in the stage)."""
    outer = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    first, _, rest = key.partition(".")
    if first in outer:
        return f"{outer[first]}.{rest}"
    if first != "_blocks":
        return key
    number, layer, rest = rest.split(".", 2)
    stage, place = blocks[int(number)]
    names = _FIRST_STAGE if stage == 0 else _LATER_STAGES
    return f"blocks.{stage}.{place}.{names.get(layer, layer)}.{rest}"


_SQUEEZE = {"_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"}
_FIRST_STAGE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2", **_SQUEEZE}
_LATER_STAGES = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
    **_SQUEEZE,
}


def block_places(net: EfficientNetB4) -> dict[int, tuple[int, int]]:
    """Return where the n-th block of the flat list lies in timm's stages."""
    places = [(s, b) for s, stage in enumerate(net.net.blocks) for b in range(len(stage))]
    return dict(enumerate(places))


def from_efficientnet_pytorch(state: dict[str, Tensor], net: EfficientNetB4) -> dict[str, Tensor]:
    """Rename a checkpoint's keys (without the owner's prefix) to those of `net`."""
    places = block_places(net)
    return {f"net.{translate(key, places)}": torch.as_tensor(value) for key, value in state.items()}
