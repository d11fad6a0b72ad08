"""Whether the audit chain is whole: rows, links, checkpoints outside the database, heads in reports, the sequence."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from django.conf import settings
from django.db import connection
from django.utils import timezone
from django.utils.module_loading import import_string

from accounts import audit, audit_checkpoints
from accounts.audit_models import AuditCheck
from accounts.models import AuditLog

logger = logging.getLogger(__name__)

MOST_PROBLEMS = 20  # one edit in an early row is told once, but a mixed-up table breaks at every link
KEPT_CHECKS = 500
FULL_EVERY = timedelta(hours=24)
CHECKPOINT_EVERY = timedelta(hours=1)  # by the housekeeping
NO_CHECKPOINT = "checkpoint_none"
NEWEST_HEADS = 1000  # of reports, that a check of new rows looks for
BATCH = 5000
_COLUMNS = (
    "id",
    "previous_hash",
    "hash",
    "organization_id",
    "actor_id",
    "api_key_prefix",
    "action",
    "target_type",
    "target_id",
    "details",
    "ip_address",
    "created_at",
)


@dataclass(frozen=True)
class Problem:
    code: str  # edited | removed | reordered | cut_off | rewritten | head_unknown | checkpoint_…
    row: int | None
    sentence: str


@dataclass
class Outcome:
    is_full: bool
    started_at: datetime
    rows: int = 0
    last_row: int = 0
    head: str = audit.FIRST_HASH
    checkpoints: int = 0
    seconds: float = 0.0
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what may be a trace of something, and may be nothing

    @property
    def lacks_only_a_checkpoint(self) -> bool:
        return [problem.code for problem in self.problems] == [NO_CHECKPOINT]

    @property
    def is_whole(self) -> bool:
        return not self.problems

    def tell(self, code: str, row: int | None, sentence: str) -> None:
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(Problem(code, row, sentence))


def check(*, full: bool = True, heads: Iterable[str] = ()) -> Outcome:
    """Verify the chain.

    full: every row; else those after the newest checkpoint that still fits, which finds all but an edit of an older
    row's content. heads: hashes that were printed in reports or written down elsewhere; each must be in the chain.
    """
    outcome, began = Outcome(full, timezone.now()), time.monotonic()
    outcome.notes += audit_checkpoints.mend()
    given = _last_given_id()  # before the rows are read: meanwhile there only come more
    checkpoints, faults = audit_checkpoints.read_all()
    outcome.checkpoints = len(checkpoints)
    for fault in faults:
        outcome.tell(fault.code, None, fault.sentence)
    good = _compare_checkpoints(checkpoints, outcome)
    if not checkpoints and not faults:
        _tell_of_no_checkpoint(outcome)
    _compare_checks(outcome)
    start = None if full else good
    _walk(outcome, start)
    _compare_sequence(outcome, given)
    for head in heads:
        _check_head(outcome, head.strip().lower())
    _check_reports(outcome)
    outcome.seconds = time.monotonic() - began
    return outcome


def keep(outcome: Outcome) -> AuditCheck:
    """Write down what a check found, for the page and for metrics."""
    row = AuditCheck.objects.create(
        started_at=outcome.started_at,
        seconds=outcome.seconds,
        is_full=outcome.is_full,
        rows=outcome.rows,
        last_row=outcome.last_row,
        head=outcome.head,
        checkpoints=outcome.checkpoints,
        problems=[asdict(problem) for problem in outcome.problems],
    )
    AuditCheck.objects.filter(pk__lte=row.pk - KEPT_CHECKS).delete()
    for problem in outcome.problems:
        logger.error("Audit log: %s", problem.sentence)
    return row


def hourly() -> None:
    """What housekeeping does: check what came since the last checkpoint, once a day all rows, and write the next."""
    last_full = AuditCheck.objects.filter(is_full=True, started_at__gt=timezone.now() - FULL_EVERY)
    found = check(full=not last_full.exists())  # first: a checkpoint of a broken chain would vouch for it
    if found.lacks_only_a_checkpoint and not AuditCheck.objects.filter(checkpoints__gt=0).exists():
        found.problems.clear()  # the first hour of an installation that has had none yet
    if found.is_whole:
        write_checkpoint(found)
    keep(found)
    audit.forget_hours()


def write_checkpoint(outcome: Outcome) -> audit_checkpoints.Checkpoint | None:
    """Write one after a check that found nothing, and count it, so that the next check knows that there was one."""
    written = audit_checkpoints.write()
    outcome.checkpoints += written is not None
    return written


# Checkpoints and heads ------------------------------------------------------------------------------------------------


def _compare_checkpoints(
    checkpoints: list[audit_checkpoints.Checkpoint], outcome: Outcome
) -> audit_checkpoints.Checkpoint | None:
    """Hold each against the row that it names; return the newest one that fits."""
    newest = AuditLog.objects.order_by("-id").values_list("id", flat=True).first() or 0
    good = None
    for start in range(0, len(checkpoints), 500):
        part = checkpoints[start : start + 500]
        hashes = dict(AuditLog.objects.filter(pk__in=[one.row for one in part]).values_list("id", "hash"))
        for one in part:
            where = f"Checkpoint {one.number} of {one.folder} ({one.written_at:%Y-%m-%d %H:%M} UTC)"
            if one.row not in hashes:
                what = "rows were cut off the end" if one.row > newest else "the row is gone"
                outcome.tell("cut_off", one.row, f"{where} saw row {one.row} of the audit log, and {what}.")
            elif hashes[one.row] != one.hash:
                outcome.tell("rewritten", one.row, f"{where} signed another hash for row {one.row} than it has now.")
            elif good is None or one.row > good.row:
                good = one
    return good


def _check_head(outcome: Outcome, head: str) -> None:
    if head != audit.FIRST_HASH and not AuditLog.objects.filter(hash=head).exists():
        outcome.tell(
            "head_unknown", None, f"No row has the hash {head[:80]}: what came before it was cut off or changed."
        )


def _check_reports(outcome: Outcome) -> None:
    """Every signed report prints the head that the chain had, and the database knows which."""
    heads: Iterator[str] = iter(import_string(settings.AUDIT_HEADS)())
    if not outcome.is_full:
        heads = islice(heads, NEWEST_HEADS)
    while part := set(islice(heads, 500)):
        wanted = part - {audit.FIRST_HASH}
        gone = wanted - set(AuditLog.objects.filter(hash__in=wanted).values_list("hash", flat=True))
        for head in sorted(gone):
            outcome.tell(
                "head_unknown",
                None,
                f"A report was issued when the chain stood at {head}, and no row has this hash: what came before it "
                "was cut off or changed.",
            )


def _compare_checks(outcome: Outcome) -> None:
    """What earlier checks saw of a chain that was whole must be there still.

    They lie in the same database: they tell of somebody who cut the log and the checkpoints, and did not think of them.
    """
    seen = list(AuditCheck.objects.filter(problems=[], last_row__gt=0).order_by("last_row", "id"))
    hashes = dict(AuditLog.objects.filter(pk__in={check.last_row for check in seen}).values_list("id", "hash"))
    gone = [check for check in seen if check.last_row not in hashes]
    other = [check for check in seen if check.last_row in hashes and hashes[check.last_row] != check.head]
    if gone:
        last = gone[-1]
        what = f"The check of {last.started_at:%Y-%m-%d %H:%M} UTC saw row {last.last_row} of the audit log"
        outcome.tell("cut_off", last.last_row, f"{what}, and it is gone: rows were cut off.")
    if other:
        first = other[0]
        what = f"The check of {first.started_at:%Y-%m-%d %H:%M} UTC saw another hash of row {first.last_row}"
        outcome.tell("rewritten", first.last_row, f"{what} than it has now.")


def _tell_of_no_checkpoint(outcome: Outcome) -> None:
    counted = AuditCheck.objects.filter(checkpoints__gt=0).order_by("-id").first()
    newest = AuditLog.objects.order_by("-id").values_list("created_at", flat=True).first()
    if counted is not None:
        outcome.tell(
            NO_CHECKPOINT,
            None,
            f"There is no checkpoint at all, though the check of {counted.started_at:%Y-%m-%d %H:%M} UTC found "
            f"{counted.checkpoints}: the file was removed or is not mounted, or this machine has had none. If you know "
            "why, begin anew with --checkpoint.",
        )
    elif newest is not None and timezone.now() - newest > 2 * CHECKPOINT_EVERY:
        outcome.tell(
            NO_CHECKPOINT,
            None,
            "There are rows, and no checkpoint at all, though one is written every hour: the file of checkpoints was "
            "removed or is not mounted, or the server has not run yet. If you know why, begin anew with --checkpoint.",
        )


def _last_given_id() -> int:
    """The last id that the database gave to a row, by its own count; 0 when none."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = %s", [AuditLog._meta.db_table])
        else:
            cursor.execute("SELECT pg_sequence_last_value(pg_get_serial_sequence(%s, 'id'))", [AuditLog._meta.db_table])
        row = cursor.fetchone()
    return int(row[0] or 0) if row else 0


