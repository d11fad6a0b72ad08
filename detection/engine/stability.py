"""Does the verdict survive delivery? The item is saved again in several ways and looked at once more.

Only the change counts: a variant's log-odds minus those of the same excerpt untouched, added to the full result. So a
long clip is tested on its most telling 16 frames, a recording on its most telling seconds.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import av
import cv2
import numpy as np
import soxr
from numpy.typing import NDArray

from detection.engine.fusion import Stack, Thresholds, logit, noisy_or, opinions_of, sigmoid
from detection.engine.types import Evidence, Face, Frame, Kind, Scene, Span, Stability, Track, Verdict, Window

Image = NDArray[np.uint8]
Sound = NDArray[np.float32]
Examine = Callable[[str, Scene], Evidence]

RATE_HZ = 16000
EXCERPT_S = 8.0
EXCERPT_FRAMES = 16
FULL_BRANCHES = ("spatial", "temporal", "frequency", "synthesis", "audio")


@dataclass(frozen=True)
class PictureVariant:
    """A way a picture is delivered; pixel (x, y) goes to scale * (x, y) - shift * (w, h)."""

    name: str
    change: Callable[[Image], Image]
    scale: float = 1.0
    shift: float = 0.0  # share of width and height cut off on the left and top


@dataclass(frozen=True)
class SoundVariant:
    name: str
    change: Callable[[Sound], Sound]


def save_as_jpeg(image: Image, quality: int) -> Image:
    coded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.cvtColor(np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)), cv2.COLOR_BGR2RGB), np.uint8)


def shrink(image: Image, scale: float) -> Image:
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def cut_edges(image: Image, share: float) -> Image:
    h, w = image.shape[:2]
    dy, dx = round(h * share), round(w * share)
    return np.ascontiguousarray(image[dy : max(dy + 1, h - dy), dx : max(dx + 1, w - dx)])


def like_a_screenshot(image: Image) -> Image:
    """Shown on a screen at 75 %, slightly other gamma and sharpness, grabbed and saved by a messenger."""
    small = shrink(image, 0.75).astype(np.float32) / 255
    toned = np.clip(small, 0, 1) ** 0.92
    sharp = np.clip(toned + 0.3 * (toned - cv2.GaussianBlur(toned, (0, 0), 1.0)), 0, 1)
    return save_as_jpeg((sharp * 255).round().astype(np.uint8), 75)


def over_the_telephone(sound: Sound) -> Sound:
    """8 kHz, G.711 mu-law, back to 16 kHz."""
    narrow = np.clip(soxr.resample(sound, RATE_HZ, 8000), -1, 1)
    coded = np.round(np.sign(narrow) * np.log1p(255 * np.abs(narrow)) / np.log(256) * 127) / 127
    plain = np.sign(coded) * np.expm1(np.abs(coded) * np.log(256)) / 255
    return _fit(soxr.resample(plain.astype(np.float32), 8000, RATE_HZ), len(sound))


def as_low_bitrate(sound: Sound) -> Sound:
    """MP3 at 24 kbit/s and back."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp3") as out:
        stream = out.add_stream("libmp3lame", rate=RATE_HZ)
        stream.bit_rate = 24000
        frame = av.AudioFrame.from_ndarray((np.clip(sound, -1, 1) * 32767).astype(np.int16)[None], "s16", "mono")
        frame.sample_rate = RATE_HZ
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            out.mux(packet)
    buffer.seek(0)
    with av.open(buffer, "r") as coded:
        resampler = av.AudioResampler("flt", "mono", RATE_HZ)
        parts = [r.to_ndarray()[0] for f in coded.decode(audio=0) for r in resampler.resample(f)]
    return _fit(np.concatenate(parts).astype(np.float32), len(sound))


def _fit(sound: Sound, length: int) -> Sound:
    return np.pad(sound[:length], (0, max(0, length - len(sound)))).astype(np.float32)


