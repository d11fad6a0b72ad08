"""A file goes in, a verdict with reasons comes out: the engine's table of contents."""

from __future__ import annotations

import hashlib
import importlib
import logging
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from detection.engine import explain, faces, fingerprints, fusion, media, registry, runtime, stability, voice, windows
from detection.engine.branches import physiology
from detection.engine.errors import Cancelled, DeadlineExceeded, EngineError, OutOfMemory, WeightsInvalid
from detection.engine.fingerprints import Prints
from detection.engine.fusion import Stack, Thresholds
from detection.engine.types import (
    Artifact,
    Channel,
    Decoded,
    Evidence,
    MediaInfo,
    OnStep,
    Piece,
    Scene,
    Verdict,
    to_json,
)

log = logging.getLogger(__name__)

MODES = ("auto", "image", "video", "audio")
UNTRAINED: dict[str, Channel] = {"physiology": "picture", "provenance": "provenance"}
Box = tuple[float, float, float, float]


def no_step(name: str, done: int, total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, eq=False)
class Analysis:
    """Everything that came out of one file."""

    info: MediaInfo
    verdict: Verdict
    artifacts: tuple[Artifact, ...]
    scene: Mapping[str, Any]  # faces, tracks, pieces, speech, waveform, warnings; JSON-ready
    prints: Prints = field(default_factory=Prints)  # what the item can be found again by; with artifacts only

    def to_dict(self) -> dict[str, Any]:
        """Return the analysis JSON-ready: what `analyze --json` prints and result.json holds."""
        verdict = self.verdict
        return {
            "label": verdict.label,
            "score": to_json(verdict.score),
            "confidence_interval": to_json(verdict.interval),
            "abstain_reason": verdict.abstain_reason,
            "rationale": verdict.rationale,
            "model_version": verdict.model_version,
            "thresholds": to_json(verdict.thresholds),
            "channels": to_json(verdict.channels),
            "per_branch": [_branch_json(e, verdict) for e in verdict.evidence],
            "curve": [
                {"branch": e.branch, "channel": e.channel, **to_json(p)} for e in verdict.evidence for p in e.curve
            ],
            "fake_intervals": to_json(verdict.fake_intervals),
            "faces": self.scene["faces"],
            "tracks": self.scene["tracks"],
            "pieces": self.scene["pieces"],
            "speech": self.scene["speech"],
            "waveform": self.scene["waveform"],
            "stability": _stability_json(verdict),
            "provenance": _provenance_json(verdict),
            "media": to_json(self.info),
            "warnings": self.scene["warnings"],
            "artifacts": to_json(self.artifacts),
            "seconds": to_json(verdict.seconds),
        }


def analyze(
    path: Path,
    *,
    mode: str = "auto",
    thresholds: Thresholds | None = None,
    stability: str = "cheap",
    output_dir: Path | None = None,
    on_step: OnStep = no_step,
    deadline_s: float | None = None,
    aggregation: str = "mean",
    branches: Collection[str] | None = None,
    heatmaps: bool = True,
    limits: media.Limits | None = None,
) -> Analysis:
    """Return the verdict on one file, with its evidence; artifacts are written when `output_dir` is given.

    mode: look at everything ("auto", "video"), or only at the picture ("image") or the sound ("audio").
    stability: "cheap", "full" or "off". aggregation: how scores along a clip become one: mean, max, median, topk.
    branches: names to run; all when None. heatmaps: write overlays and frequency pictures too.
    limits: sizes and lengths that are accepted.
    Raises EngineError (MediaUnreadable, WeightsInvalid, DeadlineExceeded, ...).
    """
    stack = fusion.load()
    names = branch_names(mode, branches)
    run = Run(on_step, deadline_s, total=6 + len(names))
    with run.step("decoding"):
        decoded = _for_mode(media.decode(path, limits=_limits(run, limits)), mode)
    thresholds = thresholds or stack.thresholds[decoded.info.kind]
    scene = build_scene(decoded, path, run)
    evidence = tuple(aggregated(run.branch(name, scene), aggregation) for name in names)
    with run.step("fusing"):
        verdict = fusion.fuse(
            decoded.info.kind, evidence, stack=stack, thresholds=thresholds, model_version=model_version()
        )
    with run.step("stability"):
        verdict = _after_delivery(scene, verdict, stack, thresholds, stability)
    run.seconds["verdict"] = run.elapsed_s
    artifacts: tuple[Artifact, ...] = ()
    prints = Prints()
    with run.step("explaining"):
        if output_dir is not None:
            prints = fingerprints.of_scene(scene)
            artifacts = explain.write(scene, verdict, output_dir, stack=stack, heatmaps=heatmaps)
            artifacts = tuple(replace(a, box=in_original(scene, a.box)) for a in artifacts)
        summary = summarize(scene, evidence)
    run.seconds["total"] = run.elapsed_s
    on_step("done", run.total, run.total)
    return Analysis(decoded.info, replace(verdict, seconds=dict(run.seconds)), artifacts, summary, prints)


