"""Faces one by one: does a face carry the traces of having been pasted or repainted?"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.engine import faces, patches, registry
from detection.engine.runtime import Net
from detection.engine.types import CurvePoint, Evidence, Face, Heatmap, Scene
from detection.engine.wording import clock

BATCH = 16
MIN_FACE_PX = 32.0  # below this a face holds nothing that the net learnt to see
GOOD_FACE_PX = 120.0
GOOD_SHARPNESS = 60.0  # variance of the Laplacian of the crop
HEATMAPS = 4
HEATMAP_APART_S = 0.4
MIN_TRACK_SHARE = 0.2  # of the longest track: a passer-by's two frames do not decide about a clip

Image = NDArray[np.uint8]


def build() -> Any:
    """Return the untrained net that the shipped weights fit."""
    from detection.engine.branches.spatial_net import FaceNet

    return FaceNet(input_size=registry.BRANCHES["spatial"].input_size)


@dataclass(frozen=True, eq=False)
class Look:
    """What the net says of one face."""

    face: Face
    logit: float
    cam: NDArray[np.float32]  # (h, w) in logit units
    embedding: NDArray[np.float32]  # (d,)
    quality: float  # [0, 1]


@dataclass(eq=False)
class _Cache:
    """The looks of one scene; its own lock, so that two branches share one run and two scenes do not wait."""

    lock: threading.Lock
    looks: tuple[Look, ...] | None = None


_caches: WeakKeyDictionary[Scene, _Cache] = WeakKeyDictionary()
_caches_lock = threading.Lock()


def look(scene: Scene, net: Net) -> tuple[Look, ...]:
    """Run the net on every face of the scene's windows, once per scene: the temporal branch reads the same result.

    Returned in order of track and time. Faces smaller than MIN_FACE_PX are left out.
    """
    with _caches_lock:
        cache = _caches.setdefault(scene, _Cache(threading.Lock()))
    with cache.lock:
        if cache.looks is None:
            cache.looks = _look_at_all(scene, net)
        return cache.looks


def _look_at_all(scene: Scene, net: Net) -> tuple[Look, ...]:
    seen = {(face.track, face.frame_index): face for window in scene.windows for face in window.faces}
    chosen = [seen[key] for key in sorted(seen) if max(seen[key].box[2:]) >= MIN_FACE_PX]
    result: list[Look] = []
    for start in range(0, len(chosen), BATCH):
        result += _look_at(scene, chosen[start : start + BATCH], net)
    return tuple(result)


def _look_at(scene: Scene, batch: Sequence[Face], net: Net) -> list[Look]:
    size = net.spec.input_size
    crops = [faces.crop(scene.frame(face.frame_index).image, face, size) for face in batch]
    outputs = net(patches.to_batch(crops, net.spec.mean, net.spec.std))
    return [
        Look(face, float(outputs["logit"][i]), outputs["cam"][i], outputs["embedding"][i], quality(face, crops[i]))
        for i, face in enumerate(batch)
    ]


def quality(face: Face, crop: Image) -> float:
    """How much a face can show, 0 to 1: its size, its sharpness and how far it is turned away."""
    size = min(1.0, max(0.0, (max(face.box[2:]) - MIN_FACE_PX) / (GOOD_FACE_PX - MIN_FACE_PX)))
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    sharpness = min(1.0, float(cv2.Laplacian(grey, cv2.CV_32F).var()) / GOOD_SHARPNESS)
    return round((0.2 + 0.8 * size) * (0.3 + 0.7 * sharpness) * (0.4 + 0.6 * frontal(face)), 4)


def frontal(face: Face) -> float:
    """1 for a face seen from the front, 0 for a profile: where the nose lies between the eyes."""
    if face.five_points is None:
        return 0.5
    left, right, nose = face.five_points[0], face.five_points[1], face.five_points[2]
    axis = right - left
    length = float(np.hypot(*axis))
    if length < 1e-3:
        return 0.0
    along = float((nose - left) @ axis) / length**2
    return float(np.clip(1.0 - abs(along - 0.5) / 0.5, 0.0, 1.0))


def examine(scene: Scene, net: Net | None) -> Evidence:
    """Score every face; the scene's score is that of its most suspicious lasting person."""
    if net is None:
        raise ValueError("the spatial branch needs its net")
    if not any(window.faces for window in scene.windows):
        return _skipped("no_face", "No face was found, so there is nothing to check for a pasted or repainted face.")
    looks = look(scene, net)
    if not looks:
        return _skipped("face_too_small", "The faces are too small to check them for pasted or repainted parts.")
    spec = net.spec
    tracks = _tracks(looks)
    worst = max(tracks, key=lambda number: _mean_logit(tracks[number]))
    logit = _mean_logit(tracks[worst])
    score = p_fake(logit, spec)
    good = float(np.mean([one.quality for one in tracks[worst]]))
    agreeing = float(np.mean([(p_fake(one.logit, spec) >= 0.5) == (score >= 0.5) for one in tracks[worst]]))
    return Evidence(
        branch="spatial",
        channel="picture",
        state="scored",
        sentence=_sentence(scene, looks, spec, score),
        score=score,
        logit=logit,
        confidence=round(good * agreeing, 4),
        quality=round(good, 4),
        curve=_curve(scene, looks, spec),
        heatmaps=_heatmaps(looks, spec),
        data={
            "faces": len(looks),
            "suspicious_faces": sum(p_fake(one.logit, spec) >= 0.5 for one in looks),
            "median_face_px": round(float(np.median([max(one.face.box[2:]) for one in looks])), 1),
            "tracks": [
                {"track": number, "faces": len(mine), "score": round(p_fake(_mean_logit(mine), spec), 4)}
                for number, mine in sorted(tracks.items())
            ],
        },
        version=spec.version,
        sha256=spec.files["openvino"][-1][1],
    )


