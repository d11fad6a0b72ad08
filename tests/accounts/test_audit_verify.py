"""verify_audit finds every way of tampering, with triggers dropped, also where the chain was computed anew."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from accounts import audit, audit_checkpoints, audit_triggers, audit_verify
from accounts.models import AuditCheck, AuditLog, Organization
from deepfake import housekeeping, signing
from tests.reports.conftest import finished as finished
from tests.reports.conftest import issued_json as issued_json

pytestmark = [pytest.mark.django_db, pytest.mark.services]
COLUMNS = [field.attname for field in AuditLog._meta.concrete_fields if field.attname != "id"]


@pytest.fixture
def rows(organization: Organization) -> list[AuditLog]:
    """Six rows, with a checkpoint at the fourth."""
    made = [audit.record(action=f"test.{n}", organization=organization, details={"n": n}) for n in range(4)]
    assert audit_checkpoints.write() is not None
    made += [audit.record(action=f"test.{n}", organization=organization, details={"n": n}) for n in (4, 5)]
    audit_triggers.remove(connection)  # as somebody with the database's password could
    return made


def codes(**options: Any) -> list[tuple[str, int | None]]:
    return [(problem.code, problem.row) for problem in audit_verify.check(**options).problems]


def rechain() -> None:
    """Compute all hashes anew, as a tamperer who has read our source would."""
    previous = audit.FIRST_HASH
    for row in AuditLog.objects.order_by("id"):
        row.previous_hash = previous
        row.hash = audit.row_hash(row)
        AuditLog.objects.filter(pk=row.pk).update(previous_hash=previous, hash=row.hash)
        previous = row.hash


def test_an_untouched_log_is_whole(rows: list[AuditLog], capsys: Any) -> None:
    call_command("verify_audit", head=[rows[2].hash, audit.FIRST_HASH])
    said = capsys.readouterr().out
    assert f"6 rows, unbroken. Head: {rows[5].hash}" in said
    assert "1 checkpoints outside the database fit" in said
    check = AuditCheck.objects.get()
    assert (check.rows, check.is_full, check.is_whole, check.head) == (6, True, True, rows[5].hash)


def test_new_rows_alone_begin_at_the_newest_checkpoint(rows: list[AuditLog], capsys: Any) -> None:
    call_command("verify_audit", new=True)
    assert "2 new rows, unbroken" in capsys.readouterr().out


@pytest.mark.parametrize(
    "change",
    [{"action": "test.other"}, {"details": {"n": 7}}, {"ip_address": "192.0.2.1"}, {"target_id": "x"}],
)
def test_an_edit_is_found(rows: list[AuditLog], change: dict[str, Any]) -> None:
    AuditLog.objects.filter(pk=rows[1].pk).update(**change)
    assert codes() == [("edited", rows[1].pk)]


def test_a_deleted_row_is_found(rows: list[AuditLog]) -> None:
    AuditLog.objects.filter(pk=rows[1].pk).delete()
    assert codes() == [("removed", rows[2].pk)]


def test_a_deleted_first_row_is_found(rows: list[AuditLog]) -> None:
    AuditLog.objects.filter(pk=rows[0].pk).delete()
    assert codes() == [("removed", rows[1].pk)]


def test_another_order_is_found(rows: list[AuditLog]) -> None:
    """Two rows change places with all they hold."""
    one, two = (AuditLog.objects.filter(pk=rows[n].pk).values(*COLUMNS).get() for n in (1, 2))
    AuditLog.objects.filter(pk=rows[1].pk).update(hash="e" * 64)  # hashes are unique
    AuditLog.objects.filter(pk=rows[2].pk).update(**one)
    AuditLog.objects.filter(pk=rows[1].pk).update(**two)
    found = codes()
    assert ("reordered", rows[1].pk) in found
    assert {code for code, _ in found} <= {"reordered", "removed"}


def test_a_row_put_in_is_found(rows: list[AuditLog], organization: Organization) -> None:
    forged = AuditLog(organization=organization, action="test.forged", previous_hash=rows[5].hash, id=rows[5].pk + 1)
    forged.hash = "a" * 64
    forged.save(force_insert=True)
    assert codes() == [("edited", forged.pk)]


@pytest.mark.parametrize("full", [True, False])
def test_rows_cut_off_before_a_checkpoint_are_found(rows: list[AuditLog], full: bool) -> None:
    AuditLog.objects.filter(pk__gte=rows[2].pk).delete()
    forget_the_count()
    assert codes(full=full) == [("cut_off", rows[3].pk)]


def test_an_emptied_table_is_found(rows: list[AuditLog]) -> None:
    AuditLog.objects.all().delete()
    forget_the_count()
    assert codes() == [("cut_off", rows[3].pk)]


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has no TRUNCATE")
def test_a_truncated_table_is_found(rows: list[AuditLog]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(f"TRUNCATE {audit_triggers.TABLE} RESTART IDENTITY CASCADE")
    audit.record(action="test.new", organization=None)
    assert codes() == [("cut_off", rows[3].pk)]


def test_rows_cut_off_after_the_last_checkpoint_are_found_by_a_printed_head(rows: list[AuditLog]) -> None:
    AuditLog.objects.filter(pk=rows[5].pk).delete()
    forget_the_count()
    assert codes() == []  # nobody wrote that row down ...
    assert codes(heads=[rows[5].hash]) == [("head_unknown", None)]  # ... but the report that printed its hash
    with pytest.raises(CommandError, match="cut off or changed"):
        call_command("verify_audit", head=[rows[5].hash])


@pytest.mark.parametrize("full", [True, False])
def test_rows_cut_off_after_the_last_checkpoint_are_told_by_the_databases_count(
    rows: list[AuditLog], full: bool, capsys: Any
) -> None:
    AuditLog.objects.filter(pk=rows[5].pk).delete()
    if connection.vendor == "sqlite":
        assert codes(full=full) == [("cut_off", rows[5].pk)]
        with pytest.raises(CommandError, match=f"Row {rows[5].pk} was written, but the newest one is {rows[4].pk}"):
            call_command("verify_audit")
    else:  # a row that was rolled back leaves the same trace there
        call_command("verify_audit", new=not full)
        assert f"Ids were given up to {rows[5].pk}, but the newest row is {rows[4].pk}" in capsys.readouterr().err


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("column", ["audit_head", "audit_hash"])
def test_rows_cut_off_are_told_by_reports(rows: list[AuditLog], full: bool, column: str, issued_json: Any) -> None:
    issue = issued_json.issue
    assert codes(full=full) == []
    gone = AuditLog.objects.get(hash=getattr(issue, column))
    AuditLog.objects.filter(pk__gte=gone.pk).delete()
    forget_the_count()
    found = audit_verify.check(full=full).problems
    assert f"A report was issued when the chain stood at {gone.hash}" in " ".join(one.sentence for one in found)
    assert {one.code for one in found} <= {"head_unknown", "cut_off"}


def forget_the_count() -> None:
    """Somebody who cuts rows off may think of the database's count, too."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            newest = AuditLog.objects.order_by("-id").values_list("id", flat=True).first() or 0
            cursor.execute("UPDATE sqlite_sequence SET seq = %s WHERE name = %s", [newest, audit_triggers.TABLE])


