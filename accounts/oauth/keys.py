"""The RSA keys that tokens are signed with: files in DATA_DIR/keys/oauth, named by the time from which each signs."""

from __future__ import annotations

import itertools
import time
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from allauth.core.internal import jwkkit
from allauth.idp.oidc.models import PrivateKey
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.conf import settings

from deepfake.keys import read_or_create

# What others may keep our key set for; a new key is announced for as long before it signs.
JWKS_MAX_AGE_S = 3600
# A replaced key stays in the key set for this long, which is longer than any token lives.
KEEP_REPLACED_S = 2 * 24 * 3600
_FIRST = "0.pem"


def folder() -> Path:
    return Path(settings.DATA_DIR) / "keys" / "oauth"


def all_keys() -> list[PrivateKey]:
    """Oldest first; the first one is made when there is none."""
    if not any(folder().glob("*.pem")):
        read_or_create(folder() / _FIRST, new_key)
    keys = []
    for begins_at, path in _files():
        begins = datetime.fromtimestamp(begins_at, UTC)
        keys.append(PrivateKey(pem=path.read_text(), not_before=begins, issued_at=begins))
    return keys


def rotate(*, at_once: bool = False) -> datetime:
    """Add a key that signs in an hour (or now) and drop those replaced long ago; return when it begins to sign."""
    all_keys()  # so that there is an old one to keep
    begins_at = int(time.time()) + (0 if at_once else JWKS_MAX_AGE_S)
    while (folder() / f"{begins_at}.pem").exists():
        begins_at += 1
    read_or_create(folder() / f"{begins_at}.pem", new_key)
    _drop_long_replaced()
    return datetime.fromtimestamp(begins_at, UTC)


def public_key(kid: str) -> Any:
    """The key with this id, or None."""
    for key in all_keys():
        jwk, private = _parsed(key.pem)
        if jwk["kid"] == kid:
            return private.public_key()
    return None


def new_key() -> bytes:
    return rsa.generate_private_key(public_exponent=65537, key_size=3072).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@lru_cache(maxsize=16)
def _parsed(pem: str) -> tuple[dict[str, Any], Any]:
    jwk, key = jwkkit.load_jwk_from_pem(pem)
    return jwk, key


def _files() -> list[tuple[int, Path]]:
    found = [(int(path.stem), path) for path in folder().glob("*.pem") if path.stem.isdigit()]
    return sorted(found)


def _drop_long_replaced() -> None:
    files = _files()
    for (_, path), (replaced_at, _) in itertools.pairwise(files):
        if replaced_at < time.time() - KEEP_REPLACED_S:
            path.unlink(missing_ok=True)
