"""What a detector can be told about its mistakes. Labels are 1 for a fake and may be soft."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

MARGINS = ("am-softmax", "oc-softmax")
NAMES = ("bce", "focal", *MARGINS)


def smoothed(labels: Tensor, share: float) -> Tensor:
    """Return labels moved towards the middle: 0 -> share, 1 -> 1 - share (Szegedy et al. 2016, arXiv:1512.00567)."""
    return labels * (1 - 2 * share) + share


def bce(logit: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of each item (n,)."""
    return functional.binary_cross_entropy_with_logits(logit, labels, reduction="none")


def focal(logit: Tensor, labels: Tensor, gamma: float = 2.0) -> Tensor:
    """Return the cross-entropy of each item, less where the net is right (Lin et al. 2017, arXiv:1708.02002)."""
    wrong = (labels - torch.sigmoid(logit)).abs()
    return wrong**gamma * bce(logit, labels)


class MarginNet(nn.Module):
    """A net whose verdict is an angle in its embedding: one centre (OC-softmax) or two (AM-softmax).

    forward: as the net's; `logit` is replaced, `cosine` (n, centres) is added. `loss` gives the loss of each item.
    Sources: Zhang et al. 2021, arXiv:2010.13995 (one class: real speech lies near a centre, fakes anywhere else);
    Wang et al. 2018, arXiv:1801.05599 (additive margin).
    """

    def __init__(
        self, net: nn.Module, width: int, kind: str, scale: float = 20.0, margins: tuple[float, float] = (0.9, 0.2)
    ) -> None:
        super().__init__()
        if kind not in MARGINS:
            raise ValueError(f"{kind!r} is no margin loss: {', '.join(MARGINS)}")
        self.net, self.kind, self.scale, self.margins = net, kind, scale, margins
        self.centres = nn.Parameter(torch.randn(1 if kind == "oc-softmax" else 2, width) * 0.1)

    def forward(self, batch: Tensor) -> dict[str, Tensor]:
        outputs: dict[str, Tensor] = self.net(batch)
        cosine = functional.normalize(outputs["embedding"]) @ functional.normalize(self.centres).T
        if self.kind == "oc-softmax":
            logit = self.scale * (sum(self.margins) / 2 - cosine[:, 0])
        else:
            logit = self.scale * (cosine[:, 1] - cosine[:, 0])
        return {**outputs, "logit": logit, "cosine": cosine}

    def loss(self, outputs: Mapping[str, Tensor], labels: Tensor) -> Tensor:
        """Return the loss of each item; labels must be 0 or 1."""
        cosine = outputs["cosine"]
        if self.kind == "oc-softmax":
            near, far = self.margins
            short = torch.where(labels > 0.5, cosine[:, 0] - far, near - cosine[:, 0])
            return functional.softplus(self.scale * short)
        classes = (labels > 0.5).long()
        wanted = functional.one_hot(classes, 2)
        return functional.cross_entropy(self.scale * (cosine - 0.35 * wanted), classes, reduction="none")


def of_items(net: nn.Module, outputs: Mapping[str, Tensor], labels: Tensor, config: Mapping[str, Any]) -> Tensor:
    """Return the loss of each item (n,) as a configuration asks: loss, label_smoothing, focal_gamma."""
    if isinstance(net, MarginNet):
        return net.loss(outputs, labels)
    soft = smoothed(labels, float(config.get("label_smoothing", 0.0)))
    name = config.get("loss", "bce")
    if name == "focal":
        return focal(outputs["logit"], soft, float(config.get("focal_gamma", 2.0)))
    if name != "bce":
        raise ValueError(f"There is no loss called {name!r}: {', '.join(NAMES)}.")
    return bce(outputs["logit"], soft)


def mixed(batch: Tensor, labels: Tensor, strength: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mixup (Zhang et al. 2018, arXiv:1710.09412): every item with a share of another, labels alike.

    strength: of Beta(strength, strength), from which one share per batch is drawn.
    """
    share = _beta(strength, generator)
    other = torch.randperm(len(batch), generator=generator)
    return batch * share + batch[other] * (1 - share), labels * share + labels[other] * (1 - share)


def patched(batch: Tensor, labels: Tensor, strength: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """CutMix (Yun et al. 2019, arXiv:1905.04899): a box of another item, of speech a stretch of time; labels by area.

    batch: (n, samples), (n, 3, h, w) or (n, frames, 3, h, w); in a clip the box is the same in every frame.
    """
    keep = _beta(strength, generator)
    other = torch.randperm(len(batch), generator=generator)
    axes = 1 if batch.ndim == 2 else 2
    mask = torch.zeros(batch.shape[-axes:])
    spans = []
    for size in mask.shape:
        length = round(size * (1 - keep) ** (1 / axes))
        start = int(torch.randint(0, size - length + 1, (1,), generator=generator))
        spans.append(slice(start, start + length))
    mask[tuple(spans)] = 1.0
    area = float(mask.mean())
    return torch.where(mask > 0, batch[other], batch), labels * (1 - area) + labels[other] * area


def _beta(strength: float, generator: torch.Generator) -> float:
    """One draw of Beta(strength, strength), as two gammas, from the run's own generator."""
    parts = torch._standard_gamma(torch.full((2,), strength), generator=generator) + 1e-9
    return float(parts[0] / parts.sum())
