"""Make what a browser can play out of what it cannot, frame for frame; sandbox child only."""

from __future__ import annotations

import os
from fractions import Fraction
from typing import Any

import av
import numpy as np
from PIL import Image

from detection.engine.errors import MediaUnreadable
from detection.engine.recordings import (
    DAMAGED,
    Recording,
    codec_of,
    decoded_frames,
    is_plain_h264,
    open_recording,
    sound_frames,
)
from detection.engine.sink import Sink
from detection.engine.sniffing import CONTAINERS
from detection.engine.stills import load

JPEG_QUALITY = 92
CRF = "21"
SOUND_HZ = 48_000
KEYFRAME_EVERY = 48  # frames: the page jumps to moments


def preload() -> None:
    """Touch the encoders: the child may not open files."""
    for name in ("libx264", "aac"):
        av.CodecContext.create(name, "w")


def render(file: Any, arguments: dict[str, Any], sink: Sink, output: int | None) -> dict[str, Any]:
    """Write the rendition to `output`. Answers its MIME type and, for a video, how many frames it has."""
    assert output is not None
    if CONTAINERS[arguments["container"]][1] is None:
        picture, _, _ = load(file, arguments)
        return _write_jpeg(picture, output, JPEG_QUALITY)
    with open_recording(file, arguments) as recording, os.fdopen(os.dup(output), "wb") as target:
        if recording.video is None:
            _write_sound(recording, target)
            return {"mime": "audio/mp4"}
        if _can_be_copied(recording):
            return {"mime": "video/mp4", "frames": _copy(recording, target)}
        return {"mime": "video/mp4", "frames": _transcode(recording, target, int(arguments["rendition_long_side"]))}


def thumbnail(file: Any, arguments: dict[str, Any], sink: Sink, output: int | None) -> dict[str, Any]:
    """Write a small JPEG of the still, or of a frame near the start of the video, to `output`."""
    assert output is not None
    side = int(arguments["thumbnail_side"])
    if CONTAINERS[arguments["container"]][1] is None:
        picture, _, _ = load(file, arguments | {"still_long_side": max(side, 64) * 2})
    else:
        with open_recording(file, arguments) as recording:
            picture = _representative_frame(recording)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return _write_jpeg(picture, output, 82)


def _write_jpeg(picture: Image.Image, output: int, quality: int) -> dict[str, Any]:
    with os.fdopen(os.dup(output), "wb") as target:
        picture.save(target, "JPEG", quality=quality)
    return {"mime": "image/jpeg"}


def _representative_frame(recording: Recording) -> Image.Image:
    """The first frames are often black: take one a second in, or the last before that."""
    if recording.video is None:
        raise MediaUnreadable("A sound recording has no picture.")
    best = None
    for index, frame in decoded_frames(recording):
        best = frame
        if index >= recording.fps:
            break
    if best is None:
        raise MediaUnreadable("No frame of this video could be decoded.")
    return Image.fromarray(_upright(best))


def _upright(frame: Any) -> Any:
    picture = frame.to_ndarray(format="rgb24")
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture


def _can_be_copied(recording: Recording) -> bool:
    """Packets that browsers decode need a new container only."""
    sound = codec_of(recording.audio) if recording.audio is not None else None
    return is_plain_h264(recording.video) and recording.scan.has_times and sound in (None, "aac", "mp3")


def _copy(recording: Recording, target: Any) -> int:
    """Put the packets into MP4. Decoding times are made anew: Matroska has none."""
    times, order = recording.scan.times, recording.scan.order
    late = max(time - shown for time, shown in zip(times, order, strict=True))
    recording.rewind()
    source = [stream for stream in (recording.video, recording.audio) if stream is not None]
    count = 0
    with av.open(target, "w", format="mp4") as made:
        streams = {stream.index: made.add_stream_from_template(stream) for stream in source}
        try:
            for packet in recording.container.demux(source):
                if packet.size == 0 or packet.is_discard or packet.pts is None:
                    continue
                if packet.stream is recording.video:
                    if count == len(times):
                        break
                    packet.dts = times[count] - late
                    count += 1
                packet.stream = streams[packet.stream.index]
                made.mux(packet)
        except DAMAGED:
            recording.warnings.append("The rendition ends where the file is damaged.")
    return count


def _transcode(recording: Recording, target: Any, long_side: int) -> int:
    """Every frame once, at its own time: frame numbers of the verdict hold in the rendition."""
    times = recording.scan.times
    rate = Fraction(recording.fps).limit_denominator(1001)
    base = recording.video.time_base if recording.scan.has_times else 1 / rate
    count = 0
    with av.open(target, "w", format="mp4") as made:
        stream: Any = made.add_stream("libx264", rate=rate)
        stream.options = {"preset": "veryfast", "crf": CRF, "bf": "0"}
        stream.pix_fmt, stream.gop_size = "yuv420p", KEYFRAME_EVERY
        stream.codec_context.time_base = base
        sound = made.add_stream("aac", rate=SOUND_HZ, layout="stereo") if recording.audio is not None else None
        for index, frame in decoded_frames(recording):
            picture = av.VideoFrame.from_ndarray(_fitted(frame, recording, long_side), format="rgb24")
            if count == 0:
                stream.width, stream.height = picture.width, picture.height
            elif (picture.width, picture.height) != (stream.width, stream.height):
                picture = picture.reformat(stream.width, stream.height)
            picture.pts = times[index] - times[0] if recording.scan.has_times else index
            picture.time_base = base
            made.mux(stream.encode(picture))
            count += 1
        if count == 0:
            raise MediaUnreadable("No frame of this video could be decoded.")
        made.mux(stream.encode(None))
        if sound is not None:
            _encode_sound(recording, made, sound)
    return count


def _fitted(frame: Any, recording: Recording, long_side: int) -> Any:
    """Upright RGB with even sides, square pixels, at most long_side."""
    aspect = recording.video.codec_context.sample_aspect_ratio or Fraction(1)
    width = frame.width * (float(aspect) if Fraction(1, 4) <= aspect <= 4 else 1.0)
    scale = min(1.0, long_side / max(width, frame.height))
    size = [max(2, round(side * scale / 2) * 2) for side in (width, frame.height)]
    picture = frame.to_ndarray(format="rgb24", width=size[0], height=size[1])
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture


def _write_sound(recording: Recording, target: Any) -> None:
    with av.open(target, "w", format="mp4") as made:
        _encode_sound(recording, made, made.add_stream("aac", rate=SOUND_HZ, layout="stereo"))


def _encode_sound(recording: Recording, made: Any, stream: Any) -> None:
    recording.rewind()
    resampler = av.AudioResampler(format="fltp", layout="stereo", rate=SOUND_HZ, frame_size=1024)
    written = 0
    origin_s = recording.origin_s if recording.video is not None else None
    for frame in sound_frames(recording):
        if written == 0 and origin_s is not None and frame.time is not None:
            written = max(0, round((frame.time - origin_s) * SOUND_HZ))
        frame.pts = None
        written = _encode_pieces(made, stream, resampler.resample(frame), written)
    if written:
        _encode_pieces(made, stream, resampler.resample(None), written)
    made.mux(stream.encode(None))


def _encode_pieces(made: Any, stream: Any, pieces: list[Any], at: int) -> int:
    """Encode pieces one after another from sample number `at`; returns where they end."""
    for piece in pieces:
        piece.pts, piece.time_base = at, Fraction(1, SOUND_HZ)
        at += piece.samples
        made.mux(stream.encode(piece))
    return at
