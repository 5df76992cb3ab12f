"""Drop: messages handed to a gateway as files in a connector's drop directory (DR-, FC-10 to FC-20).

Promises: a temp file is complete and durable before `delivery` publishes it; the quota is never exceeded;
what is delivered is a durable file under its final name (QR-46).
Leaves to neighbours: the rename that publishes, rows and events (delivery). Deleting is the reader's (DR-35).
Crash: temp names are committed first, so `delivery.recover` knows every file here that is ours.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

from connectors import disk, drop_directory
from connectors.conf import TransportConfig
from connectors.errors import FcwebError
from connectors.mail import drop_format
from connectors.mail.envelope import Recipient
from connectors.models import ForeignConnector, Queue
from connectors.transport.couriers import content
from connectors.transport.couriers.base import HopFailure, ItemDeferral, ItemFailure, Prepared
from connectors.transport.leasing import LeasedItem
from connectors.transport.original_size import routing_size

_FAILURES = {
    errno.ENOENT: HopFailure(text="451 4.3.5 Drop directory does not exist", context="DropMissing"),
    errno.ENOTDIR: HopFailure(text="451 4.3.5 Drop directory does not exist", context="DropMissing"),
    errno.EACCES: HopFailure(text="451 4.3.5 Drop directory: access denied", context="DropDenied"),
    errno.EPERM: HopFailure(text="451 4.3.5 Drop directory: access denied", context="DropDenied"),
    errno.EROFS: HopFailure(text="451 4.3.5 Drop directory: read-only file system", context="DropDenied"),
    errno.ENAMETOOLONG: HopFailure(text="451 4.3.0 Drop directory: path too long", context="DropName"),
}
_QUOTA = HopFailure(text="452 4.3.1 Drop directory quota reached", context="DropQuota")
_NO_CONNECTOR = HopFailure(text="451 4.3.5 Connector is gone", context="DropMissing")
CONTEXTS = {known.text: known.context for known in (*_FAILURES.values(), _QUOTA)}  # LastError -> condition


def failure(error: OSError) -> HopFailure:
    """Return the queue's error for an OS error of its drop directory. Rules: FC 1.4, QR-42."""
    known = _FAILURES.get(error.errno or 0)
    if known is not None:
        return known
    return HopFailure(text=f"451 4.3.0 Drop directory: {error.strerror or error}", context="DropIO")


