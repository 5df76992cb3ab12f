"""Stream: one tail of the event table per web process, fanned out to the connected sockets (design 6, MTL-1 to MTL-5).

Promises: every committed event once, in commit order; rows are rendered once a poll and language and encoded once a
poll, language and filter, however many sockets watch. The table is the bus; nothing depends on a channel layer.
A flood (a start or an operation with 100,000 messages) is jumped over when it is longer than a page shows, so that
what is committed now is seen now (MTL-4); watchers are told the range and fill it as their filter allows.
On PostgreSQL an id may become visible after a younger one: the tail keeps the holes it saw and looks into them again
until no transaction that could fill them is left. A flood comes mostly through holes there: while a batch is being
written others commit younger events. What waits in holes counts, is read in batches and is jumped over like the rest.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from django.db import connection
from django.db.models import Q, QuerySet
from django.template.loader import render_to_string
from django.utils import translation

from fcweb.shared_reader import InThread, SharedReader
from tracking.models import TrackingEvent
from tracking.query import SearchQuery, matches
from tracking.rows import EventRow, rows_of

POLL_SECONDS = 0.04
BATCH = 200  # MTL-4
GAP_ROWS = 1000  # a longer gap is answered with a search link; a tail further behind jumps to the end
_BEHIND_SECONDS = 0.3
_FLOOD_SECONDS = 3.0
_LOOK_BACK = 5000  # ids searched for holes when the tail starts
_HOLE_SECONDS = 60.0  # a transaction may take ids before it has a number of its own
_HOLES = 200  # ranges remembered


def newest_id() -> int:
    """Return the highest event id."""
    return TrackingEvent.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def after(last: int, *, limit: int) -> tuple[EventRow, ...]:
    """Return the events that follow `last`, oldest first."""
    events = TrackingEvent.objects.filter(pk__gt=last).select_related("message").order_by("pk")
    return rows_of(list(events[:limit]))


def is_long_gap(seen: int, newest: int) -> bool:
    """Tell whether more events than a page shows follow `seen`; ids may be far apart (PostgreSQL, retention)."""
    if newest - seen <= GAP_ROWS:
        return False
    return TrackingEvent.objects.filter(pk__gt=seen, pk__lte=newest).order_by()[: GAP_ROWS + 1].count() > GAP_ROWS


class Batch:
    """Events of one poll; what is rendered or encoded is kept for the next socket that wants the same."""

    def __init__(self, rows: Sequence[EventRow], *, position: int) -> None:
        self.rows = rows
        self.position = position  # a client that saw this batch goes on from here
        self._html: dict[tuple[int, str], str] = {}
        self._frames: dict[tuple[SearchQuery, str], tuple[str, int]] = {}

    def frame(self, query: SearchQuery, language: str) -> tuple[str, int]:
        """Return the JSON text of the matching rows, newest first, and their number; ("", 0) when none matches."""
        key = (query, language)
        if key not in self._frames:
            wanted = [row for row in self.rows if matches(query, row)]
            text = ""
            if wanted:
                html = "".join(self._row_html(row, language) for row in reversed(wanted))
                text = json.dumps({"type": "rows", "html": html, "last": self.position, "count": len(wanted)})
            self._frames[key] = (text, len(wanted))
        return self._frames[key]

    def _row_html(self, row: EventRow, language: str) -> str:
        key = (row.pk, language)
        if key not in self._html:
            self._html[key] = render_row(row, language)
        return self._html[key]


def render_row(row: EventRow, language: str) -> str:
    """Return a row as lists show it, marked as new."""
    with translation.override(language or None):
        return render_to_string("tracking/_event_row.html", {"row": row, "is_new": True}).strip()


@dataclass(frozen=True, slots=True)
class Jump:
    """Ids the tail did not read, though some were read already: behind `low`, up to `high`."""

    low: int
    high: int
    position: int  # a client goes on from here


class Watcher(Protocol):
    """One socket; all its members are used in the event loop alone."""

    query: SearchQuery
    language: str

    def push(self, batch: Batch) -> None:
        """Take a batch; must not wait."""

    def skip(self, jump: Jump) -> None:
        """Learn what was jumped over; must not wait."""


@dataclass(slots=True)
class _Hole:
    """Ids that were not there although younger ones were (PostgreSQL)."""

    low: int
    high: int
    seen_at: float
    newest_transaction: int  # pg_snapshot_xmax when it was seen


@dataclass(slots=True)
class Cursor:
    """Reading position in the event table: everything up to `last` was returned, except what `holes` may still give."""

    last: int = 0
    holes: list[_Hole] = field(default_factory=list)
    full_since: float | None = None  # reads have returned as much as they may since then; None: the last one did not
    flood_until: float = 0.0  # what is longer than a batch is jumped over before it is read

    @classmethod
    def at_end(cls) -> Cursor:
        """Start behind the newest committed event."""
        cursor = cls()
        cursor._go_to_end()
        return cursor

    @property
    def position(self) -> int:
        """The id a client must go on from so that nothing is missed; it drops what it has (MTL-2)."""
        return min([self.last, *(hole.low - 1 for hole in self.holes)])

    def has_fallen_behind(self) -> bool:
        """Tell whether more waits than a page shows, or reading has not caught up for a while (MTL-4)."""
        now = time.monotonic()
        is_flood = now < self.flood_until
        if self.full_since is None and not is_flood:
            return False
        left = newest_id() - self.last
        if left <= GAP_ROWS and self.holes:
            left += self._inside().order_by()[:GAP_ROWS].count()
        is_long = is_flood or (self.full_since is not None and now - self.full_since > _BEHIND_SECONDS)
        return left > GAP_ROWS or (left > BATCH and is_long)

    def jump(self) -> Jump:
        """Go to the end and say what was passed over; while the flood goes on it jumps again before it reads."""
        self.full_since = None
        self.flood_until = time.monotonic() + _FLOOD_SECONDS
        low = self.last
        if self.holes:
            arrived = list(self._inside().order_by("pk").values_list("pk", flat=True))
            self.holes = [part for hole in self.holes for part in _without(hole, arrived)]
            low = min([low, *(key - 1 for key in arrived[:1])])
        self._go_to_end()
        return Jump(low=low, high=self.last, position=self.position)

    def _go_to_end(self) -> None:
        newest = newest_id()
        if connection.vendor != "sqlite":
            known = max(self.last, newest - _LOOK_BACK, 0)
            recent = TrackingEvent.objects.filter(pk__gt=known, pk__lte=newest).order_by("pk")
            self._note_holes(known, list(recent.values_list("pk", flat=True)))
        self.last = max(self.last, newest)

    def read(self, limit: int = BATCH) -> tuple[EventRow, ...]:
        """Return the next events, at most `limit`; () when there are none."""
        rows = self._read(limit)
        if len(rows) < limit:
            self.full_since = None
        elif self.full_since is None:
            self.full_since = time.monotonic()
        return rows

    def _read(self, limit: int) -> tuple[EventRow, ...]:
        if connection.vendor == "sqlite":
            rows = after(self.last, limit=limit)
            if rows:
                self.last = rows[-1].pk
            return rows
        late = self._late(limit)
        fresh = TrackingEvent.objects.filter(pk__gt=self.last).select_related("message").order_by("pk")
        found = list(fresh[: limit - len(late)])
        if found:
            self._note_holes(self.last, [event.pk for event in found])
            self.last = found[-1].pk
        return rows_of([*late, *found])

    def _inside(self) -> QuerySet[TrackingEvent]:
        """Return the events that have come into the holes."""
        inside = Q()
        for hole in self.holes:
            inside |= Q(pk__gte=hole.low, pk__lte=hole.high)
        return TrackingEvent.objects.filter(inside)

    def _late(self, limit: int) -> list[TrackingEvent]:
        """Return events that came into the holes; forget holes that nobody can fill any more."""
        if not self.holes:
            return []
        # The snapshot is taken first: what it calls finished is visible to the look that follows.
        oldest_running, _newest = _snapshot()
        found = list(self._inside().select_related("message").order_by("pk")[:limit])
        is_all = len(found) < limit
        old = time.monotonic() - _HOLE_SECONDS
        arrived = [event.pk for event in found]
        kept: list[_Hole] = []
        for hole in self.holes:
            if is_all and hole.seen_at < old and oldest_running >= hole.newest_transaction:
                continue
            kept.extend(_without(hole, arrived))
        self.holes = kept[-_HOLES:]
        return found

    def _note_holes(self, last: int, keys: Sequence[int]) -> None:
        missing = []
        for key in keys:
            if key > last + 1:
                missing.append((last + 1, key - 1))
            last = key
        if missing:
            _oldest, newest = _snapshot()
            now = time.monotonic()
            self.holes.extend(_Hole(low, high, now, newest) for low, high in missing)
            self.holes = self.holes[-_HOLES:]


def _without(hole: _Hole, keys: Iterable[int]) -> list[_Hole]:
    """Return what is left of a hole when `keys`, ascending, have arrived."""
    parts = []
    low = hole.low
    for key in keys:
        if low <= key <= hole.high:
            if key > low:
                parts.append(_Hole(low, key - 1, hole.seen_at, hole.newest_transaction))
            low = key + 1
    if low <= hole.high:
        parts.append(_Hole(low, hole.high, hole.seen_at, hole.newest_transaction))
    return parts


def _snapshot() -> tuple[int, int]:
    """Return the oldest running transaction and the first one not yet begun (PostgreSQL)."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_snapshot_xmin(s)::text, pg_snapshot_xmax(s)::text FROM pg_current_snapshot() AS s")
        oldest, newest = cursor.fetchone()
    return int(oldest), int(newest)


