"""The temporal branch: windows of embeddings, people, skips, and its shipped weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detection.engine import registry, runtime
from detection.engine.branches import spatial, temporal
from detection.engine.types import Scene, Window
from tests.engine import scenes
from tests.engine.test_spatial import SPEC, BrightIsFake, two_people

EMBEDDING = 1280  # what the spatial net hands over per face
GOLDEN = [-0.320, -0.244]  # the shipped weights on two waves


class TremblingIsFake:
    """A stand-in net: the more an embedding changes from frame to frame, the higher the logit."""

    spec = replace(SPEC, name="temporal", temperature=1.0, bias=0.0)

    def __call__(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        change = np.abs(np.diff(batch, axis=1)).mean(axis=(1, 2))
        return {"logit": (change * 10 - 1).astype(np.float32), "attention": np.full(batch.shape[:2], 1 / 16)}


@pytest.fixture
def spatial_net(monkeypatch: pytest.MonkeyPatch) -> BrightIsFake:
    net = BrightIsFake()
    monkeypatch.setattr(runtime, "load", lambda name: net)
    return net


def flickering(scene: Scene) -> Scene:
    """Every second frame of the right half goes dark."""
    frames = []
    for frame in scene.media.frames:
        image = frame.image.copy()
        image[:, 100:] = 255 if frame.index % 2 else 60
        frames.append(replace(frame, image=image))
    return replace(scene, media=replace(scene.media, frames=tuple(frames)))


def test_a_still_is_skipped(spatial_net):
    evidence = temporal.examine(scenes.still(box=(10, 10, 50, 50)), TremblingIsFake())
    assert (evidence.state, evidence.reason, evidence.score) == ("skipped", "not_a_video", None)


def test_a_clip_without_faces_is_skipped(spatial_net):
    scene = replace(scenes.clip(), tracks=(), windows=())
    assert temporal.examine(scene, TremblingIsFake()).reason == "no_face"


def test_a_glimpse_of_a_face_is_skipped(spatial_net):
    scene = two_people()
    scene = replace(scene, windows=tuple(Window(w.track, w.faces[:5]) for w in scene.windows))
    assert temporal.examine(scene, TremblingIsFake()).reason == "too_short"


def test_the_trembling_person_decides(spatial_net):
    evidence = temporal.examine(flickering(two_people()), TremblingIsFake())
    assert evidence.score > 0.9
    calm, trembling = evidence.data["tracks"]
    assert calm["score"] < 0.5 < trembling["score"]
    assert "does not hold together" in evidence.sentence
    assert {point.track for point in evidence.curve} == {0, 1}


def test_a_calm_clip_is_not_suspicious(spatial_net):
    evidence = temporal.examine(two_people(), TremblingIsFake())
    assert evidence.score < 0.5
    assert evidence.sentence == "The face changes over time as a filmed face does."


def test_the_spatial_net_runs_once_for_both_branches(spatial_net):
    scene = two_people()
    spatial.examine(scene, spatial_net)
    temporal.examine(scene, TremblingIsFake())
    assert spatial_net.seen == 40


def test_a_short_run_is_played_forth_and_back():
    filled = temporal.fill(np.arange(9, dtype=np.float32)[:, None])
    assert filled[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 7, 6, 5, 4, 3, 2, 1]
    assert temporal.fill(np.ones((1, 3), np.float32)).shape == (16, 3)


def test_the_suspicious_half_of_the_windows_counts():
    assert temporal.of_person([-4.0, -4.0, 2.0, 4.0]) == pytest.approx(3.0)


def test_shipped_weights_give_the_golden_logits():
    net = runtime.load("temporal")
    windows = np.sin(np.arange(2 * 16 * EMBEDDING, dtype=np.float32)).reshape(2, 16, EMBEDDING)
    outputs = net(windows)
    assert outputs["logit"].tolist() == pytest.approx(GOLDEN, abs=0.02)
    assert outputs["attention"].sum(axis=1).tolist() == pytest.approx([1.0, 1.0], abs=1e-3)


def test_shipped_weights_fit_the_layout_that_build_makes():
    torch = pytest.importorskip("torch")
    spec = registry.BRANCHES["temporal"]
    module = runtime.build_module(spec)
    runtime.load_state(module, registry.WEIGHTS_DIR / spec.files["torch"][0][0])
    windows = np.random.default_rng(0).normal(size=(2, 16, EMBEDDING)).astype(np.float32)
    with torch.inference_mode():
        logits = module.eval()(torch.from_numpy(windows))["logit"].numpy()
    assert runtime.load("temporal")(windows)["logit"].tolist() == pytest.approx(logits.tolist(), abs=0.02)
