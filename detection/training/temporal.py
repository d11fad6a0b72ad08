"""Train the temporal branch on windows of what the registered spatial net sees, real clips against fakes and blends."""

from __future__ import annotations

import copy
import json
import logging
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from detection.engine import runtime
from detection.engine.branches.temporal import fill, of_person
from detection.engine.branches.temporal_net import FRAMES, WindowNet
from detection.engine.patches import to_batch
from detection.training import augment, blending, exporting, face_report, face_steps, metrics
from detection.training.datasets import Item, Patches, load_patches, serving_crop
from detection.training.progress import Progress

log = logging.getLogger(__name__)

Config = dict[str, Any]
Floats = NDArray[np.float32]

MEANT = ("faceswap", "lipsync", "reenactment")


@dataclass(frozen=True, eq=False)
class Course:
    """The embeddings of one clip, or of one altered version of it, in time order."""

    item: Item
    looks: Floats  # (t, d)
    is_fake: bool
    is_blend: bool = False


def train(config: Config, data: Sequence[Path], out: Path) -> dict[str, Any]:
    """Train into `out` and return the run record with figures on left-out sources."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(int(config.get("threads", 1)))
    torch.manual_seed(config["seed"])
    sets = [load_patches([manifest], out.parent / "cache") for manifest in data]
    courses = load_courses(config, sets, out)
    net, history = fit(config, courses["train"], courses["calibration"])
    torch.save({"state": net.state_dict(), "shape": _shape(config, courses["train"])}, out / "best.pt")
    return {
        "config": config,
        "data": [f"{path.parent.name}/{path.name}" for path in data],
        "spatial": runtime.load("spatial").spec.files["openvino"][-1][1],
        "history": history,
        "report": report(net, courses, config, sets, out),
    }


def export(run: Path, weights_dir: Path) -> dict[str, Any]:
    """Write ml_weights/temporal/ from a finished run; returns the registry's files, temperature, bias and parity."""
    record = json.loads((run / "run.json").read_text())
    net = load_run(run)
    torch.manual_seed(0)
    example = torch.randn(4, FRAMES, len(net.mean)) * net.std + net.mean
    entry = exporting.export(net, example, weights_dir / "temporal", "temporal")
    return {**entry, **record["report"]["calibration"]}


def load_run(run: Path) -> WindowNet:
    """Return the net of a finished run, ready to score."""
    saved = torch.load(run / "best.pt", map_location="cpu", weights_only=True)
    net = WindowNet(**saved["shape"])
    net.load_state_dict(saved["state"], strict=True)
    return net.eval()


