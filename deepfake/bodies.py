"""How large a request's body may be, and how much may be received at once.

Large bodies are taken where files are, and only with a key, token or session; whether it is a good one is judged by
what answers. All bodies that this process receives together have one budget, so that nobody fills the disk.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass

from django.conf import settings

from deepfake.errors import DomainError

# A test holds these to the URLs and to the forms that send files.
TAKES_FILES = re.compile(r"/analyses/|/v1/(?:media|detect|uploads|uploads/[^/]+)")
TAKES_LISTS = re.compile(r"/v1/batches(?:/[^/]+/items)?")  # a thousand addresses
TAKES_REPORTS = re.compile(r"/verify/(?:[^/]+/)?")  # public: anybody may have a report verified
AROUND_A_FILE = 1_000_000  # the parts of a multipart body have headers of their own
MAX_REPORT_BYTES = 32_000_000
# What stays in memory and is gone at once: signing in goes on while large bodies find no room.
SMALL_BYTES = 64_000
STRANGERS_PART = 10  # bodies without key, token or session have a tenth of the budget
WAIT_S = 30


class ReceivingFull(DomainError):
    def __init__(self) -> None:
        super().__init__(
            f"The server is receiving as much as it can hold. Send this again in {WAIT_S} s.", "receiving_full", 503
        )
        self.wait = WAIT_S  # becomes Retry-After


def limit_of(path: str, content_type: str, *, has_credential: bool) -> int:
    """How many bytes the body of a request may have.

    path: without the query. has_credential: whether it carries something that may let it in.
    """
    if TAKES_REPORTS.fullmatch(path):
        return MAX_REPORT_BYTES
    if not has_credential:
        return settings.MAX_OTHER_BODY_BYTES
    if TAKES_FILES.fullmatch(path):
        kind = content_type.lower()
        if kind.startswith("multipart/form-data"):
            return settings.MAX_UPLOAD_BYTES + AROUND_A_FILE
        if kind.startswith("application/offset+octet-stream"):  # a piece of an upload, or all of it
            return settings.MAX_UPLOAD_BYTES
        return settings.MAX_BODY_BYTES
    return settings.MAX_BODY_BYTES if TAKES_LISTS.fullmatch(path) else settings.MAX_OTHER_BODY_BYTES


def too_large(path: str, limit: int, *, has_credential: bool) -> DomainError:
    if not has_credential and (TAKES_FILES.fullmatch(path) or TAKES_LISTS.fullmatch(path)):
        if path.startswith("/v1/"):
            return DomainError("Send an API key: files are taken from callers that name themselves.",
                               "not_authenticated", 401)  # fmt: skip
        return DomainError("Sign in first.", "not_signed_in", 401)
    return DomainError(
        f"What you sent is larger than the {limit // 1_000_000} MB that this address accepts. Send a smaller file.",
        "too_large",
        status=413,
    )


def has_session(cookies: str) -> bool:
    """Whether a Cookie header names a session of ours."""
    return any(part.strip().startswith(f"{settings.SESSION_COOKIE_NAME}=") for part in cookies.split(";"))


@dataclass
class Receiving:
    """Bytes of all bodies that this process holds before they are answered; used from one thread."""

    held: int = 0
    of_strangers: int = 0

    def check(self, more: int, *, has_credential: bool) -> None:
        """Raise ReceivingFull when `more` bytes have no room. Half of what the disk has free is left to others."""
        budget = max(settings.MAX_RECEIVING_BYTES, settings.MAX_UPLOAD_BYTES + AROUND_A_FILE)
        room = min(budget, self.held + shutil.disk_usage(settings.SPOOL_DIR).free // 2)
        is_over = self.held + more > room
        if is_over or (not has_credential and self.of_strangers + more > room // STRANGERS_PART):
            raise ReceivingFull

    def count(self, more: int, *, has_credential: bool) -> None:
        """Note that bytes came, or (negative) that they are gone."""
        self.held += more
        if not has_credential:
            self.of_strangers += more


receiving = Receiving()
