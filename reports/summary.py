"""The first page in plain words: what was found, how sure that is, what was looked at, what it does not say."""

from __future__ import annotations

from typing import Any

from detection import words
from detection.engine.wording import THING, limit_percent, percent_beside
from detection.models import InferenceResult, Job, Label, Media, ReviewState

FOUND: dict[str, str] = {
    Label.FAKE: "The checks found signs that this {thing} was generated or manipulated.",
    Label.REAL: "The checks found no sign that this {thing} was generated or manipulated.",
    Label.INCONCLUSIVE: "The checks do not allow a verdict on this {thing}. It is found neither genuine nor fake.",
}
MIN_DECIDED = 20  # fewer verdicts than this have no rate worth printing
KIND_WORDS = {"image": "pictures", "video": "clips", "audio": "voice recordings"}
HIDING = {
    "image": "heavy compression and small faces",
    "video": "heavy compression and small faces",
    "audio": "heavy compression, noise and telephone lines",
}
DOES_NOT_SAY = (
    "Who made or changed the {thing}, when, or why.",
    "Whether a caption, a name or a claim that goes with it is true.",
    "That it is genuine, where no sign was found: methods unknown to the checks, {hiding} can hide every trace.",
    "That anything is proven. The score is an estimate by trained models, to be weighed with all other evidence.",
)


def summary_of(job: Job, result: InferenceResult, worth: dict[str, Any] | None) -> dict[str, Any]:
    """Return the four answers as sentences, JSON-ready. worth: quality.of_verdict."""
    thing = THING.get(job.media.kind, "item")
    hiding = HIDING.get(job.media.kind, "heavy compression")
    return {
        "found": _found(job, result, thing),
        "how_sure": _how_sure(job, result, worth),
        "looked_at": _looked_at(job.media, result),
        "does_not_say": [sentence.format(thing=thing, hiding=hiding) for sentence in DOES_NOT_SAY],
    }


def _found(job: Job, result: InferenceResult, thing: str) -> list[str]:
    sentences = [FOUND[result.label].format(thing=thing)]
    if result.abstain_reason:
        sentences.append(words.why_none(result))
    if job.review_label:
        said = "" if job.review_label == result.label else ", against the machine's verdict"
        sentences.append(f"People who looked at it found: {Label(job.review_label).label.lower()}{said}.")
    elif job.review_state == ReviewState.DECIDED:
        sentences.append("People who looked at it left it without a label of their own.")
    elif job.review_state:
        sentences.append("People are looking at it; they have not decided yet.")
    else:
        sentences.append("No person has checked this result.")
    return [sentence for sentence in sentences if sentence]


def _how_sure(job: Job, result: InferenceResult, worth: dict[str, Any] | None) -> list[str]:
    sentences = []
    if result.score is None:
        sentences.append("Nothing could be scored, so there is no probability.")
    else:
        limits = result.threshold_real, result.threshold_fake
        chance = f"The estimated probability of manipulation is {percent_beside(result.score, *limits)}"
        if result.interval_low is not None and result.interval_high is not None:
            low, high = (percent_beside(end, *limits) for end in (result.interval_low, result.interval_high))
            chance += f", likely between {low} and {high}"
        sentences.append(chance + ".")
        if result.crosses_threshold:
            sentences.append(words.across(result))
        sentences.append(
            f"A score from {limit_percent(result.threshold_fake)} on is called fake, one below "
            f"{limit_percent(result.threshold_real)} real, anything between is left open."
        )
    if copies := words.crossed_words(result):
        sentences.append(copies)
    if worth is not None:
        sentences.append(_worth(job.media.kind, worth))
    return sentences


def _worth(kind: str, worth: dict[str, Any]) -> str:
    right = f"{_share(worth['selective_accuracy'])} of these verdicts were right"
    if worth["decided"] < MIN_DECIDED:
        right = "too few to say how often a verdict is right"
    return (
        f"Measured on {worth['items']} {KIND_WORDS[kind]} from sources that the checks had never seen: "
        f"{worth['decided']} of them got a verdict at all, {right}, and {_share(worth['fpr_label'])} of the genuine "
        "ones were called fake."
    )


def _looked_at(media: Media, result: InferenceResult) -> list[str]:
    found = [_item(media)]
    details = result.details
    if people := details.get("tracks"):
        faces = len(details.get("faces") or [])
        count = "one person's face" if len(people) == 1 else f"the faces of {len(people)} people"
        found.append(f"{count[0].upper()}{count[1:]}, in {faces} view{'' if faces == 1 else 's'}.")
    elif media.kind != "audio":
        found.append("No face was found.")
    if media.kind != "image":
        seconds = sum(span["end_s"] - span["start_s"] for span in details.get("speech") or [])
        found.append(f"{seconds:.1f} s of speech." if seconds else "No speech was found.")
    found += _checks(result)
    return found


def _item(media: Media) -> str:
    parts = [words.readable(media.kind)]
    if media.width and media.height:
        parts.append(f"{media.width} × {media.height} pixels")
    if media.duration_s:
        parts.append(f"{media.duration_s:.1f} s")
    return ", ".join([*parts, f"{media.size_bytes:,} bytes"]) + "."


def _checks(result: InferenceResult) -> list[str]:
    rows = list(result.branch_scores.all())
    silent = [row for row in rows if words.is_silent(row, result.job.media.kind)]
    idle = [row for row in rows if row.state == "scored" and row.weight <= 0 and row not in silent]
    groups = (
        ("Checks that moved the score", [row for row in rows if row.state == "scored" and row.weight > 0]),
        ("Checks that count, but added nothing to this score (they can only add suspicion)", silent),
        ("Checks that are shown but do not count", idle),
        ("Checks that had nothing to work on here", [row for row in rows if row.state == "skipped"]),
        ("Checks that failed and were left out", [row for row in rows if row.state == "failed"]),
    )
    return [
        f"{title}: {', '.join(words.signal_of(row.branch).title.lower() for row in members)}."
        for title, members in groups
        if members
    ]


def _share(value: float | None) -> str:
    """A measured rate, which may be 0 or 100."""
    return "–" if value is None else f"{100 * value:.1f} %"
