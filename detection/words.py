"""Plain words for labels, branches, stages and refusals: what the pages and the report say to people."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Signal:
    """How a branch is explained to somebody who has never heard of it."""

    title: str
    what: str
    fails: str


SIGNALS: dict[str, Signal] = {
    "spatial": Signal(
        "Face picture",
        "Looks at each face for traces that swapping or blending leaves: seams, mismatched skin, smeared detail.",
        "Weak on small, blurred or heavily compressed faces, and on methods that replace no part of the face.",
    ),
    "temporal": Signal(
        "Movement over time",
        "Watches one face over many frames for flicker, warping and movement that a real head does not make.",
        "Needs about half a second of steady face. Cuts, strong shake and very low frame rates confuse it.",
    ),
    "frequency": Signal(
        "Fine pixel pattern",
        "Searches the finest detail for the regular patterns that generators and upscalers leave behind.",
        "Heavy compression, screenshots and resizing wipe the pattern out, so silence here proves nothing.",
    ),
    "synthesis": Signal(
        "Generated picture",
        "Judges the whole picture, with or without a face, for signs that a generator drew all of it.",
        "Newer generators may look unfamiliar to it; strong filters and artwork can look generated.",
    ),
    "audio": Signal(
        "Voice",
        "Listens to the speech for traces of text-to-speech and voice cloning.",
        "Telephone codecs, loud music, noise suppression and very short speech make it unsure.",
    ),
    "av_sync": Signal(
        "Lips and speech",
        "Compares mouth movement with the sound for speech that the lips did not make.",
        "Needs a visible mouth and clear speech; dubbed films are out of step without being fake.",
    ),
    "physiology": Signal(
        "Blink, pulse and posture",
        "Measures blinking, head movement, face geometry and the faint pulse that a real face shows.",
        "Short clips, make-up, low light and compression hide these signs. It supports the others more than it "
        "decides.",
    ),
    "provenance": Signal(
        "Content Credentials",
        "Reads the signed history (C2PA) that some cameras and editors put into a file.",
        "Most genuine files carry none. Missing credentials never count as a sign of a fake.",
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


def next_step(label: str, kind: str) -> str:
    """Return what to do now, for the kind of media: a still has no longer copy."""
    return NEXT_STEPS[label].format(copy=BETTER_COPIES.get(kind, "sharper copy"))


ABSTAIN_REASONS: dict[str, str] = {
    "uncertain_band": "The score lies between the two thresholds.",
    "cannot_tell": "The checks that apply did no better than chance on material they had not seen.",
    "face_not_checked": "Nothing was found, but no check that counts has looked at the face.",
    "cannot_vouch": "Nothing was found, but these checks miss too many fakes to call an item of this kind genuine.",
    "unstable": "The result changes when the item is saved again, so it cannot be relied on.",
    "out_of_distribution": "The item is unlike anything that the system was measured on.",
    "too_little_evidence": "Too little could be examined to decide.",
}

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

SAVE_AGAIN = (
    "Open the file on your own machine. If it plays there, save it again as JPEG, MP4 or WAV and send that copy."
)
ASK_ADMINISTRATOR = "This is a fault of the installation, not of your file. Tell your administrator the sentence above."
CHECK_ADDRESS = "Open the address in a private browser window. If it fails there too, download the file and send that."
FAILURE_ADVICE: dict[str, str] = {
    "media_unreadable": SAVE_AGAIN,
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
DEFAULT_FAILURE_ADVICE = "Run it again. If it fails again, send another copy of the file or tell your administrator."

PROVENANCE_STATES: dict[str, tuple[str, str]] = {
    "valid_trusted": ("Valid, from a trusted signer", "check"),
    "valid_untrusted": ("Valid, signer not on the trust list", "info"),
    "invalid": ("Invalid: the file or its credentials were altered", "failed"),
    "absent": ("None in this file", "info"),
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


def signal_of(branch: str) -> Signal:
    """Words for a branch; one that has none yet is at least named readably."""
    return SIGNALS.get(branch) or Signal(readable(branch), "", "")


def stage_words(stage: str) -> str:
    return STAGES.get(stage) or readable(stage)


def skip_words(reason: str) -> str:
    return SKIP_REASONS.get(reason) or readable(reason)


def variant_words(name: str) -> str:
    return VARIANTS.get(name) or readable(name)


def failure_advice(code: str) -> str:
    return FAILURE_ADVICE.get(code) or DEFAULT_FAILURE_ADVICE


def readable(code: str) -> str:
    """`too_short` → `Too short`."""
    return code.replace("_", " ").strip().capitalize()
