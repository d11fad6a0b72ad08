"""What anybody could use instead: published nets, hand-made formulas, file facts; run on the same files as the product.

Published nets give a score at once. The others are numbers of a file, from which a logistic regression guesses the
label on sources that it did not learn from.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from detection.engine import faces, media, patches, pipeline
from detection.engine.errors import EngineError
from detection.engine.types import Frame, Scene
from detection.training import architectures, audio_baselines, importing, shortcut_audit, stacking
from detection.training.hand_made import FORMULAS

RATE_HZ = 16_000
CLIP_FRAMES = 5
RINGS = 24
RING_PX = 192
MESO_MARGIN = 1.3  # about what the published crops show around a face

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]
# layout -> where it lies below the folder of published weights
PUBLISHED: dict[str, tuple[str, str]] = {
    "AASIST": ("aasist", "aasist/AASIST.pth"),
    "AASIST-L": ("aasist-l", "aasist/AASIST-L.pth"),
    "Meso4 (DF)": ("meso4", "mesonet/weights/Meso4_DF.h5"),
    "Meso4 (F2F)": ("meso4", "mesonet/weights/Meso4_F2F.h5"),
    "MesoInception4 (DF)": ("mesoinception4", "mesonet/weights/MesoInception_DF.h5"),
    "MesoInception4 (F2F)": ("mesoinception4", "mesonet/weights/MesoInception_F2F.h5"),
}


@dataclass(frozen=True)
class Measured:
    """One file: scores that stand by themselves, and numbers that a regression has to read."""

    key: str
    label: int
    source: str
    kind: str
    has_face: bool
    scores: dict[str, float] = field(default_factory=dict)
    numbers: dict[str, list[float]] = field(default_factory=dict)


def published(folder: Path) -> dict[str, Any]:
    """Return name -> net of the published weights that lie below `folder`."""
    found = {name: (layout, folder / place) for name, (layout, place) in PUBLISHED.items()}
    return {name: importing.load(layout, path) for name, (layout, path) in found.items() if path.is_file()}


def measure(path: Path, line: Mapping[str, str], key: str, nets: Mapping[str, Any]) -> Measured | None:
    """Return what every baseline says of a file; None when it cannot be decoded."""
    try:
        decoded = media.decode(path)
        scene = pipeline.build_scene(decoded, path, pipeline.Run(pipeline.no_step, None, 0))
    except EngineError:
        return None
    label, source = int(line["label"] == "fake"), line.get("source_repo", "")
    kind, has_face = decoded.info.kind, bool(scene.tracks)
    scores, numbers = of_speech(scene, nets) if kind == "audio" else of_picture(scene, nets)
    numbers["file format and size"] = file_facts(path, decoded.info)
    return Measured(key, label, source, kind, has_face, scores, numbers)


def file_facts(path: Path, info: Any) -> list[float]:
    """Return container, size and rates of the file as it lies there."""
    containers = ("jpeg", "png", "webp", "mp4", "flac", "wav", "mp3")
    logs = [path.stat().st_size, info.width or 1, info.height or 1, info.sample_rate_hz or 1, info.duration_s or 1]
    return [*(float(info.container == one) for one in containers), *(float(np.log(max(v, 1e-3))) for v in logs)]


def of_speech(scene: Scene, nets: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Return scores of the published speech nets and the simple features."""
    sound = scene.media.audio
    if sound is None or not len(sound):
        return {}, {}
    scores = {name: _speech_logit(net, sound) for name, net in nets.items() if name.startswith("AASIST")}
    silence = [float(v) for v in audio_baselines.outer_silence(sound)]
    return scores, {"30 simple features": audio_baselines.simple_features(sound), "outer silence": silence}


@torch.inference_mode()
def _speech_logit(net: Any, sound: NDArray[np.float32]) -> float:
    window = np.resize(sound, architectures.SPEECH_SAMPLES).astype(np.float32)  # short speech is repeated, as published
    return float(net(torch.from_numpy(window[None]))["logit"][0])


