"""Run the branches over held-out sources, keep what they said, and fit fusion.json to it."""

from __future__ import annotations

import csv
import hashlib
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from detection.engine import fusion, media, pipeline, registry
from detection.engine.branches import physiology
from detection.engine.errors import EngineError
from detection.engine.types import Channel, Evidence, Kind
from detection.training import metrics, splits, stacking

MIN_ROWS = 40
MIN_SOURCES = 3
# In serving a face check that does not count still tells the fusion that there is a face.
FACE_SEEN = Evidence("spatial", "picture", "scored", "", score=0.5)
KINDS: tuple[Kind, ...] = ("image", "video", "audio")


@dataclass(frozen=True)
class Judged:
    """One file and the log-odds of every branch that scored it."""

    path: str
    label: int
    split: str
    source: str
    group: str
    method: str
    kind: Kind
    logits: dict[str, float]
    channels: dict[str, Channel]
    quality: dict[str, float]
    digests: dict[str, str]
    has_face: bool = False


def select(manifest: Path, wanted: Sequence[str], per_source: int | None = None) -> list[dict[str, str]]:
    """Return the labelled rows of the wanted splits; of each source and label at most `per_source`, spread by hash."""
    with manifest.open(newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["label"] in ("real", "fake")]
    lines = [line for line in lines if splits.split_of(line) in wanted]
    if per_source is None:
        return lines
    drawn = sorted(lines, key=lambda line: hashlib.sha256(line["path"].encode()).digest())
    taken: Counter[tuple[str, str, str]] = Counter()
    chosen = []
    for line in drawn:
        key = (line.get("source_repo", ""), line["label"], splits.split_of(line))
        taken[key] += 1
        if taken[key] <= per_source:
            chosen.append(line)
    return chosen


def run(lines: Sequence[dict[str, str]], root: Path, rows_file: Path, workers: int = 2) -> Iterator[Judged]:
    """Yield what the branches say of every row. What `rows_file` holds from the same weights is not run again."""
    known = {j.path: j for j in load(rows_file)}

    def one(line: dict[str, str]) -> tuple[Judged | None, bool]:
        path = root / line["path"]
        before = known.get(str(path))
        wanted = [b for b, digest in digests().items() if before is None or before.digests.get(b) != digest]
        return (judge(path, line, wanted, before), True) if wanted else (before, False)

    with ThreadPoolExecutor(workers) as pool, rows_file.open("a") as store:
        for judged, is_new in pool.map(one, lines):
            if judged is None:
                continue
            if is_new:
                store.write(json.dumps(asdict(judged)) + "\n")
                store.flush()
            yield _held_out(judged)


def _held_out(judged: Judged) -> Judged:
    """Swap in the logit of a head that did not know the item's source, where the shipped speech head learnt from it."""
    logit = _held_out_speech().get(Path(judged.path).name)
    if logit is None or "audio" not in judged.logits:
        return judged
    spec = registry.BRANCHES["audio"]
    return replace(judged, logits=judged.logits | {"audio": logit / spec.temperature + spec.bias})


@cache
def _held_out_speech() -> dict[str, float]:
    """Return file name -> cross-validated logit; the shipped head was fitted to all of its sources."""
    with (registry.WEIGHTS_DIR / "audio" / "oof.csv").open(newline="") as file:
        return {Path(row["path"]).name: float(row["logit"]) for row in csv.DictReader(file)}


def load(rows_file: Path) -> list[Judged]:
    """Return the kept rows; of a path that was judged again, the last."""
    if not rows_file.is_file():
        return []
    return list({j.path: j for j in (Judged(**json.loads(t)) for t in rows_file.read_text().splitlines())}.values())


def digests() -> dict[str, str]:
    """Return branch -> digest of the weights it would run with, of the branches that may count."""
    found = {name: pipeline.digest_of(spec) for name, spec in registry.BRANCHES.items()}
    found["physiology"] = registry.PHYSIOLOGY[1]
    return {name: digest for name, digest in found.items() if may_count(name)}


def judge(path: Path, line: dict[str, str], wanted: Sequence[str], before: Judged | None) -> Judged | None:
    """Return the branches' log-odds on one file, those of other branches taken over; None when it cannot be decoded."""
    try:
        decoded = media.decode(path)
        quiet = pipeline.Run(pipeline.no_step, None, 0)
        scene = pipeline.build_scene(decoded, path, quiet)
        evidence = [quiet.branch(name, scene) for name in wanted]
    except EngineError:
        return None
    scored = {e.branch: e for e in evidence if e.score is not None}
    kept = [b for b in before.logits if b not in wanted and b in digests()] if before else []
    return Judged(
        path=str(path),
        label=int(line["label"] == "fake"),
        split=splits.split_of(line),
        source=line.get("source_repo", ""),
        group=splits.bootstrap_group(line),
        method=line.get("method") or line.get("system") or line.get("generator_or_camera") or "",
        kind=decoded.info.kind,
        logits={b: before.logits[b] for b in kept if before} | fusion.logits_of(scored),
        channels={b: before.channels[b] for b in kept if before} | {b: e.channel for b, e in scored.items()},
        quality={b: before.quality[b] for b in kept if before}
        | {b: 1.0 if e.quality is None else e.quality for b, e in scored.items()},
        digests=digests(),
        has_face=bool(scene.tracks),
    )


