"""`manage.py calibrate`: fit the fusion to held-out scores, say how good it is, and write thresholds and curves."""

from __future__ import annotations

import hashlib
import json
import sys
from argparse import ArgumentTypeError
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from detection.engine import fusion, pipeline, registry
from detection.engine.errors import EngineError
from detection.engine.types import Kind
from detection.training import calibration, calibration_fit, calibration_output
from detection.training.calibration import KINDS, Judged
from detection.training.calibration_card import card
from detection.training.calibration_fit import Goals
from detection.training.progress import Progress
from detection.training.splits import SPLITS


def rate(text: str) -> tuple[str, float]:
    """Return (kind or "", share) of "0.02" or "audio=0.02"."""
    kind, _, number = text.rpartition("=")
    try:
        share = float(number)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no share such as 0.02 or audio=0.02") from None
    if kind not in ("", *KINDS) or not 0 < share < 1:
        raise ArgumentTypeError(
            f"{text!r}: give a share between 0 and 1, for all kinds or for one of {', '.join(KINDS)}"
        )
    return kind, share


class Command(BaseCommand):
    help = (
        "Run the branches over held-out sources of manifests and fit fusion.json to what they say. The headline "
        "figures are of rows whose sources and generators the whole fit did not see. Prints what registry.FUSION needs."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--manifest", type=Path, action="append", required=True)
        parser.add_argument("--root", type=Path, action="append", required=True, help="one per manifest, in order")
        parser.add_argument(
            "--out", type=Path, default=registry.WEIGHTS_DIR / "fusion", help="default: ml_weights/fusion"
        )
        parser.add_argument(
            "--rows", type=Path, help="where branch scores are kept (default: DATA_DIR/calibration.jsonl)"
        )
        parser.add_argument("--per-source", type=int, help="at most so many rows of each source and label")
        parser.add_argument("--workers", type=int, default=2)
        parser.add_argument(
            "--max-fpr",
            type=rate,
            action="append",
            help="genuine items that may be called fake: 0.02 (the default), or for one kind: audio=0.02",
        )
        parser.add_argument("--max-fnr", type=float, default=0.05, help="fakes that may be called real")
        parser.add_argument(
            "--target-fpr",
            type=float,
            nargs="+",
            default=[0.001, 0.01, 0.02, 0.05, 0.1],
            help="false positive rates that thresholds.json gives a threshold for, beside Youden's",
        )
        parser.add_argument(
            "--clear-margin",
            type=float,
            default=calibration_fit.CLEAR_MARGIN,
            help="how far an interval may reach beyond the threshold of a label that stands",
        )
        parser.add_argument("--plot", type=Path, help="folder for ROC, DET, reliability and coverage curves (SVG)")

    def handle(self, *args: Any, **options: Any) -> None:
        if len(options["manifest"]) != len(options["root"]):
            raise CommandError("Give one --root for each --manifest.")
        goals = Goals(max_fprs(options["max_fpr"] or []), options["max_fnr"], options["clear_margin"])
        judged = self.judge(options)
        content = calibration_fit.fit(judged, goals)
        if not content["domains"]:
            raise CommandError("Too few rows or sources: no domain could be fitted.")
        self.stderr.write("cross-validating the whole fit")
        crossed = calibration_fit.cross_validate(judged, goals)
        content |= calibration_fit.summary(judged, crossed, goals)
        digest = self.write(content, crossed, options)
        self.stdout.write(json.dumps({k: _short(v) for k, v in content["cross_validated"].items()}, indent=1))
        self.stdout.write(f'FUSION = ("fusion/fusion.json", "{digest}")')

    def judge(self, options: dict[str, Any]) -> list[Judged]:
        """Return what the branches say of the rows, from scores that are fair to them."""
        rows_file: Path = options["rows"] or Path(settings.DATA_DIR) / "calibration.jsonl"
        rows_file.parent.mkdir(parents=True, exist_ok=True)
        judged: list[Judged] = []
        try:
            pipeline.warm_up()
            for manifest, root in zip(options["manifest"], options["root"], strict=True):
                trained = calibration.trained_methods(calibration.select(manifest, ("train",)))
                chosen = calibration.select(manifest, SPLITS, options["per_source"])
                lines = calibration.with_fair_scores(chosen, root)
                progress = Progress(len(lines), root.name, sys.stderr)
                for row in calibration.run(lines, root, rows_file, options["workers"]):
                    judged.append(calibration.with_standing(row, trained))
                    progress.step()
        except EngineError as error:
            raise CommandError(error.message) from error
        return [j for j in judged if calibration.is_complete(j)]

    def write(
        self, content: dict[str, Any], crossed: Sequence[calibration_fit.Judgement], options: dict[str, Any]
    ) -> str:
        """Write fusion.json, the card, thresholds.json, oof.csv and the plots; return the digest of fusion.json."""
        out: Path = options["out"]
        out.mkdir(parents=True, exist_ok=True)
        target = out / "fusion.json"
        target.write_text(json.dumps(content, indent=1) + "\n")
        (out / "CARD.md").write_text(card(content))
        table = calibration_output.thresholds(crossed, options["target_fpr"])
        (out / "thresholds.json").write_text(json.dumps(table, indent=2) + "\n")
        calibration_output.write_scores(out / "oof.csv", crossed)
        if options["plot"]:
            calibration_output.plot(options["plot"], crossed)
        fusion.Stack.from_json(content)  # what was written can be read
        return hashlib.sha256(target.read_bytes()).hexdigest()


def max_fprs(given: Sequence[tuple[str, float]]) -> dict[Kind, float]:
    """Return the wish for each kind; one named by its kind goes before one for all."""
    stated = dict(given)
    return {kind: stated.get(kind, stated.get("", calibration_fit.MAX_FPR)) for kind in KINDS}


def _short(figures: dict[str, Any]) -> dict[str, Any]:
    names = ("n", "auroc", "auroc_ci", "eer", "ece_even", "f1", "fpr", "coverage", "selective_accuracy")
    return {name: figures.get(name) for name in names}
