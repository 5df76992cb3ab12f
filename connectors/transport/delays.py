"""Delays: messages that wait for long are owed one delay notice a recipient (DSN-2, QR-31).

Promises: one indexed query a pass finds them, each message once in its life; the debt is paid by `reports`.
Crash: the mark on the message and the debts of its recipients are one commit.
"""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from connectors.choices import MessageState, RecipientState, ReportDue
from connectors.models import Message, MessageRecipient, Node, NoticeSettings

_BATCH = 200
_WAITING = (RecipientState.SUBMITTED, RecipientState.QUEUED)
_OPEN = (MessageState.SUBMITTED, MessageState.ROUTED)


def run_once(node: Node, *, settings: NoticeSettings, now: datetime) -> int:
    """Mark what is owed for up to two hundred messages, oldest first; return how many."""
    late = Message.objects.filter(
        node=node,
        done_at=None,
        delay_told_at=None,
        received_at__lt=now - settings.delay_after,
        expires_at__gt=now,  # past its time the failure is the news
        state__in=_OPEN,
    ).order_by("received_at")
    keys = list(late.values_list("pk", flat=True)[:_BATCH])
    if not keys:
        return 0
    with transaction.atomic():
        MessageRecipient.objects.filter(message__in=keys, state__in=_WAITING, report_due="").update(
            report_due=ReportDue.DELAYED
        )
        Message.objects.filter(pk__in=keys).update(delay_told_at=now)
    return len(keys)
