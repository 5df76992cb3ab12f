"""Drain: what waits on this server moves to another one's Replay directory, under one transaction id (QO-13 a).

The transaction is the operation: its number stands in the name of each file and in each event. While a server drains it
takes no new files; suspended mail, Unreachable and Poison stay (QO 3.1).
Promises: nothing is lost and nothing sent twice. One process works on it at a time (`jobs` sees to that). A file is
written whole under a hidden name, then its copy ends in one commit, then the file gets the name that Replay takes.
Crash: before the commit the hidden file is written again; after it `publish` gives it its name at the next look.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from django.db.models import QuerySet
from django.utils.translation import gettext as _

from connectors import disk
from connectors.choices import FREE, DeliveryType, ItemState, MessageState, Outcome, RecipientState
from connectors.conf import TransportConfig
from connectors.errors import FcwebError
from connectors.models import IN_TRANSFER, BulkJob, JobTarget, Message, MessageRecipient, Node, QueueItem
from connectors.transport import exports, leasing, operations, queue_operations
from connectors.transport.operations import Copy, Done
from tracking import record

_BATCH = 100
_STAYS = (DeliveryType.UNREACHABLE, DeliveryType.UNDEFINED)
_HIDDEN = re.compile(r"\.drain-(.+)-(\d{1,18})-(\d{1,18})\.tmp")


def check(node: Node, *, to: str, directory: str) -> Path:
    """Return the directory a drain fills; FcwebError when the other server or the directory will not do."""
    other = Node.objects.filter(name__iexact=to.strip()).first()
    if other is None or other.pk == node.pk:
        text = _("There is no other server “%(name)s”.") % {"name": to[:64]}
        raise FcwebError(text, code="SERVER_UNKNOWN", rule="QO-13")
    path = exports.check_directory(directory)
    own = [Path(text).resolve() for text in (node.pickup_directory_path, node.replay_directory_path) if text]
    if path.resolve() in own:
        text = _("“%(path)s” is a directory of the server that drains.") % {"path": directory[:200]}
        raise FcwebError(text, code="DRAIN_DIRECTORY", rule="QO-13")
    return path


def begin(node: Node) -> None:
    """Let a server take no new files; it stays so until somebody ends it (`node set --draining false`)."""
    Node.objects.filter(pk=node.pk).update(is_draining=True)


def waiting(node: Node) -> QuerySet[QueueItem]:
    """Return the active copies in delivery queues: those that move."""
    rows = QueueItem.objects.filter(queue__node=node, state__in=FREE)
    return rows.exclude(queue__delivery_type__in=_STAYS).order_by("pk")


def is_over(node: Node) -> bool:
    """Tell whether nothing is left that could still move: no transfer that may fail, nothing about to be routed."""
    if QueueItem.objects.filter(IN_TRANSFER, queue__node=node).exists():
        return False
    submitted = Message.objects.filter(node=node, state=MessageState.SUBMITTED)
    return not submitted.exists() or queue_operations.submission_is_suspended(node)


def prepare(job: BulkJob, config: TransportConfig) -> tuple[list[int], dict[int, str]]:
    """Write the next files under hidden names; return the keys of their copies and what could not be written.

    Raises OSError when the files of an earlier batch cannot be given their names.
    """
    publish(job)
    keys = list(waiting(job.node).values_list("pk", flat=True)[:_BATCH])
    directory = Path(job.directory)
    failed: dict[int, str] = {}
    files = []
    for item in leasing.load(keys):
        try:
            files.append((item.pk, exports.rendered(item, config)))
        except (OSError, ValueError) as error:
            failed[item.pk] = str(error)[:300]
    try:
        temps = [(_hidden(job, pk), content) for pk, content in files]
        disk.unlink_all(directory / name for name, _content in temps)
        disk.write_batch(directory, temps, mode=config.sync)
    except OSError as error:
        failed.update({pk: str(error)[:300] for pk, _content in files})
    return keys, failed


def move(job: BulkJob, copies: Sequence[Copy], failed: Mapping[int, str], *, now: datetime) -> list[Done]:
    """End the copies whose files are written; in the caller's transaction. A worker that holds one wins (QO-14)."""
    done = []
    moved: list[Copy] = []
    for copy in copies:
        if copy.pk in failed:
            facts = {"item": copy.pk, "message": copy.message, "before": copy.shown, "after": copy.shown}
            done.append(Done(**facts, outcome=Outcome.FAILED, why=failed[copy.pk]))  # type: ignore[arg-type]
        elif copy.state not in FREE:
            done.append(operations.unchanged(copy, "in_transfer" if copy.state != ItemState.SUSPENDED else "suspended"))
        else:
            moved.append(copy)
            done.append(operations.changed(copy, "moved"))
    _end(job, moved, now=now)
    return done


def _end(job: BulkJob, copies: Sequence[Copy], *, now: datetime) -> None:
    keys = [copy.pk for copy in copies]
    text = f"250 2.0.0 Moved to server {job.connector_name}"
    held: dict[int | None, list[tuple[str, str]]] = {}
    rows = MessageRecipient.objects.filter(item__in=keys, state=RecipientState.QUEUED)
    for key, address in rows.order_by("pk").values_list("item_id", "address"):
        held.setdefault(key, []).append((address, text))
    items = QueueItem.objects.select_related("message", "queue").in_bulk(keys)
    custom = f"S:fc.transaction={job.pk};S:fc.actor={job.actor}"
    server, connector = job.node.name, job.connector_name
    events = []
    for copy in copies:
        item, recipients = items[copy.pk], held.get(copy.pk, [])
        events.append(
            record.redirect(
                item.message.tracked_id,
                at=now,
                server=server,
                connector=connector,
                context=item.queue.connector_name,
                recipients=recipients,
                custom=custom,
            )
        )
        events.append(
            record.send(
                item.message.tracked_id,
                at=now,
                source="GATEWAY",
                server=server,
                connector=connector,
                context=_name(job, copy.pk),
                recipients=recipients,
                arrived_at=item.message.received_at,
                custom=custom,
            )
        )
    rows.update(state=RecipientState.DELIVERED, status_text=text, settled_at=now)
    QueueItem.objects.filter(pk__in=keys).update(state=ItemState.REMOVED, retry_at=None)
    record.save(events)
    leasing.close_messages([copy.message for copy in copies], now=now)


def publish(job: BulkJob) -> int:
    """Give the files of copies that ended their names, and remove those of copies that did not; return how many.

    Raises OSError while a file whose copy ended may be waiting in a directory that cannot be used.
    """
    directory = Path(job.directory)
    ended = JobTarget.objects.filter(job=job, outcome=Outcome.CHANGED)
    if not directory.is_dir() and not ended.exists():
        return 0
    found = {}
    for name in os.listdir(directory):
        match = _HIDDEN.fullmatch(name)
        if match and match[1] == job.node.name and int(match[2]) == job.pk:
            found[int(match[3])] = name
    named = set(ended.filter(item__in=found).values_list("item", flat=True))
    for item, name in found.items():
        if item in named:
            disk.rename_new(directory / name, directory / _name(job, item))
    disk.unlink_all(directory / name for item, name in found.items() if item not in named)
    if found:
        disk.sync_directory(directory)
    return len(named)


def _name(job: BulkJob, item: int) -> str:
    return f"drain-{job.node.name}-{job.pk}-{item}.eml"


def _hidden(job: BulkJob, item: int) -> str:
    return f".drain-{job.node.name}-{job.pk}-{item}.tmp"
