"""Curves as small SVG files: ROC, DET, reliability, coverage. Numbers in, markup out; no plotting package."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from detection.training import metrics

Points = Sequence[tuple[float, float]]
Curve = tuple[ArrayLike, ArrayLike]  # labels, scores
WIDTH, HEIGHT = 360, 320
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 30, 44
COLOURS = ("#1f5fa8", "#b4472e", "#3c7d3c", "#7a4fa0", "#8a6d1f", "#4a4a4a")
DET_RATES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6)
MAX_POINTS = 200


@dataclass(frozen=True)
class Axis:
    """One axis: its words, its range, and the places that get a number."""

    title: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]

    def share(self, value: float) -> float:
        return (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)


UNIT_TICKS = tuple((v / 5, f"{v / 5:.1f}") for v in range(6))


def roc(curves: Mapping[str, Curve], title: str) -> str:
    """Return the ROC of name -> (labels, scores)."""
    lines = {}
    for name, (y, s) in curves.items():
        _, fpr, fnr = metrics.det_curve(y, s)
        lines[name] = thin(list(zip(fpr[::-1].tolist(), (1 - fnr[::-1]).tolist(), strict=True)))
    x, up = Axis("false positive rate", 0, 1, UNIT_TICKS), Axis("true positive rate", 0, 1, UNIT_TICKS)
    return chart(title, x, up, lines, diagonal=True)


def det(curves: Mapping[str, Curve], title: str) -> str:
    """Return the DET curves, both error rates on a normal-deviate scale."""
    lines = {}
    for name, (y, s) in curves.items():
        _, fpr, fnr = metrics.det_curve(y, s)
        lines[name] = thin(list(zip(probit(fpr[::-1]).tolist(), probit(fnr[::-1]).tolist(), strict=True)))
    low, high = float(norm.ppf(0.005)), float(norm.ppf(0.7))
    ticks = [(float(norm.ppf(rate)), f"{100 * rate:.0f} %") for rate in DET_RATES]
    return chart(
        title, Axis("false positives", low, high, ticks), Axis("misses", low, high, ticks), lines, diagonal=True
    )


def probit(rates: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(norm.ppf(np.clip(rates, 1e-4, 1 - 1e-4)), float)


def reliability(curves: Mapping[str, Sequence[Mapping[str, float]]], title: str) -> str:
    """Return the share of fakes found against the score said, for name -> bins of metrics.reliability."""
    lines = {name: [(b["said"], b["found"]) for b in bins] for name, bins in curves.items()}
    x, up = Axis("score said", 0, 1, UNIT_TICKS), Axis("share of fakes found", 0, 1, UNIT_TICKS)
    return chart(title, x, up, lines, diagonal=True, dots=True)


def coverage(curves: Mapping[str, Sequence[Mapping[str, float]]], title: str) -> str:
    """Return the accuracy on the surest share of the items, for name -> points of coverage and accuracy."""
    lines = {name: [(p["coverage"], p["accuracy"]) for p in points] for name, points in curves.items()}
    ticks = [(v / 10, f"{v / 10:.1f}") for v in range(5, 11)]
    x, up = Axis("share of items decided", 0, 1, UNIT_TICKS), Axis("share of these right", 0.5, 1, ticks)
    return chart(title, x, up, lines)


def thin(points: Points) -> Points:
    """Return at most MAX_POINTS points, the ends among them."""
    if len(points) <= MAX_POINTS:
        return points
    chosen = np.unique(np.linspace(0, len(points) - 1, MAX_POINTS).round().astype(int))
    return [points[i] for i in chosen]


def chart(
    title: str, x: Axis, y: Axis, lines: Mapping[str, Points], *, diagonal: bool = False, dots: bool = False
) -> str:
    """Return one SVG with axes, grid, lines and a legend."""

    def place(px: float, py: float) -> tuple[float, float]:
        across = LEFT + x.share(px) * (WIDTH - LEFT - RIGHT)
        return round(across, 1), round(HEIGHT - BOTTOM - y.share(py) * (HEIGHT - TOP - BOTTOM), 1)

    parts = [_frame(title, x, y), *_grid(x, y, place)]
    if diagonal:
        (x0, y0), (x1, y1) = place(x.low, y.low), place(x.high, y.high)
        parts.append(f'<path d="M{x0} {y0} L{x1} {y1}" stroke="#bbb" stroke-dasharray="4 4"/>')
    for i, (name, points) in enumerate(lines.items()):
        colour = COLOURS[i % len(COLOURS)]
        placed = [place(*p) for p in points]
        path = " L".join(f"{a} {b}" for a, b in placed)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>' if placed else "")
        parts += [f'<circle cx="{a}" cy="{b}" r="3" fill="{colour}"/>' for a, b in placed if dots]
        row = TOP + 14 + 15 * i if title.startswith("DET") else HEIGHT - BOTTOM - 8 - 15 * (len(lines) - 1 - i)
        parts.append(f'<text x="{WIDTH - RIGHT - 6}" y="{row}" text-anchor="end" fill="{colour}">{escape(name)}</text>')
    return "\n".join([*[p for p in parts if p], "</svg>", ""])


def _frame(title: str, x: Axis, y: Axis) -> str:
    middle, side = LEFT + (WIDTH - LEFT - RIGHT) / 2, TOP + (HEIGHT - TOP - BOTTOM) / 2
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="sans-serif" font-size="11" role="img" aria-label="{escape(title)}">\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>\n'
        f'<text x="{middle}" y="18" text-anchor="middle" font-size="13" fill="#222">{escape(title)}</text>\n'
        f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle" fill="#444">{escape(x.title)}</text>\n'
        f'<text transform="translate(13 {side}) rotate(-90)" text-anchor="middle" fill="#444">{escape(y.title)}</text>'
    )


def _grid(x: Axis, y: Axis, place: Callable[[float, float], tuple[float, float]]) -> list[str]:
    parts = []
    for value, words in x.ticks:
        (across, low), (_, high) = place(value, y.low), place(value, y.high)
        parts.append(f'<path d="M{across} {low} V{high}" stroke="#e6e6e6"/>')
        parts.append(f'<text x="{across}" y="{low + 15}" text-anchor="middle" fill="#444">{words}</text>')
    for value, words in y.ticks:
        (left, up), (right, _) = place(x.low, value), place(x.high, value)
        parts.append(f'<path d="M{left} {up} H{right}" stroke="#e6e6e6"/>')
        parts.append(f'<text x="{left - 5}" y="{up + 4}" text-anchor="end" fill="#444">{words}</text>')
    return parts
