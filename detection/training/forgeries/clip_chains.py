"""What happens to clips on their way: codecs at several rates and sizes, frames lost, calls that freeze."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import IO, cast

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from detection.training.forgeries.forged import Image

Frames = NDArray[np.uint8]

CODECS = {"h264": ("libx264", "mp4"), "h265": ("libx265", "mp4"), "vp9": ("libvpx-vp9", "webm")}
AUDIO_CODECS = {"mp4": "aac", "webm": "libopus"}


@dataclass(frozen=True)
class ClipChain:
    """How a clip is saved; the same for the real and the fake of a pair. Drawn with a seed, written into manifests."""

    name: str
    codec: str = "h264"  # of CODECS
    crf: int = 23
    scale: float = 1.0  # of width and height; both are rounded to even numbers
    rate_share: float = 1.0  # of the frame rate: 0.5 keeps every second frame
    dropped: float = 0.0  # share of frames that are lost; the one before is shown again
    freeze: int = 0  # frames that a lost packet freezes, once in the clip
    passes: int = 1  # saved so many times over
    seed: int = 0

    def __str__(self) -> str:
        """Return JSON that `parse` reads back."""
        return json.dumps(asdict(self))


def parse(text: str) -> ClipChain:
    """Return the chain of `str(chain)`."""
    return ClipChain(**json.loads(text))


def draw(rng: np.random.Generator, names: tuple[str, ...] | None = None) -> ClipChain:
    """Draw one chain, each name as likely as the next. names: of CLIP_CHAINS; None means all."""
    unknown = set(names or ()) - set(CLIP_CHAINS)
    if unknown:
        raise ValueError(
            f"there is no clip chain called {', '.join(sorted(unknown))}; there are {', '.join(CLIP_CHAINS)}"
        )
    return CLIP_CHAINS[str(rng.choice(list(names or CLIP_CHAINS)))](rng)


def recode(frames: Frames, rate_hz: float, chain: ClipChain) -> tuple[Frames, float]:
    """Return the frames as a player would show them after the chain, and their rate.

    frames: (t, h, w, 3) RGB uint8. Fewer and smaller frames come back when the chain says so.
    """
    for number in range(max(1, chain.passes)):
        settings = chain if number == 0 else _plain(chain)
        file = io.BytesIO()
        rate_hz = _encode(file, iter(degraded(frames, settings)), rate_hz * settings.rate_share, settings)
        file.seek(0)
        with av.open(file, "r") as container:
            frames = _stacked(container.decode(container.streams.video[0]))
    return frames, rate_hz


def _plain(chain: ClipChain) -> ClipChain:
    """Return the codec of a chain alone: what a clip that was degraded before goes through once more."""
    return ClipChain(chain.name, chain.codec, chain.crf)


def degraded(frames: Frames, chain: ClipChain) -> Frames:
    """Return the frames after size, rate and loss, before the codec."""
    kept = frames[_shown(len(frames), chain)]
    if chain.scale == 1 and not (kept.shape[1] % 2 or kept.shape[2] % 2):
        return kept
    width, height = (max(16, round(side * chain.scale / 2) * 2) for side in (kept.shape[2], kept.shape[1]))
    return np.stack([np.asarray(cv2.resize(one, (width, height), interpolation=cv2.INTER_AREA)) for one in kept])


def _shown(count: int, chain: ClipChain) -> NDArray[np.int64]:
    """Return which frame of the clip is shown at each moment of the result."""
    rng = np.random.default_rng(chain.seed)
    shown = np.unique(np.round(np.arange(0, count, 1 / chain.rate_share)).astype(int).clip(0, count - 1))
    lost = rng.random(len(shown)) < chain.dropped
    lost[0] = False
    if chain.freeze and len(shown) > 2:
        start = int(rng.integers(1, max(2, len(shown) - chain.freeze)))
        lost[start : start + chain.freeze] = True
    latest = np.maximum.accumulate(np.where(lost, 0, np.arange(len(shown))))
    return np.asarray(shown[latest], np.int64)


def save(path: Path, frames: Frames, rate_hz: float, chain: ClipChain, sound_of: Path | None = None) -> None:
    """Write the clip after the chain, with the sound of another file when it has one. The ending follows the codec.

    Raises ValueError when the path's ending is not the codec's container.
    """
    container = CODECS[chain.codec][1]
    if path.suffix != f".{container}":
        raise ValueError(f"{chain.codec} is written to .{container}, not {path.suffix}")
    if chain.passes > 1:
        frames, rate_hz = recode(frames, rate_hz, replace(chain, passes=chain.passes - 1))
        chain = _plain(chain)
    with path.open("wb") as file:
        _encode(file, iter(degraded(frames, chain)), rate_hz * chain.rate_share, chain, sound_of)


def read(path: Path, most: int = 400) -> tuple[Frames, float]:
    """Return up to `most` frames of a trusted clip, (t, h, w, 3) RGB uint8, and their rate."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return _stacked(islice(container.decode(stream), most)), float(stream.average_rate or 25)