def of_picture(scene: Scene, nets: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Return scores of the published face nets and the hand-made formulas, and the radial spectrum."""
    frames = patches.frames_to_judge(scene, CLIP_FRAMES)
    found: dict[str, list[float]] = {}
    for frame in frames:
        for name, formula in FORMULAS.items():
            found.setdefault(name, []).append(formula(frame.image))
        for face in patches.faces_in(scene, frame, 1):
            for name, net in nets.items():
                if name.startswith("Meso"):
                    found.setdefault(name, []).append(_meso_logit(name, net, frame, face))
    scores = {name: float(np.mean(values)) for name, values in found.items()}
    made = [scores[name] for name in FORMULAS]
    scores["hand-made formulas, mean"] = float(np.mean(made))
    spectrum = np.mean([rings(frame.image) for frame in frames], axis=0)
    left = np.mean([list(shortcut_audit.of_pieces(frame.image).values()) for frame in frames], axis=0)
    return scores, {"radial spectrum": spectrum.tolist(), "what the audit measures": left.tolist()}


@torch.inference_mode()
def _meso_logit(name: str, net: Any, frame: Frame, face: Any) -> float:
    known = importing.contract(PUBLISHED[name][0])
    crop = faces.crop(frame.image, face, known.size, MESO_MARGIN).astype(np.float32)
    batch = (crop - np.array(known.mean, np.float32)) / np.array(known.std, np.float32)
    return float(net(torch.from_numpy(np.ascontiguousarray(batch.transpose(2, 0, 1)[None])))["logit"][0])


def rings(image: Image) -> Floats:
    """Return (24,) log power of the middle 192 px in rings of equal frequency."""
    piece = patches.grid(image, RING_PX)[-1].image
    grey = cv2.cvtColor(piece, cv2.COLOR_RGB2GRAY) / 255.0
    window = np.outer(np.hanning(RING_PX), np.hanning(RING_PX))
    power = np.abs(np.fft.fftshift(np.fft.fft2((grey - grey.mean()) * window))) ** 2
    y, x = np.indices(power.shape) - RING_PX // 2
    ring = np.minimum((np.hypot(x, y) / (RING_PX / 2) * RINGS).astype(int), RINGS)
    total = np.bincount(ring.ravel(), power.ravel(), RINGS + 1) / np.bincount(ring.ravel(), minlength=RINGS + 1)
    return np.asarray(np.log(total[:RINGS] + 1e-8))


def cross_fitted(items: Sequence[Measured], name: str, strength: float = 0.01) -> dict[str, float]:
    """Return key -> log-odds by a logistic regression on the numbers `name` that did not learn from the source."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    mine = [item for item in items if name in item.numbers]
    y, sources = np.array([i.label for i in mine]), np.array([i.source for i in mine])
    if len(mine) < 2 or y.min() == y.max():
        return {}
    x = np.array([i.numbers[name] for i in mine])
    said: dict[str, float] = {}
    for held in shortcut_audit.folds(y, sources):
        rest = ~held
        if len(set(y[rest])) < 2:
            continue
        model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=500))
        weights = stacking.balance(y[rest], sources[rest]) * rest.sum()
        model.fit(x[rest], y[rest], logisticregression__sample_weight=weights)
        logits = model.decision_function(x[held])
        said |= {mine[i].key: float(v) for i, v in zip(np.flatnonzero(held), logits, strict=True)}
    return said


def all_scores(items: Sequence[Measured]) -> dict[str, dict[str, float]]:
    """Return baseline -> key -> score, regressions fitted kind by kind."""
    found: dict[str, dict[str, float]] = {}
    for item in items:
        for name, score in item.scores.items():
            found.setdefault(name, {})[item.key] = score
    for kind in sorted({item.kind for item in items}):
        mine = [item for item in items if item.kind == kind]
        for name in sorted({n for item in mine for n in item.numbers}):
            found.setdefault(name, {}).update(cross_fitted(mine, name))
    return found


def save(path: Path, items: Sequence[Measured]) -> None:
    """Write one line per file and one column per baseline."""
    scores = all_scores(items)
    names = sorted(scores)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["path", *names])
        for item in sorted(items, key=lambda i: i.key):
            values = [scores[name].get(item.key) for name in names]
            writer.writerow([item.key, *("" if v is None else f"{v:.4g}" for v in values)])


def load(path: Path) -> dict[str, dict[str, float]]:
    """Return baseline -> key -> score."""
    found: dict[str, dict[str, float]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            for name, value in row.items():
                if name != "path" and value:
                    found.setdefault(name, {})[row["path"]] = float(value)
    return found


def run(
    lines: Iterable[tuple[Path, Mapping[str, str], str]],
    nets: Mapping[str, Any],
    store: Path,
    on_step: Callable[[], None],
) -> list[Measured]:
    """Measure (path, manifest row, key) one after the other; what `store` (JSON lines) holds is not run again."""
    known = read_store(store)
    store.parent.mkdir(parents=True, exist_ok=True)
    found = []
    for path, line, key in lines:
        measured = known.get(key)
        if measured is None:
            measured = measure(path, line, key, nets)
            if measured is not None:
                with store.open("a") as file:
                    file.write(json.dumps(asdict(measured)) + "\n")
        if measured is not None:
            found.append(measured)
        on_step()
    return found


def read_store(store: Path) -> dict[str, Measured]:
    """Return key -> what was measured before; a line that was cut off is left out."""
    found = {}
    for text in store.read_text().splitlines() if store.is_file() else ():
        try:
            one = Measured(**json.loads(text))
        except (TypeError, ValueError):
            continue
        found[one.key] = one
    return found
