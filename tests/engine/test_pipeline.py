"""The pipeline, with stub branches where the nets are not the point and with the shipped weights where they are."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile

from detection.engine import fusion, pipeline, registry, runtime
from detection.engine.errors import Cancelled, DeadlineExceeded, EngineError, MediaUnreadable, WeightsInvalid
from detection.engine.fusion import Thresholds
from detection.engine.types import CurvePoint, Evidence, Scene
from tests.engine import scenes
from tests.engine.test_fusion import STACK, said

Branch = Callable[[Scene], Evidence]

CONTRACT = {
    "label", "score", "confidence_interval", "abstain_reason", "rationale", "model_version", "thresholds", "channels",
    "per_branch", "curve", "fake_intervals", "faces", "tracks", "pieces", "speech", "waveform", "stability",
    "provenance", "media", "artifacts", "seconds", "warnings",
}  # fmt: skip


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Replace every branch by functions of the scene; the fusion by literal weights."""

    def install(**branches: Branch) -> None:
        channels = {name: "voice" if name == "audio" else "picture" for name in branches}
        monkeypatch.setattr(pipeline, "channels_of_branches", lambda: channels)
        monkeypatch.setattr(pipeline, "examine", lambda name, scene: branches[name](scene))
        monkeypatch.setattr(fusion, "load", lambda: STACK)

    return install


def test_a_picture_becomes_a_verdict_with_its_evidence(
    stub: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(registry.BRANCHES, "spatial", replace(registry.BRANCHES["spatial"], fused=True))
    stub(spatial=lambda s: said("spatial", 0.95, curve=(CurvePoint(0.0, 0.0, 0.95, 0, 0),)))
    analysis = pipeline.analyze(scenes.ASTRONAUT, output_dir=tmp_path)
    result = analysis.to_dict()
    assert set(result) == CONTRACT
    assert (result["label"], result["media"]["kind"]) == ("fake", "image")
    assert result["faces"][0]["track"] == 0
    assert result["faces"][0]["score"] == 0.95
    assert result["tracks"][0]["score"] == pytest.approx(0.95)
    assert {a["kind"] for a in result["artifacts"]} >= {"face", "frequency_heatmap"}
    assert json.loads(json.dumps(result)) == result


def test_steps_are_told_in_order(stub: Callable[..., None]) -> None:
    stub(synthesis=lambda s: said("synthesis", 0.2))
    told: list[tuple[str, int, int]] = []
    pipeline.analyze(scenes.ASTRONAUT, on_step=lambda *step: told.append(step))
    assert [name for name, _, _ in told] == [
        "decoding", "faces", "voice", "synthesis", "fusing", "stability", "explaining", "done",
    ]  # fmt: skip
    assert [done for _, done, _ in told] == list(range(8))
    assert {total for _, _, total in told} == {7}


def test_a_branch_that_breaks_is_left_out_visibly(stub: Callable[..., None]) -> None:
    def broken(scene: Scene) -> Evidence:
        raise RuntimeError("out of luck")

    stub(spatial=broken, synthesis=lambda s: said("synthesis", 0.9))
    result = pipeline.analyze(scenes.ASTRONAUT, stability="off").to_dict()
    states = {b["branch"]: (b["state"], b["score"], b["reason"]) for b in result["per_branch"]}
    assert states["spatial"] == ("failed", None, "internal_error")
    assert states["synthesis"][0] == "scored"
    assert result["label"] == "fake"


def test_cancelling_between_steps_stops_the_analysis(stub: Callable[..., None]) -> None:
    stub(synthesis=lambda s: pytest.fail("ran after the cancel"))

    def cancel(name: str, done: int, total: int) -> None:
        if name == "synthesis":
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        pipeline.analyze(scenes.ASTRONAUT, on_step=cancel)


def test_the_deadline_is_kept_between_steps(stub: Callable[..., None]) -> None:
    def slow(scene: Scene) -> Evidence:
        threading.Event().wait(2.1)
        return said("synthesis", 0.5)

    stub(synthesis=slow)
    with pytest.raises(DeadlineExceeded, match="longer than the 2 s"):
        pipeline.analyze(scenes.ASTRONAUT, deadline_s=2.0)


def test_missing_weights_stop_the_analysis_and_name_the_file(stub: Callable[..., None]) -> None:
    def missing(scene: Scene) -> Evidence:
        raise WeightsInvalid("The weight file ml_weights/x.xml is missing.")

    stub(synthesis=missing)
    with pytest.raises(WeightsInvalid, match=r"x\.xml is missing"):
        pipeline.analyze(scenes.ASTRONAUT)


def test_an_altered_fusion_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "FUSION", (registry.FUSION[0], "0" * 64))
    fusion.load.cache_clear()
    with pytest.raises(WeightsInvalid, match=r"fusion\.json was altered"):
        pipeline.analyze(scenes.ASTRONAUT)
    fusion.load.cache_clear()


def test_unstable_is_inconclusive(stub: Callable[..., None]) -> None:
    looks = iter([0.95, 0.95, 0.02, 0.02])  # the picture, its excerpt untouched, and two ways of saving it
    stub(synthesis=lambda s: said("synthesis", next(looks)))
    verdict = pipeline.analyze(scenes.ASTRONAUT).verdict
    assert (verdict.label, verdict.abstain_reason) == ("inconclusive", "unstable")
    assert verdict.stability is not None
    assert verdict.stability.flips


def test_thresholds_of_the_caller_count(stub: Callable[..., None]) -> None:
    stub(synthesis=lambda s: said("synthesis", 0.7))
    strict = pipeline.analyze(scenes.ASTRONAUT, thresholds=Thresholds(fake=0.9, real=0.1), stability="off")
    assert strict.verdict.label == "inconclusive"
    assert strict.to_dict()["thresholds"] == {"fake": 0.9, "real": 0.1}


