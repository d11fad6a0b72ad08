"""Published checkpoints into nets of ours: one strict adapter per layout, hash-checked, nothing left over."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from detection.training import architectures
from detection.training.architectures import Architecture, efficientnet_b4, pictures

State = dict[str, Tensor]

MOST_NAMED = 5  # keys in an error
LIBRARIES = ("timm", "torchvision")
CONTAINERS = ("state_dict", "model", "model_state_dict", "net")  # keys under which trainers put the weights


class WeightsRejected(ValueError):
    """A file is not what its layout says; the message names what differs."""


@dataclass(frozen=True)
class Layout:
    """How a published file's keys become those of our net.

    translate(state, net) returns the state under our names. `unused` matches the keys that the published net carries
    without using; no other key may be left out.
    """

    architecture: str
    origin: str
    translate: Callable[[State, nn.Module], State]
    unused: str = ""
    settings: tuple[tuple[str, Any], ...] = ()
    size: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


def _as_it_is(state: State, net: nn.Module) -> State:
    return state


def _deepfakebench_xception(state: State, net: nn.Module) -> State:
    """Cadene's Xception below "backbone."; its head is `last_linear`, with an index where dropout precedes it."""
    inner = _below(state, "backbone.")
    renamed = {re.sub(r"^last_linear\.(?:1\.)?", "fc.", key): value for key, value in inner.items()}
    for key, value in renamed.items():
        if key.endswith("pointwise.weight") and value.ndim == 2:  # some copies keep ImageNet's flat matrices
            renamed[key] = value[:, :, None, None]
    return {f"net.{key}": value for key, value in renamed.items()}


def _deepfakebench_b4(state: State, net: nn.Module) -> State:
    assert isinstance(net, efficientnet_b4.EfficientNetB4)
    inner = _below(state, "backbone.")
    flat = {re.sub(r"^last_layer\.", "_fc.", re.sub(r"^efficientnet\.", "", k)): v for k, v in inner.items()}
    return efficientnet_b4.from_efficientnet_pytorch(flat, net)


def _sbi_b4(state: State, net: nn.Module) -> State:
    assert isinstance(net, efficientnet_b4.EfficientNetB4)
    return efficientnet_b4.from_efficientnet_pytorch(_below(state, "net."), net)


def _below(state: State, prefix: str) -> State:
    """Return the keys below a prefix; a key outside of it is kept, so that the strict check names it."""
    return {key.removeprefix(prefix): value for key, value in state.items()}


