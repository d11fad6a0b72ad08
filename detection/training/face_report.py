"""What the face nets are worth on sources left out of training, beside the baselines they must beat."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from detection.training import metrics
from detection.training.datasets import Item, Patches, serving_crop
from detection.training.face_pairs import PairStream, build_net, normalise

Floats = NDArray[np.float64]

BLENDED = ("faceswap", "lipsync")  # what a detector of blends is meant for
REPORT_FRAMES = 8
PROBE_FRAMES = 4
PROBE_BATCHES = 40


def judge(net: Any, sets: Sequence[Patches], config: dict[str, Any], split: str) -> dict[str, Any]:
    """AUROC of one split by manipulation, stills and clips apart; `selection` is what early stopping goes by."""
    items, logits = score_items(net, sets, config, split, frames=int(config["eval_frames"]), blended_only=True)
    figures: dict[str, Any] = {}
    parts = []
    for is_clip, name, weight in ((True, "clips", 0.7), (False, "stills", 0.3)):
        chosen = [i for i, item in enumerate(items) if item.is_clip == is_clip]
        value = metrics.auroc([items[i].is_fake for i in chosen], logits[chosen])
        figures[name] = round(value, 4)
        if np.isfinite(value):
            parts.append((value, weight))
    total = sum(weight for _, weight in parts)
    figures["selection"] = sum(value * weight for value, weight in parts) / total if parts else float("nan")
    return figures


def score_items(
    net: Any,
    sets: Sequence[Patches],
    config: dict[str, Any],
    split: str,
    *,
    frames: int,
    blended_only: bool = False,
) -> tuple[list[Item], Floats]:
    """Return the items of a split that have a face, and the mean logit over up to `frames` faces of each."""
    items: list[Item] = []
    logits: list[float] = []
    for patches in sets:
        for number, item in enumerate(patches.items):
            if item.split != split or (blended_only and item.is_fake and item.manipulation not in BLENDED):
                continue
            rows = patches.of(number)
            if len(rows):
                items.append(item)
                logits.append(float(outputs_of(net, patches, spread(rows, frames), config)["logit"].mean()))
    return items, np.asarray(logits)


def spread(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Up to `count` rows, evenly over time."""
    return np.asarray(rows[np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int))])


@torch.inference_mode()
def outputs_of(net: Any, patches: Patches, rows: NDArray[np.int64], config: dict[str, Any]) -> dict[str, Floats]:
    """Run the net on the serving crops of some patches."""
    size = int(config["input_size"])
    batch = np.stack([serving_crop(np.asarray(patches.images[row]), size) for row in rows])
    outputs = net(normalise(torch.from_numpy(batch), config))
    return {name: value.double().numpy() for name, value in outputs.items()}


def spatial_report(net: Any, sets: Sequence[Patches], config: dict[str, Any], out: Path) -> dict[str, Any]:
    """Calibrate on the calibration sources, measure on the test sources, beside the baselines."""
    items, logits = score_items(net, sets, config, "calibration", frames=REPORT_FRAMES)
    meant = [i for i, item in enumerate(items) if not item.is_fake or item.manipulation in (*BLENDED, "reenactment")]
    calibration = platt(logits[meant], [items[i].is_fake for i in meant])
    items, logits = score_items(net, sets, config, "test", frames=REPORT_FRAMES)
    scores = 1 / (1 + np.exp(-(logits / calibration["temperature"] + calibration["bias"])))
    save_scores(out / "test_scores.csv", items, logits, scores)
    return {
        "calibration": calibration,
        "test": summarise(items, scores),
        "baselines": baselines(sets, config, BLENDED, out.parent / "cache"),
    }


