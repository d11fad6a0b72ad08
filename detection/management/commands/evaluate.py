"""`manage.py evaluate`: judge every file of a labelled manifest and write the metrics."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from functools import partial
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from detection import evaluation
from detection.engine import pipeline
from detection.engine.errors import EngineError
from detection.training.progress import Progress


class Command(BaseCommand):
    help = (
        "Judge every file of a labelled manifest (path,label[,kind,method,group,source]) and write metrics.json. "
        "A run that was killed goes on where it ended when it is started again."
    )

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
            evaluation.check_root(rows, options["root"])
            pipeline.warm_up()
        except (OSError, ValueError) as error:
            raise CommandError(f"The manifest cannot be read: {error}") from error
        except EngineError as error:
            raise CommandError(error.message) from error
        out: Path = options["out"]
        partial_items = evaluation.Partial(out.with_name(out.name + ".partial"), stamp(options))
        items = partial_items.items(rows)
        partial_items.restart(items)
        if items:
            self.stderr.write(f"{len(items)} of {len(rows)} files were judged before; going on after them.")
        analyze = partial(pipeline.analyze, stability=options["stability"])
        progress = Progress(len(rows) - len(items), "", sys.stderr, every_s=math.inf)
        for item in evaluation.judge(rows[len(items) :], options["root"], analyze, options["workers"]):
            items.append(item)
            partial_items.add(item)
            progress.done += 1
            said = item.error or f"{item.verdict} {item.score if item.score is None else round(item.score, 3)}"
            self.stderr.write(
                f"[{len(items)}/{len(rows)}] {item.row.path}: {said} ({item.seconds:.2f} s; {progress.eta()})"
            )
        result = evaluation.report(items)
        out.write_text(json.dumps(result, indent=1))
        partial_items.remove()
        for name, numbers in [("overall", result["overall"]), *result["by_kind"].items()]:
            shown = {k: numbers[k] for k in ("n", "auroc", "auroc_ci", "eer", "f1", "fpr", "ece", "coverage")}
            self.stdout.write(f"{name}: {json.dumps(shown)}")
        overall = result["overall"]
        if overall["auroc"] is not None and overall["auroc_ci"] is None:
            self.stderr.write(
                f"Too few files for an interval (at least {evaluation.LEAST_GROUPS} of each label, of different "
                "groups): read these figures as examples."
            )
        if unread := sum(item.score is None for item in items):
            self.stderr.write(
                f"{unread} of {len(items)} files could not be scored; accuracy and F1 count them as wrong."
            )


def stamp(options: dict[str, Any]) -> dict[str, str]:
    """Return what makes items of an earlier run comparable: the same manifest, files and models."""
    return {
        "manifest": hashlib.sha256(options["manifest"].read_bytes()).hexdigest(),
        "root": str(options["root"].resolve()),
        "stability": options["stability"],
        "model_version": pipeline.model_version(),
    }
