"""Windows hold 16 consecutive faces of one person and never span a leap in time."""

from __future__ import annotations

from detection.engine.sampling import how_many_runs, plan_windows
from detection.engine.types import Face, Track
from detection.engine.windows import make_windows


def track(number: int, times_s: list[float]) -> Track:
    box = (0.0, 0.0, 10.0, 10.0)
    return Track(number, tuple(Face(i, time_s, box, 1.0, track=number) for i, time_s in enumerate(times_s)))


def starts(windows):
    return [(window.track, window.faces[0].frame_index, len(window.faces)) for window in windows]


def test_a_long_run_is_covered_by_full_windows():
    assert starts(make_windows([track(0, [i / 10 for i in range(40)])])) == [(0, 0, 16), (0, 16, 16), (0, 24, 16)]


def test_a_leap_in_time_starts_a_new_window():
    times_s = [i / 10 for i in range(16)] + [30 + i / 10 for i in range(16)]
    assert starts(make_windows([track(0, times_s)])) == [(0, 0, 16), (0, 16, 16)]


def test_short_runs_and_stills_give_short_windows():
    assert starts(make_windows([track(0, [0.0]), track(1, [0.0, 0.1, 0.2])])) == [(0, 0, 1), (1, 0, 3)]
    assert make_windows([]) == ()


def test_span_is_that_of_its_faces():
    (window,) = make_windows([track(0, [2.0, 2.1, 2.2])])
    assert (window.span.start_s, window.span.end_s) == (2.0, 2.2)


def plan(count, fps=25.0, keys=(0,), can_seek=True, **wish):
    return plan_windows(count=count, fps=fps, keys=list(keys), can_seek=can_seek, wish=wish)


def test_a_short_clip_is_sampled_throughout():
    assert plan(50).indices == list(range(0, 50, 2))
    assert plan(1).indices == [0]


def test_a_ten_second_clip_has_six_runs_over_all_of_it():
    planned = plan(250)
    assert [len(run) for run in planned.runs] == [16] * 6
    assert planned.indices[0] == 0
    assert planned.indices[-1] >= 246
    assert not planned.seeks


def test_a_long_clip_is_entered_at_keyframes():
    keys = list(range(0, 15_000, 125))
    planned = plan(15_000, keys=keys)
    assert planned.seeks
    assert len(planned.runs) == how_many_runs(600) == 20
    assert all(run[0] in keys for run in planned.runs[:-1])
    assert planned.indices == sorted(set(planned.indices))
    assert planned.runs[-1][0] > 14_500


def test_named_moments_win():
    planned = plan(1000, keys=range(0, 1000, 50), starts_s=[4.0, 39.9])
    assert planned.runs[0][0] == 100
    assert planned.runs[1][-1] < 1000


def test_the_rate_follows_the_clip():
    assert plan(600, fps=60.0).runs[0][:3] == [0, 5, 10]
    assert plan(100, fps=10.0).runs[0][:3] == [0, 1, 2]
