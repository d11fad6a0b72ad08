"""The verdict in words that a person who knows nothing about detectors can read out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from detection.engine.types import Channel, ChannelVerdict, Evidence, FakeInterval, Kind, Verdict

THING = {"image": "picture", "video": "clip", "audio": "recording"}
PART: dict[Channel, str] = {
    "picture": "the picture",
    "voice": "the voice",
    "synchrony": "the match of lips and voice",
    "provenance": "the file's own Content Credentials",
}
FACE_BRANCHES = frozenset({"spatial", "temporal", "physiology"})
SWAP_BRANCHES = ("spatial", "temporal")
BETTER_COPY = {  # what could settle an open case
    "image": "A larger or less compressed copy",
    "video": "A longer or less compressed copy",
    "audio": "A longer or less compressed recording",
}
FACE_CAVEAT = (
    "No check for swapped or repainted faces that is reliable enough to count has judged the face; what the others "
    "found is shown for information."
)
MAX_INTERVALS = 3


def rationale(kind: Kind, verdict: Verdict, *, doubtful: Channel | None = None) -> str:
    """Return a few short sentences: what we found, where, what spoke for it, what would change our mind.

    doubtful: the channel that a doubt comes from, where that can be told (`fusion.doubtful_channel`).
    """
    if verdict.score is None or verdict.abstain_reason == "too_little_evidence":
        return _too_little(kind, verdict)
    if verdict.label == "inconclusive":
        sentences = _open(kind, verdict, doubtful)
    else:
        sentences = {"fake": _fake, "real": _real}[verdict.label](kind, verdict)
    return " ".join(s for s in sentences if s)


def shows_unchecked_face(evidence: Sequence[Evidence], contributions: Mapping[str, float]) -> bool:
    """Whether there is a face that no counting check for swapped faces has looked at: it cannot be called genuine."""
    seen = any(e.branch in FACE_BRANCHES and e.score is not None for e in evidence)
    return seen and not any(branch in contributions for branch in SWAP_BRANCHES)


def _fake(kind: Kind, verdict: Verdict) -> list[str]:
    likeliest = sorted(verdict.channels, key=lambda c: -c.score)[:1]
    suspects = [c for c in verdict.channels if c.label == "fake"] or likeliest
    places = ", ".join(PART[c.channel] for c in suspects)
    first = f"This {THING[kind]} is probably fake ({_chance(verdict)}): {places} {_gives(suspects)} it away"
    return [
        first + _when([i for i in verdict.fake_intervals if i.channel in {c.channel for c in suspects}]) + ".",
        _genuine_rest(verdict.channels),
        _strongest(verdict, 1),
        _when_saved_again(verdict),
        f"The original {THING[kind]}, straight from the device that made it, could change this result.",
    ]


def _gives(suspects: Sequence[ChannelVerdict]) -> str:
    if len(suspects) > 1 or suspects[0].channel == "provenance":
        return "give"
    return "gives"


def _real(kind: Kind, verdict: Verdict) -> list[str]:
    checked = " and ".join(PART[c.channel] for c in verdict.channels if c.channel != "provenance")
    return [
        f"We found no sign that this {THING[kind]} is fake (chance of a fake {_chance(verdict)}). "
        f"We checked {checked}.",
        _strongest(verdict, -1),
        _when_saved_again(verdict),
        "That is no proof: a method that we have never seen, or an edit of another kind, can go unnoticed.",
    ]


def _when_saved_again(verdict: Verdict) -> str:
    """Return what re-saving does to a label that stands: whoever holds a copy may be told less. Blank if it holds."""
    if verdict.stability is None or verdict.score is None:
        return ""
    limits = verdict.thresholds
    is_fake = verdict.label == "fake"
    worst = (min if is_fake else max)((score for _, score in verdict.stability.variants), default=verdict.score)
    if worst >= limits["fake"] if is_fake else worst < limits["real"]:
        return ""
    moves = "falls" if is_fake else "rises"
    return (
        f"This depends on the copy: after saving it again or sending it on, the chance {moves} to "
        f"{percent_beside(worst, limits['real'], limits['fake'])}, where we would give no verdict."
    )


def _open(kind: Kind, verdict: Verdict, doubtful: Channel | None) -> list[str]:
    reasons = {
        "unstable": (
            f"We give no verdict: the result for this {THING[kind]} changes when it is saved again or made smaller, "
            f"so it rests on traces that do not last (chance of a fake {_chance(verdict)})."
        ),
        "out_of_distribution": (
            f"We give no verdict: this {THING[kind]} is unlike the material on which the detectors were trained "
            "and tested, so their scores cannot be trusted here."
        ),
        "uncertain_band": (
            f"We cannot tell whether this {THING[kind]} is genuine: the chance of a fake is {_chance(verdict)}, "
            "too close to call."
        ),
        "face_not_checked": (
            f"We found no sign that a generator made this {THING[kind]} (chance of a fake {_chance(verdict)}), but "
            "that does not clear the face in it."
        ),
        "cannot_vouch": (
            f"We found no sign that this {THING[kind]} is fake (chance of a fake {_chance(verdict)}), but our checks "
            f"of the picture of a {THING[kind]} still miss too many fakes to call it genuine."
        ),
        "cannot_tell": (
            f"We cannot judge the picture of a {THING[kind]} yet: on material that they had not seen, our checks did "
            "no better than chance, so the score stays near an even chance. They are shown for information."
        ),
    }
    reason = verdict.abstain_reason or "uncertain_band"
    if reason == "cannot_tell":
        return [reasons[reason], "A person who knows the case, or the original source, can settle it."]
    return [
        reasons[reason],
        FACE_CAVEAT if shows_unchecked_face(verdict.evidence, verdict.contributions) else "",
        f"The doubt comes mostly from {PART[doubtful]}." if doubtful else "",
        _strongest(verdict, -1 if reason in ("face_not_checked", "cannot_vouch") else 1),
        f"{BETTER_COPY[kind]}, or a person who knows the case, can settle it.",
    ]


def _too_little(kind: Kind, verdict: Verdict) -> str:
    if kind == "video" and any(c.channel == "voice" for c in verdict.channels):
        return (
            f"We found nothing wrong with the voice in this clip (chance of a fake {_chance(verdict)}), but that does "
            "not clear its picture: no check of the picture was able to tell. A person who knows the case should look."
        )
    channel = "voice" if kind == "audio" else "picture"
    unsaid = [e for e in verdict.evidence if e.state != "scored" and e.channel == channel]
    # The check that looks at every picture says more about the item than one that waits for a face or for movement.
    reasons = [e.sentence for e in sorted(unsaid, key=lambda e: e.branch != "synthesis")]
    needs = {
        "image": "a sharper picture that shows some texture, at least 128 by 128 pixels",
        "video": "a sharper clip that shows a face for a few seconds",
        "audio": "at least one second of clear speech",
    }[kind]
    said = f" {reasons[0]}" if reasons else ""
    return f"This {THING[kind]} holds too little to judge it.{said} With {needs} we could say more."


def _strongest(verdict: Verdict, sign: int) -> str:
    """Return the sentence of the branch that pushed hardest towards the verdict (+1 fake, -1 real)."""
    pushes = {b: sign * c for b, c in verdict.contributions.items() if sign * c > 0 and b != "provenance"}
    if not pushes:
        return ""
    name = max(pushes, key=lambda b: pushes[b])
    return next(e.sentence for e in verdict.evidence if e.branch == name)


def _genuine_rest(channels: Sequence[ChannelVerdict]) -> str:
    rest = [PART[c.channel] for c in channels if c.label == "real" and c.channel != "provenance"]
    return f"We found nothing wrong with {' and '.join(rest)}." if rest else ""


def _when(intervals: Sequence[FakeInterval]) -> str:
    spans = sorted(intervals, key=lambda i: i.end_s - i.start_s, reverse=True)[:MAX_INTERVALS]
    spans = sorted((i for i in spans if i.end_s > i.start_s), key=lambda i: i.start_s)
    if not spans:
        return ""
    people = {i.track for i in intervals if i.track is not None}
    words = [
        f"{clock(i.start_s)}–{clock(i.end_s)}"
        + (f" person {letter(i.track)}" if len(people) > 1 and i.track is not None else "")
        for i in spans
    ]
    more = " and elsewhere" if len(intervals) > len(spans) else ""
    return f" at {', '.join(words)}{more}"


def letter(track: int) -> str:
    """Return a person's letter within one item, A first; after Z they are numbered."""
    return chr(ord("A") + track) if track < 26 else str(track + 1)


