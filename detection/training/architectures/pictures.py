"""Picture nets of timm and torchvision, given one output: how fake a picture looks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from detection.engine import torch_compat  # noqa: F401  # before timm and torchvision
from detection.engine.branches.spatial_net import FaceNet
from detection.training.architectures import Architecture


class Classifier(nn.Module):
    """A library's net with its own head, as its checkpoints have it.

    forward: a batch as that net takes it. Returns `scores` (n, classes); with one or two classes also `logit` (n,),
    the log-odds of class 1 (fake); more classes are a body to tune from, without an opinion of its own.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, batch: Tensor) -> dict[str, Tensor]:
        scores = self.net(batch)
        classes = scores.shape[1]
        if classes == 1:
            return {"logit": scores[:, 0], "scores": scores}
        if classes == 2:
            return {"logit": scores[:, 1] - scores[:, 0], "scores": scores}
        return {"scores": scores}


def build(name: str, size: int = 224, dropout: float = 0.2, pretrained: bool = False) -> nn.Module:
    """Return a net with one output. name: of timm (with or without "timm:"), or "torchvision:<name>".

    pretrained: start from the library's weights, which needs a connection. Raises OSError when they cannot be had.
    """
    library, _, inner = name.rpartition(":")
    if library == "torchvision":
        if pretrained:
            raise OSError("Of torchvision's pictures nets no weights are fetched: use the timm net of the same name.")
        return torchvision_net(inner, 1)
    net = FaceNet(inner, size, dropout)
    if pretrained:
        net.backbone.load_state_dict(fetched(inner, size), strict=True)
    return net


def fetched(name: str, size: int) -> dict[str, Tensor]:
    """Return the published weights of a timm body. Raises OSError when they cannot be fetched."""
    import timm

    extra: dict[str, Any] = {"img_size": size} if name.startswith(("vit_", "deit")) else {}
    try:
        whole = timm.create_model(name, pretrained=True, num_classes=0, global_pool="", **extra)
    except Exception as error:  # the hub's client has many
        raise OSError(
            f"The weights of {name} could not be fetched ({str(error).splitlines()[0]}). "
            "Without a connection, give a file with [init], or train without pretrained."
        ) from error
    return dict(whole.state_dict())


def build_classifier(name: str, classes: int) -> Classifier:
    """Return "timm:<name>" or "torchvision:<name>" with the head that a checkpoint of `classes` classes fits."""
    library, _, inner = name.partition(":")
    return torchvision_net(inner, classes) if library == "torchvision" else timm_net(inner, classes)


def timm_contract(known: Architecture, name: str) -> Architecture:
    """Return the size and scale that timm states for a net's published weights, in place of the known ones."""
    import timm

    stated = timm.get_pretrained_cfg(name, allow_unregistered=False)
    if stated is None:
        return known
    mean, std = (tuple(255 * float(v) for v in values) for values in (stated.mean, stated.std))
    return replace(known, size=int(stated.input_size[-1]), mean=mean, std=std)


def torchvision_net(name: str, classes: int) -> Classifier:
    import torchvision

    extra: dict[str, Any] = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    return Classifier(torchvision.models.get_model(name, weights=None, num_classes=classes, **extra))


def timm_net(name: str, classes: int) -> Classifier:
    import timm

    return Classifier(timm.create_model(name, pretrained=False, num_classes=classes))
