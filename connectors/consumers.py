"""QueueConsumer: tells a browser that shows queues that they changed (QU-21, QX-2, QX-6).

Frame to the browser: {"type": "queues", "seen": value}, first on opening and then whenever the value changed. The page
knows the value it was rendered with; when they differ it asks for its own part again, with its filter, its language and
its permissions, so nothing of a queue ever travels by the socket. From the browser nothing is taken.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from channels.db import database_sync_to_async
from django.db import DatabaseError

from connectors.reads import queue_changes
from fcweb.sockets import FORBIDDEN, GuardedConsumer

logger = logging.getLogger(__name__)
_TROUBLE_SECONDS = 2.0


class QueueConsumer(GuardedConsumer):
    """One socket of a page that shows queues."""

    permission = "connectors.view_queue"

    async def connect(self) -> None:
        self.tasks: list[asyncio.Task[None]] = []
        if not await self.is_permitted():
            await self.close(code=FORBIDDEN)
            return
        await self.accept()
        self.tasks = [asyncio.create_task(self._watch()), asyncio.create_task(self.recheck())]

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any) -> None:
        """Take nothing. Any: channels' signature."""

    async def disconnect(self, code: int) -> None:
        for task in self.tasks:
            task.cancel()

    async def _watch(self) -> None:
        told = ""
        while True:
            try:
                value = await database_sync_to_async(queue_changes.READING.now)()
            except DatabaseError:
                logger.exception("the queues cannot be watched")
                await asyncio.sleep(_TROUBLE_SECONDS)
                continue
            if value != told:
                told = value
                await self.send_json({"type": "queues", "seen": value})
            await asyncio.sleep(queue_changes.SECONDS)
