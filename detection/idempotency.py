"""Idempotency-Key: the same request sent again gets the first answer again, and does nothing twice.

The answer is kept in the transaction that does the work: a process that is killed has either done both or neither.
Answers are kept sealed, because some of them hold a secret that is shown only once.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import IO, Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.models import Organization
from deepfake import storage
from deepfake.errors import DomainError
from detection.models import IdempotencyKey

# A request that is older and has no answer died with its process: a repeat may take its place.
ABANDONED_AFTER = timedelta(seconds=60)
KEPT_FOR = timedelta(hours=24)
MAX_KEY_LENGTH = 200
KEY = re.compile(f"[!-~]{{1,{MAX_KEY_LENGTH}}}")


@dataclass
class Once:
    """One request under its key: either `answer` holds what was said the first time, or it is ours to carry out."""

    row: IdempotencyKey | None = None
    answer: tuple[int, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)  # of the kept answer

    @property
    def is_ours(self) -> bool:
        """Whether there is an answer to be kept, and none is yet."""
        return self.row is not None and self.answer is None

    def finish(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        """Keep the answer; call it in the transaction that does the work, so that both happen or neither."""
        if self.row is None:
            return
        mine = IdempotencyKey.objects.filter(
            pk=self.row.pk, created_at=self.row.created_at, response_status__isnull=True
        )
        sealed = _seal(self.row, {"body": body, "headers": headers or {}})
        if not mine.update(response_status=status, response_body=sealed):
            raise _still_running()
        self.answer, self.headers = (status, body), headers or {}

    def amend(self, body: Any) -> None:
        """Keep another body in place of the one that was kept: what was true of it has moved on before it was sent."""
        if self.row is None or self.answer is None:
            return
        sealed = _seal(self.row, {"body": body, "headers": self.headers})
        IdempotencyKey.objects.filter(pk=self.row.pk, created_at=self.row.created_at).update(response_body=sealed)
        self.answer = (self.answer[0], body)


@contextmanager
def once(*, organization: Organization, owner: str, key: str, request_hash: str) -> Iterator[Once]:
    """Enter a request under `key` (none: nothing is remembered). Raises DomainError 409 or 422.

    Whatever leaves the block without `finish` frees the key again.
    """
    if not key:
        yield Once()
        return
    check_key(key)
    entered = _enter(organization, owner, key, request_hash)
    try:
        yield entered
    finally:
        if entered.answer is None and entered.row is not None:
            IdempotencyKey.objects.filter(
                pk=entered.row.pk, created_at=entered.row.created_at, response_status__isnull=True
            ).delete()


def check_key(key: str) -> None:
    """Raises DomainError."""
    if not KEY.fullmatch(key):
        raise DomainError(
            f"Idempotency-Key must be 1 to {MAX_KEY_LENGTH} printable ASCII characters without spaces.",
            "idempotency_key_invalid",
        )


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
        kept = _unseal(row)
        return Once(row, (row.response_status, kept["body"]), kept["headers"])
    return _take_over(row)


def _seal(row: IdempotencyKey, answer: dict[str, Any]) -> str:
    return storage.seal(json.dumps(answer, cls=DjangoJSONEncoder).encode(), context=_context(row)).hex()


def _unseal(row: IdempotencyKey) -> dict[str, Any]:
    if not isinstance(row.response_body, str):  # kept by a release before answers were sealed
        return {"body": row.response_body, "headers": {}}
    found: dict[str, Any] = json.loads(storage.unseal(bytes.fromhex(row.response_body), context=_context(row)))
    return found


def _context(row: IdempotencyKey) -> str:
    return f"idempotency:{row.owner}:{row.key}"


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
