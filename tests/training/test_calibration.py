"""Calibration: which rows are taken, what is run again, and what fusion.json becomes."""

from __future__ import annotations

import csv
import itertools
import json
from argparse import ArgumentTypeError
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from detection.engine import fusion, registry
from detection.management.commands.calibrate import max_fprs, rate
from detection.training import calibration, calibration_fit, calibration_output, held_out, stacking
from detection.training.calibration import Judged
from detection.training.calibration_card import card
from detection.training.calibration_fit import Goals

SPEC = registry.BranchSpec(
    "x", "picture", "1", {"openvino": (("x.xml", "a"), ("x.bin", "b"))}, 1, (0,), (1,), 0.5, "MIT", "", ""
)

GOALS = Goals.of(0.05)


@pytest.fixture(autouse=True)
def nets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three nets: two that count, one that is only shown."""
    made = {
        "spatial": replace(SPEC, name="spatial"),
        "synthesis": replace(SPEC, name="synthesis"),
        "frequency": replace(SPEC, name="frequency", fused=False),
        "audio": replace(SPEC, name="audio", channel="voice"),
    }
    monkeypatch.setattr(registry, "BRANCHES", made)
    monkeypatch.setattr(calibration_fit, "OUTER_MEMBERS", 2)
    monkeypatch.setattr(calibration_fit, "INNER_FOLDS", 3)


def judged(n: int = 180, split: str = "calibration", seed: int = 0) -> list[Judged]:
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        label = i % 2
        sign = 2 * label - 1
        voice = i % 3 == 0
        names = ["audio"] if voice else ["spatial", "synthesis", "frequency"]
        rows.append(
            Judged(
                path=f"{split}{i}",
                key=f"made/{split}{i}",
                label=label,
                split=split,
                source=f"s{i % 14 // 2}",
                group=f"s{i % 14 // 2}/{i % 56}",
                method=f"m{i % 14 // 2}" if label else "real",
                manipulation="",
                kind="audio" if voice else "image",
                logits={b: float(1.5 * sign + rng.normal(0, 1)) for b in names},
                channels={b: "voice" if b == "audio" else "picture" for b in names},
                quality=dict.fromkeys(names, 1.0),
                errors=dict.fromkeys(names, 0.0),
                digests=calibration.digests(),
                has_face=not voice,
            )
        )
    return rows


@cache
def crossed() -> tuple[calibration_fit.Judgement, ...]:
    return tuple(calibration_fit.cross_validate(judged(), GOALS, count=2))


def test_domains_weights_and_a_threshold_for_each_kind() -> None:
    content = calibration_fit.fit(judged(), GOALS, members=4)
    assert len(content["domains"]["voice"]["members"]) == 4
    assert set(content["domains"]) == {"image_face", "voice"}
    assert set(content["domains"]["image_face"]["weights"]) == {"spatial", "synthesis"}
    assert content["fitted_with"] == dict.fromkeys(("spatial", "synthesis", "audio"), "b")
    stack = fusion.Stack.from_json(json.loads(json.dumps(content)))
    assert stack.thresholds["image"].fake < 0.9
    assert stack.thresholds["video"].fake == 0.9  # nothing to choose by: rarely


def test_the_headline_judges_every_row_once_without_its_source(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = judged()
    seen: list[set[str]] = []
    fit = calibration_fit.fit

    def watched(fitted: list[Judged], *args: Any, **more: Any) -> dict[str, Any]:
        seen.append({j.source for j in fitted})
        return fit(fitted, *args, **more)

    monkeypatch.setattr(calibration_fit, "fit", watched)
    found = calibration_fit.cross_validate(rows, GOALS, count=3)
    assert sorted(j.row.path for j in found) == sorted(j.path for j in rows)
    assert set.intersection(*seen) == set()
    figures = calibration_fit.figures(found)
    assert set(figures) == {"image", "audio", "image_face", "voice"}
    assert figures["image"]["auroc"] > 0.9
    assert figures["image"]["fpr"] < 0.1
    assert figures["image"]["fpr_ci"][0] <= figures["image"]["fpr"] <= figures["image"]["fpr_ci"][1]


def test_kin_of_held_rows_is_left_out_too() -> None:
    base = judged(1)[0]
    rows = [
        replace(base, path="held", label=1, source="a", group="a/ann", method="Wav2Lip"),
        replace(base, path="same source", label=0, source="a", group="a/bob", method="real"),
        replace(base, path="same generator", label=1, source="b", group="b/cid", method="Wav2Lip"),
        replace(base, path="same subject", label=0, source="b", group="b/ann", method="real"),
        replace(base, path="stranger", label=0, source="b", group="b/dee", method="real"),
    ]
    assert [j.path for j in calibration_fit.without_kin(rows, [0])] == ["stranger"]


def test_folds_keep_sources_whole_and_classes_apart_evenly() -> None:
    rows = judged()
    folds = calibration_fit.folds_of(rows, 3)
    assert sorted(i for fold in folds for i in fold) == list(range(len(rows)))
    sources = [{rows[i].source for i in fold} for fold in folds]
    assert not any(a & b for a, b in itertools.combinations(sources, 2))
    assert all({rows[i].label for i in fold} == {0, 1} for fold in folds)


def clip(label: int, picture: float, voice: float, number: int) -> Judged:
    base = judged(1)[0]
    return replace(
        base,
        path=f"clip{number}",
        label=label,
        kind="video",
        source=f"c{number % 7}",
        group=f"c{number % 7}/{number}",
        logits={"spatial": picture, "audio": voice},
        channels={"spatial": "picture", "audio": "voice"},
        quality={"spatial": 1.0, "audio": 1.0},
        errors={"spatial": 0.0, "audio": 0.0},
        has_face=True,
    )


@pytest.mark.parametrize(("spread", "least", "most"), [(4.0, 0.0, 0.12), (0.3, 0.2, 0.4)])
def test_a_voice_check_that_errs_on_clips_gets_a_small_share(spread: float, least: float, most: float) -> None:
    rng = np.random.default_rng(0)
    clips = [
        clip(i % 2, float(3 * (2 * (i % 2) - 1) + rng.normal()), float(-2 + rng.normal(0, spread)), i)
        for i in range(160)
    ]
    rows = judged() + clips
    shares = calibration_fit.fit_shares(calibration_fit.fit_domains(rows, members=0), rows)
    assert least <= shares["voice"] <= most
    assert sum(shares.values()) == pytest.approx(1)


def test_the_card_states_headline_and_thresholds() -> None:
    rows = judged() + judged(split="test", seed=1)
    content = calibration_fit.fit(rows, GOALS, members=2)
    content |= calibration_fit.summary(rows, crossed(), GOALS)
    text = card(content)
    assert "| image_face |" in text
    assert f"image fake at {content['thresholds']['image']['fake']}" in text
    assert content["test"]["image"]["n"] == 120
    surest, all_of_them = content["coverage"]["image"][0], content["coverage"]["image"][-1]
    assert surest["accuracy"] >= all_of_them["accuracy"]
    assert all_of_them["coverage"] == 1
    narrow, wide = content["margins"]["image"][0], content["margins"]["image"][-1]
    assert narrow["coverage"] <= wide["coverage"]


def test_too_few_sources_leave_a_domain_out() -> None:
    rows = [replace(j, source="one", group="one") if j.kind == "audio" else j for j in judged()]
    assert set(calibration_fit.fit(rows, GOALS, members=2)["domains"]) == {"image_face"}


def held_out_file(folder: Path, branch: str, lines: list[str]) -> None:
    (folder / branch).mkdir(exist_ok=True)
    (folder / branch / "oof.csv").write_text("\n".join(["path,label,source,system,split,logit", *lines]) + "\n")


@pytest.fixture
def heads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place for oof.csv files of the branches."""
    monkeypatch.setattr(registry, "WEIGHTS_DIR", tmp_path)
    held_out.read.cache_clear()
    yield tmp_path
    held_out.read.cache_clear()


