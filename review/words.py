"""Plain words for reasons and outcomes: what reviewers choose from, and what is told to the person who appealed."""

from __future__ import annotations

from detection.words import subject_in

REASONS_REAL: dict[str, str] = {
    "compression": "Compression or re-saving misled the check",
    "ordinary_edit": "Ordinary filter, make-up or edit",
    "original_found": "Original or first publication found",
    "confirmed_by_subject": "The person shown confirms it",
}
REASONS_FAKE: dict[str, str] = {
    "visible_traces": "Traces that a person can see or hear",
    "known_fake": "Known fake, shown elsewhere",
    "source_found": "The material it was made from was found",
    "denied_by_subject": "The person shown denies it",
}
REASONS_OPEN: dict[str, str] = {
    "too_little": "Too little material, or too poor",
    "conflict": "The evidence contradicts itself",
    "outside_expertise": "Needs somebody who knows the subject",
    "sensitive": "Legally or personally sensitive",
}
REASONS_ANY: dict[str, str] = {
    "context": "Context: time, place or caption",
    "other": "Other (say it in the note)",
}
# Given by the product itself, when a decision confirms the reading under the thresholds of one case.
THRESHOLD_REASON = "thresholds"
REASONS: dict[str, str] = (
    REASONS_REAL | REASONS_FAKE | REASONS_OPEN | REASONS_ANY | {THRESHOLD_REASON: "Other thresholds for this case"}
)

APPEAL_OUTCOMES: dict[str, str] = {
    "fake": "We looked again and still find that this item was manipulated.",
    "real": "We looked again and find no sign that this item was manipulated.",
    "inconclusive": "We looked again and cannot tell whether this item was manipulated.",
}
APPEAL_DECIDED: dict[str, str] = {
    "fake": "The check was looked at by people, who find that it was manipulated.",
    "real": "The check was looked at by people, who find no sign that it was manipulated.",
    "inconclusive": "The check was looked at by people, who cannot tell whether it was manipulated.",
}
APPEAL_CHECKS: dict[str, str] = {
    "fake": "The check found signs that it was manipulated.",
    "real": "The check found no sign that it was manipulated.",
    "inconclusive": "The check could not tell whether it was manipulated.",
}
APPEAL_KINDS: dict[str, str] = {
    "image": "A picture that may show you",
    "video": "A video that may show you",
    "audio": "A recording in which you may be heard",
}

EVENTS: dict[str, str] = {
    "job.started": "Analysis asked for",
    "job.completed": "Analysis completed",
    "job.feedback": "Feedback given",
    "demo.dated": "Dated into the demo week; this log keeps the true times",
    "report.read": "Report read",
    "report.issued": "Report issued",
    "review.opened": "Case opened",
    "review.raised": "Another ground added",
    "review.claimed": "Taken",
    "review.released": "Given back",
    "review.decided": "Opinion given",
    "review.undone": "Opinion taken back",
    "review.noted": "Note written",
    "review.annotated": "Place marked",
    "review.annotation_removed": "Mark removed",
    "review.thresholds_set": "Thresholds of this case set",
    "review.thresholds_withdrawn": "Thresholds of this case withdrawn",
    "review.harsh_marked": "Marked as harsh",
    "review.harsh_unmarked": "No longer marked as harsh",
    "review.appealed": "Appeal received",
    "review.appeal_answered": "Appeal answered",
}


def reason_words(code: str, kind: str) -> str:
    return subject_in(REASONS.get(code) or code.replace("_", " ").capitalize(), kind)


def reasons_for(reasons: dict[str, str], kind: str) -> dict[str, str]:
    return {code: subject_in(sentence, kind) for code, sentence in reasons.items()}


def event_words(action: str) -> str:
    return EVENTS.get(action) or action.partition(".")[2].replace("_", " ").capitalize()