def test_no_checkpoint_at_all_is_told_once_there_should_be_one(rows: list[AuditLog]) -> None:
    file().unlink()
    assert codes() == []  # the last row is of this hour
    AuditLog.objects.update(created_at=timezone.now() - timedelta(hours=3))
    rechain()
    assert codes() == [("checkpoint_none", None)]
    with pytest.raises(CommandError, match="no checkpoint at all"):
        call_command("verify_audit")
    call_command("verify_audit", checkpoint=True)  # whoever knows why begins anew
    assert len(audit_checkpoints.read_all()[0]) == 1
    assert codes() == []


def test_housekeeping_begins_checkpoints_but_does_not_hide_that_they_were_removed(rows: list[AuditLog]) -> None:
    file().unlink()
    AuditLog.objects.update(created_at=timezone.now() - timedelta(hours=3))
    rechain()
    audit_verify.hourly()  # of an installation that has run for the first time
    assert len(audit_checkpoints.read_all()[0]) == 1
    audit_verify.hourly()
    file().unlink()
    audit_verify.hourly()
    assert [problem["code"] for problem in AuditCheck.objects.order_by("id").reverse()[0].problems] == [
        "checkpoint_none"
    ]
    assert not file().exists()


@pytest.mark.parametrize("goes_on", [False, True])
def test_a_cut_log_without_its_checkpoints_is_told_by_earlier_checks(
    rows: list[AuditLog], organization: Organization, goes_on: bool
) -> None:
    """Within the hour, with the database's count set back: what is left is a chain that holds in itself."""
    audit_verify.hourly()
    assert AuditCheck.objects.get().is_whole
    file().unlink()
    AuditLog.objects.filter(pk__gte=rows[2].pk).delete()
    forget_the_count()
    if goes_on:  # until there are as many rows as there were
        for number in range(4):
            audit.record(action=f"test.new{number}", organization=organization)
    for _ in range(2):
        audit_verify.hourly()
        check = AuditCheck.objects.order_by("id").reverse()[0]
        again = goes_on and connection.vendor == "sqlite"  # PostgreSQL gives no id twice
        wanted = {"checkpoint_none", "rewritten" if again else "cut_off"}
        assert {problem["code"] for problem in check.problems} >= wanted
        assert not file().exists()
    with pytest.raises(CommandError, match=f"saw (another hash of )?row {rows[5].pk}"):
        call_command("verify_audit", checkpoint=True)
    assert not file().exists()


