"""What the Analysis page shows of a job, put into the order in which a person reads it; no markup here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.urls import reverse

from deepfake.reader_zone import is_within_reason
from detection import artifacts as signed
from detection import charts, words
from detection.authenticity import Authenticity, authenticity_of
from detection.metadata import Metadata, metadata_of
from detection.models import BranchScore, ExplanationArtifact, InferenceResult, Job, Label, Media, MediaKind

FAR = 0.10  # a score that re-saving moves by this much is told to move, though its label holds
FACE_CHECKS = ("spatial", "temporal")  # whose scores the engine gives to faces, the first that counts
_BRANCH_STATES = {"scored": 0, "skipped": 2, "failed": 1}


@dataclass(frozen=True)
class BranchRow:
    score: BranchScore
    signal: words.Signal
    is_silent: bool  # counts for this kind of media, and added nothing to this score
    standing: str  # "counted" | "shown" (scored, but without weight) | "skipped" | "failed"
    standing_words: str
    bar_x: str
    bar_width: str
    explained: str  # why it has the weight that it has; "" when it counts
    facts: tuple[tuple[str, str], ...]

    @property
    def direction(self) -> str:
        return "fake" if self.score.contribution > 0 else "real"

    @property
    def push(self) -> str:
        return words.push_words(self.score.contribution)


@dataclass(frozen=True)
class KeyFrame:
    """A frame that weighed: the picture, and where the nets looked."""

    overlay: ExplanationArtifact
    overlay_url: str
    picture_url: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Person:
    """Somebody who is seen in the item; the letter is a name within this item only."""

    track: int
    name: str
    frames: int
    first_s: float
    last_s: float
    score: float | None


@dataclass(frozen=True)
class Piece:
    """A part of the picture that a check judged by itself."""

    title: str
    time_s: float
    place: str
    score: float
    counts: bool


@dataclass(frozen=True)
class AnalysisPage:
    branches: tuple[BranchRow, ...]
    uncounted: frozenset[str]  # branches that were scored, but have no weight
    silent: frozenset[str]  # those of them that count for this kind of media, and added nothing
    faces_check: str  # the title of the check behind the scores of faces, where it counts; else blank
    channels: tuple[dict[str, Any], ...]
    timeline: charts.Timeline | None
    waveform: charts.Waveform | None
    intervals: tuple[dict[str, Any], ...]
    key_frames: tuple[KeyFrame, ...]
    detail_maps: tuple[KeyFrame, ...]
    people: tuple[Person, ...]
    pieces: tuple[Piece, ...]
    faces: tuple[tuple[ExplanationArtifact, str], ...]
    frequency_maps: tuple[tuple[ExplanationArtifact, str], ...]
    provenance: dict[str, Any]
    authenticity: Authenticity | None
    attention: tuple[charts.Peak, ...]  # the frames that the check over time weighed most
    offset: str  # how far lips and sound are shifted, in words
    stability: dict[str, Any]
    media_facts: tuple[tuple[str, str], ...]
    metadata: tuple[tuple[str, str], ...]
    sorted_metadata: Metadata
    seconds: tuple[tuple[str, float], ...]
    player: dict[str, Any]
    next_step: str
    steps: tuple[str, ...]  # what to do next, as the names of actions that the page offers
    abstain_words: str
    across_words: str
    warnings: tuple[str, ...]  # what the decoder could not read, and the like

    @property
    def counted(self) -> tuple[BranchRow, ...]:
        return tuple(row for row in self.branches if row.standing == "counted")

    @property
    def silent_branches(self) -> int:
        """How many checks are shown without weight, or had nothing to look at."""
        return sum(row.standing in ("shown", "skipped") for row in self.branches)


def analysis_page(job: Job, result: InferenceResult, media: Media) -> AnalysisPage:
    """Arrange one finished analysis; two queries (branches, artifacts)."""
    details = result.details
    files = list(result.artifacts.all())
    urls = {file.id: signed.signed_path(file) for file in files}
    key_frames = _maps(files, urls, media, "saliency_map")
    detail_maps = _maps(files, urls, media, "frequency_map")
    duration_s = media.duration_s or 0.0
    limits = {"fake_at": result.threshold_fake, "real_below": result.threshold_real}
    branches = branch_rows(result.branch_scores.all(), media.kind)
    tags = media.info.get("metadata") or {}
    uncounted = frozenset(row.score.branch for row in branches if row.standing == "shown")
    counted = {row.score.branch: row.signal.title for row in branches if row.standing == "counted"}
    faces_check = next((counted[name] for name in FACE_CHECKS if name in counted), "")
    timeline = charts.timeline(details, duration_s, result.threshold_fake, silent=uncounted)
    return AnalysisPage(
        branches=branches,
        uncounted=uncounted,
        silent=frozenset(row.score.branch for row in branches if row.is_silent),
        faces_check=faces_check,
        channels=_channels(details),
        timeline=timeline,
        waveform=charts.waveform(details, duration_s, **limits),
        intervals=tuple(_interval(span) for span in details.get("fake_intervals") or []) if duration_s else (),
        key_frames=key_frames,
        detail_maps=detail_maps,
        people=_people(details, has_score=bool(faces_check)),
        pieces=_pieces(details, media, branches),
        faces=tuple((file, urls[file.id]) for file in files if file.kind == "face"),
        frequency_maps=tuple((file, urls[file.id]) for file in files if file.kind == "frequency_heatmap"),
        provenance=_provenance(details.get("provenance")),
        authenticity=authenticity_of(result),
        attention=_attention(branches, details, duration_s),
        offset=_offset(branches),
        stability=_stability(details, result, branches),
        media_facts=media_facts(media),
        metadata=tuple(sorted(tags.items())),
        sorted_metadata=metadata_of(tags),
        seconds=_seconds(details.get("seconds") or {}),
        player=_player(details, media, key_frames, result)
        | {
            "facesCheck": faces_check,
            "details": _overlays(detail_maps),
            "pieces": _piece_boxes(details),
            "windows": list(timeline.windows) if timeline is not None else [],
        },
        next_step=words.next_step(job.review_label or result.label, media.kind),
        steps=words.NEXT_ACTIONS[job.review_label or result.label],
        abstain_words=words.why_none(result),
        across_words=words.across(result),
        warnings=tuple(details.get("warnings") or ()),
    )


# Branches -------------------------------------------------------------------------------------------------------------


def branch_rows(scores: Iterable[BranchScore], kind: str = "") -> tuple[BranchRow, ...]:
    """Those that weighed most first, then those without weight, then what failed or was left out.

    kind: of the media; a check that counts for it and added nothing is then told from one that never counts.
    """
    ordered = sorted(scores, key=_branch_order)
    longest = max((abs(score.contribution) for score in ordered), default=0.0)
    return tuple(_branch_row(score, max(longest, 1.0), kind) for score in ordered)


def _branch_order(score: BranchScore) -> tuple[int, bool, float, str]:
    return _BRANCH_STATES.get(score.state, 3), score.weight <= 0, -abs(score.contribution), score.branch


def _branch_row(score: BranchScore, longest: float, kind: str) -> BranchRow:
    share = abs(score.contribution) / longest / 2
    standing = score.state if score.state != "scored" else ("counted" if score.weight > 0 else "shown")
    start = 0.5 if score.contribution >= 0 else 0.5 - share
    is_silent = words.is_silent(score, kind)
    return BranchRow(
        score=score,
        is_silent=is_silent,
        signal=words.signal_of(score.branch),
        standing=standing,
        standing_words=ADDED_NOTHING if is_silent else _standing_words(score, standing),
        bar_x=charts.percent(start),
        bar_width=charts.percent(share),
        explained=words.ONE_SIDED
        if is_silent
        else words.signal_of(score.branch).weightless
        if standing == "shown"
        else "",
        facts=_plain_facts(score.data),
    )


ADDED_NOTHING = "Counts, but added nothing to this score: it can only add suspicion"


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
    person = words.person(span["track"]) if span.get("track") is not None else ""
    return {**span, "title": ", ".join(part for part in (channel, person) if part)}


def _people(details: Mapping[str, Any], *, has_score: bool) -> tuple[Person, ...]:
    return tuple(
        Person(
            track["track"],
            words.person(track["track"]),
            track.get("frames") or 0,
            track.get("first_s") or 0.0,
            track.get("last_s") or 0.0,
            track.get("score") if has_score else None,
        )
        for track in details.get("tracks") or []
    )


def _pieces(details: Mapping[str, Any], media: Media, branches: Iterable[BranchRow]) -> tuple[Piece, ...]:
    """The parts that were judged, the most suspicious first."""
    counting = {row.score.branch for row in branches if row.standing == "counted"}
    found = [
        Piece(
            words.signal_of(piece["branch"]).title,
            piece["time_s"],
            _place(piece["box"], media),
            piece["score"],
            piece["branch"] in counting,
        )
        for piece in details.get("pieces") or []
    ]
    return tuple(sorted(found, key=lambda piece: (not piece.counts, -piece.score)))


def _place(box: Iterable[float], media: Media) -> str:
    """Where a part lies, in words: `upper left`."""
    x, y, w, h = box
    across = (x + w / 2) / (media.width or 1)
    down = (y + h / 2) / (media.height or 1)
    row = "upper" if down < 0.36 else "lower" if down > 0.64 else ""
    column = "left" if across < 0.36 else "right" if across > 0.64 else ""
    return " ".join(part for part in (row, column) if part) or "middle"


def _attention(branches: Iterable[BranchRow], details: Mapping[str, Any], duration_s: float) -> tuple[charts.Peak, ...]:
    data = next((row.score.data for row in branches if row.score.branch == "temporal"), None) or {}
    times = {face["frame_index"]: face["time_s"] for face in details.get("faces") or []}
    return charts.attention(data.get("attention") or [], times, duration_s)


def _offset(branches: Iterable[BranchRow]) -> str:
    """How far sound and lips are shifted, where that was measured with some confidence."""
    data = next((row.score.data for row in branches if row.score.branch == "av_sync"), None) or {}
    shift = data.get("offset_ms")
    if shift is None:
        return ""
    sure = "" if (data.get("offset_confidence") or 0) >= 0.5 else ", measured with little confidence"
    if abs(shift) < 40:
        return f"Lips and sound are in step within one frame{sure}."
    return f"The sound comes {abs(round(shift))} ms {'after' if shift > 0 else 'before'} the lips{sure}."


def _provenance(found: Mapping[str, Any] | None) -> dict[str, Any]:
    facts = dict(found or {})
    state = facts.get("state") or "absent"
    title, icon = words.PROVENANCE_STATES.get(state, (words.readable(state), "info"))
    return {
        **facts,
        "state": state,
        "title": title,
        "signed_moment": _moment(facts.get("signed_at")),
        "icon": icon,
        "means": words.PROVENANCE_MEANS.get(state, ""),
        "steps": [_step(step) for step in facts.get("actions") or []],
        "ingredients": [_ingredient(part) for part in facts.get("ingredients") or []],
        "faults": list(dict.fromkeys(words.problem_words(problem) for problem in facts.get("problems") or [])),
        "declares_ai": bool(facts.get("generated")),
    }


def _moment(text: Any) -> datetime | None:
    """A moment as the credentials tell it; None for what is none, or names no zone."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo and is_within_reason(found) else None


