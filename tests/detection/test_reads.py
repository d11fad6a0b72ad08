"""Every read of an item is in the audit log, once for each reader, item and hour."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts import audit
from accounts.models import AuditLog, AuditOnce, User
from detection import artifacts, history
from detection.models import Job, JobStatus, Media
from tests import factories

pytestmark = [pytest.mark.django_db, pytest.mark.services]


def rows() -> list[tuple[str, str | None, str]]:
    reads = AuditLog.objects.exclude(action__startswith="auth.").order_by("id")
    return list(reads.values_list("action", "actor__username", "target_id"))


def read(client: Client, media: Media, query: str = "", **headers: str) -> int:
    answer = client.get(reverse("detection:media_file", args=[media.pk]) + query, headers=headers)
    return answer.status_code


def test_many_ranges_are_one_row(client: Client, alice: User, media: Media) -> None:
    client.force_login(alice)
    for start in range(20):
        assert read(client, media, Range=f"bytes={start}-{start + 1}") == 206
    assert rows() == [("media.read", "alice", str(media.pk))]
    assert AuditLog.objects.latest("id").ip_address == "127.0.0.1"


def test_each_reader_each_item_and_each_way_has_its_row(
    client: Client, alice: User, bob: User, media: Media, organization: Any
) -> None:
    other = factories.make_media(organization)
    for member in (alice, bob):
        client.force_login(member)
        for item in (media, other):
            read(client, item)
            read(client, item)
    read(client, media, "?original=1")
    assert len(rows()) == 5
    assert rows()[-1] == ("media.downloaded", "bob", str(media.pk))


def test_the_next_hour_has_its_own_row(client: Client, alice: User, media: Media, monkeypatch: Any) -> None:
    client.force_login(alice)
    read(client, media)
    later = timezone.now() + timedelta(hours=1)
    monkeypatch.setattr(timezone, "now", lambda: later)
    read(client, media)
    assert len(rows()) == 2


def test_another_process_knows_what_was_written(client: Client, alice: User, media: Media) -> None:
    client.force_login(alice)
    read(client, media)
    cache.clear()
    read(client, media)
    assert len(rows()) == 1
    assert AuditOnce.objects.count() == 1


def test_nothing_is_written_for_who_gets_nothing(client: Client, charlie: User, vera: User, media: Media) -> None:
    assert read(client, media) == 302
    client.force_login(charlie)
    assert read(client, media) == 404
    client.force_login(vera)
    client.head(reverse("detection:media_file", args=[media.pk]))
    assert rows() == []


def test_explaining_pictures_are_one_row_an_analysis(client: Client, alice: User, organization: Any) -> None:
    job = factories.make_job(organization=organization, status=JobStatus.COMPLETED)
    result = factories.make_result(job)
    client.force_login(alice)
    for number in range(3):
        artifact = factories.make_artifact(result, frame_index=number)
        assert client.get(artifacts.signed_path(artifact)).status_code == 200
    assert rows() == [("artifacts.read", "alice", str(job.pk))]
    client.logout()
    client.get(artifacts.signed_path(artifact), REMOTE_ADDR="192.0.2.7")
    last = AuditLog.objects.latest("id")
    assert (last.action, last.actor, last.ip_address) == ("artifacts.read", None, "192.0.2.7")


def test_small_pictures_are_one_row_a_member(client: Client, alice: User, organization: Any, media: Media) -> None:
    other = factories.make_media(organization)
    for item in (media, other):
        item.thumbnail_name = item.storage_name
        item.save()
    client.force_login(alice)
    for item in (media, other, media):
        assert client.get(reverse("detection:thumbnail", args=[item.pk])).status_code == 200
    assert rows() == [("media.thumbnails_seen", "alice", "")]


def test_a_second_read_asks_the_database_for_no_audit(client: Client, alice: User, media: Media) -> None:
    client.force_login(alice)
    read(client, media)
    with CaptureQueriesContext(connection) as asked:
        read(client, media)
    assert asked.captured_queries
    assert [query for query in asked.captured_queries if "audit" in query["sql"]] == []


def test_the_short_history_leaves_reads_out(client: Client, alice: User, job: Job) -> None:
    audit.record(action="job.started", organization=job.organization, actor=alice, target=job)
    client.force_login(alice)
    read(client, job.media)
    assert [event.what for event in history.history_of(job)] == ["Started this analysis"]


def test_marks_of_past_hours_are_dropped(client: Client, alice: User, media: Media) -> None:
    client.force_login(alice)
    read(client, media)
    AuditOnce.objects.update(created_at=timezone.now() - timedelta(hours=3))
    audit.forget_hours()
    assert AuditOnce.objects.count() == 0
    assert len(rows()) == 1


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_one_writes(alice: User, media: Media) -> None:
    failures: list[Exception] = []

    def note() -> None:
        try:
            cache.clear()
            audit.record_hourly(action="media.read", organization=media.organization, actor=alice, target=media)
        except Exception as error:
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=note) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(rows()) == 1


def test_a_read_through_the_api_is_the_keys(client: Client, bearer: Any, media: Media, api_key: Any) -> None:
    for _ in range(2):
        answer = client.get(f"/v1/media/{media.public_id}/file", headers=bearer)
        assert answer.status_code == 200
    found = AuditLog.objects.filter(action="media.downloaded", target_id=str(media.pk))
    assert [row.api_key_prefix for row in found] == [api_key.prefix]