PICTURE_VARIANTS = (
    PictureVariant("jpeg_50", lambda image: save_as_jpeg(image, 50)),
    PictureVariant("half_size", lambda image: shrink(image, 0.5), scale=0.5),
    PictureVariant("jpeg_30", lambda image: save_as_jpeg(image, 30)),
    PictureVariant("crop", lambda image: cut_edges(image, 0.04), shift=0.04),
    PictureVariant("screenshot", like_a_screenshot, scale=0.75),
)
SOUND_VARIANTS = (SoundVariant("telephone", over_the_telephone), SoundVariant("low_bitrate", as_low_bitrate))
CHEAP = ("jpeg_50", "half_size", "telephone")


def check(
    scene: Scene, verdict: Verdict, *, stack: Stack, thresholds: Thresholds, examine: Examine, full: bool = False
) -> Stability | None:
    """Return the band of scores under re-encoding; None when no counting branch can be run again.

    Cheap: two variants of the branch that carries the verdict. Full: every variant, every counting branch.
    """
    kind = scene.media.info.kind
    names = _counting(verdict)[: None if full else 1]
    if verdict.score is None or not names:
        return None
    voices = [n for n in names if _channel(verdict, n) == "voice"]
    pictures = [n for n in names if n not in voices]
    variants: list[tuple[str, float]] = []
    if pictures:
        part = picture_excerpt(scene, verdict)
        plain = _look(pictures, part, examine)
        for change in (v for v in PICTURE_VARIANTS if full or v.name in CHEAP):
            shifted = _shift(verdict.evidence, plain, _look(pictures, _changed_picture(part, change), examine))
            variants.append((change.name, _score(kind, shifted, stack)))
    if voices:
        part = sound_excerpt(scene, verdict)
        plain = _look(voices, part, examine)
        for sound_change in (v for v in SOUND_VARIANTS if full or v.name in CHEAP):
            shifted = _shift(verdict.evidence, plain, _look(voices, _changed_sound(part, sound_change), examine))
            variants.append((sound_change.name, _score(kind, shifted, stack)))
    scores = [s for _, s in variants] + [verdict.score]
    return Stability((min(scores), max(scores)), flips(verdict.score, scores, thresholds), tuple(variants), full)


def flips(score: float, others: Sequence[float], thresholds: Thresholds) -> bool:
    """Whether a decided label turns into its opposite; drifting into the uncertain band is no flip."""
    label = thresholds.label(score)
    opposite = {"fake": "real", "real": "fake"}.get(label)
    return any(thresholds.label(s) == opposite for s in others)


def _counting(verdict: Verdict) -> list[str]:
    """Return the branches that carry weight and can be run on an excerpt, the most influential first."""
    names = [b for b in verdict.contributions if b in FULL_BRANCHES]  # one may count and, one-sided, add nothing
    return sorted(names, key=lambda b: -abs(verdict.contributions[b]))


def _channel(verdict: Verdict, name: str) -> str:
    return next(e.channel for e in verdict.evidence if e.branch == name)


def _look(names: Sequence[str], scene: Scene, examine: Examine) -> dict[str, float]:
    """Return branch -> log-odds on a scene, of the branches that can score it."""
    evidence = [examine(n, scene) for n in names]
    return {e.branch: logit(e.score) for e in evidence if e.score is not None}


def _shift(evidence: Sequence[Evidence], plain: Mapping[str, float], changed: Mapping[str, float]) -> list[Evidence]:
    moves = {b: changed[b] - plain[b] for b in plain if b in changed}
    return [
        replace(e, score=sigmoid(logit(e.score) + moves[e.branch])) if e.score is not None and e.branch in moves else e
        for e in evidence
    ]


def _score(kind: Kind, evidence: Sequence[Evidence], stack: Stack) -> float:
    opinions = opinions_of(kind, evidence, stack)
    return float(noisy_or(opinions, np.array([[o.logit for o in opinions]]))[0])