def _step(step: Any) -> dict[str, str]:
    if not isinstance(step, Mapping):  # as results of the first version hold them
        return {"action": words.action_words(str(step)), "source": "", "of": ""}
    source = words.source_words(step["source"]) if step.get("source") else ""
    return {"action": words.action_words(step.get("action") or ""), "source": source, "of": step.get("of") or ""}


def _ingredient(part: Mapping[str, Any]) -> dict[str, str]:
    relationship = part.get("relationship") or ""
    return {
        "title": part.get("title") or "a file without a name",
        "relationship": words.RELATIONSHIPS.get(relationship) or words.readable(relationship).lower(),
        "signed": "with credentials of its own" if part.get("is_signed") else "without credentials",
    }


def _stability(details: Mapping[str, Any], result: InferenceResult, branches: Iterable[BranchRow]) -> dict[str, Any]:
    found = details.get("stability")
    if not found:
        return {}
    variants = [
        {
            "title": words.variant_words(variant["name"]),
            "score": variant["score"],
            "move": variant["score"] - (result.score or 0.0),
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
    furthest = max(variants, key=lambda variant: abs(variant["move"]), default=None)
    return {
        **found,
        "furthest": furthest if result.score is not None else None,
        "moves_far": furthest is not None and abs(furthest["move"]) >= FAR,
        "variants": variants,
        "bar": band,
        "low": low,
        "high": high,
        "lost": lost,
        "crossed_words": words.crossed_words(result),
        "own_x": charts.percent(result.score or 0.0),
        "fake_x": charts.percent(result.threshold_fake),
        "real_x": charts.percent(result.threshold_real),
        "full_s": _full_cost(details, branches),
    }


def _full_cost(details: Mapping[str, Any], branches: Iterable[BranchRow]) -> float:
    """About how many seconds a run with the full test takes: this one's without its test, and every check that counts
    once for the excerpt as it is and once for each way of saving it."""
    spent = details.get("seconds") or {}
    rest = (spent.get("total") or 0.0) - (spent.get("stability") or 0.0)
    ways = {"picture": len(words.PICTURE_VARIANTS), "voice": len(words.SOUND_VARIANTS)}
    counting = [row.score for row in branches if row.standing == "counted" and row.score.channel in ways]
    return float(rest + sum((ways[one.channel] + 1) * (spent.get(one.branch) or 0.0) for one in counting))


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


def _maps(files: list[ExplanationArtifact], urls: Mapping[Any, str], media: Media, kind: str) -> tuple[KeyFrame, ...]:
    """Overlays of a kind with the frame that each belongs to; those with the highest score first, else in time."""
    pictures = {file.frame_index: urls[file.id] for file in files if file.kind == "key_frame"}
    still = reverse("detection:media_file", args=[media.id]) if media.kind == MediaKind.IMAGE else ""
    maps = [file for file in files if file.kind == kind]
    maps.sort(key=lambda file: (-(file.score or 0), file.time_s or 0))
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
    overlays = _overlays(key_frames)
    return {
        "kind": media.kind,
        "fps": media.info.get("fps") or 25,
        "duration": media.duration_s or 0,
        "frames": media.info.get("frame_count") or 0,
        "faces": faces,
        "overlays": overlays,
        # A fake opens at the moment that says most; anything else at its beginning.
        "start": overlays[0]["time"] if overlays and result.label == Label.FAKE else 0,
        "fakeAt": result.threshold_fake,
        "realBelow": result.threshold_real,
    }


def _overlays(maps: Iterable[KeyFrame]) -> list[dict[str, Any]]:
    return [
        {
            "time": one.overlay.time_s or 0,
            "frame": one.overlay.frame_index or 0,
            "box": one.box,
            "url": one.overlay_url,
            "id": str(one.overlay.id),
        }
        for one in maps
    ]


def _piece_boxes(details: Mapping[str, Any]) -> list[list[Any]]:
    """Of the check that counts for whole pictures: [time, x, y, w, h, score]."""
    found = [piece for piece in details.get("pieces") or [] if piece["branch"] == "synthesis"]
    return [[piece["time_s"], *piece["box"], piece["score"]] for piece in found]
