"""Every changed, missing or added byte of a signed report is found."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pypdf import PdfReader

from deepfake import signing
from reports import canonical, seals, services
from reports.services import Issued


def reason(data: bytes) -> str:
    with pytest.raises(seals.SealBroken) as caught:
        seals.check(data, signing.keyring())
    assert caught.value.message
    return caught.value.code


def flipped(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 0x01
    return bytes(changed)


# JSON -----------------------------------------------------------------------------------------------------------------


def test_an_intact_json_report(issued_json: Issued) -> None:
    checked = seals.check(issued_json.json, signing.keyring())
    assert (checked.format, checked.report_id) == ("json", issued_json.issue.public_id)
    assert checked.report is not None
    assert checked.report["verdict"]["label"] == "fake"


def test_every_changed_byte_of_a_json_report_is_found(issued_json: Issued) -> None:
    data = issued_json.json
    places = [*range(0, len(data), 97), *range(len(data) - 260, len(data))]  # signature and end byte by byte
    for at in places:
        assert reason(flipped(data, at)), at


@pytest.mark.parametrize("cut", [1, 2, 50, 1000])
def test_a_json_report_cut_off(issued_json: Issued, cut: int) -> None:
    assert reason(issued_json.json[:-cut]) == "damaged"


@pytest.mark.parametrize("added", [b" ", b"\n", b"{}", b"\x00"])
def test_bytes_added_to_a_json_report(issued_json: Issued, added: bytes) -> None:
    assert reason(issued_json.json + added) in ("damaged", "not_exact")
    assert reason(added + issued_json.json)


def test_a_json_report_written_anew_says_so(issued_json: Issued) -> None:
    assert reason(json.dumps(json.loads(issued_json.json), indent=2).encode()) == "not_exact"


def test_a_value_changed_in_a_json_report(issued_json: Issued) -> None:
    document = json.loads(issued_json.json)
    document["verdict"]["label"] = "real"
    assert reason(canonical.dumps(document)) == "altered"


def test_a_json_report_without_signature(issued_json: Issued) -> None:
    document = json.loads(issued_json.json)
    del document["signature"]
    assert reason(canonical.dumps(document)) == "unsigned"


def test_another_algorithm_is_not_taken(issued_json: Issued) -> None:
    document = json.loads(issued_json.json)
    document["signature"]["algorithm"] = "none"
    assert reason(canonical.dumps(document)) == "altered"


# PDF ------------------------------------------------------------------------------------------------------------------


def test_an_intact_pdf_report(issued_pdf: Issued) -> None:
    checked = seals.check(issued_pdf.pdf, signing.keyring())
    assert (checked.format, checked.report_id) == ("pdf", issued_pdf.issue.public_id)
    assert checked.report is not None
    assert checked.report["verdict"]["label"] == "fake"


def test_the_sealed_pdf_is_still_a_pdf_and_carries_its_json(issued_pdf: Issued) -> None:
    reader = PdfReader(io.BytesIO(issued_pdf.pdf), strict=True)
    assert len(reader.pages) >= 3
    [attached] = reader.attachments["report.json"]
    assert attached == issued_pdf.json
    assert seals.check(attached, signing.keyring()).report_id == issued_pdf.issue.public_id


def test_every_changed_byte_of_a_pdf_report_is_found(issued_pdf: Issued) -> None:
    data = issued_pdf.pdf
    tail = data.rindex(seals.PDF_MARK)
    places = {
        "header": range(0, 40),
        "body": range(40, tail, 4001),
        "attachment": [data.index(b"EmbeddedFile") + offset for offset in range(0, 400, 7)],
        "trailer and signature": range(tail - 60, len(data)),
    }
    for name, offsets in places.items():
        for at in offsets:
            assert reason(flipped(data, at)), (name, at)


@pytest.mark.parametrize("cut", [1, 6, 30, 100, 1000, 20_000])
def test_a_pdf_report_cut_off(issued_pdf: Issued, cut: int) -> None:
    assert reason(issued_pdf.pdf[:-cut]) in ("truncated", "altered")


@pytest.mark.parametrize("added", [b"\n", b" ", b"%%EOF\n", b"\n1 0 obj\n<<>>\nendobj\nstartxref\n0\n%%EOF\n"])
def test_bytes_appended_to_a_pdf_report(issued_pdf: Issued, added: bytes) -> None:
    assert reason(issued_pdf.pdf + added) == "appended"


def test_a_second_trailer_does_not_hide_what_lies_between(issued_pdf: Issued) -> None:
    trailer = issued_pdf.pdf[issued_pdf.pdf.rindex(seals.PDF_MARK) :]
    assert reason(issued_pdf.pdf + b"\n% more\n" + trailer) == "altered"


def test_bytes_put_in_front_of_a_pdf_report(issued_pdf: Issued) -> None:
    assert reason(b"\n" + issued_pdf.pdf) == "altered"


def test_the_signature_of_another_report(issued_pdf: Issued, finished, alice) -> None:
    other = services.issue(job=finished, wanted="pdf", actor=alice)
    value = re.compile(rb"%Value (.{88})\n")
    foreign = value.findall(other.pdf)[-1]
    assert reason(value.sub(lambda _: b"%Value " + foreign + b"\n", issued_pdf.pdf)) == "altered"


def test_the_guides_own_lines_verify_a_pdf(issued_pdf: Issued, tmp_path: Path) -> None:
    """docs/reports.md shows how to do it with nothing of ours; what it shows works, and finds a changed byte."""
    guide = (Path(__file__).resolve().parents[2] / "docs" / "reports.md").read_text()
    [script] = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    key = tmp_path / "key.pem"
    key.write_text(signing.keyring()[issued_pdf.issue.key_id].pem)
    for name, data in {"good.pdf": issued_pdf.pdf, "bad.pdf": flipped(issued_pdf.pdf, 700)}.items():
        (tmp_path / name).write_bytes(data)
        command = [sys.executable, "-c", script, str(tmp_path / name), str(key)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (done.returncode == 0) == (name == "good.pdf"), done.stderr


def test_openssl_verifies_a_json_report(issued_json: Issued, tmp_path: Path) -> None:
    """Another implementation comes to the same: its Ed25519 over the canonical bytes without the value."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    document = json.loads(issued_json.json)
    value = base64.b64decode(document["signature"].pop("value"))
    message = issued_json.json.replace(b',"value":"' + base64.b64encode(value) + b'"', b"")
    for name, data in {"key.pem": b"", "message": message, "signature": value}.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "key.pem").write_text(signing.keyring()[issued_json.issue.key_id].pem)
    command = [
        "openssl",
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        "key.pem",
        "-rawin",
        "-in",
        "message",
        "-sigfile",
        "signature",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr + done.stdout


# Keys and other files -------------------------------------------------------------------------------------------------


def test_a_key_that_is_not_known(issued_pdf: Issued) -> None:
    for data in (issued_pdf.pdf, issued_pdf.json):
        with pytest.raises(seals.SealBroken) as caught:
            seals.check(data, {})
        assert caught.value.code == "unknown_key"
        assert issued_pdf.issue.key_id in caught.value.message


@pytest.mark.parametrize("data", [b"", b"hello", b"%PDF-1.7\n%%EOF\n", b"{}", b"[]", b"\x89PNG\r\n"])
def test_what_is_no_report(data: bytes) -> None:
    assert reason(data) in ("empty", "not_a_report", "unsigned", "damaged")
