"""What ordinary people and services do to genuine media, and how far each thing moves the branches' scores.

Ordinary: beauty filter, screenshot, video call, chains of re-uploads, telephone, voice message. None of it is a fake;
whoever calls it one is wrong. Compression: what every copy goes through, fake or genuine.

A changed copy is examined beside the untouched one, and only the difference of a branch's log-odds is kept. Added to
the held-out score of the item it gives the score that a net would say which does not know the item's source, though
the net that ships does.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from detection.engine import fusion, media, pipeline, stability
from detection.engine.errors import EngineError
from detection.engine.types import Frame, Scene
from detection.training.calibration import Judged

Image = NDArray[np.uint8]
Sound = NDArray[np.float32]
Box = tuple[float, float, float, float]

RATE_HZ = 16_000
CALL_LONG_SIDE = 480
ROOM_SNR_DB = 15.0
UNTOUCHED = "untouched"


@dataclass(frozen=True)
class Change:
    """A way of changing media. `picture` gets the box of the largest face, if there is one."""

    name: str
    is_ordinary: bool
    picture: Callable[[Image, Box | None], Image] | None = None
    sound: Callable[[Sound], Sound] | None = None
    clip: Callable[[Sequence[Image]], list[Image]] | None = None


def beauty_filter(image: Image, face: Box | None) -> Image:
    """Smooth skin, lift the light, redden a little; on the face where one is seen, else everywhere."""
    smooth = cv2.bilateralFilter(image, 9, 40, 7)
    soft = cv2.addWeighted(smooth, 0.8, image, 0.2, 4)
    warm = np.clip(soft.astype(np.float32) * np.array([1.04, 1.0, 0.98], np.float32), 0, 255).astype(np.uint8)
    return stability.save_as_jpeg(_blend(warm, image, _around(image, face, 1.4)), 85)


def video_call(image: Image, face: Box | None) -> Image:
    """A webcam window: small, the background blurred as meeting software does it, hard compressed."""
    scale = min(1.0, CALL_LONG_SIDE / max(image.shape[:2]))
    small = stability.shrink(image, scale)
    near = None if face is None else (face[0] * scale, face[1] * scale, face[2] * scale, face[3] * scale)
    behind = cv2.GaussianBlur(small, (0, 0), max(small.shape) / 60)
    shown = small if near is None else _blend(small, np.asarray(behind, np.uint8), _around(small, near, 2.6))
    return stability.save_as_jpeg(shown, 35)


def messenger(long_side: int, quality: int) -> Callable[[Image, Box | None], Image]:
    """Return what a messenger does to a picture that is sent: smaller, and JPEG with halved colour."""

    def change(image: Image, face: Box | None) -> Image:
        small = stability.shrink(image, min(1.0, long_side / max(image.shape[:2])))
        return save_as_jpeg_420(small, quality)

    return change


def uploaded_again(image: Image, face: Box | None) -> Image:
    """Sent, saved, posted, saved, sent again: three services one after the other."""
    for long_side, quality, scale in ((1600, 75, 0.9), (1080, 70, 0.85), (1280, 72, 1.0)):
        image = stability.shrink(image, min(1.0, long_side / max(image.shape[:2])) * scale)
        image = save_as_jpeg_420(image, quality)
    return image


def save_as_jpeg_420(image: Image, quality: int) -> Image:
    flags = [
        cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
    ]  # fmt: skip
    coded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), flags)[1]
    return np.asarray(np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))[..., ::-1], np.uint8)


def _around(image: Image, face: Box | None, size: float) -> NDArray[np.float32]:
    """Return (h, w, 1) in [0, 1]: 1 within an ellipse of `size` times the face, softly falling; 1 without a face."""
    h, w = image.shape[:2]
    if face is None:
        return np.ones((h, w, 1), np.float32)
    x, y, fw, fh = face
    mask = np.zeros((h, w), np.float32)
    centre, axes = (round(x + fw / 2), round(y + fh / 2)), (round(fw * size / 2), round(fh * size / 2))
    cv2.ellipse(mask, centre, axes, 0, 0, 360, 1.0, -1)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), max(fw, 8) / 8), np.float32)[..., None]


def _blend(top: Image, bottom: Image, mask: NDArray[np.float32]) -> Image:
    return np.asarray((top * mask + bottom * (1 - mask)).round(), np.uint8)


def as_video(crf: int, long_side: int) -> Callable[[Sequence[Image]], list[Image]]:
    """Return what H.264 at a constant rate factor and size leaves of the frames; they come back one for one."""

    def change(images: Sequence[Image]) -> list[Image]:
        scale = min(1.0, long_side / max(images[0].shape[:2]))
        small = [_even(stability.shrink(image, scale)) for image in images]
        buffer = io.BytesIO()
        with av.open(buffer, "w", format="mp4") as out:
            stream = out.add_stream("libx264", rate=12, options={"crf": str(crf), "preset": "veryfast"})
            stream.height, stream.width = small[0].shape[:2]
            stream.pix_fmt = "yuv420p"
            stream.thread_count = 1
            for image in small:
                out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            out.mux(stream.encode(None))
        buffer.seek(0)
        with av.open(buffer, "r") as coded:
            return [np.asarray(frame.to_ndarray(format="rgb24"), np.uint8) for frame in coded.decode(video=0)]

    return change


def _even(image: Image) -> Image:
    return np.ascontiguousarray(image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2])


def voice_message(sound: Sound) -> Sound:
    """Opus at 16 kbit/s, as messengers send speech."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="ogg") as out:
        stream = out.add_stream("libopus", rate=48_000)
        stream.bit_rate = 16_000
        frame = av.AudioFrame.from_ndarray((np.clip(sound, -1, 1) * 32767).astype(np.int16)[None], "s16", "mono")
        frame.sample_rate = RATE_HZ
        resampler = av.AudioResampler("s16", "mono", 48_000, frame_size=stream.codec_context.frame_size or 960)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            out.mux(stream.encode(piece))
        out.mux(stream.encode(None))
    buffer.seek(0)
    with av.open(buffer, "r") as coded:
        back = av.AudioResampler("flt", "mono", RATE_HZ)
        parts = [r.to_ndarray()[0] for f in coded.decode(audio=0) for r in back.resample(f)]
    heard = np.zeros(len(sound), np.float32)
    whole = np.concatenate(parts)[: len(sound)]
    heard[: len(whole)] = whole
    return heard


