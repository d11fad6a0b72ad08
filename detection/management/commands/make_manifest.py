"""`manage.py make_manifest`: a public data set, as its authors lay it out, into a manifest."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from detection.training import readers


class Command(BaseCommand):
    help = (
        "Read a data set in its published folder layout and write a manifest with label, method, source, group and the "
        "official split. Paths in it count from the manifest's own folder."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--layout", required=True, choices=sorted(readers.LAYOUTS))
        parser.add_argument("--root", type=Path, required=True, help="where the data set was unpacked")
        parser.add_argument("--out", type=Path, required=True, help="manifest to write")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            rows = readers.read(options["layout"], options["root"])
        except readers.LayoutError as error:
            raise CommandError(f"{error}") from error
        readers.write(rows, options["out"])
        self.stdout.write(json.dumps({"rows": len(rows), **readers.summary(rows)}, indent=1))