def branch_names(mode: str = "auto", wanted: Collection[str] | None = None) -> list[str]:
    """Return the branches that a mode runs, in order. Raises EngineError for a name or mode that does not exist."""
    if mode not in MODES:
        raise EngineError(f"Unknown mode {mode!r}; choose one of {', '.join(MODES)}.", code="unknown_mode")
    channels = channels_of_branches()
    unknown = set(wanted or ()) - set(channels)
    if unknown:
        known = ", ".join(channels)
        raise EngineError(
            f"There is no branch {', '.join(sorted(unknown))}; choose from {known}.", code="unknown_branch"
        )
    left_out = {"image": "voice", "audio": "picture"}.get(mode)
    return [n for n, channel in channels.items() if channel != left_out and (wanted is None or n in wanted)]


def channels_of_branches() -> dict[str, Channel]:
    """Return every branch that there is, in the order of running."""
    return {**{name: spec.channel for name, spec in registry.BRANCHES.items()}, **UNTRAINED}


def build_scene(decoded: Decoded, path: Path, run: Run) -> Scene:
    """Return what the branches look at: faces followed per person, speech, windows."""
    with run.step("faces"):
        tracks = faces.find_tracks(decoded.frames) if decoded.frames else ()
    with run.step("voice"):
        speech = voice.speech_spans(decoded.audio)
    return Scene(decoded, str(path), tracks, windows.make_windows(tracks), speech)


def examine(name: str, scene: Scene) -> Evidence:
    """Return one branch's evidence, stamped with its weights' version and digest. Raises what the branch raises."""
    module = importlib.import_module(f"detection.engine.branches.{name}")
    spec = registry.BRANCHES.get(name)
    started = time.perf_counter()
    evidence: Evidence = module.examine(scene, runtime.load(name) if spec else None)
    seconds = time.perf_counter() - started
    if spec is None:
        return replace(evidence, seconds=seconds)
    return replace(evidence, version=spec.version, sha256=digest_of(spec), seconds=seconds)


def digest_of(spec: registry.BranchSpec) -> str:
    """Return one SHA-256 for a branch: of its weights alone where a layout file stands beside them."""
    files = spec.files.get("openvino") or next(iter(spec.files.values()))
    return files[-1][1]


def aggregated(evidence: Evidence, rule: str) -> Evidence:
    """Return the evidence with its score taken from its curve by another rule than the branch's own mean."""
    if rule == "mean" or evidence.score is None or len(evidence.curve) < 2:
        return evidence
    score = fusion.aggregate([p.score for p in evidence.curve], rule)
    return replace(evidence, score=score, logit=fusion.logit(score))


def model_version() -> str:
    """Return the name of this set of nets and fusion weights: ensemble-<date>-<digest of all digests>."""
    digests = [digest_of(spec) for _, spec in sorted(registry.BRANCHES.items())]
    digests += [registry.FUSION[1], registry.PHYSIOLOGY[1]]
    return f"ensemble-{fusion.load().version}-{hashlib.sha256(''.join(digests).encode()).hexdigest()[:8]}"


def warm_up() -> None:
    """Load everything that an analysis needs, so that the first one is as fast as the next. Raises WeightsInvalid."""
    fusion.load()
    physiology.load()
    for name in registry.BRANCHES:
        runtime.load(name)
    faces.find_faces(np.zeros((64, 64, 3), np.uint8), thorough=False)
    voice.speech_spans(np.zeros(voice.RATE_HZ, np.float32))


def in_original(scene: Scene, box: Box | None) -> Box | None:
    """Return a box of a decoded frame in pixels of the original, which may be larger."""
    width = scene.media.info.width
    if box is None or width is None or not scene.media.frames:
        return box
    scale = width / scene.media.frames[0].image.shape[1]
    x, y, w, h = (value * scale for value in box)
    return x, y, w, h


def summarize(scene: Scene, evidence: Collection[Evidence]) -> dict[str, Any]:
    """Return faces, tracks, pieces, speech and waveform JSON-ready; boxes in pixels of the original."""
    found, people = [], []
    for track in scene.tracks:
        scores = explain.face_scores(track.faces, list(evidence))
        for i, face in enumerate(track.faces):
            score = None if scores is None else float(scores[i])
            place = {
                "frame_index": face.frame_index,
                "time_s": face.time_s,
                "track": track.number,
                "box": in_original(scene, face.box),
            }
            found.append(to_json(place | {"score": score}))
        whole = None if scores is None else fusion.aggregate([float(s) for s in scores], "mean")
        first_s, last_s = track.span_s
        people.append(
            to_json(
                {
                    "track": track.number,
                    "frames": len(track.faces),
                    "first_s": first_s,
                    "last_s": last_s,
                    "score": whole,
                }
            )
        )
    return {
        "faces": sorted(found, key=lambda f: (f["frame_index"], f["track"])),
        "tracks": people,
        "pieces": [_piece_json(scene, e.branch, piece) for e in evidence for piece in e.pieces],
        "speech": to_json(scene.speech),
        "waveform": to_json(explain.waveform(scene, list(evidence))),
        "warnings": list(scene.media.warnings),
    }


