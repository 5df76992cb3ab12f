"""Safety Net page: delivered copies that are still kept, newest first, a page at a time (QR-18, QX-3)."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q

from connectors import queue_rows
from connectors.choices import ItemState
from connectors.models import Node, Queue, QueueItem
from connectors.transport import safety_net
from connectors.transport.safety_net import Wanted

PAGE = 50
CAP = 10_000  # counting stops here


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page; `before` is the key of the next one, "" on the last."""

    items: Sequence[QueueItem]
    before: str


def page(node: Node, wanted: Wanted, *, before: str = "") -> Page:
    """Return kept copies delivered before the row `before` names.

    Each queue gives its newest, in the order of its own index, and the newest of these are the page.
    """
    edge = _edge(before)
    rows = safety_net.kept(node, wanted)
    if edge is not None:
        at, pk = edge
        rows = rows.filter(Q(delivered_at__lt=at) | Q(delivered_at=at, pk__lt=pk))
    queues = Queue.objects.filter(node=node).values_list("pk", flat=True)
    heads = [list(queue_rows.with_facts(rows.filter(queue=queue))[: PAGE + 1]) for queue in queues]
    newest = list(heapq.merge(*heads, key=_newness))[: PAGE + 1]
    last = newest[PAGE - 1] if len(newest) > PAGE else None
    shown = f"{last.delivered_at.isoformat()}/{last.pk}" if last is not None and last.delivered_at else ""
    return Page(items=newest[:PAGE], before=shown)


def _newness(item: QueueItem) -> tuple[float, int]:
    assert item.delivered_at is not None  # `kept` lists delivered copies
    return -item.delivered_at.timestamp(), -item.pk


def _edge(text: str) -> tuple[datetime, int] | None:
    moment, _slash, pk = text.partition("/")
    try:
        return datetime.fromisoformat(moment), int(pk)
    except ValueError:
        return None


def count(node: Node, wanted: Wanted, *, at: datetime) -> int:
    """Return how many copies were kept at an instant, CAP + 1 for more."""
    return safety_net.kept(node, wanted).filter(delivered_at__lte=at).order_by()[: CAP + 1].count()


def is_kept(message: int) -> bool:
    """Tell whether a message has a copy that can be delivered again."""
    return QueueItem.objects.filter(message=message, state=ItemState.DELIVERED).exists()
