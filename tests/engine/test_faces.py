"""Faces are found, followed and cut out, in stills and clips, in colour and grey."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from detection.engine import face_finders, faces
from detection.engine.types import Face, Frame
from tests.engine.clips import FACE_BOX, astronaut


def frame(index: int, image: np.ndarray, time_s: float | None = None) -> Frame:
    return Frame(index, index / 10 if time_s is None else time_s, np.ascontiguousarray(image))


def test_one_face_with_landmarks():
    (face,) = faces.find_faces(astronaut())
    assert faces.overlap(face.box, FACE_BOX) > 0.85
    assert face.confidence > 0.9
    assert face.landmarks is not None
    assert face.landmarks.shape == (468, 3)
    assert face.five_points is not None
    left_eye, right_eye, nose, left_mouth, right_mouth = face.five_points
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_eye[1] < nose[1] < left_mouth[1]
    assert left_mouth[0] < right_mouth[0]
    np.testing.assert_allclose(left_eye, [203.6, 102.4], atol=3)


def test_a_grey_picture():
    grey = np.repeat(astronaut().mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    (face,) = faces.find_faces(grey)
    assert faces.overlap(face.box, FACE_BOX) > 0.8


def test_several_faces_largest_first():
    head = astronaut()[40:220, 120:330]
    small = cv2.resize(head, None, fx=0.6, fy=0.6)
    canvas = np.full((400, 800, 3), 190, np.uint8)
    canvas[20:200, 20:230] = head
    canvas[200:380, 560:770] = head[:, ::-1]
    canvas[30 : 30 + small.shape[0], 400 : 400 + small.shape[1]] = small
    found = faces.find_faces(canvas)
    assert len(found) == 3
    sizes = [face.box[2] * face.box[3] for face in found]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("scale", [0.2, 0.3])
def test_a_small_face_in_a_large_still(scale):
    person = cv2.resize(astronaut(), None, fx=scale * 2, fy=scale * 2, interpolation=cv2.INTER_AREA)
    canvas = np.full((1500, 2000, 3), 150, np.uint8)
    canvas[900 : 900 + person.shape[0], 1300 : 1300 + person.shape[1]] = person
    found = faces.find_faces(canvas)
    assert len(found) == 1
    assert 1300 < found[0].box[0] < 1300 + person.shape[1]


def test_a_face_that_fills_the_picture():
    x, y, width, height = FACE_BOX
    found = faces.find_faces(cv2.resize(astronaut()[y : y + height, x : x + width], (300, 340)))
    assert len(found) == 1


@pytest.mark.parametrize("degrees", [-35, 35])
def test_a_tilted_face_is_aligned(degrees):
    turn = cv2.getRotationMatrix2D((225, 120), degrees, 1.0)
    tilted = cv2.warpAffine(astronaut(), turn, (512, 512), borderMode=cv2.BORDER_REPLICATE)
    (face,) = faces.find_faces(tilted)
    upright = faces.align(tilted, face, 256, margin=1.6)
    (again,) = faces.find_faces(upright)
    assert again.five_points is not None
    slope = again.five_points[1] - again.five_points[0]
    assert abs(np.degrees(np.arctan2(slope[1], slope[0]))) < 4


def test_no_face_in_noise_or_flat_pictures():
    noise = np.random.default_rng(3).integers(0, 255, (480, 640, 3), dtype=np.uint8)
    assert faces.find_faces(noise) == ()
    assert faces.find_faces(np.full((480, 640, 3), 128, np.uint8)) == ()


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 2000, 3), (2000, 3, 3), (17, 17, 3)])
def test_odd_shapes_do_no_harm(shape):
    assert faces.find_faces(np.zeros(shape, np.uint8)) == ()


def test_mtcnn_agrees_with_blazeface():
    (found,) = face_finders.mtcnn(astronaut())
    x1, y1, x2, y2 = found.corners
    assert faces.overlap((x1, y1, x2 - x1, y2 - y1), FACE_BOX) > 0.7
    np.testing.assert_allclose(found.points[0], [203.6, 102.4], atol=6)


def test_crop_shows_the_box_with_its_margin():
    face = Face(0, 0.0, (100.0, 100.0, 80.0, 100.0), 1.0)
    gradient = np.repeat(np.arange(512, dtype=np.uint8)[None, :, None], 512, axis=0).repeat(3, axis=2)
    assert faces.crop_box(face, 1.5) == (65.0, 75.0, 150.0, 150.0)
    cut = faces.crop(gradient, face, 150, margin=1.5)
    assert cut.shape == (150, 150, 3)
    assert cut.dtype == np.uint8
    np.testing.assert_allclose(cut[70, :, 0], np.arange(65, 215), atol=1)


def test_crop_shrinks_without_aliasing():
    stripes = np.zeros((800, 800, 3), np.uint8)
    stripes[:, ::2] = 255
    cut = faces.crop(stripes, Face(0, 0.0, (0.0, 0.0, 800.0, 800.0), 1.0), 100, margin=1.0)
    assert np.abs(cut.astype(int) - 127).max() < 12


def test_crop_repeats_the_edge():
    white = np.full((100, 100, 3), 255, np.uint8)
    cut = faces.crop(white, Face(0, 0.0, (-50.0, -50.0, 100.0, 100.0), 1.0), 64)
    assert cut.min() == 255


def moving(count: int) -> list[Frame]:
    """The portrait sliding to the right over a wider canvas."""
    images = []
    for index in range(count):
        canvas = np.full((512, 700, 3), 120, np.uint8)
        canvas[:, index * 8 : index * 8 + 512] = astronaut()
        images.append(frame(index, canvas))
    return images


def test_a_moving_person_is_one_track():
    (track,) = faces.find_tracks(moving(20))
    assert len(track.faces) == 20
    assert [face.frame_index for face in track.faces] == list(range(20))
    assert all(face.landmarks is not None and face.track == 0 for face in track.faces)
    walked = track.faces[-1].box[0] - track.faces[0].box[0]
    assert walked == pytest.approx(19 * 8, abs=6)


def test_two_people_are_two_tracks():
    pair = np.concatenate([astronaut(), astronaut()[:, ::-1]], axis=1)
    tracks = faces.find_tracks([frame(index, pair) for index in range(8)])
    assert [len(track.faces) for track in tracks] == [8, 8]
    assert [track.number for track in tracks] == [0, 1]


def test_a_cut_ends_the_track():
    first, second = astronaut(), 255 - astronaut()[:, ::-1] // 4
    frames = [frame(index, first) for index in range(6)] + [frame(index, second) for index in range(6, 12)]
    tracks = faces.find_tracks(frames)
    assert all({f.frame_index < 6 for f in track.faces} in ({True}, {False}) for track in tracks)


def test_the_same_person_later_in_the_clip_stays_one_track():
    early = [frame(index, astronaut()) for index in range(5)]
    late = [frame(250 + index, astronaut(), 10 + index / 10) for index in range(5)]
    (track,) = faces.find_tracks(early + late)
    assert len(track.faces) == 10


def test_a_face_that_leaves_is_not_carried_on():
    empty = np.full((512, 512, 3), 110, np.uint8)
    frames = [frame(index, astronaut()) for index in range(6)] + [frame(index, empty) for index in range(6, 12)]
    (track,) = faces.find_tracks(frames)
    assert track.faces[-1].frame_index == 5


def test_a_clip_without_faces_has_no_tracks():
    assert faces.find_tracks([frame(index, np.zeros((90, 160, 3), np.uint8)) for index in range(5)]) == ()
    assert faces.find_tracks([]) == ()
