"""Stream: one tail of the event table per web process, fanned out to the connected sockets (design 6, MTL-1 to MTL-5).

Promises: rows in commit order, none missed: ids that become visible late on PostgreSQL are found by reading an
overlap again and dropping what was sent. The table is the bus; nothing depends on a channel layer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from asgiref.sync import sync_to_async
from django.db import connection

from tracking.models import TrackingEvent
from tracking.search import EventRow, rows_of

POLL_SECONDS = 0.05
BATCH = 200  # MTL-4
GAP_ROWS = 1000  # a longer gap is answered with a search link
_OVERLAP = 500  # ids looked at again for late commits (PostgreSQL)


def newest_id() -> int:
    """Return the highest event id."""
    return TrackingEvent.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def after(last: int, *, limit: int) -> tuple[EventRow, ...]:
    """Return the events that follow `last`, oldest first."""
    events = TrackingEvent.objects.filter(pk__gt=last).select_related("message").order_by("pk")
    return rows_of(list(events[:limit]))


@dataclass(eq=False, slots=True)
class Watcher:
    """One socket: `push` is called in the event loop with rows in order."""

    push: Callable[[Sequence[EventRow]], None]


class Tail:
    """Reads the table while somebody watches."""

    def __init__(self) -> None:
        self._watchers: set[Watcher] = set()
        self._task: asyncio.Task[None] | None = None
        self._sent: deque[int] = deque(maxlen=_OVERLAP * 4)

    def join(self, watcher: Watcher) -> None:
        """Start with the first watcher."""
        self._watchers.add(watcher)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    def leave(self, watcher: Watcher) -> None:
        """End with the last watcher."""
        self._watchers.discard(watcher)
        if not self._watchers and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        last = await sync_to_async(newest_id)()
        self._sent.clear()
        known = await sync_to_async(self._recent)(last)
        self._sent.extend(known)
        while True:
            rows, last = await sync_to_async(self._read)(last)
            if rows:
                for watcher in list(self._watchers):
                    watcher.push(rows)
            if len(rows) < BATCH:
                await asyncio.sleep(POLL_SECONDS)

    def _recent(self, last: int) -> list[int]:
        recent = TrackingEvent.objects.filter(pk__gt=last - _OVERLAP).order_by("pk")
        return list(recent.values_list("pk", flat=True))

    def _read(self, last: int) -> tuple[tuple[EventRow, ...], int]:
        """Return new rows; on PostgreSQL an older id may become visible after a younger one."""
        if connection.vendor == "sqlite":
            rows = after(last, limit=BATCH)
            return rows, rows[-1].pk if rows else last
        seen = set(self._sent)
        candidates = TrackingEvent.objects.filter(pk__gt=last - _OVERLAP).order_by("pk")
        fresh = [pk for pk in candidates.values_list("pk", flat=True)[: _OVERLAP + BATCH] if pk not in seen][:BATCH]
        if not fresh:
            return (), last
        events = TrackingEvent.objects.filter(pk__in=fresh).select_related("message").order_by("pk")
        self._sent.extend(fresh)
        return rows_of(list(events)), max(last, fresh[-1])


TAIL = Tail()
