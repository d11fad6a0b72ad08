"""`manage.py quality`: run what stands beside the detectors, and write docs/quality.md from the stored runs."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from detection.engine import pipeline, registry
from detection.training import (
    calibration,
    held_out,
    ordinary,
    quality,
    quality_delivery,
    shortcut_audit,
    splits,
)
from detection.training.calibration import Judged
from detection.training.calibration_fit import Goals
from detection.training.progress import Progress

PER_SOURCE = {"baselines": 25, "delivery": 4}
TABLE = Path("tests/data/shortcut_features.csv.gz")


class Command(BaseCommand):
    calibrated: Path
    help = (
        "page (default): write docs/quality.md from stored runs. baselines: run published nets and simple rules over "
        "the files that the fusion was judged on. delivery: see what re-saving, filters and channels do to scores."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", nargs="?", choices=["page", "baselines", "delivery"], default="page")
        parser.add_argument("--out", type=Path, default=Path(settings.BASE_DIR) / "docs", help="default: docs")
        parser.add_argument("--fusion", type=Path, help="what calibrate wrote (default: ml_weights/fusion)")
        parser.add_argument("--manifest", type=Path, action="append", default=[], help="for baselines")
        parser.add_argument("--root", type=Path, action="append", default=[], help="one per manifest, in order")
        parser.add_argument("--weights", type=Path, help="folder of published weights, for baselines")
        parser.add_argument(
            "--rows", type=Path, help="branch scores kept by calibrate (default: DATA_DIR/calibration.jsonl)"
        )
        parser.add_argument("--per-source", type=int, help=f"files of each source and label, default: {PER_SOURCE}")

    def handle(self, *args: Any, **options: Any) -> None:
        runs = options["out"] / "quality" / "runs"
        runs.mkdir(parents=True, exist_ok=True)
        self.calibrated = options["fusion"] or registry.WEIGHTS_DIR / "fusion"
        if options["action"] == "baselines":
            self.baselines(runs, options)
        elif options["action"] == "delivery":
            self.delivery(runs, options)
        else:
            self.page(runs, options)

    def baselines(self, runs: Path, options: dict[str, Any]) -> None:
        from detection.training import baselines

        if not options["weights"] or len(options["manifest"]) != len(options["root"]):
            raise CommandError("baselines needs --weights, and one --root for each --manifest.")
        lines = []
        for manifest, root in zip(options["manifest"], options["root"], strict=True):
            chosen = calibration.select(manifest, splits.SPLITS, options["per_source"] or PER_SOURCE["baselines"])
            lines += [(root / line["path"], line, held_out.key_of(root.name, line["path"])) for line in chosen]
        lines.sort(key=lambda one: hashlib.sha256(one[2].encode()).digest())  # so that a part is a fair sample
        progress = Progress(len(lines), "baselines", sys.stderr)
        store = Path(settings.DATA_DIR) / "baselines.jsonl"
        measured = baselines.run(lines, baselines.published(options["weights"]), store, progress.step)
        baselines.save(runs / "baselines.csv", measured)

    def delivery(self, runs: Path, options: dict[str, Any]) -> None:
        pipeline.warm_up()
        rows = self.rows(options)
        chosen = quality_delivery.chosen(rows, options["per_source"] or PER_SOURCE["delivery"])
        progress = Progress(len(chosen), "delivery", sys.stderr)
        records = ordinary.measure(chosen, list(calibration.digests()), progress.step)
        fusion = self.fusion()
        goals = Goals(
            fusion["goals"]["max_fpr"], fusion["goals"]["max_fnr"], fusion["clear_margin"]
        )  # as it was calibrated
        found = quality_delivery.summary(rows, records, goals)
        (runs / "delivery.json").write_text(json.dumps(found, indent=1) + "\n")

    def rows(self, options: dict[str, Any]) -> list[Judged]:
        """Return the rows that calibrate kept, with scores that are fair to them."""
        kept = options["rows"] or Path(settings.DATA_DIR) / "calibration.jsonl"
        wanted = {item.path for item in self.items()}
        rows = [calibration.with_held_out(j) for j in calibration.load(kept) if j.key in wanted]
        if not rows:
            raise CommandError(f"{kept} holds no rows of the last calibration; run calibrate first.")
        return [j for j in rows if calibration.is_complete(j)]

    def page(self, runs: Path, options: dict[str, Any]) -> None:
        from detection.training import baselines

        stored = runs / "baselines.csv"
        table = Path(settings.BASE_DIR) / TABLE
        found = {
            "baselines": baselines.load(stored) if stored.is_file() else None,
            "delivery": quality.read_json(runs / "delivery.json"),
            "shortcuts": shortcut_audit.audit(shortcut_audit.load(table)) if table.is_file() else None,
            "branches": quality.read_branches(registry.WEIGHTS_DIR),
        }
        target = options["out"] / "quality.md"
        target.write_text(quality.page(self.fusion(), self.items(), found))
        self.stdout.write(f"{target} written.")

    def fusion(self) -> dict[str, Any]:
        content = quality.read_json(self.calibrated / "fusion.json")
        if not content or "cross_validated" not in content:
            raise CommandError(f"{self.calibrated} holds no cross-validated figures; run calibrate first.")
        return dict(content)

    def items(self) -> list[quality.Item]:
        path = self.calibrated / "oof.csv"
        if not path.is_file():
            raise CommandError(f"{path} is missing; run calibrate first.")
        return quality.read_items(path)