def picture_excerpt(scene: Scene, verdict: Verdict) -> Scene:
    """Return the scene cut down to its most telling window, or to EXCERPT_FRAMES frames where no face is seen.

    A still is looked at as a frame of a clip is, in fewer pieces: only the change counts, and time does.
    """
    if scene.media.info.kind == "image":
        return replace(scene, media=replace(scene.media, info=replace(scene.media.info, kind="video")))
    if len(scene.media.frames) <= EXCERPT_FRAMES:
        return scene
    window = _telling_window(scene, verdict)
    if window is None:
        step = len(scene.media.frames) / EXCERPT_FRAMES
        frames = tuple(scene.media.frames[int(i * step)] for i in range(EXCERPT_FRAMES))
        return replace(scene, media=replace(scene.media, frames=frames), tracks=(), windows=())
    wanted = {f.frame_index for f in window.faces}
    frames = tuple(f for f in scene.media.frames if f.index in wanted)
    return Scene(
        replace(scene.media, frames=frames),
        scene.path,
        (Track(window.track, window.faces),),
        (window,),
        scene.speech,
    )


def _telling_window(scene: Scene, verdict: Verdict) -> Window | None:
    points = [p for e in verdict.evidence if e.channel == "picture" for p in e.curve if p.track is not None]

    def suspicion(window: Window) -> float:
        near = [p.score for p in points if p.track == window.track and _overlaps(p.start_s, p.end_s, window.span)]
        return sum(near) / len(near) if near else 0.0

    return max(scene.windows, key=lambda w: (len(w.faces), suspicion(w)), default=None)


def _overlaps(start_s: float, end_s: float, span: Span) -> bool:
    return start_s <= span.end_s and end_s >= span.start_s


def sound_excerpt(scene: Scene, verdict: Verdict) -> Scene:
    """Return the scene with at most EXCERPT_S of sound, around the most suspicious speech."""
    sound = scene.media.audio
    if sound is None or len(sound) <= EXCERPT_S * RATE_HZ:
        return scene
    points = [p for e in verdict.evidence if e.channel == "voice" for p in e.curve]
    top = max(points, key=lambda p: p.score, default=None)
    middle = (top.start_s + top.end_s) / 2 if top else EXCERPT_S / 2
    start = min(max(0.0, middle - EXCERPT_S / 2), len(sound) / RATE_HZ - EXCERPT_S)
    cut = sound[int(start * RATE_HZ) : int((start + EXCERPT_S) * RATE_HZ)]
    speech = tuple(
        Span(max(0.0, s.start_s - start), min(EXCERPT_S, s.end_s - start))
        for s in scene.speech
        if s.end_s > start and s.start_s < start + EXCERPT_S
    )
    return replace(scene, media=replace(scene.media, audio=cut), speech=speech)


def _changed_sound(scene: Scene, variant: SoundVariant) -> Scene:
    if scene.media.audio is None:
        return scene
    return replace(scene, media=replace(scene.media, audio=variant.change(scene.media.audio)))


def _changed_picture(scene: Scene, variant: PictureVariant) -> Scene:
    frames = tuple(Frame(f.index, f.time_s, variant.change(f.image)) for f in scene.media.frames)
    sizes = {f.index: f.image.shape for f in scene.media.frames}

    def moved(face: Face) -> Face:
        h, w = sizes[face.frame_index][:2]
        return move_face(face, variant.scale, round(w * variant.shift), round(h * variant.shift))

    tracks = tuple(Track(t.number, tuple(moved(f) for f in t.faces)) for t in scene.tracks)
    windows = tuple(Window(w.track, tuple(moved(f) for f in w.faces)) for w in scene.windows)
    return Scene(replace(scene.media, frames=frames), scene.path, tracks, windows, scene.speech)


def move_face(face: Face, scale: float, dx: float, dy: float) -> Face:
    """Return the face where it lies after its picture was scaled and then cut by (dx, dy) pixels."""
    x, y, w, h = face.box
    landmarks, points = face.landmarks, face.five_points
    if landmarks is not None:
        landmarks = (landmarks * scale - [dx, dy, 0]).astype(np.float32)
    if points is not None:
        points = (points * scale - [dx, dy]).astype(np.float32)
    box = (x * scale - dx, y * scale - dy, w * scale, h * scale)
    return replace(face, box=box, landmarks=landmarks, five_points=points)
