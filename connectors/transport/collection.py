"""Collection: when gateways take their files, and which they leave for too long (DR-33, QX-7). Rows only, no event.

A published file carries the key of its copy in its name. The first look compares what was delivered with what lies in
the directory; later looks compare two listings, so that the cost follows what changed. Still only SEND in Exchange's
log. Crash: nothing is lost, the first look after a start finds what went meanwhile.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.db.models import QuerySet

from connectors import drop_directory, event_log
from connectors.choices import DeliveryType, ItemState
from connectors.errors import FcwebError
from connectors.event_log import Event
from connectors.models import ForeignConnector, Node, QueueItem

EVERY = timedelta(seconds=5)
_OURS = re.compile(r"(\d{1,18})-[0-9a-f-]{36}\.eml")
_BATCH = 1000
_LISTING = 200_000  # names read at most; beyond it nothing is concluded


class Collection:
    """Watches the drop directories of one node; remembers the last listing of each."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._seen: dict[int, set[int]] = {}  # connector -> copies whose file was there at the last look
        self._looked_at: dict[int, datetime] = {}
        self._due: datetime | None = None

    def run_once(self, now: datetime) -> int:
        """Look at every directory that is due; return how many files were found collected."""
        if self._due is not None and now < self._due:
            return 0
        self._due = now + EVERY
        connectors = ForeignConnector.objects.filter(source_transport_servers=self._node)
        return sum(self._look(connector, now) for connector in connectors.order_by("pk"))

    def _look(self, connector: ForeignConnector, now: datetime) -> int:
        try:
            path = drop_directory.effective_path(connector, self._node)
            found = _listing(path)
        except (FcwebError, OSError):
            return 0  # missing or denied: nobody knows what was taken
        if found is None:
            return 0
        there, oldest = found
        before = self._seen.get(connector.pk)
        if before is None:
            gone = self._first_look(connector, there, now)
        else:
            since = self._looked_at[connector.pk] - EVERY
            fresh = self._delivered(connector).filter(delivered_at__gt=since, collected_at=None)
            gone = _mark((before | set(fresh.values_list("pk", flat=True))) - there, now)
        self._seen[connector.pk] = there
        self._looked_at[connector.pk] = now
        self._alarm(connector, oldest, now)
        return gone

    def _delivered(self, connector: ForeignConnector) -> QuerySet[QueueItem]:
        return QueueItem.objects.filter(
            queue__node=self._node,
            queue__delivery_type=DeliveryType.NON_SMTP_GATEWAY,
            queue__next_hop_connector=connector.guid,
            state=ItemState.DELIVERED,
        )

    def _first_look(self, connector: ForeignConnector, there: set[int], now: datetime) -> int:
        """Mark what was delivered before this process looked and is no longer there, a batch at a time."""
        gone = cursor = 0
        rows = self._delivered(connector).filter(collected_at=None).order_by("pk").values_list("pk", flat=True)
        while keys := list(rows.filter(pk__gt=cursor)[:_BATCH]):
            gone += _mark(set(keys) - there, now)
            cursor = keys[-1]
        return gone

    def _alarm(self, connector: ForeignConnector, oldest: datetime | None, now: datetime) -> None:
        """Raise or clear the event of a gateway that leaves its files (DR-33)."""
        minutes = connector.collect_within_minutes
        if minutes is not None and oldest is not None and now - oldest > timedelta(minutes=minutes):
            detail = f"oldest file since {oldest.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}, limit {minutes} min"
            event_log.raise_event(Event.NOT_COLLECTED, connector.name, detail, now=now)
        else:
            event_log.clear_events((Event.NOT_COLLECTED,), connector.name, now=now)


def _listing(path: Path) -> tuple[set[int], datetime | None] | None:
    """Return the copies whose files lie there and when the oldest came; None when there are too many to say.

    A file may outlive the row of its copy, which goes with the Safety Net: then its own time tells.
    """
    there: dict[int, str] = {}
    with os.scandir(path) as entries:
        for number, entry in enumerate(entries):
            if number >= _LISTING:
                return None
            match = _OURS.fullmatch(entry.name)
            if match is not None:
                there[int(match[1])] = entry.path
    if not there:
        return set(), None
    delivered_at = QueueItem.objects.filter(pk=min(there)).values_list("delivered_at", flat=True).first()
    return set(there), delivered_at or _written_at(there[min(there)])


def _written_at(path: str) -> datetime | None:
    try:
        return datetime.fromtimestamp(os.lstat(path).st_mtime, UTC)
    except FileNotFoundError:
        return None  # taken in this moment


def _mark(keys: Iterable[int], now: datetime) -> int:
    """Set the time of collection once, for delivered copies alone."""
    marked = 0
    ordered = sorted(keys)
    for start in range(0, len(ordered), _BATCH):
        rows = QueueItem.objects.filter(pk__in=ordered[start : start + _BATCH], state=ItemState.DELIVERED)
        marked += rows.filter(collected_at=None).update(collected_at=now)
    return marked
