"""`manage.py import_weights`: a published checkpoint, checked key for key, as a net of ours with a card."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from detection.training import importing


class Command(BaseCommand):
    help = (
        "Load a published checkpoint strictly (every key must find its place), never running code from it, and write "
        "weights, contract, golden outputs and a card stub to DATA_DIR/models/<name>/. Also called import-weights."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("path", type=Path, help="the published file (.pth, .pt, .safetensors, .h5)")
        parser.add_argument("--layout", required=True, metavar="LAYOUT", help=", ".join(importing.names()))
        parser.add_argument("--sha256", help="digest that the file must have")
        parser.add_argument("--licence", required=True, help="under which you have the file, for the card")
        parser.add_argument("--name", help="folder of the net (default: the layout)")
        parser.add_argument("--out", type=Path, help="where folders of nets are kept (default: DATA_DIR/models)")

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["name"] or options["layout"].replace(":", "-").replace("/", "-")
        folder = (options["out"] or Path(settings.DATA_DIR) / "models") / name
        try:
            facts = importing.import_to(
                options["layout"], options["path"], folder, sha256=options["sha256"], licence=options["licence"]
            )
        except importing.WeightsRejected as error:
            raise CommandError(f"{error}") from error
        self.stdout.write(json.dumps({"folder": str(folder), **facts}, indent=1))
