"""Poison: messages that stop the service are found out and set apart (QR-50 to QR-52, MT-L).

The durable mark before a worker touches a batch is its committed lease: what a process that died still held is counted
against those messages, without a write of its own on the way. Suspects are delivered one at a time afterwards, so that
the second crash names the guilty one. Leaves to neighbours: who died (owner, delivery.recover).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import F

from connectors import choices, event_log
from connectors.choices import STILL, ItemState, MessageState, RecipientState
from connectors.conf import TransportConfig
from connectors.event_log import Event
from connectors.models import IN_POISON, Message, MessageRecipient, Node, Queue, QueueItem
from connectors.transport import queue_operations
from tracking import record


def note_crash(node: Node, messages: Sequence[int], *, config: TransportConfig, now: datetime) -> int:
    """Count a crash against each message; those at the threshold go to Poison. Return how many went (QR-50, QA-8)."""
    with transaction.atomic():
        Message.objects.filter(pk__in=messages).update(crash_count=F("crash_count") + 1)
        guilty = Message.objects.filter(pk__in=messages, crash_count__gte=config.poison_threshold)
        keys = list(guilty.exclude(state__in=[MessageState.DONE, MessageState.POISON]).values_list("pk", flat=True))
        if keys:
            _quarantine(node, keys, now=now)
    return len(keys)


def _quarantine(node: Node, messages: Sequence[int], *, now: datetime) -> None:
    """Move what waits of these messages into Poison, permanently suspended; in the caller's transaction."""
    queue = queue_operations.special_queue(node, choices.POISON_DOMAIN)
    waiting = QueueItem.objects.filter(message__in=messages, state__in=STILL)
    waiting.update(queue=queue, state=ItemState.SUSPENDED, retry_at=None, pending="", pending_by="")
    for message in Message.objects.filter(pk__in=messages).order_by("pk"):
        unrouted = MessageRecipient.objects.filter(message=message, state=RecipientState.SUBMITTED)
        if unrouted.exists():
            item = QueueItem.objects.create(queue=queue, message=message, state=ItemState.SUSPENDED, entered_at=now)
            unrouted.update(item=item, state=RecipientState.QUEUED)
        held = MessageRecipient.objects.filter(message=message, state=RecipientState.QUEUED)
        shown = [(address, "") for address in held.order_by("pk").values_list("address", flat=True)]
        crashes = f"S:fc.crashes={message.crash_count}"
        event = record.poison(
            message.tracked_id, at=now, server=node.name, context="Entered", recipients=shown, custom=crashes
        )
        record.save([event])
        event_log.raise_event(Event.POISON_MESSAGE, node.name, message.message_id, now=now)
    Message.objects.filter(pk__in=messages).update(state=MessageState.POISON)


def any_suspects(node: Node) -> bool:
    """Tell whether a message survived a crash that may have been its fault."""
    suspects = Message.objects.filter(node=node, crash_count__gt=0)
    return suspects.filter(state__in=[MessageState.SUBMITTED, MessageState.ROUTED]).exists()


def has_suspects(queue: Queue) -> bool:
    """Tell whether one of them waits in this queue."""
    suspects = Message.objects.filter(crash_count__gt=0, state=MessageState.ROUTED)
    return suspects.filter(items__queue=queue, items__state=ItemState.READY).exists()


def forgive(messages: Sequence[int]) -> None:
    """Reset the counters of messages that were worked on without a crash (QR-50)."""
    Message.objects.filter(pk__in=messages, crash_count__gt=0).update(crash_count=0)


def oldest_submitted(node: Node) -> int | None:
    """Return the message the categorizer takes first."""
    waiting = Message.objects.filter(node=node, state=MessageState.SUBMITTED).order_by("pk")
    return waiting.values_list("pk", flat=True).first()


def clear_alarm(node: Node, *, now: datetime) -> None:
    """Close the event once Poison is empty."""
    if not QueueItem.objects.filter(IN_POISON, queue__node=node, state=ItemState.SUSPENDED).exists():
        event_log.clear_events((Event.POISON_MESSAGE,), node.name, now=now)
