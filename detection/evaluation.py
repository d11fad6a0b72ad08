"""Run the product over a labelled manifest and say how well it does; the contract of `manage.py evaluate`."""

from __future__ import annotations

import csv
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from detection.engine.errors import EngineError
from detection.engine.pipeline import Analysis
from detection.training import metrics

BOOTSTRAP_ROUNDS = 1000
LEAST_GROUPS = 5


@dataclass(frozen=True)
class Row:
    """One line of the manifest."""

    path: str
    label: str  # real | fake
    kind: str = ""
    method: str = ""
    group: str = ""
    source: str = ""


@dataclass(frozen=True)
class Item:
    """One file as the product judged it. `score` is None when it could not be scored."""

    row: Row
    kind: str
    score: float | None
    verdict: str  # real | fake | inconclusive | error
    threshold: float | None
    seconds: float
    error: str | None = None

    @property
    def is_fake(self) -> bool:
        return self.row.label == "fake"

    @property
    def is_right(self) -> bool:
        """At the shipped threshold; a file that cannot be scored counts as wrong."""
        return self.score is not None and self.threshold is not None and (self.score >= self.threshold) == self.is_fake

    def to_dict(self) -> dict[str, Any]:
        return {
            "path": self.row.path,
            "label": self.row.label,
            "score": None if self.score is None else round(self.score, 6),
            "verdict": self.verdict,
            "seconds": round(self.seconds, 4),
            "error": self.error,
        }


def read_manifest(manifest: Path, limit: int | None = None) -> list[Row]:
    """Return the rows of a CSV with at least `path` and `label`. Raises ValueError that names line and fault."""
    with manifest.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = {"path", "label"} - set(reader.fieldnames or ())
        if missing:
            raise ValueError(f"{manifest} lacks the column {' and '.join(sorted(missing))}.")
        rows = []
        for number, line in enumerate(reader, start=2):
            label = (line["label"] or "").strip().lower()
            if label not in ("real", "fake"):
                raise ValueError(f"{manifest}, line {number}: the label is {label!r}, not real or fake.")
            extra = {name: (line.get(name) or "").strip() for name in ("kind", "method", "group", "source")}
            rows.append(Row(path=line["path"], label=label, **extra))
    return rows[:limit]


def check_root(rows: Sequence[Row], root: Path, first: int = 20) -> None:
    """Raise ValueError when none of the first files is there: a wrong root would count every file as an error."""
    tried = [root / row.path for row in rows[:first]]
    if tried and not any(path.exists() for path in tried):
        raise ValueError(
            f"None of the first {len(tried)} files of the manifest lies below {root} (the first would be {tried[0]}). "
            "Paths in the manifest count from --root."
        )


