"""Queue operations: a queue as a whole is suspended, resumed or tried again; queues that exist before any mail (QO 3.1, QA-6).

Promises: each change is one compare-and-set on the queue's status; a delivery in progress finishes. A retry by hand
keeps the queue's place on the ladder (QR-27).
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from django.db.models import Exists, OuterRef, Q

from connectors.choices import FREE, DeliveryType, Outcome, QueueStatus, Verb
from connectors.models import (
    IS_SUBMISSION,
    OFF_THE_LADDER,
    ConfigGeneration,
    Connector,
    ForeignConnector,
    Node,
    Queue,
    QueueItem,
)
from connectors.transport import deferral
from connectors.transport import queue as queues


def redirect_target(node: Node, connector_name: str) -> Queue | None:
    """Return the queue that a redirect to this connector fills, made when it does not exist.

    None: there is no such connector, it is disabled, or this server is none of its source servers.
    """
    served = ForeignConnector.objects.filter(enabled=True, source_transport_servers=node)
    connector = served.filter(name_key=connector_name.casefold()).first()
    return None if connector is None else next(iter(queues_of(node, connector)), None)


def parts_recipients(queue: Queue) -> bool:
    """Tell whether each file of this queue's connector names one recipient alone (DR-20)."""
    return ForeignConnector.objects.filter(guid=queue.next_hop_connector, one_recipient_per_file=True).exists()


def queues_of(node: Node, connector: ForeignConnector) -> list[Queue]:
    """Return the queues of a connector on a node, one an address space, made when they do not exist (QA-6)."""
    found = []
    for space in connector.address_spaces.order_by("pk"):
        queue, _created = Queue.objects.get_or_create(
            node=node,
            delivery_type=DeliveryType.NON_SMTP_GATEWAY,
            next_hop_domain=space.space if space.type == "SMTP" else space.type,
            next_hop_connector=connector.guid,
            defaults={"connector_name": connector.name, "status": QueueStatus.READY},
        )
        if queue not in found:
            found.append(queue)
    return found


def special_queue(node: Node, domain: str) -> Queue:
    """Return Submission or Poison as a queue row, made on demand (QU-1, QU-4)."""
    queue, _created = Queue.objects.get_or_create(
        node=node, delivery_type=DeliveryType.UNDEFINED, next_hop_domain=domain, next_hop_connector=queues.ZERO_GUID
    )
    return queue


def submission_is_suspended(node: Node) -> bool:
    """Tell whether the categorizer must rest (QO 3.1)."""
    return Queue.objects.filter(IS_SUBMISSION, node=node, status=QueueStatus.SUSPENDED).exists()


def operate_queue(verb: str, queue: Queue, *, now: datetime) -> tuple[Outcome, str, str, str]:
    """Suspend, resume or retry a queue; return outcome, status before and after, and why nothing changed.

    Rules: QO 3.1, QO-6, QU 1.4. In the caller's transaction; a delivery in progress finishes. Retry concerns the
    messages that wait by themselves too, so a queue that holds some need not be in Retry.
    """
    rows = Queue.objects.filter(pk=queue.pk)
    before = rows.select_for_update().values_list("status", flat=True).get()
    if queue.is_poison:
        return Outcome.UNCHANGED, before, before, "poison_queue"
    if verb == Verb.SUSPEND:
        after, count = (
            QueueStatus.SUSPENDED.value,
            rows.exclude(status=QueueStatus.SUSPENDED).update(status=QueueStatus.SUSPENDED),
        )
        why = "suspended"
    elif verb == Verb.RESUME:
        after = implied_status(queue.pk, now=now)
        count = rows.filter(status=QueueStatus.SUSPENDED).update(status=after)
        if count and after == QueueStatus.READY:
            rows.update(**OFF_THE_LADDER)  # it was emptied: what comes next is tried at once
        if count:
            catch_up([queue.pk])
        why = "not_suspended"
    else:
        after, why = before, "not_in_retry"
        count = 0 if before == QueueStatus.SUSPENDED else deferral.wake_queue(queue.pk)
        if before == QueueStatus.RETRY or (count and before == QueueStatus.READY):
            after = QueueStatus.CONNECTING.value
            count += rows.update(status=after, next_retry_at=now)
    return (Outcome.CHANGED, before, after, "") if count else (Outcome.UNCHANGED, before, before, why)


def catch_up(queues_resumed: Collection[int]) -> None:
    """Let what was resumed be routed again where a change of the configuration passed it by; in the caller's transaction.

    That is Unreachable, and queues whose connector is disabled or gone. Rules: RT-50, RT-52, QR-47.
    """
    served = Connector.objects.filter(guid=OuterRef("next_hop_connector"), enabled=True)
    passed_by = Queue.objects.filter(pk__in=queues_resumed).exclude(status=QueueStatus.SUSPENDED)
    lost = Q(delivery_type=DeliveryType.NON_SMTP_GATEWAY) & ~Exists(served)
    if passed_by.filter(Q(delivery_type=DeliveryType.UNREACHABLE) | lost).exists():
        ConfigGeneration.bump()


def connecting(queue: Queue) -> None:
    """A queue in Retry whose time has come opens its next hop (QU 1.4); the attempt itself decides what follows."""
    Queue.objects.filter(pk=queue.pk, status=QueueStatus.RETRY).update(status=QueueStatus.CONNECTING)


def implied_status(queue_pk: int, *, now: datetime) -> str:
    """Return the status a queue has by its content (QU 1.4, last row); without a next hop it is Ready."""
    queue = Queue.objects.get(pk=queue_pk)
    if queue.delivery_type in {DeliveryType.UNREACHABLE, DeliveryType.UNDEFINED}:
        return QueueStatus.READY.value
    ready, deferred = (QueueItem.objects.filter(queue=queue_pk, state=state).exists() for state in FREE)
    if (ready or deferred) and queue.next_retry_at is not None and queue.next_retry_at > now:
        return QueueStatus.RETRY.value
    return QueueStatus.CONNECTING.value if ready else QueueStatus.READY.value
