"""The digest of queues: how much waits where, grouped, over every server, counted now (QU-14, QX-2).

No queue is left out for holding little, and no figure is older than the question: the rule's threshold of ten and its
two minutes of age are what the requirement takes away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from connectors.choices import DeliveryType, QueueStatus
from connectors.reads import queue_list
from connectors.reads.queues import QueueSummary


class GroupBy(StrEnum):
    """What queues are put together by."""

    NEXT_HOP_DOMAIN = "NextHopDomain"
    DELIVERY_TYPE = "DeliveryType"
    LAST_ERROR = "LastError"
    NEXT_HOP_CATEGORY = "NextHopCategory"
    NEXT_HOP_KEY = "NextHopKey"
    STATUS = "Status"
    SERVER_NAME = "ServerName"


class Details(StrEnum):
    """How much is said of the queues of a group."""

    NONE = "None"
    NORMAL = "Normal"
    VERBOSE = "Verbose"


_KEYS: Mapping[GroupBy, Callable[[QueueSummary], str]] = {
    GroupBy.NEXT_HOP_DOMAIN: lambda queue: queue.domain,
    GroupBy.DELIVERY_TYPE: lambda queue: queue.delivery_type,
    GroupBy.LAST_ERROR: lambda queue: queue.error,
    GroupBy.NEXT_HOP_CATEGORY: lambda queue: queue_list.category(queue),
    GroupBy.NEXT_HOP_KEY: lambda queue: f"{queue.delivery_type}:{queue.domain}:{queue.next_hop_connector}",
    GroupBy.STATUS: lambda queue: queue.status,
    GroupBy.SERVER_NAME: lambda queue: queue.identity.partition("\\")[0],
}
_NORMAL = ("Identity", "DeliveryType", "Status", "MessageCount", "LastError", "NextHopDomain")


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Queues that share a value."""

    value: str
    queues: tuple[QueueSummary, ...]  # most messages first

    @property
    def messages(self) -> int:
        """Return how many messages wait in all of them."""
        return sum(queue.waiting for queue in self.queues)

    @property
    def retrying(self) -> int:
        """Return how many of them wait in a queue whose last attempt failed."""
        return sum(queue.waiting for queue in self.queues if queue.status == QueueStatus.RETRY)

    @property
    def incoming(self) -> float:
        """Return messages a second that came in."""
        return sum(queue.incoming for queue in self.queues)

    @property
    def outgoing(self) -> float:
        """Return messages a second that left."""
        return sum(queue.outgoing for queue in self.queues)

    @property
    def worst(self) -> QueueSummary:
        """Return the queue that explains the group: one with an error first, then the fullest."""
        return next((queue for queue in self.queues if queue.error), self.queues[0])


def is_counted(queue: QueueSummary) -> bool:
    """Tell whether a queue stands in the digest.

    A delivery queue by its status, Submission, Unreachable, Poison and suspended ones while they hold mail.
    """
    if queue.is_suspended or queue.delivery_type in {DeliveryType.UNREACHABLE, DeliveryType.UNDEFINED}:
        return bool(queue.waiting)
    return not queue.is_idle


def groups(queues: Sequence[QueueSummary], by: GroupBy = GroupBy.NEXT_HOP_DOMAIN) -> list[Group]:
    """Return the groups with mail, and those of queues in use without, most messages first, then by value."""
    found: dict[str, list[QueueSummary]] = {}
    for queue in queues:
        if is_counted(queue):
            found.setdefault(_KEYS[by](queue), []).append(queue)
    made = [
        Group(value=value, queues=tuple(sorted(held, key=lambda queue: (-queue.waiting, queue.identity))))
        for value, held in found.items()
    ]
    return sorted(made, key=lambda group: (-group.messages, group.value.casefold()))


def properties(group: Group, details: Details = Details.NONE) -> dict[str, object]:
    """Return a group as the command shows it; `Details` has a line a queue, all its properties when verbose."""
    row: dict[str, object] = {
        "GroupByValue": group.value,
        "MessageCount": group.messages,
        "RetryMessageCount": group.retrying,
        "QueueCount": len(group.queues),
        "IncomingRate": round(group.incoming, 2),
        "OutgoingRate": round(group.outgoing, 2),
        "LastError": group.worst.error,
    }
    if details is not Details.NONE:
        every = [queue_list.properties(queue) for queue in group.queues]
        is_verbose = details is Details.VERBOSE
        row["Details"] = [facts if is_verbose else {name: facts[name] for name in _NORMAL} for facts in every]
    return row
