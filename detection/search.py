"""Finding items by what people type: part of a name or address, the beginning of a digest or of an id.

Substrings are looked up in a trigram index: FTS5 on SQLite, pg_trgm on PostgreSQL (where that extension may not be
created, the same question reads the narrow table of texts). No question reads more than `MOST` items.

FTS5 only notes that a text is gone and keeps its trigrams until it happens to merge them. From SQLite 3.42 on it can
be told to take them out at once; below, the index is built anew by the housekeeping after a text has gone.
"""

from __future__ import annotations

import re
import sqlite3
import uuid
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q

from detection.models import Job, Media, MediaText
from detection.walking import walked

MOST = 2000  # items that one search looks at, newest first
SHORTEST = 3  # characters of a word that an index of trigrams can look up
HEX = re.compile(r"(?:job_|med_)?([0-9a-f]{6,64})")
TABLE = "detection_mediatext"
BY_NAME = (
    "SELECT t.media_id FROM media_fts f CROSS JOIN detection_mediatext t ON t.id = f.rowid "
    "WHERE media_fts MATCH %s AND t.organization_id = %s{short} ORDER BY f.rowid DESC LIMIT %s"
)

FORGETS_AT_ONCE = (3, 42)  # the version of SQLite that knows 'secure-delete'
_INSTALL = {
    "sqlite": (
        # Whether a text has gone since the index was built; filled in here for one that an earlier release made.
        "CREATE TABLE IF NOT EXISTS media_fts_erased (id INTEGER PRIMARY KEY)",
        "CREATE VIRTUAL TABLE IF NOT EXISTS media_fts USING fts5"
        "(text, content='detection_mediatext', content_rowid='id', tokenize='trigram')",
        *(f"DROP TRIGGER IF EXISTS media_fts_{what}" for what in ("add", "remove", "change")),
        "CREATE TRIGGER media_fts_add AFTER INSERT ON detection_mediatext "
        "BEGIN INSERT INTO media_fts(rowid, text) VALUES (new.id, new.text); END",
        "CREATE TRIGGER media_fts_remove AFTER DELETE ON detection_mediatext "
        "BEGIN INSERT INTO media_fts(media_fts, rowid, text) VALUES ('delete', old.id, old.text); "
        "INSERT OR IGNORE INTO media_fts_erased VALUES (1); END",
        "CREATE TRIGGER media_fts_change AFTER UPDATE OF text ON detection_mediatext "
        "BEGIN INSERT INTO media_fts(media_fts, rowid, text) VALUES ('delete', old.id, old.text); "
        "INSERT OR IGNORE INTO media_fts_erased VALUES (1); "
        "INSERT INTO media_fts(rowid, text) VALUES (new.id, new.text); END",
    ),
    # Not everybody may create extensions; without it the same questions are answered, only by reading more.
    "postgresql": (
        "DO $$ BEGIN CREATE EXTENSION IF NOT EXISTS pg_trgm; "
        "EXECUTE 'CREATE INDEX IF NOT EXISTS media_fts ON detection_mediatext USING gin (text gin_trgm_ops)'; "
        "EXCEPTION WHEN insufficient_privilege OR undefined_file OR feature_not_supported THEN "
        "RAISE WARNING 'pg_trgm is not available: searches will be slower'; END $$",
    ),
}
_REMOVE = {
    "sqlite": (
        *(f"DROP TRIGGER IF EXISTS media_fts_{what}" for what in ("add", "remove", "change")),
        "DROP TABLE IF EXISTS media_fts",
        "DROP TABLE IF EXISTS media_fts_erased",
    ),
    "postgresql": ("DROP INDEX IF EXISTS media_fts",),
}


def install(database: BaseDatabaseWrapper) -> None:
    """Idempotent: also called after every `migrate`, because SQLite loses triggers when it rebuilds a table."""
    is_new = database.vendor == "sqlite" and "media_fts_erased" not in database.introspection.table_names()
    _execute(database, _INSTALL)
    if is_new:  # an index that an earlier release made may hold what has gone
        with database.cursor() as cursor:
            cursor.execute("INSERT INTO media_fts_erased VALUES (1)")
    if database.vendor == "sqlite" and sqlite3.sqlite_version_info >= FORGETS_AT_ONCE:
        with database.cursor() as cursor:
            cursor.execute("INSERT INTO media_fts(media_fts, rank) VALUES ('secure-delete', 1)")


