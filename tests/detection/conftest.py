"""A stub engine with fixed findings, and the ways to send things in."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from detection import jobs, running
from detection.engine.fingerprints import FacePrint, Prints, SoundMark
from detection.engine.types import to_json
from detection.models import Job
from tests import factories
from tests.detection.web import LocalServer

FINDINGS: dict[str, Any] = {
    "label": "fake",
    "score": 0.93,
    "confidence_interval": [0.9, 0.95],
    "abstain_reason": None,
    "rationale": "The face was very likely exchanged.",
    "model_version": "ensemble-test-0001",
    "thresholds": {"fake": 0.7, "real": 0.3},
    "channels": [{"channel": "picture", "score": 0.93, "label": "fake"}],
    "per_branch": [
        {
            "branch": "spatial",
            "channel": "picture",
            "state": "scored",
            "score": 0.96,
            "confidence": 0.9,
            "quality": 0.8,
            "weight": 0.7,
            "contribution": 2.1,
            "sentence": "The jaw shows traces of blending.",
            "reason": None,
            "version": "1",
            "sha256": "aa" * 32,
            "data": {"faces": 1},
        },
        {
            "branch": "audio",
            "channel": "voice",
            "state": "skipped",
            "score": None,
            "confidence": None,
            "quality": None,
            "weight": 0.0,
            "contribution": 0.0,
            "sentence": "There is no sound.",
            "reason": "no_sound",
            "version": "1",
            "sha256": "bb" * 32,
            "data": {},
        },
    ],
    "curve": [],
    "fake_intervals": [],
    "faces": [{"frame_index": 0, "time_s": 0.0, "track": 0, "box": [1, 2, 30, 30], "score": 0.96}],
    "tracks": [],
    "pieces": [{"branch": "synthesis", "frame_index": 0, "time_s": 0.0, "box": [0, 0, 32, 32], "score": 0.4}],
    "speech": [],
    "waveform": None,
    "stability": None,
    "provenance": {"state": "absent", "sentence": "There are no content credentials."},
    "warnings": [],
    "artifacts": [
        {
            "kind": "saliency_map",
            "path": "frame_0_cam.png",
            "caption": "What the face check looked at",
            "frame_index": 0,
            "time_s": 0.0,
            "track": 0,
            "score": 0.96,
            "box": [1, 2, 30, 30],
        }
    ],
    "seconds": {"total": 0.1},
}


class StubAnalysis:
    def __init__(self, info: Any, prints: Prints, **changes: Any) -> None:
        self.info = info
        self.prints = prints
        self._changes = changes

    def to_dict(self) -> dict[str, Any]:
        return {**FINDINGS, "media": to_json(self.info), **self._changes}


class StubEngine:
    """Stands for the pipeline: decodes the file for real, writes one picture, and tells its steps."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.before: Callable[[dict[str, Any]], None] = lambda call: None
        self.changes: dict[str, Any] = {}
        self.prints = Prints((FacePrint(0, 0.0, "5" * 64),), (SoundMark(77, 3), SoundMark(78, 9)))

    def analyze(self, path: Path, **options: Any) -> StubAnalysis:
        call = {"path": path, "content": path.read_bytes(), **options}
        self.calls.append(call)
        options["on_step"]("decoding", 0, 3)
        self.before(call)
        info = running.engine_media.decode(path).info
        options["on_step"]("spatial", 1, 3)
        (options["output_dir"] / "frame_0_cam.png").write_bytes(factories.png_bytes(16, 16))
        options["on_step"]("explaining", 2, 3)
        return StubAnalysis(info, self.prints, **self.changes)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> StubEngine:
    stub = StubEngine()
    monkeypatch.setattr(running.pipeline, "analyze", stub.analyze)
    return stub


@pytest.fixture
def run_next(engine: StubEngine) -> Callable[[], Job | None]:
    """Do what a worker does when the bell rings, and return the newest job as it then stands."""

    def run() -> Job | None:
        jobs.run_detection()
        return Job.objects.order_by("-created_at").first()

    return run


@pytest.fixture
def local_servers(settings: Any) -> Any:
    """Lets fetches and callbacks reach servers of this machine."""
    settings.FETCH_ALLOW_PRIVATE = True
    return settings


@pytest.fixture
def server() -> Iterator[Any]:
    with LocalServer() as running_server:
        yield running_server


def upload(content: bytes | None = None, name: str = "portrait.png") -> io.BytesIO:
    file = io.BytesIO(factories.png_bytes() if content is None else content)
    file.name = name
    return file


def wav_bytes(seconds: float = 0.5, rate_hz: int = 16_000) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate_hz)
        sound.writeframes(b"\x00\x10" * int(seconds * rate_hz))
    return file.getvalue()
