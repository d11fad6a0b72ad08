"""A face over time: does its look hold together over 16 frames?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.engine import runtime
from detection.engine.branches import spatial
from detection.engine.runtime import Net
from detection.engine.types import CurvePoint, Evidence, Scene
from detection.engine.windows import WINDOW_FRAMES
from detection.engine.wording import clock

MIN_FRAMES = 8  # a shorter window is too much guesswork once it is mirrored to 16
TOP_SHARE = 0.5  # of a person's windows: a fake may cover a part of the clip only


def build() -> Any:
    """Return the untrained net that the shipped weights fit."""
    from detection.engine.branches.temporal_net import WindowNet

    return WindowNet()


def examine(scene: Scene, net: Net | None) -> Evidence:
    """Score every window of every person; the clip's score is that of its most suspicious person."""
    if net is None:
        raise ValueError("the temporal branch needs its net")
    if scene.media.info.kind != "video":
        return _skipped("not_a_video", "How a face changes over time can only be checked in a clip.")
    if not any(window.faces for window in scene.windows):
        return _skipped("no_face", "No face was found, so there is no face to follow over time.")
    looks = spatial.look(scene, runtime.load("spatial"))
    chosen = _windows(scene, looks)
    if not chosen:
        return _skipped("too_short", "No face is seen long enough to follow it over time.")
    spec = net.spec
    outputs = net(np.stack([fill(np.stack([one.embedding for one in window])) for window in chosen]))
    logits = [float(value) for value in outputs["logit"]]
    tracks: dict[int, list[int]] = {}
    for i, window in enumerate(chosen):
        tracks.setdefault(window[0].face.track, []).append(i)
    worst = max(tracks, key=lambda number: of_person([logits[i] for i in tracks[number]]))
    logit = of_person([logits[i] for i in tracks[worst]])
    score = spatial.p_fake(logit, spec)
    good = float(np.mean([one.quality for i in tracks[worst] for one in chosen[i]]))
    agreeing = float(np.mean([(spatial.p_fake(logits[i], spec) >= 0.5) == (score >= 0.5) for i in tracks[worst]]))
    return Evidence(
        branch="temporal",
        channel="picture",
        state="scored",
        sentence=_sentence(chosen, [spatial.p_fake(value, spec) for value in logits], score),
        score=score,
        logit=logit,
        confidence=round(good * agreeing * min(1.0, len(tracks[worst]) / 2), 4),
        quality=round(good, 4),
        curve=tuple(
            CurvePoint(w[0].face.time_s, w[-1].face.time_s, spatial.p_fake(value, spec), w[0].face.track)
            for w, value in zip(chosen, logits, strict=True)
        ),
        data={
            "windows": len(chosen),
            "attention": [_attention(w, outputs["attention"][i]) for i, w in enumerate(chosen)],
            "tracks": [
                {"track": number, "score": round(spatial.p_fake(of_person([logits[i] for i in mine]), spec), 4)}
                for number, mine in sorted(tracks.items())
            ],
        },
        version=spec.version,
        sha256=spec.files["openvino"][-1][1],
    )


def fill(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """(t, d) -> (16, d): a shorter run is played forth and back until it is full."""
    count = len(embeddings)
    there_and_back = [*range(count), *range(count - 2, 0, -1)]
    order = [there_and_back[i % len(there_and_back)] for i in range(WINDOW_FRAMES)]
    return np.ascontiguousarray(embeddings[order], dtype=np.float32)


def _windows(scene: Scene, looks: Sequence[spatial.Look]) -> list[list[spatial.Look]]:
    by_place = {(one.face.track, one.face.frame_index): one for one in looks}
    found = []
    for window in scene.windows:
        mine = [by_place[key] for face in window.faces if (key := (face.track, face.frame_index)) in by_place]
        if len(mine) >= MIN_FRAMES:
            found.append(mine)
    return found


def of_person(logits: Sequence[float]) -> float:
    """The mean of the more suspicious half of the windows."""
    top = sorted(logits, reverse=True)[: max(1, round(len(logits) * TOP_SHARE))]
    return float(np.mean(top))


def _attention(window: Sequence[spatial.Look], weights: NDArray[np.float32]) -> dict[str, Any]:
    return {
        "track": window[0].face.track,
        "frames": [one.face.frame_index for one in window],
        "weights": [round(float(w), 4) for w in weights[: len(window)]],
    }


def _skipped(reason: str, words: str) -> Evidence:
    return Evidence("temporal", "picture", "skipped", words, reason=reason)


def _sentence(chosen: Sequence[Sequence[spatial.Look]], scores: Sequence[float], score: float) -> str:
    suspicious = sum(p >= 0.5 for p in scores)
    if score >= 0.5:
        worst = chosen[int(np.argmax(scores))]
        start, end = clock(worst[0].face.time_s), clock(worst[-1].face.time_s)
        when = f"at {start}" if start == end else f"from {start} to {end}"
        return f"The face does not hold together over time as filmed faces do, most clearly {when}."
    if suspicious:
        return (
            f"The face changes over time much as a filmed face does, save in {suspicious} of {len(scores)} stretches."
        )
    return "The face changes over time as a filmed face does."
