"""Family: a message and the copies that were split off it for members of groups (MTT-3, MTT-4).

They share the network message id; each has an internal id of its own, and its TRANSFER names that of its parent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.formats import number_format
from django.utils.translation import ngettext

from tracking.choices import TrackedState
from tracking.models import TrackedMessage
from tracking.rows import EventRow

MOST = 100  # copies that are told together


def of(tracked: TrackedMessage) -> list[TrackedMessage]:
    """Return a message and its copies, oldest first; itself alone when it has none."""
    if tracked.network_message_id is None:
        return [tracked]
    same = TrackedMessage.objects.filter(network_message_id=tracked.network_message_id)
    found = list(same.order_by("pk")[:MOST])
    return found if tracked in found else [*found, tracked]


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One message of a family."""

    message: TrackedMessage
    parent: TrackedMessage | None  # what it was split off; None for the first, and where that is not known
    has_own_path: bool  # its notices go elsewhere than those of its parent


def tree(messages: Sequence[TrackedMessage], rows: Sequence[EventRow]) -> list[Member]:
    """Return who was split off whom, by the references of TRANSFER (MTT-4).

    A message that was loaded anew has another internal id than its copies name: RESUBMIT and LOAD tell the old one.
    """
    by_pk = {message.pk: message for message in messages}
    by_id = {str(message.internal_message_id): message for message in messages}
    parents: dict[int, str] = {}
    for row in rows:
        if row.event == "TRANSFER":
            parents.setdefault(row.message_pk, row.reference)
        elif row.event in {"RESUBMIT", "LOAD"} and row.reference and row.message_pk in by_pk:
            by_id.setdefault(row.reference, by_pk[row.message_pk])
    found = []
    for message in messages:
        parent = by_id.get(parents.get(message.pk, ""))
        differs = parent is not None and parent.return_path != message.return_path
        found.append(Member(message=message, parent=parent, has_own_path=differs))
    return found


def copies_of(tracked: TrackedMessage, family: Sequence[Member]) -> list[TrackedMessage]:
    """Return the copies that were split off a message."""
    return [member.message for member in family if member.parent is not None and member.parent.pk == tracked.pk]


def copies_sentence(copies: Sequence[TrackedMessage]) -> str:
    """Say how the copies of a message stand, "" when it has none."""
    if not copies:
        return ""
    counts = Counter(TrackedState(copy.state) for copy in copies)
    states = ", ".join(f"{number_format(count)} {state.label}" for state, count in counts.items())
    text = ngettext(
        "Its copy for members of groups: %(states)s.", "Its copies for members of groups: %(states)s.", len(copies)
    )
    return text % {"states": states}


_WORST_FIRST = (TrackedState.FAILED, TrackedState.PARTLY, TrackedState.DEFERRED, TrackedState.QUEUED)


def worst_state(tracked: TrackedMessage, copies: Sequence[TrackedMessage]) -> str:
    """Return the state a reader must not miss: the worst of a message and its copies, its own when all went well."""
    states = {tracked.state, *(copy.state for copy in copies)}
    return next((state.value for state in _WORST_FIRST if state in states), tracked.state)


def parent_of(tracked: TrackedMessage, family: Sequence[Member]) -> TrackedMessage | None:
    """Return what a message was split off."""
    return next((member.parent for member in family if member.message.pk == tracked.pk), None)