def clock(seconds: float) -> str:
    """Return seconds as m:ss."""
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02d}"


def _chance(verdict: Verdict) -> str:
    score = verdict.score if verdict.score is not None else 0.5
    low, high = verdict.interval or (score, score)
    limits = verdict.thresholds["real"], verdict.thresholds["fake"]
    shown = [percent_beside(p, *limits) for p in (score, low, high)]
    return f"{shown[0]}, between {shown[1]} and {shown[2]}"


def percent(p: float) -> str:
    """Return p as whole per cent; never 0 or 100, which no detector can know."""
    return f"{min(max(round(100 * p), 1), 99)} %"


def limit_percent(limit: float, digits: int | None = None) -> str:
    """Return a threshold in per cent as it was set, with at most one decimal, or with `digits` of them."""
    if digits is None:
        digits = int(bool(round(100 * limit, 1) % 1))
    return f"{100 * limit:.{digits}f} %"


def percent_beside(p: float, *limits: float) -> str:
    """Return p in whole per cent like `percent`, but never on the other side of a threshold.

    The same score reads the same under all thresholds that it is not next to. A p that would be rounded onto a
    threshold that it does not reach, or below one that it does, gets a decimal, and the value next to the threshold
    where that does not tell them apart either.
    """
    digits = 0
    if any((p < limit) != (round(100 * p) < round(100 * limit, 1)) for limit in limits):
        digits = 1
    shown = min(max(round(100 * p, digits), 1), 99)
    for limit in limits:
        edge = round(100 * limit, 1)
        if 0.01 < p < limit and shown >= edge:
            shown = edge - 0.1
        elif limit <= p < 0.99 and shown < edge:
            shown = edge
    return f"{shown:.{digits}f} %"
