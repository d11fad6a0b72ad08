"""Media made for the tests: clips in every container with a known picture in every frame, and tones."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

MEDIA = Path(__file__).parents[1] / "media"
ASTRONAUT = MEDIA / "astronaut.jpg"  # NASA, public domain; one frontal face
FACE_BOX = (178, 69, 95, 108)  # of it, x y w h, by FaceMesh


def astronaut() -> NDArray[np.uint8]:
    return np.asarray(Image.open(ASTRONAUT).convert("RGB"))


def grey_of(index: int) -> int:
    """The brightness of frame number `index`: steps that survive compression."""
    return index * 4 % 256


def make_clip(
    path: Path,
    format: str = "mp4",
    video: str | None = "libx264",
    audio: str | None = "aac",
    *,
    frames: int = 50,
    fps: int = 25,
    size: tuple[int, int] = (160, 120),
    rate_hz: int = 48_000,
    options: dict[str, str] | None = None,
    pictures: Any = None,
) -> Path:
    """Write a clip; frame i is grey_of(i) with a red bar at its left, or pictures(i); the sound is a 440 Hz tone."""
    with av.open(str(path), "w", format=format) as made:
        picture: Any = made.add_stream(video, rate=fps) if video else None
        sound: Any = made.add_stream(audio, rate=rate_hz, layout="mono") if audio else None
        if picture is not None:
            picture.width, picture.height = size
            picture.pix_fmt = "yuv420p"
            picture.options = options or {}
            for index in range(frames):
                array = pictures(index) if pictures else _numbered(index, size)
                frame = av.VideoFrame.from_ndarray(array, format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, fps)
                made.mux(picture.encode(frame))
            made.mux(picture.encode(None))
        if sound is not None:
            _encode_tone(made, sound, frames / fps, rate_hz)
    return path


def _numbered(index: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    array = np.full((size[1], size[0], 3), grey_of(index), np.uint8)
    array[:, : size[0] // 4] = (255, 0, 0)
    return array


def _encode_tone(made: Any, stream: Any, seconds: float, rate_hz: int) -> None:
    context = stream.codec_context
    resampler = av.AudioResampler(
        format=context.format.name, layout="mono", rate=rate_hz, frame_size=context.frame_size or 1024
    )
    frame = av.AudioFrame.from_ndarray(tone(seconds, rate_hz)[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts = rate_hz, 0
    for piece in [*resampler.resample(frame), *resampler.resample(None)]:
        made.mux(stream.encode(piece))
    made.mux(stream.encode(None))


def tone(seconds: float, rate_hz: int = 16_000, pitch_hz: float = 440.0) -> NDArray[np.float32]:
    time_s = np.arange(int(seconds * rate_hz)) / rate_hz
    return (0.3 * np.sin(2 * np.pi * pitch_hz * time_s)).astype(np.float32)
