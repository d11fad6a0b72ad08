"""Provenance: Content Credentials signed here with certificates of our own, read back in the sandbox."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import c2pa
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from detection.engine import content_credentials
from detection.engine.branches import provenance
from detection.engine.types import Decoded, Evidence, Scene
from tests.engine import scenes

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/"


def name(common: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, common), x509.NameAttribute(NameOID.COMMON_NAME, common)]
    )


def certificate(subject: x509.Name, issuer: x509.Name, public: Any, signer: Any, *, is_root: bool) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(not is_root, False, False, False, False, is_root, is_root, False, False), critical=True
        )
    )
    if not is_root:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
    return builder.sign(signer, hashes.SHA256())


def pem(cert: x509.Certificate) -> bytes:
    return cert.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def authority() -> tuple[c2pa.C2paSignerInfo, bytes]:
    """A signer below a root of its own: (signer, root as PEM)."""
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = certificate(name("Test Root"), name("Test Root"), root_key.public_key(), root_key, is_root=True)
    leaf = certificate(name("Test Newsroom"), name("Test Root"), key.public_key(), root_key, is_root=False)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return c2pa.C2paSignerInfo(b"es256", pem(leaf) + pem(root), private, None), pem(root)


def signed(folder: Path, signer: c2pa.C2paSignerInfo, source: str) -> Path:
    manifest = {
        "claim_generator_info": [{"name": "Test Studio", "version": "1"}],
        "assertions": [
            {
                "label": "c2pa.actions",
                "data": {"actions": [{"action": "c2pa.created", "digitalSourceType": SOURCE_TYPE + source}]},
            }
        ],
    }
    out = io.BytesIO()
    with scenes.ASTRONAUT.open("rb") as original:
        c2pa.Builder(json.dumps(manifest)).sign(c2pa.Signer.from_info(signer), "image/jpeg", original, out)
    path = folder / f"{source}.jpg"
    path.write_bytes(out.getvalue())
    return path


def examine(path: Path) -> Evidence:
    return provenance.examine(Scene(Decoded(scenes.info("image")), str(path)))


def test_a_plain_file_is_absent_and_scores_nothing() -> None:
    evidence = examine(scenes.ASTRONAUT)
    assert (evidence.data["state"], evidence.state, evidence.score) == ("absent", "skipped", None)


def test_a_stranger_signing_a_photo_changes_nothing(tmp_path: Path, authority: Any) -> None:
    evidence = examine(signed(tmp_path, authority[0], "digitalCapture"))
    assert evidence.data["state"] == "valid_untrusted"
    assert evidence.data["issuer"] == "Test Newsroom"
    assert evidence.data["generator"] == "Test Studio 1"
    assert evidence.data["actions"] == [
        {"action": "c2pa.created", "source": "digitalCapture", "of": "this file"}
    ]  # fmt: skip
    assert evidence.score is None


def test_a_known_signer_is_trusted(tmp_path: Path, authority: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    signer, root = authority
    (tmp_path / "trust.pem").write_bytes(root)
    monkeypatch.setenv("C2PA_TRUST_LIST", str(tmp_path / "trust.pem"))
    evidence = examine(signed(tmp_path, signer, "digitalCapture"))
    assert evidence.data["state"] == "valid_trusted"
    assert evidence.score is None


def test_declared_generation_raises_the_score(tmp_path: Path, authority: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    signer, root = authority
    path = signed(tmp_path, signer, "trainedAlgorithmicMedia")
    assert examine(path).score == provenance.DECLARED_UNTRUSTED
    (tmp_path / "trust.pem").write_bytes(root)
    monkeypatch.setenv("C2PA_TRUST_LIST", str(tmp_path / "trust.pem"))
    trusted = examine(path)
    assert trusted.score == provenance.DECLARED_TRUSTED
    assert "made with AI" in trusted.sentence


def test_an_altered_file_is_invalid_and_raises_the_score_a_little(tmp_path: Path, authority: Any) -> None:
    path = signed(tmp_path, authority[0], "digitalCapture")
    content = bytearray(path.read_bytes())
    content[-2000] ^= 0xFF  # inside the picture data, behind the manifest
    path.write_bytes(content)
    evidence = examine(path)
    assert evidence.data["state"] == "invalid"
    assert evidence.score == provenance.ALTERED
    assert "changed after Test Newsroom signed it" in evidence.sentence


def test_garbage_that_looks_like_a_manifest_is_survived(tmp_path: Path) -> None:
    path = tmp_path / "garbage.jpg"
    path.write_bytes(scenes.ASTRONAUT.read_bytes() + b"jumb c2pa" * 50)
    assert examine(path).score is None


def test_a_remote_manifest_is_not_fetched() -> None:
    facts = {"state": "absent", "problems": ["remote_manifest_not_fetched"]}
    assert "do not follow" in provenance.sentence(facts)


def test_an_unreadable_manifest_does_not_raise_the_score() -> None:
    assert provenance.score_of({"state": "invalid", "altered": False, "problems": ["Other: unknown algorithm"]}) is None


def test_ingredients_are_told_with_what_they_are_to_the_file() -> None:
    parts = [
        {"title": "harbour.jpg", "format": "image/jpeg", "relationship": "parentOf", "active_manifest": "urn:b"},
        {"title": "gull.png", "format": "image/png", "relationship": "componentOf"},
    ]
    store = {"active_manifest": "urn:a", "manifests": {"urn:a": {"ingredients": parts}, "urn:b": {}}}
    found = content_credentials.facts_of(store, "Valid", {})["ingredients"]
    assert [(part["title"], part["relationship"], part["is_signed"]) for part in found] == [
        ("harbour.jpg", "parentOf", True),
        ("gull.png", "componentOf", False),
    ]
