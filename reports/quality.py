"""How good the checks are on sources that they never saw, from what was measured when the weights were made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from detection import cards
from detection.engine import pipeline, registry
from reports import rerun

MAX_ROWS = 3
OWN_ROW = "this branch"  # in a card that lists baselines in the same table


def of_verdict(kind: str, model_version: str) -> dict[str, Any] | None:
    """Return what the verdict on this kind of media was worth on left-out sources; None when it was not measured.

    Only of the set of weights that is installed: figures of other weights would say nothing about this verdict.
    """
    if model_version != rerun.installed_version():
        return None
    found = _cross_validated().get(kind)
    if found is None:
        return None
    names = ("auroc", "auroc_ci", "eer", "ece", "fpr_label", "fpr_ci", "coverage", "selective_accuracy")
    measured = {name: _rounded(found.get(name)) for name in names}
    counts = {"items": found["n"], "fakes": found["n_fake"], "sources": found["sources"]}
    return measured | counts | {"decided": round(found["coverage"] * found["n"])}


def of_branch(name: str, sha256: str) -> list[dict[str, Any]]:
    """Return the headline rows of a branch's card when the card is that of the weights with this digest."""
    spec = registry.BRANCHES.get(name)
    if spec is None or pipeline.digest_of(spec) != sha256:
        return []
    tables = cards.figures(name)
    return [cards.numbers(row) for row in _own_rows(tables[0]["rows"])] if tables else []


@lru_cache(maxsize=1)
def _cross_validated() -> Mapping[str, Any]:
    """What `calibrate` found when it judged every file by a fit that knew neither its source nor its generator."""
    content = json.loads((registry.WEIGHTS_DIR / registry.FUSION[0]).read_text())
    found: Mapping[str, Any] = content.get("cross_validated") or {}
    return found


def _own_rows(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    own = [row for row in rows if OWN_ROW in next(iter(row.values()), "")]
    return (own or rows)[:MAX_ROWS]


def _rounded(value: Any) -> Any:
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return round(value, 4) if isinstance(value, float) else value
