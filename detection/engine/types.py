"""The words the engine speaks: media, scene, evidence, verdict. Frozen, free of Django and torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["image", "video", "audio"]
Channel = Literal["picture", "voice", "synchrony", "provenance"]
Label = Literal["real", "fake", "inconclusive"]
BranchState = Literal["scored", "skipped", "failed"]

OnStep = Callable[[str, int, int], None]
"""`on_step(name, done, total)`: told after each step; may raise Cancelled or DeadlineExceeded to stop the analysis."""


@dataclass(frozen=True)
class MediaInfo:
    """Facts of the file as the decoder (not the name, not the header's claim) found them."""

    kind: Kind
    container: str  # "jpeg", "png", "webp", "heic", "mp4", "matroska", "wav", "mp3", ...
    mime_type: str
    size_bytes: int
    sha256: str
    width: int | None = None
    height: int | None = None
    duration_s: float | None = None
    fps: float | None = None
    frame_count: int | None = None
    video_codec: str | None = None
    audio_codec: str | None = None
    sample_rate_hz: int | None = None
    channels: int | None = None
    has_audio: bool = False
    is_browser_playable: bool = True
    phash: str | None = None  # 64-bit perceptual hash in hex; of the middle frame for a video, None for audio
    metadata: Mapping[str, str] = field(default_factory=dict)  # EXIF / container tags, text only, bounded


@dataclass(frozen=True, eq=False)
class Frame:
    index: int  # frame number in presentation order in the original
    time_s: float
    image: NDArray[np.uint8]  # (h, w, 3) RGB, upright (EXIF/display rotation applied)


@dataclass(frozen=True, eq=False)
class Decoded:
    """One file, decoded. A still has one frame; a recording without picture has none."""

    info: MediaInfo
    frames: tuple[Frame, ...] = ()
    audio: NDArray[np.float32] | None = None  # (n,) mono 16 kHz in [-1, 1]; None when there is no sound
    warnings: tuple[str, ...] = ()  # e.g. "the file is truncated after 3.2 s"


@dataclass(frozen=True, eq=False)
class Face:
    frame_index: int
    time_s: float
    box: tuple[float, float, float, float]  # x, y, w, h in pixels of the frame
    confidence: float
    landmarks: NDArray[np.float32] | None = None  # (478 or 468, 3) FaceMesh, pixels of the frame; None when not found
    five_points: NDArray[np.float32] | None = None  # (5, 2) eyes, nose, mouth corners
    track: int = 0  # person number within the clip


@dataclass(frozen=True, eq=False)
class Track:
    number: int
    faces: tuple[Face, ...]  # in frame order

    @property
    def span_s(self) -> tuple[float, float]:
        return self.faces[0].time_s, self.faces[-1].time_s


@dataclass(frozen=True)
class Span:
    start_s: float
    end_s: float


@dataclass(frozen=True, eq=False)
class Window:
    """16 consecutive sampled frames of one person (fewer at the end of a clip or in a still)."""

    track: int
    faces: tuple[Face, ...]

    @property
    def span(self) -> Span:
        return Span(self.faces[0].time_s, self.faces[-1].time_s)


@dataclass(frozen=True, eq=False)
class Scene:
    """All that the branches look at."""

    media: Decoded
    path: str | None = None  # the original bytes, for C2PA; None in a stream
    tracks: tuple[Track, ...] = ()
    windows: tuple[Window, ...] = ()
    speech: tuple[Span, ...] = ()

    def frame(self, index: int) -> Frame:
        return self._by_index()[index]

    def _by_index(self) -> dict[int, Frame]:
        cached: dict[int, Frame] | None = self.__dict__.get("_frames")
        if cached is None:
            cached = {f.index: f for f in self.media.frames}
            object.__setattr__(self, "_frames", cached)
        return cached


@dataclass(frozen=True)
class CurvePoint:
    """One score over one stretch of time, of one person or of the sound."""

    start_s: float
    end_s: float
    score: float
    track: int | None = None
    frame_index: int | None = None


@dataclass(frozen=True)
class Piece:
    """A part of a frame that a net judged by itself."""

    frame_index: int
    time_s: float
    box: tuple[float, float, float, float]  # x, y, w, h in pixels of the frame
    score: float


@dataclass(frozen=True, eq=False)
class Heatmap:
    """Where a net looked: cam is (h, w) float32, >= 0, over `box` of the frame (whole frame when None)."""

    frame_index: int
    time_s: float
    cam: NDArray[np.float32]
    box: tuple[float, float, float, float] | None
    score: float
    track: int | None = None
    kind: str = "saliency_map"  # or "frequency_heatmap"


@dataclass(frozen=True, eq=False)
class Evidence:
    """What one branch says. A branch that cannot run says why and has no score; it is never a neutral 0.5."""

    branch: str
    channel: Channel
    state: BranchState
    sentence: str  # plain words for a layperson
    score: float | None = None  # p_fake in [0, 1], calibrated by the branch alone
    logit: float | None = None  # raw, what fusion stacks
    confidence: float | None = None  # [0, 1]: how far the branch trusts its own score
    quality: float | None = None  # [0, 1]: how good its input was
    reason: str | None = None  # code for skipped/failed: "no_face", "no_sound", "too_short", ...
    curve: tuple[CurvePoint, ...] = ()
    heatmaps: tuple[Heatmap, ...] = ()
    pieces: tuple[Piece, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)  # JSON-ready details (blink rate, manifest facts, ...)
    version: str = ""
    sha256: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class ChannelVerdict:
    channel: Channel
    score: float
    label: Label


@dataclass(frozen=True)
class FakeInterval:
    start_s: float
    end_s: float
    channel: Channel
    score: float
    track: int | None = None


@dataclass(frozen=True)
class Stability:
    """Scores of the item after re-encoding; `flips` when the label does not survive."""

    band: tuple[float, float]
    flips: bool
    variants: tuple[tuple[str, float], ...]  # (name such as "jpeg_50", score)
    full: bool = False


@dataclass(frozen=True)
class Artifact:
    """A file written by explain: path relative to the output directory."""

    kind: str  # saliency_map | frequency_heatmap | temporal_attention | waveform | thumbnail | face
    path: str
    caption: str
    frame_index: int | None = None
    time_s: float | None = None
    track: int | None = None
    score: float | None = None
    box: tuple[float, float, float, float] | None = None  # where an overlay lies on the frame, pixels


@dataclass(frozen=True, eq=False)
class Verdict:
    label: Label
    score: float | None  # overall calibrated p_fake; None when nothing could be scored
    interval: tuple[float, float] | None
    rationale: str
    abstain_reason: str | None  # uncertain_band, face_not_checked, cannot_vouch, unstable, ... (docs/api.md)
    channels: tuple[ChannelVerdict, ...]
    evidence: tuple[Evidence, ...]
    weights: Mapping[str, float]  # branch -> share of the overall log-odds, sums to <= 1
    contributions: Mapping[str, float]  # branch -> signed log-odds added
    fake_intervals: tuple[FakeInterval, ...]
    stability: Stability | None
    thresholds: Mapping[str, float]  # {"fake": .., "real": ..}
    model_version: str
    seconds: Mapping[str, float]  # step -> wall seconds


def to_json(value: Any) -> Any:
    """Turn engine values into JSON-ready ones: dataclasses to dicts, arrays to lists, floats rounded to 6 digits."""
    if hasattr(value, "__dataclass_fields__"):
        return to_json({name: getattr(value, name) for name in value.__dataclass_fields__})
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item) for item in value]
    if isinstance(value, np.ndarray):
        return to_json(value.tolist())
    if isinstance(value, np.generic):
        return to_json(value.item())
    if isinstance(value, float):
        return round(value, 6)
    return value
