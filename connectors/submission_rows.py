"""Messages in Submission with Exchange's properties: what waits to be routed, listed and removed as one set (QU-1, QU-7).

Promises: `listed` is the only way to say which messages in Submission a filter means, for pages, commands and jobs
alike; rows are messages, for one that waits here has no copy yet. A row's values in Python (`properties`) are those
the conditions see (tests compare them).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

from django.db.models import CharField, Exists, F, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Cast, Coalesce, Concat

from connectors import queue_filter
from connectors.choices import SUBMISSION_DOMAIN, MessageState, Priority, RecipientState
from connectors.models import IS_SUBMISSION, Message, MessageRecipient, Node, Queue
from connectors.queue_filter import Column, Constant, Filter
from tracking.models import TrackedMessage, TrackingEvent

_QUEUES = Queue.objects.filter(IS_SUBMISSION)

# Paths and expressions from Message; those of `_EXPRESSIONS` are added only when a filter or order uses them.
_EXPRESSIONS: Mapping[str, object] = {
    "f_queue": Concat(F("node__name"), Value(f"\\{SUBMISSION_DOMAIN}"), output_field=CharField()),
    "f_queue_number": Subquery(
        _QUEUES.filter(node=OuterRef("node"))
        .annotate(number=Concat(F("node__name"), Value("\\"), Cast("pk", CharField()), output_field=CharField()))
        .values("number")[:1]
    ),
    "f_direction": Coalesce(
        Subquery(TrackedMessage.objects.filter(pk=OuterRef("tracked_id")).values("directionality")[:1]),
        Value("Undefined"),
        output_field=CharField(),
    ),
}


def _of_recipients(one: Callable[[str], Q]) -> Q:
    waiting = MessageRecipient.objects.filter(message=OuterRef("pk"), state=RecipientState.SUBMITTED)
    return Q(Exists(waiting.filter(one("address"))))


# Nothing was tried yet, so nothing was refused; a message that was sent back keeps the time it first came (QR-28).
_UNTRIED: Mapping[str, queue_filter.Value] = {
    "Status": "Ready",
    "LastError": "",
    "DeferReason": "None",
    "RetryCount": 0,
    "SCL": None,
    "MessageLatency": timedelta(0),
}
COLUMNS: Mapping[str, Column] = {
    "Priority": ("priority",),
    "Directionality": ("f_direction",),
    "Queue": ("f_queue", "f_queue_number"),
    "Recipients": _of_recipients,
    "InternetMessageId": ("message_id",),
    "Subject": ("subject",),
    "FromAddress": ("mail_from",),
    "OriginalFromAddress": ("original__mail_from",),
    "MessageSourceName": ("source_name",),
    "SourceIP": ("source_ip",),
    "Size": ("size",),
    "DateReceived": ("received_at",),
    "ExpirationTime": ("expires_at",),
    **{name: Constant(value) for name, value in _UNTRIED.items()},
}
# Events with which a message enters Submission: accepted, written as a notice, sent back.
_ENTRIES = Q(event__in=["RECEIVE", "DSN", "RESUBMIT"]) | Q(event="POISONMESSAGE", source_context="Resumed")


def listed(
    wanted: Filter, *, node: Node | None = None, queue: int | None = None, last_item: int | None = None
) -> QuerySet[Message]:
    """Return the messages in Submission that a filter means, unordered.

    `queue` is the key of a Submission queue: one node's. `last_item` (of `newest_item`) bounds a snapshot: what was
    accepted or sent back here later is left out, so that nobody acts on more than was listed.
    """
    rows = Message.objects.filter(state=MessageState.SUBMITTED)
    if queue is not None:
        rows = rows.filter(node__in=_QUEUES.filter(pk=queue).values("node"))
    elif node is not None:
        rows = rows.filter(node=node)
    if last_item is not None:
        later = TrackingEvent.objects.filter(_ENTRIES, message=OuterRef("tracked_id"), pk__gt=last_item)
        rows = rows.filter(~Exists(later))
    used = {name for clause in wanted.clauses for name in queue_filter.names(COLUMNS[clause.property.name])}
    rows = rows.alias(**{name: _EXPRESSIONS[name] for name in used if name in _EXPRESSIONS})
    return rows.filter(queue_filter.condition(wanted, COLUMNS))


def ordered(rows: QuerySet[Message], order: Sequence[tuple[str, bool]]) -> QuerySet[Message]:
    """Sort by properties, each (name, descending); identity ascending decides last (QU 1.8)."""
    keys: list[str] = []
    for name, descending in order:
        first = ("pk",) if name == "Identity" else queue_filter.names(COLUMNS[name])[:1] if name in COLUMNS else ()
        if not first:
            continue
        rows = rows.alias(**{part: _EXPRESSIONS[part] for part in first if part in _EXPRESSIONS})
        keys.append(f"{'-' if descending else ''}{first[0]}")
    return rows.order_by(*keys, "pk")


def keys_after(rows: QuerySet[Message], key: int, *, limit: int) -> list[int]:
    """Return the first `limit` keys of listed rows above `key`, ascending: oldest first."""
    return list(rows.filter(pk__gt=key).order_by("pk").values_list("pk", flat=True)[:limit])


def keys_before(rows: QuerySet[Message], key: int, *, limit: int) -> list[int]:
    """Return the last `limit` keys of listed rows below `key`, ascending."""
    return sorted(rows.filter(pk__lt=key).order_by("-pk").values_list("pk", flat=True)[:limit])


def count(rows: QuerySet[Message], *, cap: int | None = None) -> int:
    """Return how many rows are listed; counting stops at `cap`."""
    return rows.order_by()[:cap].count() if cap else rows.order_by().count()


def newest_item() -> int:
    """Return the key of the newest event: the bound of a snapshot, for every entry into Submission writes one."""
    return TrackingEvent.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def with_facts(rows: QuerySet[Message]) -> QuerySet[Message]:
    """Add what `properties` reads: a fixed number of queries for any page."""
    return rows.select_related("node", "original").prefetch_related("recipients")


def waiting_recipients(message: Message) -> list[MessageRecipient]:
    """Return those recipients that wait here; others may wait in queues, or be settled (QU-7)."""
    return [one for one in message.recipients.all() if one.state == RecipientState.SUBMITTED]


def properties(message: Message) -> dict[str, object]:
    """Return all properties of one message, with Exchange's names (QU 1.5)."""
    queue = f"{message.node.name}\\{SUBMISSION_DOMAIN}"
    return {
        "Identity": f"{queue}\\{message.pk}",
        "InternetMessageId": message.message_id,
        "Subject": message.subject,
        "FromAddress": message.mail_from,
        "OriginalFromAddress": message.original.mail_from if message.original else None,
        "Size": message.size,
        "MessageSourceName": message.source_name,
        "SourceIP": message.source_ip,
        "DateReceived": message.received_at,
        "ExpirationTime": message.expires_at,
        "Queue": queue,
        "Priority": Priority(message.priority).name.title(),
        "Recipients": [one.address for one in waiting_recipients(message)],
        **_UNTRIED,
    }


def values_of(message: Message) -> Callable[[str], Sequence[queue_filter.Value]]:
    """Return what `queue_filter.matches` asks of a row."""
    known = properties(message)

    def values(name: str) -> Sequence[queue_filter.Value]:
        if name == "Queue":
            numbers = _QUEUES.filter(node=message.node).values_list("pk", flat=True)
            return [str(known["Queue"]), *(f"{message.node.name}\\{number}" for number in numbers)]
        if name == "Priority":
            return [message.priority]
        if name == "Recipients":
            return [one.address for one in waiting_recipients(message)]
        if name == "Directionality":
            found = TrackedMessage.objects.filter(pk=message.tracked_id).values_list("directionality", flat=True)
            return [found.first() or "Undefined"]
        return [known[name]]  # type: ignore[list-item]  # properties() holds values of the property's type

    return values
