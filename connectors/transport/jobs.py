"""Jobs: operations of people, worked in bounded batches and audited (QO-1, QO-3, QO-12, QO-14).

Promises: what a batch did, its targets, the job's counts and its cursor are one commit, so after a crash each message
was done or not and the job goes on; the set is the very one `waiting_rows` lists, bounded by the snapshot.
Leaves to neighbours: what a verb does to rows (operations) and files (exports). Any process may work any job.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from auditlog.models import LogEntry
from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext as _

from connectors import owner, queue_filter, queue_properties, queue_rows, waiting_rows
from connectors.choices import FREE, REMOVALS, DeliveryType, ItemState, JobScope, JobState, Outcome, QueueStatus, Verb
from connectors.conf import TransportConfig
from connectors.errors import FcwebError
from connectors.models import OFF_THE_LADDER, BulkJob, JobTarget, Node, Queue, QueueItem
from connectors.transport import drain, exports, job_audit, operations, queue_operations, safety_net, submission_removal
from connectors.transport.operations import Copy, Done
from connectors.transport.safety_net import Wanted
from fcweb import bulk, one_writer

logger = logging.getLogger(__name__)
_BATCH = {Verb.SUSPEND: 2000, Verb.RESUME: 2000, Verb.REDIRECT: 1000, Verb.EXPORT: 100, Verb.EXPORT_REMOVE: 100}
_USUAL_BATCH = 500  # removals and resubmissions, which write events and recipients too
_TURN = 0.2  # seconds of one round
_PAUSE = 0.02  # seconds between two looks at files another process writes
_EXPORTS = frozenset({Verb.EXPORT, Verb.EXPORT_REMOVE})
_MAX_PICKED = 200  # rows ticked by hand


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a person wants done to messages, and to which."""

    verb: str
    actor: str
    user: AbstractBaseUser | None = None
    reason: str = ""
    filter_text: str = ""
    queue: Queue | None = None  # None: every queue
    items: tuple[int, ...] = ()  # picked rows; the filter still holds
    last_item: int | None = None  # the snapshot the person saw; None: now
    recipient: str = ""
    connector_name: str = ""
    directory: str = ""


def start(node: Node, order: Order, *, now: datetime) -> BulkJob:
    """Write the job and its audit entry; nothing is done yet. Raises FcwebError for an order that cannot be given."""
    wanted = queue_filter.parse(order.filter_text, queue_properties.MESSAGE)
    _check(node, order)
    source = waiting_rows.of(order.queue)
    last_item = source.newest_item() if order.last_item is None else order.last_item
    queue_pk = order.queue.pk if order.queue else None
    rows = source.listed(wanted, node=node, queue=queue_pk, last_item=last_item)
    if order.items:
        rows = rows.filter(pk__in=order.items)
    if order.verb == Verb.DRAIN:
        rows = drain.waiting(node)
    with transaction.atomic():
        if order.verb == Verb.DRAIN:
            drain.begin(node)
        job = BulkJob.objects.create(
            node=node,
            verb=order.verb,
            queue=order.queue,
            queue_name=queue_rows.queue_identity(order.queue) if order.queue else "",
            filter_text=order.filter_text,
            items=",".join(str(pk) for pk in order.items),
            recipient=order.recipient,
            connector_name=order.connector_name,
            directory=order.directory,
            reason=order.reason[:500],
            actor=order.actor[:150],
            user_id=order.user.pk if order.user else None,
            snapshot_at=now,
            last_item=last_item,
            total=source.count(rows),
        )
        job_audit.write(job, LogEntry.Action.CREATE, order.user, before="", after="")
    return job


def start_again(
    node: Node,
    wanted: Wanted,
    *,
    actor: str,
    user: AbstractBaseUser | None = None,
    reason: str = "",
    at: datetime | None = None,
    now: datetime,
) -> BulkJob:
    """Write the job that delivers kept copies again, and its audit entry (QR-18, DSN-12).

    `at` is the snapshot the person saw: what was delivered later is not meant. Raises SAFETYNET_TOO_WIDE.
    """
    safety_net.check(wanted)
    snapshot = min(at or now, now)
    with transaction.atomic():
        job = BulkJob.objects.create(
            node=node,
            verb=Verb.DELIVER_AGAIN,
            connector_name=wanted.connector[:64],
            kept_message=wanted.message[:998],
            kept_from=wanted.start,
            kept_until=wanted.end,
            reason=reason[:500],
            actor=actor[:150],
            user_id=user.pk if user else None,
            snapshot_at=snapshot,
            last_item=queue_rows.newest_item(),
            total=safety_net.kept(node, wanted).filter(delivered_at__lte=snapshot).count(),
        )
        job_audit.write(job, LogEntry.Action.CREATE, user, before="", after="")
    return job


