"""Faces: find them, follow each person through a clip, place 468 landmarks, cut them out. Knows nobody's identity."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.engine import face_finders, third_party
from detection.engine.face_finders import Found, Image, Points
from detection.engine.types import Face, Frame, Track

Box = tuple[float, float, float, float]
Region = tuple[float, float, float, float]  # centre x, centre y, side, angle in radians

MESH_SIDE = 192
MIN_PRESENCE = 0.5  # FaceMesh: below this its points have left the face that they followed
SURE_PRESENCE = 0.9  # FaceMesh: what a newly found face must reach
LIKELY_SCORE = 0.65  # a detection below this needs a second opinion
SURE_SCORE, SURE_P_FACE = 0.9, 0.95  # both: kept without landmarks (a face turned away or covered)
SEARCH_SIDE = 1280  # longest side of the picture that is searched; landmarks and crops use all its pixels
SMALL_FACE = 0.15  # of the longer side: below this a still is searched in tiles too
MIN_FACE_PX = 16.0
MAX_FACES = 16
DETECT_EVERY = 5  # frames of a clip between two searches; landmarks carry the faces in between
SAME_RUN_S = 0.5  # a longer pause between two sampled frames needs a fresh search
CUT_DIFFERENCE = 45.0  # mean grey-level change of a 16x16 thumbnail that means another shot
CROP_MARGIN = 1.3  # side of a face crop over the longer side of the face box

# FaceMesh point numbers. "Left" and "right" as seen in the picture.
LEFT_EYE, RIGHT_EYE = (33, 133), (362, 263)
NOSE_TIP, LEFT_MOUTH, RIGHT_MOUTH = 1, 61, 291


def find_faces(image: Image, *, frame_index: int = 0, time_s: float = 0.0, thorough: bool = True) -> tuple[Face, ...]:
    """Return the faces of one picture, largest first, with landmarks where FaceMesh accepts them.

    image: (h, w, 3) RGB uint8. `thorough` also looks through tiles and with MTCNN when the first look finds nothing
    (small, many, turned faces); in a clip the next frames give that second chance.
    """
    searched, shrink = _searchable(image)

    def described(found: list[Found], known: tuple[Face, ...] = ()) -> tuple[Face, ...]:
        return (*known, *_describe(image, _enlarged(found, shrink), frame_index, time_s, known=known))[:MAX_FACES]

    faces = described(face_finders.blaze(searched))
    if not thorough or (faces and max(faces[0].box[2:]) >= SMALL_FACE * max(image.shape[:2])):
        return faces
    if not faces:
        faces = described(face_finders.blaze_around(searched))
    # A crowd: where one small face is, more may be too small for a look at the whole picture, and smaller ones still
    # where the first tiles find any.
    seen = len(faces)
    faces = described(face_finders.blaze_tiles(searched, 2), faces)
    if not seen or len(faces) > seen:
        faces = described(face_finders.blaze_tiles(searched, 3), faces)
    return faces or described(face_finders.mtcnn(searched))


def _searchable(image: Image) -> tuple[Image, float]:
    """Return the picture no larger than the detectors profit from, and how much it was shrunk."""
    height, width = image.shape[:2]
    shrink = SEARCH_SIDE / max(height, width)
    if shrink >= 1:
        return image, 1.0
    return face_finders.resized(image, max(1, round(width * shrink)), max(1, round(height * shrink))), shrink


def _enlarged(found: list[Found], shrink: float) -> list[Found]:
    return [replace(one, corners=one.corners / shrink, points=one.points / shrink) for one in found]


def find_tracks(frames: Sequence[Frame]) -> tuple[Track, ...]:
    """Return one track per person, the one seen largest and longest first. A still gives tracks of one face.

    frames: in time order, RGB. Deterministic; costs about 2 ms per frame and face on two cores.
    """
    if len(frames) == 1:
        faces = find_faces(frames[0].image, frame_index=frames[0].index, time_s=frames[0].time_s)
        return tuple(Track(number, (replace(face, track=number),)) for number, face in enumerate(faces))
    follower = _Follower()
    for frame in frames:
        follower.push(frame)
    return follower.tracks()


class _Follower:
    """Follows faces from frame to frame by place and size; a cut ends every track."""

    def __init__(self) -> None:
        self._done: list[list[Face]] = []
        self._open: list[list[Face]] = []
        self._last: Frame | None = None
        self._thumbnail: NDArray[np.float32] | None = None
        self._since_search = 0

    def push(self, frame: Frame) -> None:
        is_cut = self._is_cut(frame)
        if is_cut:
            self._done += self._open
            self._open = []
        pause_s = frame.time_s - self._last.time_s if self._last is not None else math.inf
        self._since_search += 1
        carried: list[Face] = []
        if pause_s <= SAME_RUN_S and not is_cut:
            carried = self._carry(frame)
        lost = len(carried) < sum(track[-1].frame_index == self._last_index() for track in self._open)
        if is_cut or pause_s > SAME_RUN_S or lost or self._since_search >= DETECT_EVERY:
            carried = self._search(frame, carried)
            self._since_search = 0
        self._assign(carried)
        self._last = frame

    def tracks(self) -> tuple[Track, ...]:
        """A face seen once or twice in a clip is a passer-by or a mistake, unless there is nothing else."""
        everyone = [track for track in self._done + self._open if track]
        lasting = [track for track in everyone if len(track) >= 3] or everyone
        lasting.sort(key=lambda track: sum(face.box[2] * face.box[3] for face in track), reverse=True)
        return tuple(
            Track(number, tuple(replace(face, track=number) for face in track))
            for number, track in enumerate(lasting[:MAX_FACES])
        )

    def _last_index(self) -> int:
        return self._last.index if self._last is not None else -1

    def _is_cut(self, frame: Frame) -> bool:
        step = max(1, min(frame.image.shape[:2]) // 64)  # every pixel of 720 lines would take longer than the faces
        grey = face_finders.resized(np.ascontiguousarray(frame.image[::step, ::step]), 16, 16).mean(axis=2)
        thumbnail, before = np.asarray(grey, np.float32), self._thumbnail
        self._thumbnail = thumbnail
        return before is not None and float(np.abs(thumbnail - before).mean()) > CUT_DIFFERENCE

    def _carry(self, frame: Frame) -> list[Face]:
        """Place the landmarks again where they were in the frame before: the cheap step between searches."""
        carried: list[Face] = []
        for track in self._open:
            before = track[-1]
            if before.landmarks is None or before.frame_index != self._last_index():
                continue
            mesh, presence = _mesh(frame.image, _region_of_mesh(before.landmarks))
            if presence >= MIN_PRESENCE:
                face = _face_with_mesh(mesh, presence, frame.index, frame.time_s)
                if all(overlap(face.box, other.box) < 0.4 for other in carried):
                    carried.append(face)
        return carried

    def _search(self, frame: Frame, carried: list[Face]) -> list[Face]:
        """Add the faces that a fresh look finds and nothing carried here."""
        found = _describe(frame.image, face_finders.blaze(frame.image), frame.index, frame.time_s, known=carried)
        return [*carried, *found]

    def _assign(self, faces: list[Face]) -> None:
        """Give each face to the open track that it continues best, the surest pairs first."""
        pairs = [
            (likeness, i, j)
            for i, face in enumerate(faces)
            for j, track in enumerate(self._open)
            if (likeness := _likeness(track[-1], face)) > 0
        ]
        pairs.sort(reverse=True)
        taken_faces: set[int] = set()
        taken_tracks: set[int] = set()
        for _, i, j in pairs:
            if i not in taken_faces and j not in taken_tracks:
                self._open[j].append(faces[i])
                taken_faces.add(i)
                taken_tracks.add(j)
        self._open += [[face] for i, face in enumerate(faces) if i not in taken_faces]


def _likeness(before: Face, now: Face) -> float:
    """How well `now` continues `before`, from place and size alone: 0 (cannot) to 1 (same place)."""
    size_before, size_now = max(before.box[2:]), max(now.box[2:])
    if not 0.5 < size_now / max(size_before, 1e-6) < 2.0:
        return 0.0
    dx = (now.box[0] + now.box[2] / 2) - (before.box[0] + before.box[2] / 2)
    dy = (now.box[1] + now.box[3] / 2) - (before.box[1] + before.box[3] / 2)
    away = math.hypot(dx, dy) / max(size_before, size_now)
    # Between two windows of a long clip a head may have moved; within a run it cannot get far.
    reach = 0.8 if now.time_s - before.time_s <= SAME_RUN_S else 1.5
    return max(0.0, 1.0 - away / reach)


def _describe(
    image: Image, found: Iterable[Found], frame_index: int, time_s: float, known: Sequence[Face] = ()
) -> tuple[Face, ...]:
    """Check each detection with FaceMesh; drop doubles and what is `known` already. Largest first."""
    faces: list[Face] = []
    for candidate in found:
        x1, y1, x2, y2 = (float(value) for value in candidate.corners)
        if any(overlap((x1, y1, x2 - x1, y2 - y1), other.box) > 0.4 for other in known):
            continue
        face = _face_of(image, candidate, frame_index, time_s)
        if face is not None and all(overlap(face.box, other.box) < 0.4 for other in (*faces, *known)):
            faces.append(face)
    faces.sort(key=lambda face: face.box[2] * face.box[3], reverse=True)
    return tuple(faces[:MAX_FACES])


def _face_of(image: Image, found: Found, frame_index: int, time_s: float) -> Face | None:
    """Believe a detection when FaceMesh does, and a doubtful one when O-net does too: dogs and dolls have faces."""
    if float((found.corners[2:] - found.corners[:2]).max()) < MIN_FACE_PX:
        return None
    mesh, presence = _mesh(image, _region_of_detection(found))
    if presence >= MIN_PRESENCE:
        # A second look from its own points: the detector's box is often a little off.
        mesh, again = _mesh(image, _region_of_mesh(mesh))
        is_likely = found.score >= LIKELY_SCORE or face_finders.p_face(image, found) >= 0.5
        if min(presence, again) >= SURE_PRESENCE and is_likely:
            return _face_with_mesh(mesh, again, frame_index, time_s)
    if found.score < SURE_SCORE or face_finders.p_face(image, found) < SURE_P_FACE:
        return None
    x1, y1, x2, y2 = (float(value) for value in found.corners)
    return Face(frame_index, time_s, (x1, y1, x2 - x1, y2 - y1), found.score, None, found.points)


def _face_with_mesh(mesh: Points, presence: float, frame_index: int, time_s: float) -> Face:
    low, high = mesh[:, :2].min(axis=0), mesh[:, :2].max(axis=0)
    box = (float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1]))
    return Face(frame_index, time_s, box, presence, mesh, five_points(mesh))


def five_points(mesh: Points) -> Points:
    """Return (5, 2): left eye, right eye, nose tip, left and right mouth corner (as seen in the picture)."""
    eyes = [mesh[list(eye), :2].mean(axis=0) for eye in (LEFT_EYE, RIGHT_EYE)]
    return np.stack([*eyes, mesh[NOSE_TIP, :2], mesh[LEFT_MOUTH, :2], mesh[RIGHT_MOUTH, :2]]).astype(np.float32)


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two (x, y, w, h) boxes."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (a[2] * a[3] + b[2] * b[3] - width * height)


def _mesh(image: Image, region: Region) -> tuple[Points, float]:
    """Run FaceMesh in a turned square. Returns (468, 3) points in pixels of the picture and p(face is there)."""
    centre_x, centre_y, side, angle = region
    scale = side / MESH_SIDE
    cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
    half = MESH_SIDE / 2
    to_image = np.array(
        [[cos, -sin, centre_x - cos * half + sin * half], [sin, cos, centre_y - sin * half - cos * half]], np.float32
    )
    # FaceMesh was made for crops that go black outside the picture.
    patch = cv2.warpAffine(image, to_image, (MESH_SIDE, MESH_SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    points, presence = third_party.load("face_mesh")((patch.astype(np.float32) / 255.0)[None]).values()
    mesh = points.reshape(-1, 3)
    placed = np.empty_like(mesh)
    placed[:, :2] = mesh[:, :2] @ to_image[:, :2].T + to_image[:, 2]
    placed[:, 2] = mesh[:, 2] * scale
    return placed, float(1.0 / (1.0 + math.exp(-float(presence.reshape(-1)[0]))))


def _region_of_detection(found: Found) -> Region:
    left, right = found.points[0], found.points[1]
    angle = math.atan2(float(right[1] - left[1]), float(right[0] - left[0]))
    x1, y1, x2, y2 = (float(value) for value in found.corners)
    return (x1 + x2) / 2, (y1 + y2) / 2, max(x2 - x1, y2 - y1) * 1.35, angle


def _region_of_mesh(mesh: Points) -> Region:
    """The turned square around the landmarks, 1.5 times their extent."""
    left, right = mesh[LEFT_EYE[0], :2], mesh[RIGHT_EYE[1], :2]
    angle = math.atan2(float(right[1] - left[1]), float(right[0] - left[0]))
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], np.float32)
    upright = mesh[:, :2] @ turn
    low, high = upright.min(axis=0), upright.max(axis=0)
    centre = turn @ ((low + high) / 2)
    return float(centre[0]), float(centre[1]), float((high - low).max()) * 1.5, angle


def crop_box(face: Face, margin: float = CROP_MARGIN) -> Box:
    """The square that `crop` cuts: x, y, w, h in pixels of the frame; may reach past the picture's edge."""
    x, y, width, height = face.box
    side = max(width, height) * margin
    return x + width / 2 - side / 2, y + height / 2 - side / 2, side, side


