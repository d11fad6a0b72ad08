"""What schemathesis has to know about us beyond the document."""

from __future__ import annotations

import re
import uuid
from typing import Any

import schemathesis


@schemathesis.serializer("application/offset+octet-stream")
def piece(context: Any, value: Any) -> bytes:
    """Pieces of uploads are sent as they are."""
    return value if isinstance(value, bytes) else str(value).encode()


@schemathesis.hook
def map_headers(context: Any, headers: Any) -> Any:
    """A key is new for each new request: two made-up requests under one key are refused, as they should be."""
    key = (headers or {}).get("Idempotency-Key")
    if isinstance(key, str) and re.fullmatch("[!-~]{1,160}", key):
        headers["Idempotency-Key"] = f"{key}-{uuid.uuid4().hex}"
    return headers
