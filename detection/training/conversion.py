"""A finished net in other formats: ONNX, OpenVINO IR and INT8, with what each costs in accuracy and saves in time."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from detection.training import exporting, metrics, splits

Batch = NDArray[np.float32]
Net = Callable[[Batch], Mapping[str, NDArray[np.float32]]]

FORMATS = ("openvino", "onnx", "int8")
OPSET = 17
TIMED_CALLS = 20
FEWEST = 8  # items below which nothing is quantised: activations would be scaled to an accident


@dataclass(frozen=True)
class Sample:
    """What a net was given for one labelled file: one or several rows of a batch."""

    batch: Batch
    is_fake: bool


def to_onnx(module: torch.nn.Module, example: torch.Tensor, path: Path) -> dict[str, float]:
    """Write an ONNX file whose first axis alone is dynamic; return the largest difference from torch per output."""
    import onnx

    module = module.float().eval()
    with torch.inference_mode():
        expected = {key: value.numpy() for key, value in module(example).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        exporting.TupleOutputs(module, list(expected)),
        (example,),
        str(path),
        input_names=["input"],
        output_names=list(expected),
        dynamic_axes={name: {0: "n"} for name in ("input", *expected)},
        opset_version=OPSET,
        dynamo=False,
    )
    onnx.checker.check_model(str(path))
    found = onnx_net(path)(example.numpy())
    return {key: float(np.abs(found[key] - value).max()) for key, value in expected.items()}


def to_int8(ir: Path, samples: Sequence[Sample], path: Path) -> None:
    """Quantise an OpenVINO net, scaled on what real files gave it. Raises ValueError when too few did."""
    import nncf
    import openvino as ov

    if len(samples) < FEWEST:
        raise ValueError(f"Only {len(samples)} files could be prepared for this net; at least {FEWEST} are needed.")
    model = ov.Core().read_model(ir)
    dataset = nncf.Dataset([sample.batch[:1] for sample in samples])
    transformer = any(node.get_type_name() == "Softmax" for node in model.get_ops())
    quantised = nncf.quantize(
        model,
        dataset,
        subset_size=len(samples),
        model_type=nncf.ModelType.TRANSFORMER if transformer else None,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    ov.save_model(quantised, path, compress_to_fp16=True)


def openvino_net(path: Path) -> Net:
    import openvino as ov

    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1}
    compiled = ov.Core().compile_model(path, "CPU", settings)
    names = [_named(output.get_names(), number) for number, output in enumerate(compiled.outputs)]

    def run(batch: Batch) -> dict[str, NDArray[np.float32]]:
        answer = compiled(batch)
        return {name: np.asarray(answer[number]) for number, name in enumerate(names)}

    return run


def _named(names: set[str], number: int) -> str:
    """The name that the exporter gave; tracers leave numbers beside it."""
    return min(names, key=lambda name: (name.isdigit(), name), default=str(number))


def onnx_net(path: Path) -> Net:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(batch: Batch) -> dict[str, NDArray[np.float32]]:
        return dict(zip(names, session.run(names, {"input": batch}), strict=True))

    return run


def compare(before: Net, after: Net, samples: Sequence[Sample]) -> dict[str, Any]:
    """Return AUROC of both with the interval of its loss, how far logits moved, and milliseconds of one item.

    An item's logit is the mean over its rows. Files, not groups, are drawn for the interval: both nets saw the same.
    """
    labels = np.array([sample.is_fake for sample in samples], dtype=np.int64)
    first, second = (np.array([float(net(s.batch)["logit"].mean()) for s in samples]) for net in (before, after))
    drift = np.abs(first - second)
    return {
        "n": len(samples),
        "auroc": {"before": _round(metrics.auroc(labels, first)), "after": _round(metrics.auroc(labels, second))},
        "auroc_change_ci": _change_interval(labels, first, second),
        "logit_drift": {"mean": _round(drift.mean()), "max": _round(drift.max()), "spread": _round(first.std())},
        "verdicts_changed": int(((first > 0) != (second > 0)).sum()),
        "ms_per_item": {"before": _milliseconds(before, samples[0]), "after": _milliseconds(after, samples[0])},
    }


def _change_interval(labels: NDArray[np.int64], first: NDArray[Any], second: NDArray[Any]) -> list[float] | None:
    rng = np.random.default_rng(0)
    changes = []
    for _ in range(500):
        rows = rng.integers(0, len(labels), len(labels))
        change = metrics.auroc(labels[rows], second[rows]) - metrics.auroc(labels[rows], first[rows])
        if np.isfinite(change):
            changes.append(change)
    return [_round(value) for value in np.percentile(changes, [2.5, 97.5])] if changes else None


def _milliseconds(net: Net, sample: Sample) -> float:
    one = sample.batch[:1]
    net(one)
    taken = []
    for _ in range(TIMED_CALLS):
        began = time.perf_counter()
        net(one)
        taken.append(time.perf_counter() - began)
    return round(1000 * float(np.median(taken)), 2)


def _round(value: float) -> float:
    return round(float(value), 4)


def size_of(path: Path) -> int:
    """Return the bytes of a net: for an IR the table and its weights."""
    return sum(part.stat().st_size for part in (path, path.with_suffix(".bin")) if part.is_file())


def chosen_files(manifest: Path, count: int) -> list[tuple[Path, bool]]:
    """Return up to `count` labelled files, half of each class, spread over the list, none from training sources."""
    with manifest.open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    held_out = [row for row, split in zip(rows, splits.assign(rows), strict=True) if split != "train"]
    found = []
    for label in ("real", "fake"):
        members = [row for row in held_out if row["label"] == label]
        step = max(1, len(members) // max(1, count // 2))
        found += [(manifest.parent / row["path"], label == "fake") for row in members[::step][: count // 2]]
    return found


def samples_of_branch(branch: str, files: Sequence[tuple[Path, bool]]) -> list[Sample]:
    """Return what the serving pipeline gives a branch's net for each file; files that give it nothing are left out."""
    from detection.engine import pipeline, runtime
    from detection.engine.errors import EngineError

    listening = _Listening(runtime.load(branch))
    runtime._nets[branch] = listening
    found = []
    try:
        for path, is_fake in files:
            listening.heard = []
            try:
                pipeline.analyze(path, stability="off")
            except EngineError:
                continue
            if listening.heard:
                found.append(Sample(np.concatenate(listening.heard), is_fake))
    finally:
        runtime._nets[branch] = listening.net
    return found


class _Listening:
    """A net that remembers what it was given."""

    def __init__(self, net: Any) -> None:
        self.net, self.spec = net, net.spec
        self.heard: list[Batch] = []

    def __call__(self, batch: Batch) -> Any:
        self.heard.append(np.array(batch, dtype=np.float32))
        return self.net(batch)