def _compare_sequence(outcome: Outcome, given: int) -> None:
    """Whoever cuts rows off the end must think of the database's count, too."""
    newest = AuditLog.objects.order_by("-id").values_list("id", flat=True).first() or 0
    if given <= newest:
        return
    if connection.vendor == "sqlite":  # where a row that was rolled back takes its id back with it
        outcome.tell("cut_off", given, f"Row {given} was written, but the newest one is {newest}: rows were cut off.")
    else:
        outcome.notes.append(
            f"Ids were given up to {given}, but the newest row is {newest}: {given - newest} rows at the end were "
            "rolled back, which is usual, or cut off."
        )


# The chain ------------------------------------------------------------------------------------------------------------


def _walk(outcome: Outcome, start: audit_checkpoints.Checkpoint | None) -> None:
    previous = start.hash if start is not None else audit.FIRST_HASH
    if start is not None:
        outcome.last_row, outcome.head = start.row, start.hash
    for row in _rows(start.row if start is not None else 0):
        if row.previous_hash != previous:
            code, what = _why(row.previous_hash, row.id)
            outcome.tell(code, row.id, f"The chain breaks before {_told(row)}: {what}.")
        if audit.row_hash(row) != row.hash:
            outcome.tell("edited", row.id, f"The content of {_told(row)} is not what was hashed.")
        previous = row.hash
        outcome.rows += 1
        outcome.last_row, outcome.head = row.id, row.hash


def _rows(after: int) -> Iterator[Any]:
    """Rows as named tuples, a batch at a time by primary key: no query stays open and no model objects are made."""
    while batch := list(
        AuditLog.objects.filter(pk__gt=after).order_by("id").values_list(*_COLUMNS, named=True)[:BATCH]
    ):
        yield from batch
        after = batch[-1].id


def _why(linked_to: str, row: int) -> tuple[str, str]:
    known = AuditLog.objects.filter(hash=linked_to).values_list("id", flat=True).first()
    if known is None and linked_to != audit.FIRST_HASH:
        return "removed", "the row that it follows is not there; it was removed, or its hash changed"
    place = f"row {known}" if known is not None else "the very first row"
    if known is not None and known < row:
        return "removed", f"it follows {place}; what stands between them was put in, or rows were removed"
    return "reordered", f"it follows {place}; rows were put in another order"


def _told(row: Any) -> str:
    return f"row {row.id} ({row.action}, {row.created_at:%Y-%m-%d %H:%M:%S} UTC)"
