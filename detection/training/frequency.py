"""Trains the frequency net from scratch on high-pass residuals of native-resolution crops."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from detection.engine.branches import frequency
from detection.training import picture_runs
from detection.training.pictures import read_items

MEAN, STD = 0.0, 255.0


def train(config: Mapping[str, Any], data: list[Path], out: Path) -> dict[str, Any]:
    """Train, calibrate and measure; write checkpoints into out. Returns the run record."""
    net = frequency.build()
    groups = [{"params": net.parameters(), "lr": config["lr"]}]
    record = picture_runs.train(net, groups, config, data, out, mean=MEAN, std=STD)
    return record | finish(config, data, out)


def finish(config: Mapping[str, Any], data: list[Path], out: Path) -> dict[str, Any]:
    """Calibrate and measure the weights in out/best.pt."""
    items = read_items(data)
    net = frequency.build().eval()
    net.load_state_dict(torch.load(out / "best.pt", map_location="cpu", weights_only=True))
    scores = {
        split: picture_runs.score(net, items[split], config["crop_px"], MEAN, STD) for split in ("calibration", "test")
    }
    return picture_runs.assess(items, scores["calibration"], scores["test"])


def export(run: Path, weights_dir: Path) -> dict[str, Any]:
    """Write the weights of a finished run in the shapes that serve. Returns files with digests and the parity."""
    crop_px = int(json.loads((run / "run.json").read_text())["config"]["crop_px"])
    return picture_runs.export(frequency.build(), run / "best.pt", weights_dir, "frequency", crop_px, MEAN, STD)
