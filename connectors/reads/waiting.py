"""Waiting messages as the pages list them, keyset page by keyset page: copies in queues, messages in Submission."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from connectors import queue_rows, submission_rows, waiting_rows
from connectors.models import Message, MessageRecipient, Node, Queue, QueueItem
from connectors.queue_filter import Filter

PAGE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingRow:
    """One message that waits, as lists show it."""

    pk: int  # what operations pick: the key of the copy, in Submission that of the message
    message: Message
    recipients: Sequence[MessageRecipient]  # those of this copy; in Submission those that are not routed
    status: str
    entered_at: datetime
    expires_at: datetime | None  # None: never
    queue: Queue | None = None  # None in Submission
    retry_at: datetime | None = None  # set while it waits by itself
    last_error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingPage:
    """Waiting messages of one queue, oldest first; keys of the neighbouring pages, or None."""

    rows: Sequence[WaitingRow]
    before: int | None
    after: int | None


def page(
    node: Node, queue: Queue | None, wanted: Filter, *, before: int | None, after: int | None, size: int = PAGE
) -> WaitingPage:
    """Return one page of what a filter means in a queue of a server, or in all; `before` and `after` are keys of rows."""
    source = waiting_rows.of(queue)
    rows = source.listed(wanted, node=node, queue=queue.pk if queue else None)
    if before is not None:
        keys = source.keys_before(rows, before, limit=size + 1)
        more = len(keys) > size
        keys = keys[-size:]
        return WaitingPage(rows=some(queue, keys), before=keys[0] if more else None, after=keys[-1] if keys else None)
    keys = source.keys_after(rows, after or 0, limit=size + 1)
    shown = keys[:size]
    return WaitingPage(
        rows=some(queue, shown),
        before=shown[0] if shown and after is not None else None,
        after=shown[-1] if len(keys) > size else None,
    )


def first_page(
    node: Node, queue: Queue | None, wanted: Filter, *, cap: int, size: int = PAGE
) -> tuple[WaitingPage, int]:
    """Return the first page of what a filter means and how many it means, at most `cap`: one look at every row."""
    source = waiting_rows.of(queue)
    keys = source.keys_after(source.listed(wanted, node=node, queue=queue.pk if queue else None), 0, limit=cap)
    shown = keys[:size]
    return WaitingPage(rows=some(queue, shown), before=None, after=shown[-1] if len(keys) > size else None), len(keys)


def some(queue: Queue | None, keys: Sequence[int]) -> list[WaitingRow]:
    """Return the rows of these keys, oldest first; what left meanwhile is missing."""
    if queue is not None and queue.is_submission:
        messages = submission_rows.with_facts(Message.objects.filter(pk__in=keys)).order_by("pk")
        return [_message(message) for message in messages]
    return [_copy(item) for item in queue_rows.with_facts(QueueItem.objects.filter(pk__in=keys)).order_by("pk")]


def _copy(item: QueueItem) -> WaitingRow:
    return WaitingRow(
        pk=item.pk,
        message=item.message,
        recipients=list(item.recipients.all()),
        status=queue_rows.status_of(item),
        entered_at=item.entered_at,
        expires_at=None if item.queue.is_poison else item.message.expires_at,
        queue=item.queue,
        retry_at=item.retry_at,
        last_error=item.last_error,
    )


def _message(message: Message) -> WaitingRow:
    return WaitingRow(
        pk=message.pk,
        message=message,
        recipients=submission_rows.waiting_recipients(message),
        status=str(submission_rows.properties(message)["Status"]),
        entered_at=message.received_at,
        expires_at=message.expires_at,
    )
