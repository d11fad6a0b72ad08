"""Train the spatial branch: real faces against blends of themselves, judged on sources left out."""

from __future__ import annotations

import copy
import json
import logging
import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from detection.engine.branches.spatial_net import FaceNet
from detection.training import exporting, face_report, face_steps
from detection.training.datasets import Patches, load_patches
from detection.training.face_pairs import Config, PairStream, build_net, normalise
from detection.training.progress import Progress

log = logging.getLogger(__name__)


def train(config: Config, data: Sequence[Path], out: Path) -> dict[str, Any]:
    """Train into `out` (goes on from its last epoch) and return the run record with figures on left-out sources."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(int(config.get("threads", 1)))
    torch.manual_seed(config["seed"])
    sets = [load_patches([manifest], out.parent / "cache") for manifest in data]
    run = _Run(config, sets, out)
    run.fit()
    net = load_run(out)
    record = {"config": config, "data": [str(path.parent.name + "/" + path.name) for path in data], "epochs": run.log}
    record["report"] = face_report.spatial_report(net, sets, config, out)
    return record


def export(run: Path, weights_dir: Path) -> dict[str, Any]:
    """Write ml_weights/spatial/ from a finished run; returns the registry's files, temperature, bias and parity."""
    record = json.loads((run / "run.json").read_text())
    config = record["config"]
    net = load_run(run)
    size = int(config["input_size"])
    torch.manual_seed(0)
    entry = exporting.export(net, torch.randn(4, 3, size, size), weights_dir / "spatial", "spatial")
    return {**entry, **record["report"]["calibration"], "input_size": size}


def load_run(out: Path) -> FaceNet:
    """Return the best net of a run, ready to score."""
    saved = torch.load(out / "best.pt", map_location="cpu", weights_only=True)
    net = FaceNet(saved["arch"], saved["input_size"])
    net.load_state_dict(saved["ema"], strict=True)
    return net.eval()


class _Run:
    """The loop: steps, moving average of weights, one judgement and one checkpoint an epoch."""

    def __init__(self, config: Config, sets: Sequence[Patches], out: Path) -> None:
        self.config, self.sets, self.out = config, sets, out
        self.net = build_net(config)
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = copy.deepcopy(self.net).eval()
        decayed = [p for p in self.net.parameters() if p.ndim > 1]
        plain = [p for p in self.net.parameters() if p.ndim <= 1]
        groups: list[dict[str, Any]] = [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
        rate, decay = config["learning_rate"], config["weight_decay"]
        self.optimizer = torch.optim.AdamW(groups, lr=rate, weight_decay=decay)
        self.epoch, self.step, self.seconds, self.best = 0, 0, 0.0, -1.0
        self.log: list[dict[str, Any]] = []
        self._resume()
        self.rng = np.random.default_rng(config["seed"] + self.epoch)

    def fit(self) -> None:
        stream = PairStream(self.sets, self.config, self.config["seed"] + self.epoch)
        workers = int(self.config.get("workers", 1))
        batches = iter(torch.utils.data.DataLoader(stream, batch_size=None, num_workers=workers))
        while self.epoch < self.config["epochs"] and self._progress() < 1:
            started = time.monotonic()
            loss = self._epoch(batches, started)
            self.epoch += 1
            self.seconds += time.monotonic() - started
            figures = face_report.judge(self.ema, self.sets, self.config, split="calibration")
            self.log.append({"epoch": self.epoch, "loss": round(loss, 4), "seconds": round(self.seconds), **figures})
            log.info("%s", json.dumps(self.log[-1]))
            self._save(figures["selection"])

    def _epoch(self, batches: Iterator[torch.Tensor], started: float) -> float:
        self.net.train()
        freeze(self.net, int(self.config.get("frozen_stages", 0)))
        losses = []
        progress = Progress(int(self.config["steps"]), f"epoch {self.epoch + 1}", sys.stderr)
        for _ in range(progress.total):
            if self._progress(time.monotonic() - started) >= 1:
                break
            losses.append(self._one_step(next(batches), time.monotonic() - started))
            progress.step()
        return float(np.mean(losses)) if losses else float("nan")

    def _one_step(self, batch: torch.Tensor, since: float) -> float:
        faces = normalise(batch, self.config)
        targets = face_steps.pair_targets(len(faces), self.config["label_smoothing"])
        faces, targets = face_steps.mixed(faces, targets, self.config.get("mixup", 0.0), self.rng)
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate(since)
        measure = face_steps.loss_of(self.config)
        loss = face_steps.step(
            self.net, self.optimizer, lambda: measure(self.net(faces)["logit"], targets), self.config
        )
        self.step += 1
        face_steps.average(self.ema, self.net, face_steps.decay_of(self.config, self.step, self._progress(since)))
        return loss

    def _progress(self, since: float = 0.0) -> float:
        """How far the run is, by steps or by time, whichever is further."""
        by_steps = self.step / (self.config["epochs"] * self.config["steps"])
        limit_s = self.config.get("max_minutes", 0) * 60
        return max(float(by_steps), (self.seconds + since) / limit_s if limit_s else 0.0)

    def _rate(self, since: float) -> float:
        warm = min(1.0, (self.step + 1) / max(1, self.config["warm_up"]))
        return float(
            self.config["learning_rate"]
            * warm
            * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, self._progress(since)))))
        )

    def _save(self, selection: float) -> None:
        facts = {"arch": self.config["arch"], "input_size": int(self.config["input_size"])}
        if selection > self.best:
            self.best = selection
            torch.save({"ema": self.ema.state_dict(), "epoch": self.epoch, **facts}, self.out / "best.pt")
        state = {
            "net": self.net.state_dict(), "ema": self.ema.state_dict(), "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch, "step": self.step, "seconds": self.seconds, "best": self.best, "log": self.log,
        }  # fmt: skip
        torch.save(state, self.out / "last.tmp")
        (self.out / "last.tmp").replace(self.out / "last.pt")

    def _resume(self) -> None:
        path = self.out / "last.pt"
        if not path.is_file():
            return
        state = torch.load(path, map_location="cpu", weights_only=True)
        self.net.load_state_dict(state["net"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.step, self.seconds = state["epoch"], state["step"], state["seconds"]
        self.best, self.log = state["best"], state["log"]


def freeze(net: FaceNet, stages: int) -> None:
    """Keep the stem and the first stages of an EfficientNet as they are: they are general, and half of the cost."""
    if stages <= 0:
        return
    backbone: Any = net.backbone
    if not hasattr(backbone, "conv_stem"):
        raise ValueError("frozen_stages works with EfficientNets only; set it to 0")
    for part in (backbone.conv_stem, backbone.bn1, *backbone.blocks[:stages]):
        part.eval()
        part.requires_grad_(False)
