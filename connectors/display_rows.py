"""Rows for people and programs at a terminal: aligned columns, or JSON with Exchange's names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

from connectors.queue_pages import Page


class Output(Protocol):
    """What is written to."""

    def write(self, text: str, /) -> object: ...


def write_rows(out: Output, page: Page, *, columns: Sequence[str], as_json: bool) -> None:
    """Write a page: `{"rows": [...], "first": n, "total": n, "truncated": bool}`, or columns and a last line (QX-5)."""
    if as_json:
        shown = [{name: _plain(value) for name, value in row.items()} for row in page.rows]
        facts = {"rows": shown, "first": page.first, "total": page.total, "truncated": page.is_truncated}
        out.write(json.dumps(facts, ensure_ascii=False))
        return
    lines = [tuple(columns), *(tuple(_text(row.get(name)) for name in columns) for row in page.rows)]
    widths = [max(len(line[position]) for line in lines) for position in range(len(columns))]
    for line in lines:
        out.write("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    if page.is_truncated:
        out.write(f"{len(page.rows)} of {page.total} rows, from row {page.first}")


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
        return f"{int(seconds // 3600):02d}:{int(seconds % 3600 // 60):02d}:{seconds % 60:05.2f}"
    return value


def _text(value: object) -> str:
    shown = _plain(value)
    text = "" if shown is None else str(shown)
    return text.translate(dict.fromkeys(range(32), " "))[:120]
