"""`manage.py evaluate`: judge every file of a labelled manifest and write the metrics."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from detection import evaluation
from detection.engine import pipeline
from detection.engine.errors import EngineError


class Command(BaseCommand):
    help = "Judge every file of a labelled manifest (path,label[,kind,method,group]) and write metrics.json."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--manifest", type=Path, required=True, help="CSV with at least path,label (real|fake)")
        parser.add_argument("--root", type=Path, required=True, help="folder that the manifest's paths count from")
        parser.add_argument("--task", choices=["media", "documents"], default="media")
        parser.add_argument("--out", type=Path, required=True, help="where metrics.json is written")
        parser.add_argument("--limit", type=int, help="judge only the first N rows")
        parser.add_argument("--workers", type=int, default=1, help="files judged at the same time")
        parser.add_argument("--stability", choices=["cheap", "full", "off"], default="cheap")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["task"] == "documents":
            raise CommandError("The document check is not available yet; use --task media.")
        try:
            rows = evaluation.read_manifest(options["manifest"], options["limit"])
            pipeline.warm_up()
        except (OSError, ValueError) as error:
            raise CommandError(f"The manifest cannot be read: {error}") from error
        except EngineError as error:
            raise CommandError(error.message) from error
        items = []
        analyze = partial(pipeline.analyze, stability=options["stability"])
        for item in evaluation.judge(rows, options["root"], analyze, options["workers"]):
            items.append(item)
            said = item.error or f"{item.verdict} {item.score if item.score is None else round(item.score, 3)}"
            self.stderr.write(f"[{len(items)}/{len(rows)}] {item.row.path}: {said} ({item.seconds:.2f} s)")
        result = evaluation.report(items)
        options["out"].parent.mkdir(parents=True, exist_ok=True)
        options["out"].write_text(json.dumps(result, indent=1))
        for name, numbers in [("overall", result["overall"]), *result["by_kind"].items()]:
            shown = {k: numbers[k] for k in ("n", "auroc", "auroc_ci", "eer", "f1", "fpr", "ece", "coverage")}
            self.stdout.write(f"{name}: {json.dumps(shown)}")
