"""LiveConsumer: one browser's view of the stream: its filter, its gap after a reconnect, its bounded buffer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from asgiref.sync import sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.template.loader import render_to_string
from django.utils import timezone, translation

from tracking import search, stream
from tracking.search import EventRow, SearchQuery

PERMISSION = "tracking.view_trackingevent"
FORBIDDEN = 4403
_BUFFER = 2000  # rows a slow client may be behind before it gets a gap frame (MTL-3)
_RECHECK_SECONDS = 30.0


class LiveConsumer(AsyncJsonWebsocketConsumer):  # type: ignore[misc]  # channels ships no types
    """Frames to the browser: rows, gap, state. From it: filter (with the last id it saw)."""

    async def connect(self) -> None:
        self.query = SearchQuery()
        self.buffer: list[EventRow] = []
        self.lost_from = 0
        self.wake = asyncio.Event()
        self.watcher = stream.Watcher(push=self.push)
        self.tasks: list[asyncio.Task[None]] = []
        if not await self._permitted():
            await self.close(code=FORBIDDEN)
            return
        await self.accept()
        self.language = str(self.scope.get("cookies", {}).get("django_language", ""))

    async def receive_json(self, content: Any, **kwargs: Any) -> None:  # Any: what a browser may send
        """Take a filter; the first one starts the stream, after the gap since `last`."""
        if not isinstance(content, dict):
            return
        self.query = search.parse(str(content.get("q", ""))[:1000], now=timezone.now())
        language = str(content.get("language", ""))
        self.language = language if language in {"en", "fr"} else "en"
        if self.tasks:
            return
        stream.TAIL.join(self.watcher)
        last = content.get("last")
        seen = last if isinstance(last, int) and last > 0 else 0
        await self._catch_up(seen)
        self.tasks = [asyncio.create_task(self._drain()), asyncio.create_task(self._recheck())]

    async def disconnect(self, code: int) -> None:
        stream.TAIL.leave(self.watcher)
        for task in self.tasks:
            task.cancel()

    def push(self, rows: Sequence[EventRow]) -> None:
        """Take rows from the tail; never waits."""
        if len(self.buffer) > _BUFFER:
            self.lost_from = self.lost_from or self.buffer[0].pk
            self.buffer.clear()
        self.buffer.extend(rows)
        self.wake.set()

    async def _catch_up(self, seen: int) -> None:
        """Send what was committed since the client was last here (MTL-1)."""
        newest = await sync_to_async(stream.newest_id)()
        self.sent = newest
        if not seen or seen >= newest:
            await self.send_json({"type": "state", "state": "live", "last": newest})
            return
        if newest - seen > stream.GAP_ROWS:
            await self.send_json({"type": "gap", "from": seen, "to": newest, "count": newest - seen})
            return
        rows = await sync_to_async(stream.after)(seen, limit=stream.GAP_ROWS)
        await self._send_rows(rows)
        self.sent = max(newest, rows[-1].pk if rows else 0)
        await self.send_json({"type": "state", "state": "live", "last": self.sent})

    async def _drain(self) -> None:
        while True:
            await self.wake.wait()
            self.wake.clear()
            rows, self.buffer = self.buffer, []
            if self.lost_from:
                await self.send_json({"type": "gap", "from": self.lost_from, "to": rows[0].pk if rows else 0})
                self.lost_from = 0
            await self._send_rows(rows)

    async def _send_rows(self, rows: Sequence[EventRow]) -> None:
        """Send the rows the filter passes, newest last; the client drops what it has (MTL-2)."""
        wanted = [row for row in rows if search.matches(self.query, row)]
        if not wanted:
            return
        html = await sync_to_async(_render)(wanted, self.language)
        await self.send_json(
            {"type": "rows", "html": html, "last": max(row.pk for row in wanted), "count": len(wanted)}
        )

    async def _recheck(self) -> None:
        """Close the socket when the right to look is taken away (MTL-5)."""
        while True:
            await asyncio.sleep(_RECHECK_SECONDS)
            if not await self._permitted():
                await self.close(code=FORBIDDEN)
                return

    async def _permitted(self) -> bool:
        return await sync_to_async(_may_watch)(self.scope.get("user"))


def _may_watch(user: Any) -> bool:  # Any: AnonymousUser or the project's user
    if user is None or not user.is_authenticated:
        return False
    fresh = type(user._wrapped if hasattr(user, "_wrapped") else user).objects.filter(pk=user.pk).first()
    return fresh is not None and fresh.is_active and fresh.has_perm(PERMISSION)


def _render(rows: Sequence[EventRow], language: str) -> str:
    with translation.override(language or None):
        return "".join(
            render_to_string("tracking/_event_row.html", {"row": row, "is_new": True}) for row in reversed(rows)
        )
