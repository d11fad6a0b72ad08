"""Can a file's label be told from what is no evidence? Measured on what the nets really see, after preprocessing.

`describe` puts a file through the product's own decoding, cutting and normalising and measures, on those inputs, what
is left of its container, size, sample rate, bit depth, level, silence, colour and frame rate. `audit` lets a
classifier guess the label from these numbers, on sources that it did not learn from. A net that is fed such inputs can
find no shortcut that the classifier does not find, if the classifier stays near an even chance.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.engine import faces, media, patches, pipeline
from detection.engine.branches import audio, synthesis
from detection.engine.errors import EngineError
from detection.engine.types import Scene
from detection.training import metrics, stacking

HEADER = ["modality", "label", "source", "feature=value ..."]
LIMIT = 0.55  # balanced accuracy that the classifier may reach
FOLDS = 5
MIN_ROWS = 30
PIECE_PX = 192
CLIP_FRAMES = 5
GREY_CHROMA = 1.0
LOUDNESS_RMS = 0.05
SILENCE_BELOW_DB = 35.0
BAND_BELOW_DB = 60.0
RATE_HZ = 16_000
# Fine detail and band width are evidence as well as shortcut: reported, not forbidden.
REPORTED = {"picture": ("detail",), "face": ("detail",), "clip": ("detail",), "speech": ("band_hz",)}

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Row:
    """One file: its label, where it comes from, and what is left of its form."""

    modality: str
    label: int
    source: str
    values: Mapping[str, float]


@dataclass(frozen=True)
class Finding:
    """What the classifier reached on one modality, and how far each number alone would lead."""

    modality: str
    n: int
    sources: int
    balanced_accuracy: float
    alone: Mapping[str, float]  # feature -> AUROC, turned so that it is at least .5
    features: tuple[str, ...]

    @property
    def passes(self) -> bool:
        return self.balanced_accuracy <= LIMIT


def describe(path: Path) -> list[tuple[str, dict[str, float]]]:
    """Return (modality, numbers) for each way in which the nets look at a file. Raises EngineError."""
    decoded = media.decode(path)
    scene = pipeline.build_scene(decoded, path, pipeline.Run(pipeline.no_step, None, 0))
    if decoded.info.kind == "audio":
        return [("speech", numbers)] if (numbers := of_speech(scene)) else []
    if decoded.info.kind == "video":
        return [("clip", of_clip(scene))]
    found = [("picture", of_pieces(scene.media.frames[0].image))]
    people = patches.faces_in(scene, scene.media.frames[0], 1)
    if people:
        image = scene.media.frames[0].image
        found.append(("face", of_pieces(faces.crop(image, people[0], synthesis.FACE_PX, synthesis.FACE_MARGIN))))
    return found


def of_pieces(image: Image) -> dict[str, float]:
    """Return the numbers of the native-resolution pieces that the picture nets get, averaged over the pieces."""
    chosen = patches.choose(image, PIECE_PX)
    seen = [_of_piece(patches.as_stored(piece.image)) for piece in chosen]
    area = PIECE_PX**2
    mirrored = float(np.mean([1 - piece.box[2] * piece.box[3] / area for piece in chosen]))
    return {name: float(np.mean([one[name] for one in seen])) for name in seen[0]} | {"mirrored": mirrored}


def _of_piece(piece: Image) -> dict[str, float]:
    lab = cv2.cvtColor(piece, cv2.COLOR_RGB2LAB).astype(np.float32)
    grey = cv2.cvtColor(piece, cv2.COLOR_RGB2GRAY).astype(np.float32)
    chroma = float(np.abs(lab[..., 1:] - 128).mean())
    fine = float(np.abs(cv2.Laplacian(grey, cv2.CV_32F)).mean() / (grey.std() + 1.0))
    levels = len(np.unique(grey.astype(np.uint8))) / max(1.0, float(np.ptp(grey)) + 1)
    return {"grey": float(chroma < GREY_CHROMA), "grid": foreign_grid(grey), "levels": levels, "detail": fine}


def foreign_grid(grey: Floats) -> float:
    """Return how far steps every eight pixels stand out off the piece's own JPEG grid: an earlier JPEG shows there."""
    ratios = []
    for axis in (0, 1):
        steps = np.abs(np.diff(grey, axis=axis)).mean(axis=1 - axis)
        means = np.array([steps[phase::8].mean() for phase in range(7)])  # the eighth phase is the piece's own grid
        ratios.append(float(means.max() / max(float(np.median(means)), 0.3)))
    return float(np.mean(ratios))


