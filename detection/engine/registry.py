"""Which nets ship: one literal dict. A verdict records version and digest of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from detection.engine.types import Channel

WEIGHTS_DIR = Path(__file__).resolve().parents[2] / "ml_weights"


@dataclass(frozen=True)
class BranchSpec:
    """The contract of one set of weights: preprocessing belongs to the weights, not to the caller."""

    name: str
    channel: Channel
    version: str
    files: dict[str, tuple[tuple[str, str], ...]]  # backend ("openvino", "torch") -> ((path below ml_weights/, sha256 hex), ...)
    input_size: int  # pixels of a square crop, or samples of a sound window
    mean: tuple[float, ...]  # on the 0..255 scale for pictures
    std: tuple[float, ...]
    threshold: float
    licence: str
    source: str  # paper or repository the design comes from
    build: str  # "detection.engine.branches.spatial:build" -> torch.nn.Module
    temperature: float = 1.0  # score = sigmoid(logit / temperature + bias)
    bias: float = 0.0
    fused: bool = True  # False: shown, but with zero weight in the fusion


BRANCHES: dict[str, BranchSpec] = {}

# What the fusion and the face measurements were fitted to: (path below ml_weights/, sha256 hex).
FUSION: tuple[str, str] = ("fusion/fusion.json", "390e2637276574fdc89883cc1ee29505520a37ef174a9fdc5e3712e62be8a60c")
PHYSIOLOGY: tuple[str, str] = ("physiology/physiology.json", "6e0cfe1e9e2d865605280a00f858c17b77af35a2d72a87e1e51359942fb67e0a")
