"""Signed reports: how a JSON and a PDF file carry their signature, and how every change to either is found.

JSON: the file is the canonical form (reports/canonical.py) of the report with a member `signature`. Signed is the
canonical form of the same object with `signature.value` left out; so key id and algorithm are covered. A file whose
bytes are not exactly the canonical ones is refused, white space included.

PDF: a trailer of fixed shape ends the file, comments and a repeated `startxref`, which readers of PDF take for what it
is. Signed are all bytes of the file with the 88 characters of the value taken out. A file that does not end with the
trailer is refused, so nothing can be appended.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from dataclasses import dataclass
from typing import Any

from deepfake.signing import ALGORITHM, Keyring, PublicKey, Signer
from reports import canonical

REPORT_SCHEMAS = "deepfake-report/"
PDF_MARK = b"%Deepfake-Report-Signature"
_PDF_TRAILER = re.compile(
    rb"%Deepfake-Report-Signature 1 Ed25519\n%Report (rpt_[0-9a-f]{32})\n%Key ([0-9a-f]{32})\n"
    rb"%Value ([A-Za-z0-9+/]{86}==)\nstartxref\n(\d{1,12})\n%%EOF\n\Z"
)
_TRAILER_BYTES = 512  # longer than any trailer
_EMBEDDED = re.compile(rb"/EmbeddedFile\b.{0,300}?\bstream\r?\n", re.DOTALL)
MAX_ATTACHED_BYTES = 20_000_000
_STARTXREF = re.compile(rb"startxref\s+(\d+)\s+%%EOF\s*\Z")


class SealBroken(Exception):
    """A file is not a report that was signed with a known key; the sentence says what is wrong."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Checked:
    """An intact report: which one, in what form, and by which key."""

    format: str  # "json" | "pdf"
    report_id: str
    key: PublicKey
    report: dict[str, Any] | None  # what it says; of a PDF what its attachment says, None where it carries none


# Sealing --------------------------------------------------------------------------------------------------------------


def seal_json(document: dict[str, Any], signer: Signer) -> bytes:
    """Return the signed file of a document that has no member `signature` yet."""
    assert "signature" not in document
    signature = {"algorithm": ALGORITHM, "key_id": signer.key_id}
    message = canonical.dumps(document | {"signature": signature})
    value = base64.b64encode(signer.sign(message)).decode()
    return canonical.dumps(document | {"signature": signature | {"value": value}})


def seal_pdf(pdf: bytes, report_id: str, signer: Signer) -> bytes:
    """Return the PDF with the trailer that holds its signature."""
    where = _STARTXREF.search(pdf, max(0, len(pdf) - _TRAILER_BYTES))
    if where is None:
        raise ValueError("The PDF does not end as a PDF does.")
    before = pdf.rstrip(b"\r\n") + (
        b"\n%s 1 Ed25519\n%%Report %s\n%%Key %s\n%%Value " % (PDF_MARK, report_id.encode(), signer.key_id.encode())
    )
    after = b"\nstartxref\n%s\n%%%%EOF\n" % where.group(1)
    return before + base64.b64encode(signer.sign(before + after)) + after


# Checking -------------------------------------------------------------------------------------------------------------


def check(data: bytes, keys: Keyring) -> Checked:
    """Return what an intact report is. Raises SealBroken."""
    if not data:
        raise SealBroken("empty", "The file is empty.")
    if data.lstrip()[:1] == b"{":
        return check_json(data, keys)
    if data.startswith(b"%PDF-"):
        return check_pdf(data, keys)
    if PDF_MARK in data[-_TRAILER_BYTES:] or b"%PDF-" in data[:1024]:
        raise SealBroken("altered", "The beginning of this PDF was altered.")
    raise SealBroken("not_a_report", "This is neither a JSON report nor a PDF report, or its beginning was altered.")


def check_json(data: bytes, keys: Keyring) -> Checked:
    document, key = open_json(data, keys)
    report_id = _report_id(document)
    return Checked("json", report_id, key, document)


