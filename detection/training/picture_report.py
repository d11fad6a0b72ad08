"""What a picture net is worth on sources left out of training: calibration, metrics per generator, rivals, the card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from detection.training import metrics
from detection.training.pictures import Picture, source_weights

Scores = NDArray[np.float64]
TRIVIAL = ("file format and size", "radial spectrum")
PROBE = "frozen backbone probe"


def calibrate(items: Sequence[Picture], logits: Scores) -> tuple[float, float]:
    """Return (temperature, bias) with p_fake = sigmoid(logit / temperature + bias), by Platt scaling.

    Sources weigh alike within their class and the classes alike: the prior is even.
    """
    labels = np.array([item.is_fake for item in items])
    model = LogisticRegression(C=1e3).fit(logits[:, None], labels, sample_weight=source_weights(items))
    slope = max(float(model.coef_[0, 0]), 0.05)  # a net that is wrong on these sources must not be turned round
    return 1 / slope, float(model.intercept_[0])


def measure(items: Sequence[Picture], scores: Scores, *, rounds: int = 1000) -> dict[str, Any]:
    """Return AUROC with a grouped interval for all, per kind, and per generator against the reals of its kind."""
    figures = {"all": _figures(items, scores, rounds)}
    for kind in sorted({item.kind for item in items}):
        rows = np.array([item.kind == kind for item in items])
        figures[kind] = _figures(_pick(items, rows), scores[rows], rounds)
    figures["by_generator"] = _by_generator(items, scores)
    return figures


def earns_its_place(items: Sequence[Picture], net: Scores, rivals: Mapping[str, Scores]) -> dict[str, Any]:
    """Return whether the lower bound beats the trivial rivals and the estimate beats the probe, with the figures."""
    labels = [int(item.is_fake) for item in items]
    low, high = metrics.bootstrap_ci(labels, net, groups=[item.group for item in items])
    own = metrics.auroc(labels, net)
    others = {name: metrics.auroc(labels, scores) for name, scores in rivals.items()}
    return {
        "auroc": own,
        "interval": (low, high),
        "rivals": others,
        "fused": bool(low > max(others[name] for name in TRIVIAL) and own > others[PROBE]),
    }


def left_out(
    items: Sequence[Picture], runs: Sequence[Mapping[str, Any]], temperature: float, bias: float
) -> dict[str, Any]:
    """Return the figures of held-out logits: runs[partition][view] is (n,), nan where a view does not show an item.

    Views other than "as stored" are re-compressions of some items; their AUROC stands beside that of the same items
    as they were stored.
    """
    stored = np.asarray(runs[0]["as stored"], np.float64)
    told = np.array([item.kind != "swap" for item in items])
    mine, logits = _pick(items, told), stored[told]
    labels = [int(item.is_fake) for item in mine]
    p_fake = 1 / (1 + np.exp(-(logits / temperature + bias)))
    return {
        "left_out": measure(mine, logits),
        "partitions": [_by_kind(items, np.asarray(run["as stored"], np.float64)) for run in runs],
        "ece": metrics.ece(labels, p_fake, weights=metrics.even(labels)),
        "swaps": _swaps(items, stored),
        "splits": {name: _of_split(items, stored, name) for name in ("train", "calibration", "test")},
        "false_alarms": _false_alarms(mine, p_fake),
        "codecs": {name: _codec(items, stored, np.asarray(view, np.float64)) for name, view in runs[0].items()},
    }


def place(items: Sequence[Picture], logits: Scores, rivals: Mapping[str, Scores]) -> dict[str, Any]:
    """Return for all items, pictures and faces how the branch stands against its rivals, which may score fewer kinds.

    items, logits and rivals are of the same rows; swaps are left out.
    """
    found = {}
    for kind in ("all", "picture", "face"):
        rows = np.array([item.kind == kind or (kind == "all" and item.kind != "swap") for item in items])
        if rows.any():
            found[kind] = earns_its_place(_pick(items, rows), logits[rows], {n: s[rows] for n, s in rivals.items()})
    return found


def _by_kind(items: Sequence[Picture], scores: Scores) -> dict[str, float]:
    return {
        kind: metrics.auroc([int(item.is_fake) for item in _pick(items, rows)], scores[rows])
        for kind in ("picture", "face")
        if (rows := np.array([item.kind == kind for item in items])).any()
    }


def _of_split(items: Sequence[Picture], scores: Scores, split: str) -> dict[str, float]:
    rows = np.array([item.split == split for item in items])
    return _by_kind(_pick(items, rows), scores[rows]) if rows.any() else {}


def _swaps(items: Sequence[Picture], scores: Scores) -> dict[str, Any]:
    """Return how swapped faces, which are no generator's work, rank against real faces."""
    rows = np.array([item.kind == "swap" or (item.kind == "face" and not item.is_fake) for item in items])
    labels = [int(item.is_fake) for item in _pick(items, rows)]
    return {"n": sum(labels), "auroc": metrics.auroc(labels, scores[rows]) if rows.any() else float("nan")}


def _false_alarms(items: Sequence[Picture], p_fake: Scores) -> dict[str, Any]:
    """Return per source of reals the share that would be called generated at 0.5."""
    found = {}
    for source, kind in sorted({(item.source, item.kind) for item in items if not item.is_fake}):
        rows = np.array([not item.is_fake and (item.source, item.kind) == (source, kind) for item in items])
        found[f"{source} ({kind})"] = {"n": int(rows.sum()), "share": float((p_fake[rows] >= 0.5).mean())}
    return found


def _codec(items: Sequence[Picture], stored: Scores, coded: Scores) -> dict[str, Any]:
    rows = np.isfinite(coded)
    shown = _pick(items, rows)
    before, after = _by_kind(shown, stored[rows]), _by_kind(shown, coded[rows])
    return {
        kind: {"n": sum(i.kind == kind for i in shown), "stored": before[kind], "coded": after[kind]} for kind in after
    }


def _figures(items: Sequence[Picture], scores: Scores, rounds: int) -> dict[str, Any]:
    labels = [int(item.is_fake) for item in items]
    low, high = metrics.bootstrap_ci(labels, scores, groups=[item.group for item in items], rounds=rounds)
    return {
        "n_real": labels.count(0),
        "n_fake": labels.count(1),
        "auroc": metrics.auroc(labels, scores),
        "interval": (low, high),
        "eer": metrics.eer(labels, scores),
    }


def _by_generator(items: Sequence[Picture], scores: Scores) -> dict[str, Any]:
    """Return AUROC and count of each generator with at least five pictures; `generator (kind)` names it."""
    found = {}
    for kind, generator in sorted({(item.kind, item.generator) for item in items if item.is_fake}):
        fakes = np.array([item.is_fake and item.kind == kind and item.generator == generator for item in items])
        reals = np.array([not item.is_fake and item.kind == kind for item in items])
        if fakes.sum() < 5 or not reals.any():
            continue
        rows = fakes | reals
        value = metrics.auroc(fakes[rows].astype(int), scores[rows])
        found[f"{generator} ({kind})"] = {"n": int(fakes.sum()), "auroc": value}
    return found


def _pick(items: Sequence[Picture], rows: NDArray[np.bool_]) -> list[Picture]:
    return [item for item, kept in zip(items, rows, strict=True) if kept]
