"""Large files: received in pieces that survive a broken connection, or through the bucket, then made into items.

Each piece is stored encrypted as it comes, under a row of its own, so that neither a restart nor another process loses
what was received. The last piece makes the item; a process that dies on the way is followed by the sweep.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import IO, Any

from django.conf import settings
from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from accounts import audit
from accounts.models import ApiKey, Organization
from deepfake import quarantine, storage
from deepfake.errors import DomainError
from detection import ingest, services
from detection.engine import sniffing
from detection.models import Media, Upload, UploadPart, UploadState

logger = logging.getLogger(__name__)

KEPT_FOR = timedelta(hours=24)  # after the last piece
MOST_OPEN = 100  # uploads under way per organisation
MOST_PARTS = 10_000
CLAIMED_FOR = timedelta(minutes=5)
TOLD_FOR = timedelta(days=7)  # how long one may ask what became of an upload
SWEPT_AT_ONCE = 20


def begin(
    *,
    organization: Organization,
    size_bytes: int,
    filename: str = "",
    metadata: str = "",
    is_direct: bool = False,
    actor: Any = None,
    api_key: ApiKey | None = None,
) -> Upload:
    """Announce a file. Raises DomainError."""
    if size_bytes > settings.MAX_UPLOAD_BYTES:
        raise ingest.too_large(settings.MAX_UPLOAD_BYTES)
    if size_bytes == 0:
        raise DomainError("The file is empty. Send one with content.", "file_empty")
    if is_direct and not quarantine.is_available():
        raise DomainError(
            "This installation keeps its files on its own disk, so nothing can be sent past it. Send the file to "
            "/v1/uploads in pieces.",
            "direct_upload_unavailable",
            409,
        )
    under_way = Upload.objects.filter(
        organization=organization, state=UploadState.RECEIVING, expires_at__gt=timezone.now()
    )
    if under_way.count() >= MOST_OPEN:
        raise DomainError(
            f"{MOST_OPEN} uploads of your organisation are under way. Finish some, or end them with DELETE.",
            "too_many_uploads",
            409,
        )
    return Upload.objects.create(
        organization=organization,
        created_by=actor,
        api_key=api_key,
        filename=ingest.clean_name(filename),
        metadata=metadata,
        size_bytes=size_bytes,
        is_direct=is_direct,
        expires_at=timezone.now() + KEPT_FOR,
    )


# Pieces ---------------------------------------------------------------------------------------------------------------


class Piece:
    """Bytes that were stored, and not yet written down."""

    def __init__(self, upload: Upload, storage_name: str, size_bytes: int) -> None:
        self.upload, self.storage_name, self.size_bytes = upload, storage_name, size_bytes


def store_piece(upload: Upload, *, offset: int, stream: IO[bytes], digest: Any = None, expected: bytes = b"") -> Piece:
    """Store what a request brings. Raises DomainError; then nothing of it is kept.

    digest, expected: a hash object and what it must say in the end.
    """
    check_receiving(upload)
    if offset != upload.offset:
        raise wrong_offset(upload)
    if upload.parts.count() >= MOST_PARTS:
        raise DomainError(
            f"An upload takes {MOST_PARTS:,} pieces at most. Begin anew with larger ones.", "too_many_pieces"
        )
    reader = _Measured(stream, upload.size_bytes - offset, digest)
    if offset == 0:
        reader.look_ahead()
        _refuse_early(upload, reader.head)
    name = storage.save_encrypted("upload", reader, organization_id=upload.organization_id)  # type: ignore[arg-type]
    if expected and digest.digest() != expected:
        storage.destroy(name)
        raise DomainError(
            "The bytes that came do not fit their checksum. Send this piece again.", "checksum_mismatch", 460
        )
    return Piece(upload, name, reader.size_bytes)


def add_piece(piece: Piece) -> Upload:
    """Write a stored piece down, if none was written at its place meanwhile. Raises DomainError."""
    upload = piece.upload
    try:
        with transaction.atomic():
            moved = Upload.objects.filter(pk=upload.pk, offset=upload.offset, state=UploadState.RECEIVING)
            if not moved.update(offset=F("offset") + piece.size_bytes, expires_at=timezone.now() + KEPT_FOR):
                upload.refresh_from_db()
                raise wrong_offset(upload)
            if piece.size_bytes:
                UploadPart.objects.create(
                    upload=upload, offset=upload.offset, size_bytes=piece.size_bytes, storage_name=piece.storage_name
                )
    except BaseException:
        storage.destroy(piece.storage_name)
        raise
    if not piece.size_bytes:
        storage.destroy(piece.storage_name)
    upload.refresh_from_db()
    return upload


def check_receiving(upload: Upload) -> None:
    if upload.state == UploadState.REFUSED:
        raise DomainError(upload.error_message, upload.error_code, upload.error_status or 415)
    if upload.expires_at < timezone.now():
        raise DomainError("This upload has expired. Begin a new one.", "upload_expired", 410)
    if upload.is_direct:
        raise DomainError(
            "This upload goes directly to storage. Send the file there, then POST to complete.", "upload_is_direct", 409
        )


def wrong_offset(upload: Upload) -> DomainError:
    return DomainError(
        f"The next byte of this upload is number {upload.offset}. Ask with HEAD, and go on from there.",
        "upload_offset",
        409,
    )


def _refuse_early(upload: Upload, head: bytes) -> None:
    """What can never be analysed is refused before megabytes of it are sent."""
    if len(head) < min(sniffing.HEAD_BYTES, upload.size_bytes) or sniffing.sniff(head) is not None:
        return
    error = DomainError(sniffing.refusal(head), "unsupported_type", 415)
    _refuse(upload, error)
    raise error


class _Measured:
    """Reads a request's body: counts, digests, and refuses what goes beyond what was announced."""

    def __init__(self, stream: IO[bytes], most: int, digest: Any) -> None:
        self._stream, self._most, self._digest = stream, most, digest
        self.size_bytes = 0
        self.head = b""

    def look_ahead(self) -> None:
        while len(self.head) < sniffing.HEAD_BYTES and (more := self._stream.read(sniffing.HEAD_BYTES)):
            self.head += more

    def read(self, size: int = -1) -> bytes:
        if self.head:
            block, self.head = (self.head, b"") if size < 0 else (self.head[:size], self.head[size:])
        else:
            block = self._stream.read(size)
        self.size_bytes += len(block)
        if self.size_bytes > self._most:
            raise DomainError(
                "More bytes came than the upload has announced. Begin anew with the true length.",
                "upload_too_long",
                413,
            )
        if self._digest is not None:
            self._digest.update(block)
        return block