def p_fake(logit: float, spec: registry.BranchSpec) -> float:
    """Calibrated probability of a logit."""
    x = float(np.clip(logit / spec.temperature + spec.bias, -40, 40))
    return 1.0 / (1.0 + math.exp(-x))


def _skipped(reason: str, words: str) -> Evidence:
    return Evidence("spatial", "picture", "skipped", words, reason=reason)


def _tracks(looks: Sequence[Look]) -> dict[int, list[Look]]:
    """Looks by person; those seen far shorter than the longest are left out."""
    tracks: dict[int, list[Look]] = {}
    for one in looks:
        tracks.setdefault(one.face.track, []).append(one)
    longest = max(len(mine) for mine in tracks.values())
    return {number: mine for number, mine in tracks.items() if len(mine) >= MIN_TRACK_SHARE * longest}


def _mean_logit(looks: Sequence[Look]) -> float:
    return float(np.mean([one.logit for one in looks]))


def _curve(scene: Scene, looks: Sequence[Look], spec: registry.BranchSpec) -> tuple[CurvePoint, ...]:
    """One point per face, lasting until the person's next look (at most half a second)."""
    if scene.media.info.kind == "image":
        return ()
    points = []
    for i, one in enumerate(looks):
        start, end = one.face.time_s, one.face.time_s
        if i + 1 < len(looks) and looks[i + 1].face.track == one.face.track:
            end = min(looks[i + 1].face.time_s, start + 0.5)
        points.append(CurvePoint(start, end, p_fake(one.logit, spec), one.face.track, one.face.frame_index))
    return tuple(points)


def _heatmaps(looks: Sequence[Look], spec: registry.BranchSpec) -> tuple[Heatmap, ...]:
    """The most suspicious faces, each at another moment or of another person."""
    chosen: list[Look] = []
    for one in sorted(looks, key=lambda o: -o.logit):
        is_new = all(
            one.face.track != other.face.track or abs(one.face.time_s - other.face.time_s) >= HEATMAP_APART_S
            for other in chosen
        )
        if is_new:
            chosen.append(one)
        if len(chosen) == HEATMAPS:
            break
    return tuple(
        Heatmap(
            frame_index=one.face.frame_index,
            time_s=one.face.time_s,
            cam=np.maximum(one.cam, 0).astype(np.float32),
            box=faces.crop_box(one.face),
            score=p_fake(one.logit, spec),
            track=one.face.track,
        )
        for one in chosen
    )


SURE_AT = 0.8  # below, looks beyond an even chance only lean, and the sentence must not sound surer than the score


def _sentence(scene: Scene, looks: Sequence[Look], spec: registry.BranchSpec, score: float) -> str:
    suspicious = [one for one in looks if p_fake(one.logit, spec) >= 0.5]
    if scene.media.info.kind == "image":
        if score >= SURE_AT:
            return "A face in this picture shows traces of having been pasted in or repainted."
        if score >= 0.5:
            return "A face in this picture leans towards having been pasted in or repainted, but not clearly."
        return "The faces in this picture show no clear traces of having been pasted in or repainted."
    if score >= 0.5:
        worst = max(suspicious or looks, key=lambda one: one.logit)
        shows = "show traces of" if score >= SURE_AT else "lean towards"
        return (
            f"{len(suspicious)} of {len(looks)} looks at faces {shows} a pasted or repainted face, "
            f"{'most clearly' if score >= SURE_AT else 'not clearly, most of all'} at {clock(worst.face.time_s)}."
        )
    if suspicious:
        return f"Only {len(suspicious)} of {len(looks)} looks at faces lean towards a pasted or repainted face."
    return f"None of {len(looks)} looks at faces shows traces of a pasted or repainted face."
