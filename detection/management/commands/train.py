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

from detection.training import records

# What `--pretrained` means to a trainer: start from a public hub's weights instead of those in a package or a file.
PRETRAINED: dict[str, Any] = {"spatial": "timm", "custom": True}


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
        "Train a branch, or with `custom` any architecture that its configuration names. The run record, checkpoints "
        "and metrics go to --out; a run that was interrupted goes on from its last epoch. Media lie beside their "
        "manifest."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "branch", help="spatial, temporal, frequency, synthesis, audio, av_sync, physiology or custom"
        )
        parser.add_argument("--config", type=Path, required=True, help="settings, e.g. configs/spatial.toml")
        parser.add_argument(
            "--data",
            type=Path,
            action="append",
            required=True,
            metavar="MANIFEST",
            help="CSV with at least path,label; paths count from its folder; may be given several times",
        )
        parser.add_argument("--out", type=Path, help="folder of the run (default: var/training/<branch>)")
        parser.add_argument(
            "--pretrained", action="store_true", help="start from a public hub's weights; needs a connection"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        branch: str = options["branch"]
        for path in (options["config"], *options["data"]):
            if not path.is_file():
                raise CommandError(f"{path} does not exist.")
        config = _configuration(options["config"])
        if options["pretrained"]:
            if branch not in PRETRAINED:
                raise CommandError(f"The branch {branch} has no hub weights; {', '.join(PRETRAINED)} have.")
            config["pretrained"] = PRETRAINED[branch]
        module = trainer(branch)
        out: Path = options["out"] or Path("var/training") / branch
        try:
            with records.record("train", branch, config, options["data"], out) as run:
                result = module.train(config, options["data"], out)
                (out / "run.json").write_text(json.dumps(result, indent=2, default=str) + "\n")
                run.finish({key: value for key, value in result.items() if key not in ("config", "epochs")})
        except (ValueError, OSError) as error:
            raise CommandError(f"{error}") from error
        self.stdout.write(json.dumps(result, indent=2, default=str))


def _configuration(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise CommandError(f"{path} is no TOML: {error}") from error