def load_courses(config: Config, sets: Sequence[Patches], out: Path) -> dict[str, list[Course]]:
    """Return the courses of every split, computed once per spatial net and kept in `out`."""
    spatial = runtime.load("spatial")
    digest = spatial.spec.files["openvino"][-1][1][:12]
    kept = out / f"courses-{digest}-{config['worn_versions']}-{config['blend_versions']}-{config['seed']}.pt"
    clips = [(p, n) for p in sets for n, item in enumerate(p.items) if item.is_clip and len(p.of(n)) >= FRAMES // 2]
    if not kept.is_file():
        rng = np.random.default_rng(config["seed"])
        found: list[tuple[int, bool, bool, torch.Tensor]] = []
        for number, (patches, item) in enumerate(clips):
            for looks, is_fake, is_blend in _versions(patches, item, config, spatial, rng):
                found.append((number, is_fake, is_blend, torch.from_numpy(looks)))
            if number % 50 == 0:
                log.info("courses: %d of %d clips", number, len(clips))
        torch.save(found, kept)
    courses: dict[str, list[Course]] = {"train": [], "calibration": [], "test": []}
    for number, is_fake, is_blend, looks in torch.load(kept, map_location="cpu", weights_only=True):
        patches, index = clips[number]
        item = patches.items[index]
        courses[item.split].append(Course(item, looks.numpy(), is_fake, is_blend))
    return courses


def _versions(
    patches: Patches, number: int, config: Config, spatial: runtime.Net, rng: np.random.Generator
) -> list[tuple[Floats, bool, bool]]:
    """(looks, is_fake, is_blend) of a clip as it is and, for training, worn and blended."""
    item, rows = patches.items[number], patches.of(number)
    if item.split == "train" and len(rows) > FRAMES:
        start = int(rng.integers(len(rows) - FRAMES + 1))
        rows = rows[start : start + int(config["train_frames"])]
    frames = [np.asarray(patches.images[row]) for row in rows]
    versions = [(embed(frames, spatial, None), item.is_fake, False)]
    if item.split != "train":
        return versions
    for _ in range(int(config["worn_versions"]) - 1):
        versions.append((embed(frames, spatial, augment.draw_wear(rng)), item.is_fake, False))
    if not item.is_fake and patches.has_points[rows].all():
        for _ in range(int(config["blend_versions"])):
            blended = _blend_clip(frames, patches.points[rows], rng, config["flicker_share"])
            wear = augment.draw_wear(rng) if rng.random() < 0.5 else None
            versions.append((embed(blended, spatial, wear), True, True))
    return versions


def _blend_clip(
    frames: Sequence[NDArray[np.uint8]], points: Floats, rng: np.random.Generator, flicker_share: float
) -> list[NDArray[np.uint8]]:
    """Blend every frame in the same way; a flickering blend trembles in place, edge and colour."""
    steady = blending.draw_change(rng)
    flickers = rng.random() < flicker_share
    blended = []
    for frame, mesh in zip(frames, points, strict=True):
        change = steady
        if flickers:
            right, down = np.array(steady.shift) + rng.normal(0, 0.006, 2)
            colour = steady.colour * (1 + rng.normal(0, 0.015, 3).astype(np.float32))
            change = replace(steady, shift=(float(right), float(down)), colour=colour, seed=int(rng.integers(2**31)))
        blended.append(blending.self_blend(frame, mesh, change)[1])
    return blended


def embed(frames: Sequence[NDArray[np.uint8]], spatial: runtime.Net, wear: augment.Wear | None) -> Floats:
    """Return (t, d): what the spatial net sees in the serving crop of each patch."""
    size, parts = spatial.spec.input_size, []
    for start in range(0, len(frames), 16):
        crops = [serving_crop(frame, size) for frame in frames[start : start + 16]]
        if wear is not None:
            crops = [augment.apply(crop, wear) for crop in crops]
        parts.append(spatial(to_batch(crops, spatial.spec.mean, spatial.spec.std))["embedding"])
    return np.concatenate(parts).astype(np.float32)


def fit(
    config: Config, train_on: Sequence[Course], judge_on: Sequence[Course]
) -> tuple[WindowNet, list[dict[str, Any]]]:
    """Return the moving-average net that judged the calibration sources best, and what was seen on the way."""
    rng = np.random.default_rng(config["seed"])
    net = WindowNet(**_shape(config, train_on))
    everything = np.concatenate([course.looks for course in train_on])
    net.mean.copy_(torch.from_numpy(everything.mean(axis=0)))
    net.std.copy_(torch.from_numpy(everything.std(axis=0) + 0.05))
    ema = copy.deepcopy(net)
    optimizer = torch.optim.AdamW(net.parameters(), lr=config["learning_rate"], weight_decay=config["weight_decay"])
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config["learning_rate"], total_steps=config["steps"])
    unclipped = {"clip_norm": float("inf")}
    progress = Progress(int(config["steps"]), "temporal", sys.stderr)
    best, best_state, history = -1.0, copy.deepcopy(net.state_dict()), []
    for step in range(1, int(config["steps"]) + 1):
        windows, labels = draw_batch(train_on, config, rng)
        smooth = config["label_smoothing"]
        windows, labels = face_steps.mixed(windows, labels * (1 - 2 * smooth) + smooth, config.get("mixup", 0.0), rng)
        net.train()
        loss = face_steps.step(net, optimizer, partial(_loss, net, windows, labels, config), unclipped | config)
        schedule.step()
        face_steps.average(ema, net, config.get("ema", 0.98))
        progress.step()
        if step % int(config["judge_every"]) == 0:
            value = _judge(ema.eval(), judge_on)
            history.append({"step": step, "loss": round(loss, 4), "calibration_auroc": round(value, 4)})
            log.info("%s", history[-1])
            if value > best:
                best, best_state = value, copy.deepcopy(ema.state_dict())
    net.load_state_dict(best_state)
    return net.eval(), history


def _loss(net: nn.Module, windows: torch.Tensor, labels: torch.Tensor, config: Config) -> torch.Tensor:
    return face_steps.loss_of(config)(net(windows)["logit"], labels)


