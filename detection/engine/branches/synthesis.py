"""Whole-picture synthesis: did a generator make this picture, or a face in it?"""

from __future__ import annotations

from typing import Any

import numpy as np

from detection.engine import faces, patches
from detection.engine.runtime import Net
from detection.engine.types import Evidence, Frame, Scene

CLIP_FRAMES = 5
PIECES_PER_SIDE = {"image": 3, "video": 2}  # a still gets nine pieces, a frame of a clip four: CPU time
FACES_PER_FRAME = 2
FACE_PX = 256  # as the training faces were stored: a square of 1.7 times the face, 256 px
FACE_MARGIN = 1.7


def examine(scene: Scene, net: Net | None) -> Evidence:
    """Return how much the picture, or some frames of a clip, look like a generator's work."""
    if not scene.media.frames:
        return _skipped("no_picture", "There is no picture in this file, so it was not checked for generated pictures.")
    if min(scene.media.frames[0].image.shape[:2]) < patches.MIN_PICTURE_PX:
        return _skipped("too_small", "The picture is too small to tell whether a generator made it.")
    if net is None:
        raise ValueError("the synthesis branch needs its net")
    judged = [_judge(scene, frame, net) for frame in patches.frames_to_judge(scene, CLIP_FRAMES)]
    logit = float(np.mean([one.logit for one in judged]))
    score = patches.probability(logit, net)
    pieces = np.concatenate([one.piece_logits for one in judged])
    suspicious = int((pieces / net.spec.temperature + net.spec.bias > 0).sum())
    quality = float(np.mean([one.quality for one in judged]))
    words = sentence(score, suspicious, len(pieces), is_clip=scene.media.info.kind == "video")
    return Evidence(
        "synthesis",
        "picture",
        "scored",
        patches.with_standing(words, net),
        score=score,
        logit=logit,
        confidence=abs(2 * score - 1) * (0.5 + 0.5 * quality),
        quality=quality,
        curve=patches.curve(judged, net),
        heatmaps=patches.heatmaps(judged, net, "saliency_map"),
        data={"pieces": len(pieces), "suspicious_pieces": suspicious, "frames": len(judged)},
    )


def sentence(score: float, suspicious: int, pieces: int, *, is_clip: bool) -> str:
    """Return the finding in plain words."""
    thing = "frames of this clip" if is_clip else "picture"
    counted = f"{suspicious} of {pieces} pieces examined"
    if score >= 0.65:
        return f"The texture of the {thing} resembles what picture generators make ({counted})."
    if score <= 0.35 and suspicious <= pieces / 3:
        return f"The texture of the {thing} resembles what cameras take; {counted} looked generated."
    return f"The texture of the {thing} does not settle whether a generator made it ({counted} looked generated)."


def _judge(scene: Scene, frame: Frame, net: Net) -> patches.Judged:
    """Judge pieces of the whole frame, and of its largest faces at the scale of the training faces."""
    size = net.spec.input_size
    pieces = patches.choose(frame.image, size, PIECES_PER_SIDE[scene.media.info.kind])
    portraits = [
        patches.grid(faces.crop(frame.image, face, FACE_PX, FACE_MARGIN), size)[-1]
        for face in patches.faces_in(scene, frame, FACES_PER_FRAME)
    ]
    logits, cams = patches.judge([*pieces, *portraits], net)
    whole, faced = logits[: len(pieces)], logits[len(pieces) :]
    logit = float(whole.mean()) if not portraits else float(whole.mean() + faced.mean()) / 2
    cam = patches.spread_cam(pieces, cams[: len(pieces)], frame.image.shape)
    return patches.Judged(frame, logit, whole, cam, patches.quality(frame.image))


def _skipped(reason: str, words: str) -> Evidence:
    return Evidence("synthesis", "picture", "skipped", words, reason=reason)


def build() -> Any:
    """Return the untrained net; its inputs and outputs are told in synthesis_net.py."""
    from detection.engine.branches.synthesis_net import SynthesisNet

    return SynthesisNet()