def _check(node: Node, order: Order) -> None:
    if len(order.items) > _MAX_PICKED:
        raise FcwebError(_("Too many rows were picked; use the filter."), code="TOO_MANY_ITEMS", rule="QO-1")
    if order.verb == Verb.REDIRECT and queue_operations.redirect_target(node, order.connector_name) is None:
        text = _("There is no enabled connector “%(name)s” on the server %(server)s.")
        text %= {"name": order.connector_name[:64], "server": node.name}
        raise FcwebError(text, code="CONNECTOR_NOT_FOUND", rule="QO-13")
    if order.verb == Verb.DRAIN:
        drain.check(node, to=order.connector_name, directory=order.directory)
    if order.verb in _EXPORTS:
        exports.check_directory(order.directory)
    if order.verb == Verb.RESUBMIT:
        queue = order.queue
        if queue is None or not (
            queue.delivery_type == DeliveryType.UNREACHABLE
            or Queue.objects.filter(pk=queue.pk, status=QueueStatus.RETRY).exists()
        ):
            text = _("Only Unreachable, or a queue in Retry, can be sent back to Submission.")
            raise FcwebError(text, code="NOT_IN_RETRY", rule="QO-2")
    if order.queue is not None and order.queue.is_submission and order.verb not in REMOVALS:
        text = _("Messages in Submission can only be removed, while the queue is suspended.")
        raise FcwebError(text, code="VERB_NOT_POSSIBLE", rule="QA-10")
    if order.verb == Verb.RETRY:
        raise FcwebError(_("Retry concerns a whole queue."), code="VERB_NOT_POSSIBLE", rule="QO-6")


def run_once(node: Node, *, config: TransportConfig, now: datetime) -> int:
    """Finish what waited for a transfer to fail, then work the oldest job for a moment; return the copies looked at.

    Its batches share one round of the other stages, which have their turn several times a second. A job that has to
    wait, cannot go on or is over gives its turn to the next one.
    """
    settled = operations.settle_pending(node, now=now)
    running = BulkJob.objects.filter(node=node, state=JobState.RUNNING).order_by("pk")
    until = time.monotonic() + _TURN
    looked = 0
    for pk in list(running.values_list("pk", flat=True)):
        try:
            while seen := work(pk, config=config, now=now):
                looked += seen
                if time.monotonic() >= until:
                    return settled + looked
        except FcwebError as error:  # such as a filter from before an upgrade: somebody may cancel it
            logger.warning("operation cannot go on", extra={"job": pk, "error": str(error)})
    return settled + looked


def run_to_end(job: BulkJob, *, config: TransportConfig, now: datetime) -> BulkJob:
    """Work a job until nothing is left; return it as it ended. Where another process writes its files, it is awaited."""
    while True:
        while work(job.pk, config=config, now=now):
            pass
        job.refresh_from_db()
        if job.state != JobState.RUNNING or job.verb not in _EXPORTS:
            return job
        time.sleep(_PAUSE)


def work(pk: int, *, config: TransportConfig, now: datetime) -> int:
    """Work one batch in one transaction; return how many copies it looked at, 0 when the job is over."""
    seen = BulkJob.objects.filter(pk=pk, state=JobState.RUNNING).select_related("node", "queue").first()
    if seen is None:
        return 0
    if seen.verb == Verb.DRAIN:
        return _drain(seen, config, now)
    if seen.verb not in _EXPORTS:
        return _batch(seen, config, now)
    with owner.exclusively(config.run_dir, "export") as is_only:  # two would take each other's hidden files away
        return _batch(seen, config, now) if is_only else 0


