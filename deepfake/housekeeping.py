"""What the installation tidies up by itself, once an hour, through django-q2's schedule."""

from __future__ import annotations

import logging
import time

from django.conf import settings
from django.core.management import call_command
from django_q.models import Schedule

logger = logging.getLogger(__name__)

SPOOL_KEEP_S = 24 * 3600


def schedule() -> None:
    """Put the hourly run into the schedule table, unless it is there."""
    Schedule.objects.get_or_create(
        name="housekeeping", defaults={"func": "deepfake.housekeeping.tidy", "schedule_type": Schedule.HOURLY}
    )


def tidy() -> None:
    call_command("clearsessions")
    clear_spool()


def clear_spool() -> None:
    """Remove what uploads of killed processes left behind; a day is longer than any upload takes."""
    oldest = time.time() - SPOOL_KEEP_S
    for path in settings.SPOOL_DIR.iterdir():
        if path.is_file() and path.stat().st_mtime < oldest:
            path.unlink(missing_ok=True)
            logger.info("Removed the left-over upload %s", path.name)
