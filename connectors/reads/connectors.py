"""Connectors as the list shows them: address spaces, state, queue, drop directory."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from connectors import display, drop_directory
from connectors.choices import QueueStatus
from connectors.models import ForeignConnector, Node, Queue
from connectors.reads import drop_directories
from connectors.reads import queues as queue_reads
from connectors.reads.drop_directories import DropDirectory


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorRow:
    """One connector."""

    pk: int
    name: str
    comment: str
    spaces: tuple[str, ...]
    tone: str
    state: str  # word for it
    is_retrying: bool
    waiting: int  # over its queues, at most CAP + 1 each
    queue_pk: int | None
    last_success_at: datetime | None
    drop: DropDirectory


def rows(node: Node) -> list[ConnectorRow]:
    """Return all foreign connectors by name."""
    found = list(ForeignConnector.objects.prefetch_related("address_spaces").order_by("name_key"))
    drops = drop_directories.look(found, node)
    summaries = {queue.pk: queue for queue in queue_reads.summaries()}
    by_guid: dict[object, list[queue_reads.QueueSummary]] = {}
    for pk, guid in Queue.objects.values_list("pk", "next_hop_connector"):
        if pk in summaries:
            by_guid.setdefault(guid, []).append(summaries[pk])
    return [
        _row(connector, drop, by_guid.get(connector.guid, [])) for connector, drop in zip(found, drops, strict=True)
    ]


def _row(connector: ForeignConnector, drop: DropDirectory, queues: list[queue_reads.QueueSummary]) -> ConnectorRow:
    if not connector.enabled:
        tone, state = "quiet", _("Disabled")
    elif connector.is_held:
        tone, state = "wait", _("Held")
    elif drop.tone == "fail":
        tone, state = "fail", _("Cannot deliver")
    elif any(queue.status == QueueStatus.RETRY for queue in queues):
        tone, state = "wait", str(QueueStatus.RETRY.label)
    else:
        tone, state = "ok", pgettext("connector", "Ready")
    return ConnectorRow(
        pk=connector.pk,
        name=connector.name,
        comment=connector.comment,
        spaces=tuple(str(space) for space in connector.address_spaces.all()),
        tone=tone,
        state=state,
        is_retrying=any(queue.status == QueueStatus.RETRY for queue in queues),
        waiting=sum(queue.waiting for queue in queues),
        queue_pk=queues[0].pk if queues else None,
        last_success_at=max((q.last_success_at for q in queues if q.last_success_at), default=None),
        drop=drop,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """The drop directory of one connector and the queues that fill it."""

    pk: int
    connector: str
    drop: DropDirectory
    is_missing: bool
    command: str  # what makes it by hand, "" when it is not missing
    queues: tuple[queue_reads.QueueSummary, ...]

    @property
    def waiting(self) -> int:
        """Messages that wait, at most CAP + 1 for each queue."""
        return sum(queue.waiting for queue in self.queues)


def directory(connector: ForeignConnector, node: Node) -> Directory:
    """Return how the drop directory of a connector stands; looks without touching."""
    (drop,) = drop_directories.look([connector], node)
    steps = drop_directory.check(connector, node) if drop.is_missing else ()
    own = set(Queue.objects.filter(next_hop_connector=connector.guid).values_list("pk", flat=True))
    return Directory(
        pk=connector.pk,
        connector=connector.name,
        drop=drop,
        is_missing=drop.is_missing,
        command=next((step.cure for step in steps if step.cure), ""),
        queues=tuple(queue for queue in queue_reads.summaries() if queue.pk in own),
    )


def directory_answer(found: Directory) -> tuple[str, str]:
    """Return how a drop directory stands, as tone and sentence."""
    text = found.drop.problem or _("Mail can be written there.")
    if found.waiting:
        more = ngettext("%(count)s message waits.", "%(count)s messages wait.", found.waiting)
        text = f"{text} {more % {'count': display.capped(found.waiting, queue_reads.CAP)}}"
    return found.drop.tone, text


def answer(found: list[ConnectorRow]) -> tuple[str, str]:
    """Return how the connectors stand, as tone and sentence."""
    failing = [row for row in found if row.tone == "fail"]
    if failing:
        sentence = ngettext(
            "%(count)d connector cannot deliver: %(names)s.",
            "%(count)d connectors cannot deliver: %(names)s.",
            len(failing),
        )
        return "fail", sentence % {"count": len(failing), "names": ", ".join(row.name for row in failing)}
    retrying = [row for row in found if row.is_retrying]
    if retrying:
        sentence = ngettext(
            "%(count)d connector waits to try again: %(names)s.",
            "%(count)d connectors wait to try again: %(names)s.",
            len(retrying),
        )
        return "wait", sentence % {"count": len(retrying), "names": ", ".join(row.name for row in retrying)}
    paused = sum(row.tone != "ok" for row in found)
    sentence = ngettext("%(count)d connector is ready.", "%(count)d connectors are ready.", len(found) - paused)
    text = sentence % {"count": len(found) - paused}
    if paused:
        more = ngettext("%(count)d is held or disabled.", "%(count)d are held or disabled.", paused)
        return "quiet", f"{text} {more % {'count': paused}}"
    return "ok", text
