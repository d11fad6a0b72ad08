"""What changed copies do to verdicts: tables of compression and of ordinary genuine media."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from detection.training import calibration_fit, metrics, ordinary
from detection.training.calibration import KINDS, Judged
from detection.training.calibration_fit import Goals, Judgement

ROUNDS = 500
MIN_FILES = 10


def chosen(judged: Sequence[Judged], per_source: int) -> list[Judged]:
    """Return at most `per_source` rows of each source and label."""
    taken: dict[tuple[str, int, str], int] = defaultdict(int)
    found = []
    for j in judged:
        taken[(j.source, j.label, j.kind)] += 1
        if taken[(j.source, j.label, j.kind)] <= per_source:
            found.append(j)
    return found


def summary(judged: Sequence[Judged], records: Sequence[Mapping[str, Any]], goals: Goals) -> dict[str, Any]:
    """Return what the page shows: every copy judged by a fusion that did not see its source."""
    rows = {j.key: j for j in judged}
    stored = [record for record in records if record["key"] in rows]
    copies = [_copy(rows[record["key"]], record) for record in stored]
    found = calibration_fit.cross_validate(judged, goals, also=copies)
    before = {one.row.key: one for one in found[: len(judged)]}
    after: dict[tuple[str, str], list[Judgement]] = defaultdict(list)
    for one in found[len(judged) :]:
        name, _, key = one.row.path.partition("|")
        after[(one.row.kind, name)].append(Judgement(replace(one.row, key=key), one.verdict))
    changes = {change.name: change for change in ordinary.CHANGES}
    pairs = sorted(after.items(), key=lambda pair: (KINDS.index(pair[0][0]), pair[0][1]))
    of_genuine, of_both, known = [], [], []
    for (kind, name), copied in pairs:
        untouched = [before[one.row.key] for one in copied]
        if name == ordinary.UNTOUCHED:
            known.append(_known(kind, copied, untouched))
        elif not changes[name].is_ordinary:
            of_both.append(_compressed(kind, name, copied, untouched))
        pairs_of_genuine = [(a, b) for a, b in zip(copied, untouched, strict=True) if not a.row.label]
        if name != ordinary.UNTOUCHED and len(pairs_of_genuine) >= MIN_FILES:
            of_genuine.append(_ordinary(kind, name, pairs_of_genuine))
    totals = [_total(kind, of_genuine) for kind in KINDS if any(one["kind"] == kind for one in of_genuine)]
    return {
        "ordinary": of_genuine + totals,
        "compression": [one for one in of_both if one],
        "known": [one for one in known if one],
    }


def _copy(judged: Judged, record: Mapping[str, Any]) -> Judged:
    """Return the row of a changed copy; its path tells change and file."""
    if record["change"] == ordinary.UNTOUCHED:
        logits = {b: record["shifts"].get(b, x) for b, x in judged.logits.items()}
        return replace(judged, logits=logits, path=f"{record['change']}|{judged.key}")
    return replace(ordinary.moved(judged, record["shifts"]), path=f"{record['change']}|{judged.key}")


def _compressed(
    kind: str, name: str, copied: Sequence[Judgement], untouched: Sequence[Judgement]
) -> dict[str, Any] | None:
    y = np.array([one.row.label for one in copied])
    if len(y) < MIN_FILES or y.min() == y.max():
        return None
    scores, plain = np.array([one.score for one in copied]), np.array([one.score for one in untouched])
    interval = metrics.bootstrap_ci(y, scores, groups=[one.row.group for one in copied], rounds=ROUNDS)
    return {
        "kind": kind,
        "change": name,
        "n": len(y),
        "auroc": metrics.auroc(y, scores),
        "auroc_ci": list(interval),
        "auroc_untouched": metrics.auroc(y, plain),
    }


def _known(kind: str, shipped: Sequence[Judgement], left_out: Sequence[Judgement]) -> dict[str, Any] | None:
    y = np.array([one.row.label for one in shipped])
    if len(y) < MIN_FILES or y.min() == y.max():
        return None
    return {
        "kind": kind,
        "n": len(y),
        "in_distribution": metrics.auroc(y, [one.score for one in shipped]),
        "left_out": metrics.auroc(y, [one.score for one in left_out]),
    }


def _ordinary(kind: str, name: str, pairs: Sequence[tuple[Judgement, Judgement]]) -> dict[str, Any]:
    return {
        "kind": kind,
        "change": name,
        "n": len(pairs),
        "sources": len({after.row.source for after, _ in pairs}),
        "called_fake": sum(_is_called_fake(after) for after, _ in pairs),
        "untouched_called_fake": sum(_is_called_fake(before) for _, before in pairs),
    }


def _total(kind: str, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    mine = [one for one in parts if one["kind"] == kind]
    sums = {name: sum(one[name] for one in mine) for name in ("n", "called_fake", "untouched_called_fake")}
    return {"kind": kind, "change": "all together", "sources": max(one["sources"] for one in mine)} | sums


def _is_called_fake(judgement: Judgement) -> bool:
    """Whether the label says so: a score beyond the threshold is not enough where the rule over channels abstains."""
    return judgement.verdict.label == "fake"
