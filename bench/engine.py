"""How long the engine takes, in this process, models loaded."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench import materials
from detection.engine import faces, fusion, media, pipeline, windows
from detection.engine.media import DecodePlan
from detection.engine.types import Scene

Times = dict[str, float]


def summary(seconds: list[float]) -> Times:
    """Return median and 95th percentile in seconds."""
    return {"median_s": statistics.median(seconds), "p95_s": float(np.quantile(seconds, 0.95)), "runs": len(seconds)}


def file_to_verdict(path: Path, runs: int) -> Times:
    """Return the time from file to fused verdict, the stability check included; `explain_s` comes on top."""
    verdicts, explained, steps = [], [], {}
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as folder:
            seconds = pipeline.analyze(path, output_dir=Path(folder)).verdict.seconds
        verdicts.append(seconds["verdict"])
        explained.append(seconds["explaining"])
        steps = dict(seconds)
    return summary(verdicts) | {"explain_s": statistics.median(explained)} | {f"step_{n}": s for n, s in steps.items()}


def window(clip: Path, runs: int) -> Times:
    """Return the time for 16 decoded frames of one person: faces, every picture branch, fusion."""
    decoded = media.decode(clip, plan=DecodePlan(audio=False, max_windows=1))
    names = [n for n in pipeline.branch_names("image") if n != "provenance"]

    def once() -> None:
        tracks = faces.find_tracks(decoded.frames)
        scene = Scene(decoded, None, tracks, windows.make_windows(tracks))
        evidence = [pipeline.examine(name, scene) for name in names]
        fusion.fuse("video", evidence, stack=fusion.load())

    return summary(timed(once, runs))


def timed(action: Callable[[], None], runs: int) -> list[float]:
    action()
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - started)
    return seconds


def measure(folder: Path, runs: int, *, long: bool) -> dict[str, Times]:
    """Return the times of every case; media are made in `folder`."""
    picture = materials.picture(folder / "picture.jpg")
    second = materials.sound(folder / "second.wav", 1.0)
    clip = materials.clip(folder / "clip.mp4")
    pipeline.warm_up()
    for path in (picture, second, clip):
        pipeline.analyze(path)
    results = {
        "image": file_to_verdict(picture, max(runs, 20)),
        "window_16_frames": window(clip, max(runs, 20)),
        "audio_1_s": file_to_verdict(second, max(runs, 20)),
        "clip_10_s_720p": file_to_verdict(clip, max(runs // 4, 5)),
    }
    if long:
        ten = materials.clip(folder / "ten.mp4", (1920, 1080), 10.0)
        results["video_10_min_1080p"] = file_to_verdict(materials.repeated(folder / "long.mp4", ten, 60), 1)
    return results
