"""Which frames of a clip are looked at: runs of 16 spread over the whole of it."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

RUN_FRAMES = 16
RATE_HZ = 11.0  # frames per second within a run: 12.5 of 25, 10 of 30, 12 of 24
DECODE_ALL_FRAMES = 450  # up to so many frames of a clip, decoding straight through is cheapest
MAX_RUNS = 20


@dataclass(frozen=True)
class Plan:
    """runs: frame numbers of each run, in order and without repeats; seeks: whether to jump to each run."""

    runs: tuple[list[int], ...]
    seeks: bool

    @property
    def indices(self) -> list[int]:
        return [index for run in self.runs for index in run]


def plan_windows(*, count: int, fps: float, keys: Sequence[int], can_seek: bool, wish: Mapping[str, Any]) -> Plan:
    """Spread runs over `count` frames.

    keys: frame numbers where decoding can start. wish: may hold `max_windows`, `frames_per_window`, `rate_hz`, and
    `starts_s` (look at these moments instead of an even spread).
    """
    stride = max(1, round(fps / float(wish.get("rate_hz") or RATE_HZ)))
    size = int(wish.get("frames_per_window") or RUN_FRAMES)
    span = stride * size
    seeks = can_seek and count > DECODE_ALL_FRAMES and len(keys) > 1
    starts_s = wish.get("starts_s")
    if starts_s:
        starts = sorted({min(max(0, round(s * fps)), max(0, count - span)) for s in starts_s})
    else:
        runs = min(math.ceil(count / span), int(wish.get("max_windows") or how_many_runs(count / fps)))
        if runs * span >= count:
            return Plan((list(range(0, count, stride)),), seeks=False)
        last = max(0, count - span)
        starts = [round(last * i / (runs - 1)) for i in range(runs)] if runs > 1 else [last // 2]
        if seeks:
            starts = _at_keyframes(starts, keys, reach=count // (2 * max(1, runs - 1)))
    taken = -1
    planned: list[list[int]] = []
    for start in starts:
        run = [index for index in range(start, min(start + span, count), stride) if index > taken]
        if run:
            taken = run[-1]
            planned.append(run)
    return Plan(tuple(planned), seeks)


def how_many_runs(duration_s: float) -> int:
    """6 up to 10 s, then 4 more for each doubling, at most 20."""
    return min(MAX_RUNS, 6 + round(4 * math.log2(max(duration_s, 10.0) / 10.0)))


def _at_keyframes(starts: list[int], keys: Sequence[int], reach: int) -> list[int]:
    """Move each start to the nearest keyframe within reach: nothing is decoded in vain."""
    moved = []
    for start in starts:
        at = bisect_left(keys, start)
        near = min(keys[max(0, at - 1) : at + 1], key=lambda key: abs(key - start), default=start)
        moved.append(near if abs(near - start) <= reach else start)
    return sorted(set(moved))
