"""What a video encoder does to a run of frames: H.264 in memory, there and back."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Coding:
    """How a run is encoded; the same for the real and the fake of a pair."""

    crf: int
    scale: float  # of width and height before encoding; 1 = as it is
    preset: str = "veryfast"


def draw_coding(rng: np.random.Generator) -> Coding:
    """Draw a coding between a good upload and a messenger's: crf 20 to 36, at 0.6 to 1 of the size."""
    scale = float(rng.uniform(0.6, 1.0)) if rng.random() < 0.6 else 1.0
    return Coding(int(rng.integers(20, 37)), scale, str(rng.choice(["veryfast", "superfast", "medium"])))


def coded(frames: NDArray[np.uint8], coding: Coding) -> NDArray[np.uint8]:
    """Return the run as a player would show it: (t, h, w, 3) RGB uint8, same size."""
    import av

    count, height, width, _ = frames.shape
    small = (max(16, round(width * coding.scale / 2) * 2), max(16, round(height * coding.scale / 2) * 2))
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = small[0], small[1], "yuv420p"
    encoder.time_base = Fraction(1, 25)
    encoder.options = {"crf": str(coding.crf), "preset": coding.preset, "tune": "zerolatency"}
    encoder.thread_count = 1
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    packets = []
    for number, frame in enumerate(frames):
        given = cv2.resize(frame, small, interpolation=cv2.INTER_AREA) if small != (width, height) else frame
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(given), format="rgb24")
        picture.pts = number
        packets += encoder.encode(picture)
    packets += encoder.encode(None)
    shown = [picture for packet in packets for picture in decoder.decode(packet)] + list(decoder.decode(None))
    if len(shown) != count:
        raise RuntimeError(f"the decoder returned {len(shown)} of {count} frames")
    arrays = [np.asarray(picture.to_ndarray(format="rgb24"), np.uint8) for picture in shown]
    if small != (width, height):
        arrays = [np.asarray(cv2.resize(one, (width, height), interpolation=cv2.INTER_LINEAR)) for one in arrays]
    return np.stack(arrays)