def test_a_held_out_score_takes_the_place_of_the_branchs_own(heads: Path) -> None:
    registry.BRANCHES["synthesis"] = replace(registry.BRANCHES["synthesis"], temperature=2.0, bias=0.5)
    held_out_file(heads, "synthesis", ["faces/x/1.jpg,fake,s1,GAN,train,3.0"])
    row = replace(judged(2)[1], key="faces/x/1.jpg", source="s1", label=1)
    swapped = calibration.with_held_out(row)
    assert swapped.logits["synthesis"] == pytest.approx(3.0 / 2 + 0.5)
    assert swapped.logits["spatial"] == row.logits["spatial"]
    trained = calibration.with_held_out(replace(row, split="train"))
    assert set(trained.logits) == {"synthesis"}
    assert not calibration.is_complete(trained)  # the face net has learnt from it and brings no fair score
    assert calibration.is_complete(replace(trained, has_face=False))


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("faces/x/1.jpg,fake,s1,GAN,train,3.0", True),
        ("x/1.jpg,fake,s1,GAN,train,3.0", True),
        ("clips/x/1.jpg,fake,s1,GAN,train,3.0", False),
        ("1.jpg,fake,s1,GAN,train,3.0", False),
        ("x/1.jpg,fake,another,GAN,train,3.0", False),
        ("x/1.jpg,real,s1,real,train,3.0", False),
    ],
)
def test_held_out_scores_are_never_matched_by_name_alone(heads: Path, line: str, found: bool) -> None:
    held_out_file(heads, "synthesis", [line])
    entry = held_out.entry_of("synthesis", "faces/x/1.jpg", label=1, source="s1")
    assert (entry is not None) == found


