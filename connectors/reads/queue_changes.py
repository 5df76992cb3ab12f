"""What tells that queues changed: one short value, read by a handful of index look-ups (QU-21, QX-2, QX-6).

Whatever happens to queued mail leaves a trace in one of these places: an event, a copy, a queue's row, an operation's
progress, a sample of the rates. Nothing is counted that grows with the queues. On PostgreSQL an id may become visible
after a younger one: the newest few hundred are counted, so that a late one is seen too.
"""

from __future__ import annotations

import hashlib
import threading
import time

from connectors.choices import JobState, MessageState
from connectors.models import BulkJob, Message, Queue, QueueItem, QueueSample
from tracking.models import TrackingEvent

SECONDS = 0.3  # how old a shared reading may be
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


class Reading:
    """The value, read at most every 0.3 s in a process however many sockets ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at = 0.0
        self._value = ""

    def now(self) -> str:
        """Return a value at most 0.3 s old."""
        with self._lock:
            if time.monotonic() - self._at >= SECONDS:
                self._value = seen()
                self._at = time.monotonic()
            return self._value


READING = Reading()
