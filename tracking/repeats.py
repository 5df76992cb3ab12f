"""Repeats: messages that were on their way, or arrived, not long ago (UP-6)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from tracking.choices import TrackedState
from tracking.models import EventRecipient, TrackedMessage

_WAITING = frozenset({TrackedState.QUEUED.value, TrackedState.DEFERRED.value})
_ARRIVED = frozenset({TrackedState.TRANSFERRED.value, TrackedState.DELIVERED.value, TrackedState.PARTLY.value})
_COPIES = 2000  # earlier copies looked at for one batch


def reached(message_ids: Iterable[str], *, since: datetime) -> set[tuple[str, str]]:
    """Return (Message-ID, recipient key) of what is queued now, or was delivered since then.

    Two queries for any number of Message-IDs. The key is the case-folded address.
    """
    states = _WAITING | _ARRIVED
    known = TrackedMessage.objects.filter(message_id__in=set(message_ids), last_at__gte=since, state__in=states)
    copies = known.values_list("pk", "message_id", "state")[:_COPIES]
    messages: dict[int, tuple[str, str]] = {pk: (text, state) for pk, text, state in copies}
    if not messages:
        return set()
    recipients = EventRecipient.objects.filter(
        event__message__in=list(messages), event__event__in=["RECEIVE", "SEND", "DELIVER"]
    ).values_list("event__message_id", "event__event", "address_key")
    found = set()
    for pk, event, key in recipients:
        message_id, state = messages[int(pk)]
        if event != "RECEIVE" or state in _WAITING:
            found.add((message_id, key))
    return found
