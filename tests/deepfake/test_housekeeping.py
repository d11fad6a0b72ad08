"""What the installation tidies up by itself."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone
from django_q.models import OrmQ, Schedule
from django_q.scheduler import scheduler

from accounts.models import MemberSession, Organization
from deepfake import housekeeping
from deepfake.worker import answer, take_task
from detection import retention, search, services
from detection.models import ErasedReason, Job, Media, WebhookDelivery

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.services]


def test_only_old_left_overs_go(data_dir: Path) -> None:
    old, fresh = data_dir / "tmp" / "old", data_dir / "tmp" / "fresh"
    for path in (old, fresh):
        path.write_bytes(b"x")
    long_ago = time.time() - housekeeping.SPOOL_KEEP_S - 1
    os.utime(old, (long_ago, long_ago))
    housekeeping.clear_spool()
    assert (old.exists(), fresh.exists()) == (False, True)


@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="PostgreSQL has neither file nor this index")
def test_deleted_name_is_nowhere_on_the_disk() -> None:
    """Neither in the database, its log, nor as trigrams in the index of words."""
    organization = Organization.objects.create(name="Example", slug="example")
    media = Media.objects.create(organization=organization, filename="Qxjqzv wedding.png", kind="image")
    job = Job.objects.create(organization=organization, media=media, status="completed")
    housekeeping.empty_database_log()
    path = Path(connection.settings_dict["NAME"])

    def found(text: bytes) -> list[str]:
        files = [path, path.with_name(f"{path.name}-wal")]
        return [file.name for file in files if text in file.read_bytes()]

    assert found(b"Qxjqzv")
    assert found(b"xjq")  # lower case: of the index
    services.delete_analysis(job=job)
    housekeeping.tidy()
    assert not Media.objects.exists()
    assert found(b"Qxjqzv") == found(b"xjq") == []
    assert path.with_name(f"{path.name}-wal").stat().st_size == 0


def test_index_is_built_anew_only_after_a_text_has_gone() -> None:
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL's index needs none of it")
    search.forget_erased()
    organization = Organization.objects.create(name="Example", slug="example")
    kept, erased = (Media.objects.create(organization=organization, filename=name) for name in ("Kept.png", "Gone.png"))
    assert not search.forget_erased()
    retention.erase(erased, ErasedReason.NONE)
    assert search.forget_erased()
    assert search.look_up("kept", organization.id).media == (kept.pk,)
    assert search.look_up("gone", organization.id).media == ()


def test_schedule_is_made_once_and_rings() -> None:
    housekeeping.schedule()
    housekeeping.schedule()
    assert Schedule.objects.count() == 1
    MemberSession.objects.create(session_key="old", session_data="", expire_date=timezone.now() - timedelta(days=1))
    organization = Organization.objects.create(name="Example", slug="example")
    old = timezone.now() - timedelta(days=365)
    WebhookDelivery.objects.create(
        organization=organization, event="x", url="http://a.example/", body={}, created_at=old, delivered_at=old
    )
    scheduler()
    task = take_task()
    assert task is not None
    answer(task)
    assert MemberSession.objects.count() == 0
    assert OrmQ.objects.count() == 0
    assert not WebhookDelivery.objects.exists()
    scheduler()  # the next run is an hour away
    assert take_task() is None
