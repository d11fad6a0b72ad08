"""Scores by heads that did not know an item's source, in place of the shipped head that learnt from it.

A light head on frozen features ships fitted to all sources. Its branch then brings `ml_weights/<branch>/oof.csv`
(path,label,source,system,split,logit), the logit of each item by a head from which the item's source and system were
left out. `path` is "<data folder>/<path in the manifest>".
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from detection.engine import registry


@dataclass(frozen=True)
class Entry:
    """One line of an oof.csv."""

    label: int
    source: str
    logit: float


def key_of(folder: str, path: str) -> str:
    """Return how an item is named in an oof.csv: its data folder and its path in the manifest."""
    return f"{folder}/{path}"


def entry_of(branch: str, key: str, *, label: int, source: str) -> Entry | None:
    """Return what a head that did not know this item said of it; None when no head of the branch learnt from it.

    A line that leaves out the data folder counts only when label and source agree with the item: a name alone may
    belong to several files.
    """
    entries = read(branch)
    found = entries.get(key) or entries.get(key.partition("/")[2])
    return found if found and found.label == label and (found.source == source or not found.source) else None


def log_odds(branch: str, entry: Entry) -> float:
    """Return the entry's logit with the branch's temperature and bias, as the branch itself would state it."""
    spec = registry.BRANCHES.get(branch)
    return entry.logit / spec.temperature + spec.bias if spec else entry.logit


def branches() -> list[str]:
    """Return the branches that bring held-out scores."""
    return [name for name in [*registry.BRANCHES, "physiology"] if read(name)]


@cache
def read(branch: str) -> Mapping[str, Entry]:
    """Return path -> entry; empty for a branch without an oof.csv."""
    path = registry.WEIGHTS_DIR / branch / "oof.csv"
    if not path.is_file():
        return {}
    with path.open(newline="") as file:
        return {
            row["path"]: Entry(int(row["label"] in ("fake", "1")), row["source"], float(row["logit"]))
            for row in csv.DictReader(file)
        }
