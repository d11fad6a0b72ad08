"""Small scenes built by hand, for tests of what comes after faces and voice."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.engine.types import Decoded, Face, Frame, Kind, MediaInfo, Scene, Span, Track, Window

ASTRONAUT = Path(__file__).resolve().parents[1] / "media" / "astronaut.jpg"
RATE_HZ = 16000


def astronaut() -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(np.asarray(cv2.imread(str(ASTRONAUT))), cv2.COLOR_BGR2RGB), np.uint8)


def info(kind: Kind, width: int = 64, height: int = 64) -> MediaInfo:
    return MediaInfo(kind, "test", f"{kind}/test", 1, "0" * 64, width=width, height=height)


def still(image: NDArray[np.uint8] | None = None, box: tuple[float, float, float, float] | None = None) -> Scene:
    """One picture, with one face when a box is given."""
    image = astronaut() if image is None else image
    frames = (Frame(0, 0.0, image),)
    faces = (Face(0, 0.0, box, 0.9),) if box else ()
    tracks = (Track(0, faces),) if faces else ()
    windows = (Window(0, faces),) if faces else ()
    return Scene(Decoded(info("image", image.shape[1], image.shape[0]), frames), None, tracks, windows)


def clip(count: int = 32, size: int = 64, rate_hz: float = 12.5) -> Scene:
    """A grey clip with one face in the middle, in windows of 16 frames."""
    rng = np.random.default_rng(0)
    frames = tuple(
        Frame(i * 2, i / rate_hz, rng.integers(90, 160, (size, size, 3), dtype=np.uint8)) for i in range(count)
    )
    faces = tuple(Face(f.index, f.time_s, (16.0, 16.0, 32.0, 32.0), 0.9) for f in frames)
    windows = tuple(Window(0, faces[i : i + 16]) for i in range(0, count, 16))
    return Scene(Decoded(info("video", size, size), frames), None, (Track(0, faces),), windows)


def recording(seconds: float = 2.0) -> Scene:
    """A tone that grows louder."""
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    sound = (0.5 * t / seconds * np.sin(2 * np.pi * 440 * t)).astype(np.float32)
    return Scene(Decoded(info("audio"), audio=sound), speech=(Span(0.0, seconds),))


def different_bits(one: str, other: str) -> int:
    """Of two prints of faces, 256 bits in hex each."""
    return (int(one, 16) ^ int(other, 16)).bit_count()
