"""Queues as the commands show them: Exchange's properties, filtered, sorted and found by identity (QU 1.3, 1.7)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.db.models import Count
from django.utils.translation import gettext as _

from connectors import submission_rows
from connectors.choices import POISON_DOMAIN, SUBMISSION_DOMAIN, WAITING, DeliveryType, ItemState, Priority, QueueStatus
from connectors.errors import FcwebError
from connectors.models import IS_SUBMISSION, Queue, QueueItem
from connectors.queue_filter import Filter, Value, matches
from connectors.queue_identity import QueueIdentity
from connectors.queue_properties import EXTERNAL_TYPES, PRIORITY_DESCRIPTIONS, RESERVED_OF_QUEUE
from connectors.reads import queues as reads
from connectors.reads.queues import QueueSummary

_HUNDRED = 100


def rows(
    wanted: Filter, *, now: datetime, include: Sequence[str] = (), exclude: Sequence[str] = (), server: str = ""
) -> list[QueueSummary]:
    """Return the queues a filter means that are listed now; `include`, `exclude` and `server` as in QU-17."""
    found = [queue for queue in every(now=now) if not queue.is_idle and is_listed(queue)]
    found = [queue for queue in found if matches(wanted, values_of(queue))]
    if server:
        found = [queue for queue in found if queue.identity.partition("\\")[0].casefold() == server.casefold()]
    if include:
        found = [queue for queue in found if any(_is_kind(queue, kind) for kind in include)]
    return [queue for queue in found if not any(_is_kind(queue, kind) for kind in exclude)]


def every(*, now: datetime) -> list[QueueSummary]:
    """Return all queues with their counts per priority, idle and empty ones too; each is counted to its end."""
    counts = _counts()
    return [replace(queue, **counts.get(queue.pk, _NOTHING)) for queue in reads.summaries(now=now)]


_RANKS = (Priority.HIGH, Priority.NORMAL, Priority.LOW)
_NOTHING: dict[str, Any] = {}  # Any: fields of QueueSummary


def _counts() -> dict[int, dict[str, Any]]:  # Any: fields of QueueSummary
    """Return how many messages wait, of each priority, suspended and deferred; what has no X-Priority counts as Normal."""
    found: dict[int, Counter[tuple[str, int]]] = {}
    rows = QueueItem.objects.filter(state__in=WAITING).order_by().values_list("queue", "state", "message__priority")
    for queue, state, priority, count in rows.annotate(n=Count("pk")):
        found.setdefault(queue, Counter())[state, priority] = count
    submission = dict(Queue.objects.filter(IS_SUBMISSION).values_list("node", "pk"))
    waiting = submission_rows.listed(Filter()).order_by().values_list("node", "priority")
    for node, priority, count in waiting.annotate(n=Count("pk")):
        if node in submission:
            found.setdefault(submission[node], Counter())[ItemState.READY.value, priority] = count
    return {queue: _facts(counts) for queue, counts in found.items()}


def _facts(counts: Counter[tuple[str, int]]) -> dict[str, Any]:  # Any: fields of QueueSummary
    ranks: Counter[int] = Counter()
    states: Counter[str] = Counter()
    for (state, priority), count in counts.items():
        ranks[priority] += count
        states[state] += count
    return {
        "waiting": ranks.total(),
        "stopped": states[ItemState.SUSPENDED],
        "deferred": states[ItemState.DEFERRED],
        "priorities": (*(ranks[rank] for rank in _RANKS), 0),
    }


def is_listed(queue: QueueSummary) -> bool:
    """Tell whether Exchange would list it: Unreachable and Poison only while they hold mail (QU-3, QU-4)."""
    return (
        bool(queue.waiting)
        or not (queue.is_poison or queue.delivery_type == DeliveryType.UNREACHABLE)
        or queue.is_suspended
    )


def _is_kind(queue: QueueSummary, kind: str) -> bool:
    word = kind.casefold()
    if word == "empty":
        return not queue.waiting
    if word in {"internal", "external"}:
        return category(queue).casefold() == word
    return queue.delivery_type.casefold() == word


def category(queue: QueueSummary) -> str:
    """Return NextHopCategory (QU-12)."""
    return "External" if queue.delivery_type in EXTERNAL_TYPES else "Internal"


def properties(queue: QueueSummary) -> dict[str, object]:
    """Return all properties of one queue, with Exchange's names (QU 1.3)."""
    is_retry = queue.status == QueueStatus.RETRY
    return {
        "Identity": queue.identity,
        "QueueIdentity": queue.identity,
        "QueueId": queue.pk,
        "DeliveryType": queue.delivery_type,
        "NextHopCategory": category(queue),
        "NextHopDomain": queue.domain,
        "NextHopConnector": str(queue.next_hop_connector),
        "ConnectorName": queue.name,
        "Status": queue.status,
        "MessageCount": queue.waiting,
        "DeferredMessageCount": 0,
        "PriorityDescriptions": list(PRIORITY_DESCRIPTIONS),
        "MessageCountsPerPriority": list(queue.priorities),
        "DeferredMessageCountsPerPriority": [0, 0, 0, 0],
        "LastError": queue.error,
        "FirstRetryTime": queue.first_retry_at,
        "LastRetryTime": queue.last_attempt_at if is_retry else None,
        "NextRetryTime": queue.next_retry_at if is_retry else None,
        "RetryCount": queue.retries,
        "IncomingRate": round(queue.incoming, 2),
        "OutgoingRate": round(queue.outgoing, 2),
        "Velocity": round(queue.velocity, 2),
        "TlsDomain": "",
        **dict.fromkeys(RESERVED_OF_QUEUE),
    }


