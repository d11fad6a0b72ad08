"""Trains the frequency net from scratch on high-pass residuals of native-resolution crops."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detection.engine.branches import frequency
from detection.training import picture_runs

MEAN, STD = 0.0, 255.0


def train(config: Mapping[str, Any], data: list[Path], out: Path) -> dict[str, Any]:
    """Train, calibrate and measure; write checkpoints into out. Returns the run record."""
    net = frequency.build()
    groups = [{"params": net.parameters(), "lr": config["lr"]}]
    return picture_runs.train(net, groups, config, data, out, mean=MEAN, std=STD)


def export(run: Path, weights_dir: Path) -> dict[str, Any]:
    """Write the weights of a finished run in the shapes that serve. Returns files with digests and the parity."""
    crop_px = int(json.loads((run / "run.json").read_text())["config"]["crop_px"])
    return dict(picture_runs.export(frequency.build(), run, weights_dir, "frequency", crop_px, MEAN, STD))
