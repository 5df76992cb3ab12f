"""Delivery: ready items are leased, written, published and settled, a batch at a time (DR-25, DR-26).

Promises: a file is published exactly once for a crash of ours at any instant: a rename only follows the `staged`
commit, and after it the temp file is the witness.
Leaves to neighbours: what a file holds (couriers), the rows (leasing, deferral, queue).
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from connectors import disk, drop_directory, event_log, owner
from connectors.choices import DeliveryType, ItemState, QueueStatus, ReportDue
from connectors.conf import TransportConfig
from connectors.errors import FcwebError
from connectors.event_log import DROP_EVENTS, Event
from connectors.models import IN_TRANSFER, ForeignConnector, Node, Queue, QueueItem
from connectors.transport import deferral, leasing, poison, queue_operations
from connectors.transport import queue as queues
from connectors.transport.couriers.base import Courier, HopFailure, Prepared
from connectors.transport.couriers.drop import DropCourier, failure, relayed
from connectors.transport.couriers.drop_return import DropReturn
from connectors.transport.couriers.mailbox import MailboxCourier
from connectors.transport.leasing import DELIVERED_TEXT, LeasedItem
from tracking import record

logger = logging.getLogger(__name__)
_EVENT_OF = {
    "DropIO": Event.BAD_DROP_DIRECTORY,
    "DropQuota": Event.QUOTA_EXCEEDED,
    "DropName": Event.PATH_TOO_LONG,
    "DropMissing": Event.NO_DROP_DIRECTORY,
    "DropDenied": Event.DROP_UNAUTHORIZED,
}
_NO_SPOOL = "451 4.3.0 The spool is not there: is its file system mounted?"
_LOOK_EVERY = timedelta(seconds=1)
_NAMED = 10  # files named in a log line
_OUR_TEMP = re.compile(r"\.\d+-[0-9a-f-]{36}\.tmp(\.probed?)?")


class Delivery:
    """The delivery stage of one process."""

    def __init__(self, node: Node, *, config: TransportConfig, token: str) -> None:
        self._node = node
        self._config = config
        self._token = token
        self._deferring: dict[int, tuple[Queue, HopFailure, datetime]] = {}  # DEFER events still to be written
        self._well: set[str] = set()  # connectors that took mail since this process last saw trouble with them
        drop = DropCourier(config)
        self.couriers: dict[str, Courier] = {
            DeliveryType.NON_SMTP_GATEWAY: drop,
            DeliveryType.MAILBOX: MailboxCourier(config),
        }
        self._drop_return = DropReturn(node, directory_of=drop.directory)
        self._looked_at: datetime | None = None  # for deferred copies that are due
        self._swept = False
        self._careful = poison.any_suspects(node)  # suspects of a crash are delivered one at a time (QR-50)

    def use(self, config: TransportConfig) -> None:
        """Go on with other times and counts (QX-4)."""
        self._config = config
        for courier in self.couriers.values():
            courier.use(config)

    def _defer(self, now: datetime) -> None:
        """Write the next few hundred DEFER events of each queue that went into Retry (MT-E, MTA-7)."""
        for pk, (queue, trouble, again) in list(self._deferring.items()):
            written = queues.record_deferrals(
                queue, reason=trouble.context, error=trouble.text, next_attempt=again, now=now
            )
            if not written:
                del self._deferring[pk]

    def run_once(self, now: datetime) -> int:
        """Deliver one batch of every queue that is due; return the number of items settled."""
        self._defer(now)
        suspended = self._config.expire_suspended
        done = queues.expire(self._node, limit=self._config.batch, now=now, suspended=suspended)
        done += self._wake(now)
        for queue in [*queues.due(self._node, now=now), *self._drop_return.ready(now)]:
            queue.node = self._node
            courier = self.couriers.get(queue.delivery_type)
            if courier is not None:
                done += self._deliver(queue, courier, now)
        return done

    def _wake(self, now: datetime) -> int:
        """Make ready what waited by itself and is due; look at most once a second while there is nothing (QR-6)."""
        if self._looked_at is not None and timedelta(0) <= now - self._looked_at < _LOOK_EVERY:
            return 0
        woken = deferral.wake(now=now)
        self._looked_at = None if woken else now
        return woken

    def _deliver(self, queue: Queue, courier: Courier, now: datetime) -> int:
        if queue.status == QueueStatus.RETRY:
            queue_operations.connecting(queue)
        directory = courier.directory(queue)
        if isinstance(directory, HopFailure):
            self._trouble(queue, [], directory, now)
            return 0
        items = leasing.lease(
            queue,
            directory=str(directory),
            token=self._token,
            limit=1 if self._careful and poison.has_suspects(queue) else self._config.batch,
            limit_bytes=self._config.batch_bytes,
            folder_of=courier.folder_of,
            by_priority=self._config.priority_queuing,
        )
        if not items:
            return 0
        try:
            prepared = courier.prepare(queue, items, now=now)
        except Exception:
            # A bug, or content that breaks us: every message of the batch is suspect and goes alone from now on.
            self._suspect(items, now)
            raise
        if self._careful:
            poison.forgive([item.message.pk for item in items])
        self._turn_away(queue, prepared, now)
        trouble = prepared.trouble
        left = list(prepared.left)
        lost = self._lost(left) if trouble is not None else []
        if lost:
            # Not the next hop's fault: these fail alone, the others are tried again at once.
            self._fail_lost(queue, lost, now)
            trouble = None
            left = [item for item in left if item not in lost]
        elif trouble is not None and not self._spool_is_there(left):
            trouble = HopFailure(text=_NO_SPOOL, context="SpoolMissing")  # not the next hop's fault either
        if prepared.written:
            leasing.mark_staged([item.pk for item in prepared.written])
            trouble_on_publish = self._publish(prepared.written)
            if trouble_on_publish is not None:
                return self._half_published(queue, courier, prepared.written, trouble_on_publish, now)
            self.settle(queue, courier, prepared.written, now=now)
        if trouble is not None:
            self._trouble(queue, left, trouble, now)
        elif left:
            leasing.release([item.pk for item in left])
        elif not prepared.written:
            queues.answered(queue, now=now)
        return len(prepared.written) + len(prepared.failed) + len(prepared.deferred)

    def _turn_away(self, queue: Queue, prepared: Prepared, now: datetime) -> None:
        """Record what the next hop refuses: for good, or for now (QR-24, QR-25)."""
        source, connector = _source(queue), queue.connector_name
        for failed in prepared.failed:
            leasing.fail_items(
                [failed.item], text=failed.text, source=source, context=failed.context, connector=connector, now=now
            )
        refused: dict[tuple[str, str], list[LeasedItem]] = {}
        for one in prepared.deferred:
            refused.setdefault((one.text, one.context), []).append(one.item)
        again = now + self._config.message_retry
        for (text, context), items in refused.items():
            deferral.defer(queue, items, text=text, context=context, source=source, retry_at=again, now=now)

    def _suspect(self, items: Sequence[LeasedItem], now: datetime) -> None:
        """Count a crash against a batch in hand and give it back (QR-50)."""
        disk.unlink_all(Path(item.directory) / item.temp_name for item in items)
        leasing.release([item.pk for item in items])
        poison.note_crash(self._node, [item.message.pk for item in items], config=self._config, now=now)
        self._careful = True

    def _lost(self, items: Sequence[LeasedItem]) -> list[LeasedItem]:
        """Return the items whose content file is gone from the spool: somebody deleted it."""
        return [item for item in items if _is_gone(self._config.spool_dir / item.message.spool_name)]

    def _spool_is_there(self, items: Sequence[LeasedItem]) -> bool:
        """Tell whether the folders that hold the content of these items exist; none do while the spool is unmounted."""
        folders = {(self._config.spool_dir / item.message.spool_name).parent for item in items}
        return all(os.path.lexists(folder) for folder in folders)

    def _fail_lost(self, queue: Queue, items: Sequence[LeasedItem], now: datetime) -> None:
        some = [item.message.spool_name for item in items[:_NAMED]]
        logger.critical("content of messages is lost", extra={"messages": len(items), "spool_names": some})
        text = "554 5.3.0 Message content is lost"
        leasing.fail_items(
            items, text=text, source=_source(queue), context="ContentLost", connector=queue.connector_name, now=now
        )

    def _publish(self, items: Sequence[LeasedItem]) -> HopFailure | None:
        """Rename temp files to their final names, durable; a temp that is gone was published by us (DR-26)."""
        try:
            folders = set()
            for item in items:
                target = f"{item.directory}/{item.final_name}"
                folder = target.rpartition("/")[0]
                try:
                    disk.rename_new(f"{item.directory}/{item.temp_name}", target)
                except FileNotFoundError:
                    os.stat(folder)  # a directory that went away is trouble, not a published file
                folders.add(folder)
            for folder in folders:
                disk.sync_directory(folder)
        except OSError as error:
            return failure(error)
        return None

    def _half_published(
        self, queue: Queue, courier: Courier, items: Sequence[LeasedItem], trouble: HopFailure, now: datetime
    ) -> int:
        """Settle what is published, take the rest back: the temp file tells which is which (DR-26)."""
        published: list[LeasedItem] = []
        unpublished: list[LeasedItem] = []
        for item in items:
            temp = Path(item.directory) / item.temp_name
            if not temp.parent.is_dir():
                # The directory itself is away (unmounted, renamed): nobody can tell yet. The items stay
                # `staged`; recovery looks again when it is back.
                continue
            (unpublished if os.path.lexists(temp) else published).append(item)
        self.settle(queue, courier, published, now=now)
        disk.clean_up(Path(item.directory) / item.temp_name for item in unpublished)
        self._trouble(queue, unpublished, trouble, now)
        return len(published)

    def settle(
        self, queue: Queue, courier: Courier, items: Sequence[LeasedItem], *, now: datetime, note: str = ""
    ) -> None:
        """Record delivered items with their events; the connector is well again."""
        if not items:
            return
        connector = ForeignConnector.objects.filter(guid=queue.next_hop_connector).first()
        owed = {pk: ReportDue.RELAYED for item in items for pk in relayed(connector, item)} if connector else {}
        if queue.delivery_type == DeliveryType.MAILBOX:
            owed = {r.pk: ReportDue.DELIVERED for item in items for r in item.recipients if "SUCCESS" in r.notify}
        events = [_delivered_event(queue, courier.connector_name(queue), item, note, now) for item in items]
        leasing.settle_delivered(queue, items, events, owed=owed, now=now)
        if queue.last_error or queue.connector_name not in self._well:  # a queue that was emptied forgot its error
            event_log.clear_events(DROP_EVENTS, queue.connector_name, now=now)
            self._well.add(queue.connector_name)

    def _trouble(self, queue: Queue, items: Sequence[LeasedItem], trouble: HopFailure, now: datetime) -> None:
        self._well.discard(queue.connector_name)
        again = queues.back_off(queue, items, error=trouble.text, config=self._config, now=now)
        self._deferring[queue.pk] = (queue, trouble, again)
        self._defer(now)
        event = _EVENT_OF.get(trouble.context)
        if event is not None:
            others = tuple(other for other in DROP_EVENTS if other is not event)
            event_log.clear_events(others, queue.connector_name, now=now)
            detail = drop_directory.trouble_detail(queue.connector_name, queue.node, trouble.text)
            event_log.raise_event(event, queue.connector_name, detail, now=now)

    def recover(self, now: datetime) -> int:
        """Finish or undo what processes that ended had leased; return how many items (DR-26, DR-27)."""
        if not self._swept:
            self._swept = True
            self._sweep_temps(self._drop_directories())
        leased = QueueItem.objects.filter(IN_TRANSFER, queue__node=self._node).select_related("queue__node")
        dead = {
            token
            for token in leased.order_by().values_list("leased_by", flat=True).distinct()
            # This process runs its stages one after the other: what it still holds here it failed to finish.
            if token == self._token or not owner.is_alive(self._config.run_dir, token)
        }
        if not dead:
            return 0
        recovered = 0
        directories = {Path(path) for path in leased.values_list("directory", flat=True)}
        in_hand = leased.filter(leased_by__in=dead - {self._token}, state=ItemState.STAGING)
        suspects = list(in_hand.values_list("message_id", flat=True).distinct())
        for row in leased.filter(leased_by__in=dead).order_by("pk"):
            recovered += self._recover(row, now)
        if suspects:
            poison.note_crash(self._node, suspects, config=self._config, now=now)
            self._careful = True
        self._sweep_temps(directories)
        return recovered

    def _recover(self, row: QueueItem, now: datetime) -> int:
        temp = Path(row.directory) / row.temp_name
        if row.state == ItemState.STAGING:
            disk.unlink_all([temp])
            leasing.release([row.pk])
            return 1
        if not temp.parent.is_dir():
            return 0
        items = leasing.load([row.pk])
        note = ""
        if os.path.lexists(temp):
            if self._publish(items) is not None:
                return 0
        elif not os.path.lexists(Path(row.directory) / row.final_name):
            note = "S:fc.note=presumed published"
        courier = self.couriers[row.queue.delivery_type]
        self.settle(row.queue, courier, items, now=now, note=note)
        return 1

    def _drop_directories(self) -> set[Path]:
        """Return where this node's connectors publish now; one that cannot be resolved has no files of ours."""
        found = set()
        for connector in ForeignConnector.objects.filter(source_transport_servers=self._node):
            try:
                found.add(drop_directory.effective_path(connector, self._node))
            except FcwebError:
                continue
        return found

    def _sweep_temps(self, directories: set[Path]) -> None:
        """Remove temp files of ours that no row knows (DR-27)."""
        for directory in directories:
            try:
                with os.scandir(directory) as entries:
                    names = [entry.name for entry in entries if _OUR_TEMP.fullmatch(entry.name)]
            except OSError:
                continue
            known = set(
                QueueItem.objects.filter(IN_TRANSFER, temp_name__in={_owner_of(name) for name in names}).values_list(
                    "temp_name", flat=True
                )
            )
            disk.unlink_all(directory / name for name in names if _owner_of(name) not in known)


