"""Queue: the only writer of Queue and QueueItem state.

Promises: a leased item has one living holder; settling, backing off and their events commit together.
Leaves to neighbours: choosing next hops (routing), moving bytes (couriers).
Crash: the lease of a process that ended is taken up by `delivery.recover`; nothing here touches a file.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db import transaction
from django.db.models import Case, Exists, OuterRef, Q, QuerySet, Value, When

from connectors.choices import DeliveryType, ItemState, MessageState, Priority, QueueStatus, RecipientState, ReportDue
from connectors.conf import TransportConfig
from connectors.models import Connector, Message, MessageRecipient, Node, Queue, QueueItem
from fcweb import bulk
from tracking import record

ZERO_GUID = UUID(int=0)
DELIVERED_TEXT = "250 2.1.5 Recipient OK"
_OPEN_RECIPIENTS = (RecipientState.SUBMITTED, RecipientState.QUEUED, RecipientState.FAILING)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasedRecipient:
    """A recipient of a leased item."""

    pk: int
    address: str  # as it goes to the next hop
    orcpt: str
    notify: str


class LeasedMessage(NamedTuple):
    """What couriers and events need of a message: a tuple, because a model instance costs ten times as much."""

    pk: int
    tracked_id: int
    mail_from: str
    size: int
    spool_name: str
    content_offset: int
    has_org_headers: bool
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasedItem:
    """One leased copy, with the names it will be published under."""

    pk: int
    message: LeasedMessage
    recipients: tuple[LeasedRecipient, ...]
    is_whole: bool
    directory: str
    temp_name: str
    final_name: str


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


def next_retry_at(node: Node) -> datetime | None:
    """Return when the next queue in Retry is due."""
    waiting = Queue.objects.filter(node=node, status=QueueStatus.RETRY).exclude(next_retry_at=None)
    return waiting.order_by("next_retry_at").values_list("next_retry_at", flat=True).first()


def lease(
    queue: Queue,
    *,
    directory: str,
    token: str,
    limit: int,
    limit_bytes: int = 64 * 1024 * 1024,
    folder_of: Callable[[LeasedItem], str] | None,
    by_priority: bool = False,
) -> list[LeasedItem]:
    """Take up to `limit` ready items of a queue, oldest first; both names are committed with the lease (DR-25).

    Ends with the item that brings their sizes to `limit_bytes`, so a batch fits into memory.
    `folder_of` names the Maildir of an item below `directory`; None publishes into `directory` itself.
    Opens its own short transaction; returns [] when nothing is ready.
    """
    with transaction.atomic():
        ready = QueueItem.objects.filter(queue=queue, state=ItemState.READY).order_by("pk")
        free = ready.select_for_update(skip_locked=True).values_list("pk", flat=True)
        keys: list[int] = []
        if by_priority:  # High, Normal, Low, then age (QR-60)
            for priority in sorted(Priority, reverse=True):
                keys.extend(free.filter(priority=priority)[: limit - len(keys)])
        else:
            keys.extend(free[:limit])
        if not keys:
            return []
        items = [_named(item, directory, folder_of) for item in _head(load(keys), limit_bytes)]
        rows = [(ItemState.STAGING.value, token, directory, item.temp_name, item.final_name, item.pk) for item in items]
        bulk.update(QueueItem, ["state", "leased_by", "directory", "temp_name", "final_name"], rows)
        if queue.status != QueueStatus.ACTIVE:
            Queue.objects.filter(pk=queue.pk).exclude(status=QueueStatus.SUSPENDED).update(status=QueueStatus.ACTIVE)
    return items


def _head(items: Sequence[LeasedItem], limit_bytes: int) -> list[LeasedItem]:
    """Return the first items up to the one that reaches `limit_bytes`."""
    sizes = itertools.accumulate((item.message.size for item in items), initial=0)
    return [item for item, before in zip(items, sizes, strict=False) if before < limit_bytes]


def _named(item: LeasedItem, directory: str, folder_of: Callable[[LeasedItem], str] | None) -> LeasedItem:
    """Give an item its names: lower case letters, digits and hyphens (DR-24); a Maildir has folders for them."""
    stem = f"{item.pk}-{uuid.uuid4()}"
    if folder_of is None:
        return replace(item, directory=directory, temp_name=f".{stem}.tmp", final_name=f"{stem}.eml")
    folder = folder_of(item)
    return replace(item, directory=directory, temp_name=f"{folder}/tmp/{stem}", final_name=f"{folder}/new/{stem}")


def load(keys: Sequence[int]) -> list[LeasedItem]:
    """Read leased items with their messages and recipients: two queries for any number."""
    by_item: dict[int, list[LeasedRecipient]] = {}
    rows = MessageRecipient.objects.filter(item__in=keys).order_by("pk")
    for item, pk, address, final, orcpt, notify in rows.values_list(
        "item_id", "pk", "address", "final_address", "orcpt", "notify"
    ):
        by_item.setdefault(item, []).append(
            LeasedRecipient(pk=pk, address=final or address, orcpt=orcpt, notify=notify)
        )
    items = QueueItem.objects.filter(pk__in=keys).order_by("pk")
    columns = ("pk", *(f"message__{name}" for name in LeasedMessage._fields))
    return [
        LeasedItem(
            pk=pk,
            message=LeasedMessage(*message),
            recipients=tuple(by_item.get(pk, ())),
            is_whole=is_whole,
            directory=directory,
            temp_name=temp_name,
            final_name=final_name,
        )
        for pk, *message, is_whole, directory, temp_name, final_name in items.values_list(
            *columns, "is_whole", "directory", "temp_name", "final_name"
        )
    ]


def mark_staged(keys: Sequence[int]) -> None:
    """Record that the temp files are durable: from here on only a rename is missing (DR-25 step 3)."""
    QueueItem.objects.filter(pk__in=keys).update(state=ItemState.STAGED)


def release(keys: Sequence[int]) -> None:
    """Give leased items back unpublished; their names are forgotten.

    A copy that a person wants stopped or removed is not given out again: `operations.settle_pending` ends it (QO-14).
    """
    state = Case(When(pending="", then=Value(ItemState.READY)), default=Value(ItemState.SUSPENDED))
    QueueItem.objects.filter(pk__in=keys).update(state=state, leased_by="", directory="", temp_name="", final_name="")


def settle_delivered(
    queue: Queue,
    items: Sequence[LeasedItem],
    events: Sequence[record.NewEvent],
    *,
    owed: Mapping[int, ReportDue],
    now: datetime,
) -> None:
    """Record delivery of a batch: items, recipients, messages, events and the queue's recovery, in one commit.

    `owed` are the notices of success, by recipient key (DSN-3, DR-34). Rules: DR-25 step 5, QR-26, MT-2.
    """
    if not items:
        return
    with transaction.atomic():
        bulk.update(
            QueueItem,
            ["state", "delivered_at", "leased_by"],
            [(ItemState.DELIVERED.value, now, "", item.pk) for item in items],
        )
        bulk.update(
            MessageRecipient,
            ["state", "status_text", "settled_at", "report_due"],
            [
                (
                    RecipientState.DELIVERED.value,
                    DELIVERED_TEXT,
                    now,
                    owed.get(recipient.pk, ""),
                    recipient.pk,
                )
                for item in items
                for recipient in item.recipients
            ],
        )
        record.save(events)
        close_messages([item.message.pk for item in items], now=now)
        clear = {"last_error": "", "retry_count": 0, "first_retry_at": None, "next_retry_at": None}
        live = Queue.objects.filter(pk=queue.pk)
        live.update(last_success_at=now, last_retry_at=now, **clear)
        live.exclude(status=QueueStatus.SUSPENDED).update(status=QueueStatus.READY)


def close_messages(keys: Sequence[int], *, now: datetime) -> None:
    """Mark those of the messages done whose recipients are all final and settled; in the caller's transaction."""
    open_recipient = MessageRecipient.objects.filter(message=OuterRef("pk")).filter(
        Q(state__in=_OPEN_RECIPIENTS) | ~Q(report_due="")
    )
    Message.objects.filter(pk__in=keys, state=MessageState.ROUTED).filter(~Exists(open_recipient)).update(
        state=MessageState.DONE, done_at=now
    )


