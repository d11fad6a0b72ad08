"""Metrics against values worked out by hand."""

import math

import numpy as np
import pytest

from detection.training import metrics


def test_auroc_counts_ordered_pairs():
    assert metrics.auroc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]) == pytest.approx(0.75)


def test_auroc_counts_a_tie_half():
    assert metrics.auroc([0, 1], [0.5, 0.5]) == pytest.approx(0.5)


def test_auroc_of_one_class_is_not_a_number():
    assert math.isnan(metrics.auroc([1, 1], [0.1, 0.9]))


def test_eer_of_one_error_in_four():
    assert metrics.eer([0, 0, 0, 0, 1, 1, 1, 1], [0.1, 0.2, 0.3, 0.7, 0.4, 0.6, 0.8, 0.9]) == pytest.approx(0.25)


def test_eer_of_a_perfect_score_is_zero():
    assert metrics.eer([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]) == pytest.approx(0.0)


def test_ece_is_the_gap_between_said_and_true():
    assert metrics.ece([1, 0, 1, 1], [0.8, 0.8, 0.8, 0.8]) == pytest.approx(0.05)


def test_at_threshold_counts():
    found = metrics.at_threshold([0, 0, 1, 1, 1], [0.2, 0.7, 0.6, 0.9, 0.1], 0.5)
    assert found == pytest.approx({"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "accuracy": 0.6, "fpr": 0.5})


def test_det_curve_ends_with_nothing_called_fake():
    thresholds, fpr, fnr = metrics.det_curve([0, 1], [0.3, 0.6])
    assert thresholds[-1] == np.inf
    assert (fpr[0], fnr[0], fpr[-1], fnr[-1]) == (1.0, 0.0, 0.0, 1.0)


def test_bootstrap_draws_whole_groups():
    """Twenty copies of two items are two groups: the interval must be as wide as that of the two alone."""
    labels, scores = [0, 1] * 20, [0.6, 0.4] * 20
    assert metrics.bootstrap_ci(labels, scores, groups=["a", "b"] * 20, rounds=200) == (0.0, 0.0)
    labels, scores = [0, 1, 0, 1], [0.2, 0.8, 0.8, 0.2]
    assert metrics.bootstrap_ci(labels, scores, groups=["a", "a", "b", "b"], rounds=300) == (0.0, 1.0)


def test_lists_of_different_length_are_an_error():
    with pytest.raises(ValueError, match="same length"):
        metrics.auroc([0, 1], [0.5])


def test_average_precision_by_hand_and_with_ties() -> None:
    assert metrics.average_precision([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1]) == pytest.approx((1 + 2 / 3) / 2)
    assert metrics.average_precision([1, 0], [0.5, 0.5]) == pytest.approx(0.5)
    assert np.isnan(metrics.average_precision([0, 0], [0.5, 0.4]))


def test_youden_and_the_threshold_of_a_wished_rate() -> None:
    labels, scores = [0, 0, 0, 0, 1, 1, 1, 1], [0.1, 0.2, 0.3, 0.7, 0.4, 0.6, 0.8, 0.9]
    assert metrics.youden(labels, scores) == pytest.approx(0.4)
    assert metrics.at_fpr(labels, scores, 0.25) == pytest.approx(0.4)
    assert metrics.at_fpr(labels, scores, 0.0) == pytest.approx(0.8)


def test_calibration_error_with_both_classes_counted_alike() -> None:
    labels, scores = [1] * 9 + [0], [0.9] * 10
    assert metrics.ece(labels, scores) == pytest.approx(0)
    assert metrics.ece(labels, scores, weights=metrics.even(labels)) == pytest.approx(0.4)
    bins = metrics.reliability(labels, scores)
    assert [(b["n"], round(b["found"], 3)) for b in bins] == [(10, 0.9)]


def test_the_interval_of_a_share() -> None:
    low, high = metrics.proportion_ci(0, 100)
    assert low == 0
    assert high == pytest.approx(0.0362, abs=1e-3)
    low, high = metrics.proportion_ci(5, 100)
    assert low < 0.05 < high
    assert np.isnan(metrics.proportion_ci(0, 0)[0])
