"""What the installation tidies up by itself, once an hour, through django-q2's schedule."""

from __future__ import annotations

import logging
import time

from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.utils.module_loading import import_string
from django_q.models import Schedule

logger = logging.getLogger(__name__)

SPOOL_KEEP_S = 24 * 3600
CHORES = (
    "deepfake.housekeeping.clear_sessions",
    "deepfake.housekeeping.clear_spool",
    "deepfake.housekeeping.clear_oauth_tokens",
    "accounts.sign_in_throttle.clear_old",
    "accounts.audit_verify.hourly",
    "detection.webhooks_services.forget_old",
    # What is kept no longer than was promised.
    "detection.retention.apply",
    "accounts.data_requests.tidy",
    # Last: what all of these have deleted leaves the files, too.
    "detection.search.forget_erased",
    "deepfake.housekeeping.empty_database_log",
)


def schedule() -> None:
    """Put the hourly run into the schedule table, unless it is there."""
    Schedule.objects.get_or_create(
        name="housekeeping", defaults={"func": "deepfake.housekeeping.tidy", "schedule_type": Schedule.HOURLY}
    )


def tidy() -> None:
    for path in CHORES:
        try:
            import_string(path)()
        except Exception:  # the one must not keep the other from its work
            logger.exception("%s failed", path)


def clear_sessions() -> None:
    call_command("clearsessions")


def clear_oauth_tokens() -> None:
    call_command("clear_oauth_tokens")


def empty_database_log() -> None:
    """SQLite's log (db.sqlite3-wal) keeps what was deleted until it is written over: copy it back and empty it."""
    if connection.vendor == "sqlite" and not connection.in_atomic_block:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            is_busy, _, _ = cursor.fetchone()
        if is_busy:  # somebody read all the while; the next hour will do
            logger.info("The database's log could not be emptied")


def clear_spool() -> None:
    """Remove what uploads of killed processes left behind; a day is longer than any upload takes."""
    oldest = time.time() - SPOOL_KEEP_S
    for path in settings.SPOOL_DIR.iterdir():
        if path.is_file() and path.stat().st_mtime < oldest:
            path.unlink(missing_ok=True)
            logger.info("Removed the left-over upload %s", path.name)
