"""Text index: substrings of subjects and addresses by trigrams: FTS5 on SQLite, pg_trgm on PostgreSQL (design 5).

The index belongs to the tables: triggers (SQLite) or the index itself (PostgreSQL) keep it, whoever writes.
Where it cannot be made (extension not allowed) `is_ready` is False, and search looks at a bounded time instead.
A later migration that rebuilds a table on SQLite drops its triggers; `ensure` puts them back and refills the index.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import DatabaseError, connection, transaction

SHORTEST = 3  # characters a trigram index can look for
_COLUMNS = {"tracking_trackedmessage": "subject_key", "tracking_addressname": "key"}


def ensure() -> bool:
    """Make what is missing of the index and fill it; return whether it is there afterwards."""
    if connection.vendor == "sqlite":
        for table, column in _COLUMNS.items():
            if not _has_triggers(table):
                _make_fts(table, column)
        return True
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
            for table, column in _COLUMNS.items():
                cursor.execute(f"CREATE INDEX IF NOT EXISTS {table}_trgm ON {table} USING gin ({column} gin_trgm_ops)")
    except DatabaseError:
        return False
    return True


def remove() -> None:
    """Take the index away (reverse of the migration); the extension stays, others may use it."""
    with connection.cursor() as cursor:
        for table in _COLUMNS:
            if connection.vendor == "sqlite":
                for kind in ("insert", "delete", "update"):
                    cursor.execute(f"DROP TRIGGER IF EXISTS {table}_fts_{kind}")
                cursor.execute(f"DROP TABLE IF EXISTS {table}_fts")
            else:
                cursor.execute(f"DROP INDEX IF EXISTS {table}_trgm")


def is_ready() -> bool:
    """Tell whether substrings can be looked up. One small catalog query."""
    if connection.vendor == "sqlite":
        return all(_has_triggers(table) for table in _COLUMNS)
    with connection.cursor() as cursor:
        names = [f"{table}_trgm" for table in _COLUMNS]
        cursor.execute("SELECT count(*) FROM pg_indexes WHERE indexname = ANY(%s)", [names])
        return bool(cursor.fetchone()[0] == len(names))


def keys_containing(model: Any, text: str, *, limit: int) -> Sequence[int]:  # Any: TrackedMessage or AddressName
    """Return up to `limit` primary keys of rows whose indexed text contains `text` (folded, 3 characters or more)."""
    table = model._meta.db_table
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            phrase = '"' + text.replace('"', '""') + '"'
            cursor.execute(f"SELECT rowid FROM {table}_fts WHERE {table}_fts MATCH %s LIMIT %s", [phrase, limit])
        else:
            pattern = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
            # Materialized: the planner would walk the primary key backwards for a rare word.
            cursor.execute(
                f"WITH hit AS MATERIALIZED (SELECT id FROM {table} WHERE {_COLUMNS[table]} LIKE %s LIMIT %s)"
                " SELECT id FROM hit",
                [f"%{pattern}%", limit],
            )
        return [key for (key,) in cursor.fetchall()]


def _has_triggers(table: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s AND name LIKE %s",
            [table, f"{table}_fts_%"],
        )
        return bool(cursor.fetchone()[0] == 3)


def _make_fts(table: str, column: str) -> None:
    fts = f"{table}_fts"
    forget = f"INSERT INTO {fts} ({fts}, rowid, {column}) VALUES ('delete', old.id, old.{column})"
    learn = f"INSERT INTO {fts} (rowid, {column}) VALUES (new.id, new.{column})"
    with connection.cursor() as cursor:
        for kind in ("insert", "delete", "update"):
            cursor.execute(f"DROP TRIGGER IF EXISTS {fts}_{kind}")
        cursor.execute(
            f"CREATE VIRTUAL TABLE IF NOT EXISTS {fts} USING fts5({column}, content='{table}', content_rowid='id',"
            " tokenize='trigram', columnsize=0)"
        )
        cursor.execute(f"CREATE TRIGGER {fts}_insert AFTER INSERT ON {table} BEGIN {learn}; END")
        cursor.execute(f"CREATE TRIGGER {fts}_delete AFTER DELETE ON {table} BEGIN {forget}; END")
        cursor.execute(
            f"CREATE TRIGGER {fts}_update AFTER UPDATE OF {column} ON {table}"
            f" WHEN old.{column} <> new.{column} BEGIN {forget}; {learn}; END"
        )
        cursor.execute(f"INSERT INTO {fts} ({fts}) VALUES ('rebuild')")
