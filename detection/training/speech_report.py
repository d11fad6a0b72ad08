"""What held-out logits say of the speech branch: overall, per channel, kind, system, language, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.training import metrics
from detection.training.audio_features import Clip, Floats

DEBATABLE = {"codec", "restoration", "vocoder"}  # they re-synthesise what somebody really said


def figures(
    clips: Sequence[Clip], runs: Sequence[Mapping[str, Floats]], temperature: float, bias: float
) -> dict[str, Any]:
    """runs: one a partition, channel -> (n,) held-out logits; "clean" is the untouched clip; the first is reported."""
    y = np.array([int(clip.is_fake) for clip in clips])
    oof = runs[0]["clean"]
    core = np.array([clip.kind not in DEBATABLE for clip in clips])
    p = 1 / (1 + np.exp(-(oof / temperature + bias)))
    everything = np.ones(len(clips), bool)
    return {
        "auroc_partitions": [metrics.auroc(y, run["clean"]) for run in runs],
        "auroc_tts_vc_partitions": [metrics.auroc(y[core], run["clean"][core]) for run in runs],
        **_rates(clips, y, oof, everything, ""),
        **_rates(clips, y, oof, core, "_tts_vc"),
        "ece": metrics.ece(y, p),
        "at_half": metrics.at_threshold(y, p, 0.5),
        "channels": {name: _with_interval(clips, y, logits, everything) for name, logits in runs[0].items()},
        "kinds": _against_all_real(clips, y, oof, [c.kind for c in clips]),
        "systems": _against_all_real(clips, y, oof, [c.system for c in clips]),
        "languages": _within(clips, y, oof, [c.language for c in clips]),
        "false_alarms": _false_alarms(clips, p),
    }


def _rates(
    clips: Sequence[Clip], y: NDArray[np.int64], oof: Floats, rows: NDArray[np.bool_], suffix: str
) -> dict[str, Any]:
    groups = [clip.source for clip, inside in zip(clips, rows, strict=True) if inside]
    return {
        f"auroc{suffix}": metrics.auroc(y[rows], oof[rows]),
        f"auroc{suffix}_ci": list(metrics.bootstrap_ci(y[rows], oof[rows], groups=groups)),
        f"eer{suffix}": metrics.eer(y[rows], oof[rows]),
        f"eer{suffix}_ci": list(
            metrics.bootstrap_ci(y[rows], oof[rows], metric=metrics.eer, groups=groups, rounds=300)
        ),
    }


def _with_interval(
    clips: Sequence[Clip], y: NDArray[np.int64], logits: Floats, rows: NDArray[np.bool_]
) -> dict[str, Any]:
    groups = [clip.source for clip, inside in zip(clips, rows, strict=True) if inside]
    low, high = metrics.bootstrap_ci(y[rows], logits[rows], groups=groups, rounds=300)
    return {"n_fake": int(y[rows].sum()), "auroc": metrics.auroc(y[rows], logits[rows]), "ci": [low, high]}


def _against_all_real(
    clips: Sequence[Clip], y: NDArray[np.int64], logits: Floats, names: Sequence[str]
) -> dict[str, Any]:
    found = sorted({name for name, label in zip(names, y, strict=True) if label})
    return {name: _with_interval(clips, y, logits, (y == 0) | (np.array(names) == name)) for name in found}


def _within(clips: Sequence[Clip], y: NDArray[np.int64], logits: Floats, names: Sequence[str]) -> dict[str, Any]:
    result = {}
    for name in sorted(set(names)):
        rows = np.array(names) == name
        fakes = int(y[rows].sum())
        result[name] = {"n_real": int(rows.sum()) - fakes, **_with_interval(clips, y, logits, rows)}
    return result


def _false_alarms(clips: Sequence[Clip], p: NDArray[np.floating[Any]]) -> dict[str, Any]:
    result = {}
    for source in sorted({c.source for c in clips if not c.is_fake}):
        rows = np.array([c.source == source and not c.is_fake for c in clips])
        hits = int((p[rows] >= 0.5).sum())
        result[source] = {
            "n": int(rows.sum()),
            "share": hits / int(rows.sum()),
            "ci": list(metrics.proportion_ci(hits, int(rows.sum()))),
        }
    return result
