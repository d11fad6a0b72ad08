"""Measured quality as numbers: ml_weights/<net>/metrics.json beside each card, and the ModelVersion row made of them.

The file is one table of protocols, each a table of sets:

    {"leave-sources-out": {"face swap": {"auroc": 0.91, "auroc_ci": [0.88, 0.94], "eer": 0.16,
                                         "n_real": 61, "n_fake": 43}}}

A flat table with a key `protocol` is read as the set "all" of that protocol. Besides the numbers above, a set may hold
`f1`, `ece`, `fpr` and `threshold`.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from detection.engine import pipeline, registry
from detection.models import ModelVersion

log = logging.getLogger(__name__)

FILE = "metrics.json"
NUMBERS = ("auroc", "eer", "f1", "ece", "fpr", "threshold")
COUNTS = ("n_real", "n_fake")

Figures = dict[str, dict[str, dict[str, Any]]]


@lru_cache
def figures(name: str) -> Figures:
    """Return {protocol: {set: numbers}} of a net; empty when it has no file or one that is not understood."""
    path = registry.WEIGHTS_DIR / name / FILE
    try:
        return parse(json.loads(path.read_text()))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        log.warning("%s is not understood: %s", path, error)
        return {}


def parse(content: Any) -> Figures:
    """Return the figures of a metrics file. Raises ValueError that names what is wrong."""
    if not isinstance(content, Mapping):
        raise ValueError("it is no table")
    if "protocol" in content:
        return {str(content["protocol"]): {"all": _numbers("all", content)}}
    found: Figures = {}
    for protocol, sets in content.items():
        if not isinstance(sets, Mapping):
            raise ValueError(f"{protocol!r} is no table of sets")
        found[protocol] = {name: _numbers(name, values) for name, values in sets.items()}
    return found


def _numbers(name: str, values: Any) -> dict[str, Any]:
    if not isinstance(values, Mapping) or "auroc" not in values:
        raise ValueError(f"the set {name!r} has no auroc")
    kept: dict[str, Any] = {}
    for key in (*NUMBERS, *COUNTS):
        if values.get(key) is not None:
            kept[key] = _number(f"{name}.{key}", values[key], whole=key in COUNTS)
    if (interval := values.get("auroc_ci")) is not None:
        if not isinstance(interval, list | tuple) or len(interval) != 2:
            raise ValueError(f"{name}.auroc_ci is no pair")
        kept["auroc_ci"] = [_number(f"{name}.auroc_ci", value) for value in interval]
    return kept


def _number(name: str, value: Any, *, whole: bool = False) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ValueError(f"{name} is {value!r}")
    if whole:
        return int(value)
    if value > 1:
        raise ValueError(f"{name} is {value!r}, above 1")
    return float(value)


def register() -> tuple[ModelVersion, bool]:
    """Make or bring up to date the row of the registered nets; return it and whether it is new."""
    branches = {
        spec.name: {
            "version": spec.version,
            "sha256": pipeline.digest_of(spec),
            "threshold": spec.threshold,
            "licence": spec.licence,
        }
        for spec in registry.BRANCHES.values()
    }
    measured = {name: found for name in [*registry.BRANCHES, "physiology", "fusion"] if (found := figures(name))}
    return ModelVersion.objects.update_or_create(
        name=pipeline.model_version(), defaults={"branches": branches, "metrics": measured}
    )
