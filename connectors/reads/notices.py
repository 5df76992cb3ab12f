"""Notices and the messages they are about: each names the other (issue 3, part 6)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from connectors.models import Message
from tracking.models import TrackingEvent

_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A message on the other side of a notice; `tracked_id` is the key of its Message page."""

    tracked_id: int
    subject: str
    message_id: str
    at: datetime
    context: str  # Failure, Delay, Relay or Success; "" for the original


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """What a message is about, and what was written about it."""

    original: Link | None
    notices: tuple[Link, ...]  # oldest first; at most twenty


def links(message_pk: int) -> Links:
    """Return the other side of a message by its internal id; two or three small queries."""
    message = Message.objects.filter(pk=message_pk).select_related("original").first()
    if message is None:
        return Links(original=None, notices=())
    original = None if message.original is None else _link(message.original, "")
    rows = list(message.notices.order_by("pk")[:_SHOWN])
    events = TrackingEvent.objects.filter(message__in=[row.tracked_id for row in rows], event="DSN")
    contexts = dict(events.values_list("message_id", "source_context"))
    return Links(original=original, notices=tuple(_link(row, contexts.get(row.tracked_id, "")) for row in rows))


def _link(message: Message, context: str) -> Link:
    return Link(
        tracked_id=message.tracked_id,
        subject=message.subject,
        message_id=message.message_id,
        at=message.received_at,
        context=context,
    )
