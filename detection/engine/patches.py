"""Native-resolution pieces of a picture: where generators leave traces that any resizing would wash out."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.engine.runtime import Net
from detection.engine.types import CurvePoint, Face, Frame, Heatmap, Piece, Scene

Image = NDArray[np.uint8]
Box = tuple[int, int, int, int]

MIN_PICTURE_PX = 64
MAX_HEATMAPS = 3
STORED_JPEG_QUALITY = 87
MOST_FLAT = 0.7  # share of pixels that equal their neighbours within one grey level
MOST_OF_ONE_TONE = 0.7  # share of pixels within four grey levels of the most frequent one


@dataclass(frozen=True, eq=False)
class Patch:
    box: Box  # x, y, w, h in pixels of the picture; smaller than the image where the picture was mirrored
    image: Image  # (size, size, 3) RGB


@dataclass(frozen=True, eq=False)
class Judged:
    """What a net said of one frame."""

    frame: Frame
    logit: float
    piece_logits: NDArray[np.float32]  # (n,) pieces of the whole frame
    cam: NDArray[np.float32]  # (rows, columns) over the whole frame
    quality: float
    boxes: tuple[Box, ...] = ()  # where the pieces of the whole frame lie


def choose(image: Image, size: int, per_side: int = 3) -> list[Patch]:
    """Return up to per_side x per_side pieces, one of each part of the picture, there where it has most texture.

    Spread, because an edited or generated part may lie anywhere; textured, because a flat sky holds no trace.
    image: (h, w, 3) uint8 RGB. A side shorter than `size` is mirrored at its borders.
    """
    padded = pad_to(image, size)
    height, width = padded.shape[:2]
    texture = _texture(padded, size)
    patches = []
    for y0, y1 in _parts(height, size, per_side):
        for x0, x1 in _parts(width, size, per_side):
            y, x = _most_textured(texture, y0, y1, x0, x1)
            patches.append(_patch(image, padded, x, y, size))
    return patches


def grid(image: Image, size: int) -> list[Patch]:
    """Return corners and middle of a small picture, without doubles."""
    padded = pad_to(image, size)
    bottom, right = padded.shape[0] - size, padded.shape[1] - size
    places = [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)]
    return [_patch(image, padded, x, y, size) for y, x in dict.fromkeys(places)]


def pad_to(image: Image, size: int) -> Image:
    """Mirror the borders of a picture until both sides are at least `size`."""
    lack_y, lack_x = max(size - image.shape[0], 0), max(size - image.shape[1], 0)
    if not lack_y and not lack_x:
        return image
    widths = ((lack_y // 2, lack_y - lack_y // 2), (lack_x // 2, lack_x - lack_x // 2), (0, 0))
    return np.pad(image, widths, mode="symmetric")


def frames_to_judge(scene: Scene, count: int) -> list[Frame]:
    """Return the still, or `count` frames spread over a clip (not its very ends: fades and titles live there)."""
    frames = scene.media.frames
    if len(frames) <= count:
        return list(frames)
    places = (np.arange(count) + 0.5) / count * len(frames)
    return [frames[int(place)] for place in places]


def faces_in(scene: Scene, frame: Frame, most: int) -> list[Face]:
    """Return the largest faces of a frame, the largest first."""
    found = [face for track in scene.tracks for face in track.faces if face.frame_index == frame.index]
    return sorted(found, key=lambda face: -face.box[2] * face.box[3])[:most]


def judge(patches: Sequence[Patch], net: Net) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return (n,) logits and (n, h, w) maps of pieces."""
    batch = to_batch([as_stored(patch.image) for patch in patches], net.spec.mean, net.spec.std)
    outputs = net(batch)
    return outputs["logit"], outputs["cam"]


def probability(logit: float, net: Net) -> float:
    """Return p_fake of a raw logit, calibrated as the net's spec says."""
    return float(1 / (1 + np.exp(-(logit / net.spec.temperature + net.spec.bias))))


def with_standing(words: str, net: Net) -> str:
    """Add to a sentence that the branch does not count, where its weights did not earn a place in the fusion."""
    if net.spec.fused:
        return words
    return words + " This check is shown for information and does not count towards the verdict."


