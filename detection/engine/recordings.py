"""Decode video and sound with PyAV: scan every packet, decode only what is looked at; sandbox child only."""

from __future__ import annotations

import contextlib
import importlib
import io
import math
import os
import pkgutil
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

from detection.engine.errors import MediaUnreadable
from detection.engine.sampling import Plan, plan_windows
from detection.engine.sink import Sink
from detection.engine.sniffing import CONTAINERS
from detection.engine.stills import bounded_text, phash

AUDIO_HZ = 16_000
MAX_PACKETS = 600_000
MAX_ERRORS = 300  # damaged packets in a row of decoding before it is given up
MAX_SHIFT_S = 30.0  # sound that starts later than this after the picture is not padded with silence
COUNTED = ("avi", "mpegvideo")
PICTURE_CODECS = ("mjpeg", "png", "bmp", "gif", "webp", "tiff")
REHEARSAL: dict[str, Any] = {
    "max_duration_s": 10.0,
    "max_frame_pixels": 10_000,
    "frame_long_side": 64,
    "frames_bytes": 1 << 20,
    "wants_frames": True,
    "wants_audio": True,
    "plan": {},
}
RESEND = "Send the original file again, or re-encode it as MP4 (H.264 and AAC)."
RESEND_SOUND = "Send the original file again, or save it anew as WAV, MP3 or FLAC."
DAMAGED = (av.error.FFmpegError, EOFError, ValueError)


@dataclass
class Scan:
    """What the packets themselves say; headers are not believed."""

    times: list[int] = field(default_factory=list)  # presentation times of the video frames, sorted, in its time base
    order: list[int] = field(default_factory=list)  # the same in the order of the packets
    keys: list[int] = field(default_factory=list)  # of them, where decoding can start
    has_times: bool = True  # False: the container has no presentation times (AVI), frames are counted instead
    video_bytes: int = 0
    audio_packets: int = 0
    audio_end_s: float = 0.0
    is_damaged: bool = False


@dataclass
class Recording:
    file: Any
    arguments: dict[str, Any]
    container: Any = None
    video: Any = None  # the chosen stream, None when there is none
    audio: Any = None
    scan: Scan = field(default_factory=Scan)
    warnings: list[str] = field(default_factory=list)

    def rewind(self) -> None:
        """Open the file anew: not every container can seek to its start, and decoders begin clean."""
        chosen = [stream.index if stream is not None else None for stream in (self.video, self.audio)]
        if self.container is not None:
            self.container.close()
        self.file.seek(0)
        demuxer = CONTAINERS[self.arguments["container"]][1]
        self.container = av.open(self.file, format=demuxer, metadata_errors="replace", buffer_size=1 << 18)
        self.video, self.audio = (self.container.streams[i] if i is not None else None for i in chosen)
        if self.video is not None:
            self.video.thread_type = "AUTO"  # frames in parallel

    @property
    def origin_s(self) -> float:
        """Time zero of the clip in the container's clock: the first frame, or the first sound without picture."""
        if self.video is not None and self.scan.has_times and self.scan.times:
            return float(self.scan.times[0] * self.video.time_base)
        return 0.0

    @property
    def fps(self) -> float:
        if self.video is None:
            return 0.0
        times = self.scan.times
        if self.scan.has_times and len(times) > 1 and times[-1] > times[0]:
            return float((len(times) - 1) / ((times[-1] - times[0]) * self.video.time_base))
        rate = self.video.average_rate or self.video.guessed_rate
        return float(rate) if rate and 0.1 <= rate <= 1000 else 25.0

    @property
    def duration_s(self) -> float:
        shown_s = len(self.scan.times) / self.fps if self.video is not None and self.scan.times else 0.0
        return max(shown_s, self.scan.audio_end_s - self.origin_s)


def preload() -> None:
    """Load every module of PyAV and decode a small clip: the child may not open files, so nothing may load late."""
    for module in pkgutil.walk_packages(av.__path__, "av."):
        if not module.name.startswith("av.__") and "datasets" not in module.name:
            importlib.import_module(module.name)
    clip = io.BytesIO()
    with av.open(clip, "w", format="matroska") as made:
        stream: Any = made.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        sound = made.add_stream("aac", rate=AUDIO_HZ, layout="mono")
        for number in range(4):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), number, np.uint8), format="rgb24")
            made.mux(stream.encode(frame))
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        silence.sample_rate = AUDIO_HZ
        made.mux(sound.encode(silence))
        made.mux(stream.encode(None))
        made.mux(sound.encode(None))
    with open(os.memfd_create("rehearsal"), "w+b", buffering=0) as memory:
        decode(clip, REHEARSAL | {"container": "matroska"}, Sink(memory.fileno()), None)


