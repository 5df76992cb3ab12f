"""Safety Net: delivered content is kept for QR-18 and can be delivered again (QU-6, DSN-12).

Resubmission sends delivered recipients back to Submission, where they are routed as the configuration is now. No notice
is ever written about them, here or by the gateway: their NOTIFY becomes NEVER. Leaves to neighbours: keeping and sweeping (service).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils.translation import gettext as _

from connectors.choices import ItemState, MessageState, RecipientState
from connectors.conf import transport_config
from connectors.errors import FcwebError
from connectors.models import Message, MessageRecipient, Node, QueueItem, config_of
from tracking import record
from tracking.models import TrackedMessage

_BATCH = 500


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
        number = int(wanted.message) if wanted.message.isascii() and wanted.message.isdigit() else 0
        header = wanted.message if wanted.message.startswith("<") else f"<{wanted.message}>"
        rows = rows.filter(Q(message__message_id=header) | Q(message_id=number))
    if wanted.connector:
        rows = rows.filter(queue__connector_name__iexact=wanted.connector)
    if wanted.start is not None:
        rows = rows.filter(delivered_at__gte=wanted.start)
    if wanted.end is not None:
        rows = rows.filter(delivered_at__lt=wanted.end)
    return rows.order_by("-delivered_at", "-pk")


def resubmit(node: Node, wanted: Wanted, *, actor: str, now: datetime) -> int:
    """Deliver kept copies again, each once a call; return how many. Batches are separate transactions."""
    if wanted == Wanted():
        raise FcwebError(_("Name a message, a connector or a time span."), code="SAFETYNET_TOO_WIDE", rule="QR-18")
    total = 0
    cursor = 0
    while True:
        with transaction.atomic():
            rows = kept(node, wanted).filter(pk__gt=cursor, delivered_at__lte=now).order_by("pk")
            items = list(rows.select_for_update(of=("self",))[:_BATCH])
            if not items:
                return total
            _resubmit(node, items, actor=actor, now=now)
        cursor = items[-1].pk
        total += len(items)


def _resubmit(node: Node, items: list[QueueItem], *, actor: str, now: datetime) -> None:
    """Send delivered recipients of these copies to Submission with their RESUBMIT events (MTE RESUBMIT)."""
    keys = [item.pk for item in items]
    delivered = MessageRecipient.objects.filter(item__in=keys, state=RecipientState.DELIVERED)
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
    QueueItem.objects.filter(pk__in=keys).update(state=ItemState.REMOVED)
    messages = {item.message_id for item in items}
    # Its time begins anew: what is delivered again a day later must not expire at the first failure.
    expires = now + config_of(node, transport_config()).expiration
    Message.objects.filter(pk__in=messages).update(state=MessageState.SUBMITTED, done_at=None, expires_at=expires)
