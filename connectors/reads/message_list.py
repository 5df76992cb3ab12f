"""Queued messages as commands and exports show them: every property, details on request, places of bookmarks (QU 1.5, 1.8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from connectors import queue_rows, submission_rows
from connectors.choices import WAITING, DeliveryType, ItemState, RecipientState
from connectors.errors import FcwebError
from connectors.models import Message, Queue, QueueItem
from connectors.queue_filter import Filter
from connectors.queue_identity import MessageIdentity
from connectors.queue_properties import RESERVED_OF_MESSAGE
from connectors.reads import queue_list
from connectors.waiting_rows import Rows
from tracking.models import TrackedMessage

Order = Sequence[tuple[str, bool]]
_Row = TypeVar("_Row", Message, QueueItem)
_FINAL: Mapping[str, str] = {RecipientState.DELIVERED: "Complete", RecipientState.FAILED: "Complete"}


def properties(
    items: Sequence[QueueItem], *, recipients: bool = False, latency: bool = False
) -> list[dict[str, object]]:
    """Return all properties of copies that came `with_facts`; recipients and latencies in full only on request."""
    keys = {item.message.tracked_id for item in items}
    directions = dict(TrackedMessage.objects.filter(pk__in=keys).values_list("pk", "directionality"))
    rows = []
    for item in items:
        row = queue_rows.properties(item)
        row["MessageIdentity"] = row["Identity"]
        row["Directionality"] = directions.get(item.message.tracked_id, "Undefined")
        row["Recipients"] = _recipients(item) if recipients else None
        row["ComponentLatency"] = _latency(item) if latency else None
        rows.append(row | dict.fromkeys(RESERVED_OF_MESSAGE))
    return rows


def submitted(
    messages: Sequence[Message], *, recipients: bool = False, latency: bool = False
) -> list[dict[str, object]]:
    """Return all properties of messages in Submission that came `with_facts`; `latency` as in `properties`: none yet."""
    keys = {message.tracked_id for message in messages}
    directions = dict(TrackedMessage.objects.filter(pk__in=keys).values_list("pk", "directionality"))
    rows: list[dict[str, object]] = []
    for message in messages:
        row = submission_rows.properties(message)
        row["MessageIdentity"] = row["Identity"]
        row["Directionality"] = directions.get(message.tracked_id, "Undefined")
        waiting = submission_rows.waiting_recipients(message)
        row["Recipients"] = [_unrouted(one.address) for one in waiting] if recipients else None
        row["ComponentLatency"] = [] if latency else None
        rows.append(row | dict.fromkeys(RESERVED_OF_MESSAGE))
    return rows


def some(queue: Queue | None, keys: Sequence[int]) -> list[dict[str, object]]:
    """Return all there is to tell of the rows of a queue with these keys, oldest first."""
    if queue is not None and queue.is_submission:
        messages = submission_rows.with_facts(Message.objects.filter(pk__in=keys)).order_by("pk")
        return submitted(list(messages), recipients=True, latency=True)
    items = queue_rows.with_facts(QueueItem.objects.filter(pk__in=keys)).order_by("pk")
    return properties(list(items), recipients=True, latency=True)


def _unrouted(address: str) -> dict[str, object]:
    return {"Address": address, "Type": None, "FinalDestination": None, "Status": "Ready", "LastError": ""}


def _recipients(item: QueueItem) -> list[dict[str, object]]:
    is_retry = queue_rows.status_of(item) == "Retry"
    error = item.last_error if item.state == ItemState.DEFERRED else item.queue.last_error
    kind = "Mailbox" if item.queue.delivery_type == DeliveryType.MAILBOX else "External"
    return [
        {
            "Address": recipient.address,
            "Type": kind,
            "FinalDestination": recipient.final_address or recipient.address,
            "Status": _FINAL.get(recipient.state, "Retry" if is_retry else "Ready"),
            "LastError": error if is_retry else recipient.status_text,
        }
        for recipient in item.recipients.all()
    ]


def _latency(item: QueueItem) -> list[dict[str, object]]:
    return [{"Component": "Categorizer", "Latency": item.entered_at - item.message.received_at}]


def copies(identity: MessageIdentity) -> QuerySet[QueueItem]:
    """Return the waiting copies an identity means: one in a queue, or all of `*\\Integer` (QU-16)."""
    rows = QueueItem.objects.filter(state__in=WAITING, message=identity.number)
    if identity.queue.is_every:
        server = identity.queue.server
        return rows.filter(queue__node__name__iexact=server) if server else rows
    return rows.filter(queue__in=[queue.pk for queue in queue_list.some(identity.queue)])


def in_submission(identity: MessageIdentity) -> QuerySet[Message]:
    """Return the message in Submission an identity means, if any: it may be named there, or by its number (QU-16)."""
    rows = submission_rows.listed(Filter()).filter(pk=identity.number)
    if identity.queue.is_every:
        server = identity.queue.server
        return rows.filter(node__name__iexact=server) if server else rows
    named = [queue.node_id for queue in queue_list.found(identity.queue) if queue.is_submission]
    return rows.filter(node__in=named)


def bookmark(rows: QuerySet[QueueItem], order: Order, identity: MessageIdentity) -> tuple[int, bool]:
    """Return the 1-based place of a message among sorted rows, and whether it is still one of them.

    A copy that left is placed where it stood: by the values its row still has. Rules: QU 1.8.
    """
    known = QueueItem.objects.filter(message=identity.number)
    if not identity.queue.is_every:
        known = known.filter(queue__in=[queue.pk for queue in queue_list.some(identity.queue)])
    return _place(rows, order, set(known.values_list("pk", flat=True)), identity, source=queue_rows)


def bookmark_in_submission(rows: QuerySet[Message], order: Order, identity: MessageIdentity) -> tuple[int, bool]:
    """Return the same of a message among those in Submission."""
    known = Message.objects.filter(pk=identity.number)
    if not identity.queue.is_every:
        known = known.filter(node__in=[queue.node_id for queue in queue_list.some(identity.queue)])
    return _place(rows, order, set(known.values_list("pk", flat=True)), identity, source=submission_rows)


def _place(
    rows: QuerySet[_Row], order: Order, keys: set[int], identity: MessageIdentity, *, source: Rows
) -> tuple[int, bool]:
    if not keys:
        text = _("There is no message “%(name)s” to start at.") % {"name": str(identity)[:100]}
        raise FcwebError(text, code="MESSAGE_NOT_FOUND", rule="QU-16")
    listed = set(rows.filter(pk__in=keys).values_list("pk", flat=True))
    wanted = listed or {max(keys)}
    around = rows.model._default_manager.filter(Q(pk__in=rows.order_by().values("pk")) | Q(pk__in=wanted))
    places = source.ordered(around, order).values_list("pk", flat=True)
    place = next(number for number, pk in enumerate(places, start=1) if pk in wanted)
    return place, bool(listed)
