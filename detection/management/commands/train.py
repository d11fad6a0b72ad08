"""`manage.py train <branch>`: train one branch from a configuration file and manifests."""

from __future__ import annotations

import importlib
import importlib.util
import json
import tomllib
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError


def trainer(branch: str) -> Any:
    """Return the module detection.training.<branch>, or raise CommandError when there is none that can train."""
    name = f"detection.training.{branch}"
    if not branch.isidentifier() or importlib.util.find_spec(name) is None:
        raise CommandError(f"There is no trainer for a branch called {branch!r}.")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise CommandError(f"Training needs the package {error.name}: pip install -r requirements-train.txt") from error
    if not (hasattr(module, "train") and hasattr(module, "export")):
        raise CommandError(f"There is no trainer for a branch called {branch!r}.")
    return module


class Command(BaseCommand):
    help = (
        "Train a branch. The run record, checkpoints and metrics go to --out; a run that was interrupted goes on "
        "from its last epoch. Media lie beside their manifest."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("branch", help="spatial, temporal, frequency, synthesis, audio")
        parser.add_argument("--config", type=Path, required=True, help="settings of the run, e.g. configs/spatial.toml")
        parser.add_argument(
            "--data",
            type=Path,
            action="append",
            required=True,
            metavar="MANIFEST",
            help="CSV with at least path,label; paths count from its folder; may be given several times",
        )
        parser.add_argument("--out", type=Path, help="folder of the run (default: var/training/<branch>)")

    def handle(self, *args: Any, **options: Any) -> None:
        branch: str = options["branch"]
        for path in (options["config"], *options["data"]):
            if not path.is_file():
                raise CommandError(f"{path} does not exist.")
        config = tomllib.loads(options["config"].read_text())
        out: Path = options["out"] or Path("var/training") / branch
        out.mkdir(parents=True, exist_ok=True)
        record = trainer(branch).train(config, options["data"], out)
        (out / "run.json").write_text(json.dumps(record, indent=2, default=str) + "\n")
        self.stdout.write(json.dumps(record, indent=2, default=str))
