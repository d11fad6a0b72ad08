"""`manage.py export <branch> --run DIR`: turn a finished run into the weights that serve."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from detection.engine.registry import WEIGHTS_DIR
from detection.management.commands.train import trainer


class Command(BaseCommand):
    help = "Export a trained branch to OpenVINO (fp16) and torch weights, and print what the registry needs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("branch", help="spatial, temporal, frequency, synthesis, audio")
        parser.add_argument("--run", type=Path, required=True, help="folder that `train` wrote")
        parser.add_argument("--weights-dir", type=Path, default=WEIGHTS_DIR, help="default: ml_weights/")

    def handle(self, *args: Any, **options: Any) -> None:
        run: Path = options["run"]
        if not run.is_dir():
            raise CommandError(f"{run} does not exist. Train first.")
        entry = trainer(options["branch"]).export(run, options["weights_dir"])
        self.stdout.write(json.dumps(entry, indent=2, default=str))
