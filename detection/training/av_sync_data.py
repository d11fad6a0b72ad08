"""Talking clips for lips and sound: one cached table per clip of what the lips do, with the sound beside it."""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from detection.engine import faces, media, voice
from detection.engine.branches import av_sync
from detection.engine.branches.av_sync_net import Hearing
from detection.engine.errors import EngineError
from detection.engine.types import Span

log = logging.getLogger(__name__)

Floats = NDArray[np.float32]

SOUND_HOP_S = 0.25
MIN_SPEECH_S = 0.8
NOT_A_TALKER = ("NOT for one-speaker sync", "weak for sync", "silent input")  # remarks in the manifest's note


@dataclass(eq=False)
class Talk:
    """One talking clip. Lips run at 25 steps a second from lips_from_s on."""

    path: str
    is_fake: bool
    kind: str  # how a fake was made: lipsync, reenactment, ...
    method: str
    source: str
    person: str
    lips_from_s: float
    lips: Floats  # (steps, FEATURES)
    audio: Floats  # (samples,) at 16 kHz
    speech: tuple[Span, ...]
    sound: torch.Tensor = field(default_factory=lambda: torch.zeros(0))  # (windows, 50, 384), see `hear`

    @property
    def ends_s(self) -> float:
        return min(self.lips_from_s + len(self.lips) * av_sync.STEP_S, len(self.audio) / av_sync.RATE_HZ)

    def sound_at(self, start_s: float) -> tuple[torch.Tensor, float]:
        """Return the (50, 384) tokens of the prepared two seconds nearest to start_s, and their true start."""
        n = int(np.clip(round((start_s - self.first_sound_s) / SOUND_HOP_S), 0, len(self.sound) - 1))
        return self.sound[n], self.first_sound_s + n * SOUND_HOP_S

    @property
    def first_sound_s(self) -> float:
        return -av_sync.IN_STEP * av_sync.STEP_S


def read(manifest: Path, cache: Path) -> list[Talk]:
    """Return the clips of a manifest in which one visible person talks."""
    cache.mkdir(parents=True, exist_ok=True)
    with manifest.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["label"] in ("real", "fake") and _may_talk(row)]
    talks = []
    for number, row in enumerate(rows):
        kept = cache / f"{Path(row['path']).stem}.npz"
        if not kept.is_file():
            np.savez_compressed(kept, **_measured(manifest.parent / row["path"]))
        talk = _talk(row, dict(np.load(kept)))
        if talk is not None:
            talks.append(talk)
        if number % 50 == 0:
            log.info("read %d of %d clips", number, len(rows))
    return talks


def _may_talk(row: dict[str, str]) -> bool:
    note = row.get("note", "")
    return row.get("has_audio", "yes") == "yes" and not any(remark in note for remark in NOT_A_TALKER)


def _measured(path: Path) -> dict[str, Any]:
    """Return lips, sound and speech of a clip at 25 frames a second; empty lips where no face is followed."""
    nothing = {"lips": np.zeros((0, av_sync.FEATURES), np.float32), "from_s": 0.0, "audio": np.zeros(0, np.float32)}
    try:
        decoded = media.decode(path, plan=media.DecodePlan(rate_hz=25, max_windows=50))
    except EngineError as error:
        log.warning("%s: %s", path, error.message)
        return nothing | {"speech": np.zeros((0, 2))}
    speech = np.array([(s.start_s, s.end_s) for s in voice.speech_spans(decoded.audio)]).reshape(-1, 2)
    tracks = faces.find_tracks(decoded.frames)
    seen = max(([f for f in t.faces if f.landmarks is not None] for t in tracks), key=len, default=[])
    if decoded.audio is None or len(seen) < 2 * av_sync.LIP_STEPS // 2:
        return nothing | {"speech": speech}
    images = {frame.index: frame.image for frame in decoded.frames}
    # Every second frame: served clips are sampled at 11 to 13 frames a second.
    seen = seen[::2]
    meshes = [np.asarray(f.landmarks) for f in seen]
    looks = np.stack([av_sync.look(images[f.frame_index], mesh) for f, mesh in zip(seen, meshes, strict=True)])
    from_s, lips = av_sync.lip_features(np.array([f.time_s for f in seen]), np.stack(meshes), looks)
    return {"lips": lips, "from_s": from_s, "audio": decoded.audio, "speech": speech}


def _talk(row: dict[str, str], found: dict[str, Any]) -> Talk | None:
    speech = tuple(Span(float(a), float(b)) for a, b in found["speech"])
    if len(found["lips"]) < av_sync.LIP_STEPS or sum(s.end_s - s.start_s for s in speech) < MIN_SPEECH_S:
        return None
    return Talk(
        path=row["path"],
        is_fake=row["label"] == "fake",
        kind=row.get("manipulation", ""),
        method=row.get("method", ""),
        source=row.get("source_repo", "") or row.get("subject_group", "") or row["path"],
        person=row.get("subject_group", "") or row["path"],
        lips_from_s=float(found["from_s"]),
        lips=found["lips"],
        audio=found["audio"],
        speech=speech,
    )


def hear(talks: Sequence[Talk], hearing: Hearing) -> None:
    """Give every clip the encoder's tokens of its sound, two seconds every SOUND_HOP_S."""
    for talk in talks:
        last_s = max(len(talk.audio) / av_sync.RATE_HZ - 1.5, 0.0)
        starts = np.arange(talk.first_sound_s, last_s + 1e-6, SOUND_HOP_S)
        windows = np.stack([av_sync.sound_at(talk.audio, s) for s in starts])
        with torch.inference_mode():
            talk.sound = hearing(torch.from_numpy(windows))