def draw_batch(
    courses: Sequence[Course], config: Config, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Half real, half fake windows; sources drawn by the square root of their size."""
    kinds = {
        "real": [c for c in courses if not c.is_fake],
        "fake": [c for c in courses if c.is_fake and not c.is_blend],
        "blend": [c for c in courses if c.is_blend],
    }
    shares = {"real": 0.5, "fake": 0.5 * (1 - config["blend_share"]), "blend": 0.5 * config["blend_share"]}
    names = [name for name, members in kinds.items() if members]
    share = np.array([shares[name] for name in names])
    weights = {name: _source_weights(kinds[name]) for name in names}
    windows, labels = [], []
    for name in rng.choice(names, size=int(config["batch"]), p=share / share.sum()):
        course = kinds[name][int(rng.choice(len(kinds[name]), p=weights[name]))]
        start = int(rng.integers(max(1, len(course.looks) - FRAMES + 1)))
        window = fill(course.looks[start : start + FRAMES])
        windows.append(window[::-1].copy() if rng.random() < 0.5 else window)
        labels.append(float(course.is_fake))
    return torch.from_numpy(np.stack(windows)), torch.tensor(labels)


def _source_weights(courses: Sequence[Course]) -> NDArray[np.float64]:
    sources = [course.item.source for course in courses]
    weights = np.array([sources.count(source) ** -0.5 for source in sources])
    return np.asarray(weights / weights.sum())


def _shape(config: Config, courses: Sequence[Course]) -> dict[str, Any]:
    inputs = courses[0].looks.shape[1]
    return {"inputs": inputs, "width": config["width"], "layers": config["layers"], "dropout": config["dropout"]}


@torch.inference_mode()
def score(net: nn.Module, courses: Sequence[Course]) -> NDArray[np.float64]:
    """One logit per clip, put together from its windows as serving does."""
    logits = []
    for course in courses:
        count = len(course.looks)
        starts = [0] if count <= FRAMES else sorted({*range(0, count - FRAMES + 1, FRAMES), count - FRAMES})
        windows = np.stack([fill(course.looks[start : start + FRAMES]) for start in starts])
        logits.append(of_person(net(torch.from_numpy(windows))["logit"].tolist()))
    return np.asarray(logits)


def _judge(net: nn.Module, courses: Sequence[Course]) -> float:
    chosen = [c for c in courses if not c.is_fake or c.item.manipulation in MEANT]
    return metrics.auroc([c.is_fake for c in chosen], score(net, chosen))


def report(
    net: nn.Module, courses: dict[str, list[Course]], config: Config, sets: Sequence[Patches], out: Path
) -> dict[str, Any]:
    """Calibrate on the calibration sources, measure on the test sources, beside the baselines."""
    chosen = [c for c in courses["calibration"] if not c.is_fake or c.item.manipulation in MEANT]
    calibration = face_report.platt(score(net, chosen), [c.is_fake for c in chosen])
    test = courses["test"]
    logits = score(net, test)
    p_fake = 1 / (1 + np.exp(-(logits / calibration["temperature"] + calibration["bias"])))
    items = [course.item for course in test]
    face_report.save_scores(out / "test_scores.csv", items, logits, p_fake)
    spatial = tomllib.loads(Path(config["spatial_config"]).read_text())
    baselines = face_report.baselines(sets, spatial, MEANT, out.parent / "cache")
    return {
        "calibration": calibration,
        "test": face_report.summarise(items, p_fake, MEANT),
        "baselines": {**baselines, **_probe(courses)},
    }


def _probe(courses: dict[str, list[Course]]) -> dict[str, Any]:
    """Logistic regression on the mean and spread of the same embeddings: what order in time adds is above this."""
    from detection.training.face_baselines import logistic

    def describe(chosen: Sequence[Course]) -> NDArray[np.float64]:
        return np.stack([np.concatenate([c.looks.mean(axis=0), c.looks.std(axis=0)]) for c in chosen]).astype(float)

    test = [c for c in courses["test"] if not c.is_fake or c.item.manipulation in MEANT]
    labels = [c.is_fake for c in test]
    values = logistic(describe(courses["train"]), [c.is_fake for c in courses["train"]], describe(test), 1e-3)
    interval = metrics.bootstrap_ci(labels, values, groups=[c.item.group for c in test])
    figures = {"auroc": round(metrics.auroc(labels, values), 4), "auroc_ci": [round(v, 4) for v in interval]}
    return {"spatial embeddings, mean and spread": figures}