def _meso(state: State, net: nn.Module) -> State:
    """Keras numbers layers in the order they were made and keeps channels last; ours are made in the same order."""
    places = [name for name, part in net.named_modules() if isinstance(part, nn.Conv2d)]
    norms = [name for name, part in net.named_modules() if isinstance(part, nn.BatchNorm2d)]
    homes = {"conv2d": _keras_order(places), "batch_normalization": norms, "dense": ["hidden", "real"]}
    found: State = {}
    for kind, names in homes.items():
        numbers = sorted({int(m[1]) for key in state if (m := re.match(rf"{kind}_(\d+)/", key))})
        if len(numbers) != len(names):
            raise WeightsRejected(f"The file has {len(numbers)} layers of kind {kind}, this net {len(names)}.")
        for number, name in zip(numbers, names, strict=True):
            prefix = f"{kind}_{number}/"
            found |= _keras_layer(name, {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
    found |= {
        key: value for key, value in state.items() if not re.match(r"(conv2d|batch_normalization|dense)_\d+/", key)
    }
    return found


def _keras_order(places: list[str]) -> list[str]:
    """An inception stage makes narrow, wide, narrow, wide; torch lists the narrow ones first."""

    def key(name: str) -> tuple[int, int, int]:
        parts = name.split(".")
        stage = int(parts[1])
        if len(parts) == 2 or parts[2] == "point":
            return stage, -1, 0
        return stage, int(parts[3]), int(parts[2] == "wide")

    return sorted(places, key=key)


_KERAS = {
    "kernel": "weight", "bias": "bias", "gamma": "weight", "beta": "bias",
    "moving_mean": "running_mean", "moving_variance": "running_var",
}  # fmt: skip


def _keras_layer(name: str, arrays: State) -> State:
    found: State = {}
    for key, value in arrays.items():
        inner = key.split("/")[-1].split(":")[0]
        if inner == "kernel" and value.ndim == 4:
            value = value.permute(3, 2, 0, 1)
        elif inner == "kernel" and name == "hidden":  # flattened as row, column, channel; ours is channel, row, column
            value = value.reshape(8, 8, -1, value.shape[1]).permute(3, 2, 0, 1).flatten(1)
        elif inner == "kernel":
            value = value.T
        found[f"{name}.{_KERAS.get(inner, inner)}"] = value.contiguous()
    if name.startswith("norms."):
        found[f"{name}.num_batches_tracked"] = torch.tensor(0)  # Keras does not count
    return found


def _library(state: State, net: nn.Module) -> State:
    return {f"net.{key}": value for key, value in state.items()}


_AASIST = "clovaai/aasist (MIT), arXiv:2110.01200"
_MESO = "DariusAf/MesoNet (Apache-2.0), arXiv:1809.00888"
_FAS = "minivision-ai/Silent-Face-Anti-Spoofing (Apache-2.0)"
_BENCH = "SCLBD/DeepfakeBench, arXiv:2307.01426"

LAYOUTS: dict[str, Layout] = {
    "aasist": Layout("aasist", _AASIST, _as_it_is),
    "aasist-l": Layout("aasist-l", _AASIST, _as_it_is),
    "meso4": Layout("meso4", _MESO, _meso),
    "mesoinception4": Layout("mesoinception4", _MESO, _meso),
    "minifasnet-v2": Layout("minifasnet-v2", _FAS, _as_it_is),
    "minifasnet-v1se": Layout("minifasnet-v1se", _FAS, _as_it_is),
    "deepfakebench-xception": Layout(
        "classifier",
        _BENCH,
        _deepfakebench_xception,
        unused=r"backbone\.adjust_channel\.",
        settings=(("name", "timm:legacy_xception"), ("classes", 2)),
        size=256,
    ),
    "deepfakebench-efficientnet-b4": Layout(
        "efficientnet_pytorch-b4",
        _BENCH,
        _deepfakebench_b4,
        unused=r"backbone\.adjust_channel\.",
        settings=(("padded_stem", False),),
        size=256,
    ),
    "sbi-efficientnet-b4": Layout(
        "efficientnet_pytorch-b4",
        "mapooon/SelfBlendedImages, arXiv:2204.08376",
        _sbi_b4,
        mean=architectures.ZERO,
        std=architectures.FULL,
    ),
}


def names() -> list[str]:
    return [*LAYOUTS, *(f"{library}:<name>" for library in LIBRARIES)]


def find(name: str) -> Layout:
    """Return a layout. Raises WeightsRejected with the known names when there is none."""
    if name in LAYOUTS:
        return LAYOUTS[name]
    library, _, inner = name.partition(":")
    if library in LIBRARIES and inner:
        return Layout("classifier", f"{library} {inner}", _library, settings=(("name", name),))
    raise WeightsRejected(f"There is no layout called {name!r}. Known: {', '.join(names())}.")


def contract(name: str) -> Architecture:
    """Return what the net of a layout wants as input."""
    layout = find(name)
    known = architectures.get(layout.architecture)
    if name.startswith("timm:"):
        return pictures.timm_contract(known, name.removeprefix("timm:"))
    size, mean, std = layout.size or known.size, layout.mean or known.mean, layout.std or known.std
    return replace(known, size=size, mean=mean, std=std)


def load(layout: str, path: Path, sha256: str | None = None) -> nn.Module:
    """Return the net of a published checkpoint, in eval mode.

    Every key of the file must find its place and every place its key. sha256: the digest the file must have.
    Raises WeightsRejected; never runs code from the file.
    """
    check_digest(path, sha256)
    found = find(layout)
    state = {k: v for k, v in _without_wrapper(read(path)).items() if not re.match(found.unused or "$", k)}
    settings = dict(found.settings)
    if found.architecture == "classifier" and "classes" not in settings:
        settings["classes"] = _classes(state)
    try:
        net = architectures.build(found.architecture, **settings)
    except (RuntimeError, ValueError, KeyError) as error:
        raise WeightsRejected(f"{layout} cannot be built: {error}") from error
    fill(net, found.translate(state, net), layout)
    return net.eval()


def check_digest(path: Path, sha256: str | None) -> str:
    """Return the SHA-256 of a file. Raises WeightsRejected when it is missing or differs from `sha256`."""
    if not path.is_file():
        raise WeightsRejected(f"{path} does not exist.")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 and digest != sha256.lower():
        raise WeightsRejected(f"{path} has SHA-256 {digest}, expected {sha256}.")
    return digest


def read(path: Path) -> State:
    """Return the arrays of a .pth/.pt, .safetensors or Keras .h5 file. Raises WeightsRejected."""
    ending = path.suffix.lower()
    if ending in (".h5", ".hdf5", ".keras"):
        return _read_h5(path)
    if ending == ".safetensors":
        from safetensors.torch import load_file

        return dict(load_file(path))
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle raises many kinds
        raise WeightsRejected(f"{path} cannot be read as plain weights: {str(error).splitlines()[0]}") from error
    for name in CONTAINERS:
        if isinstance(saved, Mapping) and isinstance(saved.get(name), Mapping):
            saved = saved[name]
            break
    if not isinstance(saved, Mapping) or not all(isinstance(value, Tensor) for value in saved.values()):
        raise WeightsRejected(f"{path} holds no plain table of tensors.")
    return {str(key): value for key, value in saved.items()}


def _read_h5(path: Path) -> State:
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise WeightsRejected("Reading .h5 needs h5py: pip install -r requirements-train.txt") from error
    found: State = {}

    def keep(name: str, entry: Any) -> None:
        if isinstance(entry, h5py.Dataset) and not name.startswith("optimizer_weights"):
            found[name.removeprefix("model_weights/")] = torch.from_numpy(entry[()])

    try:
        with h5py.File(path, "r") as file:
            file.visititems(keep)
    except OSError as error:
        raise WeightsRejected(f"{path} is no HDF5 file: {error}") from error
    return found


def _without_wrapper(state: State) -> State:
    """Drop the "module." that training on several GPUs puts before every key."""
    if state and all(key.startswith("module.") for key in state):
        return {key.removeprefix("module."): value for key, value in state.items()}
    return state


def _classes(state: State) -> int:
    """How many classes the head of a library's checkpoint has: the rows of its last matrix with a bias."""
    heads = [v for k, v in state.items() if k.endswith("weight") and v.ndim == 2 and f"{k[:-6]}bias" in state]
    return int(heads[-1].shape[0]) if heads else 0


def fill(net: nn.Module, state: State, layout: str) -> None:
    """Load `state` strictly. Raises WeightsRejected naming the first keys that are missing, left over or misshapen."""
    wanted = net.state_dict()
    problems = {
        "missing": [key for key in wanted if key not in state],
        "not known": [key for key in state if key not in wanted],
        "of another shape": [
            f"{key} {tuple(state[key].shape)} instead of {tuple(wanted[key].shape)}"
            for key in wanted
            if key in state and state[key].shape != wanted[key].shape
        ],
    }
    if any(problems.values()):
        said = [f"{len(keys)} {kind}: {_few(keys)}" for kind, keys in problems.items() if keys]
        raise WeightsRejected(f"This is no {layout} checkpoint: {'; '.join(said)}.")
    if broken := [key for key, value in state.items() if value.is_floating_point() and not value.isfinite().all()]:
        raise WeightsRejected(f"These weights are not finite: {_few(broken)}.")
    net.load_state_dict({key: value.to(wanted[key].dtype) for key, value in state.items()}, strict=True)


def _few(keys: Iterable[str]) -> str:
    listed = list(keys)
    return ", ".join(listed[:MOST_NAMED]) + (", …" if len(listed) > MOST_NAMED else "")


def import_to(
    layout: str, path: Path, folder: Path, *, sha256: str | None = None, licence: str = "not stated"
) -> dict[str, Any]:
    """Write a published checkpoint as weights.pt, model.json (contract, golden outputs), CARD.md; return the facts.

    Raises WeightsRejected, also when the net's outputs are not finite or differ between two runs.
    """
    digest = check_digest(path, sha256)
    net = load(layout, path)
    found, wanted = find(layout), contract(layout)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(net.state_dict(), folder / "weights.pt")
    facts: dict[str, Any] = {
        "layout": layout,
        "architecture": found.architecture,
        "settings": {**dict(found.settings), **_heads(net)},
"input": _input_facts(wanted),
        "origin": found.origin,
        "licence": licence,
        "source_file": path.name,
        "source_sha256": digest,
        "weights_sha256": check_digest(folder / "weights.pt", None),
        "parameters": sum(p.numel() for p in net.parameters()),
        "golden": golden(net, wanted),
    }  # fmt: skip
    (folder / "model.json").write_text(json.dumps(facts, indent=1) + "\n")
    (folder / "CARD.md").write_text(_card(facts))
    return facts


def load_imported(folder: Path) -> nn.Module:
    """Return a net that `import_to` wrote, checked by digest and by its golden outputs. Raises WeightsRejected."""
    facts = json.loads((folder / "model.json").read_text())
    check_digest(folder / "weights.pt", facts["weights_sha256"])
    net = architectures.build(facts["architecture"], **facts["settings"])
    fill(net, read(folder / "weights.pt"), facts["layout"])
    net.eval()
    found = golden(net, contract(facts["layout"]))
    for name, values in facts["golden"].items():
        if not torch.allclose(torch.tensor(found[name]), torch.tensor(values), rtol=1e-3, atol=1e-3):
            raise WeightsRejected(f"{folder.name} does not give the outputs it gave when it was imported: {name}.")
    return net


def golden(net: nn.Module, wanted: Architecture) -> dict[str, list[Any]]:
    """Return what a net says of a fixed input. Raises WeightsRejected when that is not finite or not repeatable."""
    generator = torch.Generator().manual_seed(20261121)
    if wanted.task == "audio":
        batch = 0.1 * torch.randn((2, wanted.size), generator=generator)
    else:
        batch = torch.randn((2, 3, wanted.size, wanted.size), generator=generator)
        if wanted.std == architectures.ONE:  # a net that takes bytes
            batch = (batch * 60 + 128).clamp(0, 255)
    with torch.inference_mode():
        first, second = net(batch), net(batch)
    for name, values in first.items():
        if not values.isfinite().all():
            raise WeightsRejected(f"With these weights the net's {name} is not finite.")
        if not torch.equal(values, second[name]):
            raise WeightsRejected(f"With these weights the net's {name} differs from run to run.")
    return {name: first[name].tolist() for name in ("logit", "scores") if name in first and first[name].numel() <= 64}


def _heads(net: nn.Module) -> dict[str, int]:
    """How many classes a library's net was given, so that it can be built again."""
    if not isinstance(net, pictures.Classifier):
        return {}
    heads = [p for key, p in net.named_parameters() if key.endswith("weight") and p.ndim == 2]
    return {"classes": int(heads[-1].shape[0]) if heads else 0}


def _card(facts: Mapping[str, Any]) -> str:
    return f"""# {facts["layout"]}

Imported, not trained here. {facts["parameters"]:,} parameters.

| | |
|---|---|
| origin | {facts["origin"]} |
| licence, as stated by who imported it | {facts["licence"]} |
| published file | {facts["source_file"]}, SHA-256 {facts["source_sha256"]} |
| weights.pt | SHA-256 {facts["weights_sha256"]} |
| input | {_input_of(facts["input"])} |

## Figures
None yet: measure it on sources that it was not trained on before it is used. What its authors report was measured on
the data set that it was trained on, and published detectors lose most of that elsewhere.

## Trained on
To be filled in: data, their licences, and whether they allow the use that is meant.
"""


def _input_facts(wanted: Architecture) -> dict[str, Any]:
    if wanted.task == "audio":
        return {"task": "audio", "size": wanted.size, "rate_hz": 16_000}
    return {"task": wanted.task, "size": wanted.size, "mean": wanted.mean, "std": wanted.std, "bgr": wanted.is_bgr}


def _input_of(wanted: Mapping[str, Any]) -> str:
    if wanted["task"] == "audio":
        return f"speech, {wanted['size']} samples at 16 kHz"
    order = "BGR" if wanted["bgr"] else "RGB"
    return f"{wanted['size']} px {order}, mean {wanted['mean']}, std {wanted['std']}"
