"""How old the waiting mail of each queue is, in columns that grow (qshape), and when a drop directory will be full."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Count, Q, Sum

from connectors.choices import STILL, DeliveryType, ItemState
from connectors.models import QueueItem
from connectors.reads.queues import QueueSummary

EDGES = (
    timedelta(minutes=5),
    timedelta(minutes=15),
    timedelta(hours=1),
    timedelta(hours=4),
    timedelta(hours=12),
    timedelta(days=1),
)
_GROWTH_SPAN = timedelta(hours=1)
_GROWTH_LIMIT = 20_000  # files looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class AgeRow:
    """Waiting messages of one queue by age; `counts` has one more entry than EDGES: older than the last."""

    queue: QueueSummary
    counts: tuple[int, ...]

    @property
    def cells(self) -> list[tuple[timedelta | None, int]]:
        """Return each count with the edge it stands under; None is older than the last."""
        return list(zip((*EDGES, None), self.counts, strict=True))

    @property
    def total(self) -> int:
        """Return all that waits."""
        return sum(self.counts)


def ages(queues: Sequence[QueueSummary], *, now: datetime) -> list[AgeRow]:
    """Return the age rows of queues that hold mail, in the order given. One query."""
    edges = [now - edge for edge in EDGES]
    columns = {}
    for number in range(len(EDGES) + 1):
        within = Q()
        if number < len(EDGES):
            within &= Q(entered_at__gt=edges[number])
        if number:
            within &= Q(entered_at__lte=edges[number - 1])
        columns[f"n{number}"] = Count("pk", filter=within)
    counts: dict[int, list[int]] = {}
    for state in STILL:  # one partial index each
        holding = [queue.pk for queue in queues if queue.waiting]
        rows = QueueItem.objects.filter(queue__in=holding, state=state).order_by().values_list("queue")
        for queue, *numbers in rows.annotate(**columns).values_list("queue", *columns):
            known = counts.setdefault(queue, [0] * len(columns))
            for place, number in enumerate(numbers):
                known[place] += number
    return [AgeRow(queue=queue, counts=tuple(counts[queue.pk])) for queue in queues if queue.pk in counts]


def full_at(connector_guid: UUID, *, used: int, quota: int | None, now: datetime) -> datetime | None:
    """Return when a drop directory reaches its quota, should the last hour go on; None: not in sight.

    What grows is what was written in the last hour and is still there.
    """
    if quota is None or used >= quota:
        return None
    left = QueueItem.objects.filter(
        queue__next_hop_connector=connector_guid,
        queue__delivery_type=DeliveryType.NON_SMTP_GATEWAY,
        state=ItemState.DELIVERED,
        delivered_at__gt=now - _GROWTH_SPAN,
        collected_at=None,
    ).values("pk", "message__size")[:_GROWTH_LIMIT]
    growth = QueueItem.objects.filter(pk__in=left.values("pk")).aggregate(sum=Sum("message__size"))["sum"] or 0
    if not growth:
        return None
    return now + _GROWTH_SPAN * ((quota - used) / growth)
