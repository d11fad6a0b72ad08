"""Backends: a registered net, loaded once per process and called with numpy arrays.

On a CPU the exported OpenVINO model runs and torch is never imported; with CUDA the same weights run in torch.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from detection.engine import registry
from detection.engine.errors import OutOfMemory, WeightsInvalid

Outputs = dict[str, NDArray[np.float32]]

_nets: dict[str, Net] = {}
_models: dict[Path, _OpenVinoModel] = {}
_lock = threading.Lock()


class Net(Protocol):
    """A loaded net. Thread-safe.

    Called with a float32 batch, already resized and normalised by the branch; returns named outputs, among them
    `logit` (n,) and, where the net has them, `cam` (n, h, w) and `embedding` (n, d).
    """

    spec: registry.BranchSpec

    def __call__(self, batch: NDArray[np.float32]) -> Outputs: ...


def threads() -> int:
    """Threads one inference may use: ENGINE_THREADS, or the number of cores (at most 4)."""
    return int(os.environ.get("ENGINE_THREADS", min(os.cpu_count() or 1, 4)))


def load(name: str) -> Net:
    """Return the registered net `name`, loading and checking it the first time. Raises WeightsInvalid."""
    net = _nets.get(name)
    if net is None:
        with _lock:
            net = _nets.get(name)
            if net is None:
                net = _nets[name] = _build(registry.BRANCHES[name])
    return net


def load_model(path: Path, sha256: str | None = None, *, cores: int | None = None) -> _OpenVinoModel:
    """Return an OpenVINO model that is no branch (face finder, voice activity), loaded once. Raises WeightsInvalid.

    cores: threads of one inference, `threads()` when None; a net of a millisecond loses more by sharing than it wins.
    """
    model = _models.get(path)
    if model is None:
        with _lock:
            model = _models.get(path)
            if model is None:
                if sha256 is not None:
                    check_file(path, sha256)
                model = _models[path] = _OpenVinoModel(path, cores)
    return model


def check_file(path: Path, sha256: str) -> None:
    """Raise WeightsInvalid, naming the file, when it is missing or its digest differs."""
    if not path.is_file():
        raise WeightsInvalid(f"The weight file {path} is missing. Run `make setup`, or restore it from the release.")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise WeightsInvalid(
            f"The weight file {path} was altered: its SHA-256 is {found}, expected {sha256}. "
            "Restore it from the release."
        )


def _build(spec: registry.BranchSpec) -> Net:
    backend = "torch" if _has_cuda() and "torch" in spec.files else "openvino"
    paths = []
    for relative, sha256 in spec.files[backend]:
        path = registry.WEIGHTS_DIR / relative
        check_file(path, sha256)
        paths.append(path)
    if backend == "torch":
        return _TorchNet(spec, paths[0])
    return _OpenVinoNet(spec, paths[0])


def _has_cuda() -> bool:
    """Whether an NVIDIA driver is loaded; asked without importing torch, which would cost a CPU server 225 MB."""
    if os.environ.get("ENGINE_BACKEND", "auto") == "openvino":
        return False
    if not Path("/proc/driver/nvidia/version").exists():
        return False
    torch = importlib.import_module("torch")
    return bool(torch.cuda.is_available())


class _OpenVinoModel:
    """A compiled model; every thread has its own infer request."""

    def __init__(self, path: Path, cores: int | None = None) -> None:
        import openvino as ov

        _look_at_a_tensor(ov)
        core = ov.Core()
        try:
            # OpenVINO may choose bf16 by itself on newer CPUs: scores would then differ between machines.
            self.compiled = core.compile_model(
                str(path),
                "CPU",
                {
                    "INFERENCE_PRECISION_HINT": "f32",
                    "PERFORMANCE_HINT": "LATENCY",
                    "INFERENCE_NUM_THREADS": cores or threads(),
                },
            )
        except RuntimeError as error:
            raise WeightsInvalid(f"The weight file {path} cannot be loaded: {error}") from error
        self.names = [_name(output.get_names(), i) for i, output in enumerate(self.compiled.outputs)]
        self._local = threading.local()

    def __call__(self, *inputs: NDArray[Any]) -> Outputs:
        request = getattr(self._local, "request", None)
        if request is None:
            request = self._local.request = self.compiled.create_infer_request()
        request.infer(list(inputs))
        return {name: request.get_output_tensor(i).data.copy() for i, name in enumerate(self.names)}


def _look_at_a_tensor(ov: Any) -> None:
    """Let OpenVINO's bindings build their table of types, while `_lock` keeps every other thread out of them.

    They do it when a tensor's data are first asked for, by Python code, inside a C++ initialiser: a second thread that
    asks meanwhile waits for the initialiser with the interpreter's lock in hand, and the process stands still for ever.
    """
    _ = ov.Tensor(ov.Type.f32, ov.Shape([1])).data


def _name(names: set[str], index: int) -> str:
    """The name that the exporter gave an output; the tracer may have left its own number beside it."""
    return min(names, key=lambda name: (name.isdigit(), name), default=str(index))


class _OpenVinoNet:
    def __init__(self, spec: registry.BranchSpec, path: Path) -> None:
        self.spec = spec
        self._model = _OpenVinoModel(path)

    def __call__(self, batch: NDArray[np.float32]) -> Outputs:
        return self._model(np.ascontiguousarray(batch, dtype=np.float32))


class _TorchNet:
    def __init__(self, spec: registry.BranchSpec, path: Path) -> None:
        self.spec = spec
        self._torch = importlib.import_module("torch")
        self._module = build_module(spec)
        load_state(self._module, path)
        self._module.to("cuda").eval()

    def __call__(self, batch: NDArray[np.float32]) -> Outputs:
        torch = self._torch
        try:
            with torch.inference_mode():
                outputs: Mapping[str, Any] = self._module(torch.from_numpy(np.ascontiguousarray(batch)).to("cuda"))
            return {name: value.float().cpu().numpy() for name, value in outputs.items()}
        except torch.cuda.OutOfMemoryError as error:
            raise OutOfMemory("The GPU ran out of memory. Lower the batch size or free the GPU.") from error


def build_module(spec: registry.BranchSpec) -> Any:
    """Return the untrained torch module of a spec; `spec.build` is "module:function"."""
    module, function = spec.build.split(":")
    return getattr(importlib.import_module(module), function)()


def load_state(module: Any, path: Path) -> None:
    """Load a checkpoint strictly. Raises WeightsInvalid when a key is missing, extra or of another shape."""
    torch = importlib.import_module("torch")
    state = torch.load(path, map_location="cpu", weights_only=True)
    state = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    try:
        module.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise WeightsInvalid(f"The weight file {path} does not fit its layout: {error}") from error