def values_of(queue: QueueSummary) -> Callable[[str], Sequence[Value]]:
    """Return what `queue_filter.matches` asks of a queue."""
    known = properties(queue)
    server = queue.identity.partition("\\")[0]

    def values(name: str) -> Sequence[Value]:
        if name in {"Identity", "QueueIdentity"}:
            return [queue.identity, f"{server}\\{queue.pk}"]
        if name.endswith("PerPriority"):
            numbers = queue.priorities if name == "MessageCountsPerPriority" else (0, 0, 0, 0)
            return ["{" + ", ".join(str(number) for number in numbers) + "}"]
        return [known[name]]  # type: ignore[list-item]  # properties() holds values of the property's type

    return values


def found(identity: QueueIdentity) -> list[Queue]:
    """Return the queues an identity names, in order of number; a connector's name stands for its queues too (QU-15)."""
    rows = Queue.objects.select_related("node").order_by("pk")
    if identity.server:
        rows = rows.filter(node__name__iexact=identity.server)
    if identity.is_shadow:
        return []  # accepted, never kept (QU-5, QU-9)
    if identity.is_every:
        return list(rows)
    if identity.number is not None:
        return list(rows.filter(pk=identity.number))
    if identity.name == "Unreachable":
        return list(rows.filter(delivery_type=DeliveryType.UNREACHABLE))
    if identity.name in {"Poison", "Submission"}:
        domain = POISON_DOMAIN if identity.name == "Poison" else SUBMISSION_DOMAIN
        return list(rows.filter(delivery_type=DeliveryType.UNDEFINED, next_hop_domain=domain))
    by_domain = list(rows.filter(next_hop_domain__iexact=identity.name))
    return by_domain or list(rows.filter(connector_name__iexact=identity.name))


def some(identity: QueueIdentity) -> list[Queue]:
    """Return the queues an identity names for reading; FcwebError when there is none (QA-13)."""
    queues = found(identity)
    if not queues and not identity.is_every:
        text = _("There is no queue “%(name)s”.") % {"name": str(identity)[:_HUNDRED]}
        raise FcwebError(text, code="QUEUE_NOT_FOUND", rule="QA-13")
    return queues


def find(identity: QueueIdentity) -> Queue:
    """Return the one queue that a change is about; FcwebError when there is none or more than one (QO-1, QU-15)."""
    if identity.is_every:
        text = _("“*” is for reading; name one queue, or use a filter.")
        raise FcwebError(text, code="QUEUE_AMBIGUOUS", rule="QU-15")
    queues = some(identity)
    if len(queues) > 1:
        text = _("“%(name)s” means more than one queue; name it by its number, or use a filter.")
        raise FcwebError(text % {"name": str(identity)[:_HUNDRED]}, code="QUEUE_AMBIGUOUS", rule="QO-1")
    return queues[0]


def in_order(rows: Sequence[dict[str, object]], order: Sequence[tuple[str, bool]]) -> list[dict[str, object]]:
    """Sort rows of properties; identity ascending decides last (QU 1.8)."""
    found = sorted(rows, key=lambda row: str(row["Identity"]).casefold())
    for name, descending in reversed(order):
        found.sort(key=lambda row, name=name: _sortable(row.get(name)), reverse=descending)  # type: ignore[misc]
    return found


def _sortable(value: object) -> tuple[bool, str | float]:
    if value is None:
        return (False, 0.0)
    if isinstance(value, int | float):
        return (True, float(value))
    return (True, value.isoformat() if isinstance(value, datetime) else str(value).casefold())


def bookmark(
    rows: Sequence[dict[str, object]], order: Sequence[tuple[str, bool]], identity: QueueIdentity, *, now: datetime
) -> tuple[int, bool]:
    """Return the 1-based place of a queue among sorted rows, and whether it is one of them.

    One that is not listed any more is placed where it would stand (QU 1.8).
    """
    queue = find(identity)
    there = next((place for place, row in enumerate(rows, start=1) if row["QueueId"] == queue.pk), None)
    if there is not None:
        return there, True
    missing = [properties(row) for row in every(now=now) if row.pk == queue.pk]
    places = in_order([*rows, *missing], order)
    return next(place for place, row in enumerate(places, start=1) if row["QueueId"] == queue.pk), False
