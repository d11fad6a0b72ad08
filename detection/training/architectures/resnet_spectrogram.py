"""ResNet-18 or -34 on the log-mel spectrogram of speech."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from detection.engine import torch_compat  # noqa: F401  # before timm, which imports torchvision
from detection.training.architectures.lcnn import mean_and_spread
from detection.training.architectures.speech_fronts import LogBands, mel_filters


class SpectrogramNet(nn.Module):
    """Speech -> how synthetic it sounds.

    forward: (n, samples) float32, 16 kHz. Returns `logit` (n,) and `embedding` (n, 1024): mean and spread over time of
    the last stage. Source: arXiv:1512.03385, as used for speech in arXiv:1907.00501.
    """

    def __init__(self, depth: int = 18, bands: int = 80, dropout: float = 0.3) -> None:
        super().__init__()
        import timm

        self.front = LogBands(mel_filters(bands))
        backbone: Any = timm.create_model(f"resnet{depth}", pretrained=False, in_chans=1, num_classes=0)
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * int(backbone.num_features), 1)

    def forward(self, speech: Tensor) -> dict[str, Tensor]:
        maps = self.backbone.forward_features(self.front(speech)[:, None])
        embedding = mean_and_spread(maps.mean(dim=2))
        return {"logit": self.head(self.dropout(embedding))[:, 0], "embedding": embedding}


def build(depth: int = 18, bands: int = 80, dropout: float = 0.3) -> SpectrogramNet:
    return SpectrogramNet(depth, bands, dropout)