def probe(file: Any, arguments: dict[str, Any], sink: Sink, output: int | None) -> dict[str, Any]:
    """Answer the facts of all packets; decodes one frame to be sure that there is a picture."""
    with open_recording(file, arguments) as recording:
        if recording.video is not None:
            _first_frame(recording)
        return {"info": facts(recording), "warnings": recording.warnings}


def decode(file: Any, arguments: dict[str, Any], sink: Sink, output: int | None) -> dict[str, Any]:
    """Answer facts, [index, time_s] of each stored frame, and whether the last array is sound.

    Arrays: one (h, w, 3) uint8 RGB per frame, then (n,) float32 mono 16 kHz when there is sound.
    """
    with open_recording(file, arguments) as recording:
        listed: list[list[float]] = []
        size, middle = None, ""
        if recording.video is not None and arguments["wants_frames"]:
            listed, size, middle = _store_frames(recording, sink)
        # Facts first: after sound is decoded its scan is known better, but the picture's numbers stay.
        samples = _decode_audio(recording) if recording.audio is not None and arguments["wants_audio"] else None
        if samples is not None and samples.size:
            sink.add(samples)
            heard_s = recording.origin_s + samples.size / AUDIO_HZ
            recording.scan.audio_end_s = heard_s if not listed else max(recording.scan.audio_end_s, heard_s)
        elif samples is not None:
            recording.warnings.append("The sound track could not be decoded.")
        if not listed and (samples is None or not samples.size):
            raise MediaUnreadable(f"Nothing in this file could be decoded. {RESEND}")
        info = facts(recording) | ({"width": size[0], "height": size[1]} if size else {})
        has_sound = samples is not None and bool(samples.size)
        info["has_audio"] = has_sound if arguments["wants_audio"] else info["has_audio"]
        return {
            "info": info,
            "frames": listed,
            "has_sound": has_sound,
            "warnings": recording.warnings,
            "phash": middle,
        }


@contextlib.contextmanager
def open_recording(file: Any, arguments: dict[str, Any]) -> Iterator[Recording]:
    """Open with the sniffed demuxer only, choose streams, scan all packets. Raises MediaUnreadable."""
    recording = Recording(file, arguments)
    try:
        recording.rewind()
    except DAMAGED as error:
        raise MediaUnreadable(
            "This file cannot be opened: its header or index is missing or damaged, "
            f"often because an upload was cut off. {_resend(arguments)}"
        ) from error
    try:
        recording.video, recording.audio = _video_of(recording.container), _audio_of(recording.container)
        if recording.video is None and recording.audio is None:
            raise MediaUnreadable(f"This file has neither picture nor sound. {_resend(arguments)}")
        _check_size(recording)
        _scan(recording)
        if recording.video is not None and not recording.scan.times:
            recording.video = None
            recording.warnings.append("The file announces a picture but holds none.")
        if recording.audio is not None and not recording.scan.audio_packets:
            recording.audio = None
        if recording.video is None and recording.audio is None:
            raise MediaUnreadable(f"This file is empty: it holds no frames and no sound. {_resend(arguments)}")
        _check_duration(recording)
        yield recording
    finally:
        recording.container.close()


def _resend(arguments: dict[str, Any]) -> str:
    is_sound = CONTAINERS[arguments["container"]][0].startswith("audio/")
    return RESEND_SOUND if is_sound else RESEND


def _video_of(container: Any) -> Any | None:
    """The moving picture; cover art is none."""
    for stream in container.streams.video:
        is_cover = bool(stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))
        in_sound_file = container.format.name.split(",")[0] in ("mp3", "flac", "wav", "aac")
        lone_picture = stream.codec_context is not None and codec_of(stream) in PICTURE_CODECS
        if stream.codec_context is None or is_cover or in_sound_file:
            continue
        if lone_picture and container.streams.audio and stream.frames in (0, 1) and "ogg" in container.format.name:
            continue
        return stream
    return None


