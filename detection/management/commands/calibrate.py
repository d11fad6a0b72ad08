"""`manage.py calibrate`: fit the fusion to sources that no net was trained on, and report on others still."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from detection.engine import pipeline, registry
from detection.engine.errors import EngineError
from detection.training import calibration
from detection.training.calibration_card import card


class Command(BaseCommand):
    help = (
        "Run the branches over the calibration sources of manifests, fit fusion.json to what they say, and measure it "
        "on the test sources. Prints the line that registry.FUSION needs."
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
        parser.add_argument("--max-fpr", type=float, default=0.05, help="genuine items that may be called fake")
        parser.add_argument("--max-fnr", type=float, default=0.10, help="fakes that may be called real")

    def handle(self, *args: Any, **options: Any) -> None:
        if len(options["manifest"]) != len(options["root"]):
            raise CommandError("Give one --root for each --manifest.")
        rows_file: Path = options["rows"] or Path(settings.DATA_DIR) / "calibration.jsonl"
        rows_file.parent.mkdir(parents=True, exist_ok=True)
        judged = []
        try:
            pipeline.warm_up()
            for manifest, root in zip(options["manifest"], options["root"], strict=True):
                lines = calibration.select(manifest, ("calibration", "test"), options["per_source"])
                for row in calibration.run(lines, root, rows_file, options["workers"]):
                    judged.append(row)
                    if len(judged) % 50 == 0:
                        self.stderr.write(f"{len(judged)} files")
        except EngineError as error:
            raise CommandError(error.message) from error
        fitted = [j for j in judged if j.split == "calibration"]
        content = calibration.fit(fitted, max_fpr=options["max_fpr"], max_fnr=options["max_fnr"])
        if not content["domains"]:
            raise CommandError("Too few rows or sources: no domain could be fitted.")
        test = [j for j in judged if j.split == "test"]
        content["test"] = calibration.test_figures(content, test)
        options["out"].mkdir(parents=True, exist_ok=True)
        target = options["out"] / "fusion.json"
        target.write_text(json.dumps(content, indent=1) + "\n")
        (options["out"] / "CARD.md").write_text(card(content))
        digest = hashlib.sha256(target.read_bytes()).hexdigest()
        self.stdout.write(json.dumps(content["test"], indent=1))
        self.stdout.write(f'FUSION = ("fusion/fusion.json", "{digest}")')
