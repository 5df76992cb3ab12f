"""Drop return: notices that a drop directory whose queue waits can take mail again (DR-32).

A hint that shortens the wait of the retry ladder, nothing more: what it misses, the ladder tries.
Leaves to neighbours: the attempt itself (delivery). Looks at most once a second, with one query for all queues.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from django.db.models import Exists, OuterRef

from connectors import drop_directory
from connectors.choices import DeliveryType, ItemState, QueueStatus
from connectors.models import Connector, ForeignConnector, Node, Queue, QueueItem
from connectors.transport.couriers.base import HopFailure
from connectors.transport.couriers.drop import CONTEXTS

_LOOK_EVERY = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What a directory looked like."""

    device: int
    inode: int
    modified_ns: int
    changed_ns: int
    is_writable: bool


class DropReturn:
    """The queues of one node that wait for their drop directory."""

    def __init__(self, node: Node, *, directory_of: Callable[[Queue], Path | HopFailure]) -> None:
        self._node = node
        self._directory_of = directory_of
        self._seen: dict[int, _Seen | None] = {}  # since the last attempt
        self._looked_at: datetime | None = None

    def ready(self, now: datetime) -> list[Queue]:
        """Return the queues in Retry whose directory came back, got room or changed since the last attempt."""
        if self._looked_at is not None and timedelta(0) <= now - self._looked_at < _LOOK_EVERY:
            return []
        self._looked_at = now
        waiting = _waiting(self._node, now)
        self._seen = {queue.pk: self._seen[queue.pk] for queue in waiting if queue.pk in self._seen}
        back = [queue for queue in waiting if self._is_back(queue)]
        for queue in back:
            self._seen.pop(queue.pk, None)  # the attempt itself changes the directory
        return back

    def _is_back(self, queue: Queue) -> bool:
        queue.node = self._node
        path = self._directory_of(queue)
        if isinstance(path, HopFailure):
            return False
        first_look = queue.pk not in self._seen
        before = self._seen.get(queue.pk)
        seen = self._seen[queue.pk] = _look(path)
        if seen is None:
            return False
        context = CONTEXTS.get(queue.last_error, "DropIO")
        if context == "DropMissing":
            return True
        if not seen.is_writable or (not first_look and seen == before):
            return False
        if context == "DropQuota":
            return _has_room(queue, path)
        return not first_look


def _waiting(node: Node, now: datetime) -> list[Queue]:
    ready = QueueItem.objects.filter(queue=OuterRef("pk"), state=ItemState.READY)
    held = Connector.objects.filter(guid=OuterRef("next_hop_connector"), is_held=True)
    return list(
        Queue.objects.filter(
            node=node, delivery_type=DeliveryType.NON_SMTP_GATEWAY, status=QueueStatus.RETRY, next_retry_at__gt=now
        )
        .filter(Exists(ready), ~Exists(held))
        .order_by("pk")
    )


def _look(path: Path) -> _Seen | None:
    try:
        status = path.stat()
    except OSError:
        return None
    if not path.is_dir():
        return None
    return _Seen(
        device=status.st_dev,
        inode=status.st_ino,
        modified_ns=status.st_mtime_ns,
        changed_ns=status.st_ctime_ns,
        is_writable=os.access(path, os.R_OK | os.W_OK | os.X_OK),
    )


def _has_room(queue: Queue, path: Path) -> bool:
    """Tell whether the oldest waiting message fits below the quota (DR-29)."""
    connector = ForeignConnector.objects.filter(guid=queue.next_hop_connector).first()
    oldest = (
        QueueItem.objects.filter(queue=queue, state=ItemState.READY).select_related("message").order_by("pk").first()
    )
    if connector is None or oldest is None:
        return False
    if connector.drop_directory_quota is None:
        return True
    try:
        used = drop_directory.usage(path).bytes
    except OSError:
        return False
    return used + oldest.message.size + oldest.message.content_offset <= connector.drop_directory_quota
