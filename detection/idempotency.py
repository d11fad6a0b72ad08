"""Idempotency-Key: the same request sent again gets the first answer again, and does nothing twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import IO, Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import Organization
from deepfake.errors import DomainError
from detection.models import IdempotencyKey

# A request that is older and has no answer died with its process: a repeat may take its place.
ABANDONED_AFTER = timedelta(seconds=60)
KEPT_FOR = timedelta(hours=24)
MAX_KEY_LENGTH = 200


@dataclass
class Once:
    """One request under its key: either `answer` holds what was said the first time, or it is ours to carry out."""

    row: IdempotencyKey | None = None
    answer: tuple[int, Any] | None = None

    def finish(self, status: int, body: Any) -> None:
        """Keep the answer; call it in the transaction that does the work, so that both happen or neither."""
        if self.row is None:
            return
        mine = IdempotencyKey.objects.filter(
            pk=self.row.pk, created_at=self.row.created_at, response_status__isnull=True
        )
        if not mine.update(response_status=status, response_body=body):
            raise _still_running()
        self.answer = (status, body)


@contextmanager
def once(*, organization: Organization, owner: str, key: str, request_hash: str) -> Iterator[Once]:
    """Enter a request under `key` (none: nothing is remembered). Raises DomainError 409 or 422.

    Whatever leaves the block without `finish` frees the key again.
    """
    if not key:
        yield Once()
        return
    if len(key) > MAX_KEY_LENGTH or not key.isprintable():
        raise DomainError(
            f"Idempotency-Key must be at most {MAX_KEY_LENGTH} printable characters.", "idempotency_key_invalid"
        )
    entered = _enter(organization, owner, key, request_hash)
    try:
        yield entered
    finally:
        if entered.answer is None and entered.row is not None:
            IdempotencyKey.objects.filter(
                pk=entered.row.pk, created_at=entered.row.created_at, response_status__isnull=True
            ).delete()


def _enter(organization: Organization, owner: str, key: str, request_hash: str) -> Once:
    try:
        with transaction.atomic():
            return Once(
                IdempotencyKey.objects.create(
                    organization=organization, owner=owner, key=key, request_hash=request_hash
                )
            )
    except IntegrityError:
        row = IdempotencyKey.objects.filter(owner=owner, key=key).first()
    if row is None:  # the first request failed and freed the key in this very moment
        raise _still_running()
    if row.request_hash != request_hash:
        raise DomainError(
            "This Idempotency-Key was used with another request. Use a new key for a new request.",
            "idempotency_key_reused",
            422,
        )
    if row.response_status is not None:
        return Once(row, (row.response_status, row.response_body))
    return _take_over(row)


def _take_over(row: IdempotencyKey) -> Once:
    now = timezone.now()
    abandoned = IdempotencyKey.objects.filter(
        pk=row.pk, created_at=row.created_at, created_at__lt=now - ABANDONED_AFTER, response_status__isnull=True
    )
    if not abandoned.update(created_at=now):
        raise _still_running()
    row.created_at = now
    return Once(row)


def _still_running() -> DomainError:
    return DomainError(
        "The first request with this Idempotency-Key is still running. Repeat it in a moment.",
        "idempotency_in_progress",
        409,
    )


def fingerprint(method: str, path: str, fields: Any, files: dict[str, IO[bytes]] | None = None) -> str:
    """Digest of all that makes two requests the same."""
    digests = {name: _file_digest(file) for name, file in sorted((files or {}).items())}
    text = json.dumps([method, path, fields, digests], sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _file_digest(file: IO[bytes]) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    file.seek(0)
    return digest.hexdigest()


def forget_old() -> int:
    """Housekeeping: a key may be used anew after a day."""
    return IdempotencyKey.objects.filter(created_at__lt=timezone.now() - KEPT_FOR).delete()[0]
