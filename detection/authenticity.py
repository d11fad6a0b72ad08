"""Content authenticity: what the detectors found and what the file's signature asserts, as one number with its parts.

Bounds, which tests hold it to:
- The number starts from the detectors: 1 minus the probability of manipulation, over the channels they judged.
- Absent credentials change nothing, and neither do valid ones of a signer who is not trusted.
- Credentials that declare AI generation end it: at most AT_MOST_DECLARED_TRUSTED, or AT_MOST_DECLARED for an unknown
  signer.
- Credentials that no longer fit the content take ALTERED of it away; those that fail for another reason take BROKEN.
- A trusted signature over a camera's capture gives CAPTURED of what is missing to 1, over recorded edits EDITED of it:
  it says which device or program made the file, not that the scene before the lens was true. It gives nothing against a
  verdict of fake.
- It always lies between LOWEST and HIGHEST: nothing here proves anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from detection.models import InferenceResult, Label

LOWEST, HIGHEST = 0.01, 0.97
AT_MOST_DECLARED_TRUSTED = 0.02
AT_MOST_DECLARED = 0.10
ALTERED = 0.25
BROKEN = 0.10
CAPTURED = 0.50
EDITED = 0.20
CAPTURE_SOURCES = ("digitalCapture", "computationalCapture", "negativeFilm", "positiveFilm", "print")


@dataclass(frozen=True)
class Part:
    title: str
    sentence: str
    change: float | None  # of the number, in [-1, 1]; None for what it starts from


@dataclass(frozen=True)
class Authenticity:
    score: float  # [LOWEST, HIGHEST], high is authentic
    parts: tuple[Part, ...]
    sentence: str


def authenticity_of(result: InferenceResult) -> Authenticity | None:
    """Return the number with its parts; None when the detectors could score nothing and no signature speaks."""
    facts = result.details.get("provenance") or {}
    from_detectors = detector_share(result)
    declared = bool(facts.get("generated")) and str(facts.get("state", "")).startswith("valid")
    if from_detectors is None and not declared:
        return None
    start = 0.5 if from_detectors is None else from_detectors
    after, words = with_credentials(start, facts, label=result.label)
    score = min(max(after, LOWEST), HIGHEST)
    parts = (
        Part("Detectors", _detector_words(from_detectors, result), None),
        Part("Content Credentials", words, after - start if abs(after - start) > 1e-9 else 0.0),
    )
    return Authenticity(score, parts, _sentence(score, after - start))


def detector_share(result: InferenceResult) -> float | None:
    """Return 1 - p_fake of the channels that detectors judged, as the verdict joins them; None without any."""
    channels = result.details.get("channels") or []
    judged = [c["score"] for c in channels if c["channel"] != "provenance" and c.get("score") is not None]
    if len(judged) == len(channels):  # provenance said nothing: the verdict's own number is theirs
        return None if result.score is None else 1 - result.score
    if not judged:
        return None
    share = 1.0
    for score in judged:
        share *= 1 - score
    return share


def with_credentials(share: float, facts: Mapping[str, Any], *, label: str) -> tuple[float, str]:
    """Return the share after what the credentials assert, and why."""
    state = facts.get("state") or "absent"
    if state == "absent":
        return share, "None in this file. Most genuine files carry none, so this changes nothing."
    if state == "invalid":
        if facts.get("altered"):
            return share * (1 - ALTERED), "The content was changed after it was signed."
        return share * (1 - BROKEN), "They do not hold, though not because the content was seen to be changed."
    if facts.get("generated"):
        most = AT_MOST_DECLARED_TRUSTED if state == "valid_trusted" else AT_MOST_DECLARED
        return min(share, most), "They declare that the content was made with AI."
    if state != "valid_trusted":
        return share, "They hold, but nobody vouches for the signer, so they change nothing."
    if label == Label.FAKE:
        return share, "They hold, but speak only of device and program; against a verdict of fake they give nothing."
    if _is_capture(facts):
        raised = share + (1 - share) * CAPTURED
        return raised, "A trusted signer vouches that a camera took it, not that the scene was true."
    raised = share + (1 - share) * EDITED
    return raised, "A trusted signer vouches for the recorded edits, not for what came before them."


def _is_capture(facts: Mapping[str, Any]) -> bool:
    return any(step.get("source") in CAPTURE_SOURCES for step in facts.get("actions") or [] if isinstance(step, dict))


def _detector_words(share: float | None, result: InferenceResult) -> str:
    if share is None:
        return "Nothing in this item could be scored."
    words = f"{_percent(share)} is what their probability of manipulation leaves."
    if result.label == Label.INCONCLUSIVE:
        words += " The verdict is inconclusive, so this is a weak start."
    return words


def _sentence(score: float, change: float) -> str:
    if change < -0.005:
        moved = "lowered by the file's credentials"
    elif change > 0.005:
        moved = "raised by the file's credentials, for what they assert"
    else:
        moved = "from the detectors alone"
    if score >= 0.75:
        return f"Much speaks for an authentic file, {moved}. It is no proof."
    if score <= 0.25:
        return f"Little speaks for an authentic file, {moved}."
    return f"The signs do not add up to either side, {moved}."


def _percent(share: float) -> str:
    return f"{min(max(round(100 * share), 1), 99)} %"
