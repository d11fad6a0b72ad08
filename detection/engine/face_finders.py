"""Face detectors: BlazeFace (short and full range) and MTCNN, each from a picture to boxes with five points."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.engine import third_party

Image = NDArray[np.uint8]
Points = NDArray[np.float32]

SHORT_SIDE, FULL_SIDE = 128, 192
MIN_SCORE = {"face_short": 0.5, "face_full": 0.6}  # as published with the models
FOREHEAD = 0.13  # BlazeFace's box ends at the brows: so much higher it covers what FaceMesh and MTCNN call the face
MTCNN_SIDE = 800  # longest side of the picture that MTCNN searches
MTCNN_MIN_FACE = 24.0  # in that picture
MTCNN_SCORES = (0.6, 0.7, 0.7)  # as published: P-net, R-net, O-net
MAX_CANDIDATES = 32


@dataclass(frozen=True, eq=False)
class Found:
    """A face as a detector reports it, in pixels."""

    corners: Points  # (4,) x1 y1 x2 y2
    points: Points  # (5, 2) left eye, right eye, nose, left and right mouth corner, as seen in the picture
    score: float


# --- BlazeFace ---------------------------------------------------------------------------------------------------


def blaze(image: Image) -> list[Found]:
    """Look with both ranges: the short one is for faces that fill the picture, the full one for smaller ones."""
    found = _blaze_once(image, "face_short", SHORT_SIDE) + _blaze_once(image, "face_full", FULL_SIDE)
    return best(found)


def blaze_around(image: Image) -> list[Found]:
    """Look at the picture with room around it, for a face that fills it."""
    pad = max(image.shape[:2]) // 3
    padded = np.asarray(cv2.copyMakeBorder(image, pad, pad, pad, pad, cv2.BORDER_REPLICATE), np.uint8)
    return best([_moved(one, -pad, -pad) for one in _blaze_once(padded, "face_short", SHORT_SIDE)])


def blaze_tiles(image: Image, across: int) -> list[Found]:
    """Look again through across x across overlapping tiles; a picture too small for them is left alone."""
    height, width = image.shape[:2]
    if min(height, width) < (200 if across <= 2 else 600):
        return []
    found: list[Found] = []
    tile_w, tile_h = int(width / across * 1.25), int(height / across * 1.25)
    for x in np.linspace(0, width - tile_w, across).astype(int):
        for y in np.linspace(0, height - tile_h, across).astype(int):
            tile = image[y : y + tile_h, x : x + tile_w]
            found += [_moved(one, x, y) for one in _blaze_once(tile, "face_full", FULL_SIDE)]
    return best(found)


def resized(image: Image, width: int, height: int) -> Image:
    """Scale to exactly width x height, without aliasing when that is smaller."""
    shrinks = width < image.shape[1] or height < image.shape[0]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=way), np.uint8)


def _moved(found: Found, dx: float, dy: float) -> Found:
    shift = np.array([dx, dy], np.float32)
    return replace(found, corners=found.corners + np.tile(shift, 2), points=found.points + shift)


def _blaze_once(image: Image, name: str, side: int) -> list[Found]:
    """Run one detector on a picture letterboxed to its square input."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    new_w, new_h = max(1, round(width * scale)), max(1, round(height * scale))
    canvas = np.zeros((side, side, 3), np.float32)
    left, top = (side - new_w) // 2, (side - new_h) // 2
    canvas[top : top + new_h, left : left + new_w] = resized(image, new_w, new_h)
    raw_boxes, raw_scores = third_party.load(name)((canvas / 127.5 - 1.0)[None]).values()
    scores = np.asarray(1.0 / (1.0 + np.exp(-np.clip(raw_scores[0, :, 0], -80, 80))), np.float32)
    keep = np.flatnonzero(scores >= MIN_SCORE[name])
    if not keep.size:
        return []
    values = raw_boxes[0, keep] + np.tile(_anchors(side)[keep] * side, 8) * _is_position()
    values = (values - _offset(left, top)) / scale
    return _merge_neighbours(np.asarray(values, np.float32), scores[keep])


