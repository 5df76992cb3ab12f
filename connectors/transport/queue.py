"""Queue: where copies wait for one next hop; its status, its retries, and what leaves it without a delivery.

Promises: backing off, expiring, sending back and their events commit together.
Leaves to neighbours: choosing next hops (routing), who holds which copy (leasing), single copies refused for now (deferral).
With these two the only writer of Queue and QueueItem state that no person asked for; what people ask is `operations`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Exists, Min, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce

from connectors.choices import FREE, DeliveryType, ItemState, MessageState, QueueStatus, RecipientState
from connectors.conf import TransportConfig
from connectors.models import IN_POISON, OFF_THE_LADDER, Connector, Message, MessageRecipient, Node, Queue, QueueItem
from connectors.transport import leasing
from connectors.transport.leasing import LeasedItem
from fcweb import bulk
from tracking import record

ZERO_GUID = UUID(int=0)
_DEFERRALS_A_PASS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """Next-hop key of a queue on one node. Rules: QU-8."""

    delivery_type: str
    domain: str
    connector: UUID
    connector_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One copy to enqueue: a message and those of its recipients that share it."""

    key: Key
    message_pk: int
    priority: int
    recipients: tuple[tuple[int, str], ...]  # (MessageRecipient key, final address)
    is_whole: bool  # all recipients of the message, exactly as its spool file names them


def enqueue(entries: Sequence[Entry], *, node: Node, now: datetime) -> None:
    """Put copies into their queues, in the caller's transaction; queues are made on demand (QU-2)."""
    if not entries:
        return
    queues = {key: _queue_pk(node, key) for key in dict.fromkeys(entry.key for entry in entries)}
    items = []
    recipients: list[tuple[object, ...]] = []
    ready = ItemState.READY.value
    for pk, entry in zip(bulk.allocate_keys(QueueItem, len(entries)), entries, strict=True):
        items.append(
            (pk, queues[entry.key], entry.message_pk, ready, entry.priority, now, entry.is_whole, 0, "", "", "", "", "")
        )
        recipients.extend((RecipientState.QUEUED.value, pk, address, key) for key, address in entry.recipients)
    fields = (
        "id queue message state priority entered_at is_whole attempts deferred_reason leased_by directory temp_name"
    )
    bulk.insert(QueueItem, [*fields.split(), "final_name"], items)
    bulk.update(MessageRecipient, ["state", "item", "final_address"], recipients)
    _keep_first_entries({pk: entry.message_pk for (pk, *_rest), entry in zip(items, entries, strict=True)}, now=now)


def _keep_first_entries(copies: Mapping[int, int], *, now: datetime) -> None:
    """Let copies of messages that were sent back before wait since they first did (QR-28); what was delivered is new.

    `copies` is the message of each new copy.
    """
    earlier = QueueItem.objects.filter(message__in=set(copies.values()), state=ItemState.REMOVED, delivered_at=None)
    first = dict(earlier.order_by().values_list("message").annotate(at=Min("entered_at")))
    rows = [(first[message], now, pk) for pk, message in copies.items() if message in first]
    bulk.update(QueueItem, ["entered_at", "queued_at"], rows)


def _queue_pk(node: Node, key: Key) -> int:
    queue, created = Queue.objects.get_or_create(
        node=node,
        delivery_type=key.delivery_type,
        next_hop_domain=key.domain,
        next_hop_connector=key.connector,
        defaults={"connector_name": key.connector_name, "status": QueueStatus.CONNECTING},
    )
    if not created and queue.connector_name != key.connector_name:
        Queue.objects.filter(pk=queue.pk).update(connector_name=key.connector_name)
    return queue.pk


def due(node: Node, *, now: datetime) -> list[Queue]:
    """Return the queues with ready items that may be tried now, least recently tried first.

    Suspended and Unreachable queues are left out, queues in Retry wait for their time, and a held connector
    keeps its messages (RT-25).
    """
    ready = QueueItem.objects.filter(queue=OuterRef("pk"), state=ItemState.READY)
    held = Connector.objects.filter(guid=OuterRef("next_hop_connector"), is_held=True)
    return list(
        Queue.objects.filter(node=node)
        .exclude(delivery_type=DeliveryType.UNREACHABLE)
        .exclude(status=QueueStatus.SUSPENDED)
        .filter(Q(next_retry_at=None) | Q(next_retry_at__lte=now))
        .filter(Exists(ready), ~Exists(held))
        .order_by("last_retry_at", "pk")
    )


def answered(queue: Queue, *, now: datetime) -> None:
    """Record that the next hop was reached and took none of a batch: the queue is well, its ladder begins anew.

    Each message of the batch has its own fate; only that message fails or waits (QR-24, QR-25).
    """
    live = Queue.objects.filter(pk=queue.pk)
    live.update(last_retry_at=now, **OFF_THE_LADDER)
    live.exclude(status=QueueStatus.SUSPENDED).update(status=QueueStatus.READY)


