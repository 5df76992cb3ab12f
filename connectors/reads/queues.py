"""Queues as the pages show them: one summary a queue, how they stand in words, what is not routed yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Count, OuterRef, Subquery, Sum
from django.db.models.expressions import RawSQL
from django.db.models.fields import IntegerField
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from connectors import display, queue_rows, submission_rows, trouble
from connectors.choices import POISON_DOMAIN, SUBMISSION_DOMAIN, DeliveryType, ItemState, QueueStatus
from connectors.models import IN_TRANSFER, Connector, Node, Queue, QueueItem, QueueSample, TransportSettings
from connectors.queue_filter import Filter

CAP = 10_000  # counting stops here: "10,000+"
_PATIENCE = timedelta(minutes=5)  # a message younger than this is simply on its way

# The literal state lets the partial index item_ready answer; the limit bounds the count.
_WAITING = (
    "SELECT COUNT(*) FROM (SELECT 1 FROM connectors_queueitem item"
    " WHERE item.queue_id = connectors_queue.id AND item.state = 'ready' LIMIT %s) capped"
)
_STOPPED = (
    "SELECT COUNT(*) FROM (SELECT 1 FROM connectors_queueitem item"
    " WHERE item.queue_id = connectors_queue.id AND item.state = 'suspended' LIMIT %s) capped"
)
_DEFERRED = (
    "SELECT COUNT(*) FROM (SELECT 1 FROM connectors_queueitem item"
    " WHERE item.queue_id = connectors_queue.id AND item.state = 'deferred' LIMIT %s) capped"
)
_RATE_SPAN = timedelta(seconds=60)  # QU-13


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSummary:
    """One delivery queue."""

    pk: int
    name: str  # connector, or what stands for one
    delivery_type: str
    domain: str
    status: str
    status_label: str
    next_hop_connector: UUID
    identity: str  # Server\\Queue (QU-15)
    waiting: int  # ready, suspended, deferred and in transfer; the first three at most CAP + 1 each
    stopped: int  # of them suspended
    deferred: int  # of them refused for now, each waiting by itself (QR-24)
    moving: int  # of them in transfer
    incoming: float  # messages a second over the last 60 s
    outgoing: float
    retries: int
    first_retry_at: datetime | None
    is_idle: bool  # empty for longer than QueueMaxIdleTime: no queue any more in Exchange's lists (QR-14)
    oldest_at: datetime | None
    error: str  # protocol text
    error_sentence: str
    last_attempt_at: datetime | None
    next_retry_at: datetime | None
    last_success_at: datetime | None
    is_held: bool
    priorities: tuple[int, int, int, int] = (0, 0, 0, 0)  # High, Normal, Low, None; counted by queue_list alone

    @property
    def velocity(self) -> float:
        """Return how fast the queue drains: positive when more leaves than comes."""
        return self.outgoing - self.incoming

    @property
    def is_suspended(self) -> bool:
        """Tell whether a person stopped it."""
        return self.status == QueueStatus.SUSPENDED

    @property
    def is_poison(self) -> bool:
        """Tell whether it is the Poison queue."""
        return self.delivery_type == DeliveryType.UNDEFINED and self.domain == POISON_DOMAIN

    @property
    def is_submission(self) -> bool:
        """Tell whether it is the Submission queue."""
        return self.delivery_type == DeliveryType.UNDEFINED and self.domain == SUBMISSION_DOMAIN

    @property
    def is_retrying(self) -> bool:
        """Tell whether its next hop failed and is tried again later."""
        return self.status == QueueStatus.RETRY

    @property
    def may_retry(self) -> bool:
        """Tell whether an attempt can be asked for now: of the queue, or of messages that wait by themselves (QO-6)."""
        return self.is_retrying or (bool(self.deferred) and not self.is_suspended)

    @property
    def may_resubmit(self) -> bool:
        """Tell whether its messages can be routed again (QO 3.1)."""
        return self.is_retrying or self.delivery_type == DeliveryType.UNREACHABLE

    @property
    def may_remove(self) -> bool:
        """Tell whether its messages can be removed: in Submission only while nothing is routed (QA-10)."""
        return not self.is_submission or self.is_suspended

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
        if self.is_poison:
            return _("these messages stopped the service")
        if self.stopped and self.stopped == self.waiting:
            return _("all its messages are suspended")
        if self.deferred and not self.is_retrying:
            text = ngettext(
                "%(count)s of them was refused for now", "%(count)s of them were refused for now", self.deferred
            )
            return text % {"count": display.capped(self.deferred, CAP)}
        return self.error_sentence


def summaries(pk: int | None = None, *, now: datetime | None = None) -> list[QueueSummary]:
    """Return all queues, or the one asked for: those that hold mail first, by name. Four queries."""
    now = now or timezone.now()
    oldest = QueueItem.objects.filter(queue=OuterRef("pk")).order_by("pk").values("entered_at")
    rows = Queue.objects.select_related(
        "node"
    ).annotate(
        waiting=RawSQL(_WAITING, (CAP + 1,), output_field=IntegerField()),  # noqa: S611 (constant text)
        stopped=RawSQL(_STOPPED, (CAP + 1,), output_field=IntegerField()),  # noqa: S611 (constant text)
        deferred=RawSQL(_DEFERRED, (CAP + 1,), output_field=IntegerField()),  # noqa: S611 (constant text)
        oldest_ready=Subquery(oldest.filter(state=ItemState.READY)[:1]),
        oldest_stopped=Subquery(oldest.filter(state=ItemState.SUSPENDED)[:1]),
        oldest_deferred=Subquery(oldest.filter(state=ItemState.DEFERRED)[:1]),
    )
    if pk is not None:
        rows = rows.filter(pk=pk)
    facts = _Facts(
        now=now,
        held=set(Connector.objects.filter(is_held=True).values_list("guid", flat=True)),
        moving=_moving(),
        rates=_rates(now),
        max_idle=dict(TransportSettings.objects.values_list("node", "queue_max_idle")),
    )
    found = [_summary(row, facts) for row in rows]
    return sorted(found, key=lambda queue: (not queue.waiting, queue.name.casefold(), queue.domain))


_MAX_IDLE = TransportSettings().queue_max_idle


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What is read once for all queues."""

    now: datetime
    held: set[UUID]
    moving: dict[int, int]
    rates: dict[int, tuple[float, float]]
    max_idle: dict[int, timedelta]  # by node; what nobody changed is missing (QR-14)