def _piece_json(scene: Scene, branch: str, piece: Piece) -> dict[str, Any]:
    box = in_original(scene, piece.box) or piece.box
    return {"branch": branch, **to_json(replace(piece, box=box))}


@dataclass
class Run:
    """One analysis on its way: tells its steps, keeps its time, stops at its deadline."""

    on_step: OnStep
    deadline_s: float | None
    total: int
    done: int = 0
    started: float = field(default_factory=time.perf_counter)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def elapsed_s(self) -> float:
        return time.perf_counter() - self.started

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        if self.deadline_s is not None and self.elapsed_s > self.deadline_s:
            raise DeadlineExceeded(
                f"The analysis took longer than the {self.deadline_s:.0f} s it may take. "
                "Send a shorter or smaller file, or try again when the server is less busy."
            )
        self.on_step(name, self.done, self.total)
        before = time.perf_counter()
        try:
            yield
        except MemoryError as error:
            raise OutOfMemory(
                "The analysis needs more memory than this server may use. Send a smaller file."
            ) from error
        self.seconds[name] = time.perf_counter() - before
        self.done += 1

    def branch(self, name: str, scene: Scene) -> Evidence:
        """Return a branch's evidence; one that breaks is left out, visibly, and the rest goes on."""
        with self.step(name):
            try:
                return examine(name, scene)
            except (WeightsInvalid, Cancelled, DeadlineExceeded, OutOfMemory):
                raise
            except EngineError as error:
                log.warning("branch %s failed: %s", name, error.message)
                return _failed(name, error.code)
            except Exception:
                log.exception("branch %s failed", name)
                return _failed(name, "internal_error")


def _failed(name: str, reason: str) -> Evidence:
    channel = channels_of_branches()[name]
    return Evidence(name, channel, "failed", f"The {name} check broke off and was left out.", reason=reason)


def _limits(run: Run, limits: media.Limits | None) -> media.Limits:
    limits = limits or media.Limits()
    if run.deadline_s is None:
        return limits
    return replace(
        limits, still_s=min(limits.still_s, run.deadline_s), recording_s=min(limits.recording_s, run.deadline_s)
    )


def _for_mode(decoded: Decoded, mode: str) -> Decoded:
    """Return the part of the file that the mode asks for. Raises EngineError when the file does not have it."""
    if mode == "audio":
        if decoded.audio is None:
            raise EngineError("The file has no sound, so it cannot be analysed as audio.", code="mode_mismatch")
        return replace(decoded, frames=(), info=replace(decoded.info, kind="audio"))
    if mode in ("image", "video") and not decoded.frames:
        raise EngineError(f"The file has no picture, so it cannot be analysed as {mode}.", code="mode_mismatch")
    return replace(decoded, audio=None) if mode == "image" else decoded


def _after_delivery(scene: Scene, verdict: Verdict, stack: Stack, limits: Thresholds, how: str) -> Verdict:
    if how == "off":
        return verdict
    found = stability.check(scene, verdict, stack=stack, thresholds=limits, examine=examine, full=how == "full")
    return fusion.fuse(
        scene.media.info.kind,
        verdict.evidence,
        stack=stack,
        thresholds=limits,
        stability=found,
        model_version=verdict.model_version,
    )


def _branch_json(evidence: Evidence, verdict: Verdict) -> dict[str, Any]:
    names = ("branch", "channel", "state", "score", "confidence", "quality")
    return {name: to_json(getattr(evidence, name)) for name in names} | {
        "weight": to_json(verdict.weights.get(evidence.branch, 0.0)),
        "contribution": to_json(verdict.contributions.get(evidence.branch, 0.0)),
        "sentence": evidence.sentence,
        "reason": evidence.reason,
        "version": evidence.version,
        "sha256": evidence.sha256,
        "data": to_json(evidence.data),
    }


def _stability_json(verdict: Verdict) -> dict[str, Any] | None:
    found = verdict.stability
    if found is None:
        return None
    variants = [{"name": name, "score": to_json(score)} for name, score in found.variants]
    return {"band": to_json(found.band), "flips": found.flips, "full": found.full, "variants": variants}


def _provenance_json(verdict: Verdict) -> dict[str, Any] | None:
    said = next((e for e in verdict.evidence if e.branch == "provenance"), None)
    if said is None:
        return None
    names = (
        "state", "issuer", "generator", "signed_at", "actions", "ingredients", "problems", "altered", "generated",
    )  # fmt: skip
    return {"sentence": said.sentence, **{name: to_json(said.data.get(name)) for name in names}}
