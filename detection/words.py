"""Plain words for labels, branches, stages and refusals: what the pages and the report say to people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from detection.engine import registry
from detection.engine.wording import letter, percent_beside


@dataclass(frozen=True)
class Signal:
    """How a branch is explained to somebody who has never heard of it; true to its card in `ml_weights/`."""

    title: str
    what: str
    fails: str
    weightless: str = ""  # why it may be shown without counting


NOT_BETTER = (
    "On material from sources that it had never seen, it did not beat a plain look at the spectrum by a safe margin, "
    "so it has no weight: it is shown as a hint where to look, and moves the score by nothing."
)

SIGNALS: dict[str, Signal] = {
    "spatial": Signal(
        "Face picture",
        "Looks at each face for traces of blending, as pasted and repainted faces have them: seams, mismatched skin, "
        "smeared detail.",
        "Weak on small, blurred or heavily compressed faces. Not meant for faces that a generator drew whole, nor for "
        "generated clips, which it takes for genuine. It also calls many genuine faces suspicious.",
        NOT_BETTER,
    ),
    "temporal": Signal(
        "Movement over time",
        "Watches one face over 16 frames for flicker, warping and movement that a real head does not make.",
        "Needs more than a second of steady face. Cuts, shake, strong compression and unusual frame rates confuse it; "
        "generated clips can look more genuine to it than real ones.",
        NOT_BETTER,
    ),
    "frequency": Signal(
        "Fine pixel pattern",
        "Asks whether neighbouring pixels relate as in a camera's picture, or as the up-sampling of generators leaves "
        "them.",
        "Every resizing and compression wipes the pattern out, so silence proves nothing. Strong sharpening, "
        "screenshots and enlarged photos leave similar patterns; it learnt from stills, not from clips.",
        "On generators and sources that it had never seen, it did not reach the bar that a check needs to count, so it "
        "has no weight and moves the score by nothing.",
    ),
    "synthesis": Signal(
        "Generated picture",
        "Compares the texture of pieces of the picture, and of its largest faces, with what cameras and picture "
        "generators leave.",
        "Generators that it never saw may look like a camera; strong filters, artwork and enlarged photos can look "
        "generated. Edited photographs and swapped faces are not its task. Pages, screens and graphics get no score.",
        "For this kind of item it did no better than chance on sources left out, so it has hardly any weight.",
    ),
    "audio": Signal(
        "Voice",
        "Listens to two-second stretches of speech for traces of text-to-speech and voice conversion.",
        "A clean studio voice can sound synthetic to it; noise, rooms and telephones hide synthesis. The best vocoders "
        "are near chance in two seconds. Singing, whispering, children and several voices at once were not measured.",
        "No other check speaks for the voice, so it has weight wherever there is speech.",
    ),
    "av_sync": Signal(
        "Lips and speech",
        "Compares mouth movement with the sound: how far they are shifted, and where they part.",
        "Needs speech and one face whose mouth is at least 40 pixels wide. Dubbed films and late sound are out of step "
        "without being fake, and lip-sync fakes are in step by their making.",
        "Being out of step is no forgery and being in step no proof, so it has no weight: it shows the offset and the "
        "moments.",
    ),
    "physiology": Signal(
        "Blink, pulse and posture",
        "Measures blinking, head movement, face geometry, flicker and the faint pulse that a real face shows.",
        "Short clips, make-up, low light and compression hide these signs; a person blinks only every 2 to 10 seconds.",
        "On sources left out its score separates no better than chance, so it has no weight; read its measurements.",
    ),
    "provenance": Signal(
        "Content Credentials",
        "Reads the signed history (C2PA) that some cameras and editors put into a file.",
        "Most genuine files carry none, and missing ones never count as a sign of a fake. Valid ones show who signed, "
        "not what is true.",
        "It counts only where the credentials themselves speak for a fake: they declare AI generation, or no longer "
        "fit.",
    ),
}

CHANNELS: dict[str, str] = {
    "picture": "Picture",
    "voice": "Voice",
    "synchrony": "Lips and speech",
    "provenance": "Provenance",
}

NEXT_STEPS: dict[str, str] = {
    "fake": (
        "Do not share or act on this item as it is. Look at what is marked, find where it was first published, "
        "and ask the person shown through a channel that you already know."
    ),
    "real": (
        "No sign of manipulation was found, which is not a proof of truth: check who published it, when, and whether "
        "the caption fits what it shows."
    ),
    "inconclusive": (
        "Do not decide on this result alone. Try to get the original file or a {copy}, and let a person who knows the "
        "subject look at it."
    ),
}
BETTER_COPIES: dict[str, str] = {
    "image": "larger, sharper copy",
    "video": "longer, sharper copy",
    "audio": "longer, clearer recording",
}


ONE_SIDED = (
    "In clips a check of the picture can only add suspicion. What it found here is no more than the middle between "
    "genuine clips and fakes, so it adds nothing; and it takes nothing off, because a fake of another make would pass "
    "it as well. So it cannot outvote a check that found more, nor call the clip real."
)


def next_step(label: str, kind: str) -> str:
    """Return what to do now, for the kind of media: a still has no longer copy."""
    return subject_in(NEXT_STEPS[label].format(copy=BETTER_COPIES.get(kind, "sharper copy")), kind)


def subject_in(sentence: str, kind: str) -> str:
    """A sentence about the person shown, for the kind of media: a recording shows nobody, somebody speaks in it."""
    return sentence.replace("person shown", "speaker") if kind == "audio" else sentence


# What the page offers beside those words, in the order of use.
NEXT_ACTIONS: dict[str, tuple[str, ...]] = {
    "fake": ("report", "review", "related"),
    "real": ("report", "related", "ask"),
    "inconclusive": ("ask", "review", "full"),
}
ASK_FOR_ORIGINAL = (
    "Please send us the original of “{name}”: the file as it came from the camera or recorder, not a screenshot, not "
    "forwarded through a messenger, not edited. A file transfer or an e-mail attachment keeps it as it is. Please tell "
    "us also who took it, when and where, and with which device. For comparison: the copy that we hold has the SHA-256 "
    "{sha256}."
)

ABSTAIN_REASONS: dict[str, str] = {
    "uncertain_band": "The score lies between the two thresholds.",
    "cannot_tell": "The checks that apply did no better than chance on material they had not seen.",
    "face_not_checked": "Nothing was found, but no check that counts has looked at the face.",
    "cannot_vouch": "Nothing was found, but these checks miss too many fakes to call an item of this kind genuine.",
    "unstable": "The result changes when the item is saved again, so it cannot be relied on.",
    "out_of_distribution": "The item is unlike anything that the system was measured on.",
    "too_little_evidence": "Too little could be examined to decide.",
}

# An interval may reach a little across the threshold before a label falls (docs/decisions/0005-held-out-fusion.md).
ACROSS = (
    "The interval reaches across the threshold: the score is past it and the interval does not reach far back, so "
    "“{label}” stands, as a weak verdict."
)
TOO_FAR_ACROSS = "The score is past a threshold, but too unsure to count: its interval reaches too far back across it."
NOT_CARRIED = (
    "The score is past a threshold, but too unsure to count: its interval reaches too far back across it, or no "
    "channel says so by itself."
)


def why_none(result: Any) -> str:
    """Why there is no verdict; blank where there is one. A score past a threshold can be too unsure to count."""
    reason, score = result.abstain_reason, result.score
    if reason == "uncertain_band" and score is not None:
        is_between = result.threshold_real <= score < result.threshold_fake
        return ABSTAIN_REASONS[reason] if is_between else NOT_CARRIED
    return ABSTAIN_REASONS.get(reason, "")


def across(result: Any) -> str:
    """What it means that a label stands although its interval crosses its threshold; blank where it does not."""
    return ACROSS.format(label=result.label) if result.crosses_threshold else ""


SKIP_REASONS: dict[str, str] = {
    "no_face": "No face found",
    "no_sound": "No sound",
    "no_speech": "No speech found",
    "no_picture": "No picture",
    "no_mouth": "No mouth seen well enough",
    "several_faces": "Several people may be talking",
    "not_a_video": "Only for video",
    "too_short": "Too short",
    "too_small": "Too small",
    "no_texture": "No photographic texture",
    "face_too_small": "Face too small",
    "no_manifest": "None present",
}

STAGES: dict[str, str] = {
    "": "Waiting for a free worker",
    "starting": "Starting",
    "waiting to try again": "Waiting to try again",
    "fetching": "Fetching the file",
    "decoding": "Decoding",
    "faces": "Finding faces",
    "voice": "Finding speech",
    "fusing": "Weighing the evidence",
    "stability": "Testing whether the verdict survives re-saving",
    "explaining": "Drawing explanations",
    "storing": "Saving the result",
    "done": "Saving the result",
} | {name: f"Examining: {signal.title.lower()}" for name, signal in SIGNALS.items()}

SAVE_AGAIN = {
    "image": "Open the file on your own machine. If you see the whole picture there, save it again as JPEG or PNG and "
    "send that copy; else ask for another copy.",
    "video": "Open the file on your own machine. If it plays there, save it again as MP4 and send that copy; else ask "
    "for another copy.",
    "audio": "Open the file on your own machine. If it plays there, save it again as WAV and send that copy; else ask "
    "for another copy.",
    "": "Open the file on your own machine. If it opens there, save it again as JPEG, MP4 or WAV and send that copy; "
    "else ask for another copy.",
}
ASK_ADMINISTRATOR = "This is a fault of the installation, not of your file. Tell your administrator the sentence above."
CHECK_ADDRESS = "Open the address in a private browser window. If it fails there too, download the file and send that."
FAILURE_ADVICE: dict[str, str] = {
    "decoder_crashed": "The file is damaged or built to harm. Ask for another copy, or save it again and send that.",
    "unsupported_type": "Send a picture (JPEG, PNG, WebP, HEIC), a clip (MP4, WebM, MOV, MKV, AVI) or a recording "
    "(WAV, MP3, M4A, OGG, FLAC).",
    "deadline_exceeded": "Cut out the part that matters, 10 minutes at most, and send that.",
    "file_too_large": "Send a shorter or smaller version of the file.",
    "out_of_memory": "Send a smaller version of the file, or try again when fewer analyses are running.",
    "weights_invalid": ASK_ADMINISTRATOR,
    "storage_full": "The server's disk is full. Tell your administrator, then run the analysis again.",
    "worker_crashed": "The file brought the analysis down more than once. Save it in another format and send that.",
    "platform_page": "Download the clip from the platform, or find the address of the file itself, and send that.",
    "url_is_web_page": "The address leads to a page, not to a file. Copy the address of the picture or clip itself.",
    "url_not_allowed": "Use an address that anyone on the internet can open, or download the file and send that.",
    "url_not_found": CHECK_ADDRESS,
    "url_forbidden": CHECK_ADDRESS,
    "url_unreachable": CHECK_ADDRESS,
    "url_timeout": CHECK_ADDRESS,
    "url_failed": CHECK_ADDRESS,
    "url_certificate": CHECK_ADDRESS,
    "too_many_redirects": CHECK_ADDRESS,
}
# The same file fails in the same way: another run cannot help.
SAME_AGAIN = frozenset({"media_unreadable", "decoder_crashed", "unsupported_type", "file_too_large", "mode_mismatch"})
DEFAULT_FAILURE_ADVICE = "Run it again. If it fails again, send another copy of the file or tell your administrator."

PROVENANCE_STATES: dict[str, tuple[str, str]] = {
    "valid_trusted": ("Valid, from a trusted signer", "check"),
    "valid_untrusted": ("Valid, signer not on the trust list", "info"),
    "invalid": ("Invalid: the file or its credentials were altered", "failed"),
    "absent": ("None in this file", "info"),
}
PROVENANCE_MEANS: dict[str, str] = {
    "valid_trusted": "The signature holds and the signer is on this server's trust list. It vouches for who signed and "
    "for the steps below, not for what the picture shows.",
    "valid_untrusted": "The signature holds, but anybody can make such a certificate: the name of the signer is only a "
    "claim.",
    "invalid": "Do not rely on anything that these credentials say. Programs that know nothing of them break them too, "
    "so this alone is no sign of a forgery.",
    "absent": "Absent credentials say nothing for or against the item.",
}
PROVENANCE_ACTIONS: dict[str, str] = {
    "c2pa.created": "Created",
    "c2pa.opened": "Opened an earlier file",
    "c2pa.placed": "Placed another picture in it",
    "c2pa.edited": "Edited",
    "c2pa.color_adjustments": "Changed colours",
    "c2pa.cropped": "Cropped",
    "c2pa.resized": "Resized",
    "c2pa.orientation": "Turned",
    "c2pa.filtered": "Filtered",
    "c2pa.drawing": "Drawn or painted on",
    "c2pa.converted": "Saved in another format",
    "c2pa.transcoded": "Saved in another coding",
    "c2pa.repackaged": "Packed anew, content unchanged",
    "c2pa.published": "Published",
    "c2pa.redacted": "Took claims out",
    "c2pa.removed": "Took a part out",
    "c2pa.watermarked": "Watermarked",
    "c2pa.unknown": "A step that was not named",
}
SOURCE_TYPES: dict[str, str] = {
    "digitalCapture": "taken with a digital camera or recorder",
    "computationalCapture": "taken by a camera that joins several shots",
    "negativeFilm": "scanned from a film negative",
    "positiveFilm": "scanned from a film positive",
    "print": "scanned from a print",
    "minorHumanEdits": "with small corrections by a person",
    "humanEdits": "edited by a person",
    "compositeCapture": "put together from several captures",
    "algorithmicallyEnhanced": "improved by a program",
    "dataDrivenMedia": "drawn from data",
    "digitalArt": "digital art by a person",
    "digitalCreation": "made by a person with a program",
    "virtualRecording": "recorded from a virtual scene",
    "screenCapture": "a screenshot",
    "compositeSynthetic": "put together with generated parts",
    "compositeWithTrainedAlgorithmicMedia": "put together with parts from an AI generator",
    "trainedAlgorithmicMedia": "made by an AI generator",
    "algorithmicMedia": "made by a program without training data",
}
RELATIONSHIPS: dict[str, str] = {
    "parentOf": "the file that this was made from",
    "componentOf": "a part that was placed in it",
    "inputTo": "given to the program as input",
}
PROVENANCE_PROBLEMS: dict[str, str] = {
    "claimSignature.mismatch": "The signature does not fit what was signed.",
    "assertion.dataHash.mismatch": "The content differs from what was signed.",
    "assertion.bmffHash.mismatch": "The content differs from what was signed.",
    "assertion.boxesHash.mismatch": "The content differs from what was signed.",
    "assertion.hashedURI.mismatch": "A statement differs from what was signed.",
    "assertion.missing": "A statement that was signed is missing.",
    "signingCredential.untrusted": "The signer is not on the trust list.",
    "signingCredential.invalid": "The signer's certificate is not fit for signing content.",
    "signingCredential.expired": "The signer's certificate had expired.",
    "signingCredential.revoked": "The signer's certificate was withdrawn.",
    "timeStamp.mismatch": "The time stamp does not fit the signature.",
    "timeStamp.untrusted": "The time stamp is from a service that is not on the trust list.",
    "remote_manifest_not_fetched": "The file only links to credentials elsewhere; such links are not followed.",
    "unsupported_container": "This kind of file cannot carry credentials that we read.",
}

VARIANTS: dict[str, str] = {
    "jpeg_50": "JPEG, quality 50",
    "jpeg_30": "JPEG, quality 30",
    "half_size": "Half size",
    "crop": "Cropped",
    "screenshot": "Screenshot",
    "telephone": "Telephone, 8 kHz",
    "low_bitrate": "Low bit rate",
}
SOUND_VARIANTS = ("telephone", "low_bitrate")
PICTURE_VARIANTS = tuple(name for name in VARIANTS if name not in SOUND_VARIANTS)


def action_words(action: str) -> str:
    return PROVENANCE_ACTIONS.get(action) or readable(action.removeprefix("c2pa.").replace(".", " "))


def source_words(source: str) -> str:
    return SOURCE_TYPES.get(source) or readable(source).lower()


def problem_words(problem: str) -> str:
    return PROVENANCE_PROBLEMS.get(problem) or readable(problem.replace(".", " "))


def person(track: int) -> str:
    """`0` → `Person A`."""
    return f"Person {letter(track)}"


def signal_of(branch: str) -> Signal:
    """Words for a branch; one that has none yet is at least named readably."""
    return SIGNALS.get(branch) or Signal(readable(branch), "", "")


def is_silent(score: Any, kind: str) -> bool:
    """Whether a branch's row (`BranchScore`) counts for clips and added nothing, unlike one that never counts."""
    spec = registry.BRANCHES.get(score.branch)
    scored_without_weight = score.state == "scored" and score.weight <= 0
    return scored_without_weight and kind == "video" and spec is not None and spec.counts_for("video")