def _is_position() -> NDArray[np.float32]:
    """Of the 16 raw values, numbers 2 and 3 are a size; all others are positions relative to the anchor."""
    mask = np.ones(16, np.float32)
    mask[2:4] = 0
    return mask


def _offset(left: int, top: int) -> NDArray[np.float32]:
    return np.tile(np.array([left, top], np.float32), 8) * _is_position()


@lru_cache(maxsize=2)
def _anchors(side: int) -> NDArray[np.float32]:
    """Return the (n, 2) anchor centres in [0, 1]: grids of stride 8 and 16 (short range), or stride 4 (full range)."""
    layout = ((8, 2), (16, 6)) if side == SHORT_SIDE else ((4, 1),)
    centres = []
    for stride, per_cell in layout:
        cells = side // stride
        axis = (np.arange(cells, dtype=np.float32) + 0.5) / cells
        grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
        centres.append(np.repeat(grid, per_cell, axis=0))
    return np.concatenate(centres)


def _merge_neighbours(values: NDArray[np.float32], scores: NDArray[np.float32]) -> list[Found]:
    """Average the answers that lie over one another, weighted by score (the suppression BlazeFace was made for)."""
    corners = np.concatenate([values[:, :2] - values[:, 2:4] / 2, values[:, :2] + values[:, 2:4] / 2], axis=1)
    order = scores.argsort()[::-1]
    merged = []
    while order.size:
        best = order[0]
        same = np.array([overlap(corners[best], corners[i]) > 0.3 for i in order])
        same[0] = True
        group = order[same]
        weights = (scores[group] / scores[group].sum())[:, None]
        points = (values[group, 4:] * weights).sum(axis=0).reshape(6, 2)
        box = (corners[group] * weights).sum(axis=0)
        box[1] -= FOREHEAD * (box[3] - box[1])
        merged.append(Found(box.astype(np.float32), _five_of_six(points), float(scores[best])))
        order = order[~same]
    return merged


def _five_of_six(points: Points) -> Points:
    """BlazeFace gives eyes, nose, mouth centre and ears: place mouth corners from its centre and the eye line."""
    left_eye, right_eye, nose, mouth = points[:4]
    half = (right_eye - left_eye) * 0.38
    return np.stack([left_eye, right_eye, nose, mouth - half, mouth + half]).astype(np.float32)


# --- MTCNN -------------------------------------------------------------------------------------------------------


def mtcnn(image: Image) -> list[Found]:
    """Cascade of Zhang et al. 2016, arXiv:1604.02878: slower, but finds small, turned and half-hidden faces."""
    shrink = min(1.0, MTCNN_SIDE / max(image.shape[:2]))
    small = image
    if shrink < 1:
        size = (max(1, round(image.shape[1] * shrink)), max(1, round(image.shape[0] * shrink)))
        small = resized(image, *size)
    boxes = _squared(_propose(small))
    if not len(boxes):
        return []
    shift, scores = third_party.load("rnet")(_patches(small, boxes, 24)).values()
    boxes, shift, kept = boxes[scores[:, 1] > MTCNN_SCORES[1]], shift[scores[:, 1] > MTCNN_SCORES[1]], scores[:, 1]
    kept = kept[kept > MTCNN_SCORES[1]]
    pick = _suppress(boxes, kept, 0.7)
    boxes = _squared(_shifted(boxes[pick], shift[pick]))
    if not len(boxes):
        return []
    shift, points, scores = third_party.load("onet")(_patches(small, boxes, 48)).values()
    sure = scores[:, 1] > MTCNN_SCORES[2]
    extent = (boxes[sure, 2:] - boxes[sure, :2] + 1)[:, None, :]
    five = np.stack([points[sure, :5], points[sure, 5:]], axis=2) * extent + boxes[sure, None, :2]
    corners = _shifted(boxes[sure], shift[sure])
    faces = [
        Found(corners[i] / shrink, (five[i] / shrink).astype(np.float32), float(score))
        for i, score in enumerate(scores[sure, 1])
    ]
    return best(faces)


