"""What the Analysis page shows of a job, put into the order in which a person reads it; no markup here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.urls import reverse

from detection import artifacts as signed
from detection import charts, words
from detection.models import BranchScore, ExplanationArtifact, InferenceResult, Job, Label, Media, MediaKind

_BRANCH_STATES = {"scored": 0, "skipped": 2, "failed": 1}


@dataclass(frozen=True)
class BranchRow:
    score: BranchScore
    signal: words.Signal
    standing: str  # "counted" | "shown" (scored, but without weight) | "skipped" | "failed"
    standing_words: str
    bar_x: str
    bar_width: str
    facts: tuple[tuple[str, str], ...]

    @property
    def direction(self) -> str:
        return "fake" if self.score.contribution > 0 else "real"


@dataclass(frozen=True)
class KeyFrame:
    """A frame that weighed: the picture, and where the nets looked."""

    overlay: ExplanationArtifact
    overlay_url: str
    picture_url: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class AnalysisPage:
    branches: tuple[BranchRow, ...]
    uncounted: frozenset[str]  # branches that were scored, but have no weight
    channels: tuple[dict[str, Any], ...]
    timeline: charts.Timeline | None
    waveform: charts.Waveform | None
    intervals: tuple[dict[str, Any], ...]
    key_frames: tuple[KeyFrame, ...]
    faces: tuple[tuple[ExplanationArtifact, str], ...]
    frequency_maps: tuple[tuple[ExplanationArtifact, str], ...]
    provenance: dict[str, Any]
    stability: dict[str, Any]
    media_facts: tuple[tuple[str, str], ...]
    metadata: tuple[tuple[str, str], ...]
    seconds: tuple[tuple[str, float], ...]
    player: dict[str, Any]
    next_step: str
    abstain_words: str
    warnings: tuple[str, ...]  # what the decoder could not read, and the like


def analysis_page(job: Job, result: InferenceResult, media: Media) -> AnalysisPage:
    """Arrange one finished analysis; two queries (branches, artifacts)."""
    details = result.details
    files = list(result.artifacts.all())
    urls = {file.id: signed.signed_path(file) for file in files}
    key_frames = _key_frames(files, urls, media)
    duration_s = media.duration_s or 0.0
    limits = {"fake_at": result.threshold_fake, "real_below": result.threshold_real}
    branches = branch_rows(result.branch_scores.all())
    return AnalysisPage(
        branches=branches,
        uncounted=frozenset(row.score.branch for row in branches if row.standing == "shown"),
        channels=_channels(details),
        timeline=charts.timeline(details, duration_s, result.threshold_fake),
        waveform=charts.waveform(details, duration_s, **limits),
        intervals=tuple(_interval(span) for span in details.get("fake_intervals") or []) if duration_s else (),
        key_frames=key_frames,
        faces=tuple((file, urls[file.id]) for file in files if file.kind == "face"),
        frequency_maps=tuple((file, urls[file.id]) for file in files if file.kind == "frequency_heatmap"),
        provenance=_provenance(details.get("provenance")),
        stability=_stability(details.get("stability"), result),
        media_facts=media_facts(media),
        metadata=tuple(sorted((media.info.get("metadata") or {}).items())),
        seconds=_seconds(details.get("seconds") or {}),
        player=_player(details, media, key_frames, result),
        next_step=words.next_step(result.label, media.kind),
        abstain_words=words.ABSTAIN_REASONS.get(result.abstain_reason, ""),
        warnings=tuple(details.get("warnings") or ()),
    )


# Branches -------------------------------------------------------------------------------------------------------------


def branch_rows(scores: Iterable[BranchScore]) -> tuple[BranchRow, ...]:
    """Those that weighed most first, then those without weight, then what failed or was left out."""
    ordered = sorted(scores, key=_branch_order)
    longest = max((abs(score.contribution) for score in ordered), default=0.0)
    return tuple(_branch_row(score, max(longest, 1.0)) for score in ordered)


def _branch_order(score: BranchScore) -> tuple[int, bool, float, str]:
    return _BRANCH_STATES.get(score.state, 3), score.weight <= 0, -abs(score.contribution), score.branch


def _branch_row(score: BranchScore, longest: float) -> BranchRow:
    share = abs(score.contribution) / longest / 2
    standing = score.state if score.state != "scored" else ("counted" if score.weight > 0 else "shown")
    start = 0.5 if score.contribution >= 0 else 0.5 - share
    return BranchRow(
        score=score,
        signal=words.signal_of(score.branch),
        standing=standing,
        standing_words=_standing_words(score, standing),
        bar_x=charts.percent(start),
        bar_width=charts.percent(share),
        facts=_plain_facts(score.data),
    )


def _standing_words(score: BranchScore, standing: str) -> str:
    if standing == "counted":
        return f"{round(100 * score.weight)} % of the weight"
    if standing == "shown":
        return "Does not count towards the score"
    if standing == "failed":
        return "Failed: left out"
    return f"Left out: {words.skip_words(score.reason).lower()}" if score.reason else "Left out"


def _plain_facts(data: Any) -> tuple[tuple[str, str], ...]:
    """The branch's measurements that fit on a line each."""
    if not isinstance(data, Mapping):
        return ()
    return tuple((words.readable(str(key)), _plain(value)) for key, value in data.items() if _is_plain(value))


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float | bool) and value != "" and len(str(value)) <= 120


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


