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
