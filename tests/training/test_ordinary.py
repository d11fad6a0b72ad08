"""What people do to genuine media, and how the difference it makes is taken."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from detection.engine import pipeline
from detection.engine.types import Decoded, Evidence, Face, Frame, MediaInfo, Scene, Track
from detection.training import ordinary, quality_delivery
from detection.training.calibration import Judged
from tests.engine.scenes import ASTRONAUT

FACE = (160.0, 40.0, 110.0, 140.0)
PHOTO = np.ascontiguousarray(cv2.imread(str(ASTRONAUT))[..., ::-1])
PICTURES = [change for change in ordinary.CHANGES if change.picture]
SOUNDS = [change for change in ordinary.CHANGES if change.sound]
CLIPS = [change for change in ordinary.CHANGES if change.clip]


def speech(seconds: float = 2.0) -> np.ndarray:
    t = np.arange(round(16_000 * seconds)) / 16_000
    return (0.3 * np.sin(2 * np.pi * 150 * t) * (1 + np.sin(2 * np.pi * 3 * t)) / 2).astype(np.float32)


@pytest.mark.parametrize("change", PICTURES, ids=lambda change: change.name)
def test_a_picture_is_changed_and_still_shows_the_same(change: ordinary.Change) -> None:
    for face in (FACE, None):
        made = change.picture(PHOTO, face)
        assert made.dtype == np.uint8
        assert made.shape[0] <= PHOTO.shape[0]
        back = cv2.resize(made, PHOTO.shape[1::-1]).astype(float)
        assert not np.array_equal(back, PHOTO)
        assert np.corrcoef(back.ravel(), PHOTO.ravel())[0, 1] > 0.8


def test_the_background_of_a_video_call_is_blurred_and_the_face_is_not() -> None:
    with_face, plain = ordinary.video_call(PHOTO, FACE), ordinary.video_call(PHOTO, None)
    corner = (slice(0, 60), slice(-60, None))
    assert sharpness(with_face[corner]) < sharpness(plain[corner])
    scale = with_face.shape[1] / PHOTO.shape[1]
    x, y, w, h = (round(v * scale) for v in FACE)
    middle = (slice(y, y + h), slice(x, x + w))
    assert sharpness(with_face[middle]) == pytest.approx(sharpness(plain[middle]), rel=0.3)


def sharpness(image: np.ndarray) -> float:
    return float(
        np.abs(cv2.Laplacian(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY), cv2.CV_32F)).mean()
    )


@pytest.mark.parametrize("change", SOUNDS, ids=lambda change: change.name)
@pytest.mark.parametrize("seconds", [0.7, 2.0])
def test_a_sound_keeps_its_length_and_its_speech(change: ordinary.Change, seconds: float) -> None:
    sound = speech(seconds)
    made = change.sound(sound)
    assert made.shape == sound.shape
    assert made.dtype == np.float32
    assert not np.array_equal(made, sound)
    spectrum = np.abs(np.fft.rfft(made))
    assert abs(np.argmax(spectrum) / seconds - 150) < 8


@pytest.mark.parametrize("change", CLIPS, ids=lambda change: change.name)
def test_a_clip_comes_back_frame_for_frame(change: ordinary.Change) -> None:
    frames = [np.ascontiguousarray(PHOTO[i : i + 301, :401]) for i in range(6)]
    made = change.clip(frames)
    assert len(made) == 6
    assert all(image.shape == made[0].shape for image in made)
    back = cv2.resize(made[5], (401, 301)).astype(float)
    assert np.corrcoef(back.ravel(), frames[5].ravel())[0, 1] > 0.9


def judged(**more: Any) -> Judged:
    base: dict[str, Any] = {
        "path": "a.jpg", "key": "faces/a.jpg", "label": 0, "split": "test", "source": "s", "group": "s/a", "method": "",
        "manipulation": "", "kind": "image", "logits": {"synthesis": 1.0}, "channels": {"synthesis": "picture"},
        "quality": {"synthesis": 1.0}, "errors": {"synthesis": 0.0}, "digests": {},
    }  # fmt: skip
    return Judged(**base | more)


def test_only_the_difference_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The net that ships says 5 of the file it has learnt from, 4 of the copy: the held-out 1 becomes 0."""
    info = MediaInfo("image", "jpeg", "image/jpeg", 1, "")
    face = Face(0, 0.0, FACE, 0.9)
    scene = Scene(Decoded(info, (Frame(0, 0.0, PHOTO),)), "a.jpg", (Track(0, (face,)),))
    monkeypatch.setattr(ordinary.media, "decode", lambda path: scene.media)
    monkeypatch.setattr(pipeline, "build_scene", lambda decoded, path, run: replace(scene, media=decoded))

    def branch(self: pipeline.Run, name: str, seen: Scene) -> Evidence:
        untouched = seen.media.frames[0].image.shape == PHOTO.shape
        logit = 5.0 if untouched else 4.0
        return Evidence(name, "picture", "scored", "", score=1 / (1 + np.exp(-logit)), logit=logit)

    monkeypatch.setattr(pipeline.Run, "branch", branch)
    steps: list[int] = []
    records = ordinary.measure([judged()], ["synthesis", "audio"], lambda: steps.append(1))
    half = next(record for record in records if record["change"] == "half size")
    assert half["shifts"]["synthesis"] == pytest.approx(-1.0)
    assert ordinary.moved(judged(), half["shifts"]).logits == {"synthesis": pytest.approx(0.0)}
    assert records[0] == {"key": "faces/a.jpg", "change": "untouched", "shifts": {"synthesis": 5.0}}
    fakes = ordinary.measure([judged(label=1)], ["synthesis"], lambda: steps.append(1))
    assert {record["change"] for record in fakes} == {"untouched", "JPEG 75", "JPEG 50", "half size"}
    assert len(steps) == 2


def test_changed_copies_are_judged_without_their_source() -> None:
    rng = np.random.default_rng(0)
    rows = [
        judged(
            key=f"k{i}", path=f"p{i}", label=i % 2, source=f"s{i % 12 // 2}", group=f"s{i % 12 // 2}/{i}",
            method="m" * (i % 12 // 2) if i % 2 else "", 
            logits={"synthesis": float(2 * (i % 2) - 1 + rng.normal(0, 0.7))},
        )
        for i in range(120)
    ]  # fmt: skip
    records = [{"key": j.key, "change": "untouched", "shifts": {"synthesis": 3.0 * (2 * j.label - 1)}} for j in rows]
    records += [{"key": j.key, "change": "JPEG 50", "shifts": {"synthesis": 3.0}} for j in rows]
    records += [{"key": j.key, "change": "screenshot", "shifts": {"synthesis": 4.0}} for j in rows if not j.label]
    found = quality_delivery.summary(rows, records, quality_delivery.Goals.of(0.05))
    screenshot = next(one for one in found["ordinary"] if one["change"] == "screenshot")
    assert screenshot["n"] == 60
    assert screenshot["called_fake"] > screenshot["untouched_called_fake"]
    total = next(one for one in found["ordinary"] if one["change"] == "all together")
    assert total["n"] == 120
    assert found["known"][0]["in_distribution"] == 1.0 > found["known"][0]["left_out"]
    compressed = found["compression"][0]
    assert abs(compressed["auroc"] - compressed["auroc_untouched"]) < 0.05  # the same shift for all keeps the order