def platt(logits: Floats, labels: Sequence[bool]) -> dict[str, float]:
    """Temperature and bias of sigmoid(logit / temperature + bias), both classes weighing the same."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=100.0, class_weight="balanced").fit(logits[:, None], np.asarray(labels, int))
    slope = max(float(model.coef_[0, 0]), 1e-2)
    return {"temperature": round(1 / slope, 6), "bias": round(float(model.intercept_[0]), 6)}


def summarise(items: Sequence[Item], scores: Floats, meant: Sequence[str] = BLENDED) -> dict[str, Any]:
    """Figures of one split: clips with the manipulations the net is meant for, then everything by manipulation."""
    kinds = sorted({item.manipulation for item in items if item.is_fake})
    rows = {"meant_for": _subset(items, meant, is_clip=True), "all clips": _subset(items, kinds, is_clip=True)}
    for kind in kinds:
        rows[f"{kind} (clips)"] = _subset(items, [kind], is_clip=True)
        rows[f"{kind} (stills)"] = _subset(items, [kind], is_clip=False)
    return {name: figures(items, scores, chosen) for name, chosen in rows.items() if _has_fakes(items, chosen)}


def figures(items: Sequence[Item], scores: Floats, chosen: Sequence[int]) -> dict[str, Any]:
    """AUROC with its interval (whole subjects are drawn), EER, ECE and error rates at 0.5."""
    labels = [items[i].is_fake for i in chosen]
    mine = scores[list(chosen)]
    low, high = metrics.bootstrap_ci(labels, mine, groups=[items[i].group for i in chosen])
    at = metrics.at_threshold(labels, mine, 0.5)
    return {
        "n_real": len(labels) - sum(labels),
        "n_fake": sum(labels),
        "auroc": round(metrics.auroc(labels, mine), 4),
        "auroc_ci": [round(low, 4), round(high, 4)],
        "eer": round(metrics.eer(labels, mine), 4),
        "ece": round(metrics.ece(labels, mine), 4),
        "recall_at_0.5": round(at["recall"], 4),
        "fpr_at_0.5": round(at["fpr"], 4),
    }


def _subset(items: Sequence[Item], manipulations: Sequence[str], *, is_clip: bool) -> list[int]:
    """Reals and the named fakes, of clips or of stills."""
    return [
        i
        for i, item in enumerate(items)
        if item.is_clip == is_clip and (not item.is_fake or item.manipulation in manipulations)
    ]


def _has_fakes(items: Sequence[Item], chosen: Sequence[int]) -> bool:
    return len({items[i].is_fake for i in chosen}) == 2


def baselines(sets: Sequence[Patches], config: dict[str, Any], meant: Sequence[str], cache: Path) -> dict[str, Any]:
    """AUROC of the baselines on the test clips that a net is meant for, learnt from real fakes and from blends.

    config: that of the spatial branch, whose crops and blends the baselines share. Computed once, kept in `cache`.
    """
    test = _clips(sets, lambda i: i.split == "test")
    items = [patches.items[number] for patches, number, _ in test]
    names = json.dumps([[item.path for item in items], config["input_size"], PROBE_BATCHES, PROBE_FRAMES])
    kept = cache / f"baselines-{hashlib.sha256(names.encode()).hexdigest()[:16]}.json"
    if not kept.is_file():
        kept.write_text(json.dumps(_baseline_scores(sets, config, test)))
    chosen = _subset(items, meant, is_clip=True)
    labels, groups = [items[i].is_fake for i in chosen], [items[i].group for i in chosen]
    found = {}
    for name, values in json.loads(kept.read_text()).items():
        mine = np.asarray(values)[chosen]
        interval = [round(v, 4) for v in metrics.bootstrap_ci(labels, mine, groups=groups)]
        found[name] = {"auroc": round(metrics.auroc(labels, mine), 4), "auroc_ci": interval}
    return found


def _baseline_scores(
    sets: Sequence[Patches], config: dict[str, Any], test: Sequence[tuple[Patches, int, NDArray[np.int64]]]
) -> dict[str, list[float]]:
    """Return the scores of every baseline on the test clips, in order."""
    from detection.training import face_baselines as base

    size = int(config["input_size"])
    train = _clips(sets, lambda i: i.split == "train")
    seen = [patches.items[number].is_fake for patches, number, _ in train]
    facts = [np.stack([base.file_facts(p.items[n]) for p, n, _ in chosen]) for chosen in (train, test)]
    scored = {"format and size": base.logistic(facts[0], seen, facts[1], 1.0)}
    stream = iter(PairStream(sets, config, seed=7))
    batches = [next(stream).numpy() for _ in range(PROBE_BATCHES)]
    made = [i >= len(batch) // 2 for batch in batches for i in range(len(batch))]
    probes: dict[str, base.Describe] = {"radial FFT": base.radial_spectrum}
    if config["arch"] == "tf_efficientnet_lite0":  # as ImageNet left it, also when the run goes on from a checkpoint
        frozen = build_net({**config, "pretrained": "package"}).eval()
        probes["frozen backbone"] = base.frozen_probe(frozen.backbone, config)
    for name, describe in probes.items():
        held_out = base.describe_items(describe, test, size)
        blends = np.concatenate([describe(batch) for batch in batches])
        scored[f"{name}, from blends"] = base.logistic(blends, made, held_out)
        scored[f"{name}, from clips"] = base.logistic(base.describe_items(describe, train, size), seen, held_out)
    return {name: values.tolist() for name, values in scored.items()}


def _clips(sets: Sequence[Patches], wanted: Callable[[Item], bool]) -> list[tuple[Patches, int, NDArray[np.int64]]]:
    return [
        (patches, number, spread(rows, PROBE_FRAMES))
        for patches in sets
        for number, item in enumerate(patches.items)
        if item.is_clip and wanted(item) and len(rows := patches.of(number))
    ]


def save_scores(path: Path, items: Sequence[Item], logits: Floats, scores: Floats) -> None:
    """Write one line per item, for later looks and for the fusion."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split", "source", "manipulation", "method", "logit", "score"])
        for item, logit, score in zip(items, logits, scores, strict=True):
            label = "fake" if item.is_fake else "real"
            writer.writerow(
                [
                    Path(item.path).name,
                    label,
                    item.split,
                    item.source,
                    item.manipulation,
                    item.method,
                    f"{logit:.5f}",
                    f"{score:.5f}",
                ]
            )