def _audio_of(container: Any) -> Any | None:
    return next((stream for stream in container.streams.audio if stream.codec_context is not None), None)


def _check_size(recording: Recording) -> None:
    if recording.video is None:
        return
    width, height = recording.video.codec_context.width, recording.video.codec_context.height
    if width * height > int(recording.arguments["max_frame_pixels"]):
        raise MediaUnreadable(
            f"This video claims frames of {width} × {height} pixels, more than is analysed. "
            "Scale it down to 4K or less and send it again."
        )


def _scan(recording: Recording) -> None:
    """Read every packet once, undecoded: true length, exact frame times, where seeking may land."""
    scan, streams = recording.scan, [s for s in (recording.video, recording.audio) if s is not None]
    times: list[int] = []
    latest = 0.0
    try:
        for number, packet in enumerate(recording.container.demux(streams)):
            if number > MAX_PACKETS:
                raise MediaUnreadable(f"This recording has an endless number of parts. {RESEND}")
            if packet.size == 0 or packet.is_discard:
                continue
            if packet.stream is recording.audio:
                scan.audio_packets += 1
                if packet.pts is not None and packet.time_base:
                    latest = max(latest, float((packet.pts + (packet.duration or 0)) * packet.time_base))
                continue
            scan.video_bytes += packet.size
            stamp = packet.pts if packet.pts is not None else packet.dts
            scan.has_times &= packet.pts is not None
            times.append(stamp if stamp is not None else len(times))
            if packet.is_keyframe:
                scan.keys.append(times[-1])
    except DAMAGED:
        scan.is_damaged = True
        recording.warnings.append("The file is damaged or cut off; what could be read of it was analysed.")
    scan.order, scan.times = times, sorted(times)
    scan.keys.sort()
    scan.audio_end_s = latest
    scan.has_times &= len(set(times)) == len(times)
    if recording.arguments["container"] in COUNTED and recording.video is not None:
        # These store no presentation times: with reordered frames the packets' times are another's.
        scan.has_times &= not recording.video.codec_context.has_b_frames


def _check_duration(recording: Recording) -> None:
    limit_s = float(recording.arguments["max_duration_s"])
    if recording.duration_s > limit_s + 1:
        raise MediaUnreadable(
            f"This recording lasts {_minutes(recording.duration_s)}; at most {_minutes(limit_s)} are analysed. "
            "Cut out the part in question and send that."
        )
    claimed = recording.container.duration
    if claimed and not recording.scan.is_damaged:
        claimed_s = claimed / av.time_base
        if claimed_s > recording.duration_s * 1.05 + 1 and recording.duration_s > 0:
            recording.warnings.append(
                f"The file is truncated: its header claims {claimed_s:.1f} s, {recording.duration_s:.1f} s are there."
            )


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"


def facts(recording: Recording) -> dict[str, Any]:
    """Return the MediaInfo fields that the stream decides, JSON-ready."""
    video, audio = recording.video, recording.audio
    tags = dict(recording.container.metadata)
    info: dict[str, Any] = {
        "kind": "video" if video is not None else "audio",
        "duration_s": round(recording.duration_s, 3),
        "has_audio": audio is not None,
        "audio_codec": codec_of(audio) if audio is not None else None,
        "sample_rate_hz": int(audio.codec_context.sample_rate) if audio is not None else None,
        "channels": int(audio.codec_context.channels) if audio is not None else None,
        "is_browser_playable": is_playable(recording),
    }
    if video is not None:
        width, height = _shown_size(video)
        info |= {
            "width": width,
            "height": height,
            "fps": round(recording.fps, 3),
            "frame_count": len(recording.scan.times),
            "video_codec": codec_of(video),
        }
        tags |= {f"video {name}": value for name, value in video.metadata.items()}
    if audio is not None:
        tags |= {f"audio {name}": value for name, value in audio.metadata.items()}
    return info | {"metadata": bounded_text(tags)}


