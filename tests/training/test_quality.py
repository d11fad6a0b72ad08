"""The quality page: tables from stored runs; baselines that are measured as they were published."""

from __future__ import annotations

import csv
import json
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from detection.engine import registry
from detection.training import baselines, hand_made, quality
from detection.training.baselines import Measured

HEAD = "path,label,source,system,split,logit,kind,domain,manipulation,group,score,low,high,verdict,abstain,fake_at,real_below,facts"  # noqa: E501


def figures(**more: Any) -> dict[str, Any]:
    base = {
        "n": 60, "n_fake": 30, "sources": 6, "auroc": 0.91234, "auroc_ci": [0.85, 0.95], "eer": 0.15, "ece": 0.04,
        "ece_even": 0.05, "f1": 0.8, "fpr": 0.02, "fpr_ci": [0.0, 0.1], "coverage": 0.7, "selective_accuracy": 0.97,
    }  # fmt: skip
    return base | more


FUSION = {
    "version": "test",
    "cross_validated": {"image": figures(), "image_face": figures(auroc=0.87)},
    "in_sample": {"image": figures(auroc=0.99)},
    "thresholds": {"image": {"fake": 0.7, "real": 0.3}},
    "coverage": {"image": [{"coverage": c, "accuracy": 1 - c / 5} for c in (0.2, 0.4, 0.6, 0.8, 1.0)]},
    "margins": {"image": [{"margin": 0.1, "coverage": 0.5, "accuracy": None}]},
    "clear_margin": 0.3,
    "goals": {"max_fpr": {"image": 0.02, "video": 0.02, "audio": 0.02}, "max_fnr": 0.05},
}


def stored_items(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    lines = [HEAD]
    for i in range(60):
        fake = i % 2
        score = float(np.clip(0.5 + 0.3 * (2 * fake - 1) + rng.normal(0, 0.15), 0.01, 0.99))
        verdict = "fake" if score >= 0.7 else "real" if score < 0.3 else "inconclusive"
        system = f"Gen|{i % 3}" if fake else "real"
        facts = f"colour={'grey' if i % 4 < 2 else 'colour'};sex=female"
        lines.append(
            f"faces/{i}.jpg,{'fake' if fake else 'real'},s{i % 6},{system},test,0,image,image_face,gan,s{i % 6}/{i},"
            f"{score:.4f},0.1,0.9,{verdict},,0.7,0.3,{facts}"
        )
    path = folder / "oof.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_page_shows_every_table_from_stored_runs(tmp_path: Path) -> None:
    items = quality.read_items(stored_items(tmp_path))
    runs = {
        "baselines": {"Meso4 (DF)": {item.path: float(-item.label) for item in items}},
        "branches": {"synthesis": [(f"faces/{i}.jpg", i % 2, f"s{i % 5}", "", float(i % 2)) for i in range(40)]},
        "delivery": {
            "compression": [
                {"kind": "image", "change": "JPEG 50", "n": 40}
                | {"auroc": 0.88, "auroc_ci": [0.8, 0.9], "auroc_untouched": 0.9}
            ],
            "ordinary": [
                {"kind": "image", "change": "screenshot", "n": 50, "sources": 5}
                | {"called_fake": 1, "untouched_called_fake": 0}
            ],
            "known": [{"kind": "image", "n": 40, "in_distribution": 0.999, "left_out": 0.9}],
        },
    }  # fmt: skip
    text = quality.page(FUSION, items, runs)
    assert "0.912 (0.850–0.950) | 0.990" in text
    assert "Gen\\|0" in text
    assert "| Pictures | s0 | 10 | 0 |" in text
    assert "JPEG 50 | 40 | 0.880 (0.800–0.900) | 0.900 | -0.020" in text
    assert "screenshot | 50 | 5 | 2.0 % (0.1–10.6) | 0.0 %" in text
    assert "image_face | Meso4 (DF) | 60 | 0.000" in text
    assert "sex | female" in text
    assert "colour | grey" in text
    assert "synthesis | faces | 40 | 20 | 5 | 1.000" in text
    assert "nan" not in text


def test_a_table_of_a_generator_holds_its_fakes_and_all_genuine_files(tmp_path: Path) -> None:
    items = quality.read_items(stored_items(tmp_path))
    mine = [i for i in items if not i.label or i.system == "Gen|0"]
    assert quality._auroc(mine).split()[0] in quality._generators(items)
    assert items[0].facts == {"colour": "grey", "sex": "female"}


def test_absent_runs_leave_their_tables_out(tmp_path: Path) -> None:
    text = quality.page(FUSION, quality.read_items(stored_items(tmp_path)), {})
    assert "Ordinary genuine media" not in text
    assert "## Headline" in text


def test_the_command_writes_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "WEIGHTS_DIR", tmp_path)
    (tmp_path / "fusion").mkdir()
    with pytest.raises(CommandError, match="run calibrate first"):
        call_command("quality", "--out", str(tmp_path / "docs"))
    stored_items(tmp_path / "fusion")
    (tmp_path / "fusion" / "fusion.json").write_text(json.dumps(FUSION))
    call_command("quality", "--out", str(tmp_path / "docs"), stdout=StringIO())
    assert "# How good the detectors are" in (tmp_path / "docs" / "quality.md").read_text()