def test_the_first_checkpoint_is_known_to_the_check_that_wrote_it(organization: Organization) -> None:
    audit.record(action="test.0", organization=organization)
    audit_verify.hourly()
    file().unlink()
    assert codes() == [("checkpoint_none", None)]


@pytest.mark.django_db(transaction=True)
def test_a_removed_file_is_not_begun_again_at_the_nth_row(organization: Organization, settings: Any) -> None:
    audit.record(action="test.0", organization=organization)
    audit_verify.hourly()
    file().unlink()
    settings.AUDIT_CHECKPOINT_ROWS = 1
    audit.record(action="test.1", organization=organization)
    assert not file().exists()
    call_command("verify_audit", checkpoint=True)
    audit.record(action="test.2", organization=organization)
    assert len(audit_checkpoints.read_all()[0]) == 2
    assert codes() == []


@pytest.mark.parametrize("full", [True, False])
def test_a_chain_that_was_computed_anew_is_found(rows: list[AuditLog], full: bool) -> None:
    AuditLog.objects.filter(pk=rows[1].pk).update(action="test.other")
    rechain()
    assert audit.verify() is None  # in itself it holds
    assert codes(full=full) == [("rewritten", rows[3].pk)]


# The checkpoints themselves -------------------------------------------------------------------------------------------


def file() -> Path:
    return audit_checkpoints.folders()[0] / audit_checkpoints.FILE


def add_checkpoints(organization: Organization, count: int = 3) -> None:
    for number in range(count):
        audit.record(action=f"test.{number}", organization=organization)
        audit_checkpoints.write()


def test_checkpoints_follow_each_other_and_count_rows(organization: Organization) -> None:
    add_checkpoints(organization)
    found, faults = audit_checkpoints.read_all()
    assert faults == []
    assert [(one.number, one.rows) for one in found] == [(1, 1), (2, 2), (3, 3)]
    assert audit_checkpoints.newest() == found[-1]
    assert audit_checkpoints.write() is None  # nothing new
    assert file().stat().st_mode & 0o077 == 0


def test_a_forged_checkpoint_is_found(organization: Organization) -> None:
    add_checkpoints(organization)
    lines = file().read_text().splitlines()
    changed = json.loads(lines[2]) | {"hash": "b" * 64}
    file().write_text("\n".join([*lines[:2], json.dumps(changed, sort_keys=True, separators=(",", ":"))]) + "\n")
    assert codes() == [("checkpoint_forged", None)]


def test_a_checkpoint_signed_by_another_key_is_found(organization: Organization, tmp_path: Path, settings: Any) -> None:
    add_checkpoints(organization, 1)
    kept = file().read_bytes()
    settings.REPORT_PUBLIC_KEYS_DIR = str(tmp_path / "others")
    settings.REPORT_SIGNING_KEY_FILE = str(tmp_path / "other.pem")
    assert signing.signer()
    file().write_bytes(kept)
    assert codes() == [("checkpoint_forged", None)]


@pytest.mark.parametrize("gone", [0, 1])
def test_a_removed_checkpoint_is_found_at_the_next(organization: Organization, gone: int) -> None:
    add_checkpoints(organization)
    lines = file().read_text().splitlines()
    del lines[gone]
    file().write_text("\n".join(lines) + "\n")
    assert codes() == [("checkpoint_missing", None)]


@pytest.mark.parametrize("line", [b'{"half a li', b"\0\0\0", b"\xff", b"[]"])
def test_a_line_that_is_no_checkpoint_is_told(organization: Organization, line: bytes) -> None:
    add_checkpoints(organization, 1)
    whole = file().read_bytes()
    file().write_bytes(whole + line + b"\n")
    for _ in range(2):
        assert codes() == [("checkpoint_unreadable", None)]
    file().write_bytes(line + b"\n" + whole)
    assert ("checkpoint_unreadable", None) in codes()


@pytest.mark.parametrize("torn", [b'{"hash":"abc', b"\0\0\0", b"\xff", b"x" * 20_000])
def test_an_unfinished_last_line_is_told_once_and_moved_aside(
    organization: Organization, torn: bytes, capsys: Any
) -> None:
    add_checkpoints(organization, 2)
    whole = file().read_bytes()
    file().write_bytes(whole + torn)
    call_command("verify_audit")
    assert f"{len(torn)} bytes were moved to audit-checkpoints.torn-" in capsys.readouterr().err
    assert file().read_bytes() == whole
    (aside,) = file().parent.glob("*.torn-*")
    assert aside.read_bytes() == torn
    assert aside.stat().st_mode & 0o077 == 0
    call_command("verify_audit")
    assert "moved" not in capsys.readouterr().err
    audit.record(action="test.next", organization=organization)
    audit_verify.hourly()
    assert [one.number for one in audit_checkpoints.read_all()[0]] == [1, 2, 3]
    assert AuditCheck.objects.order_by("id").reverse()[0].is_whole


