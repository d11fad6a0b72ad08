"""One training run of a net that looks at native-resolution crops: loop, checkpoints, early looks, scores."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset

from detection.engine import patches
from detection.training import exporting, metrics, picture_baselines, picture_report, reconstruction
from detection.training.pictures import Picture, Recipe, batches, read_items, read_rgb

Scores = NDArray[np.float64]

log = logging.getLogger(__name__)


class _Stream(IterableDataset[tuple[Any, Any]]):
    """Augmented batches, made in the loader's process while the net trains."""

    def __init__(self, items: Sequence[Picture], pairs: Sequence[tuple[Path, Path]], recipe: Recipe, seed: int) -> None:
        self.items, self.pairs, self.recipe, self.seed = items, pairs, recipe, seed

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return batches(self.items, self.pairs, self.recipe, self.seed)


class Average:
    """Exponential moving average of weights: what is validated and shipped."""

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.net, self.decay, self.steps = copy.deepcopy(net).eval(), decay, 0

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        self.steps += 1
        keep = min(self.decay, self.steps / (self.steps + 10))
        for mine, new in zip(self.net.state_dict().values(), net.state_dict().values(), strict=True):
            if mine.is_floating_point():
                mine.lerp_(new, 1 - keep)
            else:
                mine.copy_(new)


def train(
    net: nn.Module,
    groups: list[dict[str, Any]],
    config: Mapping[str, Any],
    manifests: list[Path],
    out: Path,
    *,
    mean: float,
    std: float,
) -> dict[str, Any]:
    """Train `net` and write last.pt (resumable), best.pt (averaged weights) into out. Returns the run record.

    groups: parameter groups for AdamW, each with its peak "lr". The best epoch is the one with the highest AUROC on
    config["early_stopping_sources"], which no gradient sees; without such sources it is the last one.
    """
    torch.manual_seed(config["seed"])
    torch.set_num_threads(config.get("threads", 1))
    items = read_items(manifests)["train"]
    held = set(config.get("early_stopping_sources", []))
    learn = [item for item in items if item.source not in held]
    look = [item for item in items if item.source in held]
    pairs = reconstruction_pairs(learn, config)
    log.info("%d pictures and %d reconstruction pairs to learn from, %d to look at", len(learn), len(pairs), len(look))

    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(groups, weight_decay=config["weight_decay"])
    steps = config["epochs"] * config["batches_per_epoch"]
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _cosine(step, steps))
    average = Average(net, config["ema_decay"])
    state = _resume(out / "last.pt", net, optimizer, schedule, average)
    stream = iter(_loader(learn, pairs, config, seed=config["seed"] + state["epoch"]))
    for epoch in range(state["epoch"], config["epochs"]):
        started = time.monotonic()
        loss = _epoch(net, optimizer, schedule, average, stream, config, mean, std)
        row = {"epoch": epoch + 1, "loss": loss, "seconds": time.monotonic() - started}
        if look:
            row |= _early_look(average.net, look, config["crop_px"], mean, std)
        state["history"].append(row)
        log.info("%s", {key: round(value, 4) for key, value in row.items()})
        if not look or row["auroc"] >= max(r["auroc"] for r in state["history"]):
            torch.save(average.net.state_dict(), out / "best.pt")
        _save(out / "last.pt", net, optimizer, schedule, average, state | {"epoch": epoch + 1})
    return {"config": dict(config), "history": state["history"], "learnt_from": len(learn), "pairs": len(pairs)}


def assess(items: Mapping[str, Sequence[Picture]], on_calibration: Scores, on_test: Scores) -> dict[str, Any]:
    """Calibrate on the calibration sources, measure on the test sources, and set the baselines beside it."""
    temperature, bias = picture_report.calibrate(items["calibration"], on_calibration)
    rivals = picture_baselines.compare(items["train"], items["test"])
    labels = [int(item.is_fake) for item in items["test"]]
    return {
        "temperature": temperature,
        "bias": bias,
        "calibration": picture_report.measure(items["calibration"], on_calibration),
        "test": picture_report.measure(items["test"], on_test),
        "test_ece": metrics.ece(labels, 1 / (1 + np.exp(-(on_test / temperature + bias)))),
        "place": picture_report.earns_its_place(items["test"], on_test, rivals),
        "rivals": {name: picture_report.measure(items["test"], scores) for name, scores in rivals.items()},
    }


