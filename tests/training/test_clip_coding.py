"""H.264 there and back: same size, worse with a higher crf, alike for both of a pair."""

import numpy as np
import pytest

from detection.training import clip_coding, datasets, face_pairs
from tests.training.faces_made import draw_face, make_patches


def run(frames: int = 3) -> np.ndarray:
    image, _ = draw_face(1)
    return np.stack([np.roll(image, step, axis=1) for step in range(frames)])


@pytest.mark.parametrize("scale", [1.0, 0.63])
def test_a_coded_run_keeps_its_shape_and_its_picture(scale):
    frames = run()
    shown = clip_coding.coded(frames, clip_coding.Coding(22, scale))
    assert shown.shape == frames.shape
    assert shown.dtype == np.uint8
    assert 0 < np.abs(shown.astype(int) - frames).mean() < 16


def test_a_higher_crf_loses_more():
    frames = run().astype(int)
    lost = [np.abs(clip_coding.coded(run(), clip_coding.Coding(crf, 1.0)) - frames).mean() for crf in (20, 28, 36)]
    assert lost == sorted(lost)


def test_the_same_coding_gives_the_same_run():
    coding = clip_coding.draw_coding(np.random.default_rng(3))
    assert np.array_equal(clip_coding.coded(run(), coding), clip_coding.coded(run(), coding))


def test_draws_stay_between_a_good_upload_and_a_messenger():
    rng = np.random.default_rng(0)
    drawn = [clip_coding.draw_coding(rng) for _ in range(200)]
    assert {min(c.crf for c in drawn), max(c.crf for c in drawn)} == {20, 36}
    assert all(0.6 <= c.scale <= 1.0 for c in drawn)


def test_pairs_may_go_through_the_encoder():
    config = {
        "pairs": 2, "input_size": 64, "swap_share": 0.5, "clip_share": 0.5, "coded_share": 1.0, "whole_share": 0.5,
    }  # fmt: skip
    stream = face_pairs.PairStream([make_patches(6), make_patches(4, is_clip=True)], config, seed=1)
    batch = next(iter(stream)).float()
    assert batch.shape == (4, 64, 64, 3)
    assert ((batch[:2] - batch[2:]).abs().mean(dim=(1, 2, 3)) > 0).all()


def test_neighbouring_faces_of_a_clip_are_taken_where_there_are_any():
    rng = np.random.default_rng(0)
    one_clip = make_patches(5, is_clip=True)
    one_clip = datasets.Patches(one_clip.items, one_clip.images, one_clip.points, np.zeros(5, int), one_clip.time_s)
    images, points = face_pairs._run_of(one_clip, 4, 3, rng)
    assert np.array_equal(images, one_clip.images[2:5])
    assert np.array_equal(points, one_clip.points[2:5])
    still, meshes = face_pairs._run_of(make_patches(5), 1, 3, rng)
    assert np.array_equal(still[0], make_patches(5).images[1])
    assert not np.array_equal(still[0], still[2])
    assert not np.array_equal(meshes[0], meshes[2])
