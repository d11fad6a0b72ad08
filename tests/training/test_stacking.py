"""Stacking: the fit recovers what was put in, keeps weights non-negative, and counts sources, not files."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from detection.engine.fusion import Stacker
from detection.training import stacking
from detection.training.stacking import Row


def rows(n: int = 400, *, sources: int = 8, seed: int = 0) -> list[Row]:
    """`good` tells the classes apart, `noise` does not, `wrong` is turned round."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(n):
        label, source = i % 2, f"s{i % (2 * sources) // 2}"
        sign = 2 * label - 1
        logits = {
            "good": 1.5 * sign + rng.normal(0, 1.2) + 3.0,
            "noise": rng.normal(0, 1),
            "wrong": -0.8 * sign + rng.normal(0, 1),
        }
        made.append(Row(f"{i}", label, source, f"{source}/{i % 40}", "image_face", "picture", logits))
    return made


BRANCHES = ("good", "noise", "wrong")


@pytest.fixture(scope="module")
def entry() -> dict[str, Any]:
    return stacking.fit_domain(rows(), BRANCHES)


def test_weights_are_never_negative_and_follow_what_helps(entry: dict[str, Any]) -> None:
    assert entry["weights"]["good"] > 0.5
    assert entry["weights"]["noise"] < 0.3
    assert entry["weights"]["wrong"] == 0
    assert all(w >= 0 for member in entry["members"] for w in member[1:])


def test_the_entry_is_what_the_engine_reads_and_is_calibrated(entry: dict[str, Any]) -> None:
    stacker = Stacker.from_json("image_face", entry)
    fresh = rows(seed=1)
    scores = np.array([1 / (1 + np.exp(-stacker.logit(r.logits))) for r in fresh])
    labels = np.array([r.label for r in fresh])
    figures = stacking.measure(labels, scores, [r.unit for r in fresh])
    assert figures["auroc"] > 0.93
    assert figures["ece"] < 0.08
    assert stacker.centres[0] == pytest.approx(3.0, abs=0.3)


def test_a_missing_branch_is_an_average_opinion(entry: dict[str, Any]) -> None:
    stacker = Stacker.from_json("image_face", entry)
    average = {"good": stacker.centres[0], "noise": stacker.centres[1], "wrong": stacker.centres[2]}
    assert stacker.logit({}) == pytest.approx(stacker.logit(average))


def test_a_big_source_counts_by_the_root_of_its_size() -> None:
    y = np.array([1] * 101 + [0] * 2)
    groups = np.array(["big"] * 100 + ["small"] + ["r1", "r2"])
    weights = stacking.balance(y, groups)
    assert weights[y == 1].sum() == pytest.approx(0.5)
    assert weights[:100].sum() == pytest.approx(10 * weights[100])


def test_one_class_cannot_be_stacked() -> None:
    with pytest.raises(ValueError, match="real and fake"):
        stacking.fit_domain([r for r in rows() if r.label == 1], BRANCHES)


def test_thresholds_keep_false_alarms_below_the_wish() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 1000)
    scores = np.concatenate([rng.beta(2, 5, 1000), rng.beta(5, 2, 1000)])
    limits = stacking.choose_thresholds(labels, scores, max_fpr=0.05, max_fnr=0.1)
    assert (scores[labels == 0] >= limits["fake"]).mean() <= 0.055
    assert (scores[labels == 1] < limits["real"]).mean() <= 0.105
    assert limits["real"] <= 0.5 <= limits["fake"]


def two_forgeries(seed: int, n: int = 600) -> list[Row]:
    """Half of the fakes are pasted, half generated whole; each check knows one, and calls the other very genuine."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(n):
        label, source = i % 2, f"s{i % 20 // 2}"
        pasted = label and i % 4 == 1
        logits = {
            "pasted": rng.normal(0, 1) + (2.5 if pasted else -2.5 if label else 0.0),
            "generated": rng.normal(0, 1) + (0.0 if pasted else 2.5 if label else 0.0),
        }
        made.append(Row(f"{i}", label, source, f"{source}/{i % 40}", "video_face", "picture", logits))
    return made


def test_a_one_sided_fit_keeps_what_each_check_knows() -> None:
    fresh = two_forgeries(1)
    labels = [r.label for r in fresh]

    def auroc_of(*, is_one_sided: bool) -> float:
        found = stacking.fit_domain(two_forgeries(0), ("pasted", "generated"), members=2, is_one_sided=is_one_sided)
        stacker = Stacker.from_json("video_face", found)
        assert stacker.is_one_sided == is_one_sided
        return stacking.metrics.auroc(labels, [stacker.logit(r.logits) for r in fresh])

    assert auroc_of(is_one_sided=True) > auroc_of(is_one_sided=False) + 0.05
