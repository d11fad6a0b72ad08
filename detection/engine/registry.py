"""Which nets ship: one literal dict. A verdict records version and digest of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from detection.engine.types import Channel, Kind

WEIGHTS_DIR = Path(__file__).resolve().parents[2] / "ml_weights"


@dataclass(frozen=True)
class BranchSpec:
    """The contract of one set of weights: preprocessing belongs to the weights, not to the caller."""

    name: str
    channel: Channel
    version: str
    # backend ("openvino", "torch") -> ((path below ml_weights/, sha256 hex), ...)
    files: dict[str, tuple[tuple[str, str], ...]]
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
    fused_in: tuple[Kind, ...] = ("image", "video", "audio")  # kinds of media where it has earned that weight

    def counts_for(self, kind: Kind) -> bool:
        """Whether the branch has a say in the verdict on media of this kind."""
        return self.fused and kind in self.fused_in


BRANCHES: dict[str, BranchSpec] = {
    "audio": BranchSpec(
        name="audio",
        channel="voice",
        version="2026.11.26",
        files={
            "openvino": (
                ("audio/audio.xml", "688d0349f759c6b16dbc016822f64f4a1f4796b15e45a8d1eab6b8ac23b17f42"),
                ("audio/audio.bin", "485cfa1981ac453bc719f87c8861f2005adb6f8bcee46c576b7a68e90963cf6d"),
            ),
            "torch": (("audio/audio.pt", "bf280169d941f3bb6a76908e95093c8d9452134f2745b42300aae16564a53b13"),),
        },
        input_size=32_000,
        mean=(0.0,),
        std=(1.0,),
        threshold=0.5,
        licence="research use: see ml_weights/audio/CARD.md",
        source="Whisper tiny.en and base encoders, arXiv:2212.04356, MIT",
        build="detection.engine.branches.audio:build",
        temperature=1.5657,
        bias=0.0755,
    ),
    "spatial": BranchSpec(
        name="spatial",
        channel="picture",
        version="2026.11.21",
        files={
            "openvino": (
                ("spatial/spatial.xml", "533a0a6fb3a7327dbdfca4086af7f0c77a1451f04e57ed89fb4c475227de0f81"),
                ("spatial/spatial.bin", "88747a030b5c1d18469f85e5017ee360512515b313591e815c58c4eb6c7dc87b"),
            ),
            "torch": (("spatial/spatial.pt", "c911021463fa8aba763cf43bb21ace92bf03e27364ea1d2c3cf42c3f21574377"),),
        },
        input_size=160,
        mean=(127.0, 127.0, 127.0),
        std=(128.0, 128.0, 128.0),
        threshold=0.5,
        licence="research use: see ml_weights/spatial/CARD.md",
        source="self-blended images, arXiv:2204.08376; EfficientNet-Lite0, arXiv:1905.11946",
        build="detection.engine.branches.spatial:build",
        temperature=1.061045,
        bias=1.451851,
        fused_in=("video",),  # docs/decisions/0006-face-checks-in-clips.md
    ),
    "temporal": BranchSpec(
        name="temporal",
        channel="picture",
        version="2026.11.21",
        files={
            "openvino": (
                ("temporal/temporal.xml", "e644a38eb927d07965e985532a30c775d3306f67fde590bf33517dd51a243d84"),
                ("temporal/temporal.bin", "23873bf2efbf1f995052952c6df752797fe0a7c1360c8ecf19b8aef667d7fb5b"),
            ),
            "torch": (("temporal/temporal.pt", "8d78bc11de7faa359eb635f6c07891bb1e49d211d83cd85fd811afe290933aeb"),),
        },
        input_size=16,  # embeddings in a window
        mean=(0.0,),
        std=(1.0,),
        threshold=0.5,
        licence="research use: see ml_weights/temporal/CARD.md",
        source="transformer encoder, arXiv:1706.03762, over spatial embeddings of 16 frames",
        build="detection.engine.branches.temporal:build",
        temperature=2.398175,
        bias=0.139926,
        fused=False,
    ),
    "synthesis": BranchSpec(
        name="synthesis",
        channel="picture",
        version="2026.11.26",
        files={
            "openvino": (
                ("synthesis/synthesis.xml", "f5fcf5932fa67189bfdfe619dc5ef006dd2eb4bb65b7745998cd60487fecc0f0"),
                ("synthesis/synthesis.bin", "2d14b0a3211bac085f107b025d3403027f0eb2d60bdb42983d152315484c14a3"),
            ),
            "torch": (("synthesis/synthesis.pt", "8d2ac9160a295aad09181ba3c05a1370ad8028cf66d25abe72c9ce542eaf3f1d"),),
        },
        input_size=192,
        mean=(127.0, 127.0, 127.0),
        std=(128.0, 128.0, 128.0),
        threshold=0.5,
        licence="research use: see ml_weights/synthesis/CARD.md",
        source="EfficientNet-Lite0, arXiv:1905.11946, Apache-2.0",
        build="detection.engine.branches.synthesis:build",
        temperature=0.3949,
        bias=0.0951,
    ),
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
        temperature=0.9567,
        bias=-0.0692,
        fused=False,
    ),
    "av_sync": BranchSpec(
        name="av_sync",
        channel="synchrony",
        version="2026.11.21",
        files={
            "openvino": (
                ("av_sync/av_sync.xml", "e39a97dce299f838a98ac54160a62e02ebb1e04bd58f4a49dcc7a6104fcfaeff"),
                ("av_sync/av_sync.bin", "5c2bd12eec101b891358f78bab5d946c1ce9fc18ff88b52e8b72e9045871a9c2"),
            ),
            "torch": (("av_sync/av_sync.pt", "d03f0b8331502f04d264bab3dd9f6c87b5c702bff279e802448d32b4060e2791"),),
        },
        input_size=32_000,
        mean=(0.0,),
        std=(1.0,),
        threshold=0.5,
        licence="research use: see ml_weights/av_sync/CARD.md",
        source="lags after Out of time, Chung & Zisserman 2016; Whisper tiny.en encoder, arXiv:2212.04356, MIT",
        build="detection.engine.branches.av_sync:build",
        temperature=1.1298,
        bias=1.2532,
        fused=False,
    ),
}

# What the fusion and the face measurements were fitted to: (path below ml_weights/, sha256 hex).
FUSION: tuple[str, str] = ("fusion/fusion.json", "52fcac65a83712805604e8389116ea201717d87fbb7eda03c20626c5ce6aad64")
PHYSIOLOGY: tuple[str, str] = (
    "physiology/physiology.json",
    "6e0cfe1e9e2d865605280a00f858c17b77af35a2d72a87e1e51359942fb67e0a",
)