class DropCourier:
    """Writes Replay-format files; links the spool file where nothing differs (design 3)."""

    folder_of = None

    def __init__(self, config: TransportConfig) -> None:
        self._config = config

    def use(self, config: TransportConfig) -> None:
        self._config = config

    def directory(self, queue: Queue) -> Path | HopFailure:
        connector = _connector(queue)
        if connector is None:
            return _NO_CONNECTOR
        try:
            return drop_directory.effective_path(connector, queue.node)
        except FcwebError as error:
            return HopFailure(text=f"451 4.3.0 {error.code}", context="DropName")

    def connector_name(self, queue: Queue) -> str:
        return queue.connector_name

    def prepare(self, queue: Queue, items: Sequence[LeasedItem], *, now: datetime) -> Prepared:
        connector = _connector(queue)
        if connector is None:
            return Prepared(left=items, trouble=_NO_CONNECTOR)
        directory = Path(items[0].directory)
        deferred: list[ItemDeferral] = []
        try:
            _probe(directory, items[0].temp_name)
            files = self._files(connector, directory, items, deferred)
            fitting, failed, trouble = self._within_quota(connector, directory, items, files, deferred)
            self._write(directory, fitting, files)
        except OSError as error:
            disk.clean_up(directory / item.temp_name for item in items)
            return Prepared(left=items, trouble=failure(error))
        kept = {item.pk for item in (*fitting, *(one.item for one in failed), *(one.item for one in deferred))}
        left = [item for item in items if item.pk not in kept]
        return Prepared(written=fitting, failed=failed, deferred=deferred, left=left, trouble=trouble)

    def _files(
        self,
        connector: ForeignConnector,
        directory: Path,
        items: Sequence[LeasedItem],
        deferred: list[ItemDeferral],
    ) -> dict[int, Sequence[bytes] | None]:
        """Return the bytes of each file that differs from its spool file or cannot be linked; None for a link.

        An item whose content cannot be read is missing here, and deferred.
        """
        linkable = _same_place(self._config.spool_dir, directory)
        files: dict[int, Sequence[bytes] | None] = {}
        for item in items:
            if linkable and _is_spool_file(item, connector):
                files[item.pk] = None
                continue
            source = f"{self._config.spool_dir}/{item.message.spool_name}"
            chunks = content.read(item, partial(_rendered, source, item, connector), deferred)
            if chunks is not None:
                files[item.pk] = chunks
        return files

    def _within_quota(
        self,
        connector: ForeignConnector,
        directory: Path,
        items: Sequence[LeasedItem],
        files: dict[int, Sequence[bytes] | None],
        deferred: list[ItemDeferral],
    ) -> tuple[list[LeasedItem], list[ItemFailure], HopFailure | None]:
        """Split a batch by size and quota. Rules: DR-22, DR-28 to DR-30, QR-43, QR-44, QL-7, QL-9."""
        fitting: list[LeasedItem] = []
        failed: list[ItemFailure] = []
        quota = connector.drop_directory_quota
        free = None if quota is None else quota - drop_directory.usage(directory).bytes
        limit = connector.max_message_bytes
        trouble = None
        for item in items:
            if item.pk not in files:
                continue
            chunks = files[item.pk]
            routed = None if limit is None else content.read(item, partial(self._routing_size, item), deferred)
            if routed is None and limit is not None:
                continue
            size = item.message.size + item.message.content_offset if chunks is None else sum(map(len, chunks))
            if (limit is not None and routed is not None and routed > limit) or (quota is not None and size > quota):
                text = "550 5.3.4 ROUTING.SizeLimit; message is too large for the connector"
                failed.append(ItemFailure(item=item, text=text, context="Size"))
            elif free is None:
                fitting.append(item)
            elif trouble is None and size <= free:
                free -= size
                fitting.append(item)
            else:
                trouble = _QUOTA  # order is kept: nothing overtakes a message that waits for room
        return fitting, failed, trouble

    def _routing_size(self, item: LeasedItem) -> int:
        """Return the size MaxMessageSize is compared with, the one routing went by (RT-10, DR-22)."""
        message = item.message
        if not message.has_org_headers:
            return message.size
        return routing_size(
            self._config.spool_dir, spool_name=message.spool_name, offset=message.content_offset, size=message.size
        )

    def _write(self, directory: Path, items: Sequence[LeasedItem], files: dict[int, Sequence[bytes] | None]) -> None:
        """Link or copy each message under its temp name; all durable on return. Rules: DR-25 step 2."""
        copies: list[tuple[str, Sequence[bytes]]] = []
        linked = 0
        for item in items:
            chunks = files[item.pk]
            if chunks is None:
                source = f"{self._config.spool_dir}/{item.message.spool_name}"
                os.link(source, f"{directory}/{item.temp_name}", follow_symlinks=False)
                linked += 1
            else:
                copies.append((item.temp_name, chunks))
        if copies:
            disk.write_batch(directory, copies, mode=self._config.sync)
        if linked:
            disk.sync_directory(directory)


def relayed(connector: ForeignConnector, item: LeasedItem) -> list[int]:
    """Return the recipients that get a relay notice: SUCCESS asked for, and the connector wants it (DR-34)."""
    if not connector.relay_dsn_required:
        return []
    return [recipient.pk for recipient in item.recipients if drop_format.asks_success(recipient.notify)]


def _connector(queue: Queue) -> ForeignConnector | None:
    return ForeignConnector.objects.filter(guid=queue.next_hop_connector).first()


def _probe(directory: Path, temp_name: str) -> None:
    """Try write, rename and delete, as each batch must (DR-11); raises OSError."""
    first = directory / f"{temp_name}.probe"
    second = directory / f"{temp_name}.probed"
    descriptor = os.open(first, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    os.close(descriptor)
    os.rename(first, second)
    os.unlink(second)


def _same_place(spool_dir: Path, directory: Path) -> bool:
    """Tell whether a link will do: one file system, and readers of the drop directory may read spool files.

    A drop directory that hands its group to new files needs a copy: a link keeps the spool's group.
    """
    spool_status = os.stat(spool_dir)
    status = os.stat(directory)
    return spool_status.st_dev == status.st_dev and (not status.st_mode & 0o2000 or status.st_gid == os.getegid())


def _is_spool_file(item: LeasedItem, connector: ForeignConnector) -> bool:
    """Tell whether the drop file would be the spool file byte for byte (design 3)."""
    return item.is_whole and not item.message.has_org_headers and not relayed(connector, item)


def _rendered(source: str, item: LeasedItem, connector: ForeignConnector) -> Sequence[bytes]:
    """Return block and content of a drop file of its own. Rules: DR-13 to DR-20, DR-34."""
    taken_over = set(relayed(connector, item))
    recipients = [
        Recipient(
            address=recipient.address,
            orcpt=recipient.orcpt,
            notify=drop_format.without_success(recipient.notify) if recipient.pk in taken_over else recipient.notify,
        )
        for recipient in item.recipients
    ]
    with open(source, "rb") as file:
        raw = file.read()
    return drop_format.render(raw, recipients, has_org_headers=item.message.has_org_headers)