def forget_erased() -> bool:
    """Housekeeping: take the trigrams of texts that have gone out of the index. Returns whether there were any.

    Building it anew takes a second for 200,000 items. Nothing else has such a rest: PostgreSQL's own vacuum sees to it.
    """
    if connection.vendor != "sqlite":
        return False
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM media_fts_erased")
        if not cursor.rowcount:
            return False
        cursor.execute("INSERT INTO media_fts(media_fts) VALUES ('rebuild')")
    return True


def remove(database: BaseDatabaseWrapper) -> None:
    _execute(database, _REMOVE)


def _execute(database: BaseDatabaseWrapper, statements: dict[str, tuple[str, ...]]) -> None:
    with database.cursor() as cursor:
        for statement in statements[database.vendor]:
            cursor.execute(statement)


@dataclass(frozen=True)
class Found:
    """What a search found: jobs by id, and all jobs of items."""

    media: tuple[uuid.UUID, ...] = ()
    jobs: tuple[uuid.UUID, ...] = ()
    is_cut: bool = False  # there were more items than one search looks at
    is_too_short: bool = False  # nothing in it that could be looked up

    def condition(self) -> Q:
        found = Q(media_id__in=self.media)
        return found | Q(id__in=self.jobs) if self.jobs else found


def look_up(text: str, organization_id: Any) -> Found:
    """Return what fits `text`: every word of it in a name or address, or one word that begins a digest or an id."""
    words = text.lower().split()
    media, jobs = _by_beginning(words[0], organization_id) if len(words) == 1 else ([], [])
    long = [word for word in words if len(word) >= SHORTEST]
    named = _by_name(words, long, organization_id) if long else []
    found = dict.fromkeys([*media, *named[:MOST]])
    is_cut = len(named) > MOST
    return Found(tuple(found), tuple(jobs), is_cut, is_too_short=not (long or found or jobs))


def _by_name(words: list[str], long: list[str], organization_id: Any) -> list[uuid.UUID]:
    rows = MediaText.objects.filter(organization_id=organization_id).order_by("-id")
    if connection.vendor != "sqlite":
        for word in words:
            rows = rows.filter(text__contains=word)
        return list(rows.values_list("media_id", flat=True)[: MOST + 1])
    phrase = " ".join('"' + word.replace('"', '""') + '"' for word in long)
    short = [word for word in words if len(word) < SHORTEST]
    sql = BY_NAME.format(short=" AND instr(t.text, %s) > 0" * len(short))
    with connection.cursor() as cursor:
        cursor.execute(sql, [phrase, uuid.UUID(str(organization_id)).hex, *short, MOST + 1])
        return [uuid.UUID(value) for (value,) in cursor.fetchall()]


def _by_beginning(word: str, organization_id: Any) -> tuple[list[uuid.UUID], list[uuid.UUID]]:
    """Items and jobs whose digest or id begins like this; ranges, because an index answers them."""
    match = HEX.fullmatch(word.replace("-", ""))
    if match is None:
        return [], []
    start = match[1]
    digests = Media.objects.filter(
        organization_id=organization_id, deleted_at=None, sha256__gte=start, sha256__lte=start.ljust(64, "f")
    ).values_list("pk", flat=True)
    found = [] if word.startswith(("job_", "med_")) else list(digests[:MOST])
    if len(start) > 32:
        return found, []
    ids = {"pk__gte": uuid.UUID(start.ljust(32, "0")), "pk__lte": uuid.UUID(start.ljust(32, "f")), "deleted_at": None}
    if not word.startswith("job_"):
        found += _own(Media, organization_id).filter(**ids).values_list("pk", flat=True)[:MOST]
    if word.startswith("med_"):
        return found, []
    jobs = _own(Job, organization_id).filter(**ids).order_by().values_list("pk", flat=True)
    return found, list(jobs[:MOST])


def _own(model: Any, organization_id: Any) -> Any:
    """The organisation's rows, to be found by their ids: few begin alike, whatever the organisation."""
    return model.objects.filter(walked(model, "organization", organization_id))
