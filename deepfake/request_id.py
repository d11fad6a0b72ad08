"""The id of the request that is being answered: the caller's own where it is well formed, else a new one."""

import re
import uuid
from contextvars import ContextVar

# What a caller may choose for itself: printable, short, without anything a log or a header could trip over.
_WELL_FORMED = re.compile(r"[A-Za-z0-9._:-]{1,64}")

current_request_id: ContextVar[str] = ContextVar("request_id", default="-")


def id_for(sent: str) -> str:
    """The id of a request that came with this X-Request-ID, or with none."""
    return sent if _WELL_FORMED.fullmatch(sent) else uuid.uuid4().hex