# From pieces to an item -----------------------------------------------------------------------------------------------


def finish(upload: Upload) -> Media | None:
    """Make the item of an upload that is whole, once; None while another process is at it. Raises DomainError."""
    if upload.media_id or upload.state != UploadState.RECEIVING:
        return upload.media
    now = timezone.now()
    free = Q(finishing_at=None) | Q(finishing_at__lt=now - CLAIMED_FOR)
    mine = Upload.objects.filter(free, pk=upload.pk, state=UploadState.RECEIVING)
    if not mine.update(finishing_at=now):
        upload.refresh_from_db()
        return upload.media
    try:
        media = _make_item(upload, now)
    except DomainError as error:
        if error.status < 500:  # it is the file, not us
            _refuse(upload, error)
        else:
            Upload.objects.filter(pk=upload.pk).update(finishing_at=None)
        raise
    _remove_pieces(upload)
    upload.refresh_from_db()
    return media


def _make_item(upload: Upload, claim: datetime) -> Media:
    with (
        _opened(upload) as file,
        ingest.kept(file, organization=upload.organization, filename=upload.filename) as stored,
        transaction.atomic(),
    ):
        media = services.add_stored(
            organization=upload.organization, actor=upload.created_by, api_key=upload.api_key, stored=stored
        )
        mine = Upload.objects.filter(pk=upload.pk, finishing_at=claim, state=UploadState.RECEIVING)
        if not mine.update(state=UploadState.COMPLETED, media=media, offset=upload.size_bytes):
            raise DomainError("Another process has finished this upload.", "upload_finished", 500)
    return media


def _opened(upload: Upload) -> Any:
    if upload.is_direct:
        return Rewindable(quarantine.open_plain(upload.organization_id, upload.pk))
    return Rewindable(_Joined(upload))