def _moving() -> dict[int, int]:
    """Return how many copies of each queue are in transfer."""
    rows = QueueItem.objects.filter(IN_TRANSFER).order_by()
    return dict(rows.values_list("queue").annotate(n=Count("pk")))


def _rates(now: datetime) -> dict[int, tuple[float, float]]:
    """Return incoming and outgoing messages a second of each queue (QU-13)."""
    rows = QueueSample.objects.filter(at__gt=now - _RATE_SPAN, at__lte=now).order_by()
    seconds = _RATE_SPAN.total_seconds()
    sums = rows.values_list("queue").annotate(incoming=Sum("incoming"), outgoing=Sum("outgoing"))
    return {queue: (incoming / seconds, outgoing / seconds) for queue, incoming, outgoing in sums}


def _summary(row: Queue, facts: _Facts) -> QueueSummary:
    # These six names are annotated in summaries().
    ready, stopped, deferred = row.waiting, row.stopped, row.deferred  # type: ignore[attr-defined]
    oldest = (row.oldest_ready, row.oldest_stopped, row.oldest_deferred)  # type: ignore[attr-defined]
    moments = [at for at in oldest if at is not None]
    if row.is_submission:
        submitted = submission_rows.listed(Filter(), node=row.node)
        ready, first = unrouted(row.node), submitted.order_by("pk").values_list("received_at", flat=True).first()
        moments = [first] if first else []
    moving = facts.moving.get(row.pk, 0)
    incoming, outgoing = facts.rates.get(row.pk, (0.0, 0.0))
    waiting = ready + stopped + deferred + moving
    used_at = max((at for at in (row.last_success_at, row.last_retry_at) if at), default=None)
    status = _status(row, is_filled=bool(ready + moving))
    is_used = waiting or row.is_submission or row.status not in {QueueStatus.READY, QueueStatus.CONNECTING}
    return QueueSummary(
        pk=row.pk,
        name=queue_name(row),
        delivery_type=row.delivery_type,
        domain=row.next_hop_domain,
        status=status,
        status_label=str(QueueStatus(status).label),
        next_hop_connector=row.next_hop_connector,
        identity=queue_rows.queue_identity(row),
        waiting=waiting,
        stopped=stopped,
        deferred=deferred,
        moving=moving,
        incoming=incoming,
        outgoing=outgoing,
        retries=row.retry_count,
        first_retry_at=row.first_retry_at,
        is_idle=not is_used and (used_at is None or facts.now - used_at > facts.max_idle.get(row.node_id, _MAX_IDLE)),
        oldest_at=min(moments, default=None),
        error=row.last_error,
        error_sentence=trouble.error_sentence(row.last_error),
        last_attempt_at=row.last_retry_at,
        next_retry_at=row.next_retry_at,
        last_success_at=row.last_success_at,
        is_held=row.next_hop_connector in facts.held,
    )


def _status(row: Queue, *, is_filled: bool) -> str:
    """Return the status people see: mail in a Ready queue is about to be tried; what has no next hop is Ready (QU 1.4)."""
    if row.status == QueueStatus.SUSPENDED:
        return QueueStatus.SUSPENDED.value
    if row.delivery_type in {DeliveryType.UNREACHABLE, DeliveryType.UNDEFINED}:
        return QueueStatus.READY.value
    return QueueStatus.CONNECTING.value if row.status == QueueStatus.READY and is_filled else row.status


def queue_name(row: Queue) -> str:
    """Return what people call a queue: its connector, the mailboxes, or Unreachable."""
    if row.connector_name:
        return row.connector_name
    if row.delivery_type == DeliveryType.MAILBOX:
        return _("Mailboxes")
    if row.delivery_type == DeliveryType.UNREACHABLE:
        return _("Unreachable")
    if row.delivery_type == DeliveryType.UNDEFINED:
        return _("Poison") if row.next_hop_domain == POISON_DOMAIN else _("Submission")
    return row.next_hop_domain


def status_word(status: str) -> str:
    """Return the status of a waiting message in the reader's language (QU 1.6); Exchange's name when it has no word."""
    words = {
        "Active": pgettext("message", "Active"),
        "Ready": pgettext("message", "Ready"),
        "Retry": pgettext("message", "Retry"),
        "Suspended": pgettext("message", "Suspended"),
        "PendingSuspend": pgettext("message", "Suspension pending"),
        "PendingRemove": pgettext("message", "Removal pending"),
    }
    return words.get(status, status)


def unrouted(node: Node | None = None) -> int:
    """Return how many messages wait to be routed (the Submission queue), at most CAP + 1."""
    return submission_rows.count(submission_rows.listed(Filter(), node=node), cap=CAP + 1)


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
    if queue.is_retrying and queue.next_retry_at is not None and queue.next_retry_at > now:
        text += " " + _("Next retry in %(span)s.") % {"span": display.duration(queue.next_retry_at - now)}
    return ("wait" if queue.is_stuck(now) else "info"), text