def _batch(seen: BulkJob, config: TransportConfig, now: datetime) -> int:
    looked, written = _export(seen, config) if seen.verb in _EXPORTS else ([], {})
    with transaction.atomic():
        job = BulkJob.objects.select_for_update(of=("self",)).select_related("node", "user", "queue").get(pk=seen.pk)
        if job.state != JobState.RUNNING or job.cursor != seen.cursor:
            return 1  # another process was faster; look again
        keys = looked if job.verb in _EXPORTS else _next(job)
        if not keys:
            _finish(job, now=now)
            return 0
        if job.verb == Verb.DELIVER_AGAIN:
            done = safety_net.deliver_again(keys, node=job.node, actor=job.actor, now=now)
        elif job.queue is not None and job.queue.is_submission:
            done = submission_removal.remove(job, keys, now=now)
        elif job.verb in _EXPORTS:
            done = _exported(job, operations.lock(keys), written, now)
        else:
            done = operations.apply(job, operations.lock(keys), now=now)
        _note(job, done, cursor=keys[-1], now=now)
    one_writer.leave_room()
    return len(keys)


def _drain(seen: BulkJob, config: TransportConfig, now: datetime) -> int:
    """Work one batch of a drain: files, commit, names (QO-13 a); one that cannot be written ends it.

    One process at a time: the hidden files of a batch are nobody else's. It is over only when the files of what was
    moved have their names: while their directory is away it waits.
    """
    with owner.exclusively(config.run_dir, "drain") as is_only:
        if not is_only:
            return 0
        try:
            keys, failed = drain.prepare(seen, config)
            has_to_wait = not keys and not drain.is_over(seen.node)
            if has_to_wait or not _move(seen.pk, keys, failed, now):
                return 0
            drain.publish(seen)
        except OSError as error:
            logger.warning("drain waits for its directory", extra={"job": seen.pk, "error": str(error)})
            return 0
        if failed or not keys:
            _end_drain(seen.pk, now)
        return len(keys)


def _move(pk: int, keys: Sequence[int], failed: dict[int, str], now: datetime) -> bool:
    """End the copies of a batch; tell whether the drain still runs."""
    with transaction.atomic():
        job = BulkJob.objects.select_for_update(of=("self",)).select_related("node").get(pk=pk)
        if job.state == JobState.RUNNING and keys:
            done = drain.move(job, operations.lock(keys), failed, now=now)
            _note(job, done, cursor=job.cursor + len(keys), now=now)
    return job.state == JobState.RUNNING


def _end_drain(pk: int, now: datetime) -> None:
    with transaction.atomic():
        job = BulkJob.objects.select_for_update(of=("self",)).select_related("node", "user").get(pk=pk)
        if job.state == JobState.RUNNING:
            _finish(job, now=now)


def _next(job: BulkJob) -> list[int]:
    if job.verb == Verb.DELIVER_AGAIN:
        return safety_net.keys_after(job, limit=_USUAL_BATCH)
    wanted = queue_filter.parse(job.filter_text, queue_properties.MESSAGE)
    source = waiting_rows.of(job.queue)
    rows = source.listed(wanted, node=job.node, queue=job.queue_id, last_item=job.last_item)
    if job.queue_name and job.queue_id is None:
        return []  # its queue is gone, and with it all that waited there
    if job.items:
        rows = rows.filter(pk__in=[int(item) for item in job.items.split(",")])
    limit = _BATCH.get(Verb(job.verb), _USUAL_BATCH)
    return source.keys_after(rows, job.cursor, limit=limit)


def _export(job: BulkJob, config: TransportConfig) -> tuple[list[int], dict[int, str]]:
    """Write the files of the next batch, before its transaction; return its copies, and what `exports.write` says."""
    keys = _next(job)
    ready = QueueItem.objects.filter(pk__in=keys, state=ItemState.SUSPENDED).order_by("pk")
    merged = bool(job.items) and job.queue_id is None  # copies named by `*\\Integer` (QO-9)
    found = list(ready.values_list("pk", flat=True))
    return keys, exports.write(found, Path(job.directory), config, merged=merged)