def curve(judged: Sequence[Judged], net: Net) -> tuple[CurvePoint, ...]:
    """Return one point per frame of a clip, reaching half-way to its neighbours; none for a still."""
    if len(judged) < 2:
        return ()
    times = [one.frame.time_s for one in judged]
    borders = [times[0], *((a + b) / 2 for a, b in itertools.pairwise(times)), times[-1]]
    return tuple(
        CurvePoint(borders[i], borders[i + 1], probability(one.logit, net), frame_index=one.frame.index)
        for i, one in enumerate(judged)
    )


def heatmaps(judged: Sequence[Judged], net: Net, kind: str) -> tuple[Heatmap, ...]:
    """Return the maps of the most suspicious frames."""
    ranked = sorted(judged, key=lambda one: -one.logit)[:MAX_HEATMAPS]
    return tuple(
        Heatmap(one.frame.index, one.frame.time_s, one.cam, None, probability(one.logit, net), kind=kind)
        for one in ranked
    )


def judged_pieces(judged: Sequence[Judged], net: Net) -> tuple[Piece, ...]:
    """Return which parts of the frames were judged, each with the score it got by itself.

    A frame without texture was judged by its faces alone: it has logits, but no boxes, and gives no pieces.
    """
    return tuple(
        Piece(one.frame.index, one.frame.time_s, box, probability(float(logit), net))
        for one in judged
        for box, logit in zip(one.boxes, one.piece_logits, strict=False)
    )


def as_stored(image: Image) -> Image:
    """Pass a piece once through JPEG 87, 4:4:4.

    All training pictures, camera or generator, were stored so: a PNG that skipped this step would look unlike both.
    """
    data = encode_jpeg(image, STORED_JPEG_QUALITY)
    stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if stored is None:
        raise ValueError("a piece could not be passed through JPEG")
    return np.asarray(cv2.cvtColor(stored, cv2.COLOR_BGR2RGB), np.uint8)


def has_texture(image: Image) -> bool:
    """Return False for paper, screens, charts and clear skies: hardly a pixel differs from its neighbours, or nearly
    all have one tone. One photo in a hundred has no texture in this sense.

    image: (h, w, 3) uint8 RGB.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    window = np.ones((3, 3), np.uint8)
    flat = float((cv2.subtract(cv2.dilate(grey, window), cv2.erode(grey, window)) <= 1).mean())
    tones = np.bincount(grey.ravel(), minlength=256) / grey.size
    one_tone = float(np.convolve(tones, np.ones(9), "same").max())
    return flat <= MOST_FLAT and one_tone <= MOST_OF_ONE_TONE


def encode_jpeg(image: Image, quality: int, *, subsampled: bool = False) -> bytes:
    """Return image, (h, w, 3) uint8 RGB, as JPEG; 4:4:4 unless subsampled (4:2:0)."""
    factor = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420 if subsampled else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor]
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), flags)
    return bytes(data)


def to_batch(crops: Sequence[Image], mean: Sequence[float], std: Sequence[float]) -> NDArray[np.float32]:
    """Return (n, 3, size, size) float32, normalised; mean and std per colour on the 0..255 scale."""
    batch = np.empty((len(crops), 3, *crops[0].shape[:2]), np.float32)
    for planes, crop in zip(batch, crops, strict=True):
        for plane, colour in zip(planes, cv2.split(crop), strict=True):  # ten times as fast as a transposed copy
            plane[:] = colour
    batch -= np.asarray(mean, np.float32).reshape(1, 3, 1, 1)
    batch /= np.asarray(std, np.float32).reshape(1, 3, 1, 1)
    return batch


def quality(image: Image) -> float:
    """Return [0, 1]: how much fine detail a picture still has to judge by; small, blurred or blocky ones have less."""
    height, width = image.shape[:2]
    size = min(height, width) / 256
    middle = image[height // 2 - min(height, 512) // 2 :, width // 2 - min(width, 512) // 2 :][:512, :512]
    grey = cv2.cvtColor(np.ascontiguousarray(middle), cv2.COLOR_RGB2GRAY).astype(np.float32)
    sharp = float(np.abs(cv2.Laplacian(grey, cv2.CV_32F)).mean()) / 6
    return float(np.clip(min(size, 1.0) * min(sharp, 1.0) * (1 - _blockiness(grey)), 0.05, 1.0))


def _blockiness(grey: NDArray[np.float32]) -> float:
    """Return [0, 0.7]: how far steps at the borders of 8-pixel blocks stand out, as after heavy JPEG."""
    if min(grey.shape) < 32:
        return 0.0
    steps = np.abs(np.diff(grey, axis=1)).mean(axis=0)
    means = np.array([steps[phase::8].mean() for phase in range(8)])
    excess = means.max() / max(float(np.median(means)), 0.3) - 1.25
    return float(np.clip(excess, 0.0, 0.7))


def spread_cam(patches: Sequence[Patch], cams: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return one (rows, columns) map over the whole picture from the maps of its pieces, 64 cells on the long side."""
    scale = 64 / max(shape[:2])
    rows, columns = (max(1, round(side * scale)) for side in shape[:2])
    total = np.zeros((rows, columns), np.float32)
    for patch, cam in zip(patches, cams, strict=True):
        x, y, w, h = (round(value * scale) for value in patch.box)
        w, h = max(1, min(w, columns - x)), max(1, min(h, rows - y))
        part = cv2.resize(np.asarray(cam, np.float32), (w, h), interpolation=cv2.INTER_AREA)
        total[y : y + h, x : x + w] = np.maximum(total[y : y + h, x : x + w], part)
    return total


