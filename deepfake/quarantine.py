"""A prefix of the bucket into which callers may write by themselves, before anything of it is believed.

What lies there is not encrypted by us and is nobody's item yet: it is fetched once, stored encrypted, and removed.
"""

from __future__ import annotations

import uuid
from typing import Any, BinaryIO, cast

from django.core.files.storage import FileSystemStorage, storages

PREFIX = "quarantine"


def is_available() -> bool:
    return not isinstance(storages["default"], FileSystemStorage)


def permit(organization_id: uuid.UUID, upload_id: uuid.UUID, *, size_bytes: int, seconds: int) -> dict[str, Any]:
    """Return address and fields of a form that stores exactly this many bytes, and nothing else, until it expires."""
    where = _where(organization_id, upload_id)
    form: dict[str, Any] = _client().generate_presigned_post(
        **where, Conditions=[["content-length-range", size_bytes, size_bytes]], ExpiresIn=seconds
    )
    return form


def size(organization_id: uuid.UUID, upload_id: uuid.UUID) -> int | None:
    """Bytes that lie there; None when there is nothing."""
    try:
        return int(_client().head_object(**_where(organization_id, upload_id))["ContentLength"])
    except Exception as error:
        if str(getattr(error, "response", {}).get("Error", {}).get("Code", "")) in ("404", "NoSuchKey"):
            return None
        raise


def open_plain(organization_id: uuid.UUID, upload_id: uuid.UUID) -> BinaryIO:
    """Return a reader of what lies there, from its beginning; it cannot seek."""
    return cast(BinaryIO, _client().get_object(**_where(organization_id, upload_id))["Body"])


def remove(organization_id: uuid.UUID, upload_id: uuid.UUID) -> None:
    if is_available():
        _client().delete_object(**_where(organization_id, upload_id))


def _where(organization_id: uuid.UUID, upload_id: uuid.UUID) -> dict[str, str]:
    bucket: Any = storages["default"]
    parts = (bucket.location, PREFIX, organization_id.hex, upload_id.hex)
    return {"Bucket": bucket.bucket_name, "Key": "/".join(part for part in parts if part)}


def _client() -> Any:
    bucket: Any = storages["default"]
    return bucket.connection.meta.client
