"""The evidence as files that a person can look at: overlays, frequency picture, faces, curve, waveform."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from detection.engine import registry
from detection.engine.fusion import Stack, Stacker, local_scores, people_of
from detection.engine.types import Artifact, Evidence, Face, Heatmap, Scene, Verdict, to_json
from detection.engine.wording import letter

Image = NDArray[np.uint8]

# Cividis reads the same with and without red-green colour blindness. Source: Nuñez et al. 2018.
COLOURS = cv2.COLORMAP_CIVIDIS
MAX_OVERLAYS = 8
MAX_KEY_FRAMES = 6
MAX_FACES = 8
OVERLAY_PX = 384
KEY_FRAME_PX = 960
FACE_PX = 256
SPECTRUM_PX = 256
DETAIL_PX = 128  # long side of the grid on which fine detail is measured
DETAIL_MAP_PX = 192  # it has no finer detail itself: a larger picture would only be heavier
MIN_DETAIL_MAPS = 4  # along a clip, also where no check left a heatmap
MAX_OPACITY = 0.72
RATE_HZ = 16000
WAVEFORM_BINS = 1000
BRANCH_WORDS = {
    "spatial": "face check",
    "temporal": "motion check",
    "frequency": "fine-texture check",
    "synthesis": "generated-picture check",
}


def write(
    scene: Scene, verdict: Verdict, output_dir: Path, *, stack: Stack, heatmaps: bool = True
) -> tuple[Artifact, ...]:
    """Write the artifacts of a verdict into `output_dir` (made if missing) and say what they show."""
    output_dir.mkdir(parents=True, exist_ok=True)
    maps = strongest_maps(verdict) if heatmaps else []
    artifacts: list[Artifact] = []
    artifacts += [_write_overlay(scene, name, m, i, output_dir) for i, (name, m) in enumerate(maps)]
    if scene.media.info.kind == "video":
        artifacts += _write_key_frames(scene, [m for _, m in maps], output_dir)
    artifacts += _write_faces(scene, verdict, output_dir)
    if heatmaps:
        artifacts += _write_detail_maps(scene, [m for _, m in maps], output_dir)
        artifacts += _write_spectrum(scene, verdict, output_dir)
    artifacts += _write_curve(scene, verdict, stack, output_dir)
    artifacts += _write_waveform(scene, verdict, output_dir)
    return tuple(artifacts)


def strongest_maps(verdict: Verdict) -> list[tuple[str, Heatmap]]:
    """Return (branch, heatmap) of the branches that count, the most suspicious first, one per frame and face."""
    best: dict[tuple[str, int, int | None], Heatmap] = {}
    for e in verdict.evidence:
        if verdict.weights.get(e.branch, 0) <= 0:
            continue
        for m in e.heatmaps:
            key = (e.branch, m.frame_index, m.track)
            if key not in best or m.score > best[key].score:
                best[key] = m
    ranked = sorted(((key[0], m) for key, m in best.items()), key=lambda pair: -pair[1].score)
    return ranked[:MAX_OVERLAYS]


def _write_overlay(scene: Scene, branch: str, heatmap: Heatmap, number: int, output_dir: Path) -> Artifact:
    h, w = scene.frame(heatmap.frame_index).image.shape[:2]
    box = heatmap.box or (0.0, 0.0, float(w), float(h))
    name = f"{branch}_{heatmap.frame_index}_{number}.png"
    cv2.imwrite(
        str(output_dir / name), overlay(heatmap.cam, box[2] / max(box[3], 1.0)), [cv2.IMWRITE_PNG_COMPRESSION, 3]
    )
    words = BRANCH_WORDS.get(branch, branch)
    where = f" at {heatmap.time_s:.1f} s" if scene.media.info.kind == "video" else ""
    return Artifact(
        kind=heatmap.kind,
        path=name,
        caption=f"Where the {words} looked{where}: bright parts looked most like a fake to it.",
        frame_index=heatmap.frame_index,
        time_s=heatmap.time_s,
        track=heatmap.track,
        score=heatmap.score,
        box=box,
    )


def overlay(cam: NDArray[np.float32], aspect: float, longest_px: int = OVERLAY_PX) -> Image:
    """Return a (h, w, 4) BGRA picture of a map: transparent where nothing was seen. aspect = width / height."""
    width = longest_px if aspect >= 1 else max(1, round(longest_px * aspect))
    height = max(1, round(longest_px / aspect)) if aspect >= 1 else longest_px
    smooth = cv2.resize(np.maximum(cam, 0).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    smooth = np.clip(smooth / max(float(np.max(cam, initial=0.0)), 1e-6), 0, 1)
    colours = cv2.applyColorMap((smooth * 255).astype(np.uint8), COLOURS)
    alpha = (np.clip((smooth - 0.15) / 0.6, 0, 1) * MAX_OPACITY * 255).astype(np.uint8)
    return np.asarray(np.dstack([colours, alpha]), np.uint8)


def _write_key_frames(scene: Scene, maps: Sequence[Heatmap], output_dir: Path) -> list[Artifact]:
    artifacts = []
    for index in list(dict.fromkeys(m.frame_index for m in maps))[:MAX_KEY_FRAMES]:
        frame = scene.frame(index)
        name = f"frame_{index}.jpg"
        _save_jpeg(output_dir / name, _fit_inside(frame.image, KEY_FRAME_PX))
        score = max(m.score for m in maps if m.frame_index == index)
        words = f"The picture at {frame.time_s:.1f} s, one of those that weighed most."
        artifacts.append(Artifact("key_frame", name, words, index, frame.time_s, score=score))
    return artifacts


def _write_detail_maps(scene: Scene, maps: Sequence[Heatmap], output_dir: Path) -> list[Artifact]:
    """Write where fine detail is strong, for the frames that have a heatmap and some more along a clip."""
    artifacts = []
    for index in _frames_for_detail(scene, maps):
        frame = scene.frame(index)
        h, w = frame.image.shape[:2]
        name = f"detail_{index}.png"
        picture = overlay(fine_detail(frame.image), w / h, DETAIL_MAP_PX)
        cv2.imwrite(str(output_dir / name), picture, [cv2.IMWRITE_PNG_COMPRESSION, 3])
        where = f" at {frame.time_s:.1f} s" if scene.media.info.kind == "video" else ""
        words = (
            f"Where fine detail is strong{where}; pasted or smoothed parts can stand out. A measurement, no verdict."
        )
        box = (0.0, 0.0, float(w), float(h))
        artifacts.append(Artifact("frequency_map", name, words, index, frame.time_s, box=box))
    return artifacts


def _frames_for_detail(scene: Scene, maps: Sequence[Heatmap]) -> list[int]:
    frames = scene.media.frames
    places = (np.arange(MIN_DETAIL_MAPS) + 0.5) / MIN_DETAIL_MAPS * len(frames)
    spread = [frames[int(place)].index for place in places] if frames else []
    wanted = dict.fromkeys([*(m.frame_index for m in maps), *spread])
    return sorted(list(wanted)[:MAX_KEY_FRAMES])


def fine_detail(image: Image) -> NDArray[np.float32]:
    """Return (rows, columns), >= 0: how strong the finest detail is, relative to the usual in this picture."""
    grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    detail = cv2.convertScaleAbs(cv2.Laplacian(grey, cv2.CV_16S))
    scale = min(1.0, DETAIL_PX / max(grey.shape))
    size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
    local = cv2.resize(detail, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    local = np.log1p(cv2.GaussianBlur(local, (0, 0), 1.5))
    low, high = np.percentile(local, [20, 99])
    return np.asarray(np.clip((local - low) / max(float(high - low), 1e-6), 0, 1), np.float32)


def _write_faces(scene: Scene, verdict: Verdict, output_dir: Path) -> list[Artifact]:
    artifacts = []
    for track in scene.tracks[:MAX_FACES]:
        face, score = most_suspicious_face(track.faces, verdict.evidence)
        name = f"face_{track.number}.jpg"
        _save_jpeg(output_dir / name, _face_crop(scene.frame(face.frame_index).image, face))
        words = f"Person {letter(track.number)}" + (
            f" at {face.time_s:.1f} s." if scene.media.info.kind == "video" else "."
        )
        artifacts.append(Artifact("face", name, words, face.frame_index, face.time_s, track.number, score, face.box))
    return artifacts


def most_suspicious_face(faces: Sequence[Face], evidence: Sequence[Evidence]) -> tuple[Face, float | None]:
    """Return the face with the highest score of a face branch near it, or the largest one when none was scored."""
    scores = face_scores(faces, evidence)
    if scores is None:
        return max(faces, key=lambda f: f.box[2] * f.box[3]), None
    top = int(np.argmax(scores))
    return faces[top], float(scores[top])


def face_scores(faces: Sequence[Face], evidence: Sequence[Evidence]) -> NDArray[np.float64] | None:
    """Return (n,) score of the curve point nearest in time to each face of one person; None where none was scored.

    Only of checks that count for clips, which alone have curves: a box that shouts "99 %" is believed, whatever stands
    below it.
    """
    points = [
        ((p.start_s + p.end_s) / 2, p.score)
        for e in sorted(evidence, key=lambda e: e.branch != "spatial")
        if e.branch in ("spatial", "temporal", "frequency") and _counts(e.branch)
        for p in e.curve
        if p.track == faces[0].track
    ]
    if not points:
        return None
    times, scores = np.array(points).T
    asked = np.array([f.time_s for f in faces])
    nearest = [int(np.argmin(np.abs(times - t))) for t in asked]
    return np.asarray(scores[nearest], float)


def _counts(branch: str) -> bool:
    spec = registry.BRANCHES.get(branch)
    return spec is None or spec.counts_for("video")


def _face_crop(image: Image, face: Face) -> Image:
    x, y, w, h = face.box
    side = 1.3 * max(w, h)
    cx, cy = x + w / 2, y + h / 2
    scale = FACE_PX / max(side, 1.0)
    place = np.array([[scale, 0, FACE_PX / 2 - cx * scale], [0, scale, FACE_PX / 2 - cy * scale]])
    return np.asarray(cv2.warpAffine(image, place, (FACE_PX, FACE_PX), flags=cv2.INTER_AREA), np.uint8)


def _write_spectrum(scene: Scene, verdict: Verdict, output_dir: Path) -> list[Artifact]:
    """Write the frequency picture of the most suspicious face, or of the middle of the picture when there is none."""
    if not scene.media.frames:
        return []
    faces = [most_suspicious_face(t.faces, verdict.evidence) for t in scene.tracks]
    face = max(faces, key=lambda pair: pair[1] or 0.0, default=(None, None))[0]
    frame = scene.frame(face.frame_index) if face is not None else scene.media.frames[len(scene.media.frames) // 2]
    crop = _native_crop(frame.image, face)
    cv2.imwrite(str(output_dir / "frequency.png"), frequency_picture(crop))
    words = (
        "Left: spectrum of fine detail (regular dots or a grid can come from a generator). "
        "Right: where fine detail is strong or missing."
    )
    return [
        Artifact("frequency_heatmap", "frequency.png", words, frame.index, frame.time_s, face.track if face else None)
    ]


def _native_crop(image: Image, face: Face | None) -> Image:
    """Return a square of original pixels: resizing would wipe out or invent the traces that the spectrum shows."""
    h, w = image.shape[:2]
    side = min(SPECTRUM_PX, h, w)
    cx, cy = (face.box[0] + face.box[2] / 2, face.box[1] + face.box[3] / 2) if face is not None else (w / 2, h / 2)
    x = int(np.clip(cx - side / 2, 0, w - side))
    y = int(np.clip(cy - side / 2, 0, h - side))
    return image[y : y + side, x : x + side]


def frequency_picture(crop: Image) -> Image:
    """Return (p, 2p + gap, 3) BGR: log spectrum of the high-pass residual, and its local energy. crop: square RGB."""
    grey = cv2.cvtColor(np.ascontiguousarray(crop), cv2.COLOR_RGB2GRAY).astype(np.float32)
    residual = grey - cv2.GaussianBlur(grey, (0, 0), 1.5)
    window = np.outer(np.hanning(len(grey)), np.hanning(len(grey)))
    spectrum = np.log1p(np.abs(np.fft.fftshift(np.fft.fft2(residual * window))))
    energy = np.sqrt(cv2.GaussianBlur(residual**2, (0, 0), 4))
    panels = [_panel(spectrum), _panel(np.log1p(energy))]
    gap = np.full((SPECTRUM_PX, 8, 3), 255, np.uint8)
    return np.hstack([panels[0], gap, panels[1]])


def _panel(values: NDArray[np.floating[Any]]) -> Image:
    low, high = np.percentile(values, [2, 99.7])
    scaled = np.clip((values - low) / max(high - low, 1e-6), 0, 1)
    large = cv2.resize((scaled * 255).astype(np.uint8), (SPECTRUM_PX, SPECTRUM_PX), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.applyColorMap(large, COLOURS), np.uint8)


def _write_curve(scene: Scene, verdict: Verdict, stack: Stack, output_dir: Path) -> list[Artifact]:
    if not any(e.curve for e in verdict.evidence) or scene.media.info.kind == "image":
        return []
    content = {
        "thresholds": verdict.thresholds,
        "branches": {e.branch: to_json(e.curve) for e in verdict.evidence if e.curve},
        "channels": channel_curves(scene, verdict, stack),
        "fake_intervals": to_json(verdict.fake_intervals),
    }
    (output_dir / "curve.json").write_text(json.dumps(content))
    return [Artifact("temporal_attention", "curve.json", "The score of every check along the clip.")]


def channel_curves(scene: Scene, verdict: Verdict, stack: Stack) -> list[dict[str, Any]]:
    """Return each channel's score along time per person, by the same stacking as the verdict."""
    curves = []
    for channel in verdict.channels:
        scored = {e.branch: e for e in verdict.evidence if e.channel == channel.channel and e.score is not None}
        stacker = stack.stacker(channel.channel, scene.media.info.kind, list(scored))
        if stacker is not None:
            curves += _curves_of(stacker, scored)
    return curves


