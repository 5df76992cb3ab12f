"""Queued messages with Exchange's properties: the very set that lists show and operations work on (QU 1.5 to 1.8).

Promises: `listed` is the only way to say which copies a filter means, for pages, commands and jobs alike; what waits
to be routed is in no queue of these (submission_rows). Both are asked through waiting_rows.
A row's values in Python (`properties`) are those the conditions see (tests compare them).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from django.db.models import (
    Case,
    CharField,
    DurationField,
    Exists,
    ExpressionWrapper,
    F,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Cast, Coalesce, Concat

from connectors import queue_filter
from connectors.choices import (
    OTHER_REFUSAL,
    POISON_DOMAIN,
    STILL,
    WAITING,
    DeliveryType,
    ItemState,
    MessageState,
    Pending,
    Priority,
    RecipientState,
    Refusal,
)
from connectors.models import IN_POISON, IN_TRANSFER, MessageRecipient, Node, Queue, QueueItem
from connectors.queue_filter import Column, Filter
from tracking.models import TrackedMessage

_MOVING = (ItemState.STAGING, ItemState.STAGED)
_REMOVALS = (Pending.REMOVE, Pending.REMOVE_NDR)

# Paths and expressions from QueueItem; those of `_EXPRESSIONS` are added only when a filter or order uses them.
_EXPRESSIONS: Mapping[str, object] = {
    "f_status": Case(
        When(pending=Pending.SUSPEND, then=Value("PendingSuspend")),
        When(pending__in=_REMOVALS, then=Value("PendingRemove")),
        When(state=ItemState.SUSPENDED, then=Value("Suspended")),
        When(state__in=_MOVING, then=Value("Active")),
        When(state=ItemState.DEFERRED, then=Value("Retry")),
        When(queue__retry_count__gt=0, then=Value("Retry")),
        default=Value("Ready"),
        output_field=CharField(),
    ),
    "f_error": Case(
        When(state=ItemState.READY, queue__retry_count__gt=0, then=F("queue__last_error")),
        When(queue__delivery_type=DeliveryType.UNREACHABLE, then=F("queue__last_error")),
        default=F("last_error"),
        output_field=CharField(),
    ),
    "f_retries": Case(
        When(state=ItemState.READY, then=F("attempts") + F("queue__retry_count")),
        default=F("attempts"),
        output_field=IntegerField(),
    ),
    "f_defer": Case(
        When(~Q(state=ItemState.DEFERRED), then=Value("None")),
        *(When(deferred_reason=refusal.value, then=Value(str(refusal.label))) for refusal in Refusal),
        default=Value(OTHER_REFUSAL),
        output_field=CharField(),
    ),
    "f_latency": ExpressionWrapper(F("entered_at") - F("message__received_at"), output_field=DurationField()),
    "f_queue": Concat(
        F("queue__node__name"),
        Value("\\"),
        Case(
            When(queue__delivery_type=DeliveryType.UNREACHABLE, then=Value("Unreachable")),
            When(queue__next_hop_domain=POISON_DOMAIN, then=Value("Poison")),
            default=F("queue__next_hop_domain"),
        ),
        output_field=CharField(),
    ),
    "f_queue_number": Concat(
        F("queue__node__name"), Value("\\"), Cast("queue_id", CharField()), output_field=CharField()
    ),
    "f_direction": Coalesce(
        Subquery(TrackedMessage.objects.filter(pk=OuterRef("message__tracked_id")).values("directionality")[:1]),
        Value("Undefined"),
        output_field=CharField(),
    ),
    "f_scl": Value(None, output_field=IntegerField()),
}


def _of_recipients(one: Callable[[str], Q]) -> Q:
    held = MessageRecipient.objects.filter(item=OuterRef("pk"), state=RecipientState.QUEUED)
    return Q(Exists(held.filter(one("address") | (one("final_address") & ~Q(final_address="")))))


def _statuses() -> dict[str, Q]:
    """Return what each status is in plain columns (QU 1.6): an expression would be computed for every waiting row."""
    retrying = Q(queue__in=Queue.objects.filter(retry_count__gt=0).values("pk"))
    still = {
        "Suspended": Q(state=ItemState.SUSPENDED),
        "Active": Q(state__in=_MOVING),
        "Retry": Q(state=ItemState.DEFERRED) | (Q(state=ItemState.READY) & retrying),
        "Ready": Q(state=ItemState.READY) & ~retrying,
    }
    return {
        "PendingSuspend": Q(pending=Pending.SUSPEND),
        "PendingRemove": Q(pending__in=_REMOVALS),
        **{name: Q(pending="") & holds for name, holds in still.items()},
    }


COLUMNS: Mapping[str, Column] = {
    "Status": _statuses(),
    "Priority": ("message__priority",),
    "Directionality": ("f_direction",),
    "Queue": ("f_queue", "f_queue_number"),
    "Recipients": _of_recipients,
    "InternetMessageId": ("message__message_id",),
    "Subject": ("message__subject",),
    "LastError": ("f_error",),
    "FromAddress": ("message__mail_from",),
    "OriginalFromAddress": ("message__original__mail_from",),
    "MessageSourceName": ("message__source_name",),
    "SourceIP": ("message__source_ip",),
    "DeferReason": ("f_defer",),
    "Size": ("message__size",),
    "RetryCount": ("f_retries",),
    "SCL": ("f_scl",),
    "DateReceived": ("entered_at",),
    "ExpirationTime": ("message__expires_at",),
    "MessageLatency": ("f_latency",),
}


def listed(
    wanted: Filter, *, node: Node | None = None, queue: int | None = None, last_item: int | None = None
) -> QuerySet[QueueItem]:
    """Return the waiting copies that a filter means, unordered; `last_item` bounds a snapshot (issue: same set)."""
    rows = QueueItem.objects.filter(state__in=WAITING)
    if queue is not None:
        rows = rows.filter(queue=queue)
    elif node is not None:
        rows = rows.filter(queue__node=node)
    if last_item is not None:
        rows = rows.filter(pk__lte=last_item)
    if not wanted.clauses:
        return rows
    used = {name for clause in wanted.clauses for name in queue_filter.names(COLUMNS[clause.property.name])}
    rows = rows.alias(**{name: _EXPRESSIONS[name] for name in used if name in _EXPRESSIONS})
    return rows.filter(queue_filter.condition(wanted, COLUMNS))


_ORDERS: Mapping[str, Sequence[str]] = {"Status": ("f_status",)}  # where the column itself has no order


def ordered(rows: QuerySet[QueueItem], order: Sequence[tuple[str, bool]]) -> QuerySet[QueueItem]:
    """Sort by properties, each (name, descending); identity ascending decides last (QU 1.8)."""
    keys: list[str] = []
    for name, descending in order:
        if name == "Identity":
            keys.append("-message_id" if descending else "message_id")
            continue
        first = _ORDERS.get(name) or (queue_filter.names(COLUMNS[name])[:1] if name in COLUMNS else ())
        if not first:
            continue
        rows = rows.alias(**{part: _EXPRESSIONS[part] for part in first if part in _EXPRESSIONS})
        keys.append(f"{'-' if descending else ''}{first[0]}")
    return rows.order_by(*keys, "message_id", "pk")


def _parts(rows: QuerySet[QueueItem]) -> list[QuerySet[QueueItem]]:
    """Split listed rows by state: each part is served by its own partial index, never by the delivered copies."""
    return [*(rows.filter(state=state) for state in STILL), rows.filter(IN_TRANSFER)]


def keys_after(rows: QuerySet[QueueItem], key: int, *, limit: int) -> list[int]:
    """Return the first `limit` keys of listed rows above `key`, ascending."""
    *waiting, moving = _parts(rows)
    found = [pk for pk in moving.order_by().values_list("pk", flat=True) if pk > key]
    for part in waiting:
        found.extend(part.filter(pk__gt=key).order_by("pk").values_list("pk", flat=True)[:limit])
    return sorted(found)[:limit]


def keys_before(rows: QuerySet[QueueItem], key: int, *, limit: int) -> list[int]:
    """Return the last `limit` keys of listed rows below `key`, ascending."""
    *waiting, moving = _parts(rows)
    found = [pk for pk in moving.order_by().values_list("pk", flat=True) if pk < key]
    for part in waiting:
        found.extend(part.filter(pk__lt=key).order_by("-pk").values_list("pk", flat=True)[:limit])
    return sorted(found)[-limit:]


def count(rows: QuerySet[QueueItem], *, cap: int | None = None) -> int:
    """Return how many rows are listed; counting stops at `cap`."""
    return sum(part.order_by()[:cap].count() if cap else part.count() for part in _parts(rows))


def newest_item() -> int:
    """Return the key of the newest copy: the bound of a snapshot."""
    return QueueItem.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def with_facts(rows: QuerySet[QueueItem]) -> QuerySet[QueueItem]:
    """Add what `properties` reads: a fixed number of queries for any page."""
    return rows.select_related("queue__node", "message__original").prefetch_related("recipients")


def queue_identity(queue: Queue) -> str:
    r"""Return `Server\Name` of a queue (QU-15)."""
    if queue.delivery_type == DeliveryType.UNREACHABLE:
        name = "Unreachable"
    elif queue.is_poison:
        name = "Poison"
    else:
        name = queue.next_hop_domain
    return f"{queue.node.name}\\{name}"


def status_of(item: QueueItem) -> str:
    """Return the status of a waiting copy (QU 1.6, QR-20)."""
    if item.pending:
        return "PendingSuspend" if item.pending == Pending.SUSPEND else "PendingRemove"
    if item.state == ItemState.SUSPENDED:
        return "Suspended"
    if item.state in _MOVING:
        return "Active"
    if item.state == ItemState.DEFERRED:
        return "Retry"
    return "Retry" if item.queue.retry_count else "Ready"


def defer_reason(item: QueueItem) -> str:
    """Return why a copy waits by itself, in Exchange's words; None while it does not (QU 1.5)."""
    if item.state != ItemState.DEFERRED:
        return "None"
    known = {refusal.value: str(refusal.label) for refusal in Refusal}
    return known.get(item.deferred_reason, OTHER_REFUSAL)


