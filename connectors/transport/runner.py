"""Runner: loops the stages of one process, waits when there is nothing to do, stops when told to.

It knows stages only as named callables that return units of work. One failing stage does not stop the others.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType

from django.db import close_old_connections
from django.utils import timezone

from connectors.transport.watch import Watcher

logger = logging.getLogger(__name__)
_IDLE = timedelta(seconds=1)  # another process may have queued something
_AFTER_ERROR = timedelta(seconds=5)


@dataclass(slots=True, kw_only=True)
class Stage:
    """One stage: `run` does a bounded piece of work; `every` is the pause after it found nothing."""

    name: str
    run: Callable[[datetime], int]
    every: timedelta = _IDLE
    next_due: Callable[[], datetime | None] = lambda: None  # an earlier look than `every`, e.g. a settle time
    # Set for work that can wait, such as deleting: it runs when the other stages found nothing, or after this long.
    patience: timedelta | None = None
    due_at: datetime | None = field(default=None)
    ran_at: datetime | None = field(default=None)

    def is_due(self, now: datetime, *, busy: bool) -> bool:
        """Tell whether the stage is worth running; `busy` when another one had work in this round."""
        if busy and self.patience is not None and self.ran_at is not None and now < self.ran_at + self.patience:
            return False
        if self.due_at is None or self.due_at <= now:
            return True
        due = self.next_due()
        return due is not None and due <= now


class Stop:
    """Set by SIGTERM and SIGINT; the piece of work in hand is finished."""

    def __init__(self) -> None:
        self.event = threading.Event()

    def install(self) -> None:
        """Take over the two signals; only the main thread may."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._set)

    def _set(self, number: int, frame: FrameType | None) -> None:
        self.event.set()


def run_until_idle(stages: Sequence[Stage], *, stop: Stop, patience: timedelta) -> int:
    """Run all stages until none has work left; return the units done.

    Waits for files that only need to settle, at most `patience` without any work. For cron (`--once`).
    """
    total = 0
    idle_since = time.monotonic()
    while not stop.event.is_set():
        done = 0
        for stage in stages:
            if stage.patience is None or not done:
                done += stage.run(timezone.now())
        total += done
        if done:
            idle_since = time.monotonic()
            continue
        waits = [due for stage in stages if (due := stage.next_due()) is not None]
        left = patience.total_seconds() - (time.monotonic() - idle_since)
        if not waits or left <= 0:
            return total
        pause = max(0.01, (min(waits) - timezone.now()).total_seconds())
        stop.event.wait(min(pause, left))
    return total


def run_forever(stages: Sequence[Stage], *, stop: Stop, watcher: Watcher | None, heartbeat: Path) -> None:
    """Run the stages as a daemon until `stop`; the watcher and due times shorten the waits."""
    while not stop.event.is_set():
        now = timezone.now()
        heartbeat.touch()
        if watcher is not None and watcher.drain():
            for stage in stages:
                stage.due_at = None
        done = 0
        for stage in stages:
            if stop.event.is_set():
                return
            if stage.is_due(now, busy=done > 0):
                done += _run(stage, timezone.now())
        if done:
            for stage in stages:
                stage.due_at = None
            continue
        _wait(stages, stop=stop, watcher=watcher)


def _run(stage: Stage, now: datetime) -> int:
    """Run one stage; an error is logged and the stage pauses, so that the others go on."""
    stage.ran_at = now
    try:
        done = stage.run(now)
    except Exception:
        logger.exception("stage failed", extra={"stage": stage.name})
        close_old_connections()
        stage.due_at = now + _AFTER_ERROR
        return 0
    stage.due_at = None if done else now + stage.every
    return done


def _wait(stages: Sequence[Stage], *, stop: Stop, watcher: Watcher | None) -> None:
    times = [stage.due_at for stage in stages if stage.due_at is not None]
    times.extend(due for stage in stages if (due := stage.next_due()) is not None)
    pause = min(times, default=timezone.now() + _IDLE) - timezone.now()
    seconds = min(max(pause.total_seconds(), 0.0), _IDLE.total_seconds())
    if watcher is not None:
        watcher.wait(seconds)
    else:
        stop.event.wait(seconds)