class Partial:
    """What has been judged so far, beside metrics.json: a run that was killed goes on where it ended.

    `stamp` says what the items were judged by; items of another stamp are thrown away.
    """

    def __init__(self, path: Path, stamp: Mapping[str, Any]) -> None:
        self.path = path
        self.stamp = dict(stamp)

    def items(self, rows: Sequence[Row]) -> list[Item]:
        """Return the items that lie there, in order, of the first rows; a line that was cut off ends them."""
        if not self.path.is_file():
            return []
        found: list[Item] = []
        with self.path.open() as file:
            for number, line in enumerate(file):
                try:
                    content = json.loads(line)
                except ValueError:
                    break
                if number == 0:
                    if content != self.stamp:
                        break
                elif len(found) < len(rows) and content.pop("path") == rows[len(found)].path:
                    found.append(Item(rows[len(found)], **content))
                else:
                    break
        return found

    def restart(self, items: Sequence[Item]) -> None:
        """Write the file anew with what is taken over."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.stamp) + "\n")
        for item in items:
            self.add(item)

    def add(self, item: Item) -> None:
        facts = {name: value for name, value in vars(item).items() if name != "row"}
        with self.path.open("a") as file:
            file.write(json.dumps({"path": item.row.path} | facts) + "\n")

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


def judge(rows: Sequence[Row], root: Path, analyze: Callable[[Path], Analysis], workers: int = 1) -> Iterator[Item]:
    """Yield an item per row, in the order of the rows, however many workers run."""

    def one(row: Row) -> Item:
        started = time.perf_counter()
        try:
            analysis = analyze(root / row.path)
        except (EngineError, OSError) as error:
            words = error.message if isinstance(error, EngineError) else f"{type(error).__name__}: {error.strerror}"
            return Item(row, row.kind or "unknown", None, "error", None, time.perf_counter() - started, words)
        verdict = analysis.verdict
        seconds = time.perf_counter() - started
        kind = row.kind or analysis.info.kind
        return Item(row, kind, verdict.score, verdict.label, verdict.thresholds["fake"], seconds)

    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        yield from pool.map(one, rows)


def report(items: Sequence[Item]) -> dict[str, Any]:
    """Return metrics.json: overall, by kind, by method, and every item; by source where the manifest names any.

    A method's group holds its fakes and every genuine item of the same kinds, so that its AUROC exists.
    """
    kinds = sorted({i.kind for i in items})
    methods = sorted({i.row.method for i in items if i.is_fake and i.row.method})
    by_method = {}
    for method in methods:
        fakes = [i for i in items if i.is_fake and i.row.method == method]
        of_kinds = {i.kind for i in fakes}
        by_method[method] = measure(fakes + [i for i in items if not i.is_fake and i.kind in of_kinds])
    sources = sorted({i.row.source for i in items if i.row.source})
    by_source = {source: measure([i for i in items if i.row.source == source]) for source in sources}
    return {
        "overall": measure(items),
        "by_kind": {kind: measure([i for i in items if i.kind == kind]) for kind in kinds},
        "by_method": by_method,
        **({"by_source": by_source} if sources else {}),
        "items": [i.to_dict() for i in items],
    }


def measure(items: Sequence[Item]) -> dict[str, Any]:
    """Return the numbers of one group.

    AUROC, EER and ECE are over all scored items, inconclusive ones included. F1 and accuracy are at the shipped
    threshold over all items, an unscored one counted as wrong: a fake is missed, a genuine file is no hit. FPR and
    precision are over scored items, because a file that nothing was said about raised no alarm. `selective_accuracy`
    is over the decided ones. `auroc_ci` needs LEAST_GROUPS of each label: below, resampling shows no spread.
    """
    scored = [i for i in items if i.score is not None]
    decided = [i for i in scored if i.verdict in ("real", "fake")]
    labels = np.array([int(i.is_fake) for i in scored])
    scores = np.array([i.score for i in scored], float)
    both = 0 < labels.sum() < len(labels)
    groups = [i.row.group or i.row.path for i in scored]
    enough = (
        min(len({g for g, y in zip(groups, labels, strict=True) if y == label}) for label in (0, 1)) >= LEAST_GROUPS
    )
    interval = metrics.bootstrap_ci(labels, scores, groups=groups, rounds=BOOTSTRAP_ROUNDS) if enough else None
    n_fake = sum(i.is_fake for i in items)
    hits = sum(i.is_fake and i.is_right for i in items)
    genuine = [i for i in scored if not i.is_fake]
    false_alarms = sum(not i.is_right for i in genuine)
    thresholds = {i.threshold for i in scored}
    precision, recall = _share(hits, hits + false_alarms), _share(hits, n_fake)
    numbers = {
        "n": len(items),
        "n_real": len(items) - n_fake,
        "n_fake": n_fake,
        "scored": _share(len(scored), len(items)),
        "auroc": metrics.auroc(labels, scores) if both else None,
        "auroc_ci": list(interval) if interval else None,
        "eer": metrics.eer(labels, scores) if both else None,
        "pr_auc": metrics.average_precision(labels, scores) if both else None,
        "precision": precision,
        "recall": recall,
        "f1": _share(2 * hits, 2 * hits + false_alarms + n_fake - hits),
        "accuracy": _share(sum(i.is_right for i in items), len(items)),
        "fpr": _share(false_alarms, len(genuine)),
        "ece": metrics.ece(labels, scores) if len(scored) else None,
        "coverage": _share(len(decided), len(items)),
        "selective_accuracy": _share(sum(i.verdict == i.row.label for i in decided), len(decided)),
        "threshold": thresholds.pop() if len(thresholds) == 1 else None,
        "seconds_median": statistics.median(i.seconds for i in items) if items else None,
    }
    return {name: _plain(value) for name, value in numbers.items()}


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _plain(value: Any) -> Any:
    """JSON knows no nan: what cannot be measured is null."""
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 6)
    return value
