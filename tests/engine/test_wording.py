"""The verdict in words: advice that fits the kind of media."""

from __future__ import annotations

import pytest

from detection.engine import wording
from detection.engine.types import ChannelVerdict, Verdict


@pytest.mark.parametrize("kind", ["image", "video", "audio"])
@pytest.mark.parametrize("reason", ["uncertain_band", "unstable", "out_of_distribution"])
def test_an_open_case_asks_for_a_copy_that_can_exist(kind: str, reason: str) -> None:
    """A still has no longer copy, a recording no larger one."""
    channel = ChannelVerdict("voice" if kind == "audio" else "picture", 0.5, "inconclusive")
    verdict = Verdict(
        "inconclusive", 0.5, (0.4, 0.6), "", reason, (channel,), (), {}, {}, (), None, {"fake": 0.7, "real": 0.3}, "",
        {},
    )  # fmt: skip
    said = wording.rationale(kind, verdict)  # type: ignore[arg-type]
    assert said.endswith("or a person who knows the case, can settle it.")
    assert ("longer" in said) == (kind != "image")
    assert ("larger" in said) == (kind == "image")


@pytest.mark.parametrize(
    ("p", "limits", "said"),
    [
        (0.65, (0.4, 0.7), "65 %"),
        (0.7, (0.4, 0.7), "70 %"),
        (0.6996, (0.4, 0.7), "69.9 %"),
        (0.7003, (0.401, 0.705), "70 %"),
        (0.7049, (0.401, 0.705), "70 %"),
        (0.705, (0.401, 0.705), "70.5 %"),
        (0.839, (0.4, 0.7), "84 %"),
        (0.839, (0.22, 0.807), "84 %"),
        (0.839, (0.22, 0.84), "83.9 %"),
        (0.4006, (0.401, 0.705), "40 %"),
        (0.999, (0.4, 0.7), "99 %"),
        (0.001, (0.4, 0.7), "1 %"),
    ],
)
def test_no_score_is_rounded_across_a_threshold(p: float, limits: tuple[float, float], said: str) -> None:
    assert wording.percent_beside(p, *limits) == said


def test_thresholds_keep_their_decimal() -> None:
    assert [wording.limit_percent(limit) for limit in (0.7, 0.705, 0.70512)] == ["70 %", "70.5 %", "70.5 %"]
    assert wording.limit_percent(0.4, 1) == "40.0 %"
