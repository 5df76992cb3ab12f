"""SharedReader: one reading of the database for all sockets of a process, in a thread of its own (design 6).

It reads while at least one socket is there. Trouble is logged and waited out, the database's like any other; the sockets
stay, and who waits for the first reading gets it.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Generic, Protocol, TypeVar

from django.db import connection

logger = logging.getLogger(__name__)
_TROUBLE_SECONDS = 1.0

Watcher = TypeVar("Watcher")
Result = TypeVar("Result")


class InThread(Protocol):
    """Runs a callable in the thread of the reader, which keeps one connection to the database."""

    def __call__(self, work: Callable[[], Result]) -> Awaitable[Result]: ...


class SharedReader(ABC, Generic[Watcher]):
    """Watchers and the task that reads for them; all its members are used in the event loop alone."""

    def __init__(self) -> None:
        self.watchers: set[Watcher] = set()
        self._task: asyncio.Task[None] | None = None
        self._has_read = asyncio.Event()

    @abstractmethod
    def begin(self) -> None:
        """Forget what an earlier run knew; the first watcher has come."""

    @abstractmethod
    async def turn(self, in_thread: InThread) -> float:
        """Read once and tell the watchers; return the seconds until the next turn."""

    def join(self, watcher: Watcher) -> None:
        """Start with the first watcher."""
        self.watchers.add(watcher)
        if self._task is None or self._task.done() or self._task.get_loop() is not asyncio.get_running_loop():
            self.begin()
            self._has_read = asyncio.Event()
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def ready(self) -> None:
        """Wait until the reader has its place: what is committed from now on reaches every watcher."""
        await self._has_read.wait()

    def leave(self, watcher: Watcher) -> None:
        """End with the last watcher."""
        self.watchers.discard(watcher)
        if not self.watchers and self._task is not None:
            self._task.cancel()
            self._task = None

    async def _run(self) -> None:
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=type(self).__name__)
        in_thread: InThread = partial(asyncio.get_running_loop().run_in_executor, thread)
        try:
            while True:
                try:
                    pause = await self.turn(in_thread)
                    self._has_read.set()
                except Exception:
                    logger.exception("sockets cannot be served", extra={"reader": type(self).__name__})
                    await in_thread(_hang_up)
                    pause = _TROUBLE_SECONDS
                if pause:
                    await asyncio.sleep(pause)
        finally:
            thread.submit(_hang_up)
            thread.shutdown(wait=False)


def _hang_up() -> None:
    """Close this thread's connection; `connection` names another one in each thread."""
    connection.close()