def export(
    net: nn.Module, checkpoint: Path, weights_dir: Path, name: str, crop_px: int, mean: float, std: float
) -> dict[str, Any]:
    """Write a checkpoint as `name` in the shapes that serve and return what the registry needs."""
    net.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True))
    pixels = np.random.default_rng(0).integers(0, 256, (4, crop_px // 8, crop_px // 8, 3), dtype=np.uint8)
    crops = [np.kron(one, np.ones((8, 8, 1), np.uint8)) for one in pixels]
    example = torch.from_numpy(patches.to_batch(crops, (mean,) * 3, (std,) * 3))
    return exporting.export(net, example, weights_dir / name, name)


def reconstruction_pairs(items: Sequence[Picture], config: Mapping[str, Any]) -> list[tuple[Path, Path]]:
    """Return (real, reconstruction) of a sample of the real items, making those that the cache lacks.

    Without config["reconstruction_weights"] (a folder) only pairs that lie in config["reconstruction_cache"] count.
    """
    if not config.get("reconstruction_cache"):
        return []
    cache = Path(config["reconstruction_cache"])
    reals = sorted((item.path for item in items if not item.is_fake), key=lambda path: path.stem)
    if config.get("reconstruction_weights"):
        chosen = reals[:: max(len(reals) // config["reconstructions"], 1)]
        reconstruction.write_pairs(chosen, Path(config["reconstruction_weights"]), cache)
    found = (reconstruction.read_pair(cache, path) for path in reals)
    return [pair for pair in found if pair is not None]


@torch.inference_mode()
def score(net: nn.Module, items: Sequence[Picture], crop_px: int, mean: float, std: float) -> NDArray[np.float64]:
    """Return one logit per picture: the mean over its crops at native resolution."""
    logits = []
    for item in items:
        crops = [patch.image for patch in patches.grid(read_rgb(item.path), crop_px)]
        batch = torch.from_numpy(patches.to_batch(crops, (mean,) * 3, (std,) * 3))
        logits.append(float(net(batch)["logit"].mean()))
    return np.array(logits)


def _early_look(net: nn.Module, look: Sequence[Picture], crop_px: int, mean: float, std: float) -> dict[str, float]:
    labels = [int(item.is_fake) for item in look]
    scores = score(net, look, crop_px, mean, std)
    return {"auroc": metrics.auroc(labels, scores), "eer": metrics.eer(labels, scores)}


def _loader(
    items: Sequence[Picture], pairs: Sequence[tuple[Path, Path]], config: Mapping[str, Any], seed: int
) -> DataLoader[Any]:
    recipe = Recipe(config["crop_px"], config["pictures"], config["faces"], config["pair_pictures"])
    workers = config.get("workers", 1)
    return DataLoader(
        _Stream(items, pairs, recipe, seed),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_quiet_worker,
    )


def _quiet_worker(_: int) -> None:
    import cv2

    cv2.setNumThreads(1)


def _cosine(step: int, steps: int, warm_up: int = 40) -> float:
    return min((step + 1) / warm_up, 1.0) * 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0)))


def _epoch(
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LambdaLR,
    average: Average,
    stream: Iterator[Any],
    config: Mapping[str, Any],
    mean: float,
    std: float,
) -> float:
    """Run one epoch; returns its mean loss."""
    set_training(net, frozen_norms=config["freeze_norms"])
    smoothing, losses = config["label_smoothing"], []
    for _ in range(config["batches_per_epoch"]):
        crops, labels = next(stream)
        batch = ((crops.float() - mean) / std).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=config["bf16"]):
            logit = net(batch)["logit"].float()
        target = labels * (1 - smoothing) + smoothing / 2
        loss = functional.binary_cross_entropy_with_logits(logit, target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        average.update(net)
        losses.append(float(loss.detach()))
    return float(np.mean(losses))


def set_training(net: nn.Module, *, frozen_norms: bool) -> None:
    """Switch to training; frozen norms keep the running statistics of pretraining (few sources would bend them)."""
    net.train()
    if frozen_norms:
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()


def _resume(
    path: Path,
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LambdaLR,
    average: Average,
) -> dict[str, Any]:
    if not path.exists():
        return {"epoch": 0, "history": []}
    saved = torch.load(path, map_location="cpu", weights_only=True)
    net.load_state_dict(saved["net"])
    optimizer.load_state_dict(saved["optimizer"])
    schedule.load_state_dict(saved["schedule"])
    average.net.load_state_dict(saved["average"])
    average.steps = saved["average_steps"]
    return {"epoch": saved["epoch"], "history": saved["history"]}


def _save(
    path: Path,
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LambdaLR,
    average: Average,
    state: Mapping[str, Any],
) -> None:
    """Write the checkpoint beside the old one first: a run killed while writing must still resume."""
    temporary = path.with_suffix(".part")
    torch.save(
        {
            "net": net.state_dict(),
            "optimizer": optimizer.state_dict(),
            "schedule": schedule.state_dict(),
            "average": average.net.state_dict(),
            "average_steps": average.steps,
            **state,
        },
        temporary,
    )
    temporary.replace(path)