def stage_words(stage: str) -> str:
    return STAGES.get(stage) or readable(stage)


def skip_words(reason: str) -> str:
    return SKIP_REASONS.get(reason) or readable(reason)


def variant_words(name: str) -> str:
    return VARIANTS.get(name) or readable(name)


def crossed_words(result: Any) -> str:
    """Return what it means that copies of an item (`InferenceResult`) score on the other side of a threshold.

    Blank when none does.
    """
    if result.score is None:
        return ""
    limits = result.threshold_real, result.threshold_fake
    crossed = [
        (variant["name"], variant["score"])
        for variant in (result.details.get("stability") or {}).get("variants") or []
        if variant.get("score") is not None and _side(variant["score"], *limits) != _side(result.score, *limits)
    ]
    if not crossed:
        return ""
    scores = ", ".join(f"{percent_beside(score, *limits)} after “{variant_words(name)}”" for name, score in crossed)
    means = "Such a copy would get no verdict."
    if result.abstain_reason == "unstable":
        means = "That is why no verdict is given."
    elif result.label == "inconclusive":
        means = "Such a copy might be judged otherwise."
    where = "Saved again or sent on, its score lies on the other side of a threshold"
    return f"It depends on the copy. {where}: {scores}. {means}"


def _side(score: float, real: float, fake: float) -> int:
    return int(score >= fake) - int(score < real)


# How far a check moved the score, by the size of its log-odds: (below, word).
PUSHES = ((0.1, "hardly"), (0.5, "slightly"), (1.5, "clearly"), (float("inf"), "strongly"))


def push_words(contribution: float) -> str:
    """`0.8` → `fake, clearly`: what a check did to the score, for people who do not count in log-odds."""
    force = next(word for below, word in PUSHES if abs(contribution) < below)
    return f"{'fake' if contribution > 0 else 'real'}, {force}"


def failure_advice(code: str, kind: str = "") -> str:
    """What to do after a failure, for the kind of media where that is known."""
    if code == "media_unreadable":
        return SAVE_AGAIN.get(kind, SAVE_AGAIN[""])
    return FAILURE_ADVICE.get(code) or DEFAULT_FAILURE_ADVICE


def readable(code: str) -> str:
    """`too_short` → `Too short`."""
    return code.replace("_", " ").strip().capitalize()
