"""Many rows at once: explicit keys, executemany on SQLite, COPY on PostgreSQL.

The only place with hand-written INSERT and UPDATE for models. Everything runs in the caller's transaction.
Columns and tables are read from the models, so a renamed field fails the tests here first.
Values are Python values of the field's type (aware UTC datetimes, UUID, str, int, bool, None).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any
from uuid import UUID

from django.db import connection, models
from django.db.models.expressions import RawSQL

Row = Sequence[Any]  # Any: one value per named field, of that field's type


def allocate_keys(model: type[models.Model], count: int) -> range | list[int]:
    """Reserve `count` ascending primary keys; on SQLite the write lock must be held (any atomic block holds it)."""
    table = model._meta.db_table
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = %s", [table])
            row = cursor.fetchone()
            first = (row[0] if row else 0) + 1
            return range(first, first + count)
        cursor.execute(
            "SELECT nextval(pg_get_serial_sequence(%s, %s)) FROM generate_series(1, %s)",
            [table, model._meta.pk.column, count],
        )
        return [key for (key,) in cursor.fetchall()]


def insert(model: type[models.Model], fields: Sequence[str], rows: Sequence[Row]) -> None:
    """Insert `rows`, each with a value for every name in `fields`; defaults of other fields are NOT applied."""
    if not rows:
        return
    columns, converters = _columns(model, tuple(fields))
    table = connection.ops.quote_name(model._meta.db_table)
    names = ", ".join(columns)
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            marks = ", ".join(["%s"] * len(columns))
            cursor.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", _convert(rows, converters))
        else:
            with cursor.cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)


def insert_new(model: type[models.Model], fields: Sequence[str], rows: Sequence[Row]) -> None:
    """Insert those `rows` that break no unique constraint; the key is the database's."""
    if not rows:
        return
    columns, converters = _columns(model, tuple(fields))
    marks = ", ".join(["%s"] * len(columns))
    table = connection.ops.quote_name(model._meta.db_table)
    statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks}) ON CONFLICT DO NOTHING"
    values = _convert(rows, converters) if connection.vendor == "sqlite" else list(rows)
    with connection.cursor() as cursor:
        cursor.executemany(statement, values)


def among(keys: Collection[int]) -> RawSQL:
    """Return what `pk__in` takes for thousands of integer keys: one parameter, whatever their number.

    Django looks at every value of a list several times, which costs more than the update of the rows.
    """
    if connection.vendor == "sqlite":
        return RawSQL("SELECT value FROM json_each(%s)", [json.dumps(list(keys))])
    return RawSQL("SELECT unnest(%s::bigint[])", [list(keys)])


def update(model: type[models.Model], fields: Sequence[str], rows: Sequence[Row], *, where: str = "id") -> int:
    """Set `fields` from each row, whose LAST value is the key of column `where`; return the rows changed."""
    if not rows:
        return 0
    columns, converters = _columns(model, (*fields, where))
    table = connection.ops.quote_name(model._meta.db_table)
    assignments = ", ".join(f"{column} = %s" for column in columns[:-1])
    with connection.cursor() as cursor:
        values = _convert(rows, converters) if connection.vendor == "sqlite" else list(rows)
        cursor.executemany(f"UPDATE {table} SET {assignments} WHERE {columns[-1]} = %s", values)
        return int(cursor.rowcount)


@cache
def _columns(
    model: type[models.Model], fields: tuple[str, ...]
) -> tuple[list[str], list[tuple[int, Callable[[Any], Any]]]]:
    """Return quoted column names and, for SQLite, the positions that need a conversion."""
    columns = []
    converters: list[tuple[int, Callable[[Any], Any]]] = []
    for position, name in enumerate(fields):
        field = model._meta.pk if name == "id" else model._meta.get_field(name)
        assert isinstance(field, models.Field)
        columns.append(connection.ops.quote_name(str(field.column)))
        target = field.target_field if isinstance(field, models.ForeignKey) else field
        if isinstance(target, models.DateTimeField):
            converters.append((position, _sqlite_datetime))
        elif isinstance(target, models.UUIDField):
            converters.append((position, _sqlite_uuid))
    return columns, converters


def _convert(rows: Sequence[Row], converters: list[tuple[int, Callable[[Any], Any]]]) -> list[Row]:
    if not converters:
        return list(rows)
    converted: list[Row] = []
    for row in rows:
        values = list(row)
        for position, convert in converters:
            if values[position] is not None:
                values[position] = convert(values[position])
        converted.append(values)
    return converted


@lru_cache(maxsize=64)  # the rows of a batch carry few different times
def _sqlite_datetime(value: datetime) -> str:
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ")


def _sqlite_uuid(value: UUID) -> str:
    return value.hex
