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
