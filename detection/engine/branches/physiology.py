"""Signs of a living face over time: blinks, head pose, geometry, motion, flicker, pulse. Plain measurements first.

A small logistic regression over the measurements gives the score; whether it counts in the fusion is decided by how it
does on sources left out (`ml_weights/physiology/physiology.json`, field `fused`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.engine import registry
from detection.engine.errors import WeightsInvalid
from detection.engine.runtime import Net, check_file
from detection.engine.types import Evidence, Face, Scene, Track

Numbers = dict[str, float | None]
Floats = NDArray[np.float64]

LEFT_EYE = (33, 160, 158, 133, 153, 144)
RIGHT_EYE = (362, 385, 387, 263, 373, 380)
# FaceMesh points that lie on bone rather than on lips or lids: their distances should not change while someone talks.
RIGID = (33, 133, 362, 263, 1, 168, 6, 4, 234, 454, 10, 127, 356, 93, 323)
POSE_POINTS = (1, 152, 33, 263, 61, 291)
# A mean head in millimetres, in the order of POSE_POINTS (nose tip, chin, eye corners, mouth corners).
POSE_MODEL = np.array(
    [[0, 0, 0], [0, 63.6, -12.5], [-43.3, -32.7, -26], [43.3, -32.7, -26], [-28.9, 28.9, -24.1], [28.9, 28.9, -24.1]]
)
CHEEKS_AND_FOREHEAD = ((50, 101, 118, 205), (280, 330, 347, 425), (151, 108, 67, 337, 297))
MIN_FRAMES = 8
BLINK_BELOW = 0.72  # of the median eye opening
MIN_BLINK_RATE_HZ = 7.0  # a blink lasts 0.1 to 0.4 s: slower sampling misses it
PULSE_BAND_HZ = (0.7, 3.0)
EDGE_BPM = 5
MIN_PULSE_S = 3.0
MAX_PULSE_GAP_S = 0.6  # shorter gaps between runs are bridged by interpolation
FLOW_PX = 80
MAX_FLOW_PAIRS = 48
FEATURES = ("eye_opening", "eye_opening_dip", "blinks_per_min", "yaw_range", "pitch_range", "pose_jitter",
            "geometry_jitter", "landmark_jitter", "face_flow", "flow_excess", "flicker", "flicker_excess",
            "pulse_snr_db")  # fmt: skip


def examine(scene: Scene, net: Net | None = None) -> Evidence:
    """Measure the longest track; score it with the shipped regression."""
    track = max(scene.tracks, key=lambda t: len(t.faces), default=None)
    if scene.media.info.kind != "video":
        return _skipped("not_a_video", "Blinks, motion and pulse can only be measured in a clip.")
    if track is None:
        return _skipped("no_face", "No face was found, so blinks, motion and pulse could not be measured.")
    faces = tuple(f for f in track.faces if f.landmarks is not None)
    if len(faces) < MIN_FRAMES:
        return _skipped("too_short", "The face is seen too briefly to measure blinks, motion and pulse.")
    numbers = measure(scene, Track(track.number, faces))
    model = load()
    x, known = model.logit(numbers)
    score = 1 / (1 + math.exp(-x))
    return Evidence(
        branch="physiology",
        channel="picture",
        state="scored",
        sentence=sentence(numbers, model.is_fused),
        score=score,
        logit=x,
        confidence=known * min(1.0, len(faces) / 50),
        quality=known,
        data={"track": track.number, "measurements": numbers, "fused": model.is_fused},
        version=model.version,
        sha256=registry.PHYSIOLOGY[1],
    )


def _skipped(reason: str, words: str) -> Evidence:
    return Evidence("physiology", "picture", "skipped", words, reason=reason)


def sentence(numbers: Numbers, is_fused: bool) -> str:
    """Return the measurements in plain words."""
    parts = []
    if numbers["blinks_per_min"] is not None:
        parts.append(f"{numbers['blinks_per_min']:.0f} blinks a minute")
    if numbers["yaw_range"] is not None:
        parts.append(f"the head turns by {numbers['yaw_range']:.0f}°")
    if numbers["pulse_snr_db"] is not None:
        low, high = (60 * edge for edge in PULSE_BAND_HZ)
        # A peak at the edge of the band is drift of light or head, not a heart.
        clear = numbers["pulse_snr_db"] > 0 and low + EDGE_BPM < (numbers["pulse_bpm"] or 0) < high - EDGE_BPM
        parts.append(
            f"a pulse of {numbers['pulse_bpm']:.0f} a minute shows in the skin" if clear else "no clear pulse shows"
        )
    note = "" if is_fused else " These measurements are shown only; they do not count towards the result."
    return f"Measured on the face: {'; '.join(parts) or 'motion only'}.{note}"


def measure(scene: Scene, track: Track) -> Numbers:
    """Return every measurement of one person; None where the clip does not allow it. All faces need landmarks."""
    times = np.array([f.time_s for f in track.faces])
    points = np.stack([np.asarray(f.landmarks, float) for f in track.faces])
    numbers: Numbers = {"rate_hz": _rate(times), "frames": float(len(times)), "seconds": float(times[-1] - times[0])}
    numbers |= blinks(times, points)
    numbers |= head_pose(times, points, scene.frame(track.faces[0].frame_index).image.shape)
    numbers |= geometry(times, points)
    numbers |= motion(scene, track.faces, is_step(times))
    numbers |= pulse(times, skin_colours(scene, track.faces))
    return numbers


def _rate(times: Floats) -> float:
    return float(1 / max(np.median(np.diff(times)), 1e-3))


def is_step(times: Floats) -> NDArray[np.bool_]:
    """Return (t - 1,) whether two samples follow each other without a jump: long clips are sampled in runs."""
    steps = np.diff(times)
    return np.asarray(steps <= 1.6 * np.median(steps), bool)


def _second_differences(values: Floats, times: Floats) -> Floats:
    steady = is_step(times)
    return np.asarray(np.diff(values, 2, axis=0)[steady[1:] & steady[:-1]], float)


def eye_opening(points: Floats) -> Floats:
    """Return (t,) eye aspect ratio, mean of both eyes. Source: Soukupová & Čech 2016."""
    both = []
    for eye in (LEFT_EYE, RIGHT_EYE):
        p = points[:, eye, :2]
        height = np.linalg.norm(p[:, 1] - p[:, 5], axis=1) + np.linalg.norm(p[:, 2] - p[:, 4], axis=1)
        both.append(height / np.maximum(2 * np.linalg.norm(p[:, 0] - p[:, 3], axis=1), 1e-6))
    return np.mean(both, axis=0)


def blinks(times: Floats, points: Floats) -> Numbers:
    """Return eye opening and blink rate. points: (t, 468+, 3)."""
    opening = eye_opening(points)
    median = float(np.median(opening))
    numbers: Numbers = {
        "eye_opening": median,
        "eye_opening_dip": float(1 - np.min(opening) / max(median, 1e-6)),
        "blinks_per_min": None,
        "blinks": None,
    }
    if _rate(times) < MIN_BLINK_RATE_HZ:
        return numbers
    steady = is_step(times)
    closed = opening < BLINK_BELOW * median
    # A blink is seen opening again; where the eyes stay shut at the end of a run, nobody knows.
    count = int(np.sum(closed[:-1] & ~closed[1:] & steady))
    watched_s = max(float(np.diff(times)[steady].sum()), 1e-3)
    return numbers | {"blinks": float(count), "blinks_per_min": 60 * count / watched_s}


def head_pose(times: Floats, points: Floats, shape: Sequence[int]) -> Numbers:
    """Return how far and how smoothly the head turns, in degrees, from a mean head fitted to six points."""
    height, width = shape[:2]
    camera = np.array([[width, 0, width / 2], [0, width, height / 2], [0, 0, 1]], float)
    angles = []
    for p in points[:, POSE_POINTS, :2]:
        found, rotation, _ = cv2.solvePnP(POSE_MODEL, np.ascontiguousarray(p), camera, None, flags=cv2.SOLVEPNP_SQPNP)
        if found:
            angles.append(_euler(cv2.Rodrigues(rotation)[0]))
    if len(angles) < 3:
        return {"yaw_range": None, "pitch_range": None, "roll_range": None, "pose_jitter": None}
    a = np.unwrap(np.array(angles), axis=0, period=360)
    span = np.percentile(a, 95, axis=0) - np.percentile(a, 5, axis=0)
    shaking = np.abs(_second_differences(a, times)) if len(a) == len(times) else np.zeros(0)
    return {
        "yaw_range": float(span[1]),
        "pitch_range": float(span[0]),
        "roll_range": float(span[2]),
        "pose_jitter": float(np.median(shaking)) if shaking.size else None,
    }


def _euler(rotation: Any) -> tuple[float, float, float]:
    """Return (pitch, yaw, roll) in degrees."""
    level = math.hypot(rotation[0, 0], rotation[1, 0])
    pitch = math.atan2(rotation[2, 1], rotation[2, 2])
    yaw = math.atan2(-rotation[2, 0], level)
    roll = math.atan2(rotation[1, 0], rotation[0, 0])
    return math.degrees(pitch), math.degrees(yaw), math.degrees(roll)


def geometry(times: Floats, points: Floats) -> Numbers:
    """Return how much the rigid parts of the face change shape, relative to the distance of the eyes."""
    eyes = np.linalg.norm(points[:, 33] - points[:, 263], axis=1)
    rigid = points[:, RIGID] / np.maximum(eyes, 1e-6)[:, None, None]
    distances = np.linalg.norm(rigid[:, :, None] - rigid[:, None], axis=-1)[:, *np.triu_indices(len(RIGID), 1)]
    shape_change = np.std(distances, axis=0) / np.maximum(np.mean(distances, axis=0), 1e-6)
    centred = rigid - rigid.mean(axis=1, keepdims=True)
    tremble = _second_differences(centred[..., :2], times)
    return {
        "geometry_jitter": float(np.median(shape_change)),
        "landmark_jitter": float(np.median(np.abs(tremble))) if tremble.size else None,
    }


def motion(scene: Scene, faces: Sequence[Face], steady: NDArray[np.bool_]) -> Numbers:
    """Return optical flow and brightness flicker of the face, and how far they exceed those of its surroundings."""
    pairs = np.flatnonzero(steady)
    pairs = pairs[:: max(1, math.ceil(len(pairs) / MAX_FLOW_PAIRS))]
    flows, around, light, light_around = [], [], [], []
    for i in pairs.tolist():
        a, b = faces[i], faces[i + 1]
        wide_a, wide_b = (_wide_crop(scene.frame(f.frame_index).image, a) for f in (a, b))
        if wide_a is None or wide_b is None:
            continue
        flow = cv2.calcOpticalFlowFarneback(wide_a, wide_b, np.zeros((FLOW_PX, FLOW_PX, 2), np.float32),
                                            0.5, 2, 11, 2, 5, 1.1, 0)  # fmt: skip
        size = np.linalg.norm(flow, axis=-1)
        flows.append(float(size[_INNER].mean()))
        around.append(float(size[~_INNER].mean()))
        change = wide_b.astype(float) - wide_a
        light.append(abs(float(change[_INNER].mean())))
        light_around.append(abs(float(change[~_INNER].mean())))
    if not flows:
        return {"face_flow": None, "flow_excess": None, "flicker": None, "flicker_excess": None}
    flow_mean, flicker = float(np.mean(flows)), float(np.mean(light))
    return {
        "face_flow": flow_mean / FLOW_PX,
        "flow_excess": math.log((flow_mean + 0.05) / (float(np.mean(around)) + 0.05)),
        "flicker": flicker,
        "flicker_excess": math.log((flicker + 0.05) / (float(np.mean(light_around)) + 0.05)),
    }


_INNER = np.zeros((FLOW_PX, FLOW_PX), bool)
_INNER[FLOW_PX // 4 : 3 * FLOW_PX // 4, FLOW_PX // 4 : 3 * FLOW_PX // 4] = True


def _wide_crop(image: NDArray[np.uint8], face: Face) -> NDArray[np.uint8] | None:
    """Return a grey (FLOW_PX, FLOW_PX) view whose middle half is the face; None when it leaves the frame too far."""
    x, y, w, h = face.box
    x0, y0 = max(0, round(x - w / 2)), max(0, round(y - h / 2))
    x1, y1 = min(image.shape[1], round(x + 1.5 * w)), min(image.shape[0], round(y + 1.5 * h))
    if x1 - x0 < w or y1 - y0 < h:
        return None
    small = cv2.resize(image[y0:y1, x0:x1], (FLOW_PX, FLOW_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)


def skin_colours(scene: Scene, faces: Sequence[Face]) -> Floats:
    """Return (t, 3) mean RGB of cheeks and forehead."""
    colours = []
    for face in faces:
        image = scene.frame(face.frame_index).image
        landmarks = np.asarray(face.landmarks)[:, :2]
        low = np.clip(np.floor(landmarks.min(axis=0)).astype(int), 0, None)
        high = np.ceil(landmarks.max(axis=0)).astype(int) + 1
        part = image[low[1] : high[1], low[0] : high[0]]
        mask = np.zeros(part.shape[:2], np.uint8)
        for patch in CHEEKS_AND_FOREHEAD:
            hull = cv2.convexHull((landmarks[list(patch)] - low).astype(np.int32))
            cv2.fillConvexPoly(mask, hull, 1)
        colours.append(cv2.mean(part, mask)[:3] if mask.any() else (0.0, 0.0, 0.0))
    return np.array(colours, float)


def pulse(times: Floats, colours: Floats) -> Numbers:
    """Return pulse rate and its signal-to-noise ratio in dB. Source: POS, Wang et al. 2017; SNR after de Haan 2013."""
    nothing: Numbers = {"pulse_bpm": None, "pulse_snr_db": None}
    rate = _rate(times)
    unbroken = _longest_stretch(times, MAX_PULSE_GAP_S)
    times, colours = times[unbroken], colours[unbroken]
    if times[-1] - times[0] < MIN_PULSE_S or rate < 2 * PULSE_BAND_HZ[1] * 0.9 or np.any(colours.mean(axis=0) < 1):
        return nothing
    grid = np.arange(times[0], times[-1], 1 / rate)
    c = np.stack([np.interp(grid, times, colours[:, i]) for i in range(3)], axis=1)
    signal = _pos(c, rate)
    if np.std(signal) < 1e-9:
        return nothing
    size = max(512, len(signal))
    power = np.abs(np.fft.rfft(signal * np.hanning(len(signal)), n=size)) ** 2
    hz = np.fft.rfftfreq(size, 1 / rate)
    band = (hz >= PULSE_BAND_HZ[0]) & (hz <= min(PULSE_BAND_HZ[1], rate / 2))
    peak = hz[band][np.argmax(power[band])]
    width = max(0.2, 1.5 / (grid[-1] - grid[0]))
    near = band & ((np.abs(hz - peak) <= width) | (np.abs(hz - 2 * peak) <= width))
    snr = 10 * math.log10((power[near].sum() + 1e-12) / (power[band & ~near].sum() + 1e-12))
    return {"pulse_bpm": float(60 * peak), "pulse_snr_db": snr}


def _longest_stretch(times: Floats, max_gap_s: float) -> slice:
    edges = [0, *(np.flatnonzero(np.diff(times) > max_gap_s) + 1).tolist(), len(times)]
    start, stop = max(pairwise(edges), key=lambda e: times[e[1] - 1] - times[e[0]])
    return slice(start, stop)


def _pos(colours: Floats, rate_hz: float) -> Floats:
    """Return the pulse signal of (t, 3) mean skin colours: plane orthogonal to skin, overlap-added over 1.6 s."""
    length = max(4, round(1.6 * rate_hz))
    out = np.zeros(len(colours))
    for start in range(0, max(1, len(colours) - length + 1)):
        part = colours[start : start + length]
        normal = part / part.mean(axis=0)
        s1 = normal[:, 1] - normal[:, 2]
        s2 = normal[:, 1] + normal[:, 2] - 2 * normal[:, 0]
        h = s1 + (np.std(s1) / max(np.std(s2), 1e-9)) * s2
        out[start : start + length] += h - h.mean()
    return out


class Regression:
    """The shipped logistic regression over FEATURES, standardised; a measurement that is missing adds nothing."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.version = str(content["version"])
        self.is_fused = bool(content["fused"])
        self.intercept = float(content["intercept"])
        self.terms = {n: (float(w), float(m), float(s)) for n, (w, m, s) in content["features"].items()}
        if set(self.terms) != set(FEATURES):
            raise ValueError(f"expected the features {FEATURES}")

    def logit(self, numbers: Numbers) -> tuple[float, float]:
        """Return (log-odds, share of the features that could be measured)."""
        x, known = self.intercept, 0
        for name, (weight, mean, sd) in self.terms.items():
            value = numbers.get(name)
            if value is not None:
                x += weight * min(max((value - mean) / sd, -4.0), 4.0)
                known += 1
        return x, known / len(self.terms)


@lru_cache(maxsize=1)
def load() -> Regression:
    """Return the shipped regression. Raises WeightsInvalid, naming the file."""
    relative, sha256 = registry.PHYSIOLOGY
    path = registry.WEIGHTS_DIR / relative
    check_file(path, sha256)
    try:
        return Regression(json.loads(path.read_text()))
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsInvalid(f"The weight file {path} does not fit its layout: {error!r}") from error
