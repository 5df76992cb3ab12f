"""Boot: the LOAD events of what was stored when the service started (QU-10, MT-L).

Once a start of a daemon that finds no other one alive; a run by cron and a second worker write none.
"""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from connectors.choices import MessageState, RecipientState
from connectors.models import Message, MessageRecipient, Node
from fcweb import one_writer
from tracking import record

_BATCH = 500
_STORED = (MessageState.SUBMITTED, MessageState.ROUTED, MessageState.POISON)
_OPEN = (RecipientState.SUBMITTED, RecipientState.QUEUED)


class Boot:
    """Writes the events a batch at a time, so that a large queue does not hold up the start."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._cursor = 0
        newest = Message.objects.filter(node=node).order_by("-pk").values_list("pk", flat=True).first()
        self._last: int | None = newest or 0

    def run_once(self, now: datetime) -> int:
        """Write LOAD for up to 500 stored messages; return how many."""
        if self._last is None:
            return 0
        with transaction.atomic():
            stored = Message.objects.filter(node=self._node, pk__gt=self._cursor, pk__lte=self._last, state__in=_STORED)
            rows = list(stored.order_by("pk").values_list("pk", "tracked_id")[:_BATCH])
            if not rows:
                self._last = None
                return 0
            waiting: dict[int, list[tuple[str, str]]] = {}
            held = MessageRecipient.objects.filter(message__in=[pk for pk, _tracked in rows], state__in=_OPEN)
            for message, address in held.order_by("pk").values_list("message_id", "address"):
                waiting.setdefault(message, []).append((address, ""))
            record.save(
                [
                    record.load(tracked, at=now, server=self._node.name, recipients=waiting[pk])
                    for pk, tracked in rows
                    if pk in waiting
                ]
            )
        self._cursor = rows[-1][0]
        one_writer.leave_room()
        return len(rows)