def noisy_room(sound: Sound) -> Sound:
    """Pink noise 15 dB below the speech, and a short echo."""
    rng = np.random.default_rng(len(sound))
    spectrum = np.fft.rfft(rng.standard_normal(len(sound)))
    noise = np.fft.irfft(spectrum / np.sqrt(np.arange(1, len(spectrum) + 1)), len(sound))
    late = np.zeros_like(sound)
    delay = RATE_HZ // 25
    late[delay:] = 0.25 * sound[:-delay] if len(sound) > delay else 0
    speech = sound + late
    level = np.sqrt(np.mean(speech**2)) / (np.sqrt(np.mean(noise**2)) + 1e-12) * 10 ** (-ROOM_SNR_DB / 20)
    return np.asarray(np.clip(speech + noise * level, -1, 1), np.float32)


def _jpeg(quality: int) -> Callable[[Image, Box | None], Image]:
    return lambda image, face: stability.save_as_jpeg(image, quality)


CHANGES: tuple[Change, ...] = (
    Change("beauty filter", True, picture=beauty_filter),
    Change("screenshot", True, picture=lambda image, face: stability.like_a_screenshot(image)),
    Change("video call", True, picture=video_call, clip=as_video(34, CALL_LONG_SIDE)),
    Change("messenger", True, picture=messenger(1280, 70), clip=as_video(30, 640)),
    Change("uploaded again", True, picture=uploaded_again),
    Change("telephone", True, sound=stability.over_the_telephone),
    Change("voice message", True, sound=voice_message),
    Change("noisy room", True, sound=noisy_room),
    Change("JPEG 75", False, picture=_jpeg(75)),
    Change("JPEG 50", False, picture=_jpeg(50)),
    Change("half size", False, picture=lambda image, face: stability.shrink(image, 0.5)),
    Change("H.264 crf 32", False, clip=as_video(32, 960)),
    Change("MP3 24 kbit/s", False, sound=stability.as_low_bitrate),
)


def changed(scene: Scene, change: Change) -> Scene | None:
    """Return the scene after a change, looked at anew; None where the change does not apply."""
    decoded = scene.media
    if decoded.info.kind == "audio":
        if change.sound is None or decoded.audio is None:
            return None
        return _look(replace(decoded, audio=change.sound(decoded.audio)), scene)
    images = [frame.image for frame in decoded.frames]
    if decoded.info.kind == "video":
        if change.clip is None:
            return None
        made = change.clip(images)
    elif change.picture is None:
        return None
    else:
        made = [change.picture(images[0], largest_face(scene))]
    frames = tuple(Frame(f.index, f.time_s, image) for f, image in zip(decoded.frames, made, strict=True))
    return _look(replace(decoded, frames=frames, audio=None), scene)


def _look(decoded: Any, before: Scene) -> Scene:
    scene = pipeline.build_scene(decoded, Path(before.path or ""), pipeline.Run(pipeline.no_step, None, 0))
    return replace(scene, path=None)


def largest_face(scene: Scene) -> Box | None:
    found = [face.box for track in scene.tracks for face in track.faces]
    return max(found, key=lambda box: box[2] * box[3], default=None)


def shifts_of(
    judged: Judged, changes: Sequence[Change], names: Sequence[str]
) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield (change, branch -> how far its log-odds moved) of one file; first its own. Raises EngineError.

    names: the branches that count. One that fell silent is left out of the difference.
    """
    path = Path(judged.path)
    quiet = pipeline.Run(pipeline.no_step, None, 0)
    scene = pipeline.build_scene(media.decode(path), path, quiet)
    plain = _logits(scene, names, quiet)
    yield UNTOUCHED, plain
    for change in changes:
        after = changed(scene, change)
        if after is not None:
            moved = _logits(after, names, quiet)
            yield change.name, {b: moved[b] - plain[b] for b in plain if b in moved}


def _logits(scene: Scene, names: Sequence[str], run: pipeline.Run) -> dict[str, float]:
    evidence = {name: run.branch(name, scene) for name in names}
    return fusion.logits_of({b: e for b, e in evidence.items() if e.score is not None})


def moved(judged: Judged, shifts: Mapping[str, float]) -> Judged:
    """Return the row as a changed copy would be judged: held-out log-odds plus the shifts."""
    return replace(judged, logits={b: x + shifts.get(b, 0.0) for b, x in judged.logits.items()})


def measure(judged: Sequence[Judged], names: Sequence[str], on_step: Callable[[], None]) -> list[dict[str, Any]]:
    """Return a record per file and change: {"key", "change", "shifts"}. Fakes go through compression only.

    The record of the change "untouched" holds the log-odds of the net that ships, which may know the file's source.
    """
    records = []
    for j in judged:
        wanted = [change for change in CHANGES if not (change.is_ordinary and j.label)]
        branches = [b for b in names if b in j.logits]
        try:
            for name, numbers in shifts_of(j, wanted, branches):
                rounded = {b: round(v, 3) for b, v in numbers.items()}
                records.append({"key": j.key, "change": name, "shifts": rounded})
        except EngineError:
            continue
        finally:
            on_step()
    return records
