"""Whole files sealed under the master key, for backups: read and written piece by piece.

A sealed file is `DFF1`, two bytes length of the sealed data key, that key (deepfake.sealing), and pieces of 1 MiB, each
by AES-256-GCM with its number and whether it is the last in its nonce: a piece that was changed, moved, dropped or put
in does not open, nor does a file under another name, to which the data key is bound.
"""

from __future__ import annotations

import struct
from typing import IO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from deepfake import sealing
from deepfake.master_keys import StorageError

MAGIC = b"DFF1"
PIECE_BYTES = 1 << 20
TAG_BYTES = 16


def seal_file(source: IO[bytes], target: IO[bytes], *, context: str) -> None:
    """Write `source`, from where it stands, sealed into `target`; it opens only with the same context."""
    data_key = AESGCM.generate_key(bit_length=256)
    head = sealing.seal(data_key, context=context)
    target.write(MAGIC + struct.pack(">H", len(head)) + head)
    cipher, number, piece = AESGCM(data_key), 0, source.read(PIECE_BYTES)
    while True:
        following = source.read(PIECE_BYTES)
        target.write(cipher.encrypt(_nonce(number, is_last=not following), piece, None))
        if not following:
            return
        number, piece = number + 1, following


def open_file(source: IO[bytes], target: IO[bytes], *, context: str) -> None:
    """Write what `source` holds into `target`. Raises StorageError; what was written by then is to be thrown away."""
    start = source.read(len(MAGIC) + 2)
    if len(start) != len(MAGIC) + 2 or not start.startswith(MAGIC):
        raise _damaged()
    data_key = sealing.unseal(source.read(struct.unpack(">H", start[len(MAGIC) :])[0]), context=context)
    cipher, number, piece = AESGCM(data_key), 0, source.read(PIECE_BYTES + TAG_BYTES)
    while True:
        following = source.read(PIECE_BYTES + TAG_BYTES)
        try:
            target.write(cipher.decrypt(_nonce(number, is_last=not following), piece, None))
        except (InvalidTag, ValueError):
            raise _damaged() from None
        if not following:
            return
        number, piece = number + 1, following


def _nonce(number: int, *, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([is_last])


def _damaged() -> StorageError:
    return StorageError("A sealed file is damaged, or is not the file that it should be.")
