"""The content authenticity score keeps to the bounds that it documents."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from detection import authenticity
from detection.authenticity import authenticity_of, with_credentials
from detection.models import InferenceResult

CAPTURE = {"actions": [{"action": "c2pa.created", "source": "digitalCapture"}]}
EDIT = {"actions": [{"action": "c2pa.cropped", "source": None}]}
AI = {"generated": True, "actions": [{"action": "c2pa.created", "source": "trainedAlgorithmicMedia"}]}
STATES = ("absent", "valid_untrusted", "valid_trusted", "invalid")


def result(score: float | None, label: str = "inconclusive", facts: dict[str, Any] | None = None, **channels: float):
    listed = [{"channel": name, "score": value, "label": label} for name, value in channels.items()]
    return InferenceResult(
        label=label, score=score, details={"channels": listed, "provenance": facts or {"state": "absent"}}
    )


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("label", ["real", "fake", "inconclusive"])
def test_absent_credentials_and_unknown_signers_change_nothing(share, label):
    for state in ("absent", "valid_untrusted"):
        assert with_credentials(share, {"state": state, **CAPTURE}, label=label)[0] == share
    assert with_credentials(share, {}, label=label)[0] == share


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_invalid_credentials_lower_and_altered_content_lowers_more(share):
    altered = with_credentials(share, {"state": "invalid", "altered": True}, label="real")[0]
    broken = with_credentials(share, {"state": "invalid"}, label="real")[0]
    assert altered < broken < share
    assert altered == pytest.approx(0.75 * share)


def test_a_declaration_of_ai_ends_it_whatever_the_detectors_say():
    assert with_credentials(0.95, {"state": "valid_trusted", **AI}, label="real")[0] == 0.02
    assert with_credentials(0.95, {"state": "valid_untrusted", **AI}, label="real")[0] == 0.10
    assert with_credentials(0.01, {"state": "valid_untrusted", **AI}, label="fake")[0] == 0.01  # never raised by it


def test_a_trusted_camera_raises_by_half_of_what_is_missing_and_edits_by_less():
    captured = with_credentials(0.6, {"state": "valid_trusted", **CAPTURE}, label="inconclusive")[0]
    edited = with_credentials(0.6, {"state": "valid_trusted", **EDIT}, label="inconclusive")[0]
    assert captured == pytest.approx(0.8)
    assert edited == pytest.approx(0.68)


def test_a_trusted_camera_gives_nothing_against_a_verdict_of_fake():
    assert with_credentials(0.1, {"state": "valid_trusted", **CAPTURE}, label="fake")[0] == 0.1


def test_it_always_lies_within_its_bounds_and_falls_with_the_probability_of_manipulation():
    for state, facts, label in itertools.product(STATES, ({}, CAPTURE, EDIT, AI, {"altered": True}), ("real", "fake")):
        provenance = {"state": state, **facts}
        found = [authenticity_of(result(p, label, provenance, picture=p)).score for p in (0.0, 0.3, 0.6, 1.0)]
        assert found == sorted(found, reverse=True)
        assert all(authenticity.LOWEST <= score <= authenticity.HIGHEST for score in found)


def test_what_provenance_added_to_the_verdict_is_not_counted_twice():
    """Overall .93 came of a picture at .3 and a declaration; the detectors' part is the picture's."""
    facts = {"state": "invalid", "altered": True}
    found = authenticity_of(result(0.93, "fake", facts, picture=0.3, provenance=0.25))
    assert found.score == pytest.approx(0.7 * 0.75)
    assert [part.title for part in found.parts] == ["Detectors", "Content Credentials"]
    assert found.parts[1].change == pytest.approx(-0.175)


def test_nothing_scored_gives_no_number():
    assert authenticity_of(result(None)) is None


def test_the_sentence_never_says_proof():
    assert "It is no proof." in authenticity_of(result(0.05, "real", picture=0.05)).sentence
    assert "weak start" in authenticity_of(result(0.5, picture=0.5)).parts[0].sentence
