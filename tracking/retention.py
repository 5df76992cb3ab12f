"""Retention: forget old events, by age and by size, oldest first, in short transactions (MTP-2, MTP-3).

Promises: a message leaves with all its events, and only when all of them are old; one still on its way never does.
The address dictionary stays: other processes remember which names they have added to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection, transaction

from tracking.choices import TrackedState
from tracking.models import EventRecipient, EventRollup, TrackedMessage, TrackingEvent

BATCH = 500  # messages a transaction
OPEN_STATES = (TrackedState.QUEUED, TrackedState.DEFERRED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What was forgotten, and what would have been but is still on its way."""

    messages: int
    events: int
    kept_open: int


def prune(*, before: datetime, limit: int | None = None) -> Pruned:
    """Delete messages whose last event is older than `before`, at most `limit` of them, oldest first."""
    messages = events = kept = 0
    last = 0
    while limit is None or messages < limit:
        size = BATCH if limit is None else min(BATCH, limit - messages)
        old = TrackedMessage.objects.filter(pk__gt=last, last_at__lt=before).order_by("pk")
        batch = list(old.values_list("pk", "state")[:size])
        if not batch:
            break
        last = batch[-1][0]
        gone, lost = _forget([pk for pk, state in batch if state not in OPEN_STATES], before=before)
        kept += len(batch) - gone
        messages += gone
        events += lost
    if limit is None:
        EventRollup.objects.filter(bucket__lt=before - timedelta(minutes=5)).delete()
    return Pruned(messages=messages, events=events, kept_open=kept)


def prune_to_size(*, most_events: int) -> Pruned:
    """Delete the oldest messages until about `most_events` events are left."""
    edge = TrackingEvent.objects.order_by("-at", "-pk").values_list("at", flat=True)[most_events : most_events + 1]
    cut = next(iter(edge), None)
    if cut is None:
        return Pruned(messages=0, events=0, kept_open=0)
    return prune(before=cut + timedelta(microseconds=1))


def _forget(keys: list[int], *, before: datetime) -> tuple[int, int]:
    """Delete messages, their events and recipients in one transaction; a message that moved on meanwhile stays."""
    if not keys:
        return 0, 0
    with transaction.atomic():
        if connection.vendor == "postgresql":
            still = TrackedMessage.objects.select_for_update().filter(pk__in=keys, last_at__lt=before)
        else:
            still = TrackedMessage.objects.filter(pk__in=keys, last_at__lt=before)
        doomed = list(still.exclude(state__in=OPEN_STATES).values_list("pk", flat=True))
        events = TrackingEvent.objects.filter(message__in=doomed)
        EventRecipient.objects.filter(event__in=events.values("pk"))._raw_delete(using="default")
        count = events._raw_delete(using="default")
        TrackedMessage.objects.filter(pk__in=doomed)._raw_delete(using="default")
    return len(doomed), int(count)
