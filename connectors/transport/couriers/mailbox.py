"""Mailbox: messages stored in the Maildir of a local recipient (RT-4).

The store is ours: its folders are made when needed. One item holds one recipient (see categorizer). A full mailbox
is a permanent failure, as in Exchange 2013 (MT-F), unless the server has patience with it (MTA-15).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

from django.conf import settings

from connectors import disk
from connectors.choices import Refusal
from connectors.conf import TransportConfig
from connectors.mail.address import TypedAddress, address_key
from connectors.models import DirectoryRecipient, ProxyAddress, Queue, proxy_key
from connectors.transport.couriers import content
from connectors.transport.couriers.base import HopFailure, ItemDeferral, ItemFailure, Prepared
from connectors.transport.leasing import LeasedItem

_FULL = "mailbox full; STOREDRV.Deliver; the mailbox is over its quota"


def store_path(queue: Queue) -> Path:
    """Return the directory that holds the Maildirs of a node."""
    configured = queue.node.mailbox_directory_path
    return Path(configured) if configured else Path(settings.DATA_DIR) / "mailboxes"


def folder_name(address: str) -> str:
    """Return the Maildir folder of an address; never a path, whatever the address holds."""
    key = address_key(address)
    safe = "".join(c if c.isalnum() or c in "@-_." else f"%{ord(c):02x}" for c in key)
    return safe.replace("..", ".%2e").lstrip(".") or "%00"


class MailboxCourier:
    """Writes Maildir files: Return-Path and Delivered-To on top, then the content."""

    def __init__(self, config: TransportConfig) -> None:
        self._config = config

    def use(self, config: TransportConfig) -> None:
        self._config = config

    def folder_of(self, item: LeasedItem) -> str:
        return folder_name(item.recipients[0].address)

    def directory(self, queue: Queue) -> Path | HopFailure:
        return store_path(queue)

    def connector_name(self, queue: Queue) -> str:
        return ""

    def prepare(self, queue: Queue, items: Sequence[LeasedItem], *, now: datetime) -> Prepared:
        root = Path(items[0].directory)
        deferred: list[ItemDeferral] = []
        failed: list[ItemFailure] = []
        written: list[LeasedItem] = []
        try:
            fitting, full = _within_quota(root, items)
            for item in full:
                if now - item.message.received_at < self._config.mailbox_full_grace:
                    context = Refusal.MAILBOX_FULL.value
                    deferred.append(ItemDeferral(item=item, text=f"452 4.2.2 {_FULL}", context=context))
                else:
                    failed.append(ItemFailure(item=item, text=f"554 5.2.2 {_FULL}", context="MailboxFull"))
            by_folder: dict[str, list[LeasedItem]] = {}
            for item in fitting:
                by_folder.setdefault(_folder_of(item), []).append(item)
            for folder, batch in by_folder.items():
                _make(root, folder)
                files = []
                for item in batch:
                    chunks = content.read(item, partial(self._content, item), deferred)
                    if chunks is not None:
                        files.append((item.temp_name.rpartition("/")[2], chunks))
                        written.append(item)
                disk.write_batch(root / folder / "tmp", files, mode=self._config.sync)
        except OSError as error:
            disk.clean_up(root / item.temp_name for item in items)
            text = f"451 4.3.0 Mailbox store: {error.strerror or error}"
            return Prepared(left=items, trouble=HopFailure(text=text, context="StoreIO"))
        return Prepared(written=written, failed=failed, deferred=deferred)

    def _content(self, item: LeasedItem) -> Sequence[bytes]:
        raw = (self._config.spool_dir / item.message.spool_name).read_bytes()
        head = f"Return-Path: <{item.message.mail_from}>\r\nDelivered-To: {item.recipients[0].address}\r\n"
        return head.encode("utf-8", "replace"), raw[item.message.content_offset :]


def _within_quota(root: Path, items: Sequence[LeasedItem]) -> tuple[list[LeasedItem], list[LeasedItem]]:
    """Split a batch into what fits and what finds its mailbox full. One query; only limited folders are read."""
    limits = _quotas({item.recipients[0].address for item in items})
    used = {folder: _usage(root / folder) for folder in {_folder_of(i) for i in items if _limit(i, limits) is not None}}
    fitting: list[LeasedItem] = []
    full: list[LeasedItem] = []
    for item in items:
        limit = _limit(item, limits)
        folder = _folder_of(item)
        if limit is None:
            fitting.append(item)
        elif used[folder] + item.message.size > limit:
            full.append(item)
        else:
            used[folder] += item.message.size
            fitting.append(item)
    return fitting, full


def _limit(item: LeasedItem, limits: dict[str, int]) -> int | None:
    return limits.get(_key(item.recipients[0].address))


def _key(address: str) -> str:
    return proxy_key(TypedAddress(type="SMTP", value=address))


def _quotas(addresses: set[str]) -> dict[str, int]:
    """Return the quotas of mailboxes that have one, by proxy key."""
    if not DirectoryRecipient.objects.exclude(max_mailbox_bytes=None).exists():
        return {}
    rows = ProxyAddress.objects.filter(key__in={_key(address) for address in addresses})
    limited = rows.exclude(recipient__max_mailbox_bytes=None)
    return {
        key: int(limit)
        for key, limit in limited.values_list("key", "recipient__max_mailbox_bytes")
        if limit is not None
    }


def _usage(folder: Path) -> int:
    """Return the bytes of the mails in a Maildir; 0 while it does not exist."""
    total = 0
    for part in ("new", "cur"):
        try:
            with os.scandir(folder / part) as entries:
                total += sum(entry.stat(follow_symlinks=False).st_size for entry in entries)
        except FileNotFoundError:
            continue
    return total


def _folder_of(item: LeasedItem) -> str:
    """Return the mailbox part of the committed name "<mailbox>/tmp/<file>"."""
    return item.temp_name.split("/", 1)[0]


def _make(root: Path, folder: str) -> None:
    for part in ("tmp", "new", "cur"):
        path = root / folder / part
        if not path.is_dir():
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            disk.sync_directory(path.parent)
