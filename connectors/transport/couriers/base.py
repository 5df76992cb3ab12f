"""The contract between `delivery` and a courier.

A courier prepares a batch (writes temp files, durable) and publishes it (renames). Trouble with the whole next hop
is a HopFailure value; trouble with one message is an ItemFailure, or an ItemDeferral when it may pass. Exceptions are
for bugs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from connectors.conf import TransportConfig
from connectors.models import Queue
from connectors.transport.leasing import LeasedItem


@dataclass(frozen=True, slots=True, kw_only=True)
class HopFailure:
    """The next hop cannot take anything now: the queue goes to Retry. Rules: QR-41, QR-42, FC 1.4."""

    text: str  # "451 4.3.5 …", shown as LastError
    context: str  # DropQuota, DropMissing, DropDenied, DropIO or DropName (2.3)


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFailure:
    """One message can never go this way. Rules: QR-25, QR-44."""

    item: LeasedItem
    text: str  # "550 5.3.4 …"
    context: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemDeferral:
    """One message cannot go now; the others can. Rules: QR-24, MTA-15."""

    item: LeasedItem
    text: str  # "452 4.2.2 …", shown as the message's LastError
    context: str  # of its DEFER event: choices.Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What became of a batch before publishing."""

    written: Sequence[LeasedItem] = ()  # temp files durable
    failed: Sequence[ItemFailure] = ()
    deferred: Sequence[ItemDeferral] = ()
    left: Sequence[LeasedItem] = ()  # given back untouched
    trouble: HopFailure | None = None  # why items were left


class Courier(Protocol):
    """One way out of the queue."""

    def use(self, config: TransportConfig) -> None:
        """Go on with other times (QX-4)."""

    @property
    def folder_of(self) -> Callable[[LeasedItem], str] | None:
        """Return what names the Maildir of an item, or None when files go into one directory."""

    def directory(self, queue: Queue) -> Path | HopFailure:
        """Return where files of this queue are published, or why that cannot be known."""

    def prepare(self, queue: Queue, items: Sequence[LeasedItem], *, now: datetime) -> Prepared:
        """Write the temp files of a batch durably."""

    def connector_name(self, queue: Queue) -> str:
        """Return the connector-id of tracking events (MTF-7)."""
