"""Fakes of lips and sound, made from real clips: the sound shifted in time, or another person's sound put under it."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from detection.engine import media
from detection.engine.types import Decoded, Frame

RATE_HZ = 16_000

Floats = NDArray[np.float32]


def shift_sound(clip: Decoded, by_s: float) -> Decoded:
    """Return the clip with its sound by_s later (earlier when negative), cut to where picture and sound overlap.

    Nothing is padded: silence at an end would betray the shift. Times start at 0 again.
    """
    return _together(clip, _audio(clip), by_s)


def swap_sound(clip: Decoded, other: Decoded) -> Decoded:
    """Return the clip with the other clip's sound, cut to the shorter of the two."""
    return _together(clip, _audio(other), 0.0)


def _audio(clip: Decoded) -> Floats:
    if clip.audio is None or not clip.frames:
        raise ValueError("a clip with picture and sound is needed")
    return clip.audio


def _together(clip: Decoded, audio: Floats, by_s: float) -> Decoded:
    step_s = 1 / (clip.info.fps or 25)
    sound_s = len(audio) / RATE_HZ
    start_s = max(0.0, by_s)
    end_s = min(clip.frames[-1].time_s + step_s, sound_s + by_s)
    frames = tuple(f for f in clip.frames if start_s - 1e-6 <= f.time_s < end_s - 1e-6)
    if not frames:
        raise ValueError(f"nothing is left of {sound_s:.2f} s of sound after a shift of {by_s:.2f} s")
    first_s = frames[0].time_s
    cut = audio[max(0, round((first_s - by_s) * RATE_HZ)) : round((end_s - by_s) * RATE_HZ)]
    moved = tuple(Frame(i, f.time_s - first_s, f.image) for i, f in enumerate(frames))
    duration_s = end_s - first_s
    return replace(
        clip, frames=moved, audio=cut, info=replace(clip.info, duration_s=duration_s, frame_count=len(moved))
    )


def write(clip: Decoded, out: Path, *, crf: int = 23, audio_rate: int = 96_000) -> None:
    """Write a clip as H.264 and AAC in MP4. Write genuine clips by the same way, or the coding tells the classes."""
    height, width = (side - side % 2 for side in clip.frames[0].image.shape[:2])
    fps = Fraction(clip.info.fps or 25).limit_denominator(1001)
    with av.open(str(out), "w", format="mp4") as container:
        picture = container.add_stream("libx264", rate=fps, options={"crf": str(crf), "threads": "1"})
        picture.width, picture.height, picture.pix_fmt = width, height, "yuv420p"
        sound = container.add_stream("aac", rate=RATE_HZ, layout="mono")
        sound.bit_rate = audio_rate
        for number, frame in enumerate(clip.frames):
            image = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame.image[:height, :width]), format="rgb24")
            image.pts, image.time_base = number, 1 / fps
            container.mux(picture.encode(image))
        container.mux(picture.encode())
        samples = av.AudioFrame.from_ndarray(_audio(clip)[None], format="fltp", layout="mono")
        samples.sample_rate, samples.pts, samples.time_base = RATE_HZ, 0, Fraction(1, RATE_HZ)
        container.mux(sound.encode(samples))
        container.mux(sound.encode())


def make(path: Path, out: Path, *, shift_s: float = 0.0, sound_of: Path | None = None) -> None:
    """Write a shifted or swapped copy of a clip; with neither, an honest copy coded the same way."""
    every = media.DecodePlan(rate_hz=60, max_windows=1000)
    clip = media.decode(path, plan=every)
    if sound_of is not None:
        clip = swap_sound(clip, media.decode(sound_of, plan=media.DecodePlan(max_windows=1)))
    write(shift_sound(clip, shift_s), out)