class _Joined(io.RawIOBase):
    """The pieces, one after the other."""

    def __init__(self, upload: Upload) -> None:
        self._blocks = self._read_all(list(upload.parts.order_by("offset")))
        self._rest = b""

    def _read_all(self, parts: list[UploadPart]) -> Iterator[bytes]:
        for part in parts:
            yield from storage.iter_range(part.storage_name, 0, part.size_bytes)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        if not self._rest:
            self._rest = next(self._blocks, b"")
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count


class Rewindable:
    """A stream whose beginning can be looked at and read again, which is all that storing needs."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._head, self._at = stream, b"", 0

    def __enter__(self) -> Rewindable:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stream.close()

    def seek(self, position: int, whence: int = 0) -> int:
        if whence != 0 or position > len(self._head):
            raise io.UnsupportedOperation("this stream can only go back to its beginning")
        self._at = position
        return position

    def _read_full(self, size: int) -> bytes:
        """A piece may end where it likes; whoever looks at a beginning wants all of it."""
        parts, missing = [], size
        while missing and (part := self._stream.read(missing)):
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def read(self, size: int = -1) -> bytes:
        if self._at < len(self._head):
            end = len(self._head) if size < 0 else self._at + size
            block = self._head[self._at : end]
            self._at += len(block)
            return block
        block = self._stream.read() if size < 0 else self._read_full(size)
        if self._at == len(self._head) and len(self._head) < sniffing.HEAD_BYTES:
            self._head += block
        self._at += len(block)
        return block


def complete_direct(upload: Upload) -> Media | None:
    """Fetch what was sent to the bucket, and make the item. Raises DomainError."""
    if not upload.is_direct:
        raise DomainError("This upload is completed by its last piece.", "upload_not_direct", 409)
    if upload.state == UploadState.REFUSED:
        raise DomainError(upload.error_message, upload.error_code, upload.error_status or 415)
    if upload.state == UploadState.RECEIVING:
        size = quarantine.size(upload.organization_id, upload.pk)
        if size != upload.size_bytes:
            here = "nothing" if size is None else f"{size:,} bytes"
            raise DomainError(
                f"Of the {upload.size_bytes:,} bytes of this file there is {here} in storage. Send it, then complete.",
                "upload_incomplete",
                409,
            )
    return finish(upload)


def _refuse(upload: Upload, error: DomainError) -> None:
    Upload.objects.filter(pk=upload.pk).update(
        state=UploadState.REFUSED, error_code=error.code, error_message=error.message, error_status=error.status
    )
    _remove_pieces(upload)


def end(*, upload: Upload, actor: Any = None, api_key: ApiKey | None = None) -> None:
    """Forget an upload, and what was received of it; an item that was made of it stays."""
    _remove_pieces(upload)
    with transaction.atomic():
        if upload.state == UploadState.RECEIVING:
            audit.record(
                action="upload.ended", organization=upload.organization, actor=actor, api_key=api_key, target=upload
            )
        upload.delete()


def _remove_pieces(upload: Upload) -> None:
    for part in list(upload.parts.all()):
        storage.destroy(part.storage_name)
        part.delete()
    if upload.is_direct:
        quarantine.remove(upload.organization_id, upload.pk)


# Housekeeping ---------------------------------------------------------------------------------------------------------


def sweep() -> None:
    """Finish what is whole and was left by a killed process; forget what was abandoned."""
    now = timezone.now()
    stranded = Upload.objects.filter(
        state=UploadState.RECEIVING, is_direct=False, offset=F("size_bytes"), finishing_at__lt=now - CLAIMED_FOR
    ) | Upload.objects.filter(
        state=UploadState.RECEIVING,
        is_direct=False,
        offset=F("size_bytes"),
        finishing_at=None,
        expires_at__lt=now + KEPT_FOR - CLAIMED_FOR,
    )
    for upload in list(stranded.select_related("organization", "created_by", "api_key")[:SWEPT_AT_ONCE]):
        try:
            finish(upload)
        except DomainError as error:
            logger.warning("%s was refused: %s", upload.public_id, error.message)
    abandoned = Upload.objects.filter(state=UploadState.RECEIVING, expires_at__lt=now)
    told = Upload.objects.exclude(state=UploadState.RECEIVING).filter(expires_at__lt=now - TOLD_FOR)
    for upload in [*abandoned.select_related("organization")[:SWEPT_AT_ONCE], *told[:SWEPT_AT_ONCE]]:
        _remove_pieces(upload)
        upload.delete()
