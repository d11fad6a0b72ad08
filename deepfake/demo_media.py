"""Files for a demo week: the shipped samples as they come back from the world, re-encoded, cut, shrunk, sped up.

Every file is made by a real encoder from a real sample, so that the engine has real work; the same seed gives
the same names, and the same cuts, sizes and qualities.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
import soxr
from django.conf import settings
from PIL import Image, ImageOps

SAMPLES_DIR = settings.BASE_DIR / "samples"
# Sample, and what is true of it (samples/README.md).
PICTURES = {"portrait-photo.jpg": "real", "cat-photo.jpg": "real", "blended-face.jpg": "fake"}
VOICES = {"reading-voice.flac": "real", "synthetic-voice.flac": "fake"}
CLIPS = {"blended-clip.mp4": "fake"}
# Of ten files: how a newsdesk's intake is mixed.
MIX = ("picture", "picture", "voice", "picture", "picture", "clip", "picture", "voice", "picture", "picture")


@dataclass(frozen=True)
class Variant:
    """One file to come: its name says what was done to which sample."""

    name: str
    truth: str
    make: Callable[[], bytes]


def variants(count: int, seed: int) -> Iterator[Variant]:
    """`count` different files."""
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        kind = MIX[number % len(MIX)]
        maker = {"picture": _picture, "voice": _voice, "clip": _clip}[kind]
        yield maker(number, rng)


def broken(number: int) -> Variant:
    """A picture that arrived cut off after its header: the engine has to say that it cannot read it."""
    whole = (SAMPLES_DIR / "cat-photo.jpg").read_bytes()
    return Variant(f"week-{number:03d}-cut-off.jpg", "", lambda: whole[:400])


def _pick(rng: np.random.Generator, samples: dict[str, str]) -> tuple[Path, str]:
    name = sorted(samples)[int(rng.integers(len(samples)))]
    return SAMPLES_DIR / name, samples[name]


# Pictures -------------------------------------------------------------------------------------------------------------


def _picture(number: int, rng: np.random.Generator) -> Variant:
    path, truth = _pick(rng, PICTURES)
    scale, quality = float(rng.uniform(0.45, 1.0)), int(rng.integers(45, 96))
    left, top, right, bottom = (float(rng.uniform(0, 0.12)) for _ in range(4))
    mirrored, fmt = bool(rng.random() < 0.2), str(rng.choice(["JPEG", "JPEG", "JPEG", "PNG", "WEBP"]))

    def make() -> bytes:
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        width, height = image.size
        image = image.crop((int(left * width), int(top * height), int((1 - right) * width), int((1 - bottom) * height)))
        image = image.resize((max(96, int(image.width * scale)), max(96, int(image.height * scale))))
        if mirrored:
            image = ImageOps.mirror(image)
        file = io.BytesIO()
        image.save(file, fmt, **({} if fmt == "PNG" else {"quality": quality}))
        return file.getvalue()

    ending = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}[fmt]
    return Variant(f"week-{number:03d}-{path.stem}.{ending}", truth, make)


# Voices ---------------------------------------------------------------------------------------------------------------


def _voice(number: int, rng: np.random.Generator) -> Variant:
    path, truth = _pick(rng, VOICES)
    start, length = float(rng.uniform(0, 0.3)), float(rng.uniform(0.5, 0.7))
    speed, rate_hz = float(rng.choice([0.94, 1.0, 1.0, 1.06])), int(rng.choice([8_000, 16_000, 22_050]))
    fmt = str(rng.choice(["WAV", "FLAC", "MP3"])) if rate_hz != 8_000 else "WAV"

    def make() -> bytes:
        sound, given_hz = soundfile.read(path, dtype="float32", always_2d=False)
        begin = int(start * len(sound))
        sound = sound[begin : begin + max(int(length * len(sound)), 2 * given_hz)]
        sound = soxr.resample(sound, given_hz * speed, rate_hz)
        file = io.BytesIO()
        soundfile.write(file, sound, rate_hz, format=fmt)
        return file.getvalue()

    return Variant(f"week-{number:03d}-{path.stem}.{fmt.lower()}", truth, make)


# Clips ----------------------------------------------------------------------------------------------------------------


def _clip(number: int, rng: np.random.Generator) -> Variant:
    path, truth = _pick(rng, CLIPS)
    crf, scale = int(rng.integers(22, 34)), float(rng.uniform(0.6, 1.0))
    skip_s, keep_s = float(rng.uniform(0, 1.0)), float(rng.uniform(2.5, 4.0))

    def make() -> bytes:
        file = io.BytesIO()
        with av.open(str(path)) as source, av.open(file, "w", format="mp4") as target:
            _recode(source, target, crf, scale, skip_s, skip_s + keep_s)
        return file.getvalue()

    return Variant(f"week-{number:03d}-{path.stem}.mp4", truth, make)


def _recode(source: Any, target: Any, crf: int, scale: float, from_s: float, to_s: float) -> None:
    """Picture and sound between two moments, encoded anew."""
    given = source.streams.video[0]
    shown = target.add_stream("libx264", rate=given.average_rate)
    shown.width, shown.height = (max(64, round(side * scale / 2) * 2) for side in (given.width, given.height))
    shown.pix_fmt, shown.options = "yuv420p", {"crf": str(crf), "threads": "1"}
    heard = None
    if source.streams.audio:
        heard = target.add_stream("aac", rate=source.streams.audio[0].rate)
        heard.layout = "mono"
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=heard.rate) if heard else None
    pictures, samples = 0, 0
    for frame in source.decode(*source.streams.video[:1], *source.streams.audio[:1]):
        if frame.time is None or not from_s <= frame.time < to_s:
            continue
        if isinstance(frame, av.VideoFrame):
            frame = frame.reformat(shown.width, shown.height, "yuv420p")
            frame.pts, frame.time_base = pictures, 1 / given.average_rate
            pictures += 1
            target.mux(shown.encode(frame))
        elif heard is not None and resampler is not None:
            for piece in resampler.resample(frame):
                piece.pts, piece.time_base = samples, 1 / av_rate(heard)
                samples += piece.samples
                target.mux(heard.encode(piece))
    for stream in (shown, heard):
        if stream is not None:
            target.mux(stream.encode(None))


def av_rate(stream: Any) -> Any:
    from fractions import Fraction

    return Fraction(stream.rate)
