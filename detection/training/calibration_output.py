"""What `calibrate` leaves beside fusion.json: a table of thresholds, the scores it judged by, and curves."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.engine import fusion
from detection.training import metrics, quality_plots
from detection.training.calibration import KINDS, domain_of, main_channel
from detection.training.calibration_fit import Judgement, coverage_curve
from detection.training.quality_plots import Curve

COLUMNS = (
    *("path", "label", "source", "system", "split", "logit", "kind", "domain", "manipulation", "group"),
    *("score", "low", "high", "verdict", "abstain", "fake_at", "real_below", "facts"),
)


def thresholds(judgements: Sequence[Judgement], targets: Sequence[float]) -> dict[str, Any]:
    """Return a threshold for each wished false positive rate and Youden's, over everything and kind by kind.

    The layout is `{"roc_auc": .., "thresholds": {"fpr_0.01": {..}, .., "default": {..}}}`, with `by_kind` beside it.
    """
    by_kind = {kind: [j for j in judgements if j.row.kind == kind] for kind in KINDS}
    found = {kind: _table(mine, targets) for kind, mine in by_kind.items() if len({j.row.label for j in mine}) == 2}
    return _table(judgements, targets) | {"by_kind": found}


def _table(judgements: Sequence[Judgement], targets: Sequence[float]) -> dict[str, Any]:
    y, s = arrays(judgements)
    entries = {f"fpr_{target:g}": at(y, s, metrics.at_fpr(y, s, target)) for target in targets}
    youden = {"note": "Optimal threshold using Youden's J statistic"} | at(y, s, metrics.youden(y, s))
    return {"roc_auc": round(metrics.auroc(y, s), 4), "thresholds": entries | {"default": youden}}


def arrays(judgements: Iterable[Judgement]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return (n,) labels and overall scores."""
    pairs = [(j.row.label, j.score) for j in judgements]
    return np.array([y for y, _ in pairs], np.int64), np.array([s for _, s in pairs])


def at(y: NDArray[np.int64], s: NDArray[np.float64], threshold: float) -> dict[str, Any]:
    """Return rates and counts at a threshold; a threshold above every score is given as 1."""
    said = s >= threshold
    tp, fp = int((said & (y == 1)).sum()), int((said & (y == 0)).sum())
    rates = metrics.at_threshold(y, s, threshold)
    numbers = {
        "threshold": min(threshold, 1.0),
        "fpr": rates["fpr"],
        "tpr": rates["recall"],
        "precision": rates["precision"],
        "recall": rates["recall"],
        "f1_score": rates["f1"],
    }
    counts = {"tp": tp, "fp": fp, "tn": int((y == 0).sum()) - fp, "fn": int((y == 1).sum()) - tp}
    return {name: round(value, 4) for name, value in numbers.items()} | counts


def write_scores(path: Path, judgements: Sequence[Judgement]) -> None:
    """Write every row with the score and the verdict of a fusion that did not see its source."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for j in sorted(judgements, key=lambda one: one.row.key):
            row, verdict = j.row, j.verdict
            low, high = verdict.interval or (j.score, j.score)
            facts = ";".join(f"{name}={value}" for name, value in sorted(row.facts.items()))
            writer.writerow(
                [
                    row.key,
                    "fake" if row.label else "real",
                    row.source,
                    row.method,
                    row.split,
                    f"{fusion.logit(j.score):.4f}",
                    row.kind,
                    domain_of(row, main_channel(row.kind)),
                    row.manipulation,
                    row.group,
                    f"{j.score:.4f}",
                    f"{low:.4f}",
                    f"{high:.4f}",
                    verdict.label,
                    verdict.abstain_reason or "",
                    verdict.thresholds["fake"],
                    verdict.thresholds["real"],
                    facts,
                ]
            )


def plot(folder: Path, judgements: Sequence[Judgement]) -> None:
    """Write roc.svg, det.svg, reliability.svg and coverage.svg, one line per kind of media."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = {kind: [j for j in judgements if j.row.kind == kind] for kind in KINDS}
    kinds = {kind: mine for kind, mine in kinds.items() if len({j.row.label for j in mine}) == 2}
    curves: dict[str, Curve] = {kind: arrays(mine) for kind, mine in kinds.items()}
    for name, svg in {
        "roc": quality_plots.roc(curves, "ROC, sources left out"),
        "det": quality_plots.det(curves, "DET, sources left out"),
        "reliability": quality_plots.reliability(
            {k: metrics.reliability(y, s, weights=metrics.even(y)) for k, (y, s) in curves.items()}, "Reliability"
        ),
        "coverage": quality_plots.coverage({k: coverage_curve(mine) for k, mine in kinds.items()}, "Coverage"),
    }.items():
        (folder / f"{name}.svg").write_text(svg)
