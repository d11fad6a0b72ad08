"""Geometry of the score scale, the timeline and the waveform: numbers in, SVG coordinates out."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

CHART_WIDTH = 1000  # user units; charts stretch to the page, time runs over 0..1000
LANE_HEIGHT = 100  # user units; score 1 is at the top
_TICK_STEPS_S = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600)


@dataclass(frozen=True)
class Tick:
    x: str  # "12.5%"
    label: str

    @property
    def x_units(self) -> float:
        return units(self.x)


@dataclass(frozen=True)
class Curve:
    """One person's (or the sound's) score over time."""

    track: int | None
    line: str  # path data
    area: str  # the same, closed along the bottom


@dataclass(frozen=True)
class Band:
    """A stretch of time, in percent of the whole."""

    x: str
    width: str
    start_s: float
    end_s: float
    score: float | None = None
    level: str = ""  # "low" | "middle" | "high"

    @property
    def height(self) -> str:
        return percent(max(self.score or 0.0, 0.04))  # even a score of nothing leaves a line to see

    @property
    def top(self) -> str:
        return percent(1 - max(self.score or 0.0, 0.04))

    # On paper, plots are not stretched and lengths are plain user units.

    @property
    def x_units(self) -> float:
        return units(self.x)

    @property
    def width_units(self) -> float:
        return units(self.width)

    @property
    def height_units(self) -> float:
        return units(self.height, LANE_HEIGHT)

    @property
    def top_units(self) -> float:
        return units(self.top, LANE_HEIGHT)


@dataclass(frozen=True)
class Peak:
    """A moment at which a curve is highest among its neighbours."""

    x: str
    y: str
    time_s: float
    score: float
    track: int | None


@dataclass(frozen=True)
class Lane:
    branch: str
    channel: str
    curves: tuple[Curve, ...]
    bands: tuple[Band, ...]  # fake intervals of this lane's channel
    peak: float
    peak_s: float
    peaks: tuple[Peak, ...] = ()


@dataclass(frozen=True)
class Timeline:
    duration_s: float
    lanes: tuple[Lane, ...]
    ticks: tuple[Tick, ...]
    threshold_y: float  # user units
    threshold_line: str  # the same in percent of the lane
    windows: tuple[float, ...] = ()  # where the stretches that were judged begin
    spans: tuple[Band, ...] = ()  # all fake intervals, of whatever channel
    rows: tuple[dict[str, Any], ...] = ()  # the curves as a table: start_s, end_s, scores by lane, highest of people

    @property
    def moments(self) -> tuple[tuple[str, Peak], ...]:
        """The peaks of all lanes with the branch that each belongs to, in time."""
        found = [(lane.branch, peak) for lane in self.lanes for peak in lane.peaks]
        return tuple(sorted(found, key=lambda pair: pair[1].time_s))


@dataclass(frozen=True)
class Waveform:
    duration_s: float
    shape: str  # closed path around the middle line
    seconds: tuple[Band, ...]  # stretches with a score
    speech: tuple[Band, ...]
    desync: tuple[Band, ...] = ()  # where lips and sound part


def percent(value: float) -> str:
    """A share as an SVG length."""
    return f"{100 * min(max(value, 0.0), 1.0):.3f}".rstrip("0").rstrip(".") + "%"


def units(share: str, whole: float = CHART_WIDTH) -> float:
    """An SVG percentage as user units."""
    return round(float(share.rstrip("%")) * whole / 100, 2)


def clock(seconds: float | None) -> str:
    """`83.4` → `1:23.4`; whole hours are kept apart."""
    if seconds is None:
        return ""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    tail = f"{rest // 10:02d}.{rest % 10}"
    return f"{hours}:{minutes:02d}:{tail}" if hours else f"{minutes}:{tail}"


def level_of(score: float | None, fake_at: float, real_below: float) -> str:
    if score is None:
        return ""
    if score >= fake_at:
        return "high"
    return "low" if score < real_below else "middle"


def ticks(duration_s: float, wanted: int = 8) -> tuple[Tick, ...]:
    """Round moments for the time axis, about `wanted` of them; the last one never touches the right edge."""
    if duration_s <= 0:
        return ()
    step = next((step for step in _TICK_STEPS_S if duration_s / step <= wanted), _TICK_STEPS_S[-1])
    count = int(duration_s / step) + 1
    moments = [index * step for index in range(count) if index * step <= duration_s * 0.96]
    return tuple(Tick(percent(moment / duration_s), _tick_label(moment, step)) for moment in moments)


def _tick_label(moment: float, step: float) -> str:
    if step < 1:
        return clock(moment)
    return clock(moment).split(".")[0]


def timeline(
    details: dict[str, Any], duration_s: float, fake_at: float, *, silent: Container[str] = ()
) -> Timeline | None:
    """Lanes of the score curves, one per branch in the order they first appear; None for a still.

    silent: branches without weight; the windows that keys go through are those of the others, where there are any.
    """
    points = [point for point in details.get("curve") or [] if point.get("score") is not None]
    if duration_s <= 0 or not points:
        return None
    by_branch: dict[str, list[dict[str, Any]]] = {}
    for point in points:
        by_branch.setdefault(point["branch"], []).append(point)
    intervals = details.get("fake_intervals") or []
    lanes = tuple(_lane(branch, found, intervals, duration_s) for branch, found in by_branch.items())
    height, line = LANE_HEIGHT * (1 - fake_at), percent(1 - fake_at)
    judged = [point for point in points if point["branch"] not in silent] or points
    windows = tuple(sorted({round(point["start_s"], 3) for point in judged}))
    spans, rows = bands(intervals, duration_s), _rows(by_branch, duration_s)
    return Timeline(duration_s, lanes, ticks(duration_s), height, line, windows, spans, rows)


def _rows(by_branch: dict[str, list[dict[str, Any]]], duration_s: float, most: int = 60) -> tuple[dict[str, Any], ...]:
    """The curves in equal steps of at least half a second: the highest score that each lane gave within each."""
    count = max(1, min(most, round(duration_s / 0.5)))
    step = duration_s / count
    rows = []
    for start in (index * step for index in range(count)):
        scores = [
            max((p["score"] for p in found if p["start_s"] < start + step and p["end_s"] > start), default=None)
            for found in by_branch.values()
        ]
        rows.append({"start_s": start, "end_s": start + step, "scores": scores})
    return tuple(rows)


def peaks(
    points: Sequence[dict[str, Any]], duration_s: float, *, most: int = 3, at_least: float = 0.5
) -> tuple[Peak, ...]:
    """The highest moments of a lane, apart from one another by a twentieth of the whole at least; none below
    `at_least`, where nothing speaks for a fake."""
    found: list[Peak] = []
    for point in sorted(points, key=lambda point: -point["score"]):
        moment = (point["start_s"] + point["end_s"]) / 2
        near = any(abs(moment - other.time_s) < duration_s / 20 for other in found)
        if point["score"] < at_least or len(found) == most:
            break
        if not near:
            place = percent(moment / duration_s), percent(1 - point["score"])
            found.append(Peak(*place, moment, point["score"], point.get("track")))
    return tuple(sorted(found, key=lambda peak: peak.time_s))


def _lane(branch: str, points: list[dict[str, Any]], intervals: list[dict[str, Any]], duration_s: float) -> Lane:
    channel = points[0].get("channel") or ""
    by_track: dict[int | None, list[dict[str, Any]]] = {}
    for point in sorted(points, key=lambda point: point["start_s"]):
        by_track.setdefault(point.get("track"), []).append(point)
    curves = tuple(_curve(track, found, duration_s) for track, found in by_track.items())
    peak = max(points, key=lambda point: point["score"])
    mine = [interval for interval in intervals if interval.get("channel") == channel]
    found = bands(mine, duration_s)
    return Lane(branch, channel, curves, found, peak["score"], peak["start_s"], peaks(points, duration_s))


def attention(
    windows: Iterable[dict[str, Any]], times: dict[int, float], duration_s: float, *, most: int = 12
) -> tuple[Peak, ...]:
    """The frame of each window that the check over time weighed most, where it weighed it clearly more than the rest.

    times: frame number -> seconds. A window of n frames gives each 1 / n when nothing stands out.
    """
    found = []
    for window in windows:
        weights = window.get("weights") or [0.0]
        top = max(range(len(weights)), key=weights.__getitem__)
        moment = times.get(window["frames"][top]) if window.get("frames") else None
        if moment is None or duration_s <= 0 or weights[top] < 1.5 / len(weights):
            continue
        found.append(Peak(percent(moment / duration_s), "100%", moment, weights[top], window.get("track")))
    strongest = sorted(found, key=lambda peak: -peak.score)[:most]
    return tuple(sorted(strongest, key=lambda peak: peak.time_s))


def _curve(track: int | None, points: list[dict[str, Any]], duration_s: float) -> Curve:
    stretches = [_stretch(stretch, duration_s) for stretch in _without_gaps(points)]
    line = " ".join(_path(stretch) for stretch in stretches)
    area = " ".join(
        f"{_path(stretch)} L{stretch[-1][0]} {LANE_HEIGHT} L{stretch[0][0]} {LANE_HEIGHT} Z" for stretch in stretches
    )
    return Curve(track, line, area)


def _without_gaps(points: list[dict[str, Any]]) -> Iterable[list[dict[str, Any]]]:
    """Split where the person left the picture: a line drawn across a gap would claim a score that nobody measured."""
    steps = sorted(b["start_s"] - a["start_s"] for a, b in pairwise(points))
    usual = steps[len(steps) // 2] if steps else 0.0
    stretch = [points[0]]
    for before, point in pairwise(points):
        if point["start_s"] - before["end_s"] > max(1.0, 2.5 * usual):
            yield stretch
            stretch = []
        stretch.append(point)
    yield stretch


def _stretch(points: list[dict[str, Any]], duration_s: float) -> list[tuple[float, float]]:
    """Points in user units: through the middle of each window, held level to the ends of the first and last."""
    height = [round(LANE_HEIGHT * (1 - min(max(point["score"], 0.0), 1.0)), 2) for point in points]
    middle = [(point["start_s"] + point["end_s"]) / 2 for point in points]
    moments = [points[0]["start_s"], *middle, points[-1]["end_s"]]
    heights = [height[0], *height, height[-1]]
    return [(round(CHART_WIDTH * t / duration_s, 2), y) for t, y in zip(moments, heights, strict=True)]


def _path(corners: Sequence[tuple[float, float]]) -> str:
    return "M" + " L".join(f"{x} {y}" for x, y in corners)


def bands(
    spans: Iterable[dict[str, Any]], duration_s: float, *, fake_at: float = 1.0, real_below: float = 0.0
) -> tuple[Band, ...]:
    """Stretches of time as shares of the whole, each with the level of its score."""
    if duration_s <= 0:
        return ()
    found = []
    for span in spans:
        start, end, score = span["start_s"], min(span["end_s"], duration_s), span.get("score")
        share = max(end - start, duration_s / 400)  # a moment still gets a visible width
        level = level_of(score, fake_at, real_below)
        found.append(Band(percent(start / duration_s), percent(share / duration_s), start, end, score, level))
    return tuple(found)


def waveform(details: dict[str, Any], duration_s: float, *, fake_at: float, real_below: float) -> Waveform | None:
    """The sound's outline with its scored seconds and its speech; None for a silent item."""
    wave = details.get("waveform") or {}
    peaks = wave.get("peaks") or []
    if not peaks:
        return None
    length_s = duration_s or len(peaks) * wave["bin_s"]
    shape = _outline(_thinned(peaks), len(peaks) * wave["bin_s"] / length_s)
    seconds = bands(wave.get("scores") or [], length_s, fake_at=fake_at, real_below=real_below)
    speech, desync = (bands(spans or [], length_s) for spans in (details.get("speech"), wave.get("desync")))
    return Waveform(length_s, shape, seconds, speech, desync)


def _thinned(peaks: Sequence[float], limit: int = 700) -> list[float]:
    """At most `limit` bins, each the loudest of those it stands for, scaled so that the loudest reaches the edge."""
    size = -(-len(peaks) // limit)
    loudest = [max(peaks[start : start + size]) for start in range(0, len(peaks), size)]
    top = max(loudest) or 1.0
    return [peak / top for peak in loudest]


def _outline(peaks: Sequence[float], share: float) -> str:
    width = CHART_WIDTH * share / len(peaks)
    half = LANE_HEIGHT / 2
    bars = []
    for index, peak in enumerate(peaks):
        height = round(max(peak * (half - 2), 0.6), 1)
        x = round(index * width, 1)
        bars.append(f"M{x} {round(half - height, 1)}h{round(width * 0.7, 2)}v{2 * height}h-{round(width * 0.7, 2)}z")
    return "".join(bars)
