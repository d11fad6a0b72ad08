"""The figures of the cards as numbers: every card that ships is understood, however it writes them."""

from __future__ import annotations

import pytest

from detection import cards
from detection.engine import pipeline, registry
from reports import quality


@pytest.mark.parametrize("name", [name for name, spec in registry.BRANCHES.items() if spec.files])
def test_every_shipped_card_gives_numbers(name: str) -> None:
    rows = quality.of_branch(name, pipeline.digest_of(registry.BRANCHES[name]))
    assert rows
    for row in rows:
        assert 0 <= row["auroc"] <= 1, row
        if row["auroc_ci"]:
            assert 0 <= row["auroc_ci"][0] <= row["auroc"] <= row["auroc_ci"][1] <= 1, row
        if row["eer"] is not None:
            assert 0 < row["eer"] <= 1, row


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        (
            {"clips": "swap", "AUROC": "0.705", "95 % interval": "0.632–0.780", "EER": "0.37"},
            (0.705, [0.632, 0.78], 0.37),
        ),
        ({"": "all", "AUROC": ".857 (.783–.915)", "EER": "22.6 % (17–29)"}, (0.857, [0.783, 0.915], 0.226)),
        ({"set": "all", "AUROC": "0.810", "95 % interval": "0.775 to 0.845"}, (0.81, [0.775, 0.845], None)),
    ],
)
def test_a_line_of_a_card(row: dict[str, str], wanted: tuple[float, list[float], float | None]) -> None:
    found = cards.numbers(row)
    assert (found["auroc"], found["auroc_ci"], found["eer"]) == wanted