def open_json(data: bytes, keys: Keyring) -> tuple[dict[str, Any], PublicKey]:
    """Return a signed document, a report or a manifest, and the key that signed it. Raises SealBroken."""
    try:
        document = canonical.loads(data)
    except canonical.NotCanonical as reason:
        raise SealBroken("damaged", f"The file was cut off, extended or altered: {reason}.") from None
    signature = document.get("signature") if isinstance(document, dict) else None
    if not isinstance(signature, dict) or set(signature) != {"algorithm", "key_id", "value"}:
        raise SealBroken("unsigned", "The file carries no signature of a report.")
    try:
        is_exact = canonical.dumps(document) == data
        message = canonical.dumps(document | {"signature": {name: signature[name] for name in ("algorithm", "key_id")}})
    except canonical.NotCanonical as reason:
        raise SealBroken("altered", f"The file was altered: {reason}.") from None
    key = _known(signature["key_id"], signature["algorithm"], keys)
    _verify(key, message, _decoded(signature["value"]))
    if not is_exact:
        raise SealBroken(
            "not_exact",
            "The content is intact, but the file was written anew: its bytes are not the signed ones (white space or "
            "order differ). Ask for the file as it was issued.",
        )
    return document, key


def check_pdf(data: bytes, keys: Keyring) -> Checked:
    found = _PDF_TRAILER.search(data, max(0, len(data) - _TRAILER_BYTES))
    if found is None:
        raise SealBroken(*_why_no_trailer(data))
    key = _known(found.group(2).decode(), ALGORITHM, keys)
    message = data[: found.start(3)] + data[found.end(3) :]
    _verify(key, message, _decoded(found.group(3).decode()))
    report_id = found.group(1).decode()
    return Checked("pdf", report_id, key, _attached_report(data, report_id, keys))


def _attached_report(pdf: bytes, report_id: str, keys: Keyring) -> dict[str, Any] | None:
    """The signed JSON inside a PDF whose own signature holds; it has a signature too, so nothing here is believed."""
    for start in (match.end() for match in _EMBEDDED.finditer(pdf)):
        try:
            checked = check_json(zlib.decompressobj().decompress(pdf[start:], MAX_ATTACHED_BYTES), keys)
        except (zlib.error, SealBroken):
            continue
        if checked.report_id == report_id:
            return checked.report
    return None


def _why_no_trailer(data: bytes) -> tuple[str, str]:
    at = data.rfind(PDF_MARK)
    if at < 0:
        if data.rstrip().endswith(b"%%EOF"):
            return "unsigned", "The PDF carries no signature: it is no report of this product, or its end was altered."
        return "truncated", "The PDF is cut off: its end, which holds the signature, is missing or was altered."
    rest = data[at:]
    ended = re.search(rb"%%EOF\n", rest)
    if ended is not None and ended.end() < len(rest):
        return "appended", f"{len(rest) - ended.end()} bytes were added after the signature of this PDF."
    if ended is None:
        return "truncated", "The PDF is cut off, or altered, within its signature."
    return "altered", "The signature at the end of this PDF was altered."


def _known(key_id: Any, algorithm: Any, keys: Keyring) -> PublicKey:
    if algorithm != ALGORITHM:
        raise SealBroken("altered", "The signature names an algorithm that reports are never signed with.")
    key = keys.get(key_id) if isinstance(key_id, str) else None
    if key is None:
        raise SealBroken(
            "unknown_key",
            f"The file is signed with the key {key_id}, which is not among the {len(keys)} known here. It comes from "
            "another installation, or is no genuine report.",
        )
    return key


def _decoded(value: Any) -> bytes:
    """The signature's 64 bytes; text that is another spelling of the same bytes is refused."""
    try:
        raw = base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 64 or base64.b64encode(raw).decode() != value:
        raise SealBroken("altered", "The signature was altered: it is not 64 bytes in Base64.")
    return raw


def _verify(key: PublicKey, message: bytes, signature: bytes) -> None:
    if not key.verifies(message, signature):
        raise SealBroken(
            "altered",
            "The signature does not fit: at least one byte of the file was changed after it was signed.",
        )


def _report_id(document: dict[str, Any]) -> str:
    """The id of a report; a bundle's manifest is signed too, but it is none."""
    issue = document.get("report")
    report_id = issue.get("id") if isinstance(issue, dict) else None
    if not str(document.get("schema")).startswith(REPORT_SCHEMAS) or not isinstance(report_id, str):
        raise SealBroken("not_a_report", "The file is intact and signed, but it is no report.")
    return report_id
