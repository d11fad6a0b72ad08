"""Lips and sound: do the lips move as the speech asks them to, and how far is one ahead of the other?

What comes out is an offset in milliseconds, how sure it is, and the moments at which lips and sound part. A dubbed
film and a late sound track are out of step without being fake, and a lip-sync fake is in step by its making.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.engine.registry import BranchSpec
from detection.engine.runtime import Net
from detection.engine.types import CurvePoint, Evidence, Face, Scene, Span, Track

Floats = NDArray[np.float32]
Times = NDArray[np.float64]

RATE_HZ = 16_000
STEP_S = 0.04  # lips and lags run at 25 steps a second
LIP_STEPS = 25  # one second of lips ...
SOUND_S = 2.0  # ... is held against two seconds of sound
LAGS = 25
IN_STEP = LAGS // 2  # the lag at which sound belongs to the very moment of the lips
REACH = 10  # lags to either side that are judged: the outermost hear sound cut off at the edge
NEAR = 3  # lags, so up to 120 ms: within what recording chains and viewers take for "in step"
HOP_S = 0.5
MAX_WINDOWS = 24
MIN_SPOKEN_S = 0.4  # of a window
MIN_RUN_S = 1.0
MAX_GAP_S = 0.25  # between two sampled faces: lips are interpolated across it
IN_STEP_MS = 80  # what is measured this near to zero is not told from it
MIN_FACE_PX = 40.0
MIN_MOUTH_MOVES = 0.004  # of the eye distance, as spread of the lips' opening: below, the mouth rests
MAX_CONFIDENCE = 0.9  # so many of the confident offsets lay within 120 ms on sources left out (CARD.md)
RIVAL_AREA = 0.35  # of the largest face: a smaller one is somebody in the background

# FaceMesh pairs whose distance speech changes: opening of the lips within and without, their width, how full each lip
# is, how far lips and jaw hang below the nose.
DISTANCES = (
    (13, 14), (82, 87), (312, 317), (81, 178), (311, 402), (0, 17), (61, 291), (78, 308), (0, 13), (14, 17), (2, 0),
    (2, 152), (17, 152), (1, 61), (1, 291),
)  # fmt: skip
OPENINGS = 5  # of these, the first
SPREAD = 0.02  # of a distance while someone talks, in eye distances
LOOK_PX = 12  # side of the mouth picture: open or shut, teeth, round or wide
FEATURES = len(DISTANCES) + LOOK_PX * LOOK_PX
MOUTH_POINTS = (61, 291, 0, 17)
TREND_STEPS = 25  # one second: slower changes are the head's


def build() -> Any:
    """Return the untrained net that the shipped weights fit."""
    from detection.engine.branches.av_sync_net import SyncNet

    return SyncNet()


def examine(scene: Scene, net: Net | None) -> Evidence:
    """Compare the talker's lips with the speech, a second at a time, at every lag."""
    if net is None:
        raise ValueError("the av_sync branch needs its net")
    audio = scene.media.audio
    if scene.media.info.kind != "video":
        return _skipped("not_a_video", "Lips and sound can only be compared in a clip.")
    if audio is None or not len(audio):
        return _skipped("no_sound", "There is no sound to compare the lips with.")
    if not scene.speech:
        return _skipped("no_speech", "Nobody speaks in this clip, so there is nothing to compare the lips with.")
    talkers = talking(scene.tracks)
    if not talkers:
        return _skipped("no_mouth", "No mouth is seen large and long enough to compare it with the sound.")
    if len(talkers) > 1:
        return _skipped("several_faces", "Several mouths move, so it is not clear whose speech is heard.")
    windows = list(lip_windows(scene, talkers[0]))
    if not windows:
        return _skipped("too_short", "Lips and speech are not seen and heard together for a second on end.")
    rows = np.stack([row_of(audio, window) for window in windows])
    return _evidence(net.spec, windows, net(rows)["logit"], talkers[0].number)


@dataclass(frozen=True, eq=False)
class LipWindow:
    start_s: float
    lips: Floats  # (25, FEATURES)

    @property
    def end_s(self) -> float:
        return self.start_s + LIP_STEPS * STEP_S


