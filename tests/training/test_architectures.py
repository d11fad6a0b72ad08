"""Every architecture learns a handful of tiny clips by heart, and cannot know labels that were never there."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from detection.training import architectures

LEARNT = 0.15  # cross-entropy; a coin has 0.69
SEEN = 4

# name -> (size, frames, settings): small enough for seconds on one core, the layers as they are trained
SMALL: dict[str, tuple[int, int, dict[str, Any]]] = {
    "efficientnet-lite0": (64, 1, {}),
    "efficientnet-b0": (64, 1, {}),
    "efficientnet-b3": (64, 1, {}),
    "efficientnet-b4": (64, 1, {}),
    "xception": (64, 1, {}),
    "vit-tiny": (32, 1, {}),
    "vit-small": (32, 1, {}),
    "vit-base": (32, 1, {}),
    "deit-tiny": (32, 1, {}),
    "deit-small": (32, 1, {}),
    "resnet18": (64, 1, {}),
    "resnet50": (64, 1, {}),
    "timm:mobilenetv3_small_050": (64, 1, {}),
    "torchvision:mobilenet_v3_small": (32, 1, {}),
    "meso4": (256, 1, {"dropout": 0.0}),
    "mesoinception4": (256, 1, {"dropout": 0.0}),
    "minifasnet-v2": (80, 1, {"dropout": 0.0}),
    "minifasnet-v1se": (80, 1, {"dropout": 0.0}),
    "classifier": (32, 1, {"name": "timm:resnet10t", "classes": 2}),
    "efficientnet_pytorch-b4": (40, 1, {}),
    "r2plus1d-18": (24, 4, {}),
    "slowfast": (32, 8, {"width": 16}),
    "timesformer": (32, 4, {"width": 48, "depth": 2}),
    "frame-transformer": (64, 16, {"dropout": 0.0}),
    "aasist": (6_000, 1, {}),
    "aasist-l": (6_000, 1, {}),
    "lcnn": (6_000, 1, {}),
    "resnet18-spectrogram": (6_000, 1, {}),
    "resnet34-spectrogram": (6_000, 1, {}),
    "wav2vec2-base": (4_000, 1, {"small": True}),
    "hubert-base": (4_000, 1, {"small": True}),
}


def handful(name: str, seed: int, count: int = SEEN) -> tuple[torch.Tensor, torch.Tensor]:
    """Half real, half fake: a faint grating over noise (pictures, clips), a faint hum under noise (speech)."""
    size, frames, _ = SMALL[name]
    task = architectures.get(name).task
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    if task == "audio":
        sound = rng.normal(0, 0.1, (count, size))
        hum = 0.1 * np.sin(2 * np.pi * 3000 / 16_000 * np.arange(size))
        return torch.tensor(sound + labels[:, None] * hum).float(), torch.tensor(labels).float()
    shape = (count, 3, size, size) if task == "image" else (count, frames, 3, size, size)
    grating = np.sin(np.arange(size) * 2 * np.pi / 8)
    picture = rng.normal(0, 0.5, shape) + labels.reshape(-1, *[1] * (len(shape) - 1)) * grating
    return torch.tensor(picture).float(), torch.tensor(labels).float()


def loss_of(net: nn.Module, batch: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return nn.functional.binary_cross_entropy_with_logits(net(batch)["logit"], labels)


def test_every_listed_architecture_is_tried():
    assert set(architectures.ARCHITECTURES) <= set(SMALL)


@pytest.mark.parametrize("name", SMALL)
def test_it_learns_a_handful_by_heart(name):
    torch.manual_seed(0)
    size, frames, settings = SMALL[name]
    net = architectures.build(name, size=size, frames=frames, **settings).train()
    batch, labels = handful(name, seed=1)
    with torch.no_grad():
        if float(loss_of(copy.deepcopy(net), batch, labels)) < 2 * LEARNT:
            labels = 1 - labels  # a net that happens to know the answer learns the opposite
    optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=1e-3, weight_decay=0.0)
    losses = []
    for _ in range(60):
        loss = loss_of(net, batch, labels)
        losses.append(float(loss.detach()))
        if losses[-1] < LEARNT:
            break
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 2.0)
        optimizer.step()
    assert losses[-1] < LEARNT
    assert losses[0] > 2 * LEARNT, "nothing was learnt: it was known"
    with torch.inference_mode():
        both, first = net.eval()(batch)["logit"], net(batch[:1])["logit"]
    assert both.shape == (SEEN,)
    assert both[0].item() == pytest.approx(first[0].item(), abs=1e-2, rel=1e-3), "a score depends on its neighbours"


def test_labels_that_say_nothing_cannot_be_known():
    """The same bound is out of reach where labels were drawn by lot: learning by heart is not knowing."""
    torch.manual_seed(0)
    net = architectures.build("slowfast", size=32, frames=8, width=16)
    batch, _ = handful("slowfast", seed=1)
    lots = torch.tensor([0.0, 0.0, 1.0, 1.0])  # half of the gratings are called real
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    for _ in range(80):
        loss = loss_of(net, batch, lots)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < LEARNT
    fresh, _ = handful("slowfast", seed=2, count=16)
    drawn = torch.tensor([0, 0, 1, 1] * 4).float()
    with torch.no_grad():
        assert float(loss_of(net, fresh, drawn)) > 3 * LEARNT


def test_an_unknown_name_says_what_there_is():
    with pytest.raises(KeyError, match=r"resnet1.*aasist|aasist.*resnet1"):
        architectures.build("resnet1")


@pytest.mark.parametrize(("kind", "layers"), [("wav2vec2", 12), ("hubert", 12)])
def test_the_base_bodies_take_given_weights_and_can_be_frozen(kind, layers, tmp_path):
    from detection.training.architectures.speech_transformers import build

    net = build(kind, frozen_layers=-1)
    learns = [key for key, p in net.named_parameters() if p.requires_grad]
    assert all("transformer.layers" not in key for key in learns)
    assert len(net.mixture) == layers
    state = {key: torch.full_like(value, 0.01) for key, value in net.body.state_dict().items()}
    torch.save(state, tmp_path / "base.pt")
    again = build(kind, weights=str(tmp_path / "base.pt"))
    assert math.isclose(
        float(again.body.encoder.transformer.layers[3].attention.k_proj.bias[0].detach()), 0.01, rel_tol=1e-5
    )


def test_weights_that_cannot_be_fetched_are_an_error_that_says_what_to_do(monkeypatch):
    import torch.hub

    from detection.training.architectures.speech_transformers import build

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", unreachable)
    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    with pytest.raises(OSError, match=r"could not be fetched .*weights"):
        build("hubert", pretrained=True)
