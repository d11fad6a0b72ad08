"""The quality page: every table and curve from stored runs, nothing typed in by hand.

Stored runs: `ml_weights/fusion/` (fusion.json and oof.csv, by `calibrate`), `ml_weights/<branch>/oof.csv` (by `train`),
and below `docs/quality/runs/` baselines.csv, delivery.json and shortcut findings (by `quality baselines`,
`quality delivery`).
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from detection.training import metrics

KINDS = ("image", "video", "audio")
NAMES = {"image": "Pictures", "video": "Clips", "audio": "Speech"}
GOALS = "AUROC ≥ .95, EER ≤ 10 %, F1 ≥ .90, ECE ≤ .05, false positives ≤ 2 %, ≤ 20 % abstained with ≥ 98 % right"
MIN_OF_GROUP = 5
ROUNDS = 500


@dataclass(frozen=True)
class Item:
    """One line of the fusion's oof.csv: a file judged without its source."""

    path: str
    label: int
    source: str
    system: str
    kind: str
    domain: str
    manipulation: str
    group: str
    score: float
    verdict: str
    fake_at: float
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_called_fake(self) -> bool:
        return self.score >= self.fake_at

    @property
    def is_decided(self) -> bool:
        return self.verdict in ("real", "fake")

    @property
    def is_right(self) -> bool:
        return self.verdict == ("fake" if self.label else "real")


def read_items(path: Path) -> list[Item]:
    """Return the items that `calibrate` stored."""
    with path.open(newline="") as file:
        return [
            Item(
                path=row["path"],
                label=int(row["label"] == "fake"),
                source=row["source"],
                system=row["system"],
                kind=row["kind"],
                domain=row["domain"],
                manipulation=row["manipulation"],
                group=row["group"],
                score=float(row["score"]),
                verdict=row["verdict"],
                fake_at=float(row["fake_at"]),
                facts=dict(pair.split("=", 1) for pair in row["facts"].split(";") if "=" in pair),
            )
            for row in csv.DictReader(file)
        ]