def rows_of(judged: Sequence[Judged]) -> dict[str, list[stacking.Row]]:
    """Return the rows of each domain. Of a clip, only the picture is labelled: its sound may be genuine."""
    domains: dict[str, list[stacking.Row]] = defaultdict(list)
    for j in judged:
        channel: Channel = "voice" if j.kind == "audio" else "picture"
        logits = {b: x for b, x in j.logits.items() if j.channels[b] == channel and may_count(b)}
        if not logits:
            continue
        domain = "voice" if channel == "voice" else f"{j.kind}_{'face' if j.has_face else 'scene'}"
        domains[domain].append(stacking.Row(j.path, j.label, j.source, j.group, domain, channel, logits))
    return dict(domains)


def may_count(branch: str) -> bool:
    if branch == "physiology":
        return physiology.load().is_fused
    return registry.BRANCHES[branch].fused


def fit(judged: Sequence[Judged], *, max_fpr: float, max_fnr: float) -> dict[str, Any]:
    """Return the content of fusion.json, fitted to the rows; a domain with too few rows or sources is left out."""
    domains = {}
    for domain, rows in sorted(rows_of(judged).items()):
        labels = {r.label for r in rows}
        if len(labels) < 2 or len(rows) < MIN_ROWS or len({r.unit for r in rows}) < MIN_SOURCES:
            continue
        branches = sorted({b for r in rows for b in r.logits})
        domains[domain] = stacking.fit_domain(rows, branches)
    content: dict[str, Any] = {
        "version": time.strftime("%Y.%m.%d", time.gmtime()),
        "prior": 0.5,
        "fitted_with": digests(),
        "domains": domains,
        "thresholds": {kind: {"fake": 0.5, "real": 0.5} for kind in KINDS},
    }
    thresholds = pick_thresholds(content, judged, max_fpr=max_fpr, max_fnr=max_fnr)
    content["thresholds"] = dict.fromkeys(KINDS, thresholds)
    return content


def pick_thresholds(
    content: dict[str, Any], judged: Sequence[Judged], *, max_fpr: float, max_fnr: float
) -> dict[str, float]:
    """Return one pair for all kinds: scores are calibrated, so the same number means the same risk everywhere."""
    y, scores, _ = scores_of(fusion.Stack.from_json(content), judged)
    return stacking.choose_thresholds(y, scores, max_fpr=max_fpr, max_fnr=max_fnr)


def test_figures(content: dict[str, Any], judged: Sequence[Judged]) -> dict[str, Any]:
    """Return what the fitted stack reaches on rows of sources that nothing was fitted to, per domain and kind."""
    stack = fusion.Stack.from_json(content)
    figures: dict[str, Any] = {}
    for domain, rows in sorted(rows_of(judged).items()):
        stacker = stack.in_domain(domain)
        if stacker is None:
            continue
        scores = np.array([fusion.sigmoid(stacker.logit(r.logits)) for r in rows])
        figures[domain] = _figures(np.array([r.label for r in rows]), scores, [r.unit for r in rows], stack)
    for kind in KINDS:
        chosen = [j for j in judged if j.kind == kind]
        y, scores, groups = scores_of(stack, chosen)
        if len(y):
            figures[kind] = _figures(y, scores, groups, stack)
    return figures


def _figures(y: Any, scores: Any, groups: Sequence[str], stack: fusion.Stack) -> dict[str, Any]:
    limits = stack.thresholds["image"]
    decided = (scores >= limits.fake) | (scores < limits.real)
    right = (scores >= limits.fake) == (y == 1)
    return (
        stacking.measure(y, scores, groups)
        | metrics.at_threshold(y, scores, limits.fake)
        | {
            "coverage": float(decided.mean()),
            "selective_accuracy": float(right[decided].mean()) if decided.any() else None,
        }
    )


def scores_of(stack: fusion.Stack, judged: Sequence[Judged]) -> tuple[Any, Any, list[str]]:
    """Return (n,) labels, overall scores and sources of the rows that the stack can score."""
    labels, scores, groups = [], [], []
    for j in judged:
        evidence = [
            Evidence(b, j.channels[b], "scored", "", score=fusion.sigmoid(x), quality=j.quality[b])
            for b, x in j.logits.items()
        ]
        if j.has_face and not fusion.FACE_BRANCHES.intersection(j.logits):
            evidence.append(FACE_SEEN)
        score, _ = fusion.overall(fusion.opinions_of(j.kind, evidence, stack))
        if score is not None:
            labels.append(j.label)
            scores.append(score)
            groups.append(j.group)
    return np.array(labels), np.array(scores), groups
