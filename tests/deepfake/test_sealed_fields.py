"""Sealed columns: nobody reads them in the database, and code reads and writes them as if they were plain."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import FieldError
from django.db import connection, transaction
from django.utils import timezone

from deepfake import storage
from deepfake.sealed_fields import Sealed
from detection.models import Feedback, Job, Media, WebhookDelivery
from review.models import Appeal, AppealLink, Note, ReviewCase
from tests import factories

SECRET = "Anna Miller, 52.5200 N 13.4050 E"


def stored(table: str) -> bytes:
    """Every byte of a table, as whoever copied the database sees it."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table}")
        rows = cursor.fetchall()
    return b"".join(
        bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode() for row in rows for value in row
    )


@pytest.fixture
def finished(organization: Any) -> Job:
    return factories.make_job(organization=organization, status="completed")


def test_what_is_personal_cannot_be_read_in_the_database(organization, finished, alice):
    media = factories.make_media(organization, info={"metadata": {"Artist": SECRET}})
    feedback = Feedback.objects.create(job=finished, label="fake", notes=SECRET)
    delivery = WebhookDelivery.objects.create(
        organization=organization, job=finished, event="job.completed", url="https://a.example.org", body={"a": SECRET}
    )
    case = ReviewCase.objects.create(organization=organization, job=finished, reason="manual", due_at=timezone.now())
    note = Note.objects.create(case=case, author=alice, text=SECRET)
    link = AppealLink.objects.create(job=finished, expires_at=timezone.now())
    appeal = Appeal.objects.create(link=link, job=finished, case=case, text=SECRET, email="anna@example.org")
    for row in (media, feedback, delivery, note, appeal):
        raw = stored(row._meta.db_table)
        assert b"Miller" not in raw, row
        assert b"anna@" not in raw, row
        assert b"DFS1" in raw, row
    assert Media.objects.get(pk=media.pk).info == {"metadata": {"Artist": SECRET}}
    assert Feedback.objects.get().notes == SECRET
    assert WebhookDelivery.objects.get().body == {"a": SECRET}
    assert Note.objects.get().text == SECRET
    assert (Appeal.objects.get().text, Appeal.objects.get().email) == (SECRET, "anna@example.org")


def test_values_cannot_be_exchanged_between_rows(finished):
    one, two = (Feedback.objects.create(job=finished, label="fake", notes=text) for text in ("one", "two"))
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, notes FROM detection_feedback")
        (_, first), (second_id, _) = cursor.fetchall()
        cursor.execute("UPDATE detection_feedback SET notes = %s WHERE id = %s", [first, second_id])
    found = {row.pk: row for row in Feedback.objects.all()}
    opened = []
    for row in (one, two):
        try:
            opened.append(found[row.pk].notes)
        except storage.StorageError:
            continue
    assert len(opened) == 1


def test_empty_values_are_not_sealed(finished):
    Feedback.objects.create(job=finished, label="fake")
    with connection.cursor() as cursor:
        cursor.execute("SELECT notes FROM detection_feedback")
        assert bytes(cursor.fetchone()[0]) == b""
    assert Feedback.objects.get().notes == ""
    assert Media.objects.get().info == {}


def test_changing_what_was_read_is_kept(finished):
    media = finished.media
    media.info["metadata"] = {"Artist": SECRET}
    media.save()
    found = Media.objects.get(pk=media.pk)
    assert found.info["metadata"]["Artist"] == SECRET
    found.filename = "other.png"
    found.save()  # without a look at it, it goes back as it was
    assert Media.objects.get(pk=media.pk).info["metadata"]["Artist"] == SECRET


def test_deferred_refreshed_and_created_in_bulk(organization, finished, django_assert_num_queries):
    Feedback.objects.bulk_create(Feedback(job=finished, label="fake", notes=f"{number}") for number in range(3))
    assert sorted(row.notes for row in Feedback.objects.all()) == ["0", "1", "2"]
    row = Feedback.objects.defer("notes").first()
    assert row is not None
    with django_assert_num_queries(1):
        assert row.notes in "012"
    row.notes = "changed"
    row.refresh_from_db()
    assert row.notes in "012"


def test_updates_of_many_rows_need_a_sealed_value(finished):
    row = Feedback.objects.create(job=finished, label="fake", notes="before")
    with pytest.raises(FieldError, match="sealed_for"), transaction.atomic():
        Feedback.objects.filter(pk=row.pk).update(notes="after")
    column: Any = Feedback._meta.get_field("notes")
    Feedback.objects.filter(pk=row.pk).update(notes=column.sealed_for(row.pk, "after"))
    assert Feedback.objects.get().notes == "after"
    Feedback.objects.update(notes="")
    assert Feedback.objects.get().notes == ""
    (value,) = Feedback.objects.values_list("notes", flat=True)
    assert isinstance(value, Sealed)
