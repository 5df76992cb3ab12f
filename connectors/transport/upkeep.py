"""Upkeep: what time alone does to queues: samples for rates, idle resubmission, expiry in Submission, idle removal.

Every function is bounded and safe to call again; `run_once` is called every five seconds (QU-13).
Rules: RT-31, RT-51, QR-11, QR-14, QR-28 to QR-30, QR-47.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Count, Exists, OuterRef, Q, Sum

from connectors.choices import (
    REMOVALS,
    STILL,
    DeliveryType,
    ItemState,
    MessageState,
    QueueStatus,
    RecipientState,
    ReportDue,
)
from connectors.conf import TransportConfig
from connectors.models import (
    IN_TRANSFER,
    IS_SUBMISSION,
    OFF_THE_LADDER,
    BulkJob,
    Message,
    MessageRecipient,
    Node,
    Queue,
    QueueItem,
    QueueSample,
)
from connectors.transport import operations, poison
from connectors.transport import queue as queues

INTERVAL = timedelta(seconds=5)
SAMPLES = 12  # rates are averages over the last 60 s
_BATCH = 500
NO_CONNECTOR = "A matching connector cannot be found to route the external recipient"  # as routing says it
_EXPIRED = "550 4.4.7 QUEUE.Expired; message expired"


class Upkeep:
    """The upkeep of one node in one process; remembers the last sample."""

    def __init__(self, node: Node, *, config: TransportConfig) -> None:
        self._node = node
        self._config = config
        self._sampled_at: datetime | None = None
        self._last_item = 0
        self._last_message: int | None = None
        self._unrouted = 0  # messages in Submission at the last sample
        self._removed = 0  # what people had taken out of it by then
        self._is_busy = False  # a batch was full: the next one need not wait
        self._resubmitted: set[tuple[int, datetime]] = set()  # idle resubmissions that are complete

    def use(self, config: TransportConfig) -> None:
        """Go on with other times (QX-4)."""
        self._config = config

    def run_once(self, now: datetime) -> int:
        """Do what is due; return the number of messages that were moved or expired."""
        is_due = self._sampled_at is None or now - self._sampled_at >= INTERVAL
        if not is_due and not self._is_busy:
            return 0
        moved = self._resubmit_idle(now)
        moved += expire_submitted(self._node, now=now)
        self._is_busy = moved > 0
        if is_due:
            self._sample(now)
            settle_empty(self._node)
            explain_unreachable(self._node)
            remove_idle(self._node, config=self._config, now=now)
            poison.clear_alarm(self._node, now=now)
        return moved

    def _resubmit_idle(self, now: datetime) -> int:
        """Send the copies of queues that were in Retry for too long back to Submission, a batch a call (QR-11, QR-28).

        The queue keeps its place on the ladder: what is routed into it again waits for the same next retry (QR-22).
        """
        limit = now - self._config.max_idle_before_resubmit
        retrying = Queue.objects.filter(node=self._node, status=QueueStatus.RETRY)
        stale = retrying.filter(first_retry_at__lte=limit).filter(Q(resubmitted_at=None) | Q(resubmitted_at__lte=limit))
        stale.update(resubmitted_at=now)
        moved = 0
        for pk, since in retrying.exclude(resubmitted_at=None).values_list("pk", "resubmitted_at"):
            if since is not None and (pk, since) not in self._resubmitted:
                count = send_back_older(pk, since, server=self._node.name, now=now)
                moved += count
                if not count:
                    self._resubmitted.add((pk, since))
        return moved

    def _sample(self, now: datetime) -> None:
        """Write what came into and left each queue since the last sample. Rules: QU-13."""
        QueueSample.objects.filter(at__lt=now - INTERVAL * (SAMPLES + 1)).delete()
        newest = QueueItem.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        since, self._sampled_at = self._sampled_at, now
        before, self._last_item = self._last_item, newest
        submission = self._submission()
        if since is None or now - since > INTERVAL * SAMPLES:
            return  # the first sample only marks where counting starts
        incoming = Counter(_counts(QueueItem.objects.filter(pk__gt=before, pk__lte=newest)))
        outgoing: Counter[int] = Counter()
        for queue in Queue.objects.filter(node=self._node, last_success_at__gt=since).values_list("pk", flat=True):
            left = QueueItem.objects.filter(queue=queue, state=ItemState.DELIVERED, delivered_at__gt=since)
            outgoing[queue] = left.filter(delivered_at__lte=now).count()
        incoming.update({pk: came for pk, came, _left in submission})
        outgoing.update({pk: left for pk, _came, left in submission})
        known = set(Queue.objects.filter(node=self._node).values_list("pk", flat=True))
        QueueSample.objects.bulk_create(
            QueueSample(queue_id=queue, at=now, incoming=incoming[queue], outgoing=outgoing[queue])
            for queue in sorted(known & (set(incoming) | set(outgoing)))
            if incoming[queue] or outgoing[queue]
        )

    def _submission(self) -> list[tuple[int, int, int]]:
        """Return the Submission queue with what was accepted and what was routed since the last sample (QU-13)."""
        newest = Message.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        came = 0
        if self._last_message is not None:
            came = Message.objects.filter(node=self._node, pk__gt=self._last_message, pk__lte=newest).count()
        unrouted = Message.objects.filter(node=self._node, state=MessageState.SUBMITTED).count()
        queue = Queue.objects.filter(IS_SUBMISSION, node=self._node)
        removals = BulkJob.objects.filter(queue__in=queue, verb__in=REMOVALS, recipient="")
        removed: int = removals.aggregate(n=Sum("changed"))["n"] or 0
        taken_out = max(0, removed - self._removed)
        left = max(0, self._unrouted + came - unrouted - taken_out)
        self._last_message, self._unrouted, self._removed = newest, unrouted, removed
        return [(pk, came, left) for pk in queue.values_list("pk", flat=True)]


def _counts(rows: object) -> dict[int, int]:
    return dict(rows.order_by().values_list("queue").annotate(n=Count("pk")))  # type: ignore[attr-defined]


def send_back_older(queue_pk: int, since: datetime, *, server: str, now: datetime) -> int:
    """Send up to a few hundred free copies that entered the queue before `since` to Submission; return how many."""
    with transaction.atomic():
        copies = operations.lock(queues.free_keys(queue_pk, limit=_BATCH, before=since))
        operations.send_back(copies, source="QUEUE", server=server, now=now)
    return len(copies)


def expire_submitted(node: Node, *, now: datetime) -> int:
    """Fail what is past its time and still not routed, because Submission is suspended (QR-30).

    What is being routed or removed at this moment is left alone.
    """
    late = Message.objects.filter(node=node, state=MessageState.SUBMITTED, expires_at__lte=now)
    with transaction.atomic():
        free = late.order_by("pk").select_for_update(skip_locked=True, no_key=True)
        keys = list(free.values_list("pk", flat=True)[:_BATCH])
        if not keys:
            return 0
        MessageRecipient.objects.filter(message__in=keys, state=RecipientState.SUBMITTED).update(
            state=RecipientState.FAILING,
            status_text=_EXPIRED,
            fail_source="QUEUE",
            fail_context="Expired",
            report_due=ReportDue.FAILED,
        )
        Message.objects.filter(pk__in=keys, state=MessageState.SUBMITTED).update(state=MessageState.ROUTED)
    return len(keys)


def _holding(state: str) -> Exists:
    return Exists(QueueItem.objects.filter(queue=OuterRef("pk"), state=state))


def settle_empty(node: Node) -> None:
    """A queue in Retry or Connecting that holds nothing any more is Ready (QU 1.4).

    So is one in Active with nothing to transfer: the process ended before it said so.
    """
    clear = {**OFF_THE_LADDER, "resubmitted_at": None}
    empty = Queue.objects.filter(node=node, status__in=[QueueStatus.RETRY, QueueStatus.CONNECTING])
    empty = empty.filter(*(~_holding(state) for state in STILL))
    moving = QueueItem.objects.filter(IN_TRANSFER).values("queue")
    submitted = Message.objects.filter(node=node, state=MessageState.SUBMITTED)
    if empty.exists() and not submitted.exists():  # what was sent back may be routed into it again
        empty.exclude(pk__in=moving).update(status=QueueStatus.READY, **clear)
    left = Queue.objects.filter(node=node, status=QueueStatus.ACTIVE)
    if left.exists():
        left.exclude(pk__in=moving).update(status=QueueStatus.READY, **clear)


def explain_unreachable(node: Node) -> None:
    """Give the Unreachable queue its LastError while it holds mail (QR-47)."""
    silent = Queue.objects.filter(node=node, delivery_type=DeliveryType.UNREACHABLE, last_error="")
    silent.filter(_holding(ItemState.READY)).update(last_error=NO_CONNECTOR)


def remove_idle(node: Node, *, config: TransportConfig, now: datetime) -> int:
    """Remove one queue that was idle for too long and that nothing refers to; a suspended one stays (QR-14, QA-6).

    Delivered copies keep their queue for the Safety Net time; until then lists merely leave it out.
    """
    idle = Queue.objects.filter(node=node, status=QueueStatus.READY).exclude(delivery_type=DeliveryType.UNDEFINED)
    limit = now - config.queue_max_idle
    idle = idle.filter(Q(last_success_at=None) | Q(last_success_at__lte=limit))
    idle = idle.filter(Q(last_retry_at=None) | Q(last_retry_at__lte=limit), last_success_at__isnull=False)
    for state in (*STILL, ItemState.DELIVERED):
        idle = idle.filter(~_holding(state))
    queue = idle.order_by("pk").first()
    if queue is None or QueueItem.objects.filter(IN_TRANSFER, queue=queue).exists():
        return 0
    queue.delete()
    return 1