def back_off(
    queue: Queue, items: Sequence[LeasedItem], *, error: str, config: TransportConfig, now: datetime
) -> datetime:
    """Put a queue into Retry after a connection failure; its items wait. Return when it is tried again.

    Rules: QR-20 to QR-23, QR-41.
    """
    with transaction.atomic():
        leasing.release([item.pk for item in items])
        current = Queue.objects.select_for_update().get(pk=queue.pk)
        first = current.first_retry_at is None
        retry = 1 if first else current.retry_count + 1
        mailbox = current.delivery_type == DeliveryType.MAILBOX
        wait = config.mailbox_retry if mailbox else config.ladder.wait(retry)
        Queue.objects.filter(pk=queue.pk).update(
            last_error=error[:1000],
            retry_count=retry,
            first_retry_at=current.first_retry_at or now,
            last_retry_at=now,
            next_retry_at=now + wait,
        )
        Queue.objects.filter(pk=queue.pk).exclude(status=QueueStatus.SUSPENDED).update(status=QueueStatus.RETRY)
    return now + wait


def record_deferrals(queue: Queue, *, reason: str, error: str, next_attempt: datetime, now: datetime) -> int:
    """Write one DEFER for items that do not carry this reason yet; return how many (MT-E, MTA-7).

    At most a few hundred a call: `delivery` calls again until none is left.
    """
    source = "STOREDRIVER" if queue.delivery_type == DeliveryType.MAILBOX else "GATEWAY"
    with transaction.atomic():
        waiting = QueueItem.objects.filter(queue=queue, state=ItemState.READY).exclude(deferred_reason=reason)
        keys = list(
            waiting.select_for_update(skip_locked=True).order_by("pk").values_list("pk", flat=True)[:_DEFERRALS_A_PASS]
        )
        if not keys:
            return 0
        events = [
            record.defer(
                item.message.tracked_id,
                at=now,
                source=source,
                server=queue.node.name,
                connector=queue.connector_name,
                context=reason,
                recipients=[(recipient.address, error) for recipient in item.recipients],
                next_attempt=next_attempt,
            )
            for item in leasing.load(keys)
        ]
        QueueItem.objects.filter(pk__in=keys).update(deferred_reason=reason)
        record.save(events)
    return len(keys)


def expire(node: Node, *, limit: int, now: datetime, suspended: bool = True) -> int:
    """Fail the waiting recipients of messages past their time; return how many copies (QR-30, QA-7)."""
    if not Message.objects.filter(node=node, state=MessageState.ROUTED, expires_at__lte=now).exists():
        return 0  # the usual case: one probe of an index, no lock
    states = [ItemState.READY, ItemState.SUSPENDED] if suspended else [ItemState.READY]
    late = QueueItem.objects.filter(
        ~IN_POISON, queue__node=node, message__state=MessageState.ROUTED, message__expires_at__lte=now
    ).filter(Q(state=ItemState.DEFERRED) | (Q(state__in=states) & ~Q(queue__status=QueueStatus.ACTIVE)))
    with transaction.atomic():
        free = late.order_by("pk").select_for_update(of=("self",), skip_locked=True)
        items = leasing.load(list(free.values_list("pk", flat=True)[:limit]))
        leasing.fail_items(
            items,
            text="550 4.4.7 QUEUE.Expired; message expired",
            source="QUEUE",
            context="Expired",
            connector="",
            now=now,
        )
    return len(items)


def touched(node: Node, *, since: int) -> QuerySet[Queue]:
    """Return the queues whose messages a configuration change concerns (RT-50, RT-52, QR-47).

    Unreachable always; a connector's queues when it changed after generation `since`, or is gone.
    """
    unchanged = Connector.objects.filter(
        guid=OuterRef("next_hop_connector"), routing_generation__lte=since, enabled=True
    )
    return (
        Queue.objects.filter(node=node)
        .exclude(delivery_type=DeliveryType.MAILBOX)
        .exclude(status=QueueStatus.SUSPENDED)
        .filter(Q(delivery_type=DeliveryType.UNREACHABLE) | ~Exists(unchanged))
    )


def free_keys(queue_pk: int, *, limit: int, before: datetime | None = None) -> list[int]:
    """Lock the oldest copies that nobody stopped or holds, in the caller's transaction; return their keys.

    `before` bounds when they entered it. One query a state: each has a partial index of its own.
    """
    keys: list[int] = []
    for state in FREE:
        rows = QueueItem.objects.filter(queue=queue_pk, state=state).order_by("pk")
        if before is not None:
            rows = rows.alias(since=Coalesce("queued_at", "entered_at")).filter(since__lt=before)
        keys.extend(rows.select_for_update(skip_locked=True).values_list("pk", flat=True)[:limit])
    return sorted(keys)[:limit]


def resubmit(queue: Queue, *, limit: int, now: datetime) -> int:
    """Send up to `limit` waiting copies of a queue back to Submission; return how many (MT-J, QO-7)."""
    with transaction.atomic():
        keys = free_keys(queue.pk, limit=limit)
        if not keys:
            return 0
        items = leasing.load(keys)
        QueueItem.objects.filter(pk__in=keys).update(state=ItemState.REMOVED, retry_at=None)
        MessageRecipient.objects.filter(item__in=keys, state=RecipientState.QUEUED).update(
            state=RecipientState.SUBMITTED, item=None, final_address=""
        )
        Message.objects.filter(pk__in=[item.message.pk for item in items]).update(state=MessageState.SUBMITTED)
        record.save(
            [
                record.resubmit(
                    item.message.tracked_id,
                    at=now,
                    source="QUEUE",
                    server=queue.node.name,
                    recipients=[(recipient.address, "") for recipient in item.recipients],
                    reference=str(item.message.pk),
                )
                for item in items
            ]
        )
    return len(keys)