def _texture(image: Image, size: int) -> NDArray[np.float32]:
    """Return, at a quarter of the resolution, the mean fine detail of a piece whose corner lies there."""
    small = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    detail = np.abs(cv2.Laplacian(small, cv2.CV_16S)).clip(0, 40).astype(np.uint8)
    detail = np.asarray(cv2.resize(detail, (image.shape[1] // 4, image.shape[0] // 4), interpolation=cv2.INTER_AREA))
    window = max(size // 4, 1)
    mean = cv2.boxFilter(detail, cv2.CV_32F, (window, window), anchor=(0, 0), borderType=cv2.BORDER_REFLECT)
    return np.asarray(mean[: (image.shape[0] - size) // 4 + 1, : (image.shape[1] - size) // 4 + 1], np.float32)


def _parts(side: int, size: int, most: int) -> list[tuple[int, int]]:
    """Return (first, last) corner positions of each part of one axis."""
    count = min(max(-(-side // size), 1), most)
    edges = np.linspace(0, side - size + 1, count + 1).astype(int)
    if side < count * size:  # parts would overlap by half or more: fixed places, evenly spread
        return [(int(place), int(place) + 1) for place in np.linspace(0, side - size, count)]
    return [(int(low), max(int(high), int(low) + 1)) for low, high in itertools.pairwise(edges)]


def _most_textured(texture: NDArray[np.float32], y0: int, y1: int, x0: int, x1: int) -> tuple[int, int]:
    if y1 - y0 == 1 and x1 - x0 == 1:
        return y0, x0
    part = texture[y0 // 4 : max(y1 // 4, y0 // 4 + 1), x0 // 4 : max(x1 // 4, x0 // 4 + 1)]
    row, column = np.unravel_index(int(part.argmax()), part.shape)
    return min(y0 + 4 * int(row), y1 - 1), min(x0 + 4 * int(column), x1 - 1)


def _patch(image: Image, padded: Image, x: int, y: int, size: int) -> Patch:
    """Cut a piece; its box is clipped to the picture as it was before mirroring."""
    off_y = max(size - image.shape[0], 0) // 2
    off_x = max(size - image.shape[1], 0) // 2
    left, top = max(x - off_x, 0), max(y - off_y, 0)
    right, bottom = min(x - off_x + size, image.shape[1]), min(y - off_y + size, image.shape[0])
    return Patch((left, top, right - left, bottom - top), np.ascontiguousarray(padded[y : y + size, x : x + size]))
