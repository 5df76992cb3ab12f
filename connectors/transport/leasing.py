"""Leasing: copies in the hands of one process at a time, and what became of them (DR-25, QR-25, QR-26).

Promises: a leased item has one living holder; settling, failing and their events commit together.
Leaves to neighbours: the queue itself and its retries (queue), copies refused for now (deferral), moving bytes (couriers).
Crash: the lease of a process that ended is taken up by `delivery.recover`; nothing here touches a file.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from django.db import transaction
from django.db.models import Case, Exists, OuterRef, Q, Value, When

from connectors.choices import ItemState, MessageState, Priority, QueueStatus, RecipientState, ReportDue
from connectors.models import OFF_THE_LADDER, Message, MessageRecipient, Queue, QueueItem
from fcweb import bulk
from tracking import record

DELIVERED_TEXT = "250 2.1.5 Recipient OK"
_OPEN_RECIPIENTS = (RecipientState.SUBMITTED, RecipientState.QUEUED, RecipientState.FAILING)


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
        place = {pk: number for number, pk in enumerate(keys)}
        chosen = sorted(load(keys), key=lambda item: place[item.pk])  # what leaves first is in the batch
        items = [_named(item, directory, folder_of) for item in _head(chosen, limit_bytes)]
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
        live = Queue.objects.filter(pk=queue.pk)
        live.update(last_success_at=now, last_retry_at=now, **OFF_THE_LADDER)
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
        QueueItem.objects.filter(pk__in=[item.pk for item in items]).update(
            state=ItemState.REMOVED, leased_by="", retry_at=None
        )
        MessageRecipient.objects.filter(item__in=[item.pk for item in items], state=RecipientState.QUEUED).update(
            state=RecipientState.FAILING,
            status_text=text,
            fail_source=source,
            fail_context=context,
            fail_connector=connector,
            report_due=ReportDue.FAILED,
        )
