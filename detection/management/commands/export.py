"""`manage.py export <branch>`: a finished run as the weights that serve, or weights in another format."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from detection.engine import registry, runtime
from detection.engine.errors import EngineError
from detection.engine.registry import WEIGHTS_DIR
from detection.management.commands.train import trainer

CUSTOM = "custom"


class Command(BaseCommand):
    help = (
        "openvino: export a run to OpenVINO (fp16) and torch weights and print what the registry needs. onnx, int8: "
        "turn the weights of a branch (after --run, those just exported) into that format and state what it costs."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("branch", help="spatial, temporal, frequency, synthesis, audio, av_sync, custom")
        parser.add_argument("--run", type=Path, help="folder that `train` wrote")
        parser.add_argument("--weights-dir", type=Path, default=WEIGHTS_DIR, help="default: ml_weights/")
        parser.add_argument("--format", choices=["openvino", "onnx", "int8"], default="openvino")
        parser.add_argument(
            "--manifest",
            type=Path,
            help="labelled files; int8 is scaled and both formats are compared on held-out ones",
        )
        parser.add_argument("--samples", type=int, default=64, help="files of the manifest to use")
        parser.add_argument("--out", type=Path, help="folder of onnx and int8 (default: DATA_DIR/export/<branch>)")

    def handle(self, *args: Any, **options: Any) -> None:
        branch, run = options["branch"], options["run"]
        if run is not None and not run.is_dir():
            raise CommandError(f"{run} does not exist. Train first.")
        if run is None and (options["format"] == "openvino" or branch == CUSTOM):
            raise CommandError("Name the finished run with --run.")
        if options["format"] == "int8" and options["manifest"] is None:
            raise CommandError("int8 is scaled on real files: name a --manifest.")
        if options["manifest"] is not None and not options["manifest"].is_file():
            raise CommandError(f"{options['manifest']} does not exist.")
        entry = None if run is None else trainer(branch).export(run, options["weights_dir"])
        if options["format"] != "openvino":
            try:
                entry = _convert(branch, run, options, entry)
            except (ValueError, OSError, EngineError, ModuleNotFoundError) as error:
                raise CommandError(f"{error}") from error
        self.stdout.write(json.dumps(entry, indent=2, default=str))


def _convert(branch: str, run: Path | None, options: dict[str, Any], entry: Any) -> dict[str, Any]:
    """Write the asked-for format; return where, its size, and what changed on held-out files."""
    from detection.training import conversion

    name, module, example = _custom(run) if branch == CUSTOM and run is not None else _shipped(branch, options)
    ir = options["weights_dir"] / name / f"{name}.xml"
    if not ir.is_file():
        raise CommandError(f"{ir} does not exist: export the branch to OpenVINO first.")
    files = conversion.chosen_files(options["manifest"], options["samples"]) if options["manifest"] else []
    samples = _samples(branch, run, files)
    if options["manifest"] and not samples:
        raise CommandError(
            f"{options['manifest']} gave no sample for {branch}: {len(files)} held-out files were tried. It needs "
            "files of sources outside the training split that the branch can judge (a face, speech, enough texture)."
        )
    out: Path = options["out"] or Path(settings.DATA_DIR) / "export" / name
    report: dict[str, Any] = {"exported": entry} if entry else {}
    if options["format"] == "onnx":
        path = out / f"{name}.onnx"
        report["max_difference"] = conversion.to_onnx(module, example, path)
        net = conversion.onnx_net(path)
    else:
        path = out / f"{name}-int8.xml"
        conversion.to_int8(ir, samples, path)
        net = conversion.openvino_net(path)
    report |= {"file": str(path), "bytes": {"openvino fp16": conversion.size_of(ir), "this": conversion.size_of(path)}}
    report |= {"files": {"tried": len(files), "used": len(samples)}} if files else {}
    if samples:
        report["compared"] = conversion.compare(conversion.openvino_net(ir), net, samples)
    return report


def _custom(run: Path) -> tuple[str, Any, Any]:
    from detection.training import custom

    config = json.loads((run / "run.json").read_text())["config"]
    return custom.weights_name(config), custom.load_run(run), custom.example_of(config)


def _shipped(branch: str, options: dict[str, Any]) -> tuple[str, Any, Any]:
    """The torch module of a branch with its exported weights, and a batch of the shape that its IR takes."""
    import openvino as ov
    import torch

    spec = registry.BRANCHES.get(branch)
    if spec is None:
        raise CommandError(f"There is no branch called {branch!r} in the registry.")
    folder = options["weights_dir"] / branch
    ir = folder / f"{branch}.xml"
    if not ir.is_file():
        raise CommandError(f"{ir} does not exist.")
    module = runtime.build_module(spec)
    runtime.load_state(module, folder / f"{branch}.pt")
    shape = [d.get_length() for d in list(ov.Core().read_model(ir).inputs[0].partial_shape)[1:]]
    generator = torch.Generator().manual_seed(0)
    scale = 0.1 if spec.channel == "voice" else 1.0
    return branch, module.eval(), scale * torch.randn((2, *shape), generator=generator)


def _samples(branch: str, run: Path | None, files: list[tuple[Path, bool]]) -> list[Any]:
    from detection.training import conversion

    if not files:
        return []
    if branch != CUSTOM:
        return conversion.samples_of_branch(branch, files)
    from detection.training import custom
    from detection.training.custom_data import Item, Loader

    assert run is not None
    loader = Loader(custom.contract_of(json.loads((run / "run.json").read_text())["config"]))
    items = [Item(path, is_fake, "", "", "", "") for path, is_fake in files]
    return [conversion.Sample(loader.batch([loader(item)]).numpy(), item.is_fake) for item in items]
