"""Fine residuals: do neighbouring pixels relate as in a camera's picture, or as up-sampling layers leave them?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from detection.engine import faces, patches
from detection.engine.runtime import Net
from detection.engine.types import Evidence, Face, Frame, Scene

CLIP_FRAMES = 5
PIECES_PER_SIDE = 2
FACES_PER_FRAME = 1


def examine(scene: Scene, net: Net | None) -> Evidence:
    """Return how far the finest detail of the picture, and of a face in it, departs from what cameras leave."""
    if not scene.media.frames:
        return _skipped("no_picture", "There is no picture in this file, so its fine texture was not checked.")
    if min(scene.media.frames[0].image.shape[:2]) < patches.MIN_PICTURE_PX:
        return _skipped("too_small", "The picture is too small for a check of its fine texture.")
    if net is None:
        raise ValueError("the frequency branch needs its net")
    judged = [_judge(scene, frame, net) for frame in patches.frames_to_judge(scene, CLIP_FRAMES)]
    logit = float(np.mean([one.logit for one in judged]))
    score = patches.probability(logit, net)
    quality = float(np.mean([one.quality for one in judged]))
    return Evidence(
        "frequency",
        "picture",
        "scored",
        patches.with_standing(sentence(score, quality), net),
        score=score,
        logit=logit,
        confidence=abs(2 * score - 1) * quality,
        quality=quality,
        curve=patches.curve(judged, net),
        heatmaps=patches.heatmaps(judged, net, "frequency_heatmap"),
        pieces=patches.judged_pieces(judged, net),
        data={"frames": len(judged)},
    )


def sentence(score: float, quality: float) -> str:
    """Return the finding in plain words."""
    if score >= 0.65:
        words = "The finest detail repeats in a way that up-sampling in picture generators leaves behind."
    elif score <= 0.35:
        words = "The finest detail looks like a camera's, without the regular pattern of up-sampling."
    else:
        words = "The finest detail is neither clearly a camera's nor clearly a generator's."
    return words + (" Little of it is left in this file, so this counts less." if quality < 0.35 else "")


def _judge(scene: Scene, frame: Frame, net: Net) -> patches.Judged:
    """Judge pieces of the whole frame and of the region around its largest face, all at native resolution."""
    size = net.spec.input_size
    pieces = patches.choose(frame.image, size, PIECES_PER_SIDE)
    whole = len(pieces)
    for face in patches.faces_in(scene, frame, FACES_PER_FRAME):
        pieces += _face_pieces(frame, face, size)
    logits, cams = patches.judge(pieces, net)
    logit = float(logits[:whole].mean())
    if len(pieces) > whole:
        logit = (logit + float(logits[whole:].mean())) / 2
    cam = patches.spread_cam(pieces, cams, frame.image.shape)
    boxes = tuple(piece.box for piece in pieces[:whole])
    return patches.Judged(frame, logit, logits[:whole], cam, patches.quality(frame.image), boxes)


def _face_pieces(frame: Frame, face: Face, size: int) -> list[patches.Patch]:
    """Return pieces of the face region, with boxes in pixels of the frame."""
    height, width = frame.image.shape[:2]
    x, y, side, _ = faces.crop_box(face)
    left, top = max(int(x), 0), max(int(y), 0)
    right, bottom = min(int(x + side), width), min(int(y + side), height)
    if min(right - left, bottom - top) < patches.MIN_PICTURE_PX // 2:
        return []
    found = patches.choose(np.ascontiguousarray(frame.image[top:bottom, left:right]), size, PIECES_PER_SIDE)
    return [replace(p, box=(p.box[0] + left, p.box[1] + top, p.box[2], p.box[3])) for p in found]


def _skipped(reason: str, words: str) -> Evidence:
    return Evidence("frequency", "picture", "skipped", words, reason=reason)


def build() -> Any:
    """Return the untrained net: a small residual network, cut after its third stage, on high-pass residuals.

    forward(batch (n, 3, h, w), pixel values over 255) -> {"logit": (n,), "cam": (n, h/8, w/8)}.
    Source: neighbouring pixel relations, Tan et al. 2024, arXiv:2312.10461.
    """
    import torch
    from torch import Tensor, nn
    from torch.nn import functional

    class Block(nn.Module):
        def __init__(self, inputs: int, width: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, width, 3, stride=stride, padding=1, bias=False)
            self.norm1 = nn.BatchNorm2d(width)
            self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
            self.norm2 = nn.BatchNorm2d(width)
            self.shortcut: nn.Module = nn.Identity()
            if stride != 1 or inputs != width:
                self.shortcut = nn.Sequential(
                    nn.Conv2d(inputs, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width)
                )

        def forward(self, x: Tensor) -> Tensor:
            y = torch.relu(self.norm1(self.conv1(x)))
            return torch.relu(self.norm2(self.conv2(y)) + self.shortcut(x))

    class FrequencyNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(6, 32, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(32))
            self.stages = nn.Sequential(
                Block(32, 32, 1), Block(32, 64, 2), Block(64, 64, 1), Block(64, 96, 2), Block(96, 96, 1)
            )
            self.dropout = nn.Dropout(0.3)
            self.head = nn.Linear(96, 1)

        @staticmethod
        def residual(batch: Tensor) -> Tensor:
            """Return (n, 6, h, w): what nearest-neighbour down- and up-sampling, and a 3x3 mean, do not explain.

            Both vanish on a flat picture. Edges are squashed: they tell of the content, not of its making.
            """
            neighbours = functional.interpolate(batch[:, :, ::2, ::2], scale_factor=2.0, mode="nearest")
            padded = functional.pad(batch, (1, 1, 1, 1), mode="replicate")
            smooth = functional.avg_pool2d(padded, 3, stride=1)
            return torch.tanh(torch.cat([batch - neighbours, batch - smooth], dim=1) * 12)

        def forward(self, batch: Tensor) -> dict[str, Tensor]:
            maps = self.stages(torch.relu(self.stem(self.residual(batch))))
            logit = self.head(self.dropout(maps.mean(dim=(2, 3))))[:, 0]
            weights = self.head.weight[0][:, None, None]
            return {"logit": logit, "cam": torch.relu((maps * weights).sum(dim=1))}

    return FrequencyNet()
