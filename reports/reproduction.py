"""Running the analysis of an evidence bundle again, and comparing what comes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings

from detection.engine import media, pipeline
from detection.engine.fusion import Thresholds
from detection.engine.types import to_json
from reports import rerun
from reports.bundles import Bundle

# Measured on six samples: no difference at all between runs with the same number of threads, 5e-8 at most between 1,
# 2 and 4 threads. Other processors round differently; a report states six decimals.
TOLERANCE = 1e-4


class NotReproducible(Exception):
    """The analysis cannot be run again here under the same conditions; the sentence says what is missing."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True)
class Outcome:
    label_then: str
    label_now: str
    score_then: float | None
    score_now: float | None
    branches: dict[str, tuple[float | None, float | None]]
    other_packages: dict[str, tuple[str, str]]  # name -> (then, now)

    @property
    def difference(self) -> float | None:
        if self.score_then is None or self.score_now is None:
            return None
        return abs(self.score_then - self.score_now)

    @property
    def is_same(self) -> bool:
        if self.label_then != self.label_now:
            return False
        if self.score_then is None or self.score_now is None:
            return self.score_then is self.score_now
        return abs(self.score_then - self.score_now) <= TOLERANCE

    def to_dict(self) -> dict[str, Any]:
        return {
            "same": self.is_same,
            "tolerance": TOLERANCE,
            "difference": self.difference,
            "label": {"then": self.label_then, "now": self.label_now},
            "score": {"then": self.score_then, "now": self.score_now},
            "branches": {name: {"then": then, "now": now} for name, (then, now) in self.branches.items()},
            "other_packages": {name: {"then": then, "now": now} for name, (then, now) in self.other_packages.items()},
        }


def reproduce(bundle: Bundle) -> Outcome:
    """Run the analysis again. Raises NotReproducible and EngineError."""
    recorded = bundle.report["rerun"]
    check_weights(recorded)
    limits = recorded["thresholds"]
    analysis = pipeline.analyze(
        bundle.media,
        mode=recorded["mode"],
        thresholds=Thresholds(fake=limits["fake"], real=limits["real"]),
        aggregation=recorded["aggregation"],
        stability=recorded["stability"],
        limits=media.Limits(
            max_duration_s=float(settings.MAX_DURATION_S),
            max_image_bytes=settings.MAX_IMAGE_BYTES,
            max_recording_bytes=settings.MAX_UPLOAD_BYTES,
        ),
    )
    verdict, then = analysis.verdict, bundle.report["verdict"]
    now = {evidence.branch: to_json(evidence.score) for evidence in verdict.evidence}
    branches = {row["branch"]: (row["score"], now.get(row["branch"])) for row in bundle.report["branches"]}
    return Outcome(
        label_then=then["label"],
        label_now=verdict.label,
        score_then=then["score"],
        score_now=to_json(verdict.score),
        branches=branches,
        other_packages=_other_packages(recorded),
    )


def check_weights(recorded: dict[str, Any]) -> None:
    """Raise NotReproducible, naming them, when the installed weights are not those that judged."""
    expected: dict[str, str] = recorded["weights"]
    if not expected:
        raise NotReproducible(
            f"The weights that judged ({recorded['model_version']}) were no longer installed when the report was "
            "issued, so it does not list their files. Install that release to run the analysis again."
        )
    other = [path for path, sha256 in expected.items() if rerun.installed_digest(path) != sha256]
    if other:
        raise NotReproducible(
            f"The installed weights are not those that judged ({recorded['model_version']}). They differ, or are "
            f"missing: {', '.join(sorted(other))}. Install the release that the report names."
        )
    installed = rerun.installed_version()
    if installed != recorded["model_version"]:
        raise NotReproducible(
            f"The report was made with {recorded['model_version']}; what is installed calls itself "
            f"{installed or 'nothing, because its weights do not load'}."
        )


def _other_packages(recorded: dict[str, Any]) -> dict[str, tuple[str, str]]:
    now = dict(rerun.installed_packages())
    then: dict[str, str] = recorded["packages"]
    return {name: (then[name], now.get(name, "–")) for name in then if then[name] != now.get(name)}
