"""`manage.py analyze FILE`: one file to a verdict on this machine; nothing leaves it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from detection.engine import pipeline, wording
from detection.engine.errors import EngineError


class Command(BaseCommand):
    help = "Judge one picture, clip or recording; prints the verdict, writes result.json and the evidence."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--json", action="store_true", help="print the whole result as JSON")
        parser.add_argument("--output-dir", type=Path, help="default: analyses/<file name>-<digest> in the data folder")
        parser.add_argument("--save-heatmaps", action="store_true", help="also write overlays and frequency pictures")
        parser.add_argument("--model", action="append", metavar="NAME", help="run only this branch (may be repeated)")
        parser.add_argument("--mode", choices=pipeline.MODES, default="auto")
        parser.add_argument("--stability", choices=["cheap", "full", "off"], default="cheap")
        parser.add_argument("--aggregation", choices=["mean", "max", "median", "topk"], default="mean")

        parser.add_argument("--action", help="what the person wants to do, for the policy engine of identity checks")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["action"]:
            raise CommandError("The policy engine that --action asks for is not available yet; leave --action out.")
        if not options["file"].is_file():
            raise CommandError(f"There is no file {options['file']}.")
        folder = options["output_dir"] or default_folder(options["file"])
        try:
            analysis = pipeline.analyze(
                options["file"],
                mode=options["mode"],
                stability=options["stability"],
                aggregation=options["aggregation"],
                branches=options["model"],
                output_dir=folder,
                heatmaps=options["save_heatmaps"],
                on_step=self._tell,
            )
        except EngineError as error:
            raise CommandError(f"{error.message} [{error.code}]") from error
        result = analysis.to_dict()
        (folder / "result.json").write_text(json.dumps(result, indent=1))
        self.stdout.write(json.dumps(result, indent=1) if options["json"] else _for_people(result))
        self.stderr.write(f"Written to {folder}")

    def _tell(self, name: str, done: int, total: int) -> None:
        if self.stderr.isatty():
            self.stderr.write(f"\r{name:<14} {done}/{total}", ending="" if done < total else "\n")


def default_folder(file: Path) -> Path:
    """Return a folder of its own for each content, so that no result overwrites that of another file."""
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()[:8]
    return Path(settings.DATA_DIR) / "analyses" / f"{file.stem}-{digest}"


def _for_people(result: dict[str, Any]) -> str:
    lines = [f"Verdict: {result['label']}"]
    if result["score"] is not None:
        low, high = result["confidence_interval"]
        limits = result["thresholds"].values()
        shown = [wording.percent_beside(p, *limits) for p in (result["score"], low, high)]
        chance = f"{shown[0]} (between {shown[1]} and {shown[2]})"
        lines.append(f"Chance of a fake: {chance}")
    lines += [result["rationale"], *result["warnings"], ""]
    for branch in result["per_branch"]:
        score = "  – " if branch["score"] is None else f"{branch['score']:.2f}"
        lines.append(f"{branch['branch']:<11} {score}  weight {branch['weight']:.2f}  {branch['sentence']}")
    lines.append(f"\n{result['model_version']}, {result['seconds']['total']:.2f} s")
    return "\n".join(lines)
