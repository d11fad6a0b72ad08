"""Fit the small regression over face measurements, and say honestly whether it may count.

It counts (`fused`) only when, on sources it was not fitted to, the lower 95 % bound of its AUROC lies above the best
single measurement and above chance.
"""

from __future__ import annotations

import csv
import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.engine import faces, media
from detection.engine.branches import physiology
from detection.engine.errors import EngineError
from detection.engine.types import Scene, Track
from detection.training import metrics, splits
from detection.training.stacking import balance

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]
NAMES = physiology.FEATURES


def train(config: dict[str, Any], data: Sequence[Path], out: Path) -> dict[str, Any]:
    """Measure every clip, cross-validate over left-out sources, fit, and write physiology.json into `out`."""
    table = out / "measurements.json"
    rows = json.loads(table.read_text()) if table.is_file() else _measure_all(data)
    table.write_text(json.dumps(rows))
    fitted = [r for r in rows if r["split"] != "test"]
    held_out = [r for r in rows if r["split"] == "test"]
    model = fit(fitted, float(config["ridge"]))
    folds = cross_validate(fitted, float(config["ridge"]), int(config["folds"]))
    figures = {
        "cross_validated": measure(fitted, folds),
        "test": measure(held_out, predict(model, held_out)),
        "best_single_measurement_on_test": best_single(fitted, held_out),
    }
    model["fused"] = counts(figures)
    model["version"] = str(config["version"])
    model["metrics"] = figures
    (out / "physiology.json").write_text(json.dumps(model, indent=1) + "\n")
    return figures | {"fused": model["fused"]}


def export(run: Path, weights_dir: Path) -> dict[str, Any]:
    """Copy the fitted regression to where it is served from; returns what registry.PHYSIOLOGY needs."""
    target = weights_dir / "physiology" / "physiology.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    content = (run / "physiology.json").read_bytes()
    target.write_bytes(content)
    return {"PHYSIOLOGY": ["physiology/physiology.json", hashlib.sha256(content).hexdigest()]}


def _measure_all(data: Sequence[Path]) -> list[dict[str, Any]]:
    rows = []
    for manifest in data:
        with manifest.open(newline="") as file:
            lines = [line for line in csv.DictReader(file) if line["label"] in ("real", "fake")]
        for number, line in enumerate(lines):
            numbers = measure_file(manifest.parent / line["path"])
            if numbers is None:
                continue
            rows.append(
                {
                    "path": line["path"],
                    "fake": int(line["label"] == "fake"),
                    "split": splits.split_of(line),
                    "source": line.get("source_repo", ""),
                    "group": splits.bootstrap_group(line),
                    "numbers": numbers,
                }
            )
            if number % 50 == 0:
                log.info("measured %d of %d", number, len(lines))
    return rows


def measure_file(path: Path) -> physiology.Numbers | None:
    """Return the measurements of the longest track of a clip; None where serving would skip it."""
    try:
        decoded = media.decode(path)
    except EngineError as error:
        log.warning("%s: %s", path, error.message)
        return None
    if decoded.info.kind != "video":
        return None
    tracks = faces.find_tracks(decoded.frames)
    track = max(tracks, key=lambda t: len(t.faces), default=None)
    seen = tuple(f for f in track.faces if f.landmarks is not None) if track else ()
    if track is None or len(seen) < physiology.MIN_FRAMES:
        return None
    return physiology.measure(Scene(decoded, None, tracks), Track(track.number, seen))


def fit(rows: Sequence[dict[str, Any]], ridge: float) -> dict[str, Any]:
    """Return intercept and (weight, mean, sd) per measurement; sources balanced, missing values left out."""
    raw, y = _table(rows)
    mean = np.nanmean(raw, axis=0)
    sd = np.maximum(np.nanstd(raw, axis=0), 1e-6)
    x = np.nan_to_num(np.clip((raw - mean) / sd, -4, 4), nan=0.0)
    sample = balance(y, np.array([r["source"] for r in rows]))
    intercept, weights = _logistic(x, y, sample, ridge)
    features = {n: [float(w), float(m), float(s)] for n, w, m, s in zip(NAMES, weights, mean, sd, strict=True)}
    return {"intercept": intercept, "features": features}


def _logistic(x: Floats, y: NDArray[np.int64], sample: Floats, ridge: float) -> tuple[float, Floats]:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1 / (ridge * len(y)), max_iter=1000)
    model.fit(x, y, sample_weight=sample * len(y))
    return float(model.intercept_[0]), np.asarray(model.coef_[0], float)


def cross_validate(rows: Sequence[dict[str, Any]], ridge: float, folds: int) -> Floats:
    """Return (n,) log-odds of each row by a fit that never saw its source."""
    sources = np.array([r["source"] for r in rows])
    names = np.random.default_rng(0).permutation(sorted(set(sources)))
    out = np.zeros(len(rows))
    for fold in range(folds):
        held = np.isin(sources, names[fold::folds])
        rest = [r for r, h in zip(rows, held, strict=True) if not h]
        out[held] = predict(fit(rest, ridge), [r for r, h in zip(rows, held, strict=True) if h])
    return out


def predict(model: dict[str, Any], rows: Sequence[dict[str, Any]]) -> Floats:
    served = physiology.Regression({"version": "", "fused": False, **model})
    return np.array([served.logit(r["numbers"])[0] for r in rows])


def measure(rows: Sequence[dict[str, Any]], scores: Floats) -> dict[str, Any]:
    y = np.array([r["fake"] for r in rows])
    low, high = metrics.bootstrap_ci(y, scores, groups=[r["source"] for r in rows])
    return {
        "n": len(y),
        "n_fake": int(y.sum()),
        "sources": len({r["source"] for r in rows}),
        "auroc": metrics.auroc(y, scores),
        "auroc_ci": [low, high],
    }


def best_single(fitted: Sequence[dict[str, Any]], held_out: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the measurement that separates best on the fitted rows, and what it reaches on the held-out ones."""
    raw, y = _table(fitted)
    raw = np.where(np.isnan(raw), np.nanmean(raw, axis=0), raw)
    aurocs = np.array([metrics.auroc(y, raw[:, i]) for i in range(len(NAMES))])
    best = int(np.argmax(np.abs(aurocs - 0.5)))
    sign = 1 if aurocs[best] >= 0.5 else -1
    test, y_test = _table(held_out)
    column = np.where(np.isnan(test[:, best]), np.nanmean(raw[:, best]), test[:, best])
    return {"measurement": NAMES[best], "auroc": metrics.auroc(y_test, sign * column)}


def counts(figures: dict[str, Any]) -> bool:
    """Whether the regression has shown enough on sources left out to enter the fusion."""
    bounds = [figures[part]["auroc_ci"][0] for part in ("cross_validated", "test")]
    return bool(min(bounds) > max(0.5, figures["best_single_measurement_on_test"]["auroc"]))


def _table(rows: Sequence[dict[str, Any]]) -> tuple[Floats, NDArray[np.int64]]:
    values = [[np.nan if r["numbers"][n] is None else r["numbers"][n] for n in NAMES] for r in rows]
    return np.array(values, float), np.array([r["fake"] for r in rows])