def of_clip(scene: Scene) -> dict[str, float]:
    """Return the numbers of a clip's frames: their pieces, and how they follow each other."""
    frames = patches.frames_to_judge(scene, CLIP_FRAMES)
    seen = [of_pieces(frame.image) for frame in frames]
    pairs = list(zip(scene.media.frames, scene.media.frames[1:], strict=False))
    close = [(a, b) for a, b in pairs if 0 < b.time_s - a.time_s < 0.5]
    still = [float(np.array_equal(a.image, b.image)) for a, b in close]
    steps = [b.time_s - a.time_s for a, b in close]
    motion = {"still_share": float(np.mean(still)) if still else 0.0, "step_s": float(np.median(steps or [0.0]))}
    return {name: float(np.mean([one[name] for one in seen])) for name in seen[0]} | motion


def of_speech(scene: Scene) -> dict[str, float] | None:
    """Return the numbers of the two-second windows that the speech net gets; None where nobody speaks."""
    sound = scene.media.audio
    if sound is None or not len(sound):
        return None
    spans = audio.speech_windows(scene.speech, len(sound) / RATE_HZ)
    if not spans:
        return None
    seen = [_of_window(as_heard(audio.cut(sound, span))) for span in spans]
    repeated = float(np.mean([max(0.0, 1 - (span.end_s - span.start_s) / audio.WINDOW_S) for span in spans]))
    return {name: float(np.mean([one[name] for one in seen])) for name in seen[0]} | {"repeated": repeated}


def as_heard(window: Floats) -> Floats:
    """Return a window as the speech net's front end makes it: without offset, at one loudness."""
    centred = window - window.mean()
    return np.asarray(centred * (LOUDNESS_RMS / (np.sqrt(np.mean(centred**2)) + 1e-5)), np.float32)


