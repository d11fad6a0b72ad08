"""Media: what a file is, its facts, its frames and sound, a playable rendition; decoding happens in the sandbox."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from detection.engine import sandbox
from detection.engine.errors import DecoderCrashed, MediaUnreadable
from detection.engine.sandbox import Answer, ChildLimits
from detection.engine.sniffing import AUDIO_MIME, CONTAINERS, HEAD_BYTES, SUPPORTED, refusal, sniff
from detection.engine.types import Decoded, Frame, MediaInfo

__all__ = ["SUPPORTED", "DecodePlan", "Limits", "decode", "probe", "render_playable", "sniff", "thumbnail"]


@dataclass(frozen=True)
class Limits:
    """What is accepted and what decoding may cost; past them a file is refused with a sentence."""

    max_image_bytes: int = 20 * 1024 * 1024
    max_recording_bytes: int = 2 * 1024**3
    max_duration_s: float = 600.0
    max_pixels: int = 100_000_000  # of a still
    max_frame_pixels: int = 8192 * 4608  # of a video
    still_long_side: int = 4096  # larger stills are scaled down to this
    frame_long_side: int = 960  # video frames are decoded no larger than this
    frames_bytes: int = 256 * 1024 * 1024  # all frames of one clip together; long clips get smaller frames
    memory_bytes: int = 2 * 1024**3  # address space of the decoding child
    still_s: float = 30.0  # wall seconds for a still; wide, because the machine may be busy
    recording_s: float = 300.0
    rendition_s: float = 3600.0
    cpu_share: float = 1 / 3  # of the wall seconds, as CPU seconds: they end what computes without end


@dataclass(frozen=True)
class DecodePlan:
    """What to take out of a recording. The default spreads runs of 16 frames over the whole clip."""

    frames: bool = True
    audio: bool = True
    max_windows: int | None = None  # None: 6 up to 10 s, 20 from two minutes on
    frames_per_window: int = 16
    rate_hz: float = 11.0  # frames per second within a run, as near as whole frames allow
    starts_s: tuple[float, ...] = ()  # look at these moments instead (closer where something looked suspicious)


@dataclass(frozen=True)
class _Source:
    path: Path
    container: str
    size_bytes: int
    sha256: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_still(self) -> bool:
        return CONTAINERS[self.container][1] is None


def probe(path: Path, *, limits: Limits = Limits(), sha256: str | None = None) -> MediaInfo:
    """Return the facts of a file without analysing it. Raises MediaUnreadable, DecoderCrashed, DeadlineExceeded.

    sha256: when the caller knows it already (hex), it is not computed again.
    """
    source = _examine(path, limits, sha256)
    module = "stills" if source.is_still else "recordings"
    answer = _run(f"detection.engine.{module}:probe", source, limits)
    return _info(source, answer.value)


def decode(
    path: Path, *, limits: Limits = Limits(), plan: DecodePlan = DecodePlan(), sha256: str | None = None
) -> Decoded:
    """Return frames and sound of a file. Raises MediaUnreadable, DecoderCrashed, DeadlineExceeded.

    Frames are upright RGB in presentation order; `Frame.index` is exact wherever the container has time stamps.
    They may be smaller than `info.width` x `info.height`: boxes found on them scale by info.width / frame width.
    """
    source = _examine(path, limits, sha256)
    wish = {
        "max_windows": plan.max_windows,
        "frames_per_window": plan.frames_per_window,
        "rate_hz": plan.rate_hz,
        "starts_s": list(plan.starts_s),
    }
    asked = {"plan": wish, "wants_frames": plan.frames, "wants_audio": plan.audio}
    module = "stills" if source.is_still else "recordings"
    answer = _run(f"detection.engine.{module}:decode", source, limits, asked)
    try:
        listed = answer.value["frames"]
        frames = tuple(
            Frame(int(index), float(time_s), picture)
            for (index, time_s), picture in zip(listed, answer.arrays[: len(listed)], strict=True)
        )
        audio = answer.arrays[len(listed)] if answer.value.get("has_sound") else None
        return Decoded(_info(source, answer.value), frames, audio, tuple(map(str, answer.value["warnings"])))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        # Only a decoder that was taken over answers in another shape.
        raise DecoderCrashed("The decoder gave a garbled answer. Re-encode the file and try again.") from error


def render_playable(path: Path, out_path: Path, info: MediaInfo | None = None, *, limits: Limits = Limits()) -> str:
    """Write what a browser can play to `out_path` and return its MIME type.

    A video becomes H.264 and AAC in MP4 with the same frames at the same times (copied when its packets allow), a
    sound AAC in MP4, a still JPEG. Raises MediaUnreadable, DecoderCrashed, DeadlineExceeded.
    """
    source = _examine(path, limits, info.sha256 if info is not None else None)
    return _render("render", source, out_path, limits, {"rendition_long_side": 1280})


def thumbnail(path: Path, out_path: Path, *, side: int = 320, limits: Limits = Limits()) -> str:
    """Write a JPEG no larger than `side` and return its MIME type. Raises MediaUnreadable for sound."""
    source = _examine(path, limits, sha256="")
    return _render("thumbnail", source, out_path, limits, {"thumbnail_side": side})


def _render(job: str, source: _Source, out_path: Path, limits: Limits, asked: Mapping[str, Any]) -> str:
    with out_path.open("wb") as output:
        answer = _run(f"detection.engine.rendition:{job}", source, limits, asked, output)
    return str(answer.value["mime"])


def _examine(path: Path, limits: Limits, sha256: str | None) -> _Source:
    """Decide the container and refuse what is empty, foreign or too large."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        container = sniff(head)
        if container is None:
            raise MediaUnreadable(refusal(head))
        still = CONTAINERS[container][1] is None
        most = limits.max_image_bytes if still else limits.max_recording_bytes
        if size > most:
            what = "picture" if still else "recording"
            raise MediaUnreadable(
                f"This {what} has {size / 1e6:.0f} MB; at most {most / 1e6:.0f} MB are analysed. "
                "Send a smaller version."
            )
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest() if sha256 is None else sha256
    return _Source(path, container, size, digest)


def _run(
    job: str,
    source: _Source,
    limits: Limits,
    asked: Mapping[str, Any] | None = None,
    output: IO[bytes] | None = None,
) -> Answer:
    arguments = {
        "container": source.container,
        "max_duration_s": limits.max_duration_s,
        "max_pixels": limits.max_pixels,
        "max_frame_pixels": limits.max_frame_pixels,
        "still_long_side": limits.still_long_side,
        "frame_long_side": limits.frame_long_side,
        "frames_bytes": limits.frames_bytes,
        **(asked or {}),
    }
    wall_s = limits.still_s if source.is_still else limits.recording_s
    if output is not None and not source.is_still:
        wall_s = limits.rendition_s
    cpu_s = max(5, math.ceil(wall_s * limits.cpu_share))
    child = ChildLimits(memory_bytes=limits.memory_bytes, cpu_s=cpu_s, wall_s=wall_s)
    return sandbox.run(job, source.path, arguments, limits=child, output=output)


def _info(source: _Source, value: Mapping[str, Any]) -> MediaInfo:
    facts = dict(value["info"])
    mime = CONTAINERS[source.container][0]
    if facts["kind"] == "audio":
        mime = AUDIO_MIME.get(source.container, mime)
    return MediaInfo(
        container=source.container,
        mime_type=mime,
        size_bytes=source.size_bytes,
        sha256=source.sha256,
        phash=value.get("phash") or None,
        **facts,
    )
