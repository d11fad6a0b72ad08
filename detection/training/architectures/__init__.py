"""Which nets can be built by name, what they read, and what each expects as input: one literal dict.

A name that is not listed but begins with "timm:" or "torchvision:" is looked up in that library. Every net takes one
float batch and returns named outputs, among them `logit` (n,), the log-odds of a fake.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from torch import nn

Task = Literal["image", "video", "audio"]

HALF = (127.5, 127.5, 127.5)
IMAGENET_MEAN, IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
ZERO, ONE, FULL = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (255.0, 255.0, 255.0)
SPEECH_SAMPLES = 64_600  # 4.04 s at 16 kHz, as AASIST was published

_HERE = "detection.training.architectures"


@dataclass(frozen=True)
class Architecture:
    """A buildable net. size: pixels of a square crop, or samples of a 16 kHz excerpt; frames: of a clip.

    Pictures are (n, 3, size, size) and clips (n, frames, 3, size, size), (RGB 0..255 - mean) / std; speech is
    (n, size) in [-1, 1]. `settings` are what `build` is called with; `size` and `frames` are added where it asks.
    """

    task: Task
    build: str  # "module:function"
    size: int
    frames: int = 1
    mean: tuple[float, ...] = HALF
    std: tuple[float, ...] = HALF
    is_bgr: bool = False
    settings: tuple[tuple[str, Any], ...] = ()
    asks: tuple[str, ...] = ()  # which of "size" and "frames" the builder takes


def _picture(timm_name: str, size: int) -> Architecture:
    return Architecture(
        "image",
        f"{_HERE}.pictures:build",
        size,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        settings=(("name", timm_name),),
        asks=("size",),
    )


def _speech(module: str, function: str = "build", **settings: Any) -> Architecture:
    return Architecture("audio", f"{_HERE}.{module}:{function}", SPEECH_SAMPLES, settings=tuple(settings.items()))


def _meso(function: str) -> Architecture:
    return Architecture("image", f"{_HERE}.mesonet:{function}", 256, mean=ZERO, std=FULL)


def _minifas(function: str) -> Architecture:
    return Architecture("image", f"{_HERE}.minifasnet:{function}", 80, mean=ZERO, std=ONE, is_bgr=True)


def _clip(function: str, size: int, frames: int, asks: tuple[str, ...] = (), **settings: Any) -> Architecture:
    return Architecture(
        "video",
        f"{_HERE}.{function}",
        size,
        frames,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        settings=tuple(settings.items()),
        asks=asks,
    )


ARCHITECTURES: dict[str, Architecture] = {
    "efficientnet-lite0": _picture("tf_efficientnet_lite0", 160),
    "efficientnet-b0": _picture("tf_efficientnet_b0", 224),
    "efficientnet-b3": _picture("tf_efficientnet_b3", 300),
    "efficientnet-b4": _picture("tf_efficientnet_b4", 380),
    "xception": _picture("legacy_xception", 299),
    "vit-tiny": _picture("vit_tiny_patch16_224", 224),
    "vit-small": _picture("vit_small_patch16_224", 224),
    "vit-base": _picture("vit_base_patch16_224", 224),
    "deit-tiny": _picture("deit_tiny_patch16_224", 224),
    "deit-small": _picture("deit_small_patch16_224", 224),
    "resnet18": _picture("resnet18", 224),
    "resnet50": _picture("resnet50", 224),
    "meso4": _meso("build_meso4"),
    "mesoinception4": _meso("build_mesoinception4"),
    "minifasnet-v2": _minifas("build_v2"),
    "minifasnet-v1se": _minifas("build_v1se"),
    "classifier": Architecture(
        "image", f"{_HERE}.pictures:build_classifier", 224, mean=IMAGENET_MEAN, std=IMAGENET_STD
    ),
    "efficientnet_pytorch-b4": Architecture("image", f"{_HERE}.efficientnet_b4:build", 380),
    "r2plus1d-18": _clip("clips:build_torchvision", 112, 16, name="r2plus1d_18"),
    "slowfast": _clip("slowfast:build", 112, 16),
    "timesformer": _clip("timesformer:build", 112, 8, ("size", "frames")),
    "frame-transformer": _clip("clips:build_frame_transformer", 160, 16, ("size",)),
    "aasist": _speech("aasist", "build_aasist"),
    "aasist-l": _speech("aasist", "build_aasist_l"),
    "lcnn": _speech("lcnn"),
    "resnet18-spectrogram": _speech("resnet_spectrogram", depth=18),
    "resnet34-spectrogram": _speech("resnet_spectrogram", depth=34),
    "wav2vec2-base": _speech("speech_transformers", kind="wav2vec2"),
    "hubert-base": _speech("speech_transformers", kind="hubert"),
}


def get(name: str) -> Architecture:
    """Return the contract of a net. Raises KeyError, naming what there is, when there is none."""
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    library, _, inner = name.partition(":")
    if library in ("timm", "torchvision") and inner:
        return _picture(name, 224)
    raise KeyError(f"There is no architecture called {name!r}. Known: {', '.join(sorted(ARCHITECTURES))}; timm:<name>.")


def build(name: str, /, *, size: int | None = None, frames: int | None = None, **settings: Any) -> nn.Module:
    """Return an untrained net; size and frames override the contract's (see `resized`)."""
    architecture = resized(get(name), size, frames)
    asked = {key: getattr(architecture, key) for key in architecture.asks}
    module, function = architecture.build.split(":")
    builder = getattr(importlib.import_module(module), function)
    return cast(nn.Module, builder(**{**dict(architecture.settings), **asked, **settings}))


def resized(architecture: Architecture, size: int | None, frames: int | None) -> Architecture:
    """Return the same contract for another input size."""
    return replace(architecture, size=size or architecture.size, frames=frames or architecture.frames)
