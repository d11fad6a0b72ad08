"""What the file says about its own origin: C2PA Content Credentials, read offline in a child process.

What it does to the score, and why:
- absent: nothing. Most genuine files carry none.
- valid, signed by whoever: nothing, unless it declares that the content was generated. A camera's signature shows who
  signed, not what stood before the lens, so it never lowers the score.
- valid and declares AI generation: raises to DECLARED_TRUSTED, or DECLARED_UNTRUSTED when the signer is unknown.
- invalid because content or signature were altered after signing: raises a little (ALTERED): innocent tools break
  seals too.
- invalid for another reason (expired, unreadable, identity not checkable offline): shown, no effect.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from detection.engine import sandbox
from detection.engine.errors import EngineError
from detection.engine.fusion import logit
from detection.engine.runtime import Net
from detection.engine.types import Evidence, Scene

DECLARED_TRUSTED = 0.99
DECLARED_UNTRUSTED = 0.90
ALTERED = 0.25
MARKS = (b"c2pa", b"dcterms:provenance")
READER = "detection.engine.content_credentials:read"
LIMITS = sandbox.ChildLimits(memory_bytes=1 << 30, cpu_s=10, wall_s=10.0)


def examine(scene: Scene, net: Net | None = None) -> Evidence:
    """Return the state of the file's Content Credentials; scored only when they speak for a fake."""
    if scene.path is None:
        return _evidence({"state": "absent", "problems": []}, "A stream carries no Content Credentials to check.")
    path = Path(scene.path)
    if not might_have_manifest(path):
        return _evidence({"state": "absent", "problems": []}, ABSENT)
    try:
        answer = sandbox.run(READER, path, {"trust_pem": trust_list()}, limits=LIMITS)
    except EngineError as error:
        return Evidence(
            "provenance", "provenance", "failed",
            "The Content Credentials of this file could not be read safely, so they were left aside.",
            reason=error.code, data={"state": "invalid", "problems": [error.code]},
        )  # fmt: skip
    return _evidence(answer.value, sentence(answer.value))


def might_have_manifest(path: Path) -> bool:
    """Whether the bytes of a C2PA box or of a link to one occur at all; most files need no child process then."""
    if path.stat().st_size == 0:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(content.find(mark) >= 0 for mark in MARKS)


def trust_list() -> str:
    """Return the PEM bundle of trusted signers' roots that C2PA_TRUST_LIST points to, or nothing."""
    configured = os.environ.get("C2PA_TRUST_LIST", "")
    return Path(configured).read_text() if configured else ""


ABSENT = "The file carries no Content Credentials. Most files carry none, so this says nothing either way."


def sentence(facts: Mapping[str, Any]) -> str:
    """Return the facts in plain words."""
    signer = facts.get("issuer") or "an unnamed signer"
    generator = f" with {facts['generator']}" if facts.get("generator") else ""
    state = facts["state"]
    if state == "absent":
        if "remote_manifest_not_fetched" in facts["problems"]:
            return "The file only links to Content Credentials elsewhere; we do not follow such links."
        return ABSENT
    if state == "invalid":
        if facts.get("altered"):
            return f"The file was changed after {signer} signed it: its Content Credentials no longer fit."
        return "The file's Content Credentials do not hold, but not because the content was seen to be changed."
    known = "whom we trust" if state == "valid_trusted" else "whom we cannot vouch for"
    if facts.get("generated"):
        return f"The file itself declares that it was made with AI{generator}, signed by {signer}, {known}."
    held = f"The file's Content Credentials hold: signed by {signer}, {known}{generator}."
    return f"{held} They show who signed, not what is true."


def score_of(facts: Mapping[str, Any]) -> float | None:
    """Return p_fake where the manifest itself speaks for a fake, else None."""
    if facts["state"] == "invalid":
        return ALTERED if facts.get("altered") else None
    if facts.get("generated"):
        return DECLARED_TRUSTED if facts["state"] == "valid_trusted" else DECLARED_UNTRUSTED
    return None


def _evidence(facts: Mapping[str, Any], words: str) -> Evidence:
    score = score_of(facts)
    state_known = {"absent": "no_manifest", "invalid": "invalid_manifest"}
    data = {"issuer": None, "generator": None, "signed_at": None, "actions": [], **facts}
    if score is None:
        reason = state_known.get(str(facts["state"]), "nothing_declared")
        return Evidence("provenance", "provenance", "skipped", words, reason=reason, data=data)
    return Evidence(
        "provenance",
        "provenance",
        "scored",
        words,
        score=score,
        logit=logit(score),
        confidence=1.0,
        quality=1.0,
        data=data,
    )
