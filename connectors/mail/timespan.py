"""Time spans as Exchange writes them, `[d.]hh:mm:ss`: read and written, whole seconds."""

from __future__ import annotations

import re
from datetime import timedelta

_SPAN = re.compile(r"(?:(\d{1,5})\.)?(\d{1,2}):(\d{2}):(\d{2})", re.ASCII)


class TimeSpanError(ValueError):
    """The text is no time span."""


def parse_timespan(text: str) -> timedelta:
    """Read `2.00:00:00` or `00:05:00`; raises TimeSpanError. Hours end at 23, minutes and seconds at 59."""
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        raise TimeSpanError(text)
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    if hours > 23 or minutes > 59 or seconds > 59:
        raise TimeSpanError(text)
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def format_timespan(span: timedelta) -> str:
    """Write a span of at least nothing; days only when there are some."""
    minutes, seconds = divmod(span.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days = f"{span.days}." if span.days else ""
    return f"{days}{hours:02}:{minutes:02}:{seconds:02}"
