"""One step of the face nets by configuration: loss, mixup, sharpness-aware ascent, average of the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Config = dict[str, Any]
Loss = Callable[[Tensor, Tensor], Tensor]  # logits (n,), targets (n,) in [0, 1] -> mean loss

LOSSES = ("bce", "focal")


def loss_of(config: Config) -> Loss:
    """Return the loss that `loss` names: "bce" (when absent), or "focal" with `focal_gamma`."""
    name = config.get("loss", "bce")
    if name == "bce":
        return nn.functional.binary_cross_entropy_with_logits
    if name == "focal":
        gamma = float(config.get("focal_gamma", 2.0))
        return lambda logits, targets: focal_loss(logits, targets, gamma)
    raise ValueError(f"loss must be one of {', '.join(LOSSES)}, not {name!r}")


def focal_loss(logits: Tensor, targets: Tensor, gamma: float) -> Tensor:
    """Cross-entropy that pays little for what is already right; soft targets keep their distance as the weight.

    Source: Lin et al. 2017, arXiv:1708.02002, with |target - p| in place of 1 - p_t, which it equals on hard labels.
    """
    plain = nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return ((targets - logits.sigmoid()).abs() ** gamma * plain).mean()


def pair_targets(count: int, label_smoothing: float) -> Tensor:
    """Return (count,) targets of a batch of pairs: real faces first, as many fakes after them."""
    half = count // 2
    return torch.cat(
        [torch.full((half,), label_smoothing), torch.full((count - half,), 1.0 - label_smoothing)],
    )


def mixed(inputs: Tensor, targets: Tensor, alpha: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return the batch mixed with itself in another order; alpha 0 leaves it as it is.

    inputs: (n, …). targets: (n,). Source: Zhang et al. 2018, arXiv:1710.09412.
    """
    if alpha <= 0:
        return inputs, targets
    share = float(rng.beta(alpha, alpha))
    order = torch.from_numpy(rng.permutation(len(inputs)))
    return inputs * share + inputs[order] * (1 - share), targets * share + targets[order] * (1 - share)


def step(net: nn.Module, optimizer: torch.optim.Optimizer, loss: Callable[[], Tensor], config: Config) -> float:
    """Take one step of the optimizer on `loss()` and return its value; `sam` > 0 is the radius of the ascent.

    Source of the ascent: Foret et al. 2021, arXiv:2010.01412.
    """
    optimizer.zero_grad(set_to_none=True)
    value = loss()
    value.backward()  # type: ignore[no-untyped-call]
    radius = float(config.get("sam", 0.0))
    if radius > 0:
        with _uphill(net, radius), _still_norms(net):
            optimizer.zero_grad(set_to_none=True)
            loss().backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(net.parameters(), float(config.get("clip_norm", 2.0)))
    optimizer.step()
    return float(value.detach())


@contextmanager
def _uphill(net: nn.Module, radius: float) -> Iterator[None]:
    """Move every weight `radius` along its gradient, all together, and back."""
    moved = [p for p in net.parameters() if p.grad is not None]
    norm = torch.stack([p.grad.norm() for p in moved if p.grad is not None]).norm() + 1e-12
    ways = [p.grad.detach().clone() * (radius / norm) for p in moved if p.grad is not None]
    with torch.no_grad():
        for weight, way in zip(moved, ways, strict=True):
            weight.add_(way)
    yield
    with torch.no_grad():
        for weight, way in zip(moved, ways, strict=True):
            weight.sub_(way)


@contextmanager
def _still_norms(net: nn.Module) -> Iterator[None]:
    """Keep batch statistics from counting the second look at the same batch."""
    norms = [module for module in net.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    before = [module.momentum for module in norms]
    for module in norms:
        module.momentum = 0.0
    yield
    for module, momentum in zip(norms, before, strict=True):
        module.momentum = momentum


@torch.no_grad()
def average(mean: nn.Module, net: nn.Module, decay: float) -> None:
    """Move `mean` towards `net` by 1 - decay; counters are copied."""
    for kept, now in zip(mean.state_dict().values(), net.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(now, 1 - decay)
        else:
            kept.copy_(now)


def decay_of(config: Config, step_number: int, progress: float) -> float:
    """Return how much of the average is kept at a step.

    `ema`: moving average, shorter at the start; 0 follows the net. `swa_from`: from that share of the run on, every
    step weighs the same (Izmailov et al. 2018, arXiv:1803.05407), whatever `ema` says.
    """
    start = float(config.get("swa_from", 1.0))
    if progress >= start and progress > 0:
        seen = max(1.0, step_number * (progress - start) / progress)
        return seen / (seen + 1)
    return min(float(config["ema"]), (1 + step_number) / (10 + step_number))
