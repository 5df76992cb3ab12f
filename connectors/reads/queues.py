"""Queues as the pages show them: one summary a queue, the messages that wait in one, what is not routed yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import OuterRef, Subquery
from django.db.models.expressions import RawSQL
from django.db.models.fields import IntegerField
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from connectors import display, trouble
from connectors.choices import DeliveryType, ItemState, MessageState, QueueStatus
from connectors.models import Connector, Message, Queue, QueueItem

CAP = 10_000  # counting stops here: "10,000+"
PAGE = 50
_PATIENCE = timedelta(minutes=5)  # a message younger than this is simply on its way

# The literal state lets the partial index item_ready answer; the limit bounds the count.
_WAITING = (
    "SELECT COUNT(*) FROM (SELECT 1 FROM connectors_queueitem item"
    " WHERE item.queue_id = connectors_queue.id AND item.state = 'ready' LIMIT %s) capped"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSummary:
    """One delivery queue."""

    pk: int
    name: str  # connector, or what stands for one
    delivery_type: str
    domain: str
    status: str
    status_label: str
    waiting: int  # at most CAP + 1
    oldest_at: datetime | None
    error: str  # protocol text
    error_sentence: str
    last_attempt_at: datetime | None
    next_retry_at: datetime | None
    last_success_at: datetime | None
    is_held: bool

    def is_stuck(self, now: datetime) -> bool:
        """Tell whether mail waits here for more than its turn."""
        if not self.waiting:
            return False
        return self.status == QueueStatus.RETRY or self.oldest_at is None or now - self.oldest_at > _PATIENCE

    @property
    def why(self) -> str:
        """Return why mail waits, in a few words; "" when it does not."""
        if self.is_held:
            return _("the connector is held")
        if self.status == QueueStatus.SUSPENDED:
            return _("the queue is suspended")
        return self.error_sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemPage:
    """Waiting messages of one queue, oldest first; keys of the neighbouring pages, or None."""

    items: Sequence[QueueItem]
    before: int | None
    after: int | None


def summaries(pk: int | None = None) -> list[QueueSummary]:
    """Return all queues, or the one asked for: those that hold mail first, by name. Two queries."""
    oldest = QueueItem.objects.filter(queue=OuterRef("pk"), state=ItemState.READY).order_by("pk")
    rows = Queue.objects.annotate(
        waiting=RawSQL(_WAITING, (CAP + 1,), output_field=IntegerField()),  # noqa: S611 (constant text)
        oldest_at=Subquery(oldest.values("entered_at")[:1]),
    )
    if pk is not None:
        rows = rows.filter(pk=pk)
    held = set(Connector.objects.filter(is_held=True).values_list("guid", flat=True))
    found = [_summary(row, is_held=row.next_hop_connector in held) for row in rows]
    return sorted(found, key=lambda queue: (not queue.waiting, queue.name.casefold(), queue.domain))


def _summary(row: Queue, *, is_held: bool) -> QueueSummary:
    return QueueSummary(
        pk=row.pk,
        name=queue_name(row),
        delivery_type=row.delivery_type,
        domain=row.next_hop_domain,
        status=row.status,
        status_label=row.get_status_display(),
        waiting=row.waiting,  # type: ignore[attr-defined]  # annotated in summaries()
        oldest_at=row.oldest_at,  # type: ignore[attr-defined]  # annotated in summaries()
        error=row.last_error,
        error_sentence=trouble.error_sentence(row.last_error),
        last_attempt_at=row.last_retry_at,
        next_retry_at=row.next_retry_at,
        last_success_at=row.last_success_at,
        is_held=is_held,
    )


def queue_name(row: Queue) -> str:
    """Return what people call a queue: its connector, the mailboxes, or Unreachable."""
    if row.connector_name:
        return row.connector_name
    if row.delivery_type == DeliveryType.MAILBOX:
        return _("Mailboxes")
    if row.delivery_type == DeliveryType.UNREACHABLE:
        return _("Unreachable")
    return row.next_hop_domain


def unrouted() -> int:
    """Return how many messages wait to be routed (the Submission queue), at most CAP + 1."""
    return Message.objects.filter(state=MessageState.SUBMITTED)[: CAP + 1].count()


def waiting(queue_pk: int, *, before: int | None, after: int | None) -> ItemPage:
    """Return one keyset page of what waits in a queue; `before` and `after` are keys of items."""
    rows = QueueItem.objects.filter(queue=queue_pk, state=ItemState.READY).select_related("message")
    rows = rows.prefetch_related("recipients")
    if before is not None:
        found = list(rows.filter(pk__lt=before).order_by("-pk")[: PAGE + 1])
        more = len(found) > PAGE
        items = found[:PAGE][::-1]
        return ItemPage(items=items, before=items[0].pk if more else None, after=items[-1].pk if items else None)
    found = list(rows.filter(pk__gt=after or 0).order_by("pk")[: PAGE + 1])
    items = found[:PAGE]
    return ItemPage(
        items=items,
        before=items[0].pk if items and after is not None else None,
        after=items[-1].pk if len(found) > PAGE else None,
    )


def answer(queues: Sequence[QueueSummary], now: datetime) -> tuple[str, str]:
    """Return how the queues stand, as tone and sentence: "3 queues wait, oldest 2 h 10 min: Fax, …"."""
    stuck = [queue for queue in queues if queue.is_stuck(now)]
    if not stuck:
        moving = sum(queue.waiting for queue in queues)
        if not moving:
            return "ok", _("Nothing waits.")
        return "ok", ngettext(
            "%(count)s message is on its way; nothing is held up.",
            "%(count)s messages are on their way; nothing is held up.",
            moving,
        ) % {"count": display.capped(moving, CAP)}
    worst = min(stuck, key=lambda queue: queue.oldest_at or now)
    span = display.duration(now - worst.oldest_at) if worst.oldest_at else ""
    head = ngettext("%(count)d queue waits, oldest %(span)s", "%(count)d queues wait, oldest %(span)s", len(stuck))
    name = f"{worst.name}, {worst.why}" if worst.why else worst.name
    return "wait", _("%(fact)s: %(reason)s.") % {"fact": head % {"count": len(stuck), "span": span}, "reason": name}


def queue_answer(queue: QueueSummary, now: datetime) -> tuple[str, str]:
    """Return how one queue stands, as tone and sentence."""
    if not queue.waiting:
        return "ok", _("Nothing waits.")
    head = ngettext("%(count)s message waits", "%(count)s messages wait", queue.waiting)
    text = head % {"count": display.capped(queue.waiting, CAP)}
    if queue.oldest_at is not None:
        text += ", " + _("the oldest for %(span)s") % {"span": display.duration(now - queue.oldest_at)}
    text = _("%(fact)s: %(reason)s.") % {"fact": text, "reason": queue.why} if queue.why else f"{text}."
    if queue.status == QueueStatus.RETRY and queue.next_retry_at is not None and queue.next_retry_at > now:
        text += " " + _("Next retry in %(span)s.") % {"span": display.duration(queue.next_retry_at - now)}
    return ("wait" if queue.is_stuck(now) else "info"), text
