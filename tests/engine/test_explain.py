"""Explain: the evidence becomes files that show what they claim to show."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from detection.engine import explain, registry
from detection.engine.fusion import fuse
from detection.engine.types import CurvePoint, Heatmap
from tests.engine import scenes
from tests.engine.test_fusion import STACK, said

BOX = (180.0, 60.0, 110.0, 140.0)


def cam() -> np.ndarray:
    hot = np.zeros((5, 5), np.float32)
    hot[1, 3] = 2.0
    return hot


def test_overlay_is_bright_and_opaque_only_where_the_map_is_high() -> None:
    picture = explain.overlay(cam(), aspect=1.0)
    size = explain.OVERLAY_PX
    assert picture.shape == (size, size, 4)
    y, x = np.unravel_index(np.argmax(picture[..., 3]), picture.shape[:2])
    assert (x / size, y / size) == pytest.approx((0.7, 0.3), abs=0.08)
    assert picture[-1, 0, 3] == 0
    assert picture[..., 3].max() <= explain.MAX_OPACITY * 255


@pytest.mark.parametrize("aspect", [0.5, 1.0, 2.0])
def test_overlay_has_the_shape_of_its_box(aspect: float) -> None:
    height, width = explain.overlay(cam(), aspect).shape[:2]
    assert width / height == pytest.approx(aspect, rel=0.02)


def test_a_pictures_artifacts_lie_where_they_say(tmp_path: Path) -> None:
    scene = scenes.still(box=BOX)
    heatmap = Heatmap(0, 0.0, cam(), BOX, 0.9, track=0)
    evidence = [said("spatial", 0.9, heatmaps=(heatmap,), curve=(CurvePoint(0.0, 0.0, 0.9, 0, 0),))]
    verdict = fuse("image", evidence, stack=STACK)
    artifacts = explain.write(scene, verdict, tmp_path, stack=STACK)
    assert {a.kind for a in artifacts} == {"saliency_map", "face", "frequency_heatmap", "frequency_map"}
    for artifact in artifacts:
        assert (tmp_path / artifact.path).stat().st_size > 100
        assert artifact.caption
    overlay = next(a for a in artifacts if a.kind == "saliency_map")
    assert overlay.box == BOX
    assert cv2.imread(str(tmp_path / overlay.path), cv2.IMREAD_UNCHANGED).shape[2] == 4


def test_maps_of_branches_without_weight_are_left_out() -> None:
    heatmap = Heatmap(0, 0.0, cam(), None, 0.9)
    evidence = [said("frequency", 0.9, heatmaps=(heatmap,)), said("spatial", 0.8)]
    assert explain.strongest_maps(fuse("image", evidence, stack=STACK)) == []


def test_without_heatmaps_no_pictures_of_nets_are_written(tmp_path: Path) -> None:
    scene = scenes.still(box=BOX)
    verdict = fuse("image", [said("spatial", 0.9, heatmaps=(Heatmap(0, 0.0, cam(), BOX, 0.9),))], stack=STACK)
    artifacts = explain.write(scene, verdict, tmp_path, stack=STACK, heatmaps=False)
    assert {a.kind for a in artifacts} == {"face"}


def test_the_curve_holds_every_branch_and_channel(tmp_path: Path) -> None:
    scene = scenes.clip(32)
    curve = tuple(
        CurvePoint(w.span.start_s, w.span.end_s, p, 0) for w, p in zip(scene.windows, (0.1, 0.9), strict=True)
    )
    verdict = fuse("video", [said("spatial", 0.6, curve=curve)], stack=STACK)
    artifacts = explain.write(scene, verdict, tmp_path, stack=STACK)
    path = next(a.path for a in artifacts if a.kind == "temporal_attention")
    content = json.loads((tmp_path / path).read_text())
    assert [p["score"] for p in content["branches"]["spatial"]] == [0.1, 0.9]
    points = content["channels"][0]["points"]
    assert points[0][1] < 0.4 < points[-1][1]
    assert content["channels"][0]["track"] == 0


def test_waveform_follows_loudness() -> None:
    scene = scenes.recording(2.0)
    shape = explain.waveform(scene, [said("audio", 0.8, "voice", curve=(CurvePoint(0.0, 2.0, 0.8),))])
    assert shape is not None
    peaks = shape["peaks"]
    assert len(peaks) <= explain.WAVEFORM_BINS
    assert len(peaks) * shape["bin_s"] == pytest.approx(2.0, abs=0.01)
    assert max(peaks[:100]) < max(peaks[-100:]) <= 1
    assert shape["scores"] == [{"start_s": 0.0, "end_s": 2.0, "score": 0.8}]


def test_waveform_carries_the_moments_at_which_lips_and_sound_part() -> None:
    parted = [{"start_s": 0.5, "end_s": 1.5}]
    lips = replace(said("av_sync", 0.8, "synchrony"), data={"desync": parted})
    shape = explain.waveform(scenes.recording(), [lips])
    assert shape is not None
    assert shape["desync"] == parted


def test_silent_media_have_no_waveform() -> None:
    assert explain.waveform(scenes.still(), []) is None


def test_a_grid_shows_as_a_dot_in_the_spectrum() -> None:
    x = np.mgrid[:256, :256][1]
    crop = np.repeat((128 + 20 * np.sin(2 * np.pi * x / 8))[..., None], 3, axis=2).astype(np.uint8)
    left = cv2.cvtColor(explain.frequency_picture(crop), cv2.COLOR_BGR2GRAY)[:, :256]
    assert left[128, 128 + 32] > 200
    assert left[128 + 60, 128] < 120


@pytest.mark.parametrize(("counts", "shown"), [(True, 0.9), (False, None)])
def test_the_most_suspicious_face_is_shown(monkeypatch: pytest.MonkeyPatch, counts: bool, shown: float | None) -> None:
    monkeypatch.setitem(registry.BRANCHES, "spatial", replace(registry.BRANCHES["spatial"], fused=counts))
    scene = scenes.clip(32)
    curve = (CurvePoint(0.0, 1.2, 0.2, 0), CurvePoint(1.3, 2.5, 0.9, 0))
    face, score = explain.most_suspicious_face(scene.tracks[0].faces, [said("spatial", 0.5, curve=curve)])
    assert score == shown
    assert not counts or face.time_s > 1.2


def test_detail_maps_are_bright_where_detail_is() -> None:
    image = np.full((200, 300, 3), 128, np.uint8)
    image[:, 200:] = np.random.default_rng(0).integers(0, 255, (200, 100, 3), dtype=np.uint8)
    found = explain.fine_detail(image)
    assert found.shape == (85, 128)
    assert found[:, 95:].mean() > 0.7
    assert found[:, :72].max() < 0.1


def test_a_clip_gets_detail_maps_of_its_heatmaps_frames_and_some_more(tmp_path: Path) -> None:
    scene = scenes.clip(32)
    heatmap = Heatmap(20, 0.8, cam(), None, 0.9, track=0)
    verdict = fuse("video", [said("spatial", 0.9, heatmaps=(heatmap,))], stack=STACK)
    maps = [a for a in explain.write(scene, verdict, tmp_path, stack=STACK) if a.kind == "frequency_map"]
    assert [a.frame_index for a in maps] == [8, 20, 24, 40, 56]
    assert maps[1].box == (0.0, 0.0, 64.0, 64.0)
    assert "at 0.8 s" in maps[1].caption
