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
    files: dict[
        str, tuple[tuple[str, str], ...]
    ]  # backend ("openvino", "torch") -> ((path below ml_weights/, sha256 hex), ...)
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


BRANCHES: dict[str, BranchSpec] = {
    "frequency": BranchSpec(
        name="frequency",
        channel="picture",
        version="2026.11.21",
        files={
            "openvino": (
                ("frequency/frequency.xml", "9467f56eb4122c9a456daed7d90e23c6dccf12e35f1d944067e9e5aec4352f15"),
                ("frequency/frequency.bin", "9508cfe12d784b340bcd0d330e0d64a0db0301383c0dc8fc56bdb7c1f0a31308"),
            ),
            "torch": (("frequency/frequency.pt", "7275a7acd3e6405d0414fd949a6c03bf81c74ffa0f4845be192e9eed91856bc1"),),
        },
        input_size=128,
        mean=(0.0, 0.0, 0.0),
        std=(255.0, 255.0, 255.0),
        threshold=0.5,
        licence="research use: see ml_weights/frequency/CARD.md",
        source="neighbouring pixel relations, arXiv:2312.10461",
        build="detection.engine.branches.frequency:build",
        temperature=1.0,
        bias=0.0,
        fused=False,
    ),
    "synthesis": BranchSpec(
        name="synthesis",
        channel="picture",
        version="2026.11.21",
        files={
            "openvino": (
                ("synthesis/synthesis.xml", "23a8407697b04cab3ad3aef98c1ef1311447eb54a285847d58c89d2e482b1c9f"),
                ("synthesis/synthesis.bin", "cbbb41bbae8e8b793943a775f4cd26c32acb1b3261ee4551d174564a172bad9f"),
            ),
            "torch": (("synthesis/synthesis.pt", "64ff4192fe791f2e00707d2709a1293b71a1be791b70081df10a38da219f43cf"),),
        },
        input_size=192,
        mean=(127.0, 127.0, 127.0),
        std=(128.0, 128.0, 128.0),
        threshold=0.5,
        licence="research use: see ml_weights/synthesis/CARD.md",
        source="EfficientNet-Lite0, arXiv:1905.11946, Apache-2.0",
        build="detection.engine.branches.synthesis:build",
        temperature=0.9572,
        bias=-0.3143,
    ),
}

# What the fusion and the face measurements were fitted to: (path below ml_weights/, sha256 hex).
FUSION: tuple[str, str] = ("fusion/fusion.json", "53892cf16353758ea0c8ac14c6513623bda2b350bfa958f703de1214cede2022")
PHYSIOLOGY: tuple[str, str] = (
    "physiology/physiology.json",
    "6e0cfe1e9e2d865605280a00f858c17b77af35a2d72a87e1e51359942fb67e0a",
)
