"""Whole-picture synthesis: did a generator make this picture, or a face in it?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.engine import faces, patches
from detection.engine.runtime import Net
from detection.engine.types import Evidence, Face, Frame, Scene

CLIP_FRAMES = 5
PIECES_PER_SIDE = {"image": 3, "video": 2}  # a still gets nine pieces, a frame of a clip four: CPU time
FACES_PER_FRAME = {"image": 2, "video": 1}
FACE_PX = 256  # as the training faces were stored: a square of 1.7 times the face, 256 px
FACE_MARGIN = 1.7
MIN_PICTURE_PX = 128  # below that a piece is mostly mirror image
MIN_FACE_PX = 48  # a smaller face, enlarged to FACE_PX, shows the enlarging
RARE_PIECE_LOGIT = 0.35  # one piece in ten of genuine pictures is above, by heads that knew neither (the run states it)
MOST_OF_A_FACE = 0.8  # how much the faces of a portrait count beside pieces of the whole picture


@dataclass(frozen=True, eq=False)
class _Pieces:
    """What a frame is judged by: textured pieces of the whole, and its largest faces."""

    frame: Frame
    whole: list[patches.Patch]
    portraits: list[patches.Image]
    face_share: float  # of the frame's area, that lies in the portraits


def examine(scene: Scene, net: Net | None) -> Evidence:
    """Return how much the picture, or some frames of a clip, look like a generator's work."""
    if not scene.media.frames:
        return _skipped("no_picture", "There is no picture in this file, so it was not checked for generated pictures.")
    if min(scene.media.frames[0].image.shape[:2]) < MIN_PICTURE_PX:
        return _skipped("too_small", "The picture is too small to tell whether a generator made it.")
    if net is None:
        raise ValueError("the synthesis branch needs its net")
    found = [_pieces(scene, frame, net) for frame in patches.frames_to_judge(scene, CLIP_FRAMES)]
    judged = [_judge(pieces, net) for pieces in found if pieces.whole or pieces.portraits]
    if not judged:
        return _skipped(
            "no_texture",
            "This looks like a graphic, a page or a screen of flat areas; whether a generator made it cannot be told "
            "from texture that is not there.",
        )
    logit = float(np.mean([one.logit for one in judged]))
    score = patches.probability(logit, net)
    pieces = np.concatenate([one.piece_logits for one in judged])
    rare = int((pieces > RARE_PIECE_LOGIT).sum())
    quality = float(np.mean([one.quality for one in judged]))
    words = sentence(score, rare, len(pieces), is_clip=scene.media.info.kind == "video")
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
        pieces=patches.judged_pieces(judged, net),
        data={"pieces": len(pieces), "rare_pieces": rare, "frames": len(judged)},
    )


def sentence(score: float, rare: int, pieces: int, *, is_clip: bool) -> str:
    """Return the finding in plain words; the pieces are counted against what genuine pictures show.

    rare: how many pieces look more generated than nine in ten pieces of genuine pictures. A score can lean to a
    generator although few pieces stand out: each leans a little. Their count would then argue against the sentence.
    """
    thing = "frames of this clip" if is_clip else "picture"
    counted = ""
    if pieces and (score <= 0.5 or rare > pieces / 10):  # no pieces where only a face could be looked at
        counted = f" ({rare} of {pieces} examined pieces stood out; of genuine pictures one piece in ten does)"
    elif pieces:
        counted = ", each part a little and none by itself" if score >= 0.65 else ""
    more = "much more" if abs(score - 0.5) >= 0.35 else "more"
    if score >= 0.65:
        return f"The texture of the {thing} is {more} like what generators make than what cameras take{counted}."
    if score <= 0.35 and rare <= pieces / 3:
        return f"The texture of the {thing} is {more} like what cameras take than what generators make{counted}."
    return f"The texture of the {thing} does not settle whether a generator made it{counted}."


def _pieces(scene: Scene, frame: Frame, net: Net) -> _Pieces:
    """Return the pieces of a frame that show texture, and its largest faces at the scale of the training faces."""
    size, kind = net.spec.input_size, scene.media.info.kind
    whole = patches.choose(frame.image, size, PIECES_PER_SIDE[kind])
    largest = [
        face for face in patches.faces_in(scene, frame, FACES_PER_FRAME[kind]) if min(face.box[2:]) >= MIN_FACE_PX
    ]
    area = frame.image.shape[0] * frame.image.shape[1]
    return _Pieces(
        frame,
        [piece for piece in whole if patches.has_texture(piece.image)],
        [image for face in largest for image in _portrait(frame, face, size)],
        sum((FACE_MARGIN * max(face.box[2:])) ** 2 for face in largest) / area,
    )


def _portrait(frame: Frame, face: Face, size: int) -> list[patches.Image]:
    """Return two overlapping pieces, upper left and lower right, of the square around a face."""
    pieces = patches.choose(faces.crop(frame.image, face, FACE_PX, FACE_MARGIN), size)
    return [pieces[0].image, pieces[-1].image]


def _judge(pieces: _Pieces, net: Net) -> patches.Judged:
    """Judge the pieces of the whole by one head of the net, the faces by the other."""
    batch = [patches.as_stored(image) for image in (*(p.image for p in pieces.whole), *pieces.portraits)]
    outputs = net(patches.to_batch(batch, net.spec.mean, net.spec.std))
    count = len(pieces.whole)
    whole, portraits = outputs["logit"][:count], outputs["face_logit"][count:]
    shape = pieces.frame.image.shape
    return patches.Judged(
        pieces.frame,
        together(whole, portraits, pieces.face_share),
        whole,
        patches.spread_cam(pieces.whole, outputs["cam"][:count], shape),
        patches.quality(pieces.frame.image),
        tuple(piece.box for piece in pieces.whole),
    )


def together(whole: NDArray[np.float32], portraits: NDArray[np.float32], face_share: float) -> float:
    """Return one logit of a frame; its faces count for `face_share` of it, for 0.5 to 0.8 at least and most."""
    if not len(whole) or not len(portraits):
        return float(np.concatenate([whole, portraits]).mean())
    weight = float(np.clip(face_share, 0.5, MOST_OF_A_FACE))
    return float((1 - weight) * whole.mean() + weight * portraits.mean())


def _skipped(reason: str, words: str) -> Evidence:
    return Evidence("synthesis", "picture", "skipped", words, reason=reason)


def build() -> Any:
    """Return the untrained net; its inputs and outputs are told in synthesis_net.py."""
    from detection.engine.branches.synthesis_net import SynthesisNet

    return SynthesisNet()
