"""Latency: how long messages took from acceptance to their file or mailbox, for each queue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from connectors.choices import ItemState
from connectors.models import QueueItem
from connectors.reads.queues import QueueSummary

_SAMPLE = 200  # newest deliveries of a queue
_WINDOW = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Times of the newest deliveries of one queue."""

    queue_pk: int
    name: str
    count: int
    median: timedelta
    high: timedelta  # 95 of 100 were faster
    slowest: timedelta


def latencies(queues: Sequence[QueueSummary], now: datetime) -> list[Latency]:
    """Return the queues that delivered within 24 hours, slowest first; one index read of 200 rows a queue."""
    found = [latency for queue in queues if (latency := _latency(queue, now)) is not None]
    return sorted(found, key=lambda latency: latency.high, reverse=True)


def _latency(queue: QueueSummary, now: datetime) -> Latency | None:
    delivered = QueueItem.objects.filter(queue=queue.pk, state=ItemState.DELIVERED, delivered_at__gte=now - _WINDOW)
    times = delivered.order_by("-delivered_at").values_list("message__received_at", "delivered_at")[:_SAMPLE]
    spans = sorted(max(timedelta(), done - received) for received, done in times if done is not None)
    if not spans:
        return None
    return Latency(
        queue_pk=queue.pk,
        name=queue.name,
        count=len(spans),
        median=spans[len(spans) // 2],
        high=spans[min(len(spans) - 1, len(spans) * 95 // 100)],
        slowest=spans[-1],
    )
