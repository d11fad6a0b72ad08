"""The audit log: a chain that cannot be changed unseen, and that the database itself refuses to change."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, connections, transaction
from django.test import Client, RequestFactory

from accounts import audit, audit_triggers
from accounts.models import AuditLog, Organization, User
from tests.factories import PASSWORD

pytestmark = [pytest.mark.django_db, pytest.mark.services]


def add_rows(organization: Organization, count: int = 3) -> list[AuditLog]:
    return [
        audit.record(action=f"test.{number}", organization=organization, details={"number": number})
        for number in range(count)
    ]


def test_chain_holds(organization: Organization, alice: User) -> None:
    rows = add_rows(organization)
    assert rows[1].previous_hash == rows[0].hash
    assert audit.verify() is None
    assert audit.head() == rows[-1].hash


@pytest.mark.parametrize(
    "details",
    [
        {"nul": "a\x00b", "surrogate": "\ud800", "emoji": "🙂"},
        {"whole": 2.0, "large": 1e22, "small": 1e-9, "nested": [{"a": 1.5}, None, True]},
    ],
)
def test_details_come_back_as_they_were_hashed(organization: Organization, details: dict[str, Any]) -> None:
    audit.record(action="test.details", organization=organization, details=details)
    assert audit.verify() is None


@pytest.mark.parametrize("change", [{"action": "test.other"}, {"details": {"number": 7}}, {"hash": "f" * 64}])
def test_changed_row_is_named(organization: Organization, change: dict[str, Any]) -> None:
    rows = add_rows(organization)
    audit_triggers.remove(connection)  # as somebody with the database's password could
    AuditLog.objects.filter(pk=rows[1].pk).update(**change)
    broken = audit.verify()
    assert broken is not None
    assert broken.pk == rows[1].pk
    with pytest.raises(CommandError, match=f"row {rows[1].pk} "):
        call_command("verify_audit")


def test_removed_row_is_noticed_at_the_next(organization: Organization) -> None:
    rows = add_rows(organization)
    audit_triggers.remove(connection)
    AuditLog.objects.filter(pk=rows[1].pk).delete()
    broken = audit.verify()
    assert broken is not None
    assert broken.pk == rows[2].pk


@pytest.mark.parametrize(
    "statement",
    [
        f"UPDATE {audit_triggers.TABLE} SET action = 'x'",
        f"DELETE FROM {audit_triggers.TABLE}",
    ],
)
def test_database_refuses_changes(organization: Organization, statement: str) -> None:
    add_rows(organization)
    with (
        pytest.raises(DatabaseError, match="append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
    assert AuditLog.objects.count() == 3


@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="PostgreSQL has no REPLACE")
def test_database_refuses_to_replace(organization: Organization) -> None:
    add_rows(organization)
    names = ", ".join(field.column for field in AuditLog._meta.concrete_fields)
    row = f"SELECT {names} FROM {audit_triggers.TABLE} LIMIT 1"
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"REPLACE INTO {audit_triggers.TABLE} ({names}) {row}")


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has no TRUNCATE")
def test_database_refuses_truncate(organization: Organization) -> None:
    add_rows(organization)
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # foreign keys of the rows just written
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {audit_triggers.TABLE}")


@pytest.mark.django_db(transaction=True)
def test_writers_at_once_make_one_chain(organization: Organization) -> None:
    failures: list[Exception] = []

    def write(writer: int) -> None:
        try:
            for number in range(10):
                with transaction.atomic():
                    User.objects.filter(username="nobody").exists()  # reads before it writes, as services do
                    audit.record(action=f"test.{writer}.{number}", organization=organization)
        except Exception as error:
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert AuditLog.objects.count() == 60
    assert audit.verify() is None


def test_sign_in_out_and_refusal_are_recorded(client: Client, alice: User) -> None:
    client.post("/accounts/login/", {"login": "alice", "password": "wrong"}, REMOTE_ADDR="192.0.2.7")
    client.post("/accounts/login/", {"login": "alice", "password": PASSWORD}, REMOTE_ADDR="192.0.2.7")
    client.post("/accounts/logout/", REMOTE_ADDR="192.0.2.7")
    rows = AuditLog.objects.order_by("id").values_list("action", "actor__username", "ip_address")
    assert list(rows) == [
        ("auth.refused", "alice", "192.0.2.7"),
        ("auth.signed_in", "alice", "192.0.2.7"),
        ("auth.signed_out", "alice", "192.0.2.7"),
    ]
    assert audit.verify() is None


def test_what_was_typed_as_a_name_is_not_kept(client: Client, alice: User) -> None:
    client.post("/accounts/login/", {"login": "my-secret-password", "password": "alice"})
    row = AuditLog.objects.get()
    assert (row.action, row.actor) == ("auth.refused", None)
    assert "secret" not in str(row.details) + row.target_id


def test_client_address_behind_a_proxy(settings: Any) -> None:
    request = RequestFactory().get(
        "/", headers={"X-Forwarded-For": "203.0.113.9, 198.51.100.2"}, REMOTE_ADDR="10.0.0.1"
    )
    assert audit.client_ip(request) == "10.0.0.1"
    settings.TRUSTED_PROXY_COUNT = 1
    assert audit.client_ip(request) == "198.51.100.2"