def _curves_of(stacker: Stacker, scored: Mapping[str, Evidence]) -> list[dict[str, Any]]:
    curves = []
    for track in people_of(scored):
        times, scores = local_scores(stacker, scored, track)
        points = np.round(np.stack([times, scores], axis=1), 4).tolist()
        curves.append({"channel": stacker.channel, "track": track, "points": points})
    return curves


def waveform(scene: Scene, evidence: Sequence[Evidence]) -> dict[str, Any] | None:
    """Return {"bin_s", "peaks", "scores", "desync"}; None without sound.

    The loudest sample per bin, the voice score along time, and the stretches in which lips and sound part.
    """
    sound = scene.media.audio
    if sound is None or len(sound) == 0:
        return None
    size = max(1, -(-len(sound) // WAVEFORM_BINS))
    padded = np.pad(np.abs(sound), (0, -len(sound) % size))
    peaks = np.clip(padded.reshape(-1, size).max(axis=1), 0, 1)
    voice = next((e for e in evidence if e.branch == "audio"), None)
    scores = [{"start_s": p.start_s, "end_s": p.end_s, "score": p.score} for p in (voice.curve if voice else ())]
    lips = next((e for e in evidence if e.branch == "av_sync"), None)
    desync = list(lips.data.get("desync", ())) if lips else []
    return {"bin_s": size / RATE_HZ, "peaks": np.round(peaks, 4).tolist(), "scores": scores, "desync": desync}


def _write_waveform(scene: Scene, verdict: Verdict, output_dir: Path) -> list[Artifact]:
    shape = waveform(scene, verdict.evidence)
    if shape is None:
        return []
    (output_dir / "waveform.json").write_text(json.dumps(to_json(shape)))
    return [Artifact("waveform", "waveform.json", "Loudness of the sound and the voice check's score along time.")]


def _fit_inside(image: Image, longest_px: int) -> Image:
    scale = longest_px / max(image.shape[:2])
    if scale >= 1:
        return image
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _save_jpeg(path: Path, image: Image) -> None:
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])