def properties(item: QueueItem) -> dict[str, object]:
    """Return all properties of one copy, with Exchange's names (QU 1.5)."""
    message, queue = item.message, item.queue
    is_ready = item.state == ItemState.READY
    error = queue.last_error if (is_ready and queue.retry_count) or _is_unreachable(queue) else item.last_error
    return {
        "Identity": f"{queue_identity(queue)}\\{message.pk}",
        "InternetMessageId": message.message_id,
        "Subject": message.subject,
        "LastError": error,
        "FromAddress": message.mail_from,
        "OriginalFromAddress": message.original.mail_from if message.original else None,
        "Status": status_of(item),
        "Size": message.size,
        "MessageSourceName": message.source_name,
        "SourceIP": message.source_ip,
        "SCL": None,
        "DateReceived": item.entered_at,
        "ExpirationTime": message.expires_at,
        "MessageLatency": item.entered_at - message.received_at,
        "Queue": queue_identity(queue),
        "RetryCount": item.attempts + (queue.retry_count if is_ready else 0),
        "Priority": Priority(message.priority).name.title(),
        "DeferReason": defer_reason(item),
        "Recipients": [
            recipient.final_address or recipient.address
            for recipient in item.recipients.all()
            if recipient.state == RecipientState.QUEUED
        ],
    }


