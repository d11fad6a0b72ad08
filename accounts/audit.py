"""The audit log: one append-only chain of hashes for the installation."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import logging
from datetime import timedelta
from typing import Any

from allauth.core import context
from django.conf import settings
from django.core.cache import cache
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, models, transaction
from django.http import HttpRequest
from django.utils import timezone

from accounts import audit_checkpoints
from accounts.models import ApiKey, AuditLog, AuditOnce, Organization, User
from deepfake.caller import current_address

logger = logging.getLogger(__name__)

FIRST_HASH = "0" * 64
# Any number that nothing else locks; two writers on PostgreSQL queue up here.
_ADVISORY_LOCK = 7_305_882_114
HOUR_S = 3600


def record(
    *,
    action: str,
    organization: Organization | None,
    actor: Any = None,
    api_key: ApiKey | None = None,
    target: models.Model | None = None,
    details: dict[str, Any] | None = None,
    ip_address: str | None = None,
) -> AuditLog:
    """Append one row. Call it last in a transaction: it holds the chain until the transaction ends.

    ip_address: left out, it is that of the request being answered; a job has none.
    """
    # No savepoint: what cannot be written down must not happen, and the chain is held for two round trips less.
    with transaction.atomic(savepoint=False):
        _lock_chain()
        last = AuditLog.objects.order_by("-id").only("hash").first()
        row = AuditLog(
            organization=organization,
            actor=actor if isinstance(actor, User) else None,
            api_key_prefix=api_key.prefix if api_key else _oauth_client(),
            action=action,
            target_type=target._meta.model_name or "" if target is not None else "",
            target_id=str(target.pk) if target is not None else "",
            details=_plain(json.loads(json.dumps(details or {}, cls=DjangoJSONEncoder))),
            ip_address=ip_address or current_address.get(),
            created_at=timezone.now(),
            previous_hash=last.hash if last else FIRST_HASH,
        )
        row.hash = row_hash(row)
        row.save(force_insert=True)
        if row.pk % settings.AUDIT_CHECKPOINT_ROWS == 0:
            transaction.on_commit(_checkpoint, robust=True)
    return row


def record_hourly(
    *,
    action: str,
    organization: Organization | None,
    actor: Any = None,
    api_key: ApiKey | None = None,
    target: models.Model | None = None,
    details: dict[str, Any] | None = None,
) -> AuditLog | None:
    """Append a row for a read, one per reader, thing and hour: a player asks for a clip in hundreds of ranges.

    Returns None when this hour has its row.
    """
    reader = f"user:{actor.pk}" if isinstance(actor, User) else ""
    reader = reader or (f"key:{api_key.prefix}" if api_key else f"address:{current_address.get()}")
    hour = int(timezone.now().timestamp()) // HOUR_S
    about = f"{target._meta.label_lower}:{target.pk}" if target is not None else str(getattr(organization, "pk", ""))
    key = hashlib.sha256(json.dumps([action, reader, about, hour]).encode()).hexdigest()
    if cache.get(f"audit:{key}"):
        return None
    row = None
    with transaction.atomic():
        if AuditOnce.objects.filter(pk=key).exists() or not _first(key):
            pass
        else:
            row = record(
                action=action,
                organization=organization,
                actor=actor,
                api_key=api_key,
                target=target,
                details=details,
            )
    cache.set(f"audit:{key}", 1, HOUR_S)
    return row


def _first(key: str) -> bool:
    """Whether this request, and no other at the same time, writes the row."""
    with connection.cursor() as cursor:
        table, quote = AuditOnce._meta.db_table, connection.ops.quote_name
        cursor.execute(
            f"INSERT INTO {quote(table)} ({quote('key')}, created_at) VALUES (%s, %s) ON CONFLICT DO NOTHING",  # nosec B608 # noqa: S608 -- names from our own model
            [key, timezone.now()],
        )
        return bool(cursor.rowcount == 1)


def forget_hours() -> None:
    """Drop the marks of hours that are over; the audit rows stay."""
    AuditOnce.objects.filter(created_at__lt=timezone.now() - timedelta(hours=2)).delete()


def verify() -> AuditLog | None:
    """Return the first row whose hash or link is broken, or None when the whole chain holds.

    The chain alone: what else `manage.py verify_audit` compares is in audit_verify.py.
    """
    previous = FIRST_HASH
    for row in AuditLog.objects.order_by("id").iterator(chunk_size=2000):
        if row.previous_hash != previous or row.hash != row_hash(row):
            return row
        previous = row.hash
    return None


def head() -> str:
    """Hash of the newest row: whoever writes it down elsewhere can later prove that nothing before it was cut off."""
    last = AuditLog.objects.order_by("-id").only("hash").first()
    return last.hash if last else FIRST_HASH


def row_hash(row: Any) -> str:
    """What covers a row, given as an AuditLog or as a named tuple of its columns."""
    content = {
        "previous_hash": row.previous_hash,
        "organization": str(row.organization_id or ""),
        "actor": str(row.actor_id or ""),
        "api_key_prefix": row.api_key_prefix,
        "action": row.action,
        "target_type": row.target_type,
        "target_id": row.target_id,
        "details": row.details,
        "ip_address": row.ip_address or "",
        "created_at": row.created_at.isoformat(),
    }
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def client_ip(request: HttpRequest) -> str | None:
    """The caller's address; of X-Forwarded-For only as many entries are believed as there are proxies of ours."""
    hops = settings.TRUSTED_PROXY_COUNT
    if hops:
        forwarded = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",") if part.strip()]
        if len(forwarded) >= hops:
            return _address(forwarded[-hops])
    return _address(request.META.get("REMOTE_ADDR", ""))


def _checkpoint() -> None:
    """What was just committed is not undone because a disk is full or a key is gone; the log and metrics say so."""
    try:
        if audit_checkpoints.were_removed():  # a new file would hide it; `verify_audit --checkpoint` begins one
            logger.error("No audit checkpoint is written: there were some, and none is there now")
        else:
            audit_checkpoints.write()
    except Exception:
        logger.exception("The audit checkpoint could not be written")


def _oauth_client() -> str:
    """The OAuth client whose token the current request carries, as its authentication left it there."""
    return str(getattr(context.request, "oauth_client", ""))


def _address(value: str) -> str | None:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        return None


def _lock_chain() -> None:
    # On SQLite the transaction is IMMEDIATE: it already is the only writer.
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_ADVISORY_LOCK])


def _plain(value: Any) -> Any:
    """What every database gives back as it was put in: no NUL, no lone surrogate, whole floats as integers."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {_plain(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value
