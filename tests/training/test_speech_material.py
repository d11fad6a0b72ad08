"""Training fakes that the project makes itself: phonemes, mixed voices, manifests that the trainer can read."""

from __future__ import annotations

import csv
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from detection.training import audio_features, speech_material, speech_synthesizers
from detection.training.audio_features import Clip

RATE_HZ = 16_000


def test_spanish_is_read_by_rule():
    assert speech_synthesizers.spanish("queso") == "keso"
    assert speech_synthesizers.spanish("Chica, ¿qué?") == "ʧika, ¿kˈe?"
    assert speech_synthesizers.spanish("guerra") == "ɡera"
    assert speech_synthesizers.spanish("gente") == "xente"


def test_kokoros_signs_become_espeaks():
    assert speech_synthesizers.espeak("ʤˈA tˈIm") == "dʒˈeɪ tˈaɪm"


def test_voices_are_mixed_not_chosen():
    voices = {name: np.full((510, 1, 256), value, np.float32) for name, value in (("a", 0.0), ("b", 1.0))}
    styles = [speech_synthesizers.mixed_style(voices, 20, np.random.default_rng(n)) for n in range(8)]
    assert styles[0].shape == (1, 256)
    assert len({float(style[0, 0]) for style in styles}) == 8
    assert all(0 < style[0, 0] < 1 for style in styles)


def test_what_a_system_cannot_speak_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="festival"):
        speech_synthesizers.say("festival", "Hello.", "en", rng)
    with pytest.raises(ValueError, match="cannot speak 'es'"):
        speech_synthesizers.say("piper", "Hola.", "es", rng)


@pytest.mark.parametrize(("system", "language"), [("hibari", "en"), ("kokoro", "es"), ("piper", "en")])
def test_a_packaged_synthesizer_speaks(system, language):
    if any(find_spec(package) is None for package in speech_synthesizers.PACKAGES[system]):
        pytest.skip(f"the packages of {system} are not installed")
    text = speech_material.SENTENCES[language][0]
    speech = speech_synthesizers.say(system, text, language, np.random.default_rng(0))
    assert 0.8 * RATE_HZ < len(speech.samples) < 8 * RATE_HZ
    assert np.sqrt(np.mean(speech.samples**2)) > 0.005
    assert np.isfinite(speech.samples).all()


def hum(seed: int) -> np.ndarray:
    t = np.arange(RATE_HZ // 2) / RATE_HZ
    return (0.1 * np.sin(2 * np.pi * (100 + 10 * seed) * t) * (1 + np.sin(2 * np.pi * 5 * t))).astype(np.float32)


def test_copies_keep_source_and_language_and_come_from_genuine_speech_alone(monkeypatch):
    monkeypatch.setattr(audio_features, "load", lambda path: hum(1))
    clips = [
        Clip(Path("a"), "a", False, "corpus/a", "real", "human", "de"),
        Clip(Path("b"), "b", True, "demo/b", "VITS", "tts", "en"),
    ]
    rows = list(speech_material.copies(clips, np.random.default_rng(0)))
    assert len(rows) == 1
    assert rows[0][1]["source_repo"] == "corpus/a"
    assert rows[0][1]["language"] == "de"
    assert rows[0][1]["kind"] == "copy"


def test_what_is_written_can_be_trained_on(tmp_path):
    facts = {"system": "griffin_lim", "kind": "copy", "language": "en", "source_repo": "corpus/a"}
    assert speech_material.write([(hum(n), facts) for n in range(3)], tmp_path) == 3
    clips = audio_features.read_manifests([tmp_path])
    assert {(c.is_fake, c.system, c.kind, c.source) for c in clips} == {(True, "griffin_lim", "copy", "corpus/a")}
    assert np.abs(audio_features.read_mono(clips[0].path)).max() == pytest.approx(0.2, abs=0.02)
    rows = list(csv.DictReader((tmp_path / "manifest.csv").open()))
    assert all(row["licence"] for row in rows)