class Tail(SharedReader[Watcher]):
    """Reads the table while somebody watches."""

    def begin(self) -> None:
        """Start at the end of the table."""
        self._cursor: Cursor | None = None

    async def turn(self, in_thread: InThread) -> float:
        """Read one batch, or jump, and give it to everybody."""
        wanted = {(watcher.query, watcher.language) for watcher in self.watchers}
        self._cursor, batch, jump = await in_thread(partial(_read, self._cursor, wanted))
        if batch is not None:
            for watcher in list(self.watchers):
                watcher.push(batch)
        if jump is not None:
            for watcher in list(self.watchers):
                watcher.skip(jump)
        return POLL_SECONDS if batch is None or len(batch.rows) < BATCH else 0.0


def _read(cursor: Cursor | None, wanted: Iterable[tuple[SearchQuery, str]]) -> tuple[Cursor, Batch | None, Jump | None]:
    """Read one batch and encode it for everybody who watches now; runs in the tail's thread.

    Returns the cursor to go on from, the batch, and what the cursor jumped over instead of reading.
    """
    if cursor is None:
        return Cursor.at_end(), None, None
    if cursor.has_fallen_behind():
        return cursor, None, cursor.jump()
    rows = cursor.read()
    if not rows:
        return cursor, None, None
    batch = Batch(rows, position=cursor.position)
    for query, language in wanted:
        batch.frame(query, language)
    return cursor, batch, None


TAIL = Tail()
