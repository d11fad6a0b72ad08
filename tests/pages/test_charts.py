"""Geometry of the charts: literal numbers in, literal coordinates out."""

from __future__ import annotations

import pytest

from detection import charts


def point(start: float, end: float, score: float, track: int | None = 0) -> dict:
    return {"branch": "spatial", "channel": "picture", "start_s": start, "end_s": end, "score": score, "track": track}


def test_a_curve_runs_through_the_middle_of_its_windows():
    line = charts.timeline({"curve": [point(0, 1, 0.25), point(1, 2, 1.0)]}, 2.0, 0.7).lanes[0].curves[0].line
    assert line == "M0.0 75.0 L250.0 75.0 L750.0 0.0 L1000.0 0.0"


def test_no_line_is_drawn_where_nobody_measured():
    details = {"curve": [point(0, 1, 0.5), point(1, 2, 0.5), point(8, 9, 0.5), point(9, 10, 0.5)]}
    line = charts.timeline(details, 10.0, 0.7).lanes[0].curves[0].line
    assert line.count("M") == 2


def test_people_have_their_own_curves_and_branches_their_own_lanes():
    details = {"curve": [point(0, 1, 0.5, 0), point(0, 1, 0.9, 1), point(0, 1, 0.1) | {"branch": "temporal"}]}
    found = charts.timeline(details, 1.0, 0.7)
    assert [lane.branch for lane in found.lanes] == ["spatial", "temporal"]
    assert [curve.track for curve in found.lanes[0].curves] == [0, 1]
    assert found.lanes[0].peak == 0.9


def test_fake_intervals_shade_only_their_channel():
    details = {
        "curve": [point(0, 4, 0.9), point(0, 4, 0.1, None) | {"branch": "audio", "channel": "voice"}],
        "fake_intervals": [{"start_s": 1, "end_s": 2, "channel": "picture", "score": 0.9}],
    }
    picture, voice = charts.timeline(details, 4.0, 0.7).lanes
    assert [(band.x, band.width) for band in picture.bands] == [("25%", "25%")]
    assert voice.bands == ()


def test_a_still_has_no_timeline():
    assert charts.timeline({"curve": [point(0, 0, 0.5)]}, 0.0, 0.7) is None
    assert charts.timeline({}, 4.0, 0.7) is None


def test_a_long_recording_keeps_its_peaks():
    peaks = [0.1] * 20_000
    peaks[12_345] = 0.8
    found = charts.waveform({"waveform": {"bin_s": 0.01, "peaks": peaks}}, 200.0, fake_at=0.7, real_below=0.3)
    assert found.shape.count("M") <= 700
    assert "M" in found.shape
    assert "v96.0" in found.shape  # the loudest bin reaches the edge


def test_seconds_have_levels():
    scores = [{"start_s": s, "end_s": s + 1, "score": score} for s, score in enumerate((0.1, 0.5, 0.9))]
    found = charts.waveform(
        {"waveform": {"bin_s": 1, "peaks": [1, 1, 1], "scores": scores}}, 3.0, fake_at=0.7, real_below=0.3
    )
    assert [band.level for band in found.seconds] == ["low", "middle", "high"]


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0:00.0"), (59.96, "1:00.0"), (83.44, "1:23.4"), (3600, "1:00:00.0"), (None, "")]
)
def test_clock(seconds, words):
    assert charts.clock(seconds) == words


@pytest.mark.parametrize("duration_s", [0.3, 4, 61, 599, 3600])
def test_ticks_are_few_and_inside(duration_s):
    found = charts.ticks(duration_s)
    assert 2 <= len(found) <= 9
    assert all(float(tick.x.rstrip("%")) <= 96 for tick in found)


def test_moments_at_which_lips_and_sound_part_are_marked():
    wave = {"bin_s": 1, "peaks": [1, 1, 1, 1], "desync": [{"start_s": 1.0, "end_s": 3.0}]}
    found = charts.waveform({"waveform": wave}, 4.0, fake_at=0.7, real_below=0.3)
    assert [(band.x, band.width) for band in found.desync] == [("25%", "50%")]


def test_windows_are_those_of_the_checks_that_count_where_there_are_any():
    curve = [
        {"branch": branch, "channel": "picture", "start_s": start, "end_s": start + 0.5, "score": 0.5}
        for branch, starts in (("audio", (0.0, 1.0)), ("spatial", (0.2, 0.4)))
        for start in starts
    ]
    assert charts.timeline({"curve": curve}, 4.0, 0.7, silent={"spatial"}).windows == (0.0, 1.0)
    assert charts.timeline({"curve": curve}, 4.0, 0.7, silent={"spatial", "audio"}).windows == (0.0, 0.2, 0.4, 1.0)


def test_attention_marks_the_frame_that_stands_out_in_its_window():
    windows = [
        {"track": 0, "frames": [0, 2, 4, 6], "weights": [0.1, 0.7, 0.1, 0.1]},
        {"track": 0, "frames": [8, 10, 12, 14], "weights": [0.25, 0.25, 0.25, 0.25]},  # nothing stands out
        {"track": 1, "frames": [99], "weights": [1.0]},  # a frame that is not among the faces
    ]
    found = charts.attention(windows, {number: number / 10 for number in range(16)}, 2.0)
    assert [(mark.x, mark.time_s, mark.track) for mark in found] == [("10%", 0.2, 0)]
