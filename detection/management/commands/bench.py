"""`manage.py bench`: speed and memory on this machine, beside a naive pipeline; writes docs/benchmarks.md."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from bench import engine, server
from detection.engine import pipeline, runtime

ROOT = Path(settings.BASE_DIR)
TARGETS = {
    "image": 0.3,
    "window_16_frames": 0.5,
    "audio_1_s": 0.2,
    "clip_10_s_720p": 5.0,
    "video_10_min_1080p": 90.0,
    "page_while_jobs_run": 0.3,
    "pdf": 2.0,
}
WORDS = {
    "image": "picture 1280×960, file to verdict",
    "window_16_frames": "window of 16 frames, faces and all picture checks",
    "audio_1_s": "1 s of sound, file to verdict",
    "clip_10_s_720p": "10 s clip 720p with sound, file to verdict",
    "video_10_min_1080p": "10 min 1080p with sound, file to verdict",
    "page_while_jobs_run": "page (list of analyses) while four jobs run",
    "pdf": "report as PDF",
}


class Command(BaseCommand):
    help = "Measure speed and memory on this machine; writes docs/benchmarks.md and bench.json in the data folder."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--runs", type=int, default=20)
        parser.add_argument("--long", action="store_true", help="also a 10-minute 1080p video")
        parser.add_argument("--skip-server", action="store_true")
        parser.add_argument("--skip-naive", action="store_true")
        parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks.md")

    def handle(self, *args: Any, **options: Any) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            results: dict[str, Any] = dict(engine.measure(folder, options["runs"], long=options["long"]))
            clip = folder / "clip.mp4"
            if not options["skip_server"]:
                results |= server.measure(folder / "data", clip)
            if not options["skip_naive"]:
                results["naive"] = _naive(clip)
        results["machine"] = machine()
        Path(settings.DATA_DIR).mkdir(parents=True, exist_ok=True)
        (Path(settings.DATA_DIR) / "bench.json").write_text(json.dumps(results, indent=1))
        table = as_markdown(results)
        options["out"].write_text(table + _other_sections(options["out"]))
        self.stdout.write(table)


def _other_sections(path: Path) -> str:
    """What other measurements wrote below ours, as bench_list does."""
    _, mark, rest = (path.read_text() if path.exists() else "").partition("\n## ")
    return mark + rest


def machine() -> dict[str, Any]:
    """Return what the numbers depend on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return {
        "cores": len(os.sched_getaffinity(0)),
        "threads": runtime.threads(),
        "cpu": model,
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "model_version": pipeline.model_version(),
    }


def _naive(clip: Path) -> dict[str, float]:
    """A process of its own: torch must not count as ours."""
    said = subprocess.run(
        [sys.executable, "-m", "bench.naive", str(clip)], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return dict(json.loads(said.stdout.splitlines()[-1]))


def as_markdown(results: dict[str, Any]) -> str:
    """Return the table for docs/benchmarks.md."""
    about = results["machine"]
    lines = [
        "# Benchmarks",
        "",
        "Made by `make bench`. Models loaded, the stability check included; writing the evidence comes on top.",
        "",
        f"{about['cores']} cores ({about['cpu']}), {about['threads']} threads, Python {about['python']}, "
        f"{about['model_version']}. Load of the machine before: {about['load_before']:.1f}.",
        "",
        "| what | median | p95 | target (p95) | met | evidence on top |",
        "|---|---|---|---|---|---|",
    ]
    for name, target in TARGETS.items():
        if name in results:
            r = results[name]
            extra = f"{r['explain_s'] * 1000:.0f} ms" if "explain_s" in r else ""
            met = "yes" if r["p95_s"] <= target else "no"
            times = f"{_seconds(r['median_s'])} | {_seconds(r['p95_s'])} | {_seconds(target)}"
            lines.append(f"| {WORDS[name]} | {times} | {met} | {extra} |")
    if "resident_mb" in results:
        met = "yes" if results["highest_mb"] < 1500 else "no"
        lines.append(f"| memory of the serving process | {results['resident_mb']:.0f} MB | "
                     f"{results['highest_mb']:.0f} MB at most | 1500 MB | {met} | |")  # fmt: skip
    if "naive" in results:
        lines += ["", _comparison(results)]
    return "\n".join(lines) + "\n"


def _comparison(results: dict[str, Any]) -> str:
    naive, ours = results["naive"], results["clip_10_s_720p"]["median_s"]
    return (
        f"The naive pipeline (MTCNN on every 5th frame, Xception in eager PyTorch, batches of 16) takes "
        f"{naive['total']:.1f} s and {naive['rss_mb']:.0f} MB on the same 10 s clip (faces {naive['faces']:.1f} s, net "
        f"{naive['net']:.1f} s, decoding {naive['decode']:.1f} s), and gives one score. "
        f"Ours is {naive['total'] / ours:.1f} times as fast."
    )


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value >= 1 else f"{value * 1000:.0f} ms"
