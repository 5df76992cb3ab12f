"""QueueConsumer: tells a browser that shows queues that they changed (QU-21, QX-2, QX-6).

Frame to the browser: {"type": "queues", "seen": value}, first on opening and then whenever the value changed. The page
knows the value it was rendered with; when they differ it asks for its own part again, with its filter, its language and
its permissions, so nothing of a queue ever travels by the socket. From the browser nothing is taken.
"""

from __future__ import annotations

import asyncio
from typing import Any

from connectors.reads import queue_changes
from fcweb.sockets import FORBIDDEN, GuardedConsumer


class QueueConsumer(GuardedConsumer):
    """One socket of a page that shows queues."""

    permission = "connectors.view_queue"

    async def connect(self) -> None:
        self.tasks: list[asyncio.Task[None]] = []
        if not await self.is_permitted():
            await self.close(code=FORBIDDEN)
            return
        await self.accept()
        self.value = ""
        self.wake = asyncio.Event()
        self.tasks = [asyncio.create_task(self._send()), asyncio.create_task(self.recheck())]
        queue_changes.CHANGES.join(self)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any) -> None:
        """Take nothing. Any: channels' signature."""

    async def disconnect(self, code: int) -> None:
        queue_changes.CHANGES.leave(self)
        for task in self.tasks:
            task.cancel()

    def tell(self, value: str) -> None:
        """Take the newest value; a slow client gets the last of several."""
        self.value = value
        self.wake.set()

    async def _send(self) -> None:
        while True:
            await self.wake.wait()
            self.wake.clear()
            await self.send_json({"type": "queues", "seen": self.value})
