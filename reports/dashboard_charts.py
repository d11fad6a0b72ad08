"""Bars of the dashboard: counts in, SVG lengths out. Charts stretch to the page, so lengths are shares of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Segment:
    """One piece of a bar."""

    name: str
    count: int
    x: str
    y: str
    width: str
    height: str


@dataclass(frozen=True)
class Column:
    label: str
    segments: tuple[Segment, ...]
    total: int


def share(value: float) -> str:
    """A share of the drawing as an SVG length."""
    return f"{100 * min(max(value, 0.0), 1.0):.2f}".rstrip("0").rstrip(".") + "%"


def columns(parts: Sequence[tuple[str, Mapping[str, int]]], names: Sequence[str]) -> tuple[tuple[Column, ...], int]:
    """Stacked columns, `names` from the bottom up, and the height that the highest one stands for (a round number)."""
    top = round_up(max((sum(counts.values()) for _, counts in parts), default=0))
    step = 1 / max(len(parts), 1)
    made = []
    for number, (label, counts) in enumerate(parts):
        base = 0
        segments = []
        for name in names:
            count = counts.get(name, 0)
            if count:
                y, height = 1 - (base + count) / top, count / top
                x = number * step + step * 0.14
                segments.append(Segment(name, count, share(x), share(y), share(step * 0.72), share(height)))
            base += count
        made.append(Column(label, tuple(segments), base))
    return tuple(made), top


def line(counts: Mapping[str, int], names: Sequence[str]) -> tuple[Segment, ...]:
    """One bar cut into shares, left to right."""
    whole = sum(counts.get(name, 0) for name in names)
    at = 0
    pieces = []
    for name in names:
        count = counts.get(name, 0)
        if count:
            pieces.append(Segment(name, count, share(at / whole), "0", share(count / whole), "100%"))
        at += count
    return tuple(pieces)


def round_up(value: int) -> int:
    """The next round number that is not below `value`; at least 4, so that one item is no full column."""
    size = 1
    while True:
        for factor in (1, 2, 3, 4, 5, 6, 8):
            if factor * size >= max(value, 4):
                return factor * size
        size *= 10
