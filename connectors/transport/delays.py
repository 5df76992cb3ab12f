"""Delays: messages that wait for long are owed one delay notice a recipient (DSN-2, QR-9, QR-31, QR-60).

Promises: one indexed query a pass finds them, each message once in its life; the debt is paid by `reports`.
Crash: the mark on the message and the debts of its recipients are one commit.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from connectors.choices import MessageState, Priority, RecipientState, ReportDue
from connectors.conf import HIGH_BYTES, TransportConfig
from connectors.models import IN_POISON, Message, MessageRecipient, Node, NoticeSettings, QueueItem

_BATCH = 200
_WAITING = (RecipientState.SUBMITTED, RecipientState.QUEUED)
_OPEN = (MessageState.SUBMITTED, MessageState.ROUTED)


def run_once(node: Node, *, settings: NoticeSettings, config: TransportConfig, now: datetime) -> int:
    """Mark what is owed for up to two hundred messages, oldest first; return how many."""
    late = Message.objects.filter(
        node=node,
        done_at=None,
        delay_told_at=None,
        expires_at__gt=now,  # past its time the failure is the news
        state__in=_OPEN,
    )
    late = late.filter(_waited(settings.delay_after, config, now)).order_by("received_at")
    keys = list(late.values_list("pk", flat=True)[:_BATCH])
    if not keys:
        return 0
    with transaction.atomic():
        waiting = MessageRecipient.objects.filter(message__in=keys, state__in=_WAITING, report_due="")
        apart = QueueItem.objects.filter(IN_POISON, message__in=keys)
        waiting.exclude(item__in=apart).update(report_due=ReportDue.DELAYED)
        Message.objects.filter(pk__in=keys).update(delay_told_at=now)
    return len(keys)


def _waited(delay: timedelta, config: TransportConfig, now: datetime) -> Q:
    """Return the condition of having waited long enough, by priority while those count (QR-9, 2.5)."""
    if not config.priority_queuing:
        return Q(received_at__lt=now - delay)
    high = Q(priority=Priority.HIGH, size__lte=HIGH_BYTES)
    low = Q(priority=Priority.LOW)
    since = {priority: now - config.delay_told_after(priority, delay) for priority in Priority}
    return (
        (high & Q(received_at__lt=since[Priority.HIGH]))
        | (low & Q(received_at__lt=since[Priority.LOW]))
        | (~high & ~low & Q(received_at__lt=since[Priority.NORMAL]))
    )
