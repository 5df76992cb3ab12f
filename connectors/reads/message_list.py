"""Queued messages as commands and exports show them: every property, details on request, places of bookmarks (QU 1.5, 1.8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from connectors import queue_rows
from connectors.choices import WAITING, DeliveryType, ItemState, Priority, RecipientState
from connectors.errors import FcwebError
from connectors.models import Message, QueueItem
from connectors.queue_identity import MessageIdentity
from connectors.queue_properties import RESERVED_OF_MESSAGE
from connectors.reads import queue_list
from tracking.models import TrackedMessage

Order = Sequence[tuple[str, bool]]
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


def submitted(messages: Sequence[Message], *, recipients: bool = False) -> list[dict[str, object]]:
    """Return all properties of messages that wait in Submission, where they are in no other queue (QU-7)."""
    keys = {message.tracked_id for message in messages}
    directions = dict(TrackedMessage.objects.filter(pk__in=keys).values_list("pk", "directionality"))
    rows: list[dict[str, object]] = []
    for message in messages:
        queue = f"{message.node.name}\\Submission"
        waiting = [one for one in message.recipients.all() if one.state == RecipientState.SUBMITTED]
        row: dict[str, object] = {
            "Identity": f"{queue}\\{message.pk}",
            "MessageIdentity": f"{queue}\\{message.pk}",
            "InternetMessageId": message.message_id,
            "Subject": message.subject,
            "LastError": "",
            "FromAddress": message.mail_from,
            "OriginalFromAddress": message.original.mail_from if message.original else None,
            "Status": "Ready",
            "Size": message.size,
            "MessageSourceName": message.source_name,
            "SourceIP": message.source_ip,
            "SCL": None,
            "DateReceived": message.received_at,
            "ExpirationTime": message.expires_at,
            "MessageLatency": timedelta(0),
            "Queue": queue,
            "RetryCount": 0,
            "Priority": Priority(message.priority).name.title(),
            "DeferReason": "None",
            "Directionality": directions.get(message.tracked_id, "Undefined"),
            "Recipients": [_unrouted(one.address) for one in waiting] if recipients else None,
            "ComponentLatency": None,
        }
        rows.append(row | dict.fromkeys(RESERVED_OF_MESSAGE))
    return rows


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


def bookmark(rows: QuerySet[QueueItem], order: Order, identity: MessageIdentity) -> tuple[int, bool]:
    """Return the 1-based place of a message among sorted rows, and whether it is still one of them.

    A copy that left is placed where it stood: by the values its row still has. Rules: QU 1.8.
    """
    known = QueueItem.objects.filter(message=identity.number)
    if not identity.queue.is_every:
        known = known.filter(queue__in=[queue.pk for queue in queue_list.some(identity.queue)])
    keys = set(known.values_list("pk", flat=True))
    if not keys:
        text = _("There is no message “%(name)s” to start at.") % {"name": str(identity)[:100]}
        raise FcwebError(text, code="MESSAGE_NOT_FOUND", rule="QU-16")
    listed = set(rows.filter(pk__in=keys).values_list("pk", flat=True))
    wanted = listed or {max(keys)}
    around = QueueItem.objects.filter(Q(pk__in=rows.order_by().values("pk")) | Q(pk__in=wanted))
    places = queue_rows.ordered(around, order).values_list("pk", flat=True)
    place = next(number for number, pk in enumerate(places, start=1) if pk in wanted)
    return place, bool(listed)
