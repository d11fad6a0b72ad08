"""The Ed25519 key that reports and audit checkpoints are signed with, and the public keys that are vouched for.

The private key is made once, in DATA_DIR/keys/report_signing.pem or where REPORT_SIGNING_KEY_FILE says. Its public half
is kept in DATA_DIR/keys/report_public_keys/<key id>.pem (or in REPORT_PUBLIC_KEYS_DIR) and stays there when the private
key is exchanged: a report that was signed with an earlier key stays valid. A key id is the first 32 hex digits of the
SHA-256 of the 32 public bytes.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.conf import settings

from deepfake.errors import DomainError
from deepfake.keys import read_or_create

ALGORITHM = "Ed25519"
KEY_ID_DIGITS = 32


class SigningKeyUnusable(DomainError):
    """The signing key cannot be read, or is no Ed25519 key."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "signing_key_unusable", status=500)


@dataclass(frozen=True, eq=False)
class Signer:
    key_id: str
    _private: Ed25519PrivateKey

    def sign(self, message: bytes) -> bytes:
        """Return the 64 bytes of the signature."""
        return self._private.sign(message)


@dataclass(frozen=True)
class PublicKey:
    key_id: str
    pem: str
    since: datetime  # when its file was written here
    signs_now: bool = False

    def verifies(self, message: bytes, signature: bytes) -> bool:
        loaded = serialization.load_pem_public_key(self.pem.encode())
        assert isinstance(loaded, Ed25519PublicKey)
        try:
            loaded.verify(signature, message)
        except InvalidSignature:
            return False
        return True


Keyring = Mapping[str, PublicKey]


def key_file() -> Path:
    return Path(settings.REPORT_SIGNING_KEY_FILE or settings.DATA_DIR / "keys" / "report_signing.pem")


def public_folder() -> Path:
    # Not beside the private key: that may lie on a mount that cannot be written to.
    return Path(settings.REPORT_PUBLIC_KEYS_DIR or settings.DATA_DIR / "keys" / "report_public_keys")


def signer() -> Signer:
    """Return the key that signs now, after making it when there is none. Read each time: a rotation holds at once."""
    private = _private_from(read_or_create(key_file(), _new_private_pem))
    key_id = _publish(private.public_key())
    return Signer(key_id, private)


def keyring() -> dict[str, PublicKey]:
    """Return every public key that this installation vouches for, by key id; makes nothing."""
    current = _current_id()
    found = {}
    for path in sorted(public_folder().glob("*.pem")):
        key = _read_public(path, path.read_bytes(), current)
        if key.key_id == path.stem:  # a file under another name is not what it says
            found[key.key_id] = key
    return found


def public_key_from(path: Path) -> PublicKey:
    """Return the public key of a PEM file that somebody brought. Raises SigningKeyUnusable."""
    try:
        return _read_public(path, path.read_bytes(), "")
    except OSError as error:
        raise SigningKeyUnusable(f"The public key {path} cannot be read: {error.strerror}.") from None


def rotate() -> tuple[str, str]:
    """Exchange the signing key; return the old key id ("" when there was none) and the new one.

    The new public key is in its place before the new private key can sign anything.
    """
    old = signer().key_id if key_file().exists() else ""
    pem = _new_private_pem()
    new = _publish(_private_from(pem).public_key())
    _write_whole(key_file(), pem)
    return old, new


# Reading and writing --------------------------------------------------------------------------------------------------


def _new_private_pem() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _private_from(pem: bytes) -> Ed25519PrivateKey:
    try:
        private = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        private = None
    if not isinstance(private, Ed25519PrivateKey):
        raise SigningKeyUnusable(
            f"The report signing key {key_file()} is no unencrypted Ed25519 key in PEM (PKCS#8). Restore it."
        )
    return private


def _current_id() -> str:
    try:
        return _id_of(_private_from(key_file().read_bytes()).public_key())
    except FileNotFoundError:
        return ""


def _publish(public: Ed25519PublicKey) -> str:
    key_id = _id_of(public)
    path = public_folder() / f"{key_id}.pem"
    if not path.exists():
        pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        read_or_create(path, lambda: pem)
    return key_id


def _id_of(public: Ed25519PublicKey) -> str:
    return hashlib.sha256(public.public_bytes_raw()).hexdigest()[:KEY_ID_DIGITS]


def _read_public(path: Path, pem: bytes, current: str) -> PublicKey:
    try:
        public = serialization.load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        public = None
    if not isinstance(public, Ed25519PublicKey):
        raise SigningKeyUnusable(f"{path} holds no Ed25519 public key in PEM.")
    key_id = _id_of(public)
    since = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return PublicKey(key_id, pem.decode(), since, signs_now=key_id == current)


def _write_whole(path: Path, content: bytes) -> None:
    """Put `content` in the place of `path`, whole or not at all; nobody else may read it."""
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