def test_aggregation_changes_the_score_of_a_curve(stub: Callable[..., None], tmp_path: Path) -> None:
    curve = (CurvePoint(0.0, 1.0, 0.1), CurvePoint(1.0, 2.0, 0.9))
    stub(audio=lambda s: said("audio", 0.5, "voice", curve=curve))
    path = tmp_path / "tone.wav"
    soundfile.write(path, scenes.recording(2.0).media.audio, 16000)
    assert pipeline.analyze(path, aggregation="max", stability="off").verdict.score == pytest.approx(0.9)
    assert pipeline.analyze(path, aggregation="mean", stability="off").verdict.score == pytest.approx(0.5)


def test_a_mode_that_the_file_does_not_have_is_refused(stub: Callable[..., None]) -> None:
    stub(audio=lambda s: said("audio", 0.5, "voice"))
    with pytest.raises(EngineError, match="no sound"):
        pipeline.analyze(scenes.ASTRONAUT, mode="audio")


def test_unknown_branch_and_mode_are_refused_with_the_choices() -> None:
    with pytest.raises(EngineError, match="no branch xception; choose from"):
        pipeline.branch_names("auto", ["xception"])
    with pytest.raises(EngineError, match="choose one of auto"):
        pipeline.branch_names("hologram")


def test_a_broken_file_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "broken.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0" + b"\0" * 300)
    with pytest.raises(MediaUnreadable):
        pipeline.analyze(path)


def test_boxes_are_in_pixels_of_the_original() -> None:
    scene = scenes.still()
    larger = pipeline.replace(scene.media.info, width=1024)
    scene = pipeline.replace(scene, media=pipeline.replace(scene.media, info=larger))
    assert pipeline.in_original(scene, (10.0, 20.0, 30.0, 40.0)) == (20.0, 40.0, 60.0, 80.0)


# With the shipped weights:


def test_every_registered_branch_runs_on_a_picture() -> None:
    result = pipeline.analyze(scenes.ASTRONAUT).to_dict()
    states = {b["branch"]: b["state"] for b in result["per_branch"]}
    assert set(states) == {*registry.BRANCHES, "physiology", "provenance"}
    assert "failed" not in states.values()
    assert {n for n, s in states.items() if s == "scored"} >= {
        n for n, spec in registry.BRANCHES.items() if spec.channel == "picture" and n != "temporal"
    }
    assert {piece["branch"] for piece in result["pieces"]} == {"synthesis", "frequency"}
    assert all(0 <= piece["score"] <= 1 and len(piece["box"]) == 4 for piece in result["pieces"])
    assert 0 < result["score"] < 1
    low, high = result["confidence_interval"]
    assert low <= result["score"] <= high
    for branch in result["per_branch"]:
        if branch["branch"] in registry.BRANCHES:
            assert branch["sha256"] == pipeline.digest_of(registry.BRANCHES[branch["branch"]])


def test_prints_are_taken_with_the_artifacts_alone(tmp_path: Path) -> None:
    with_files = pipeline.analyze(scenes.ASTRONAUT, output_dir=tmp_path)
    assert [len(face.bits) for face in with_files.prints.faces] == [64]
    assert pipeline.analyze(scenes.ASTRONAUT).prints == pipeline.Prints()


def test_the_same_file_gets_the_same_score() -> None:
    first, second = (pipeline.analyze(scenes.ASTRONAUT).to_dict() for _ in range(2))
    for result in (first, second):
        del result["seconds"]
        for branch in result["per_branch"]:
            branch.pop("seconds", None)
    assert first == second


def test_a_picture_without_a_face_is_still_checked_for_generation(tmp_path: Path) -> None:
    import cv2

    path = tmp_path / "no_face.png"
    cv2.imwrite(str(path), scenes.astronaut()[300:, 300:, ::-1])
    result = pipeline.analyze(path).to_dict()
    states = {b["branch"]: (b["state"], b["reason"]) for b in result["per_branch"]}
    assert result["faces"] == []
    assert states["spatial"] == ("skipped", "no_face")
    assert states["synthesis"][0] == "scored"
    assert result["score"] is not None


def test_silence_holds_too_little(tmp_path: Path) -> None:
    path = tmp_path / "silence.wav"
    soundfile.write(path, [0.0] * 8000, 16000)
    result = pipeline.analyze(path).to_dict()
    assert (result["label"], result["score"]) == ("inconclusive", None)
    assert result["abstain_reason"] == "too_little_evidence"


def test_fusion_was_fitted_with_the_weights_that_ship() -> None:
    fitted = fusion.load().fitted_with
    counting = {n: pipeline.digest_of(spec) for n, spec in registry.BRANCHES.items() if spec.fused}
    assert {n: fitted.get(n) for n in counting} == counting


def test_serving_does_not_import_torch() -> None:
    import subprocess
    import sys

    code = f"""
import sys
from pathlib import Path
from detection.engine import pipeline
pipeline.warm_up()
pipeline.analyze(Path({str(scenes.ASTRONAUT)!r}))
print([m for m in ("torch", "django") if m in sys.modules])
"""
    env = {"PATH": "/usr/bin:/bin", "ENGINE_BACKEND": "openvino"}
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert said.stdout.strip() == "[]"


def test_warm_up_names_a_missing_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(registry, "WEIGHTS_DIR", tmp_path)
    monkeypatch.setattr(runtime, "_nets", {})
    fusion.load.cache_clear()
    with pytest.raises(WeightsInvalid, match=r"fusion\.json is missing"):
        pipeline.warm_up()
    fusion.load.cache_clear()
