"""Queue lengths: how much mail of each delivery type is on its way, and how much waits for a retry (QR-40).

Exchange counts them as "active" and "retry" queue length, for gateways too. What a person stopped is neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from connectors.choices import DeliveryType, QueueStatus
from connectors.reads.queues import QueueSummary

_COUNTED = (DeliveryType.NON_SMTP_GATEWAY, DeliveryType.DELIVERY_AGENT, DeliveryType.SMART_HOST, DeliveryType.MAILBOX)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Messages of all queues of one delivery type."""

    delivery_type: str
    active: int
    retry: int


def lengths(queues: Sequence[QueueSummary]) -> list[Lengths]:
    """Return the two lengths of each delivery type that has a queue, in a fixed order."""
    found = []
    for kind in _COUNTED:
        chosen = [queue for queue in queues if queue.delivery_type == kind]
        if chosen:
            retry = sum(_retrying(queue) for queue in chosen)
            free = sum(_unstopped(queue) for queue in chosen)
            found.append(Lengths(delivery_type=kind.value, active=free - retry, retry=retry))
    return found


def _unstopped(queue: QueueSummary) -> int:
    return 0 if queue.is_suspended else queue.waiting - queue.stopped


def _retrying(queue: QueueSummary) -> int:
    """Return what waits for a retry: all of a queue in Retry, of another one what was refused by itself (QR-24)."""
    if queue.status == QueueStatus.RETRY:
        return _unstopped(queue)
    return 0 if queue.is_suspended else queue.deferred
