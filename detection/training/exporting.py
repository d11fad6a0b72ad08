"""From a trained torch module to what serves: OpenVINO IR with fp16 weights, checked against torch."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch


def export(module: torch.nn.Module, example: torch.Tensor, folder: Path, name: str) -> dict[str, Any]:
    """Write `name`.xml/.bin (OpenVINO, fp16 weights) and `name`.pt (fp16 state) into folder.

    module: forward(batch) -> dict of named tensors. example: one batch; its first axis, and only that, is dynamic.
    Returns {"files": {...} as the registry wants it, "max_difference": {output: largest |torch − OpenVINO|}}.
    """
    import openvino as ov

    folder.mkdir(parents=True, exist_ok=True)
    module = module.float().eval()
    with torch.inference_mode():
        expected = {key: value.numpy() for key, value in module(example).items()}

    flat = TupleOutputs(module, list(expected))
    converted = ov.convert_model(flat, example_input=example)
    converted.reshape([-1, *example.shape[1:]])
    for output, key in zip(converted.outputs, expected, strict=True):
        output.get_tensor().set_names({key})
    ov.save_model(converted, folder / f"{name}.xml", compress_to_fp16=True)
    state = {key: value.half() if value.is_floating_point() else value for key, value in module.state_dict().items()}
    torch.save(state, folder / f"{name}.pt")

    compiled = ov.Core().compile_model(folder / f"{name}.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled(example.numpy())
    difference = {key: float(np.abs(found[key] - value).max()) for key, value in expected.items()}
    root = folder.name
    return {
        "files": {
            "openvino": tuple((f"{root}/{name}.{end}", _sha256(folder / f"{name}.{end}")) for end in ("xml", "bin")),
            "torch": ((f"{root}/{name}.pt", _sha256(folder / f"{name}.pt")),),
        },
        "max_difference": difference,
    }


class TupleOutputs(torch.nn.Module):
    """OpenVINO's tracer wants a tuple, the engine's nets return a dict."""

    def __init__(self, module: torch.nn.Module, names: list[str]) -> None:
        super().__init__()
        self.module, self.names = module, names

    def forward(self, batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        outputs = self.module(batch)
        return tuple(outputs[name] for name in self.names)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