def _of_window(window: Floats) -> dict[str, float]:
    steps = np.square(window[: len(window) // 160 * 160].astype(np.float64)).reshape(-1, 160).mean(1)
    loud = np.flatnonzero(steps > steps.max() * 10 ** (-SILENCE_BELOW_DB / 10))
    frames = np.lib.stride_tricks.sliding_window_view(window, 512)[::160] * np.hanning(512)
    spectrum = np.square(np.abs(np.fft.rfft(frames))).mean(0)
    heard = np.flatnonzero(spectrum > spectrum.max() * 10 ** (-BAND_BELOW_DB / 10))
    # The front end hears nothing 80 dB below the loudest band: finer steps of the original do not survive.
    audible = np.round(window / (np.abs(window).max() * 1e-4 + 1e-9))
    return {
        "dc": float(window.mean() / (window.std() + 1e-9)),
        "loudness": float(10 * np.log10(np.mean(window**2) + 1e-12)),
        "lead_s": float(loud[0] / 100) if len(loud) else 0.0,
        "trail_s": float((len(steps) - 1 - loud[-1]) / 100) if len(loud) else 0.0,
        "levels": float(np.log2(len(np.unique(audible)))),
        "band_hz": float(heard[-1] * RATE_HZ / 512) if len(heard) else 0.0,
    }


def table_of(lines: Iterable[Mapping[str, str]], root: Path) -> Iterable[Row]:
    """Yield the rows of a manifest's files; what cannot be decoded is left out."""
    for line in lines:
        try:
            found = describe(root / line["path"])
        except (EngineError, OSError):
            continue
        source = line.get("source_repo") or line.get("source") or line.get("group") or line["path"]
        for modality, values in found:
            yield Row(modality, int(line["label"] == "fake"), source, values)


def audit(rows: Sequence[Row], *, reported: bool = False) -> list[Finding]:
    """Return a finding for each modality with enough rows of both classes.

    reported: with the numbers, too, that are evidence as well as shortcut (fine detail, band width).
    """
    findings = []
    for modality in sorted({row.modality for row in rows}):
        mine = [row for row in rows if row.modality == modality]
        y = np.array([row.label for row in mine])
        if len(mine) >= MIN_ROWS and 0 < y.sum() < len(y):
            findings.append(_audit(modality, mine, y, _features(modality, mine, reported)))
    return findings


def _features(modality: str, rows: Sequence[Row], reported: bool) -> tuple[str, ...]:
    left_out = () if reported else REPORTED.get(modality, ())
    return tuple(name for name in rows[0].values if name not in left_out)


def _audit(modality: str, rows: Sequence[Row], y: NDArray[np.int64], features: tuple[str, ...]) -> Finding:
    x = np.array([[row.values[name] for name in features] for row in rows])
    sources = np.array([row.source for row in rows])
    sample = stacking.balance(y, sources)
    said = guess(x, y, sources)
    right = (said >= 0.5) == (y == 1)
    hits = [float(sample[(y == c) & right].sum() / sample[y == c].sum()) for c in (0, 1)]
    alone = {}
    for i, name in enumerate(features):
        area = metrics.auroc(y, x[:, i])
        alone[name] = max(area, 1 - area)
    return Finding(modality, len(rows), len(set(sources)), float(np.mean(hits)), alone, features)


def guess(x: NDArray[np.float64], y: NDArray[np.int64], sources: NDArray[np.str_], seed: int = 0) -> Any:
    """Return (n,) chances of a fake, each by a forest that did not learn from the row's source.

    Sources count by the root of their size, both classes alike.
    """
    from sklearn.ensemble import RandomForestClassifier

    said = np.full(len(y), 0.5)
    for held in folds(y, sources):
        rest = ~held
        if len(set(y[rest])) < 2:
            continue
        model = RandomForestClassifier(200, min_samples_leaf=8, max_features=None, random_state=seed, n_jobs=1)
        model.fit(x[rest], y[rest], sample_weight=stacking.balance(y[rest], sources[rest]) * rest.sum())
        said[held] = model.predict_proba(x[held])[:, 1]
    return said


def folds(y: NDArray[np.int64], sources: NDArray[np.str_]) -> list[NDArray[np.bool_]]:
    """Return masks of whole sources, the folds alike in both classes."""
    sizes = {s: np.bincount(y[sources == s], minlength=2) for s in set(sources.tolist())}
    filled = np.zeros((FOLDS, 2))
    fold_of = {}
    for source in sorted(sizes, key=lambda s: (-sizes[s].sum(), s)):
        fold = int(np.argmin(filled @ sizes[source]))
        filled[fold] += sizes[source]
        fold_of[source] = fold
    numbers = np.array([fold_of[s] for s in sources.tolist()])
    return [numbers == fold for fold in range(FOLDS) if (numbers == fold).any()]


def save(rows: Sequence[Row], path: Path) -> None:
    """Write the table; a name that ends in .gz is compressed. Sources are named by number: the table holds no media."""
    names = {source: f"s{i}" for i, source in enumerate(sorted({row.source for row in rows}))}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for row in rows:
        values = [f"{name}={value:.5g}" for name, value in row.values.items()]
        writer.writerow([row.modality, row.label, names[row.source], *values])
    data = text.getvalue().encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def load(path: Path) -> list[Row]:
    """Return the rows of a stored table. Raises OSError, or ValueError when the file is another kind of table."""
    data = path.read_bytes()
    lines = csv.reader(io.StringIO((gzip.decompress(data) if path.suffix == ".gz" else data).decode()))
    if next(lines, None) != HEADER:
        raise ValueError(f"its first line is not {','.join(HEADER)}, which `audit_shortcuts --out` writes")
    rows = []
    for modality, label, source, *values in lines:
        pairs = (value.partition("=") for value in values)
        rows.append(Row(modality, int(label), source, {name: float(number) for name, _, number in pairs}))
    return rows
