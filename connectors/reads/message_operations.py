"""What people did to a message and its copies, and when gateways collected it: the part of its timeline beside tracking (MTE-6, DR-33)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Max, Q
from django.db.models.functions import Coalesce

from connectors import operation_words
from connectors.choices import JobScope, Outcome
from connectors.models import BulkJob, JobTarget, QueueItem

_LIMIT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One operation that concerned the message."""

    at: datetime
    text: str
    actor: str
    reason: str


def entries(messages: Sequence[int]) -> list[Entry]:
    """Return the operations on a message, on its copies, and on their queues while they were there, oldest first."""
    found = []
    targets = JobTarget.objects.filter(message__in=messages, outcome=Outcome.CHANGED).select_related("job")
    for target in targets.order_by("pk")[:_LIMIT]:
        found.append(_entry(target.job, target.at, is_queue=False))
    during = Q()
    for queue, entered, left in _stays(messages):
        span = Q(queue=queue, snapshot_at__gte=entered)
        during |= span & Q(snapshot_at__lte=left) if left else span
    if during:
        jobs = BulkJob.objects.filter(during, scope=JobScope.QUEUE, changed__gt=0)
        found.extend(_entry(job, job.snapshot_at, is_queue=True) for job in jobs.order_by("pk")[:_LIMIT])
    return sorted(found, key=lambda entry: entry.at)


def _stays(messages: Sequence[int]) -> list[tuple[int, datetime, datetime | None]]:
    """Return (queue, entered, left) of the first stays; items that entered together are one, until the last has left."""
    items = QueueItem.objects.filter(message__in=messages).order_by()
    since = Coalesce("queued_at", "entered_at")
    spans = items.values_list("queue", since).annotate(
        left=Max("delivered_at"), open=Count("pk") - Count("delivered_at")
    )
    return [(queue, entered, None if left_over else left) for queue, entered, left, left_over in spans[:_LIMIT]]


def _entry(job: BulkJob, at: datetime, *, is_queue: bool) -> Entry:
    return Entry(at=at, text=operation_words.entry(job.verb, is_queue=is_queue), actor=job.actor, reason=job.reason)


def collected(messages: Sequence[int]) -> list[QueueItem]:
    """Return the files of a message and its copies that gateways took."""
    rows = QueueItem.objects.filter(message__in=messages).exclude(collected_at=None)
    return list(rows.order_by("collected_at")[:_LIMIT])