def test_an_unfinished_last_line_keeps_no_checkpoint_from_being_written(organization: Organization) -> None:
    add_checkpoints(organization, 2)
    file().write_bytes(file().read_bytes() + b'{"hash":"abc')
    newest = audit_checkpoints.newest()
    assert newest is not None
    assert newest.number == 2
    add_checkpoints(organization, 1)
    assert codes() == []
    assert [one.number for one in audit_checkpoints.read_all()[0]] == [1, 2, 3]


def test_a_last_line_that_lacks_its_end_alone_stays(organization: Organization) -> None:
    add_checkpoints(organization, 2)
    file().write_bytes(file().read_bytes().rstrip(b"\n"))
    assert codes() == []
    add_checkpoints(organization, 1)
    assert [one.number for one in audit_checkpoints.read_all()[0]] == [1, 2, 3]
    assert not list(file().parent.glob("*.torn-*"))


def test_a_torn_line_that_cannot_be_moved_is_a_fault(
    organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_checkpoints(organization, 1)
    file().write_bytes(file().read_bytes() + b'{"hash":"abc')

    def refuse(path: Any) -> Any:
        raise PermissionError(path)

    monkeypatch.setattr(audit_checkpoints, "_locked", refuse)
    assert codes() == [("checkpoint_unreadable", None)]


def test_a_key_that_was_exchanged_keeps_its_checkpoints(organization: Organization) -> None:
    add_checkpoints(organization, 1)
    signing.rotate()
    add_checkpoints(organization, 1)
    assert codes() == []


def test_the_second_folder_outlives_the_first(organization: Organization, settings: Any, tmp_path: Path) -> None:
    settings.AUDIT_CHECKPOINT_DIR = str(tmp_path / "elsewhere")
    add_checkpoints(organization)
    audit_triggers.remove(connection)
    AuditLog.objects.order_by("-id").first().delete()  # type: ignore[union-attr]
    forget_the_count()
    lines = file().read_text().splitlines()
    file().write_text("\n".join(lines[:2]) + "\n")  # the tamperer reaches one folder
    found = audit_verify.check()
    assert [problem.code for problem in found.problems] == ["cut_off"]
    assert "elsewhere" in found.problems[0].sentence


def test_a_folder_that_cannot_be_written_does_not_keep_the_others_from_it(
    organization: Organization, settings: Any, tmp_path: Path
) -> None:
    settings.AUDIT_CHECKPOINT_DIR = str(tmp_path / "file" / "below")
    (tmp_path / "file").write_text("no folder")
    audit.record(action="test.0", organization=organization)
    with pytest.raises(OSError, match="file"):
        audit_checkpoints.write()
    assert len(file().read_text().splitlines()) == 1


@pytest.mark.django_db(transaction=True)
def test_a_checkpoint_is_written_at_each_n_rows(organization: Organization, settings: Any) -> None:
    settings.AUDIT_CHECKPOINT_ROWS = 5
    for number in range(12):
        audit.record(action=f"test.{number}", organization=organization)
    found, _ = audit_checkpoints.read_all()
    assert len(found) in (2, 3)
    assert all(one.row % 5 == 0 for one in found)


@pytest.mark.django_db(transaction=True)
def test_a_row_is_kept_when_its_checkpoint_cannot_be_written(organization: Organization, settings: Any) -> None:
    settings.AUDIT_CHECKPOINT_ROWS = 1
    (Path(settings.DATA_DIR) / "checkpoints").write_text("no folder")
    audit.record(action="test.0", organization=organization)
    assert AuditLog.objects.count() == 1


def test_housekeeping_writes_checkpoints_and_checks(organization: Organization) -> None:
    audit.record(action="test.0", organization=organization)
    housekeeping.tidy()
    audit.record(action="test.1", organization=organization)
    housekeeping.tidy()
    checks = list(AuditCheck.objects.order_by("id"))
    assert [(check.is_full, check.rows, check.is_whole) for check in checks] == [(True, 1, True), (False, 1, True)]
    assert len(audit_checkpoints.read_all()[0]) == 2


def test_housekeeping_does_not_vouch_for_a_broken_chain(rows: list[AuditLog]) -> None:
    AuditLog.objects.filter(pk=rows[4].pk).update(action="test.other")
    housekeeping.tidy()
    assert len(audit_checkpoints.read_all()[0]) == 1
    assert [problem["code"] for problem in AuditCheck.objects.get().problems] == ["edited"]
