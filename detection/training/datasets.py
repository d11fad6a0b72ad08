"""Face patches for the face nets: manifests read once, faces found once, patches kept as flat uint8 files."""

from __future__ import annotations

import csv
import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.engine import faces
from detection.engine.types import Face, Frame
from detection.training import splits

log = logging.getLogger(__name__)

PATCH_PX = 208
PATCH_MARGIN = 1.7  # room around the serving crop (faces.CROP_MARGIN) for blending, shifting and scaling
CLIP_FRAMES = 32
CLIP_STEP = 2  # every second frame: 12.5 a second at 25 fps, as serving samples a clip (sampling.RATE_HZ)
LANDMARKS = 468

CLIP_ENDINGS = {".mp4", ".mov", ".webm", ".mkv", ".avi", ".mpeg", ".mpg", ".m4v"}
PICTURE_ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".heic", ".bmp"}

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Item:
    """One labelled file with a face. `source` is what a split leaves out whole, `group` what shares a person."""

    path: str
    is_fake: bool
    is_clip: bool
    split: str
    source: str
    group: str
    method: str
    manipulation: str
    licence: str
    size_bytes: int
    original: tuple[int, int] = (0, 0)  # size before re-encoding: for audits, never for a net


def read_items(manifests: Sequence[Path]) -> list[Item]:
    """Return every picture and clip of the manifests; paths count from its manifest's folder."""
    items = []
    for manifest in manifests:
        with manifest.open(newline="") as file:
            rows = list(csv.DictReader(file))
        for row, split in zip(rows, splits.assign(rows), strict=True):
            path = manifest.parent / row["path"]
            ending = path.suffix.lower()
            if row["label"] in ("real", "fake") and ending in CLIP_ENDINGS | PICTURE_ENDINGS:
                items.append(_item(row, path, split, is_clip=ending in CLIP_ENDINGS))
    return items


def _item(row: dict[str, str], path: Path, split: str, *, is_clip: bool) -> Item:
    return Item(
        path=str(path),
        is_fake=row["label"] == "fake",
        is_clip=is_clip,
        split=split,
        source=row.get("source_repo", ""),
        group=splits.bootstrap_group(row),
        method=row.get("method", ""),
        manipulation=row.get("manipulation", ""),
        licence=row.get("licence", ""),
        size_bytes=path.stat().st_size,
        original=(int(row.get("orig_width") or 0), int(row.get("orig_height") or 0)),
    )


@dataclass(frozen=True, eq=False)
class Patches:
    """Faces of many items, cut with PATCH_MARGIN, and their landmarks in patch pixels (nan where none were found)."""

    items: list[Item]
    images: NDArray[np.uint8]  # (n, PATCH_PX, PATCH_PX, 3) RGB, a memory map
    points: NDArray[np.float32]  # (n, 468, 2)
    owner: NDArray[np.int64]  # (n,) index into items
    time_s: NDArray[np.float32]  # (n,)

    def of(self, item: int) -> NDArray[np.int64]:
        """Rows of one item, in time order."""
        return np.flatnonzero(self.owner == item)

    @property
    def has_points(self) -> NDArray[np.bool_]:
        return np.isfinite(self.points[:, 0, 0])


def load_patches(manifests: Sequence[Path], folder: Path) -> Patches:
    """Return the patches of the manifests, building them in `folder` the first time (minutes)."""
    items = read_items(manifests)
    key = _cache_key(items)
    table = folder / f"faces-{key}.npz"
    if not table.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        _build(items, folder / f"faces-{key}.bin", table)
    saved = np.load(table)
    count = len(saved["owner"])
    images = np.memmap(folder / f"faces-{key}.bin", np.uint8, "r", shape=(count, PATCH_PX, PATCH_PX, 3))
    return Patches(items, images, saved["points"], saved["owner"], saved["time_s"])


def _cache_key(items: Sequence[Item]) -> str:
    """What the patches depend on: the files and how faces are cut, not how they are split or labelled."""
    files = [[Path(item.path).name, item.size_bytes, item.is_clip] for item in items]
    settings = [PATCH_PX, PATCH_MARGIN]
    if any(item.is_clip for item in items):
        settings += [CLIP_FRAMES, CLIP_STEP]
    return hashlib.sha256(json.dumps([files, settings]).encode()).hexdigest()[:16]


def _build(items: list[Item], images: Path, table: Path) -> None:
    points, owner, times = [], [], []
    with images.open("wb") as file:
        for number, item in enumerate(items):
            found = 0
            for patch, landmarks, time_s in _faces_of(item):
                file.write(patch.tobytes())
                points.append(landmarks)
                owner.append(number)
                times.append(time_s)
                found += 1
            if not found:
                log.info("no face in %s", item.path)
            if number % 200 == 0:
                log.info("faces: %d of %d files", number, len(items))
    np.savez(
        table,
        points=np.asarray(points, np.float32).reshape(-1, LANDMARKS, 2),
        owner=np.asarray(owner, np.int64),
        time_s=np.asarray(times, np.float32),
    )


def _faces_of(item: Item) -> Iterator[tuple[Image, NDArray[np.float32], float]]:
    if not item.is_clip:
        image = cv2.imread(item.path, cv2.IMREAD_COLOR)
        if image is None:
            log.warning("unreadable: %s", item.path)
            return
        rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
        for face in faces.find_faces(rgb)[:1]:
            yield (*cut(rgb, face), 0.0)
        return
    frames = read_frames(Path(item.path))
    by_index = {frame.index: frame for frame in frames}
    for track in faces.find_tracks(frames)[:1]:
        for face in track.faces:
            yield (*cut(by_index[face.frame_index].image, face), face.time_s)


def read_frames(path: Path) -> list[Frame]:
    """Return up to CLIP_FRAMES frames of a trusted training clip, every CLIP_STEP-th from the start."""
    import av

    frames = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        for index, frame in enumerate(container.decode(stream)):
            if index % CLIP_STEP == 0:
                image = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
                frames.append(Frame(index, float(frame.time or 0.0), image))
            if len(frames) == CLIP_FRAMES:
                break
    return frames


def cut(image: Image, face: Face) -> tuple[Image, NDArray[np.float32]]:
    """Return the patch around a face and its landmarks in patch pixels (nan when it has none)."""
    patch = faces.crop(image, face, PATCH_PX, PATCH_MARGIN)
    if face.landmarks is None:
        return patch, np.full((LANDMARKS, 2), np.nan, np.float32)
    x, y, side, _ = faces.crop_box(face, PATCH_MARGIN)
    points = (face.landmarks[:LANDMARKS, :2] - np.array([x, y], np.float32)) * np.float32(PATCH_PX / side)
    return patch, points.astype(np.float32)


def serving_crop(patch: Image, size: int, *, scale: float = 1.0, shift: tuple[float, float] = (0.0, 0.0)) -> Image:
    """Cut from a patch what `faces.crop(..., size)` cuts at serving; scale and shift (of the side) jitter it."""
    side = PATCH_PX * faces.CROP_MARGIN / PATCH_MARGIN * scale
    x = (PATCH_PX - side) / 2 + shift[0] * side
    y = (PATCH_PX - side) / 2 + shift[1] * side
    step = side / size
    to_patch = np.array([[step, 0, x + step / 2 - 0.5], [0, step, y + step / 2 - 0.5]], np.float32)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(patch, to_patch, (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )
