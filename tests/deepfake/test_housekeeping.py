"""What the installation tidies up by itself."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.sessions.models import Session
from django.utils import timezone
from django_q.models import OrmQ, Schedule
from django_q.scheduler import scheduler

from deepfake import housekeeping
from deepfake.worker import answer, take_task

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.services]


def test_only_old_left_overs_go(data_dir: Path) -> None:
    old, fresh = data_dir / "tmp" / "old", data_dir / "tmp" / "fresh"
    for path in (old, fresh):
        path.write_bytes(b"x")
    long_ago = time.time() - housekeeping.SPOOL_KEEP_S - 1
    os.utime(old, (long_ago, long_ago))
    housekeeping.clear_spool()
    assert (old.exists(), fresh.exists()) == (False, True)


def test_schedule_is_made_once_and_rings() -> None:
    housekeeping.schedule()
    housekeeping.schedule()
    assert Schedule.objects.count() == 1
    Session.objects.create(session_key="old", session_data="", expire_date=timezone.now() - timedelta(days=1))
    scheduler()
    task = take_task()
    assert task is not None
    answer(task)
    assert Session.objects.count() == 0
    assert OrmQ.objects.count() == 0
    scheduler()  # the next run is an hour away
    assert take_task() is None