def test_training_rows_count_only_with_a_fair_score(heads: Path, tmp_path: Path) -> None:
    root = tmp_path / "faces"
    root.mkdir()
    held_out_file(heads, "audio", ["faces/creal1.jpg,real,c,real,train,-1.0"])
    lines = calibration.select(manifest(root), ("train", "calibration", "test"))
    fair = calibration.with_fair_scores(lines, root)
    assert [line["path"] for line in fair if line["split"] == "train"] == ["creal1.jpg"]
    assert calibration.to_ask(next(line for line in fair if line["path"] == "creal1.jpg"), root) == []


def test_a_generator_that_a_net_was_trained_on_is_marked(heads: Path) -> None:
    lines = [
        {"path": "1", "label": "fake", "source_repo": "x", "method": "Wav2Lip", "split": "train"},
        {"path": "2", "label": "fake", "source_repo": "y", "method": "Loopy", "split": "test"},
        {"path": "3", "label": "real", "source_repo": "x", "method": "real", "split": "train"},
    ]
    trained = calibration.trained_methods(lines)
    assert trained == {"Wav2Lip"}
    row = replace(judged(2)[1], label=1, method="Wav2Lip", source="s", key="clips/a", logits={"synthesis": 1.0})
    assert calibration.with_standing(row, trained).facts == {"generator": "trained"}
    assert calibration.with_standing(replace(row, method="Loopy"), trained).facts == {}
    held_out_file(heads, "synthesis", ["clips/a,fake,s,Wav2Lip,test,1.0"])
    held_out.read.cache_clear()
    assert calibration.with_standing(row, trained).facts == {}


def test_the_command_writes_thresholds_in_the_agreed_layout() -> None:
    found = calibration_output.thresholds(crossed(), [0.01, 0.05])
    assert set(found) == {"roc_auc", "thresholds", "by_kind"}
    assert set(found["thresholds"]) == {"fpr_0.01", "fpr_0.05", "default"}
    names = {"threshold", "fpr", "tpr", "precision", "recall", "f1_score", "tp", "fp", "tn", "fn"}
    strict, loose = found["thresholds"]["fpr_0.01"], found["thresholds"]["fpr_0.05"]
    assert set(strict) == names
    assert strict["fpr"] <= 0.01
    assert loose["fpr"] <= 0.05
    assert strict["tpr"] <= loose["tpr"]
    assert "Youden" in found["thresholds"]["default"]["note"]
    assert set(found["by_kind"]) == {"image", "audio"}


def test_false_positive_wishes_are_read_by_kind() -> None:
    assert max_fprs([("", 0.05), ("audio", 0.01)]) == {"image": 0.05, "video": 0.05, "audio": 0.01}
    assert rate("audio=0.02") == ("audio", 0.02)
    for wrong in ("text=0.1", "2", "much"):
        with pytest.raises(ArgumentTypeError):
            rate(wrong)


def test_curves_are_small_whole_svg_files(tmp_path: Path) -> None:
    calibration_output.plot(tmp_path, crossed())
    for name in ("roc", "det", "reliability", "coverage"):
        text = (tmp_path / f"{name}.svg").read_text()
        assert ElementTree.fromstring(text).tag.endswith("svg")
        assert "image" in text
        assert len(text) < 20_000


def test_scores_are_kept_with_verdict_and_path(tmp_path: Path) -> None:
    found = crossed()
    calibration_output.write_scores(tmp_path / "oof.csv", found)
    lines = list(csv.DictReader((tmp_path / "oof.csv").open(newline="")))
    assert len(lines) == len(found)
    assert {line["verdict"] for line in lines} <= {"real", "fake", "inconclusive"}
    assert all(0 <= float(line["low"]) <= float(line["score"]) <= float(line["high"]) <= 1 for line in lines)


def manifest(folder: Path) -> Path:
    path = folder / "manifest.csv"
    sources = (("a", "calibration"), ("b", "test"), ("c", "train"))
    lines = [
        f"{source}{label}{i}.jpg,{label},{source},{split}"
        for source, split in sources
        for label in ("real", "fake", "na")
        for i in range(10)
    ]
    path.write_text("path,label,source_repo,split\n" + "\n".join(lines) + "\n")
    return path


def test_only_labelled_rows_of_the_wanted_splits_a_few_per_source(tmp_path: Path) -> None:
    every = calibration.select(manifest(tmp_path), ("calibration", "test"))
    few = calibration.select(manifest(tmp_path), ("calibration", "test"), per_source=3)
    assert len(every) == 40
    assert len(few) == 12
    assert {line["split"] for line in few} == {"calibration", "test"}


