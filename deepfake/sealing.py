"""Small secrets in database columns: sealed with a data key of their own, which a master key wraps.

A sealed value is `DFS1`, 8 bytes id of the master key, the wrapped data key (nonce, 32 bytes, tag), then nonce and
ciphertext of the secret, bound to its context. So a rotation wraps the data key anew without knowing the context.
Values of the first format (nonce and ciphertext straight under the master key, without its id) still open.
"""

from __future__ import annotations

import base64
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from deepfake import master_keys
from deepfake.master_keys import MasterKey, StorageError

MAGIC = b"DFS1"
NONCE_BYTES, TAG_BYTES, ID_BYTES = 12, 16, 8
_KEY_AT = len(MAGIC) + ID_BYTES
_SECRET_AT = _KEY_AT + NONCE_BYTES + 32 + TAG_BYTES
# What a sealed value begins with where it stands in a text column, as base64 and as hex.
TEXT_MARK, HEX_MARK = base64.b64encode(MAGIC + b"\0\0").decode()[:5], MAGIC.hex()


def seal(secret: bytes, *, context: str) -> bytes:
    """Encrypt a small secret for a database column; it opens only with the same context."""
    data_key, nonce = AESGCM.generate_key(bit_length=256), os.urandom(NONCE_BYTES)
    body = nonce + AESGCM(data_key).encrypt(nonce, secret, _context(context))
    return _head(data_key) + body


def unseal(sealed: bytes, *, context: str) -> bytes:
    """Open a sealed secret of either format. Raises StorageError."""
    sealed = bytes(sealed)
    if is_sealed(sealed):
        key = master_keys.by_id(key_id(sealed))
        if key is not None:
            try:
                data_key, body = _data_key(sealed, key), sealed[_SECRET_AT:]
                return AESGCM(data_key).decrypt(body[:NONCE_BYTES], body[NONCE_BYTES:], _context(context))
            except (InvalidTag, ValueError):
                pass
    return _unseal_first_format(sealed, context)


def is_sealed(value: bytes) -> bool:
    """Whether it has today's format; one of the first format in four thousand million looks as if it had."""
    return value.startswith(MAGIC) and len(value) >= _SECRET_AT + NONCE_BYTES + TAG_BYTES


def key_id(sealed: bytes) -> str:
    """The id of the master key that a value of today's format is sealed under."""
    return sealed[len(MAGIC) : _KEY_AT].hex()


def rewrap(sealed: bytes) -> bytes:
    """Return a value of today's format with its data key under the current master key. Raises StorageError."""
    key = master_keys.by_id(key_id(sealed))
    if key is None:
        raise _wrong_key()
    try:
        data_key = _data_key(sealed, key)
    except InvalidTag:
        raise _wrong_key() from None
    return _head(data_key) + sealed[_SECRET_AT:]


def _head(data_key: bytes) -> bytes:
    key, nonce = master_keys.current(), os.urandom(NONCE_BYTES)
    wrapped = AESGCM(key.secret).encrypt(nonce, data_key, MAGIC)
    return MAGIC + bytes.fromhex(key.id) + nonce + wrapped


def _data_key(sealed: bytes, key: MasterKey) -> bytes:
    return AESGCM(key.secret).decrypt(
        sealed[_KEY_AT : _KEY_AT + NONCE_BYTES], sealed[_KEY_AT + NONCE_BYTES : _SECRET_AT], MAGIC
    )


def _unseal_first_format(sealed: bytes, context: str) -> bytes:
    """It names no key: all of the ring are tried."""
    for key in master_keys.everyone():
        try:
            return AESGCM(key.secret).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], _context(context))
        except (InvalidTag, ValueError):
            continue
    raise _wrong_key()


def _context(context: str) -> bytes:
    return b"sealed:" + context.encode()


def _wrong_key() -> StorageError:
    return StorageError("A stored secret does not open with this installation's master key.", "wrong_master_key")