def talking(tracks: Sequence[Track]) -> list[Track]:
    """Return the people whose mouth can be read and moves, save those far behind the largest."""
    seen = [Track(t.number, tuple(f for f in t.faces if f.landmarks is not None)) for t in tracks]
    seen = [t for t in seen if len(t.faces) >= 8 and _width(t) >= MIN_FACE_PX]
    largest = max((_width(t) ** 2 for t in seen), default=0.0)
    near = [t for t in seen if _width(t) ** 2 >= RIVAL_AREA * largest]
    moving = [t for t in near if _opening_spread(t) >= MIN_MOUTH_MOVES]
    together = [t for t in moving if _overlaps(t, moving[0])]
    return together[:1] if len(together) < 2 else _clearly_more_lively(together)


def _width(track: Track) -> float:
    return float(np.median([f.box[2] for f in track.faces]))


def _opening_spread(track: Track) -> float:
    """How much the lips open and close, in eye distances."""
    distances = lip_distances(np.stack([np.asarray(f.landmarks) for f in track.faces]))
    return float(np.std(distances[:, :OPENINGS].mean(axis=1)))


def _overlaps(a: Track, b: Track) -> bool:
    return min(a.span_s[1], b.span_s[1]) - max(a.span_s[0], b.span_s[0]) > MIN_RUN_S


def _clearly_more_lively(tracks: Sequence[Track]) -> list[Track]:
    """Return the one person whose mouth moves more than twice as much as any other's, or all of them."""
    ordered = sorted(tracks, key=_opening_spread, reverse=True)
    return ordered[:1] if _opening_spread(ordered[0]) > 2 * _opening_spread(ordered[1]) else ordered


def lip_windows(scene: Scene, track: Track) -> Iterator[LipWindow]:
    """Yield seconds of lips in which somebody speaks, HOP_S apart, at most MAX_WINDOWS spread over the clip."""
    found = []
    for run in _runs(track.faces):
        times = np.array([f.time_s for f in run])
        looks = np.stack([look(scene.frame(f.frame_index).image, np.asarray(f.landmarks)) for f in run])
        first_s, features = lip_features(times, np.stack([np.asarray(f.landmarks) for f in run]), looks)
        spare = len(features) - LIP_STEPS
        count = 1 + math.ceil(spare * STEP_S / HOP_S)
        for start in np.linspace(0, spare, count).round().astype(int) if spare > 0 else [0]:
            window = LipWindow(first_s + int(start) * STEP_S, features[start : start + LIP_STEPS])
            if spoken_s(scene.speech, window.start_s, window.end_s) >= MIN_SPOKEN_S:
                found.append(window)
    keep = np.linspace(0, len(found) - 1, min(len(found), MAX_WINDOWS)).round().astype(int)
    yield from (found[i] for i in keep)


def _runs(faces: Sequence[Face]) -> Iterator[tuple[Face, ...]]:
    """Split where time makes a leap; runs shorter than a second are left out."""
    edges = [i for i in range(1, len(faces)) if faces[i].time_s - faces[i - 1].time_s > MAX_GAP_S]
    for start, stop in zip([0, *edges], [*edges, len(faces)], strict=True):
        if faces[stop - 1].time_s - faces[start].time_s >= MIN_RUN_S:
            yield tuple(faces[start:stop])


def spoken_s(speech: Sequence[Span], start_s: float, end_s: float) -> float:
    return sum(max(0.0, min(s.end_s, end_s) - max(s.start_s, start_s)) for s in speech)


def lip_features(times: Times, landmarks: Floats, looks: Floats) -> tuple[float, Floats]:
    """Return (time of the first step, (steps, FEATURES)) of one unbroken run: what the mouth does, 25 times a second.

    times: (t,) seconds, at 8 a second or more. landmarks: (t, 468 or 478, 3) pixels. looks: (t, 144) from `look`.
    Changes slower than a second are taken out: they belong to the head, the light and the resting face.
    """
    values = np.concatenate([lip_distances(landmarks) / SPREAD, looks], axis=1)
    steps = times[0] + STEP_S * np.arange(int((times[-1] - times[0]) / STEP_S + 1e-6) + 1)
    even = np.stack([np.interp(steps, times, column) for column in values.T], axis=1)
    return float(times[0]), (even - trend(even)).astype(np.float32)


