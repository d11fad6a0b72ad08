"""Voice activity: where somebody speaks, by Silero's recurrent net run without torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detection.engine import third_party
from detection.engine.types import Span

RATE_HZ = 16_000
STEP = 512  # samples that one probability stands for (32 ms)
CONTEXT = 64  # samples of the step before, which the net wants in front
BLOCK = 1024  # steps per inference: bounds memory on long recordings

ENTER_P, LEAVE_P = 0.5, 0.35  # hysteresis, as published with the net
MIN_SPEECH_S = 0.25
MIN_PAUSE_S = 0.1
PAD_S = 0.03


def speech_spans(audio: NDArray[np.float32] | None) -> tuple[Span, ...]:
    """Return the stretches of speech in time order.

    audio: (n,) float32 mono 16 kHz in [-1, 1], or None. Source: Silero Team 2024, github.com/snakers4/silero-vad (MIT).
    """
    if audio is None or audio.size < STEP:
        return ()
    end_s = audio.size / RATE_HZ
    spans: list[Span] = []
    for first, last in _runs(speech_probabilities(audio)):
        start_s, stop_s = first * STEP / RATE_HZ, min(last * STEP / RATE_HZ, end_s)
        if stop_s - start_s >= min(MIN_SPEECH_S, end_s):
            spans.append(Span(max(0.0, start_s - PAD_S), min(end_s, stop_s + PAD_S)))
    return tuple(_joined(spans))


def speech_probabilities(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return p(speech) for every 32 ms: (ceil(n / 512),) float32."""
    count = -(-audio.size // STEP)
    padded = np.zeros(CONTEXT + count * STEP, np.float32)
    padded[CONTEXT : CONTEXT + audio.size] = audio
    steps = np.lib.stride_tricks.sliding_window_view(padded, CONTEXT + STEP)[::STEP]
    hidden = np.zeros((1, 1, 128), np.float32)
    cell = np.zeros((1, 1, 128), np.float32)
    net = third_party.load("voice_activity")
    parts = []
    for start in range(0, count, BLOCK):
        outputs = net(np.ascontiguousarray(steps[start : start + BLOCK]), hidden, cell)
        hidden, cell = outputs["hn"], outputs["cn"]
        parts.append(outputs["speech_probs"].reshape(-1))
    return np.concatenate(parts)


def _runs(probabilities: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Return (first, last + 1) step of each stretch entered above ENTER_P and left below LEAVE_P for a pause."""
    pause_steps = max(1, round(MIN_PAUSE_S * RATE_HZ / STEP))
    runs: list[tuple[int, int]] = []
    start = quiet_from = None
    for i, p in enumerate(probabilities):
        if start is None:
            start = i if p >= ENTER_P else None
        elif p >= LEAVE_P:
            quiet_from = None
        else:
            quiet_from = i if quiet_from is None else quiet_from
            if i - quiet_from + 1 >= pause_steps:
                runs.append((start, quiet_from))
                start = quiet_from = None
    if start is not None:
        runs.append((start, len(probabilities) if quiet_from is None else quiet_from))
    return runs


def _joined(spans: list[Span]) -> list[Span]:
    """Padding may make neighbours touch."""
    joined: list[Span] = []
    for span in spans:
        if joined and span.start_s <= joined[-1].end_s:
            joined[-1] = Span(joined[-1].start_s, span.end_s)
        else:
            joined.append(span)
    return joined