def _exported(job: BulkJob, copies: Sequence[Copy], files: dict[int, str], now: datetime) -> list[Done]:
    """Record an export; a copy must be suspended, so that it cannot leave meanwhile (QO 3.1, QO-11).

    One that was suspended only after the files had been written has none, and stays as it is.
    """
    done = []
    written: list[Copy] = []
    for copy in copies:
        if copy.state != ItemState.SUSPENDED or copy.pk not in files:
            done.append(operations.unchanged(copy, "not_suspended"))
        elif why := files[copy.pk]:
            facts = {"item": copy.pk, "message": copy.message, "before": copy.shown, "after": copy.shown}
            done.append(Done(**facts, outcome=Outcome.FAILED, why=why))  # type: ignore[arg-type]
        else:
            written.append(copy)
    if job.verb == Verb.EXPORT_REMOVE and written:
        operations.remove_now(written, actor=job.actor, ndr=False, server=job.node.name, now=now)
        return [*done, *(operations.changed(copy, ItemState.REMOVED) for copy in written)]
    return [*done, *(operations.changed(copy, f"{copy.state}+exported") for copy in written)]


def _note(job: BulkJob, done: Sequence[Done], *, cursor: int, now: datetime) -> None:
    counts = Counter(item.outcome for item in done)
    rows = [
        (
            key,
            job.pk,
            item.message,
            item.item,
            item.outcome.value,
            item.before[:40],
            item.after[:40],
            item.why[:300],
            now,
        )
        for key, item in zip(bulk.allocate_keys(JobTarget, len(done)), done, strict=True)
    ]
    bulk.insert(JobTarget, ["id", "job", "message", "item", "outcome", "before", "after", "why", "at"], rows)
    BulkJob.objects.filter(pk=job.pk).update(
        cursor=cursor,
        changed=F("changed") + counts[Outcome.CHANGED],
        unchanged=F("unchanged") + counts[Outcome.UNCHANGED],
        failed=F("failed") + counts[Outcome.FAILED],
    )


def _finish(job: BulkJob, *, now: datetime) -> None:
    BulkJob.objects.filter(pk=job.pk).update(state=JobState.DONE, finished_at=now)
    if job.verb == Verb.RESUBMIT and job.queue_id is not None:
        _empty_to_ready(job.queue_id)
    job.refresh_from_db()
    job_audit.write(job, LogEntry.Action.UPDATE, job.user, before=JobState.RUNNING, after=JobState.DONE)


def _empty_to_ready(queue_pk: int) -> None:
    """A queue in Retry whose messages all went back to Submission is Ready (QU 1.4)."""
    if not any(QueueItem.objects.filter(queue=queue_pk, state=state).exists() for state in FREE):
        emptied = Queue.objects.filter(pk=queue_pk, status=QueueStatus.RETRY)
        emptied.update(status=QueueStatus.READY, **OFF_THE_LADDER)


def cancel(job: BulkJob, *, user: AbstractBaseUser | None, actor: str, now: datetime) -> bool:
    """Stop a job before its next batch; what is done stays done. Return False when it was over already."""
    with transaction.atomic():
        running = BulkJob.objects.filter(pk=job.pk, state=JobState.RUNNING)
        if not running.update(state=JobState.CANCELLED, finished_at=now):
            return False
        job.refresh_from_db()
        job_audit.write(
            job, LogEntry.Action.UPDATE, user, before=JobState.RUNNING, after=f"{JobState.CANCELLED} {actor}"
        )
    return True


def operate_queue(
    queue: Queue, verb: str, *, actor: str, user: AbstractBaseUser | None = None, reason: str = "", now: datetime
) -> BulkJob:
    """Suspend, resume or retry a whole queue at once, audited; the returned job says what changed (QO-1, QO-12)."""
    with transaction.atomic():
        outcome, before, after, why = queue_operations.operate_queue(verb, queue, now=now)
        job = BulkJob.objects.create(
            node=queue.node,
            scope=JobScope.QUEUE,
            verb=verb,
            queue=queue,
            queue_name=queue_rows.queue_identity(queue),
            reason=reason[:500],
            actor=actor[:150],
            user_id=user.pk if user else None,
            snapshot_at=now,
            total=1,
            changed=int(outcome == Outcome.CHANGED),
            unchanged=int(outcome == Outcome.UNCHANGED),
            state=JobState.DONE,
            finished_at=now,
        )
        JobTarget.objects.create(
            job=job, message=0, item=0, outcome=outcome, before=before, after=after, why=why, at=now
        )  # the queue itself: no message has the number 0
        job_audit.write(job, LogEntry.Action.CREATE, user, before=before, after=after, why=why)
    return job
