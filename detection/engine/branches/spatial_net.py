"""The torch layers of the spatial branch: any timm backbone, a linear head, and its exact class activation map."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from detection.engine import torch_compat  # noqa: F401  # before timm, which imports torchvision

DEFAULT_ARCH = "tf_efficientnet_lite0"

ARCHITECTURES = (  # buildable and trainable by configuration; any other timm name works too
    "tf_efficientnet_lite0",
    "tf_efficientnet_b0",
    "tf_efficientnet_b3",
    "tf_efficientnet_b4",
    "legacy_xception",
    "vit_tiny_patch16_224",
    "vit_small_patch16_224",
    "deit_tiny_patch16_224",
    "deit_small_patch16_224",
)


class FaceNet(nn.Module):
    """Face crop -> how fake it looks.

    forward: (n, 3, h, w) float32, normalised as the weights ask. Returns `logit` (n,), `cam` (n, gh, gw) in logit
    units, whose mean is the logit, and `embedding` (n, d), the pooled features.
    """

    def __init__(self, arch: str = DEFAULT_ARCH, input_size: int = 160, dropout: float = 0.2) -> None:
        super().__init__()
        import timm

        is_transformer = arch.startswith(("vit_", "deit"))
        sized: dict[str, Any] = {"img_size": input_size} if is_transformer else {}
        self.backbone: Any = timm.create_model(arch, pretrained=False, num_classes=0, global_pool="", **sized)
        self.prefix = int(getattr(self.backbone, "num_prefix_tokens", 0)) if is_transformer else None
        with torch.inference_mode():
            was_training = self.backbone.training
            width = self.maps(torch.zeros(1, 3, input_size, input_size)).shape[1]
            self.backbone.train(was_training)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, 1)

    def maps(self, faces: torch.Tensor) -> torch.Tensor:
        """Return the last feature map (n, d, gh, gw); of a transformer, its patch tokens laid out as a picture."""
        features: torch.Tensor = self.backbone.forward_features(faces)
        if self.prefix is None:
            return features
        tokens = features[:, self.prefix :]
        rows, columns = self.backbone.patch_embed.grid_size
        return tokens.transpose(1, 2).reshape(tokens.shape[0], -1, rows, columns)

    def forward(self, faces: torch.Tensor) -> dict[str, torch.Tensor]:
        maps = self.maps(faces)
        embedding = maps.mean(dim=(2, 3))
        cam = torch.einsum("ndhw,d->nhw", maps, self.head.weight[0]) + self.head.bias
        logit = self.head(self.dropout(embedding))[:, 0]
        return {"logit": logit, "cam": cam, "embedding": embedding}
