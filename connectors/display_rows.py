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


def write_rows(out: Output, page: Page, *, columns: Sequence[str], as_json: bool, page_info: bool = False) -> None:
    """Write a page: `{"rows": [...], "first": n, "total": n, "truncated": bool}`, or columns and a last line.

    The last line stands there when rows are missing (QX-5), or when `page_info` asks for it (QU 1.8).
    """
    if as_json:
        shown = [{name: plain(value) for name, value in row.items()} for row in page.rows]
        facts = {"rows": shown, "first": page.first, "total": page.total, "truncated": page.is_truncated}
        out.write(json.dumps(facts, ensure_ascii=False))
        return
    lines = [tuple(columns), *(tuple(_text(row.get(name)) for name in columns) for row in page.rows)]
    widths = [max(len(line[position]) for line in lines) for position in range(len(columns))]
    for line in lines:
        out.write("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    if page.is_truncated or page_info:
        out.write(f"{len(page.rows)} of {page.total} rows, from row {page.first}")


def plain(value: object) -> object:
    """Return a value as JSON has it: times in UTC to the millisecond, spans as hh:mm:ss.ff (QU 1.5)."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
        return f"{int(seconds // 3600):02d}:{int(seconds % 3600 // 60):02d}:{seconds % 60:05.2f}"
    if isinstance(value, list):
        return [plain(part) for part in value]
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    return value


def text_of(value: object) -> str:
    """Return a value as one cell of text; nothing is "", a list stands in braces as Exchange writes it."""
    shown = plain(value)
    if isinstance(shown, list):
        return "{" + ", ".join(text_of(part) for part in shown) + "}"
    if isinstance(shown, dict):
        return "; ".join(f"{name}={text_of(part)}" for name, part in shown.items())
    return "" if shown is None else str(shown)


def _text(value: object) -> str:
    return text_of(value).translate(dict.fromkeys(range(32), " "))[:120]