def page(fusion: Mapping[str, Any], items: Sequence[Item], runs: Mapping[str, Any]) -> str:
    """Return docs/quality.md. runs: baselines, delivery, shortcuts, branches; each may be absent."""
    parts = [
        _head(fusion, items),
        _headline(fusion),
        _generators(items),
        _sources(items),
        _delivery(runs.get("delivery")),
        _ordinary(runs.get("delivery")),
        _abstaining(fusion),
        _baselines(items, runs.get("baselines") or {}),
        _branches(runs.get("branches") or {}),
        _gaps(items),
        _shortcuts(runs.get("shortcuts") or []),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(fusion: Mapping[str, Any], items: Sequence[Item]) -> str:
    counts = {kind: [i for i in items if i.kind == kind] for kind in KINDS}
    said = "; ".join(
        f"{NAMES[kind].lower()}: {sum(1 - i.label for i in mine)} genuine and {sum(i.label for i in mine)} fake of "
        f"{len({i.source for i in mine})} sources"
        for kind, mine in counts.items()
        if mine
    )
    return f"""# How good the detectors are

Written by `manage.py quality` from stored runs; fusion version {fusion["version"]}. Do not edit by hand.

The bar: {GOALS}, on sources and generators never trained on. {" ".join(verdicts_on(fusion["cross_validated"]))}

**Left out** is the headline: every file is judged by heads and by a fusion, thresholds included, that saw neither its
source nor its generator nor its subject. **In distribution** stands beside it to show how much knowing the source
flatters. Intervals are 95 %, by drawing whole subjects or scenes again (AUROC) or exact (shares). Files were cut and
stored alike for both classes ({said})."""


def verdicts_on(left_out: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return one sentence for each kind: which parts of the bar its held-out figures miss."""
    sentences = []
    for kind, one in left_out.items():
        if kind not in KINDS:
            continue
        reached = {
            "AUROC": one["auroc"] >= 0.95,
            "EER": one["eer"] <= 0.10,
            "F1": one["f1"] >= 0.90,
            "ECE": one["ece_even"] <= 0.05,
            "false positives": one["fpr"] <= 0.02,
            "abstention": one["coverage"] >= 0.80 and (one["selective_accuracy"] or 0) >= 0.98,
        }
        missed = [name for name, met in reached.items() if not met]
        sentences.append(
            f"**{NAMES[kind]}:** below it in {', '.join(missed)}." if missed else f"**{NAMES[kind]}:** reached."
        )
    return sentences


def _headline(fusion: Mapping[str, Any]) -> str:
    left_out, known = fusion["cross_validated"], fusion["in_sample"]
    rows = [
        [
            NAMES[kind],
            _with_interval(one["auroc"], one["auroc_ci"]),
            _number(known[kind]["auroc"]) if kind in known else "",
            _percent(one["eer"]),
            _number(one["f1"]),
            f"{one['ece']:.3f} ({one['ece_even']:.3f})",
            _share(one["fpr"], one["fpr_ci"]),
            _percent(one["coverage"]),
            _percent(one["selective_accuracy"]),
        ]
        for kind, one in left_out.items()
        if kind in KINDS
    ]
    heads = [
        "", "AUROC left out", "fusion as fitted", "EER", "F1", "ECE (classes alike)", "false positives", "decided",
        "right of these",
    ]  # fmt: skip
    domains = [
        [name, str(one["n"]), str(one["n_fake"]), _with_interval(one["auroc"], one["auroc_ci"]), _percent(one["eer"])]
        for name, one in left_out.items()
        if name not in KINDS
    ]
    thresholds = "; ".join(
        f"{NAMES[kind].lower()} fake at {pair['fake']}, real below {pair['real']}"
        for kind, pair in fusion["thresholds"].items()
    )
    return "\n\n".join(
        [
            "## Headline: sources and generators left out",
            table(heads, rows),
            f'F1 and false positives are at the shipped threshold for "fake", which is set for few false positives. '
            f"Thresholds: {thresholds}.",
            table(["domain", "files", "fakes", "AUROC left out", "EER"], domains),
            "![ROC](quality/roc.svg) ![DET](quality/det.svg)",
            "![Reliability](quality/reliability.svg) ![Coverage](quality/coverage.svg)",
        ]
    )


def _generators(items: Sequence[Item]) -> str:
    parts = ["## One generator left out", "Fakes of one generator against all genuine files of the same kind."]
    for kind in KINDS:
        mine = [i for i in items if i.kind == kind]
        reals = [i for i in mine if not i.label]
        rows = []
        for system, fakes in sorted(_by(mine, lambda i: i.system if i.label else None).items()):
            if len(fakes) >= MIN_OF_GROUP and reals:
                found = _auroc([*fakes, *reals])
                caught = sum(i.is_called_fake for i in fakes)
                interval = metrics.proportion_ci(caught, len(fakes))
                known = "yes" if any(_is_trained(i) for i in fakes) else ""
                rows.append([system, str(len(fakes)), found, _share(caught / len(fakes), interval), known])
        if rows:
            heads = ["generator", "fakes", "AUROC", "called fake", "in a training source"]
            parts += [f"### {NAMES[kind]}", table(heads, rows), _unseen(kind, mine)]
    by_manipulation = []
    for name, fakes in sorted(_by(items, lambda i: f"{i.kind}: {i.manipulation}" if i.label else None).items()):
        reals = [i for i in items if not i.label and i.kind == fakes[0].kind]
        if len(fakes) >= MIN_OF_GROUP and reals:
            by_manipulation.append([name, str(len(fakes)), _auroc([*fakes, *reals])])
    return "\n\n".join([*filter(None, parts), "### By method", table(["method", "fakes", "AUROC"], by_manipulation)])


def _is_trained(item: Item) -> bool:
    return item.facts.get("generator") == "trained"


def _unseen(kind: str, items: Sequence[Item]) -> str:
    """Return a sentence on the fakes whose generator occurs in no training source; nothing where none does."""
    unseen = [i for i in items if not _is_trained(i)]
    if len(unseen) == len(items) or not any(i.label for i in unseen):
        return ""
    return (
        f"Some of these generators occur in other sources that a net was trained on. {NAMES[kind]} without their fakes "
        f"({sum(i.label for i in unseen)} fakes left): AUROC {_auroc(unseen)}."
    )


def _sources(items: Sequence[Item]) -> str:
    rows = []
    for (kind, source), mine in sorted(_by(items, lambda i: (i.kind, i.source)).items()):
        reals, fakes = [i for i in mine if not i.label], [i for i in mine if i.label]
        if len(mine) < MIN_OF_GROUP:
            continue
        wrong = sum(i.is_called_fake for i in reals)
        rows.append(
            [
                NAMES[kind],
                source,
                str(len(reals)),
                str(len(fakes)),
                _share(wrong / len(reals), metrics.proportion_ci(wrong, len(reals))) if reals else "",
                _percent(sum(i.is_called_fake for i in fakes) / len(fakes)) if fakes else "",
                _auroc(mine) if reals and fakes else "",
            ]
        )
    heads = ["", "source", "genuine", "fakes", "genuine called fake", "fakes called fake", "AUROC within"]
    return f"## One source left out\n\n{table(heads, rows)}"


def _delivery(delivery: Mapping[str, Any] | None) -> str:
    if not delivery:
        return ""
    rows = []
    for one in delivery["compression"]:
        rows.append(
            [
                NAMES[one["kind"]],
                one["change"],
                str(one["n"]),
                _with_interval(one["auroc"], one["auroc_ci"]),
                _number(one["auroc_untouched"]),
                f"{one['auroc'] - one['auroc_untouched']:+.3f}",
            ]
        )
    known = [
        [NAMES[one["kind"]], str(one["n"]), _number(one["in_distribution"]), _number(one["left_out"])]
        for one in delivery.get("known", [])
    ]
    return "\n\n".join(
        [
            "## After compression",
            "The same files before and after; left-out scores, moved by as much as the shipped nets move from file to "
            "copy. A head that has learnt from the file knows its copy less well, so the harm is overstated for "
            "branches with an `oof.csv`: these rows are bounds.",
            table(["", "change", "files", "AUROC", "untouched", "difference"], rows),
            "## In distribution",
            "The shipped nets, which may have learnt from the very files, against the left-out scores of these files.",
            table(["", "files", "AUROC in distribution", "AUROC left out"], known),
        ]
    )


def _ordinary(delivery: Mapping[str, Any] | None) -> str:
    if not delivery:
        return ""
    rows = [
        [
            NAMES[one["kind"]], one["change"], str(one["n"]), str(one["sources"]),
            _share(one["called_fake"] / one["n"], metrics.proportion_ci(one["called_fake"], one["n"])),
            _percent(one["untouched_called_fake"] / one["n"]),
        ]
        for one in delivery["ordinary"]
    ]  # fmt: skip
    heads = ["", "what was done", "files", "sources", "called fake", "the same files untouched"]
    return (
        "## Ordinary genuine media\n\nGenuine files after what people and services do to them, at the threshold; "
        "wanted are 2 % at most. Measured as above, so these shares, too, are rather too high than too low.\n\n"
        f"{table(heads, rows)}"
    )


def _abstaining(fusion: Mapping[str, Any]) -> str:
    rows = []
    for kind, points in fusion["coverage"].items():
        wanted = {
            round(share, 1): p
            for p in points
            for share in (0.2, 0.4, 0.6, 0.8, 1.0)
            if p["coverage"] >= share - 1e-9 and abs(p["coverage"] - share) < 0.05
        }
        rows.append(
            [NAMES[kind], *(_percent(wanted[s]["accuracy"]) if s in wanted else "" for s in (0.2, 0.4, 0.6, 0.8, 1.0))]
        )
    margins = [
        [NAMES[kind], *(f"{_percent(p['coverage'])}: {_percent(p['accuracy'])}" for p in points)]
        for kind, points in fusion["margins"].items()
        if points
    ]
    names = [f"{p['margin']:.2f}" for p in next((m for m in fusion["margins"].values() if m), [])]
    return "\n\n".join(
        [
            "## Saying nothing",
            "Right among the surest share of the files (distance from an even chance):",
            table(["", "20 %", "40 %", "60 %", "80 %", "all"], rows),
            f"Decided and right of these, if a label may reach no further than this beyond its threshold with its own "
            f"90 % interval (shipped: {fusion['clear_margin']}):",
            table(["", *names], margins),
        ]
    )


def _baselines(items: Sequence[Item], baselines: Mapping[str, Mapping[str, float]]) -> str:
    if not baselines:
        return ""
    rows = []
    for domain, mine in sorted(_by(items, lambda i: i.domain).items()):
        for name, scores in sorted(baselines.items()):
            both = [i for i in mine if i.path in scores]
            y = np.array([i.label for i in both])
            if len(both) < 30 or y.min() == y.max():
                continue
            s = np.array([scores[i.path] for i in both])
            ours = np.array([i.score for i in both])
            interval = metrics.bootstrap_ci(y, s, groups=[i.group for i in both], rounds=ROUNDS)
            rows.append(
                [
                    domain,
                    name,
                    str(len(both)),
                    _with_interval(metrics.auroc(y, s), interval),
                    _percent(metrics.eer(y, s)),
                    _number(metrics.auroc(y, ours)),
                ]
            )
    return (
        "## Against what anybody could use\n\nThe same files through published nets, hand-made formulas and simple "
        "regressions (these, too, on sources left out). An AUROC below .5 means that the score follows the source, not "
        f"the forgery.\n\n{table(['domain', 'baseline', 'files', 'AUROC', 'EER', 'ours, left out'], rows)}"
    )


def _branches(branches: Mapping[str, Sequence[tuple[str, int, str, str, float]]]) -> str:
    rows = []
    for branch, lines in sorted(branches.items()):
        for folder, mine in sorted(_by(lines, lambda line: line[0].partition("/")[0]).items()):
            y, s = np.array([line[1] for line in mine]), np.array([line[4] for line in mine])
            if len(y) and y.min() != y.max():
                interval = metrics.bootstrap_ci(y, s, groups=[line[2] for line in mine], rounds=ROUNDS)
                counted = [branch, folder, str(len(y)), str(int(y.sum())), str(len({line[2] for line in mine}))]
                rows.append([*counted, _with_interval(metrics.auroc(y, s), interval), _percent(metrics.eer(y, s))])
    if not rows:
        return ""
    heads = ["branch", "data", "files", "fakes", "sources", "AUROC", "EER"]
    return (
        "## Branch by branch\n\nBranches whose heads learn from all sources, each file by a head that did not know its "
        f"source; intervals over whole sources.\n\n{table(heads, rows)}"
    )


def _gaps(items: Sequence[Item]) -> str:
    rows = []
    for kind in KINDS:
        for trait in ("sex", "age", "tone", "colour", "language", "has_audio"):
            mine = [i for i in items if i.kind == kind and trait in i.facts]
            for value, group in sorted(_by(mine, lambda i, trait=trait: i.facts[trait]).items()):
                reals, fakes = [i for i in group if not i.label], [i for i in group if i.label]
                if len(group) < 2 * MIN_OF_GROUP:
                    continue
                wrong = sum(i.is_called_fake for i in reals)
                missed = sum(not i.is_called_fake for i in fakes)
                rows.append(
                    [
                        NAMES[kind],
                        trait,
                        value,
                        str(len(reals)),
                        str(len(fakes)),
                        _share(wrong / len(reals), metrics.proportion_ci(wrong, len(reals))) if reals else "",
                        _number(float(np.mean([i.score for i in reals]))) if reals else "",
                        _percent(missed / len(fakes)) if fakes else "",
                        _auroc(group) if reals and fakes else "",
                    ]
                )
    heads = ["", "trait", "value", "genuine", "fakes"]
    heads += ["genuine called fake", "mean score of genuine", "fakes not called fake", "AUROC"]
    return (
        "## Error gaps\n\nSex and age are what file names of the sources state; tone is measured on the skin in the "
        "picture, so light and camera are in it; language is stated by the source. Groups come from different sources, "
        "so a gap may be the source's. No trait reaches a model.\n\n"
        f"{table(heads, rows)}"
    )


def _shortcuts(findings: Sequence[Any]) -> str:
    if not findings:
        return ""
    rows = [
        [
            one.modality, str(one.n), str(one.sources), f"{one.balanced_accuracy:.3f}",
            ", ".join(f"{name} {area:.2f}" for name, area in sorted(one.alone.items(), key=lambda p: -p[1])),
        ]
        for one in findings
    ]  # fmt: skip
    heads = ["input", "files", "sources", "balanced accuracy", "AUROC of each number alone"]
    return (
        "## What is left of the form after preprocessing\n\nA forest guesses the label from what survives of "
        "container, size, level, silence, colour and frame rate in the inputs of the nets, on sources left out; "
        f"at most .55 is allowed (`manage.py audit_shortcuts`).\n\n{table(heads, rows)}"
    )


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; a bar within a cell is escaped."""
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _by(items: Iterable[Any], key: Any) -> dict[Any, list[Any]]:
    groups: dict[Any, list[Any]] = defaultdict(list)
    for item in items:
        name = key(item)
        if name is not None and name != "":
            groups[name].append(item)
    return groups


def _auroc(items: Sequence[Item]) -> str:
    y, s = np.array([i.label for i in items]), np.array([i.score for i in items])
    interval = metrics.bootstrap_ci(y, s, groups=[i.group for i in items], rounds=ROUNDS)
    return _with_interval(metrics.auroc(y, s), interval)


def _with_interval(value: float, interval: Sequence[float]) -> str:
    return f"{_number(value)} ({_number(interval[0])}–{_number(interval[1])})"


def _number(value: float | None) -> str:
    return "" if value is None or value != value else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "" if value is None or value != value else f"{100 * value:.1f} %"


def _share(value: float, interval: Sequence[float]) -> str:
    return f"{100 * value:.1f} % ({100 * interval[0]:.1f}–{100 * interval[1]:.1f})"


def read_branches(weights: Path) -> dict[str, list[tuple[str, int, str, str, float]]]:
    """Return branch -> lines (path, label, source, system, logit) of the oof.csv files, the fusion's own left out."""
    found = {}
    for path in sorted(weights.glob("*/oof.csv")):
        if path.parent.name != "fusion":
            with path.open(newline="") as file:
                found[path.parent.name] = [
                    (r["path"], int(r["label"] in ("fake", "1")), r["source"], r["system"], float(r["logit"]))
                    for r in csv.DictReader(file)
                ]
    return found


def read_json(path: Path) -> Any:
    return json.loads(path.read_text()) if path.is_file() else None
