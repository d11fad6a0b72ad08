"""An example of MASTER_KEY_KMS: the master key wrapped by another key, which only the environment holds.

A class for a cloud's key service has the same three methods and calls that service in them; see docs/privacy.md.
"""

from __future__ import annotations

import base64
import hashlib
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12


class WrappingKey:
    """Wraps by AES-256-GCM under KEY_WRAPPING_KEY, 32 bytes in base64."""

    def __init__(self) -> None:
        self._key = base64.b64decode(os.environ["KEY_WRAPPING_KEY"], validate=True)

    def key_id(self) -> str:
        return f"env-{hashlib.sha256(self._key).hexdigest()[:12]}"

    def wrap(self, key: bytes, context: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + AESGCM(self._key).encrypt(nonce, key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        try:
            return AESGCM(self._key).decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], context)
        except InvalidTag:
            raise ValueError("The master key was wrapped by another key.") from None
