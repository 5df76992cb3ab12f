"""LiveConsumer: one browser's view of the stream: its filter, its gap after a reconnect, its bounded buffer.

Frames to the browser: `rows` (html newest first, last, count), `filter` (the newest rows of a new filter, replacing
what is shown, and the words not understood), `gap` (from, to: rows that were skipped), `state` (live; last).
From the browser: {"q": filter, "last": id, "language": "fr"}; the first one starts the stream, later ones change it.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from functools import lru_cache
from typing import Any

from channels.db import database_sync_to_async
from django.conf import settings
from django.utils import timezone

from fcweb.sockets import FORBIDDEN, GuardedConsumer
from tracking import query as language_of_search
from tracking import search, stream
from tracking.query import SearchQuery
from tracking.rows import EventRow, rows_of
from tracking.stream import Jump

SHOWN = 50  # rows a new filter starts with
_LOOKED_THROUGH = 5000  # ids of a jumped range that a filter is held against


class LiveConsumer(GuardedConsumer):
    """One socket; a watcher of the tail."""

    permission = "tracking.view_trackingevent"
    buffer_rows = 2000  # rows a slow client may be behind before it gets a gap frame (MTL-3)

    async def connect(self) -> None:
        self.query = SearchQuery()
        self.text = ""
        self.language = settings.LANGUAGE_CODE
        self.pending: deque[tuple[str, int] | Jump] = deque()  # encoded frames with their number of rows
        self.pending_rows = 0
        self.sent = 0  # the client has everything up to here
        self.newest = 0  # and should have everything up to here
        self.lost_from: int | None = None
        self.wake = asyncio.Event()
        self.order = asyncio.Lock()  # one writer at a time: frames of an old filter never follow a new one
        self.tasks: list[asyncio.Task[None]] = []
        if not await self.is_permitted():
            await self.close(code=FORBIDDEN)
            return
        await self.accept()

    async def receive_json(self, content: Any, **kwargs: Any) -> None:  # Any: what a browser may send
        """Take a filter; the first one starts the stream, after the gap since `last`."""
        if not isinstance(content, dict):
            return
        text = str(content.get("q", ""))[:1000]
        language = str(content.get("language", ""))
        self.language = language if language in dict(settings.LANGUAGES) else settings.LANGUAGE_CODE
        async with self.order:
            changed = bool(self.tasks) and text != self.text
            self.text = text
            self.query = language_of_search.parse(text, now=timezone.now())
            if changed:
                await self._start_over()
                return
            if self.tasks:
                return
            stream.TAIL.join(self)
            await stream.TAIL.ready()  # or what is committed between the catching up and the tail's first look is lost
            last = content.get("last")
            await self._catch_up(last if isinstance(last, int) and 0 <= last < 2**62 else None)
            self.tasks = [asyncio.create_task(self._drain()), asyncio.create_task(self.recheck())]

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any) -> None:
        """Take a frame; what is no JSON is nothing. Any: channels' signature."""
        try:
            await self.receive_json(json.loads(text_data or ""))
        except ValueError:
            return

    async def disconnect(self, code: int) -> None:
        stream.TAIL.leave(self)
        for task in self.tasks:
            task.cancel()

    def push(self, batch: stream.Batch) -> None:
        """Take a batch from the tail; never waits (MTL-3)."""
        frame, count = batch.frame(self.query, self.language)
        self.newest = batch.position
        if not frame:
            return
        if self.pending_rows + count > self.buffer_rows and self.pending:
            if self.lost_from is None:
                self.lost_from = self.sent
            self.pending.clear()
            self.pending_rows = 0
        self.pending.append((frame, count))
        self.pending_rows += count
        self.wake.set()

    def skip(self, jump: Jump) -> None:
        """Note that the tail jumped; the range is filled, or told, in its turn (MTL-3, MTL-4)."""
        before = self.pending[-1] if self.pending else None
        if isinstance(before, Jump):
            self.pending[-1] = Jump(min(before.low, jump.low), jump.high, jump.position)
        else:
            self.pending.append(jump)
        self.newest = jump.position
        self.wake.set()

    async def _fill(self, jump: Jump) -> None:
        """Send the newest matching rows of a range, after a gap frame when there may be more of them."""
        frame, is_whole = await database_sync_to_async(_newest_between)(self.query, self.language, jump)
        if not is_whole:
            await self.send_json({"type": "gap", "from": jump.low, "to": jump.high})
        if frame:
            await self.send(text_data=frame)

    async def _catch_up(self, seen: int | None) -> None:
        """Send what was committed since the client was last here, 0 before the first event of all (MTL-1)."""
        newest = await database_sync_to_async(stream.newest_id)()
        if seen is not None and await database_sync_to_async(stream.is_long_gap)(seen, newest):
            await self.send_json({"type": "gap", "from": seen, "to": newest})
        elif seen is not None and seen < newest:
            rows = await database_sync_to_async(stream.after)(seen, limit=stream.GAP_ROWS * 2)
            batch = stream.Batch(rows, position=rows[-1].pk if rows else newest)
            frame, _count = await database_sync_to_async(batch.frame)(self.query, self.language)
            if frame:
                await self.send(text_data=frame)
        self.sent = self.newest = newest
        await self.send_json({"type": "state", "state": "live", "last": newest})

    async def _start_over(self) -> None:
        """Replace what the client shows by the newest rows of its new filter."""
        self.pending.clear()
        self.pending_rows = 0
        self.lost_from = None
        newest, rows = await database_sync_to_async(_newest_rows)(self.query)
        batch = stream.Batch(tuple(reversed(rows)), position=newest)
        frame, count = await database_sync_to_async(batch.frame)(self.query, self.language)
        html = json.loads(frame)["html"] if frame else ""
        self.sent = self.newest = newest
        await self.send_json(
            {"type": "filter", "html": html, "last": newest, "count": count, "wrong": list(self.query.problems)}
        )

    async def _drain(self) -> None:
        while True:
            await self.wake.wait()
            self.wake.clear()
            async with self.order:
                while self.pending or self.lost_from is not None:
                    if self.lost_from is not None:
                        lost, self.lost_from = self.lost_from, None
                        await self.send_json({"type": "gap", "from": lost, "to": self.newest})
                        continue
                    item = self.pending.popleft()
                    if isinstance(item, Jump):
                        await self._fill(item)
                    else:
                        frame, count = item
                        self.pending_rows -= count
                        await self.send(text_data=frame)
                    self.sent = self.newest

    async def tick(self) -> None:
        """Let a quiet filter, too, move on: a reconnect then asks for little."""
        if not self.pending and self.lost_from is None:
            await self.send_json({"type": "state", "state": "live", "last": self.newest})


@lru_cache(maxsize=64)
def _newest_between(query: SearchQuery, language: str, jump: Jump) -> tuple[str, bool]:
    """Return the frame of the newest matching rows of a range, "" without any, and whether they are all of them."""
    low = max(jump.low, jump.high - _LOOKED_THROUGH)
    matching = search.filtered(query).filter(pk__gt=low, pk__lte=jump.high).order_by("-pk")
    found = list(matching[: SHOWN + 1])
    rows = rows_of(found[:SHOWN][::-1])
    frame, _count = stream.Batch(rows, position=jump.position).frame(query, language)
    return frame, low == jump.low and len(found) <= SHOWN


def _newest_rows(query: SearchQuery) -> tuple[int, tuple[EventRow, ...]]:
    newest = stream.newest_id()
    return newest, search.page(query, now=timezone.now(), limit=SHOWN).rows
