"""Message parts: what the transport knows of a tracked message: where it waits, how it is routed, its content."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from connectors import routing_table, spool, trouble
from connectors.choices import (
    WAITING,
    ItemState,
    MessageState,
    QueueStatus,
    RecipientState,
)
from connectors.conf import TransportConfig
from connectors.errors import FcwebError
from connectors.mail.address import AddressSyntaxError, parse_typed
from connectors.mail.imcea import ImceaError
from connectors.models import IS_SUBMISSION, Message, Queue, QueueItem
from connectors.reads import route
from connectors.reads.queues import queue_name

EXPLAINED = 5  # recipients whose route is told in a sentence
_SHOWN_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One copy that waits, or the message itself in Submission, and when it is tried next."""

    queue_pk: int
    queue: str
    status: str
    last_error: str
    error_sentence: str
    entered_at: datetime
    attempts: int
    next_retry_at: datetime | None  # None: as soon as a worker is free, or when it or the queue is resumed
    is_stopped: bool = False  # suspended itself, by a person or in Poison
    is_poison: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """How one recipient would be routed now; for a group that was expanded, what it became."""

    address: str
    tone: str
    answer: str
    group: str = ""  # the one it came out of


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The beginning of a message as text: header and body, and what was left out."""

    header: str
    body: str
    is_cut: bool
    size: int


def message_of(tracked: int) -> Message | None:
    """Return the message behind a tracked one; None when it never entered a queue or was swept."""
    return Message.objects.filter(tracked_id=tracked).select_related("node").order_by("-pk").first()


def waiting(message: Message) -> list[Waiting]:
    """Return where the message waits: in Submission until it is routed, and its copies that are not finished."""
    items = QueueItem.objects.filter(message=message, state__in=WAITING).select_related("queue").order_by("pk")
    return [*_unrouted(message), *(_waiting(item) for item in items)]


def _unrouted(message: Message) -> list[Waiting]:
    if message.state != MessageState.SUBMITTED:
        return []
    return [
        Waiting(
            queue_pk=queue.pk,
            queue=queue_name(queue),
            status=queue.status,
            last_error="",
            error_sentence="",
            entered_at=message.received_at,
            attempts=0,
            next_retry_at=None,
        )
        for queue in Queue.objects.filter(IS_SUBMISSION, node=message.node)
    ]


def _waiting(item: QueueItem) -> Waiting:
    queue = item.queue
    is_stopped = item.state == ItemState.SUSPENDED
    is_deferred = item.state == ItemState.DEFERRED and queue.status != QueueStatus.SUSPENDED
    next_retry_at = queue.next_retry_at if queue.status == QueueStatus.RETRY and not is_stopped else None
    if is_deferred and item.retry_at is not None:
        next_retry_at = max(filter(None, (item.retry_at, next_retry_at)))  # its own time, and its queue's
    last_error = item.last_error if is_deferred else queue.last_error
    return Waiting(
        queue_pk=queue.pk,
        queue=queue_name(queue),
        status=QueueStatus.SUSPENDED.value if is_stopped else QueueStatus.RETRY.value if is_deferred else queue.status,
        last_error=last_error,
        error_sentence=trouble.error_sentence(last_error),
        entered_at=item.entered_at,
        attempts=item.attempts,
        next_retry_at=next_retry_at,
        is_stopped=is_stopped,
        is_poison=queue.is_poison,
    )


def routes(message: Message) -> tuple[list[Routed], int]:
    """Return how the first recipients would be routed by the configuration in force, and how many were left out."""
    recipients = message.recipients.order_by("pk").values_list("address", "group", "state")
    told = [_routed(*recipient, message.size) for recipient in recipients[:EXPLAINED]]
    return [one for one in told if one], max(0, recipients.count() - EXPLAINED)


def _routed(address: str, group: str, state: str, size: int) -> Routed | None:
    if state == RecipientState.EXPANDED:
        answer = str(RecipientState.EXPANDED.label).capitalize() + "."
        return Routed(address=address, tone="info", answer=answer)
    try:
        explained = route.explain(parse_typed(address), size=size)
    except (AddressSyntaxError, ImceaError):
        return None
    return Routed(address=address, tone=explained.tone, answer=explained.answer, group=group)


def is_here(message: Message) -> bool:
    """Tell whether this server holds the message's content."""
    try:
        return routing_table.local_node().pk == message.node_id
    except FcwebError:
        return False


def read_content(message: Message, config: TransportConfig) -> Content | None:
    """Return the beginning of the content; None when the spool no longer has it. Bytes no text are replaced.

    Raises OSError when it is there and cannot be read.
    """
    try:
        data = spool.read_head(config.spool_dir, message.spool_name, message.content_offset + _SHOWN_BYTES)
    except FileNotFoundError:
        return None
    shown = data[message.content_offset :]
    header, _blank, body = shown.partition(b"\r\n\r\n")
    return Content(header=_text(header), body=_text(body), is_cut=message.size > len(shown), size=message.size)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\0", "\ufffd")