def is_playable(recording: Recording) -> bool:
    """Whether every current browser plays the file as it is."""
    container, video, audio = recording.arguments["container"], recording.video, recording.audio
    sound = codec_of(audio) if audio is not None else None
    if video is None:
        by_container = {
            "wav": ("pcm_s16le", "pcm_u8", "pcm_f32le", "pcm_s24le"),
            "mp3": ("mp3",),
            "aac": ("aac",),
            "ogg": ("vorbis", "opus"),
            "flac": ("flac",),
            "mp4": ("aac", "mp3"),
            "webm": ("opus", "vorbis"),
        }
        return sound in by_container.get(container, ())
    if container == "mp4":
        return is_plain_h264(video) and sound in (None, "aac", "mp3")
    return (
        container == "webm"
        and codec_of(video) in ("vp8", "vp9", "av1")
        and sound
        in (
            None,
            "opus",
            "vorbis",
        )
    )


def codec_of(stream: Any) -> str:
    """The codec's own name; decoders go by others ("mp3float", "libdav1d")."""
    return str(stream.codec_context.codec.canonical_name)


def is_plain_h264(video: Any) -> bool:
    return codec_of(video) == "h264" and video.codec_context.pix_fmt in ("yuv420p", "yuvj420p")


def _shown_size(video: Any) -> tuple[int, int]:
    """Width and height on the screen: square pixels; a display rotation is applied once a frame is decoded."""
    context = video.codec_context
    return _squared(context.width, context.height, context.sample_aspect_ratio)


def _squared(width: int, height: int, aspect: Fraction | None) -> tuple[int, int]:
    if aspect and aspect != 1 and Fraction(1, 4) <= aspect <= 4:
        width = round(width * float(aspect))
    return width, height


# --- frames ------------------------------------------------------------------------------------------------------


def _first_frame(recording: Recording) -> Any:
    for _, frame in decoded_frames(recording):
        return frame
    raise MediaUnreadable(f"No frame of this video could be decoded. {RESEND}")