def _stacked(pictures: Iterable[av.VideoFrame]) -> Frames:
    return np.stack([np.asarray(picture.to_ndarray(format="rgb24"), np.uint8) for picture in pictures])


def _encode(
    file: IO[bytes], frames: Iterator[Image], rate_hz: float, chain: ClipChain, sound_of: Path | None = None
) -> float:
    """Write the frames to an open file; returns the rate written."""
    encoder, container_name = CODECS[chain.codec]
    rate = Fraction(rate_hz).limit_denominator(1001)
    first = next(frames)
    with av.open(file, "w", format=container_name) as container:
        stream = cast(av.VideoStream, container.add_stream(encoder, rate=rate))
        stream.height, stream.width, stream.pix_fmt = first.shape[0], first.shape[1], "yuv420p"
        stream.thread_count = 1
        stream.options = _options(chain)
        sound = _sound(container, container_name, sound_of) if sound_of is not None else None
        for one in (first, *frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(one), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
        if sound is not None:
            sound()
    return float(rate)


def _options(chain: ClipChain) -> dict[str, object]:
    options: dict[str, object] = {"crf": str(chain.crf)}
    if chain.codec == "vp9":
        return options | {"b": "0", "deadline": "realtime", "cpu-used": "8"}
    if chain.codec == "h265":
        return options | {"preset": "veryfast", "x265-params": "log-level=error:pools=none:frame-threads=1"}
    return options | {"preset": "veryfast"}


def _sound(container: av.container.OutputContainer, container_name: str, path: Path) -> Callable[[], None] | None:
    """Prepare a sound stream; the returned function copies the sound of `path` into it. None for a silent file."""
    source = av.open(str(path))
    if not source.streams.audio:
        source.close()
        return None
    out = cast(av.AudioStream, container.add_stream(AUDIO_CODECS[container_name], rate=48000))

    def copy() -> None:
        resampler = av.AudioResampler(format=out.format, layout=out.layout, rate=48000)
        with source:
            for frame in source.decode(audio=0):
                frame.pts = None
                for part in resampler.resample(frame):
                    container.mux(out.encode(part))
        for part in resampler.resample(None):
            container.mux(out.encode(part))
        container.mux(out.encode(None))

    return copy


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


def _small(rng: np.random.Generator) -> ClipChain:
    return ClipChain("small", "h264", int(rng.integers(23, 33)), scale=float(rng.uniform(0.4, 0.8)))


def _low_rate(rng: np.random.Generator) -> ClipChain:
    return ClipChain("low_rate", "h264", int(rng.integers(20, 31)), rate_share=float(rng.choice([0.4, 0.5, 0.6])))


def _dropped_frames(rng: np.random.Generator) -> ClipChain:
    lost = float(rng.uniform(0.03, 0.2))
    return ClipChain("dropped_frames", "h264", int(rng.integers(20, 31)), dropped=lost, seed=_seed(rng))


def _reshared(rng: np.random.Generator) -> ClipChain:
    return ClipChain("reshared", "h264", int(rng.integers(24, 32)), scale=float(rng.uniform(0.6, 1.0)), passes=2)


def _video_call(rng: np.random.Generator) -> ClipChain:
    return ClipChain(
        "video_call",
        "h264",
        int(rng.integers(32, 41)),
        scale=float(rng.uniform(0.5, 0.9)),
        rate_share=float(rng.choice([0.6, 0.8, 1.0])),
        dropped=float(rng.uniform(0.02, 0.12)),
        freeze=int(rng.integers(3, 12)),
        seed=_seed(rng),
    )


CLIP_CHAINS: Mapping[str, Callable[[np.random.Generator], ClipChain]] = {
    "h264": lambda rng: ClipChain("h264", "h264", int(rng.integers(18, 37))),
    "h265": lambda rng: ClipChain("h265", "h265", int(rng.integers(20, 37))),
    "vp9": lambda rng: ClipChain("vp9", "vp9", int(rng.integers(24, 46))),
    "small": _small,
    "low_rate": _low_rate,
    "dropped_frames": _dropped_frames,
    "reshared": _reshared,
    "video_call": _video_call,
}
