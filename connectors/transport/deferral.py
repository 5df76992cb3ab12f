"""Deferral: one message that cannot go now waits by itself, and the others of its queue pass it (QR-6, QR-24, MTA-7).

Promises: a copy's refusal, its next attempt and its DEFER event are one commit; the queue's own status stays as it is.
Leaves to neighbours: who refuses what (couriers), queues that cannot be reached at all (queue.back_off).
Crash: before the commit the copy is leased by a process that ended (`delivery.recover`), after it it is `deferred`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction

from connectors.choices import ItemState
from connectors.models import Queue, QueueItem
from connectors.transport.leasing import LeasedItem
from fcweb import bulk
from tracking import record

_WOKEN_A_PASS = 500


def defer(
    queue: Queue,
    items: Sequence[LeasedItem],
    *,
    text: str,
    context: str,
    source: str,
    retry_at: datetime,
    now: datetime,
) -> None:
    """Let leased copies wait until `retry_at`; DEFER is written when that begins and when its reason changes.

    `text` is the refusal ("452 4.2.2 …"), `context` its short code. A copy that a person wants stopped or removed
    does not wait: its transfer has failed, and `operations.settle_pending` ends it (QO-14).
    """
    if not items:
        return
    with transaction.atomic():
        held = QueueItem.objects.filter(pk__in=[item.pk for item in items]).select_for_update().order_by("pk")
        known = {row[0]: row[1:] for row in held.values_list("pk", "pending", "deferred_reason", "attempts")}
        rows, told = [], []
        for item in items:
            pending, reason, attempts = known[item.pk]
            state, until = (ItemState.SUSPENDED, None) if pending else (ItemState.DEFERRED, retry_at)
            rows.append((state.value, until, attempts + 1, text[:1000], context, "", "", "", "", item.pk))
            if not pending and reason != context:
                told.append(item)
        fields = "state retry_at attempts last_error deferred_reason leased_by directory temp_name final_name"
        bulk.update(QueueItem, fields.split(), rows)
        record.save(
            [
                record.defer(
                    item.message.tracked_id,
                    at=now,
                    source=source,
                    server=queue.node.name,
                    connector=queue.connector_name,
                    context=context,
                    recipients=[(recipient.address, text) for recipient in item.recipients],
                    next_attempt=retry_at,
                )
                for item in told
            ]
        )


def wake(*, now: datetime) -> int:
    """Make up to a few hundred copies whose time has come ready again; return how many.

    Of any node: whoever finds them only opens the door. One probe of an index when there are none.
    """
    due = QueueItem.objects.filter(state=ItemState.DEFERRED, retry_at__lte=now).order_by("retry_at")
    keys = list(due.values_list("pk", flat=True)[:_WOKEN_A_PASS])
    return _ready(keys) if keys else 0


def _ready(keys: Sequence[int]) -> int:
    return QueueItem.objects.filter(pk__in=keys, state=ItemState.DEFERRED).update(state=ItemState.READY, retry_at=None)


def wake_queue(queue_pk: int) -> int:
    """Make all deferred copies of a queue ready at once; in the caller's transaction. Return how many (QO-6)."""
    waiting = QueueItem.objects.filter(queue=queue_pk, state=ItemState.DEFERRED)
    return waiting.update(state=ItemState.READY, retry_at=None)