def p_face(image: Image, found: Found) -> float:
    """Return O-net's opinion of another detector's find."""
    outputs = third_party.load("onet")(_patches(image, _squared(found.corners[None]), 48))
    return float(list(outputs.values())[2][0, 1])


def _propose(image: Image) -> NDArray[np.float32]:
    """P-net over a pyramid. Returns (n, 4) corner boxes."""
    height, width = image.shape[:2]
    scale = 12.0 / MTCNN_MIN_FACE
    all_boxes, all_scores = [np.zeros((0, 4), np.float32)], [np.zeros(0, np.float32)]
    while min(height, width) * scale >= 12:
        pixels = _normalised(resized(image, int(width * scale + 1), int(height * scale + 1)))
        shift, probability = (value[0] for value in third_party.load("pnet")(pixels).values())
        rows, columns = np.nonzero(probability[1] >= MTCNN_SCORES[0])
        at = np.stack([columns, rows], axis=1).astype(np.float32) * 2
        boxes = np.concatenate([np.floor((at + 1) / scale), np.floor((at + 12) / scale)], axis=1)
        scores = probability[1][rows, columns]
        pick = _suppress(boxes, scores, 0.5)
        all_boxes.append(_shifted(boxes[pick], shift[:, rows[pick], columns[pick]].T, plus=0))
        all_scores.append(scores[pick])
        scale *= 0.709
    boxes, scores = np.concatenate(all_boxes), np.concatenate(all_scores)
    return boxes[_suppress(boxes, scores, 0.7)]


def _shifted(boxes: NDArray[np.float32], shift: NDArray[np.float32], plus: float = 1) -> NDArray[np.float32]:
    size = np.tile(boxes[:, 2:] - boxes[:, :2] + plus, 2)
    return (boxes + shift * size).astype(np.float32)


def _squared(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def _patches(image: Image, boxes: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Cut and shrink each box to (n, 3, side, side); parts outside the picture are left out, as in training."""
    height, width = image.shape[:2]
    patches = []
    for x1, y1, x2, y2 in boxes.astype(int):
        x1, y1 = min(max(x1, 0), width - 2), min(max(y1, 0), height - 2)
        patch = image[y1 : max(y2, y1 + 2), x1 : max(x2, x1 + 2)]
        patches.append(_normalised(resized(patch, side, side))[0])
    return np.stack(patches)


def _normalised(image: Image) -> NDArray[np.float32]:
    return ((image.astype(np.float32) - 127.5) / 128.0).transpose(2, 0, 1)[None]


def _suppress(boxes: NDArray[np.float32], scores: NDArray[np.float32], limit: float) -> NDArray[np.intp]:
    """Greedy non-maximum suppression. Returns indices, best first."""
    order = scores.argsort()[::-1]
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    keep = []
    while order.size:
        first, rest = order[0], order[1:]
        keep.append(first)
        low = np.maximum(boxes[first, :2], boxes[rest, :2])
        high = np.minimum(boxes[first, 2:], boxes[rest, 2:])
        shared = np.clip(high - low, 0, None).prod(axis=1)
        order = rest[shared / (areas[first] + areas[rest] - shared + 1e-9) <= limit]
    return np.array(keep, np.intp)


# --- boxes -------------------------------------------------------------------------------------------------------


def best(found: list[Found]) -> list[Found]:
    """Keep the surest of the answers for one face."""
    kept: list[Found] = []
    for one in sorted(found, key=lambda f: f.score, reverse=True):
        if all(overlap(one.corners, other.corners) < 0.3 for other in kept):
            kept.append(one)
    return kept[:MAX_CANDIDATES]


def overlap(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Intersection over union of two corner boxes."""
    size = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    shared = float(size[0] * size[1])
    total = float((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod()) - shared
    return shared / total if total > 0 else 0.0
