"""Media to measure with, made on the spot from the samples that ship with the product."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
PORTRAIT = SAMPLES / "portrait-photo.jpg"
SPEECH = SAMPLES / "reading-voice.flac"
FPS = 25
RATE_HZ = 48000

Image = NDArray[np.uint8]


def picture(path: Path, size: tuple[int, int] = (1280, 960)) -> Path:
    """Write a JPEG photo of `size` with the portrait in it."""
    frame = next(moving_portrait(size, seconds=1 / FPS))
    cv2.imwrite(str(path), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 90])
    return path


def sound(path: Path, seconds: float) -> Path:
    """Write a WAV of speech."""
    soundfile.write(path, speech(seconds), RATE_HZ)
    return path


def speech(seconds: float) -> NDArray[np.float32]:
    """Return (n,) speech at RATE_HZ, repeated as often as needed."""
    samples, rate = soundfile.read(SPEECH, dtype="float32", always_2d=True)
    mono = soxr.resample(samples.mean(axis=1), rate, RATE_HZ)
    wanted = round(seconds * RATE_HZ)
    return np.tile(mono, -(-wanted // len(mono)))[:wanted].astype(np.float32)


def moving_portrait(size: tuple[int, int], seconds: float) -> Iterator[Image]:
    """Yield RGB frames of the portrait as it sways, nods and comes nearer, over a moving background. size: (w, h)."""
    width, height = size
    portrait = cv2.cvtColor(np.asarray(cv2.imread(str(PORTRAIT))), cv2.COLOR_BGR2RGB)
    scale = 0.8 * height / portrait.shape[0]
    noise = np.random.default_rng(1).integers(60, 120, (height // 8, width // 4, 3), dtype=np.uint8)
    background = cv2.resize(noise, (2 * width, height), interpolation=cv2.INTER_CUBIC)
    for i in range(round(seconds * FPS)):
        t = i / FPS
        zoom = scale * (1 + 0.08 * math.sin(0.9 * t))
        place = cv2.getRotationMatrix2D((portrait.shape[1] / 2, portrait.shape[0] / 2), 4 * math.sin(1.3 * t), zoom)
        place[0, 2] += width / 2 - portrait.shape[1] / 2 + 0.06 * width * math.sin(0.7 * t)
        place[1, 2] += height / 2 - portrait.shape[0] / 2 + 0.03 * height * math.sin(1.7 * t)
        shift = int((math.sin(0.2 * t) + 1) * width / 2)
        frame = np.ascontiguousarray(background[:, shift : shift + width])
        cv2.warpAffine(portrait, place, size, dst=frame, borderMode=cv2.BORDER_TRANSPARENT)
        yield np.asarray(frame, np.uint8)


def clip(path: Path, size: tuple[int, int] = (1280, 720), seconds: float = 10.0) -> Path:
    """Write an H.264/AAC clip of the moving portrait with speech."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "crf": "23", "g": "50"})
        video.width, video.height = size
        video.pix_fmt = "yuv420p"
        audio = out.add_stream("aac", rate=RATE_HZ, layout="mono")
        for image in moving_portrait(size, seconds):
            out.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(video.encode(None))
        samples = speech(seconds)
        for start in range(0, len(samples), 1024):
            frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, start, Fraction(1, RATE_HZ)
            out.mux(audio.encode(frame))
        out.mux(audio.encode(None))
    return path


def repeated(path: Path, source: Path, times: int) -> Path:
    """Write `source` end to end `times` times without encoding it again."""
    with av.open(str(path), "w") as out, av.open(str(source)) as first:
        targets = {s.index: out.add_stream_from_template(s) for s in first.streams}
        length = Fraction(first.duration or 0, av.time_base)
        last: dict[int, int] = {}
        for n in range(times):
            with av.open(str(source)) as part:
                for packet in part.demux():
                    if packet.dts is None or packet.time_base is None:
                        continue
                    later = round(n * length / packet.time_base)
                    packet.pts, packet.dts = (packet.pts or 0) + later, packet.dts + later
                    index = packet.stream.index
                    if packet.dts <= last.get(index, packet.dts - 1):
                        continue  # the encoder's lead-in of this copy, under the end of the one before
                    last[index] = packet.dts
                    packet.stream = targets[index]
                    out.mux(packet)
    return path