def crop(image: Image, face: Face, size: int, margin: float = CROP_MARGIN) -> Image:
    """Cut the face out as it stands: (size, size, 3) uint8 RGB; what lies past the picture's edge repeats the edge."""
    x, y, side, _ = crop_box(face, margin)
    scale = side / size
    # Half-pixel centres, as cv2.resize has them.
    to_image = np.array([[scale, 0, x + scale / 2 - 0.5], [0, scale, y + scale / 2 - 0.5]], np.float32)
    return _warp(image, to_image, size, scale)


def align(image: Image, face: Face, size: int, margin: float = CROP_MARGIN) -> Image:
    """Cut the face out turned upright (eye line level), same scale as `crop`. Without points it equals `crop`."""
    if face.five_points is None:
        return crop(image, face, size, margin)
    left, right = face.five_points[0], face.five_points[1]
    angle = math.atan2(float(right[1] - left[1]), float(right[0] - left[0]))
    x, y, side, _ = crop_box(face, margin)
    scale = side / size
    cos, sin, half = math.cos(angle) * scale, math.sin(angle) * scale, (size - 1) / 2
    centre_x, centre_y = x + side / 2 - 0.5, y + side / 2 - 0.5
    to_image = np.array(
        [[cos, -sin, centre_x - cos * half + sin * half], [sin, cos, centre_y - sin * half - cos * half]], np.float32
    )
    return _warp(image, to_image, size, scale)


def _warp(image: Image, to_image: NDArray[np.float32], size: int, scale: float) -> Image:
    """Sample a square of the picture. Shrinking by more than two goes through a larger square first: no aliasing."""
    factor = max(1, min(8, math.floor(scale)))
    inner = to_image.copy()
    inner[:, :2] /= factor
    # The centre of big pixel (i, j) is the mean of its small ones: shift by half the difference.
    inner[:, 2] += (inner[:, :2] - to_image[:, :2]).sum(axis=1) / 2
    side = size * factor
    sampled = cv2.warpAffine(
        image, inner, (side, side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )
    if factor > 1:
        sampled = cv2.resize(sampled, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(sampled, np.uint8)
