"""Calibration: which rows are taken, what is run again, and what fusion.json becomes."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detection.engine import fusion, registry
from detection.training import calibration, stacking
from detection.training.calibration import Judged
from detection.training.calibration_card import card

SPEC = registry.BranchSpec(
    "x", "picture", "1", {"openvino": (("x.xml", "a"), ("x.bin", "b"))}, 1, (0,), (1,), 0.5, "MIT", "", ""
)


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
    monkeypatch.setattr(stacking, "MEMBERS", 4)  # enough to see that they are written


def judged(n: int = 240, split: str = "calibration", seed: int = 0) -> list[Judged]:
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
                label=label,
                split=split,
                source=f"s{i % 14 // 2}",
                group=f"s{i % 14 // 2}/{i % 56}",
                method="m" if label else "",
                kind="audio" if voice else "image",
                logits={b: float(1.5 * sign + rng.normal(0, 1)) for b in names},
                channels={b: "voice" if b == "audio" else "picture" for b in names},
                quality=dict.fromkeys(names, 1.0),
                digests=calibration.digests(),
                has_face=not voice,
            )
        )
    return rows


def test_domains_and_weights() -> None:
    content = calibration.fit(judged(), max_fpr=0.05, max_fnr=0.1)
    assert set(content["domains"]) == {"image_face", "voice"}
    assert set(content["domains"]["image_face"]["weights"]) == {"spatial", "synthesis"}
    assert content["fitted_with"] == dict.fromkeys(("spatial", "synthesis", "audio"), "b")
    stack = fusion.Stack.from_json(json.loads(json.dumps(content)))
    assert stack.thresholds["image"] == stack.thresholds["audio"]


def test_figures_on_test_sources_and_the_card() -> None:
    content = calibration.fit(judged(), max_fpr=0.05, max_fnr=0.1)
    content["test"] = calibration.test_figures(content, judged(split="test", seed=1))
    assert set(content["test"]) == {"image_face", "voice", "image", "audio"}
    assert content["test"]["image"]["auroc"] > 0.9
    assert 0 < content["test"]["image"]["coverage"] <= 1
    text = card(content)
    assert "| image_face |" in text
    assert f"fake at {content['thresholds']['image']['fake']}" in text


def test_too_few_sources_leave_a_domain_out() -> None:
    rows = [replace(j, source="one", group="one") if j.kind == "audio" else j for j in judged()]
    assert set(calibration.fit(rows, max_fpr=0.05, max_fnr=0.1)["domains"]) == {"image_face"}


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
