"""Watch: inotify as a hint that shortens the wait for the next scan (PU-1; the scan stays the truth)."""

from __future__ import annotations

import logging
import select
from collections.abc import Iterable
from pathlib import Path

from inotify_simple import INotify, flags

logger = logging.getLogger(__name__)


class Watcher:
    """Names seen closed after writing or moved in, per watched directory; other directories only wake."""

    def __init__(self) -> None:
        self._inotify = INotify()
        self._closed: dict[int, set[str]] = {}

    def watch_intake(self, directory: Path, closed: set[str]) -> None:
        """Collect into `closed` the names whose writer is done: they need no settle time."""
        self._add(directory, flags.CLOSE_WRITE | flags.MOVED_TO, closed)

    def watch_bell(self, directory: Path) -> None:
        """Wake when another process rings."""
        self._add(directory, flags.ATTRIB, None)

    def watch_drops(self, directories: Iterable[Path]) -> None:
        """Wake when a drop directory loses a file or its access changes (DR-32)."""
        for directory in directories:
            self._add(directory, flags.DELETE | flags.MOVED_FROM | flags.ATTRIB, None)

    def _add(self, directory: Path, mask: int, closed: set[str] | None) -> None:
        try:
            descriptor = self._inotify.add_watch(directory, mask)
        except OSError as error:
            logger.info("no inotify here, polling alone", extra={"directory": str(directory), "error": str(error)})
            return
        if closed is not None:
            self._closed[descriptor] = closed

    def drain(self) -> bool:
        """Take over what has happened; tell whether anything did that is not our own doing."""
        woken = False
        for event in self._inotify.read(timeout=0):
            closed = self._closed.get(event.wd)
            if closed is None:
                woken = woken or not event.name.startswith(".")  # our temp files, renamed when they are published
            elif event.name[-4:].lower() == ".eml":  # the others are our own claims and `.bad` files
                woken = True
                closed.add(event.name)
        return woken

    def wait(self, seconds: float) -> None:
        """Sleep until something happens or the time is up; what happened is kept for `drain`."""
        select.select([self._inotify.fileno()], [], [], seconds)

    def close(self) -> None:
        """Give the descriptor back."""
        self._inotify.close()