def photo(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    grain = rng.normal(0, 6, (128, 128, 3))
    return np.clip(np.linspace(60, 200, 128)[None, :, None] + grain, 0, 255).astype(np.uint8)


def test_hand_made_formulas_follow_their_specification() -> None:
    flat = np.full((128, 128, 3), 128, np.uint8)
    assert hand_made.missing_sensor_noise(flat) == 1.0
    assert hand_made.missing_sensor_noise(photo()) == 0.0
    assert hand_made.block_anomaly(flat) == 1.0
    steps = np.kron(np.indices((16, 16)).sum(0) % 2 * 40, np.ones((8, 8)))
    assert hand_made.block_anomaly(np.repeat(steps[..., None], 3, 2).astype(np.uint8)) == 1.0
    y, x = np.indices((128, 128))
    stripes = (128 + 60 * np.cos(np.pi * x / 2) * np.ones_like(y)).astype(np.uint8)
    assert hand_made.checkerboard(np.repeat(stripes[..., None], 3, 2)) > 0.9
    assert hand_made.checkerboard(photo()) == 0.0
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3)).astype(np.uint8)
    assert hand_made.spectral_anomaly(noise) > hand_made.spectral_anomaly(photo())
    assert all(0 <= formula(photo()) <= 1 for formula in hand_made.FORMULAS.values())


def test_regressions_never_judge_a_source_that_they_know() -> None:
    """A number that marks the source, and the label within it, helps nobody once the source is left out."""
    rng = np.random.default_rng(0)
    items = [
        Measured(f"k{i}", i % 2, f"s{i % 20 // 2}", "image", False, {}, {
            "form": [float(rng.normal(2 * (i % 2), 1))],
            "source": [float(i % 20 // 2), float(rng.normal())],
        })
        for i in range(200)
    ]  # fmt: skip
    scores = baselines.all_scores(items)
    labels = np.array([item.label for item in items])

    def area(name: str) -> float:
        return baselines.stacking.metrics.auroc(labels, [scores[name][item.key] for item in items])

    assert area("form") > 0.85
    assert 0.3 < area("source") < 0.65


def test_baselines_are_stored_and_read(tmp_path: Path) -> None:
    items = [Measured(f"k{i}", i % 2, f"s{i}", "audio", False, {"AASIST": float(i)}) for i in range(4)]
    baselines.save(tmp_path / "b.csv", items)
    assert baselines.load(tmp_path / "b.csv") == {"AASIST": {f"k{i}": float(i) for i in range(4)}}
    with (tmp_path / "b.csv").open(newline="") as file:
        assert next(csv.reader(file)) == ["path", "AASIST"]


def test_a_run_of_baselines_goes_on_where_it_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def measure(path: Path, line: dict[str, str], key: str, nets: object) -> Measured:
        asked.append(key)
        return Measured(key, 1, "s", "audio", False, {"AASIST": 2.0}, {"form": [1.0]})

    monkeypatch.setattr(baselines, "measure", measure)
    lines = [(Path(f"{i}"), {"label": "fake"}, f"audio/{i}") for i in range(3)]
    store = tmp_path / "b.jsonl"
    baselines.run(lines[:2], {}, store, lambda: None)
    with store.open("a") as file:
        file.write('{"key": "audio/2", "la')
        file.write("\n")
    found = baselines.run(lines, {}, store, lambda: None)
    assert asked == ["audio/0", "audio/1", "audio/2"]
    assert [one.key for one in found] == asked
    assert found[0].numbers == {"form": [1.0]}


def test_the_page_names_what_misses_the_bar():
    good = {
        "auroc": 0.97,
        "eer": 0.05,
        "f1": 0.92,
        "ece_even": 0.03,
        "fpr": 0.01,
        "coverage": 0.9,
        "selective_accuracy": 0.99,
    }
    kinds = {"image": good, "audio": good | {"eer": 0.2, "selective_accuracy": None}, "voice": good}
    assert quality.verdicts_on(kinds) == ["**Pictures:** reached.", "**Speech:** below it in EER, abstention."]
