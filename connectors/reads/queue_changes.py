"""What tells that queues changed: one short value, read by a handful of index look-ups (QU-21, QX-2, QX-6).

Whatever happens to queued mail leaves a trace in one of these places: an event, a copy, a queue's row, an operation's
progress, a sample of the rates. Nothing is counted that grows with the queues. On PostgreSQL an id may become visible
after a younger one: the newest few hundred are counted, so that a late one is seen too.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

from connectors.choices import JobState, MessageState
from connectors.models import BulkJob, Message, Queue, QueueItem, QueueSample
from fcweb.shared_reader import InThread, SharedReader
from tracking.models import TrackingEvent

POLL_SECONDS = 0.3
_LATE = 500  # ids


def seen() -> str:
    """Return the value as it is now; it differs when anything a queue page shows may differ."""
    facts: list[object] = []
    for model in (TrackingEvent, QueueItem):
        newest = model.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        facts += [newest, model.objects.filter(pk__gt=newest - _LATE).count()]
    facts.append(Message.objects.filter(state=MessageState.SUBMITTED).order_by("-pk").values_list("pk").first())
    facts.append(Message.objects.filter(state=MessageState.SUBMITTED).order_by("pk").values_list("pk").first())
    facts.append(QueueSample.objects.order_by("-at").values_list("at").first())
    facts += Queue.objects.order_by("pk").values_list(
        "pk", "status", "retry_count", "last_error", "last_retry_at", "next_retry_at", "last_success_at"
    )
    facts.append(BulkJob.objects.order_by("-pk").values_list("pk", "state").first())
    facts += BulkJob.objects.filter(state=JobState.RUNNING).order_by("pk").values_list("pk", "cursor")
    return hashlib.blake2b(repr(facts).encode(), digest_size=8).hexdigest()


class Watcher(Protocol):
    """One socket; used in the event loop alone."""

    def tell(self, value: str) -> None:
        """Take the newest value; must not wait."""


class Changes(SharedReader[Watcher]):
    """Reads the value while a page is open, and tells everybody when it differs."""

    def begin(self) -> None:
        """Know no value."""
        self._value = ""

    def join(self, watcher: Watcher) -> None:
        """Tell the newcomer what is known; the first one waits for the first reading."""
        super().join(watcher)
        if self._value:
            watcher.tell(self._value)

    async def turn(self, in_thread: InThread) -> float:
        """Read the value once."""
        value = await in_thread(seen)
        if value != self._value:
            self._value = value
            for watcher in list(self.watchers):
                watcher.tell(value)
        return POLL_SECONDS


CHANGES = Changes()
