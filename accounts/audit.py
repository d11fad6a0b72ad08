"""The audit log: one append-only chain of hashes for the installation."""

from __future__ import annotations

import hashlib
import ipaddress
import json
from typing import Any

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, models, transaction
from django.http import HttpRequest
from django.utils import timezone

from accounts.models import ApiKey, AuditLog, Organization, User

FIRST_HASH = "0" * 64
# Any number that nothing else locks; two writers on PostgreSQL queue up here.
_ADVISORY_LOCK = 7_305_882_114


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
    """Append one row. Call it last in a transaction: it holds the chain until the transaction ends."""
    with transaction.atomic():
        _lock_chain()
        last = AuditLog.objects.order_by("-id").only("hash").first()
        row = AuditLog(
            organization=organization,
            actor=actor if isinstance(actor, User) else None,
            api_key_prefix=api_key.prefix if api_key else "",
            action=action,
            target_type=target._meta.model_name or "" if target is not None else "",
            target_id=str(target.pk) if target is not None else "",
            details=_plain(json.loads(json.dumps(details or {}, cls=DjangoJSONEncoder))),
            ip_address=ip_address,
            created_at=timezone.now(),
            previous_hash=last.hash if last else FIRST_HASH,
        )
        row.hash = row_hash(row)
        row.save(force_insert=True)
    return row


def verify() -> AuditLog | None:
    """Return the first row whose hash or link is broken, or None when the whole chain holds."""
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


def row_hash(row: AuditLog) -> str:
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
