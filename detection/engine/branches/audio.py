"""Speech: does the voice carry the traces of a synthesizer, a voice converter or a vocoder?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.engine import registry
from detection.engine.runtime import Net
from detection.engine.types import CurvePoint, Evidence, Scene, Span
from detection.engine.wording import clock

RATE_HZ = 16_000
WINDOW_S = 2.0
HOP_S = 1.0
MAX_WINDOWS = 160  # over ten minutes of speech they lie 3.75 s apart: about two seconds of work
BATCH = 16
MIN_SPEECH_S = 0.6
MAX_PAUSE_S = 0.5  # a pause within a sentence belongs to the window; the net has heard such pauses
TOP_SHARE = 0.25  # of the windows: a few cloned sentences in a genuine recording
TOP_WEIGHT = 0.5
USUAL_GAP = 2.0  # by which that quarter exceeds the mean, in logits, even where one voice speaks throughout

Floats = NDArray[np.float32]


def build() -> Any:
    """Return the untrained net that the shipped weights fit."""
    from detection.engine.branches.audio_net import SpeechNet

    return SpeechNet()


@dataclass(frozen=True, eq=False)
class Condition:
    """How good the sound is."""

    speech_s: float
    snr_db: float
    bandwidth_hz: float
    clipped: float  # share of samples at full scale

    @property
    def quality(self) -> float:
        clean = np.clip((self.snr_db - 3) / 17, 0.2, 1)
        wide = np.clip(self.bandwidth_hz / 6000, 0.4, 1)
        enough = np.clip(self.speech_s / 3, 0.3, 1)
        undistorted = np.clip(1 - 10 * self.clipped, 0.3, 1)
        return float(clean * wide * enough * undistorted)


def examine(scene: Scene, net: Net | None) -> Evidence:
    """Score two-second windows of the speech; everything that is not speech is left alone."""
    if net is None:
        raise ValueError("the audio branch needs its net")
    audio = scene.media.audio
    if audio is None or not len(audio):
        return _skipped("no_sound", "There is no sound, so there is no voice to check.")
    if not scene.speech:
        return _skipped("no_speech", "Nobody speaks in this recording, so there is no voice to check.")
    spans = speech_windows(scene.speech, len(audio) / RATE_HZ)
    if not spans:
        return _skipped(
            "too_short", f"There is less than {MIN_SPEECH_S} s of continuous speech: too little to check a voice."
        )
    logits, embeddings = _run(net, [cut(audio, span) for span in spans])
    return _evidence(net.spec, spans, logits, embeddings, condition(audio, scene.speech))


def speech_windows(speech: Sequence[Span], end_s: float) -> list[Span]:
    """Return windows of at most WINDOW_S over the speech, HOP_S apart, sparser when there are more than MAX_WINDOWS."""
    windows = []
    for run in _joined(speech):
        start_s, stop_s = max(run.start_s, 0.0), min(run.end_s, end_s)
        length = stop_s - start_s
        if length < MIN_SPEECH_S:
            continue
        count = 1 if length <= WINDOW_S else 1 + math.ceil((length - WINDOW_S) / HOP_S)
        for start in np.linspace(start_s, max(start_s, stop_s - WINDOW_S), count):
            windows.append(Span(float(start), float(min(start + WINDOW_S, stop_s))))
    if len(windows) > MAX_WINDOWS:
        windows = [windows[i] for i in np.linspace(0, len(windows) - 1, MAX_WINDOWS).round().astype(int)]
    return windows


def _joined(speech: Sequence[Span]) -> list[Span]:
    runs: list[Span] = []
    for span in speech:
        if runs and span.start_s - runs[-1].end_s <= MAX_PAUSE_S:
            runs[-1] = Span(runs[-1].start_s, max(span.end_s, runs[-1].end_s))
        else:
            runs.append(span)
    return runs


def cut(audio: Floats, span: Span) -> Floats:
    """Return (32000,) samples of the span, as the net was trained: shorter speech is repeated, never padded."""
    start = round(span.start_s * RATE_HZ)
    return repeated(audio[start : round(span.end_s * RATE_HZ)], int(WINDOW_S * RATE_HZ))


def repeated(samples: Floats, n: int) -> Floats:
    """Repeat with 10 ms cross-fades up to n, so that neither silence nor a click marks short speech."""
    fade = min(RATE_HZ // 100, len(samples) // 2)
    ramp = np.linspace(0, 1, fade, dtype=np.float32)
    out = samples
    while len(out) < n:
        seam = out[len(out) - fade :] * (1 - ramp) + samples[:fade] * ramp
        out = np.concatenate([out[: len(out) - fade], seam, samples[fade:]])
    return np.ascontiguousarray(out[:n], dtype=np.float32)


def _run(net: Net, windows: Sequence[Floats]) -> tuple[Floats, Floats]:
    outputs = [net(np.stack(windows[i : i + BATCH])) for i in range(0, len(windows), BATCH)]
    return np.concatenate([o["logit"] for o in outputs]), np.concatenate([o["embedding"] for o in outputs])


def condition(audio: Floats, speech: Sequence[Span]) -> Condition:
    """Estimate how good the sound is; the noise is what remains in the quietest tenth of 20 ms steps."""
    step = RATE_HZ // 50
    spoken = np.concatenate([audio[int(s.start_s * RATE_HZ) : int(s.end_s * RATE_HZ)] for s in speech])
    power = _power(audio, step)
    noise = float(np.percentile(power, 10)) + 1e-10
    signal = float(np.mean(_power(spoken, step)))
    return Condition(
        speech_s=sum(s.end_s - s.start_s for s in speech),
        snr_db=float(np.clip(10 * math.log10(max(signal - noise, 1e-10) / noise), -10, 60)),
        bandwidth_hz=_bandwidth(spoken),
        clipped=float((np.abs(spoken) >= 0.999).mean()),
    )


def _power(samples: Floats, step: int) -> NDArray[np.float64]:
    count = max(len(samples) // step, 1)
    return np.square(np.resize(samples, count * step).astype(np.float64)).reshape(count, step).mean(1)


def _bandwidth(samples: Floats) -> float:
    """Return the frequency above which the long-term spectrum stays 60 dB below its peak."""
    size = 1024
    usable = samples[: RATE_HZ * 60]
    frames = np.resize(usable, max(len(usable) // size, 1) * size).reshape(-1, size) * np.hanning(size)
    spectrum = np.square(np.abs(np.fft.rfft(frames))).mean(0)
    heard = np.flatnonzero(spectrum > spectrum.max() * 1e-6)
    return float(heard[-1] * RATE_HZ / size) if len(heard) else 0.0


def overall(logits: Floats) -> float:
    """Return the logit of the recording: the mean, raised when the most suspicious quarter stands out unusually.

    Against the plain mean this finds more recordings with a share of cloned speech and leaves wholly genuine and
    wholly fake ones as they were (ml_weights/audio/CARD.md).
    """
    count = max(1, math.ceil(TOP_SHARE * len(logits)))
    mean = float(logits.mean())
    gap = float(np.sort(logits)[-count:].mean()) - mean
    return mean + TOP_WEIGHT * max(0.0, gap - USUAL_GAP)


def p_fake(logit: float, spec: registry.BranchSpec) -> float:
    """Calibrated probability of a logit."""
    x = float(np.clip(logit / spec.temperature + spec.bias, -40, 40))
    return 1.0 / (1.0 + math.exp(-x))


def _evidence(
    spec: registry.BranchSpec, spans: Sequence[Span], logits: Floats, embeddings: Floats, sound: Condition
) -> Evidence:
    logit = overall(logits)
    score = p_fake(logit, spec)
    scores = [p_fake(float(one), spec) for one in logits]
    agreeing = float(np.mean([(one >= 0.5) == (score >= 0.5) for one in scores]))
    # The embedding is scaled so that a length of 1 lies well outside the speech that the net was trained on.
    distance = float(np.median(np.linalg.norm(embeddings, axis=1)))
    return Evidence(
        branch="audio",
        channel="voice",
        state="scored",
        sentence=_sentence(spans, scores, score, sound),
        score=score,
        logit=logit,
        confidence=round(sound.quality * agreeing, 4),
        quality=round(sound.quality, 4),
        curve=tuple(CurvePoint(s.start_s, s.end_s, one) for s, one in zip(spans, scores, strict=True)),
        data={
            "windows": len(spans),
            "suspicious_windows": sum(one >= 0.5 for one in scores),
            "speech_s": round(sound.speech_s, 2),
            "snr_db": round(sound.snr_db, 1),
            "bandwidth_hz": round(sound.bandwidth_hz),
            "clipped": round(sound.clipped, 4),
            "ood": {"distance": round(distance, 4), "limit": 1.0},
        },
        version=spec.version,
        sha256=spec.files["openvino"][-1][1],
    )


SURE_AT = 0.8  # below, stretches beyond an even chance only lean, and the sentence must not sound surer than the score


def _skipped(reason: str, words: str) -> Evidence:
    return Evidence("audio", "voice", "skipped", words, reason=reason)


def _sentence(spans: Sequence[Span], scores: Sequence[float], score: float, sound: Condition) -> str:
    suspicious = sum(one >= 0.5 for one in scores)
    where = clock(spans[int(np.argmax(scores))].start_s)
    poor = " The sound is poor, so this says little." if sound.quality < 0.35 else ""
    if score >= 0.5 and len(scores) == 1:
        if score < SURE_AT:
            return f"The voice leans towards a speech synthesizer or voice converter, but not clearly.{poor}"
        return f"The voice sounds like the output of a speech synthesizer or voice converter.{poor}"
    if score >= 0.5:
        sounds = "sound like" if score >= SURE_AT else "lean towards"
        return (
            f"{max(suspicious, 1)} of {len(scores)} stretches of speech {sounds} a speech synthesizer or voice "
            f"converter, {'most clearly' if score >= SURE_AT else 'not clearly, most of all'} at {where}.{poor}"
        )
    if suspicious:
        return (
            f"{suspicious} of {len(scores)} stretches of speech lean towards synthetic speech, most of all at {where}; "
            f"the rest does not.{poor}"
        )
    return f"The voice shows no clear trace of a speech synthesizer or voice converter.{poor}"
