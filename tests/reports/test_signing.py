"""Keys: made once, kept private, exchanged without making old reports worthless."""

from __future__ import annotations

import stat
from io import StringIO
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from django.core.management import CommandError, call_command

from deepfake import signing
from reports import seals

DOCUMENT = {"schema": "deepfake-report/2", "report": {"id": "rpt_" + "0a" * 16}, "score": 0.91}


def said(*arguments: str) -> str:
    out = StringIO()
    call_command("report_keys", *arguments, stdout=out, stderr=StringIO())
    return out.getvalue()


def test_the_key_is_made_once_and_nobody_else_may_read_it(data_dir: Path) -> None:
    first, second = signing.signer(), signing.signer()
    assert first.key_id == second.key_id
    path = data_dir / "keys" / "report_signing.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert set(signing.keyring()) == {first.key_id}
    assert signing.keyring()[first.key_id].signs_now


def test_reading_the_keys_makes_none(data_dir: Path) -> None:
    assert signing.keyring() == {}
    assert not (data_dir / "keys" / "report_signing.pem").exists()


def test_a_rotation_leaves_old_reports_valid() -> None:
    old_file = seals.seal_json(DOCUMENT, signing.signer())
    old, new = signing.rotate()
    assert old != new == signing.signer().key_id
    keys = signing.keyring()
    assert {key.key_id: key.signs_now for key in keys.values()} == {old: False, new: True}
    assert seals.check(old_file, keys).key.key_id == old
    assert seals.check(seals.seal_json(DOCUMENT, signing.signer()), keys).key.key_id == new


def test_a_public_key_under_the_name_of_another_is_not_believed() -> None:
    signer = signing.signer()
    foreign = ed25519.Ed25519PrivateKey.generate().public_key()
    pem = foreign.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (signing.public_folder() / f"{'ab' * 16}.pem").write_bytes(pem)
    assert set(signing.keyring()) == {signer.key_id}


def test_a_key_of_ones_own(settings, tmp_path: Path) -> None:
    private = ed25519.Ed25519PrivateKey.generate()
    path = tmp_path / "mounted" / "key.pem"
    path.parent.mkdir()
    path.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    path.parent.chmod(0o500)  # a mount that cannot be written to
    settings.REPORT_SIGNING_KEY_FILE = str(path)
    signer = signing.signer()
    assert signing.keyring()[signer.key_id].verifies(b"words", private.sign(b"words"))
    path.parent.chmod(0o700)


@pytest.mark.parametrize("content", [b"no key", b""])
def test_an_unusable_key_is_never_replaced(data_dir: Path, content: bytes) -> None:
    path = data_dir / "keys" / "report_signing.pem"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    with pytest.raises(signing.SigningKeyUnusable):
        signing.signer()
    assert path.read_bytes() == content


def test_another_kind_of_key_is_refused(data_dir: Path) -> None:
    path = data_dir / "keys" / "report_signing.pem"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    with pytest.raises(signing.SigningKeyUnusable):
        signing.signer()


@pytest.mark.django_db
def test_the_command_lists_hands_out_and_exchanges(tmp_path: Path) -> None:
    first = signing.signer().key_id
    assert f"{first}  since" in said("--list")
    assert said("--export").startswith("-----BEGIN PUBLIC KEY-----")
    assert said("--rotate").count(first) == 1
    listed = said()
    assert "verifies only" in listed
    assert "signs now" in listed
    said("--export", first, "--out", str(tmp_path / "old.pem"))
    assert signing.public_key_from(tmp_path / "old.pem").key_id == first
    with pytest.raises(CommandError, match="There is no key"):
        said("--export", "ff" * 16)
