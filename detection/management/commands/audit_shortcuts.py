"""`manage.py audit_shortcuts`: can the label be told from what is no evidence, after preprocessing?"""

from __future__ import annotations

import csv
import sys
import zlib
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from detection.training import calibration, shortcut_audit
from detection.training.progress import Progress
from detection.training.shortcut_audit import Finding, Row


class Command(BaseCommand):
    help = (
        "Put files through the product's preprocessing and let a classifier guess their label from what is left of "
        "container, size, level, silence, colour and frame rate, on sources that it did not learn from. Fails above "
        f"{shortcut_audit.LIMIT} balanced accuracy."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--manifest", type=Path, action="append", default=[])
        parser.add_argument("--root", type=Path, action="append", default=[], help="one per manifest, in order")
        parser.add_argument("--table", type=Path, help="audit a stored table instead of media")
        parser.add_argument("--out", type=Path, help="where the table is kept (.csv or .csv.gz)")
        parser.add_argument("--per-source", type=int, help="at most so many rows of each source and label")
        parser.add_argument(
            "--reported",
            action="store_true",
            help="audit fine detail and band width, too: evidence as well as shortcut",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if len(options["manifest"]) != len(options["root"]):
            raise CommandError("Give one --root for each --manifest.")
        if bool(options["table"]) == bool(options["manifest"]):
            raise CommandError("Give either --table or at least one --manifest.")
        rows = stored(options["table"]) if options["table"] else self.rows(options)
        if options["out"]:
            shortcut_audit.save(rows, options["out"])
        findings = shortcut_audit.audit(rows, reported=options["reported"])
        if not findings:
            raise CommandError("Too few rows of both classes to audit anything.")
        for finding in findings:
            self.stdout.write(sentence(finding))
        failed = [finding.modality for finding in findings if not finding.passes]
        if failed:
            raise CommandError(f"Shortcuts found in: {', '.join(failed)}.")

    def rows(self, options: dict[str, Any]) -> list[Row]:
        rows: list[Row] = []
        for manifest, root in zip(options["manifest"], options["root"], strict=True):
            lines = chosen(manifest, options["per_source"])
            progress = Progress(len(lines), root.name, sys.stderr)
            for line in lines:
                rows += shortcut_audit.table_of([line], root)
                progress.step()
        return rows


def stored(table: Path) -> list[Row]:
    try:
        return shortcut_audit.load(table)
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise CommandError(f"{table} is not a table of this command: {error}.") from error


def chosen(manifest: Path, per_source: int | None) -> list[dict[str, str]]:
    """Return the labelled rows, of each source and label at most `per_source`."""
    try:
        return calibration.select(manifest, ("train", "calibration", "test"), per_source)
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise CommandError(f"The manifest {manifest} cannot be read: {error}") from error


def sentence(finding: Finding) -> str:
    """Return the finding in one line."""
    alone = ", ".join(f"{name} {area:.2f}" for name, area in sorted(finding.alone.items(), key=lambda p: -p[1])[:4])
    verdict = "passes" if finding.passes else "FAILS"
    return (
        f"{finding.modality}: balanced accuracy {finding.balanced_accuracy:.3f} ({verdict}, limit "
        f"{shortcut_audit.LIMIT}), {finding.n} items of {finding.sources} sources; AUROC alone: {alone}"
    )
