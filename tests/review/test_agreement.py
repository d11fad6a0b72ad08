"""Kappa against values worked out in the literature."""

from __future__ import annotations

import pytest

from review.agreement import cohen_kappa, fleiss_kappa, percentile, strength


def pairs(table: dict[tuple[str, str], int]) -> list[tuple[str, str]]:
    return [cell for cell, count in table.items() for _ in range(count)]


def test_cohen_with_fifty_proposals():
    """The usual worked example: 50 proposals, 20 times both yes, 15 times both no; observed .7, expected .5."""
    table = {("yes", "yes"): 20, ("yes", "no"): 5, ("no", "yes"): 10, ("no", "no"): 15}
    assert cohen_kappa(pairs(table)) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("cells", "kappa"), [((45, 15, 25, 15), 0.1304), ((25, 35, 5, 35), 0.2593)], ids=["same marginals", "other"]
)
def test_cohen_with_the_same_agreement_but_other_marginals(cells, kappa):
    """Both tables agree on 60 of 100 items, but not equally far beyond chance."""
    keys = [("yes", "yes"), ("yes", "no"), ("no", "yes"), ("no", "no")]
    assert cohen_kappa(pairs(dict(zip(keys, cells, strict=True)))) == pytest.approx(kappa, abs=1e-4)


def test_cohen_at_its_ends():
    assert cohen_kappa([]) is None
    assert cohen_kappa([("real", "real")] * 4) is None
    assert cohen_kappa([("real", "real"), ("fake", "fake")]) == 1
    assert cohen_kappa([("real", "fake"), ("fake", "real")]) == -1


def test_fleiss_with_fourteen_raters():
    """Ten subjects, fourteen raters, five categories: observed .378, expected .213, kappa .210."""
    rows = [
        (0, 0, 0, 0, 14),
        (0, 2, 6, 4, 2),
        (0, 0, 3, 5, 6),
        (0, 3, 9, 2, 0),
        (2, 2, 8, 1, 1),
        (7, 7, 0, 0, 0),
        (3, 2, 6, 3, 0),
        (2, 5, 3, 2, 2),
        (6, 5, 2, 1, 0),
        (0, 2, 2, 3, 7),
    ]
    assert fleiss_kappa([dict(enumerate(row)) for row in rows]) == pytest.approx(0.2099, abs=1e-4)


def test_fleiss_at_its_ends():
    assert fleiss_kappa([]) is None
    assert fleiss_kappa([{"real": 1}]) is None
    assert fleiss_kappa([{"real": 3}, {"real": 2}]) is None
    assert fleiss_kappa([{"real": 3}, {"fake": 2}, {"fake": 1}]) == 1


@pytest.mark.parametrize(
    ("kappa", "word"),
    [
        (None, "not defined"),
        (-0.1, "poor"),
        (0.0, "slight"),
        (0.21, "fair"),
        (0.5, "moderate"),
        (0.9, "almost perfect"),
    ],
)
def test_strength(kappa, word):
    assert strength(kappa, 50) == word
    assert strength(kappa, 9) == "too few cases to say"


def test_percentile():
    assert percentile([], 0.5) is None
    assert percentile([4, 1, 3, 2], 0.5) == 2.5
    assert percentile([10, 20], 0.95) == pytest.approx(19.5)
    assert percentile([7], 0.95) == 7