def _is_gone(path: Path) -> bool:
    """Tell whether somebody deleted this file: its folder is there without it.

    A place that cannot be looked at, or is away as a whole (unmounted), hides its files, it has not lost them.
    """
    try:
        path.lstat()
    except FileNotFoundError:
        return os.path.lexists(path.parent)
    except OSError:
        return False
    return False


def _owner_of(name: str) -> str:
    """Return the committed temp name a temp or probe file belongs to."""
    return name.removesuffix(".probed").removesuffix(".probe")


def _source(queue: Queue) -> str:
    return "STOREDRIVER" if queue.delivery_type == DeliveryType.MAILBOX else "GATEWAY"


def _delivered_event(queue: Queue, connector: str, item: LeasedItem, note: str, now: datetime) -> record.NewEvent:
    """Return DELIVER for a mailbox, SEND for a gateway (MT-A, MT-B)."""
    retries = f"S:fc.retries={queue.retry_count}" if queue.retry_count else ""
    recipients = [(recipient.address, DELIVERED_TEXT) for recipient in item.recipients]
    if queue.delivery_type == DeliveryType.MAILBOX:
        return record.deliver(
            item.message.tracked_id,
            at=now,
            server=queue.node.name,
            store=queue.next_hop_domain,
            recipients=recipients,
            arrived_at=item.message.received_at,
        )
    return record.send(
        item.message.tracked_id,
        at=now,
        source="GATEWAY",
        server=queue.node.name,
        connector=connector,
        context=item.final_name,
        recipients=recipients,
        arrived_at=item.message.received_at,
        custom=";".join(filter(None, (retries, note))),
    )
