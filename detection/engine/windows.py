"""Windows: stretches of 16 consecutive sampled frames of one person, what the temporal branches look at."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from detection.engine.types import Face, Track, Window

WINDOW_FRAMES = 16
MAX_STEP_S = 0.5  # a longer pause between two faces starts a new run: motion across it means nothing


def make_windows(tracks: Sequence[Track], size: int = WINDOW_FRAMES) -> tuple[Window, ...]:
    """Return the windows of every track, in track and time order.

    A run of n >= size faces gives ceil(n / size) windows that cover it (the last one reaches back to be full);
    a shorter run gives one window of n faces.
    """
    return tuple(
        Window(track.number, run[start : start + size])
        for track in tracks
        for run in _runs(track.faces)
        for start in _starts(len(run), size)
    )


def _runs(faces: tuple[Face, ...]) -> list[tuple[Face, ...]]:
    """Split where time makes a leap."""
    cuts = [i for i in range(1, len(faces)) if faces[i].time_s - faces[i - 1].time_s > MAX_STEP_S]
    edges = [0, *cuts, len(faces)]
    return [faces[a:b] for a, b in itertools.pairwise(edges) if b > a]


def _starts(count: int, size: int) -> list[int]:
    if count <= size:
        return [0]
    starts = list(range(0, count - size + 1, size))
    if starts[-1] + size < count:
        starts.append(count - size)
    return starts