def fail_items(
    items: Sequence[LeasedItem], *, text: str, source: str, context: str, connector: str, now: datetime
) -> None:
    """Fail every recipient of these items for good; `reports` writes notice and FAIL (QR-25)."""
    if not items:
        return
    with transaction.atomic():
        QueueItem.objects.filter(pk__in=[item.pk for item in items]).update(state=ItemState.REMOVED, leased_by="")
        MessageRecipient.objects.filter(item__in=[item.pk for item in items], state=RecipientState.QUEUED).update(
            state=RecipientState.FAILING,
            status_text=text,
            fail_source=source,
            fail_context=context,
            fail_connector=connector,
            report_due=ReportDue.FAILED,
        )


def back_off(
    queue: Queue, items: Sequence[LeasedItem], *, error: str, config: TransportConfig, now: datetime
) -> datetime:
    """Put a queue into Retry after a connection failure; its items wait. Return when it is tried again.

    Rules: QR-20 to QR-23, QR-41.
    """
    with transaction.atomic():
        release([item.pk for item in items])
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
            for item in load(keys)
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
        queue__node=node, state__in=states, message__state=MessageState.ROUTED, message__expires_at__lte=now
    ).exclude(queue__status=QueueStatus.ACTIVE)
    with transaction.atomic():
        keys = list(late.order_by("pk").values_list("pk", flat=True)[:limit])
        items = load(keys)
        fail_items(
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


def resubmit(queue: Queue, *, limit: int, now: datetime) -> int:
    """Send up to `limit` waiting copies of a queue back to Submission; return how many (MT-J, QO-7)."""
    with transaction.atomic():
        ready = QueueItem.objects.filter(queue=queue, state=ItemState.READY).order_by("pk")
        keys = list(ready.select_for_update(skip_locked=True).values_list("pk", flat=True)[:limit])
        if not keys:
            return 0
        items = load(keys)
        QueueItem.objects.filter(pk__in=keys).update(state=ItemState.REMOVED)
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
