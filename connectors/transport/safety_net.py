"""Safety Net: delivered content is kept for QR-18 and can be delivered again (QU-6, DSN-12).

Resubmission sends delivered recipients back to Submission, where they are routed as the configuration is now. No notice
is ever written about them, here or by the gateway: their NOTIFY becomes NEVER. Leaves to neighbours: batches, progress
and audit (jobs), keeping and sweeping (sweep).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import F, Q, QuerySet
from django.utils.translation import gettext as _

from connectors.choices import ItemState, MessageState, Outcome, RecipientState
from connectors.conf import transport_config
from connectors.errors import FcwebError
from connectors.models import BulkJob, Message, MessageRecipient, Node, QueueItem, config_of
from connectors.transport.operations import Done
from tracking import record
from tracking.models import TrackedMessage
from tracking.query import internal_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which delivered copies: at least one of message, connector or time span."""

    message: str = ""  # Message-ID with < >, or the internal number
    connector: str = ""
    start: datetime | None = None
    end: datetime | None = None


def kept(node: Node, wanted: Wanted) -> QuerySet[QueueItem]:
    """Return the delivered copies that are still kept, newest first."""
    rows = QueueItem.objects.filter(queue__node=node, state=ItemState.DELIVERED).select_related("message", "queue")
    if wanted.message:
        header = wanted.message if wanted.message.startswith("<") else f"<{wanted.message}>"
        rows = rows.filter(Q(message__message_id=header) | Q(message_id=internal_id(wanted.message) or 0))
    if wanted.connector:
        rows = rows.filter(queue__connector_name__iexact=wanted.connector)
    if wanted.start is not None:
        rows = rows.filter(delivered_at__gte=wanted.start)
    if wanted.end is not None:
        rows = rows.filter(delivered_at__lt=wanted.end)
    return rows.order_by("-delivered_at", "-pk")


def check(wanted: Wanted) -> None:
    """Raise SAFETYNET_TOO_WIDE for an order that names nothing: it would deliver everything again."""
    if wanted == Wanted():
        raise FcwebError(_("Name a message, a connector or a time span."), code="SAFETYNET_TOO_WIDE", rule="QR-18")


def wanted_by(job: BulkJob) -> Wanted:
    """Return which copies an operation is about."""
    return Wanted(message=job.kept_message, connector=job.connector_name, start=job.kept_from, end=job.kept_until)


def keys_after(job: BulkJob, *, limit: int) -> list[int]:
    """Return the next copies of an operation: delivered before it began, so none is taken twice."""
    rows = kept(job.node, wanted_by(job)).filter(pk__gt=job.cursor, pk__lte=job.last_item)
    rows = rows.filter(delivered_at__lte=job.snapshot_at)
    return list(rows.order_by("pk").values_list("pk", flat=True)[:limit])


def deliver_again(keys: Sequence[int], *, node: Node, actor: str, now: datetime) -> list[Done]:
    """Send delivered recipients of these copies to Submission with their RESUBMIT events (MTE RESUBMIT).

    In the caller's transaction. A copy that was swept or sent again meanwhile is left alone.
    """
    rows = QueueItem.objects.filter(pk__in=keys, state=ItemState.DELIVERED).select_related("message")
    items = list(rows.select_for_update(of=("self",)).order_by("pk"))
    delivered = MessageRecipient.objects.filter(item__in=items, state=RecipientState.DELIVERED)
    held: dict[int, list[tuple[str, str]]] = {}
    for key, address in delivered.order_by("pk").values_list("item_id", "address"):
        held.setdefault(key or 0, []).append((address, ""))
    record.save(
        [
            record.resubmit(
                item.message.tracked_id,
                at=now,
                source="SAFETYNET",
                server=node.name,
                recipients=held[item.pk],
                reference=str(item.message_id),
                custom=f"S:fc.actor={actor}",
            )
            for item in items
            if item.pk in held
        ]
    )
    for item in items:
        again = len(held.get(item.pk, ()))
        TrackedMessage.objects.filter(pk=item.message.tracked_id).update(delivered=F("delivered") - again)
    delivered.update(
        state=RecipientState.SUBMITTED, item=None, final_address="", status_text="", settled_at=None, notify="NEVER"
    )
    QueueItem.objects.filter(pk__in=[item.pk for item in items]).update(state=ItemState.REMOVED)
    messages = {item.message_id for item in items}
    # Its time begins anew: what is delivered again a day later must not expire at the first failure.
    expires = now + config_of(node, transport_config()).expiration
    Message.objects.filter(pk__in=messages).update(state=MessageState.SUBMITTED, done_at=None, expires_at=expires)
    return [
        Done(
            item=item.pk,
            message=item.message_id,
            outcome=Outcome.CHANGED,
            before=ItemState.DELIVERED.value,
            after=MessageState.SUBMITTED.value,
        )
        for item in items
    ]
