"""Sweep: deletes what is finished: discarded input files, content past the Safety Net, old claims, events, orphans.

Promises: bounded work a call, by batches and never a message at a time; nothing a queue still needs is touched: content
stands in folders of an hour, and a folder goes when it is empty, never with an unfinished message in it (QU-11).
Leaves to neighbours: when there is time for it (runner). Crash: files go before their rows, so a row may outlive
its file by one call and is taken up again.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import transaction

from connectors import disk, spool
from connectors.choices import FileState, MessageState
from connectors.conf import TransportConfig
from connectors.models import JobTarget, Message, MessageRecipient, Node, QueueItem, SourceFile
from connectors.transport import orphans
from tracking import retention
from tracking.models import TrackedMessage

_BATCH = 500
_CLAIM_AGE = timedelta(days=7)  # a settled claim is kept this long, for people who look for a file by name
_EVERY_HOUR = timedelta(hours=1)
_FINISHED = (FileState.QUEUED, FileState.NOTICE, FileState.RELEASED, FileState.RESUBMITTED, FileState.GONE)


class Sweep:
    """The sweeping of one process."""

    def __init__(self, node: Node, *, config: TransportConfig) -> None:
        self._node = node
        self._config = config
        self._orphans_at: datetime | None = None
        self._events_at: datetime | None = None

    def use(self, config: TransportConfig) -> None:
        """Go on with other times (QX-4)."""
        self._config = config

    def run_once(self, now: datetime) -> int:
        """Delete one batch of each kind; return how many things were deleted."""
        swept = spool.empty_trash(self._config.spool_dir, limit=_BATCH)
        swept += self._messages(now)
        swept += self._claims(now)
        swept += self._targets(now)
        if self._events_at is None or now >= self._events_at:
            forgotten = self._events(now)
            self._events_at = None if forgotten else now + _EVERY_HOUR
            swept += forgotten
        if self._orphans_at is None or now >= self._orphans_at:
            self._orphans_at = now + _EVERY_HOUR
            swept += self._orphans(now)
        return swept

    def _messages(self, now: datetime) -> int:
        """Delete messages whose Safety Net time is over, content first (QR-18)."""
        done = Message.objects.filter(
            node=self._node, state=MessageState.DONE, done_at__lt=now - self._config.safety_net
        )
        keys = list(done.order_by("done_at").values_list("pk", flat=True)[:_BATCH])
        if not keys:
            return 0
        with transaction.atomic():
            rows = _lock_finished(keys)
            disk.unlink_all(f"{self._config.spool_dir}/{name}" for _pk, name in rows)
            _delete_messages([pk for pk, _name in rows])
        return len(rows)

    def _claims(self, now: datetime) -> int:
        """Delete the rows of files taken long ago; bad files stay until a person decides."""
        old = SourceFile.objects.filter(state__in=_FINISHED, settled_at__lt=now - _CLAIM_AGE)
        keys = list(old.order_by("pk").values_list("pk", flat=True)[:_BATCH])
        if keys:
            SourceFile.objects.filter(pk__in=keys).delete()
        return len(keys)

    def _events(self, now: datetime) -> int:
        """Forget a batch of messages in the ledger that are past their time (MTP-2)."""
        before = now - self._config.history
        oldest = TrackedMessage.objects.order_by("pk").values_list("first_at", flat=True).first()
        if oldest is None or oldest >= before:
            return 0
        return retention.prune(before=before, limit=_BATCH).messages

    def _targets(self, now: datetime) -> int:
        """Delete what old operations did to each message; the operations themselves stay."""
        oldest = JobTarget.objects.order_by("pk").values_list("pk", "at")[:_BATCH]
        keys = [pk for pk, at in oldest if at < now - self._config.history]
        if keys:
            JobTarget.objects.filter(pk__in=keys).delete()
        return len(keys)

    def _orphans(self, now: datetime) -> int:
        """Delete content no message names, and folders that are empty, once they are past the Safety Net time.

        Such a file is left by a crash between spool and commit (state A2). Content older than the ledger's first
        message is not touched: it may be all that is left of a lost database (`manage.py recover`).
        """
        first = TrackedMessage.objects.order_by("pk").values_list("first_at", flat=True).first()
        if first is None:
            return 0
        swept = 0
        for folder, hour in spool.hour_folders(self._config.spool_dir):
            if hour + _EVERY_HOUR > now - max(self._config.safety_net, _EVERY_HOUR):
                continue  # with no Safety Net too: content of a batch whose rows are not committed yet
            paths = [f"{self._config.spool_dir}/{name}" for name in orphans.in_folder(folder)]
            swept += disk.unlink_all(path for path in paths if os.stat(path).st_mtime >= first.timestamp())
            try:
                folder.rmdir()
            except OSError:
                continue  # not empty: held by a message that is not done
        return swept


def _lock_finished(keys: Sequence[int]) -> list[tuple[int, str]]:
    """Lock those messages that nobody delivers again meanwhile; copies first, as everywhere. Return key and content."""
    copies = QueueItem.objects.filter(message__in=keys).order_by("pk")
    list(copies.select_for_update().values_list("pk", flat=True))
    done = Message.objects.filter(pk__in=keys, state=MessageState.DONE).order_by("pk")
    return list(done.select_for_update().values_list("pk", "spool_name"))


def _delete_messages(keys: Sequence[int]) -> None:
    """Delete messages with everything that hangs on them, in the caller's transaction: five statements for any number."""
    SourceFile.objects.filter(message__in=keys).update(message=None)
    Message.objects.filter(original__in=keys).update(original=None)
    for model in (MessageRecipient, QueueItem):
        rows = model.objects.filter(message__in=keys)
        rows._raw_delete(rows.db)  # no cascade to collect: what refers to them goes here too
    messages = Message.objects.filter(pk__in=keys)
    messages._raw_delete(messages.db)