def values_of(item: QueueItem) -> Callable[[str], Sequence[queue_filter.Value]]:
    """Return what `queue_filter.matches` asks of a row."""
    known = properties(item)

    def values(name: str) -> Sequence[queue_filter.Value]:
        if name == "Queue":
            return [queue_identity(item.queue), f"{item.queue.node.name}\\{item.queue_id}"]
        if name == "Priority":
            return [item.message.priority]
        if name == "Recipients":
            held = [one for one in item.recipients.all() if one.state == RecipientState.QUEUED]
            return [text for one in held for text in (one.address, one.final_address) if text]
        if name == "Directionality":
            found = TrackedMessage.objects.filter(pk=item.message.tracked_id).values_list("directionality", flat=True)
            return [found.first() or "Undefined"]
        return [known[name]]  # type: ignore[list-item]  # properties() holds values of the property's type

    return values


def sooner_than(moment: datetime) -> QuerySet[QueueItem]:
    """Return waiting copies of messages that expire before a moment (QA-7)."""
    return QueueItem.objects.filter(
        ~IN_POISON, state__in=WAITING, message__state=MessageState.ROUTED, message__expires_at__lt=moment
    )


def _is_unreachable(queue: Queue) -> bool:
    return queue.delivery_type == DeliveryType.UNREACHABLE