def trend(values: NDArray[Any]) -> NDArray[Any]:
    """Return the running mean of (steps, k) over TREND_STEPS, mirrored at the ends."""
    reach = min(TREND_STEPS // 2, len(values) - 1)
    padded = np.pad(values, ((reach, reach), (0, 0)), mode="reflect")
    total = np.cumsum(np.concatenate([np.zeros_like(padded[:1]), padded]), axis=0)
    width = 2 * reach + 1
    return np.asarray((total[width:] - total[:-width]) / width)


def lip_distances(landmarks: Floats) -> NDArray[np.float64]:
    """(t, 468 or 478, 3) FaceMesh points in pixels -> (t, 15) distances, in distances of the eyes' outer corners."""
    eyes = np.median(np.linalg.norm(landmarks[:, 33] - landmarks[:, 263], axis=1))
    a, b = (landmarks[:, [pair[i] for pair in DISTANCES]] for i in (0, 1))
    return np.asarray(np.linalg.norm(a - b, axis=2) / max(float(eyes), 1e-6), np.float64)


def look(image: NDArray[np.uint8], landmarks: Floats) -> Floats:
    """Return (144,) grey values of the upright mouth, their mean at 1."""
    centre = landmarks[list(MOUTH_POINTS), :2].mean(axis=0)
    across = landmarks[263, :2] - landmarks[33, :2]
    side = max(float(np.linalg.norm(across)), 0.55 * float(np.linalg.norm(landmarks[10, :2] - landmarks[152, :2])), 4.0)
    radius = math.ceil(side)
    left, top = int(centre[0]) - radius, int(centre[1]) - radius
    part = image[max(top, 0) : top + 2 * radius, max(left, 0) : left + 2 * radius]
    if min(part.shape[:2]) < 4:
        return np.ones(LOOK_PX * LOOK_PX, np.float32)
    turn = cv2.getRotationMatrix2D((0.0, 0.0), math.degrees(math.atan2(across[1], across[0])), 4 * LOOK_PX / side)
    turn[:, 2] = 2 * LOOK_PX - turn[:, :2] @ (centre - [max(left, 0), max(top, 0)])
    grey = cv2.warpAffine(cv2.cvtColor(part, cv2.COLOR_RGB2GRAY), turn, (4 * LOOK_PX, 4 * LOOK_PX),
                          borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
    small = cv2.resize(grey, (LOOK_PX, LOOK_PX), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    return np.asarray(small / (small.mean() + 1), np.float32)


def row_of(audio: Floats, window: LipWindow) -> Floats:
    """Return what the net reads of one window: sound from IN_STEP steps before the lips on, then the lips."""
    return np.concatenate([sound_at(audio, window.start_s - IN_STEP * STEP_S), window.lips.ravel()])


def sound_at(audio: Floats, start_s: float) -> Floats:
    """Return (32000,) samples from start_s on; silence where the recording has not begun or is over."""
    start, n = round(start_s * RATE_HZ), round(SOUND_S * RATE_HZ)
    out = np.zeros(n, np.float32)
    part = audio[max(start, 0) : max(start + n, 0)]
    out[max(-start, 0) : max(-start, 0) + len(part)] = part
    return out


@dataclass(frozen=True)
class Match:
    """What the lags of a clip say together."""

    offset_ms: int  # positive: the sound comes late
    confidence: float  # [0, 1] that the offset is right within 120 ms
    lead: float  # how far the best lag near "in step" stands above the best one elsewhere; negative: out of step


def match(logits: NDArray[Any], temperature: float) -> Match:
    """Return what (windows, LAGS) logits of a clip say together."""
    odds = lag_odds(logits, temperature)
    total = temperature * np.log(odds + 1e-12)
    best = int(np.argmax(odds))
    lags = np.abs(np.arange(len(total)) - REACH)
    return Match(
        offset_ms=round(100 * STEP_S * (_peak(total, best) - REACH)) * 10,
        confidence=min(float(odds[max(best - NEAR, 0) : best + NEAR + 1].sum()), MAX_CONFIDENCE),
        lead=float(total[lags <= NEAR].max() - total[lags > NEAR + 1].max()),
    )


def lag_odds(logits: NDArray[Any], temperature: float) -> NDArray[np.float64]:
    """(windows, LAGS) -> (2 * REACH + 1,) shares of belief; overlapping windows count by the time they cover."""
    covered_s = 1 + (len(logits) - 1) * HOP_S
    total = np.asarray(logits, float).mean(axis=0)[IN_STEP - REACH : IN_STEP + REACH + 1] * math.sqrt(covered_s)
    odds = np.exp((total - total.max()) / temperature)
    return np.asarray(odds / odds.sum(), np.float64)


def _peak(values: NDArray[np.float64], best: int) -> float:
    """The place of a maximum between samples, by a parabola through its neighbours."""
    if not 0 < best < len(values) - 1:
        return float(best)
    left, top, right = values[best - 1 : best + 2]
    bend = left - 2 * top + right
    return best + (0.5 * float((left - right) / bend) if bend < 0 else 0.0)


def p_out_of_step(lead: float, spec: BranchSpec) -> float:
    """Return the chance that lips and sound do not belong together or are shifted; fitted to shifted and swapped."""
    return 1 / (1 + math.exp(float(np.clip(lead / spec.temperature - spec.bias, -30, 30))))


def _evidence(spec: BranchSpec, windows: Sequence[LipWindow], logits: Floats, track: int) -> Evidence:
    found = match(logits, spec.temperature)
    score = p_out_of_step(found.lead, spec)
    # A single second of lips is often ambiguous: each window is judged with its neighbours.
    alone = [match(logits[max(0, i - 1) : i + 2], spec.temperature) for i in range(len(logits))]
    curve = [
        CurvePoint(w.start_s, w.end_s, p_out_of_step(m.lead, spec), track) for w, m in zip(windows, alone, strict=True)
    ]
    quality = min(1.0, sum(w.end_s - w.start_s for w in windows) * HOP_S / 3)
    return Evidence(
        branch="av_sync",
        channel="synchrony",
        state="scored",
        sentence=sentence(found, score, spec.fused),
        score=score,
        logit=math.log(max(score, 1e-9) / max(1 - score, 1e-9)),
        confidence=round(found.confidence * quality, 4),
        quality=round(quality, 4),
        curve=tuple(curve),
        data={
            "offset_ms": found.offset_ms,
            "offset_confidence": round(found.confidence, 4),
            "windows": len(windows),
            "desync": [{"start_s": s.start_s, "end_s": s.end_s} for s in parted(curve)],
        },
    )


def parted(curve: Sequence[CurvePoint]) -> list[Span]:
    """Return the stretches in which lips and sound part: two windows in a row or more that say so."""
    spans: list[list[CurvePoint]] = [[]]
    for point in curve:
        if point.score >= 0.5 and (not spans[-1] or point.start_s <= spans[-1][-1].end_s):
            spans[-1].append(point)
        elif spans[-1]:
            spans.append([point] if point.score >= 0.5 else [])
    return [Span(round(s[0].start_s, 3), round(s[-1].end_s, 3)) for s in spans if len(s) > 1]


def sentence(found: Match, p_out: float, counts: bool) -> str:
    """Return the finding in plain words."""
    note = "" if counts else " Shown for information; it does not count towards the result."
    if found.confidence < 0.5:
        return f"How far lips and sound are apart could not be told with confidence.{note}"
    sure = f"confidence {round(100 * found.confidence)} %"
    if abs(found.offset_ms) <= IN_STEP_MS:
        return f"Lips and sound are in step, as far as can be measured ({found.offset_ms:+d} ms, {sure}).{note}"
    which = "late" if found.offset_ms > 0 else "early"
    return f"The sound comes {abs(found.offset_ms)} ms {which} against the lips ({sure}).{note}"


def _skipped(reason: str, words: str) -> Evidence:
    return Evidence("av_sync", "synchrony", "skipped", words, reason=reason)