def test_only_branches_with_other_weights_are_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows_file = tmp_path / "rows.jsonl"
    lines = calibration.select(manifest(tmp_path), ("calibration",), per_source=1)
    asked: list[list[str]] = []

    def judge(path: Path, line: dict[str, str], wanted: list[str], before: Judged | None) -> Judged:
        asked.append(list(wanted))
        return replace(judged(1)[0], path=str(path), digests=calibration.digests())

    monkeypatch.setattr(calibration, "judge", judge)

    def run() -> list[Any]:
        asked.clear()
        list(calibration.run(lines, tmp_path, rows_file, workers=1))
        return asked

    assert run() == [["spatial", "synthesis", "audio"]] * 2
    assert run() == []
    registry.BRANCHES["audio"] = replace(SPEC, name="audio", files={"openvino": (("x.bin", "new"),)})
    assert run() == [["audio"]] * 2
    assert len(calibration.load(rows_file)) == 2
    assert asdict(calibration.load(rows_file)[0])["digests"]["audio"] == "new"


@pytest.fixture
def clips_only() -> None:
    """The face net has earned its place on clips and not on stills."""
    registry.BRANCHES["spatial"] = replace(registry.BRANCHES["spatial"], fused_in=("video",))


def clips(n: int = 80) -> list[Judged]:
    rng = np.random.default_rng(3)
    return [clip(i % 2, float(2 * (2 * (i % 2) - 1) + rng.normal()), -2.0, i) for i in range(n)]


def test_a_branch_may_count_for_clips_and_not_for_stills(clips_only: None) -> None:
    rows = [j.without(["audio"]) if j.kind == "video" else j for j in judged() + clips()]
    content = calibration_fit.fit(rows, GOALS, members=2)
    weights = {domain: set(entry["weights"]) for domain, entry in content["domains"].items()}
    assert weights == {"image_face": {"synthesis"}, "video_face": {"spatial"}, "voice": {"audio"}}
    assert not any(entry["is_one_sided"] for entry in content["domains"].values())  # one check: nothing to outvote
    assert "spatial" in content["fitted_with"]
    stack = fusion.Stack.from_json(content)
    still = next(j for j in rows if j.kind == "image" and not j.label)
    clear = replace(still, logits={"synthesis": -6.0})
    assert fusion.fuse("image", calibration.evidence_of(clear), stack=stack).abstain_reason == "face_not_checked"
    genuine = next(j for j in rows if j.kind == "video" and not j.label)
    verdict = fusion.fuse("video", calibration.evidence_of(replace(genuine, logits={"spatial": -6.0})), stack=stack)
    assert verdict.label == "real"


def test_a_still_is_complete_without_a_check_that_counts_for_clips_alone(clips_only: None, heads: Path) -> None:
    held_out_file(heads, "synthesis", ["faces/1.jpg,real,s1,real,train,-1.0", "clips/1.mp4,real,s1,real,train,-1.0"])
    still = calibration.with_held_out(replace(judged(2)[1], label=0, key="faces/1.jpg", source="s1", split="train"))
    moving = calibration.with_held_out(replace(still, key="clips/1.mp4", kind="video"))
    assert calibration.is_complete(still)
    assert not calibration.is_complete(moving)  # the face net has learnt from it, and it counts here


def test_a_still_is_not_run_again_for_a_check_that_counts_for_clips_alone(clips_only: None) -> None:
    still = replace(judged(2)[1], digests={})
    assert not calibration.is_stale("spatial", still)
    assert calibration.is_stale("spatial", replace(still, kind="video"))
    assert calibration.is_stale("synthesis", still)
    assert set(calibration.with_held_out(still).logits) == {"synthesis"}


def test_several_checks_of_clips_count_alike_and_one_sided(clips_only: None) -> None:
    rng = np.random.default_rng(5)
    rows = [
        replace(
            j,
            logits={"spatial": j.logits["spatial"], "synthesis": float(rng.normal(0, 2))},
            channels=dict.fromkeys(("spatial", "synthesis"), "picture"),
            quality=dict.fromkeys(("spatial", "synthesis"), 1.0),
            errors=dict.fromkeys(("spatial", "synthesis"), 0.0),
        )
        for j in clips()
    ]
    content = calibration_fit.fit(judged() + rows, GOALS, members=2)
    entry = content["domains"]["video_face"]
    assert entry["is_one_sided"]
    for name in ("spatial", "synthesis"):
        spread = np.std([j.logits[name] for j in rows])
        assert entry["weights"][name] * spread == pytest.approx(stacking.EVEN_SLOPE)
    assert not content["domains"]["image_face"]["is_one_sided"]
    verdicts = calibration_fit.judge_with(content, rows)
    assert {v.verdict.label for v in verdicts} <= {"fake", "inconclusive"}