# Parts of the verdict -------------------------------------------------------------------------------------------------


def _channels(details: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    found = details.get("channels") or []
    return tuple({**channel, "title": words.CHANNELS.get(channel["channel"], channel["channel"])} for channel in found)


def _interval(span: Mapping[str, Any]) -> dict[str, Any]:
    channel = words.CHANNELS.get(span.get("channel", ""), "")
    person = f"person {span['track'] + 1}" if span.get("track") is not None else ""
    return {**span, "title": ", ".join(part for part in (channel, person) if part)}


def _provenance(found: Mapping[str, Any] | None) -> dict[str, Any]:
    state = (found or {}).get("state") or "absent"
    title, icon = words.PROVENANCE_STATES.get(state, (words.readable(state), "info"))
    return {**(found or {}), "state": state, "title": title, "icon": icon}


def _stability(found: Mapping[str, Any] | None, result: InferenceResult) -> dict[str, Any]:
    if not found:
        return {}
    variants = [
        {
            "title": words.variant_words(variant["name"]),
            "score": variant["score"],
            "level": charts.level_of(variant["score"], result.threshold_fake, result.threshold_real),
            "x": charts.percent(variant["score"]),
        }
        for variant in found.get("variants") or []
        if variant.get("score") is not None
    ]
    low, high = found.get("band") or (0.0, 0.0)
    band = {"x": charts.percent(low), "width": charts.percent(max(high - low, 0.004))}
    own = charts.level_of(result.score, result.threshold_fake, result.threshold_real)
    lost = [variant["title"] for variant in variants if variant["level"] != own]
    return {**found, "variants": variants, "bar": band, "low": low, "high": high, "lost": lost}


def _seconds(seconds: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    ordered = sorted(seconds.items(), key=lambda item: -item[1])
    return tuple((words.readable(name), spent) for name, spent in ordered if spent >= 0.001)


def media_facts(media: Media) -> tuple[tuple[str, str], ...]:
    """What the decoder found, in words."""
    info = media.info
    rate = info.get("sample_rate_hz")
    facts = [
        ("Type", media.mime_type),
        ("Size", f"{media.size_bytes:,} bytes" if media.size_bytes else ""),
        ("Picture", f"{media.width} × {media.height} px" if media.width else ""),
        ("Length", charts.clock(media.duration_s) if media.duration_s else ""),
        ("Frame rate", f"{info['fps']:.3g} per second" if info.get("fps") else ""),
        ("Picture coding", info.get("video_codec") or ""),
        ("Sound coding", info.get("audio_codec") or ""),
        ("Sound", f"{rate / 1000:g} kHz, {_voices(info.get('channels'))}" if rate else ""),
    ]
    return tuple((name, value) for name, value in facts if value)


def _voices(channels: int | None) -> str:
    return {1: "mono", 2: "stereo"}.get(channels or 0, f"{channels} channels")


# Pictures and player --------------------------------------------------------------------------------------------------


def _key_frames(files: list[ExplanationArtifact], urls: Mapping[Any, str], media: Media) -> tuple[KeyFrame, ...]:
    pictures = {file.frame_index: urls[file.id] for file in files if file.kind == "key_frame"}
    still = reverse("detection:media_file", args=[media.id]) if media.kind == MediaKind.IMAGE else ""
    maps = [file for file in files if file.kind == "saliency_map"]
    maps.sort(key=lambda file: -(file.score or 0))
    return tuple(
        KeyFrame(file, urls[file.id], pictures.get(file.frame_index, still), _box(file, media)) for file in maps
    )


def _box(file: ExplanationArtifact, media: Media) -> tuple[float, float, float, float]:
    x, y, w, h = file.box or (0, 0, media.width or 1, media.height or 1)
    return x, y, w, h


def _player(
    details: Mapping[str, Any], media: Media, key_frames: Iterable[KeyFrame], result: InferenceResult
) -> dict[str, Any]:
    """What the player's script needs: faces by time, overlays by time, thresholds."""
    faces = [
        [face["time_s"], face["track"], *face["box"], face.get("score")]
        for face in details.get("faces") or []
        if face.get("box")
    ]
    overlays = [
        {"time": frame.overlay.time_s or 0, "box": frame.box, "url": frame.overlay_url, "id": str(frame.overlay.id)}
        for frame in key_frames
    ]
    return {
        "kind": media.kind,
        "fps": media.info.get("fps") or 25,
        "duration": media.duration_s or 0,
        "faces": faces,
        "overlays": overlays,
        # A fake opens at the moment that says most; anything else at its beginning.
        "start": overlays[0]["time"] if overlays and result.label == Label.FAKE else 0,
        "fakeAt": result.threshold_fake,
        "realBelow": result.threshold_real,
    }
