"""The spatial branch: what it says of scenes with, without and with too small faces, and its shipped weights."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from detection.engine import faces, registry, runtime
from detection.engine.branches import spatial
from detection.engine.types import Face, Frame, Scene, Track, Window
from tests.engine import scenes

SPEC = registry.BranchSpec(
    name="spatial",
    channel="picture",
    version="test",
    files={"openvino": (("x.xml", "0"), ("x.bin", "1"))},
    input_size=32,
    mean=(127.0,) * 3,
    std=(128.0,) * 3,
    threshold=0.5,
    licence="none",
    source="none",
    build="none:none",
    temperature=2.0,
    bias=0.5,
)


GOLDEN = [-1.291, -3.025]  # the shipped weights on a ramp and on a wave


class BrightIsFake:
    """A stand-in net: the brighter the crop, the higher the logit; counts the faces that it saw."""

    spec = SPEC

    def __init__(self) -> None:
        self.seen = 0

    def __call__(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        self.seen += len(batch)
        logit = batch.mean(axis=(1, 2, 3)).astype(np.float32) * 4
        cam = np.repeat(logit, 4).reshape(-1, 2, 2)
        return {"logit": logit, "cam": cam, "embedding": np.repeat(logit[:, None], 8, axis=1)}


def two_people(bright_frames: int = 20) -> Scene:
    """A clip with a dark face on the left and a bright one on the right."""
    image = np.zeros((100, 200, 3), np.uint8)
    image[:, 100:] = 255
    frames = tuple(Frame(i, i * 0.1, image) for i in range(20))
    people = []
    for number, (x, count) in enumerate(((20.0, 20), (120.0, bright_frames))):
        found = tuple(Face(i, i * 0.1, (x, 20.0, 60.0, 60.0), 0.9, track=number) for i in range(count))
        people.append(Track(number, found))
    windows = tuple(Window(t.number, t.faces) for t in people)
    base = scenes.clip()
    return replace(base, media=replace(base.media, frames=frames), tracks=tuple(people), windows=windows)


def test_no_face_is_skipped_with_words():
    evidence = spatial.examine(scenes.still(), BrightIsFake())
    assert (evidence.state, evidence.reason, evidence.score) == ("skipped", "no_face", None)
    assert "No face" in evidence.sentence


def test_a_tiny_face_is_skipped():
    evidence = spatial.examine(scenes.still(box=(10, 10, 20, 20)), BrightIsFake())
    assert (evidence.state, evidence.reason) == ("skipped", "face_too_small")


def test_the_most_suspicious_person_decides():
    evidence = spatial.examine(two_people(), BrightIsFake())
    assert evidence.logit == pytest.approx(4.0, abs=0.05)
    assert evidence.score == pytest.approx(1 / (1 + np.exp(-(4.0 / 2 + 0.5))), abs=0.01)
    low, high = evidence.data["tracks"]
    assert low["score"] < 0.5 < high["score"]


def test_a_passer_by_does_not_decide():
    evidence = spatial.examine(two_people(bright_frames=2), BrightIsFake())
    assert evidence.score < 0.5
    assert len(evidence.data["tracks"]) == 1


def test_heatmaps_lie_on_the_most_suspicious_faces():
    evidence = spatial.examine(two_people(), BrightIsFake())
    assert 1 <= len(evidence.heatmaps) <= spatial.HEATMAPS
    for heatmap in evidence.heatmaps:
        assert heatmap.track == 1
        assert heatmap.box[0] >= 100
        assert heatmap.cam.min() >= 0
    times = sorted(heatmap.time_s for heatmap in evidence.heatmaps)
    assert all(b - a >= spatial.HEATMAP_APART_S - 1e-9 for a, b in itertools.pairwise(times))


def test_the_curve_has_a_point_for_every_look_in_order():
    evidence = spatial.examine(two_people(), BrightIsFake())
    assert len(evidence.curve) == 40
    for point in evidence.curve:
        assert 0 <= point.end_s - point.start_s <= 0.5
        assert (point.score > 0.5) == (point.track == 1)


def test_one_scene_is_looked_at_once():
    scene, net = two_people(), BrightIsFake()
    assert spatial.look(scene, net) is spatial.look(scene, net)
    assert net.seen == 40


def test_a_sharp_frontal_large_face_is_of_better_quality():
    image = scenes.astronaut()
    (face, *_) = faces.find_faces(image)
    crop = faces.crop(image, face, 160)
    good = spatial.quality(face, crop)
    blurred = np.full_like(crop, crop.mean())
    profile = replace(face, five_points=face.five_points[[0, 1, 0, 3, 4]])
    assert good > 0.5
    assert spatial.quality(face, blurred) < good / 2
    assert spatial.quality(profile, crop) < good
    assert spatial.quality(replace(face, box=(0, 0, 40, 40)), crop) < good


@pytest.fixture(scope="module")
def net() -> runtime.Net:
    return runtime.load("spatial")


def test_shipped_weights_give_the_golden_logits(net):
    size = net.spec.input_size
    ramp = np.linspace(-1, 1, 3 * size * size, dtype=np.float32).reshape(1, 3, size, size)
    wave = np.sin(np.arange(3 * size * size, dtype=np.float32) / 7).reshape(1, 3, size, size)
    outputs = net(np.concatenate([ramp, wave]))
    assert outputs["logit"].tolist() == pytest.approx(GOLDEN, abs=0.02)
    assert outputs["cam"].mean(axis=(1, 2)).tolist() == pytest.approx(outputs["logit"].tolist(), abs=1e-3)


def test_shipped_weights_fit_the_layout_that_build_makes():
    torch = pytest.importorskip("torch")
    spec = registry.BRANCHES["spatial"]
    module = runtime.build_module(spec)
    runtime.load_state(module, registry.WEIGHTS_DIR / spec.files["torch"][0][0])
    size = spec.input_size
    batch = np.random.default_rng(0).normal(size=(2, 3, size, size)).astype(np.float32)
    with torch.inference_mode():
        logits = module.eval()(torch.from_numpy(batch))["logit"].numpy()
    assert runtime.load("spatial")(batch)["logit"].tolist() == pytest.approx(logits.tolist(), abs=0.02)


def test_a_photo_is_judged_with_evidence(net):
    image = scenes.astronaut()
    (face, *_) = faces.find_faces(image)
    scene = scenes.still(image)
    scene = replace(scene, tracks=(Track(0, (face,)),), windows=(Window(0, (face,)),))
    evidence = spatial.examine(scene, net)
    assert evidence.state == "scored"
    assert evidence.score < 0.5
    assert 0.3 < evidence.quality <= 1
    assert evidence.curve == ()