def _store_frames(recording: Recording, sink: Sink) -> tuple[list[list[float]], tuple[int, int] | None, str]:
    """Store the frames of the plan. Returns [index, time_s] of each, the shown size, the middle one's hash."""
    times, base = recording.scan.times, recording.video.time_base
    plan = plan_windows(
        count=len(times),
        fps=recording.fps,
        keys=[bisect_left(times, key) for key in recording.scan.keys],
        can_seek=recording.scan.has_times,
        wish=recording.arguments["plan"],
    )
    listed: list[list[float]] = []
    shown: tuple[int, int] | None = None
    half = min(plan.indices, key=lambda index: abs(index - len(times) // 2))
    middle = ""
    for index, frame in _wanted_frames(recording, plan):
        picture, shown = _upright(frame, recording, len(plan.indices))
        sink.add(picture)
        time_s = float(times[index] * base) - recording.origin_s if recording.scan.has_times else index / recording.fps
        listed.append([index, round(max(time_s, 0.0), 6)])
        if not middle or index == half:
            middle = phash(picture)
    if not listed:
        recording.warnings.append("No frame of the picture could be decoded.")
    return listed, shown, middle


def _wanted_frames(recording: Recording, plan: Plan) -> Iterator[tuple[int, Any]]:
    """Yield (index, frame) of the plan in order, jumping to the keyframe before each run when that saves decoding."""
    if plan.seeks:
        for run in plan.runs:
            start = recording.scan.times[run[0]]
            recording.container.seek(start, stream=recording.video, backward=True)
            yield from _pick(decoded_frames(recording, is_at_start=False), run)
    else:
        yield from _pick(decoded_frames(recording), plan.indices)


def _pick(frames: Iterator[tuple[int, Any]], wanted: list[int]) -> Iterator[tuple[int, Any]]:
    left = set(wanted)
    for index, frame in frames:
        if index in left:
            left.discard(index)
            yield index, frame
        if not left or index >= wanted[-1]:
            return


def decoded_frames(recording: Recording, *, is_at_start: bool = True) -> Iterator[tuple[int, Any]]:
    """Yield (presentation index, frame) in order. The index comes from the frame's time, exact by the scan.

    Containers without times are decoded from the start and counted.
    """
    if is_at_start:
        recording.rewind()
    video, times = recording.video, recording.scan.times
    counted = errors = 0
    for packet in _packets(recording, video):
        try:
            frames = video.codec_context.decode(packet)
        except DAMAGED:
            errors += 1
            if errors > MAX_ERRORS:
                return
            continue
        for frame in frames:
            if frame.width * frame.height > int(recording.arguments["max_frame_pixels"]):
                raise MediaUnreadable(f"This video changes to frames larger than is analysed. {RESEND}")
            index = counted
            counted += 1
            if recording.scan.has_times and frame.pts is not None:
                index = bisect_left(times, frame.pts)
            if index < len(times):
                yield index, frame
    if errors:
        recording.warnings.append(f"{errors} damaged parts of the picture were skipped.")


def _packets(recording: Recording, stream: Any) -> Iterator[Any]:
    """Demux one stream; a damaged container ends it early. The last packet, None, flushes the decoder."""
    try:
        for packet in recording.container.demux(stream):
            if packet.size:
                yield packet
    except DAMAGED:
        recording.scan.is_damaged = True
    yield None


def _upright(frame: Any, recording: Recording, count: int) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Return (h, w, 3) RGB scaled to the budget with the display rotation applied, and its full shown size."""
    full = _squared(frame.width, frame.height, recording.video.codec_context.sample_aspect_ratio)
    long_side = _long_side(full, recording.arguments, count)
    scale = min(1.0, long_side / max(full))
    width, height = max(2, round(full[0] * scale)), max(2, round(full[1] * scale))
    picture = frame.to_ndarray(format="rgb24", width=width, height=height)
    turns = round(frame.rotation / 90) % 4
    if turns:
        picture = np.ascontiguousarray(np.rot90(picture, turns))
    return picture, full if turns % 2 == 0 else (full[1], full[0])


def _long_side(full: tuple[int, int], arguments: dict[str, Any], count: int) -> float:
    """The longest side at which all stored frames together keep within the memory budget."""
    pixels = int(arguments["frames_bytes"]) / 3 / max(count, 1)
    within_budget = math.sqrt(pixels * max(full) / max(min(full), 1))
    return min(float(arguments["frame_long_side"]), max(within_budget, 160.0))


# --- sound -------------------------------------------------------------------------------------------------------


def _decode_audio(recording: Recording) -> NDArray[np.float32]:
    """Return (n,) float32 mono 16 kHz whose first sample belongs to the clip's time zero."""
    recording.rewind()
    resampler = av.AudioResampler(format="fltp", rate=AUDIO_HZ)
    most = int((float(recording.arguments["max_duration_s"]) + 1) * AUDIO_HZ)
    parts: list[NDArray[np.float32]] = []
    total, early = 0, 0
    for frame in sound_frames(recording):
        if not parts and recording.video is not None and frame.time is not None:
            # Sound and picture share time zero, so that lips and voice can be compared.
            late = int((frame.time - recording.origin_s) * AUDIO_HZ)
            parts.append(np.zeros(late if 0 < late < MAX_SHIFT_S * AUDIO_HZ else 0, np.float32))
            early = max(0, -late)
        frame.pts = None  # gaps and jumps in the time stamps are the container's; samples are simply joined
        try:
            pieces = resampler.resample(frame)
        except ValueError:  # the stream changes its rate or channels on the way
            resampler = av.AudioResampler(format="fltp", rate=AUDIO_HZ)
            pieces = resampler.resample(frame)
        for piece in pieces:
            parts.append(_samples(piece))
            total += parts[-1].size
        if total > most:
            break
    if not total:
        return np.zeros(0, np.float32)
    with contextlib.suppress(*DAMAGED):
        parts += [_samples(piece) for piece in resampler.resample(None)]
    return np.nan_to_num(np.concatenate(parts)[early:][:most]).clip(-1, 1)


def _samples(piece: Any) -> NDArray[np.float32]:
    """Mix to mono by the mean: FFmpeg's own mix makes a voice on both channels louder than on one."""
    return np.asarray(piece.to_ndarray(), np.float32).mean(axis=0)


def sound_frames(recording: Recording) -> Iterator[Any]:
    errors = 0
    for packet in _packets(recording, recording.audio):
        try:
            yield from recording.audio.codec_context.decode(packet)
        except DAMAGED:
            errors += 1
            if errors > MAX_ERRORS:
                return
    if errors:
        recording.warnings.append(f"{errors} damaged parts of the sound were skipped.")
